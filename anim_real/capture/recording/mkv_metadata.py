"""The parts of a Matroska file that describe the rest: info, track entries, tags, attachments.

Each function takes an element's payload. What stands before a damaged byte is kept: a generator yields
it and then raises ``EbmlError``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from anim_real.capture.recording.ebml import EbmlError, Ids, parse_children, parse_header, parse_string, parse_uint

VIDEO_TRACK, SUBTITLE_TRACK = 1, 17
_BITMAP_HEADER = struct.Struct("<IiiHH4s")  # size, width, height, planes, bits, FourCC
_DEFAULT_SCALE = b"\x0f\x42\x40"  # a million nanoseconds (RFC 9559)


@dataclass(frozen=True, kw_only=True)
class Track:
    """A track's entry: number and UID, kind, codec, frame period, image size (0 for tracks without images)."""

    number: int
    uid: int
    kind: int
    name: str
    codec_id: str
    codec_private: bytes = field(repr=False)
    period_ns: int
    width: int
    height: int

    @property
    def fourcc(self) -> str:
        """Image format named by the BITMAPINFOHEADER that the codec's private data holds; empty if there is none."""
        if len(self.codec_private) < _BITMAP_HEADER.size:
            return ""
        return _BITMAP_HEADER.unpack_from(self.codec_private)[5].decode("ascii", errors="replace")


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A tag: name, text, and the track or attachment it speaks about (UID 0: the whole file)."""

    name: str
    text: str
    track_uid: int = 0
    attachment_uid: int = 0


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """An attached file: its name, UID, and where its bytes lie."""

    name: str
    uid: int
    offset: int
    size: int


def parse_info(raw: bytes) -> tuple[int, str]:
    """Parse an Info element's payload: nanoseconds per tick, name of the program that wrote the file."""
    values = dict(parse_children(raw))
    scale_ns = parse_uint(values.get(Ids.TIMESTAMP_SCALE, _DEFAULT_SCALE))
    return scale_ns, parse_string(values.get(Ids.WRITING_APP, b""))


def parse_tracks(raw: bytes) -> Iterator[Track]:
    """Yield the entries of a Tracks element's payload."""
    for identifier, entry in parse_children(raw):
        if identifier != Ids.TRACK_ENTRY:
            continue
        values = dict(parse_children(entry))
        video = dict(parse_children(values.get(Ids.VIDEO, b"")))
        number = parse_uint(values.get(Ids.TRACK_NUMBER, b""))
        private = values.get(Ids.CODEC_PRIVATE, b"")
        _, width, height, *_ = _BITMAP_HEADER.unpack_from(private.ljust(_BITMAP_HEADER.size, b"\0"))
        yield Track(
            number=number,
            uid=parse_uint(values.get(Ids.TRACK_UID, b"")),
            kind=parse_uint(values.get(Ids.TRACK_TYPE, b"")),
            name=parse_string(values.get(Ids.TRACK_NAME, b"")) or str(number),
            codec_id=parse_string(values.get(Ids.CODEC_ID, b"")),
            codec_private=private,
            period_ns=parse_uint(values.get(Ids.DEFAULT_DURATION, b"")),
            width=parse_uint(video[Ids.PIXEL_WIDTH]) if Ids.PIXEL_WIDTH in video else width,
            height=parse_uint(video[Ids.PIXEL_HEIGHT]) if Ids.PIXEL_HEIGHT in video else height,
        )


def parse_tags(raw: bytes) -> Iterator[Tag]:
    """Yield every simple tag in a Tags element's payload."""
    for identifier, tag in parse_children(raw):
        if identifier != Ids.TAG:
            continue
        children = list(parse_children(tag))
        targets = dict(parse_children(dict(children).get(Ids.TARGETS, b"")))
        for child, simple in children:
            if child == Ids.SIMPLE_TAG:
                values = dict(parse_children(simple))
                yield Tag(
                    name=parse_string(values.get(Ids.TAG_NAME, b"")),
                    text=parse_string(values.get(Ids.TAG_STRING, b"")),
                    track_uid=parse_uint(targets.get(Ids.TAG_TRACK_UID, b"")),
                    attachment_uid=parse_uint(targets.get(Ids.TAG_ATTACHMENT_UID, b"")),
                )


def parse_attachments(raw: bytes, offset: int) -> Iterator[Attachment]:
    """Yield the attached files; ``offset`` is where ``raw`` begins in the file."""
    at = 0
    while at < len(raw):
        attached = parse_header(raw, at, at)
        if attached.end is None or attached.end > len(raw):
            raise EbmlError("an attachment does not fit")
        name, uid, place, position = "", 0, (0, 0), attached.data
        while attached.id == Ids.ATTACHED_FILE and position < attached.end:
            child = parse_header(raw, position, position)
            if child.end is None or child.end > attached.end:
                raise EbmlError("an attachment's part does not fit")
            if child.id == Ids.FILE_NAME:
                name = parse_string(raw[child.data : child.end])
            elif child.id == Ids.FILE_UID:
                uid = parse_uint(raw[child.data : child.end])
            elif child.id == Ids.FILE_DATA:
                place = (offset + child.data, child.end - child.data)
            position = child.end
        if name:
            yield Attachment(name=name, uid=uid, offset=place[0], size=place[1])
        at = attached.end
