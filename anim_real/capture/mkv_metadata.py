"""The parts of a Matroska file that describe the rest: track entries, tags, attachments.

Each function takes an element's payload and raises ``EbmlError`` where it is damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from anim_real.capture.ebml import EbmlError, Ids, parse_children, parse_header, parse_string, parse_uint


@dataclass(frozen=True, kw_only=True)
class Track:
    """A track's entry: number and UID, codec, frame period, image size (0 for tracks without images)."""

    number: int
    uid: int
    name: str
    codec_id: str
    codec_private: bytes = field(repr=False)
    period_ns: int
    width: int
    height: int


def parse_tracks(raw: bytes) -> Iterator[Track]:
    """Yield the entries of a Tracks element's payload."""
    for identifier, entry in parse_children(raw):
        if identifier != Ids.TRACK_ENTRY:
            continue
        values = dict(parse_children(entry))
        video = dict(parse_children(values.get(Ids.VIDEO, b"")))
        number = parse_uint(values.get(Ids.TRACK_NUMBER, b""))
        yield Track(
            number=number,
            uid=parse_uint(values.get(Ids.TRACK_UID, b"")),
            name=parse_string(values.get(Ids.TRACK_NAME, b"")) or str(number),
            codec_id=parse_string(values.get(Ids.CODEC_ID, b"")),
            codec_private=values.get(Ids.CODEC_PRIVATE, b""),
            period_ns=parse_uint(values.get(Ids.DEFAULT_DURATION, b"")),
            width=parse_uint(video.get(Ids.PIXEL_WIDTH, b"")),
            height=parse_uint(video.get(Ids.PIXEL_HEIGHT, b"")),
        )


def parse_tags(raw: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every simple tag in a Tags element's payload."""
    for identifier, tag in parse_children(raw):
        if identifier != Ids.TAG:
            continue
        for child, simple in parse_children(tag):
            if child == Ids.SIMPLE_TAG:
                values = dict(parse_children(simple))
                yield parse_string(values.get(Ids.TAG_NAME, b"")), parse_string(values.get(Ids.TAG_STRING, b""))


def parse_attachments(raw: bytes, offset: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield file name -> place in the file; ``offset`` is where ``raw`` begins in it."""
    at = 0
    while at < len(raw):
        attached = parse_header(raw, at, at)
        if attached.end is None or attached.end > len(raw):
            raise EbmlError("an attachment does not fit")
        name, place, position = "", (0, 0), attached.data
        while attached.id == Ids.ATTACHED_FILE and position < attached.end:
            child = parse_header(raw, position, position)
            if child.end is None or child.end > attached.end:
                raise EbmlError("an attachment's part does not fit")
            if child.id == Ids.FILE_NAME:
                name = parse_string(raw[child.data : child.end])
            elif child.id == Ids.FILE_DATA:
                place = (offset + child.data, child.end - child.data)
            position = child.end
        if name:
            yield name, place
        at = attached.end
