"""An index of a Matroska file: its tracks, tags and attachments, and where every frame lies.

Nothing is decoded and no frame is read. Damaged files are salvaged: a file that ends early gives
every frame that is whole, and behind unreadable bytes the walk (``mkv_walk``) goes on. What was lost
is in ``Damage``.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass
from pathlib import Path

from anim_real.capture.recording.ebml import (
    EbmlError,
    Element,
    Ids,
    encode_id,
    parse_children,
    parse_header,
    parse_string,
    read_at,
)
from anim_real.capture.recording.mkv_blocks import FrameTable
from anim_real.capture.recording.mkv_metadata import Attachment, Tag, Track
from anim_real.capture.recording.mkv_walk import MAX_TIME_NS, METADATA, Walk
from anim_real.errors import DataError

_NO_FRAMES = FrameTable.of(array("q"))


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What could not be read.

    Attributes:
        missing_bytes: bytes the file announces beyond its end; 0 if unknown.
        skipped_bytes: unreadable bytes stepped over.
        num_cut_frames: frames that begin in the file but do not end in it.
        num_stray_frames: blocks of a track that is not there, or at an impossible time.
        is_unfinished: the writer never closed the file.
        lost_metadata: what describes the recording and is missing or broken: info, tracks, tags, attachments.
    """

    missing_bytes: int = 0
    skipped_bytes: int = 0
    num_cut_frames: int = 0
    num_stray_frames: int = 0
    is_unfinished: bool = False
    lost_metadata: tuple[str, ...] = ()

    @property
    def is_damaged(self) -> bool:
        """Whether anything is missing."""
        return any((
            self.missing_bytes, self.skipped_bytes, self.num_cut_frames, self.num_stray_frames, self.is_unfinished,
            self.lost_metadata,
        ))  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class MkvIndex:
    """Content of a Matroska file without its frames' payloads.

    Attributes:
        writing_app: the program that wrote it, empty if not stated.
        tracks: in file order.
        tags, attachments: in file order.
        frames: track number -> its blocks.
        clusters: (offset, size) of the payload of every cluster that is whole.
        damage: what was lost.
    """

    writing_app: str
    tracks: tuple[Track, ...]
    tags: tuple[Tag, ...]
    attachments: tuple[Attachment, ...]
    frames: dict[int, FrameTable]
    clusters: list[tuple[int, int]]
    damage: Damage

    def tag(self, name: str) -> Tag | None:
        """The first tag of that name, as the SDK takes it."""
        return next((tag for tag in self.tags if tag.name == name), None)

    def track(self, name: str, tag_name: str | None = None) -> Track | None:
        """The track that ``tag_name`` points to by its UID, else the one called ``name`` (the SDK's ``find_track``)."""
        tag = None if tag_name is None else self.tag(tag_name)
        if tag is not None:
            uid = tag.track_uid or (int(tag.text) if tag.text.isdecimal() else 0)
            for track in self.tracks:
                if uid and track.uid == uid:
                    return track
        return next((track for track in self.tracks if track.name == name), None)

    def track_frames(self, track: Track | None) -> FrameTable:
        """Blocks of a track; an empty table for None and for a track without any."""
        return self.frames.get(track.number, _NO_FRAMES) if track is not None else _NO_FRAMES


def read_index(descriptor: int, file_size: int, path: Path) -> MkvIndex:
    """Walk the file open as ``descriptor``.

    Raises:
        DataError: it is not Matroska, or its track list cannot be read.
    """
    segment = _find_segment(descriptor, path)
    if hasattr(os, "posix_fadvise"):  # the walk jumps from header to header: reading ahead would read the images
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    walk = Walk(descriptor, file_size, segment)
    walk.run()
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_NORMAL)
    if not walk.tracks:
        raise DataError("has no readable track list: it is damaged at its beginning", where=path, fix="Record it again")
    is_unfinished = segment.size in (None, 0)
    frames = {track.number: FrameTable.of(walk.rows.pop(track.number, array("q"))) for track in walk.tracks}
    num_stray = sum(FrameTable.of(rows).num_frames for rows in walk.rows.values())
    for number, table in frames.items():
        is_possible = (table.time_ns >= 0) & (table.time_ns <= MAX_TIME_NS)
        if not is_possible.all():
            num_stray += table.take(~is_possible).num_frames
            frames[number] = table.take(is_possible)
    return MkvIndex(
        writing_app=walk.writing_app,
        tracks=tuple(walk.tracks),
        tags=tuple(walk.tags),
        attachments=tuple(walk.attachments),
        frames=frames,
        clusters=walk.clusters,
        damage=Damage(
            missing_bytes=0 if is_unfinished else max(0, (segment.end or 0) - file_size),
            skipped_bytes=walk.skipped_bytes,
            num_cut_frames=walk.num_cut_frames,
            num_stray_frames=num_stray,
            is_unfinished=is_unfinished,
            lost_metadata=tuple(METADATA[identifier] for identifier in sorted(walk.lost - walk.seen)),
        ),
    )


def _find_segment(descriptor: int, path: Path) -> Element:
    """Check the EBML head and return the segment behind it."""
    raw = read_at(descriptor, 0, 4096)
    if not raw:
        raise DataError("is empty, not a recording", where=path, fix="Record it again")
    if not raw.startswith(encode_id(Ids.EBML)):
        raise DataError(
            "is not a Matroska (MKV) file", where=path, fix="Give a recording of k4arecorder or of simulate"
        )
    try:
        head = parse_header(raw, 0, 0)
        children = dict(parse_children(raw[head.data : head.end]))
        if parse_string(children.get(Ids.DOC_TYPE, b"")) != "matroska":
            raise DataError(f"is EBML of type {children.get(Ids.DOC_TYPE, b'')!r}, not Matroska", where=path)
        segment = parse_header(raw, head.end or 0, head.end or 0)
    except EbmlError as error:
        raise DataError(f"is damaged at its beginning ({error})", where=path, fix="Record it again") from error
    if segment.id != Ids.SEGMENT:
        raise DataError("holds no Matroska segment", where=path)
    return segment
