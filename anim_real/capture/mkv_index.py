"""An index of a Matroska file: its tracks, tags and attachments, and where every frame lies.

Nothing is decoded and no frame is read. Damaged files are salvaged: a file that ends early gives
every frame that is whole, and behind unreadable bytes the search goes on at the next cluster.
What was lost is counted in ``Damage``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from anim_real.capture.ebml import (
    MAX_HEADER_BYTES,
    EbmlError,
    Element,
    Ids,
    encode_id,
    parse_children,
    parse_header,
    parse_string,
    parse_uint,
    parse_vint,
    read_at,
    read_exactly,
)
from anim_real.capture.mkv_metadata import Track, parse_attachments, parse_tags, parse_tracks
from anim_real.errors import DataError

_TOP_LEVEL = {
    Ids.SEEK_HEAD, Ids.INFO, Ids.TRACKS, Ids.ATTACHMENTS, Ids.TAGS, Ids.CLUSTER, Ids.CUES, Ids.VOID, Ids.CRC32,
    0x1043A770,  # Chapters
}  # fmt: skip
_BLOCK_HEADER_BYTES = 8 + 3 + 256  # track number, time and flags, and most lacing tables
_SEARCH_BYTES = 1 << 20
_MAX_METADATA_BYTES = 64 << 20  # metadata larger than this is damage, not metadata


class Frame(NamedTuple):
    """One frame of a track: time since the segment's start, and where its payload lies in the file."""

    time_ns: int
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What could not be read.

    Attributes:
        missing_bytes: bytes the file announces beyond its end; 0 if unknown.
        skipped_bytes: unreadable bytes stepped over.
        num_cut_frames: frames that begin in the file but do not end in it.
        is_unfinished: the writer never closed the file.
    """

    missing_bytes: int = 0
    skipped_bytes: int = 0
    num_cut_frames: int = 0
    is_unfinished: bool = False

    @property
    def is_damaged(self) -> bool:
        """Whether anything is missing."""
        return bool(self.missing_bytes or self.skipped_bytes or self.num_cut_frames or self.is_unfinished)


@dataclass(frozen=True, kw_only=True, eq=False)
class MkvIndex:
    """Content of a Matroska file without its frames' payloads.

    Attributes:
        tracks: name -> track (the number's text where a track has no name).
        tags: name -> text of every simple tag.
        attachments: file name -> (offset, size) in the file.
        frames: track number -> frames in file order.
        clusters: (offset, size) of the payload of every cluster that is whole.
        damage: what was lost.
    """

    tracks: dict[str, Track]
    tags: dict[str, str]
    attachments: dict[str, tuple[int, int]]
    frames: dict[int, list[Frame]]
    clusters: list[tuple[int, int]]
    damage: Damage

    def track_frames(self, name: str) -> list[Frame]:
        """Frames of the track called ``name``; empty if there is no such track."""
        return self.frames.get(self.tracks[name].number, []) if name in self.tracks else []


def read_index(descriptor: int, file_size: int, path: Path) -> MkvIndex:
    """Walk the file open as ``descriptor``.

    Raises:
        DataError: it is not Matroska, or is damaged before its first track.
    """
    segment = _find_segment(descriptor, path)
    walk = _Walk(descriptor, file_size, segment)
    walk.run()
    if not (walk.tracks and walk.has_info):
        raise DataError(
            "has no readable time scale or track list: it is damaged at its beginning",
            where=path,
            fix="Record it again",
        )
    announced = file_size if segment.end is None or segment.size == 0 else segment.end
    return MkvIndex(
        tracks=walk.tracks,
        tags=walk.tags,
        attachments=walk.attachments,
        frames=walk.frames,
        clusters=walk.clusters,
        damage=Damage(
            missing_bytes=max(0, announced - file_size),
            skipped_bytes=walk.skipped_bytes,
            num_cut_frames=walk.num_cut_frames,
            is_unfinished=segment.size in (None, 0),
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


class _Walk:
    """The state of one pass over a segment's elements."""

    def __init__(self, descriptor: int, file_size: int, segment: Element) -> None:
        self._descriptor = descriptor
        self._position = segment.data
        is_open = segment.end is None or segment.size == 0
        self._limit = file_size if is_open else min(segment.end or 0, file_size)
        self._scale_ns = 0
        self.has_info = False
        self.tracks: dict[str, Track] = {}
        self.tags: dict[str, str] = {}
        self.attachments: dict[str, tuple[int, int]] = {}
        self.frames: dict[int, list[Frame]] = {}
        self.clusters: list[tuple[int, int]] = []
        self.skipped_bytes = self.num_cut_frames = 0

    def run(self) -> None:
        """Visit every top-level element; continue at the next cluster after damage."""
        while self._position < self._limit:
            try:
                element = self._header(self._position)
                if element.id not in _TOP_LEVEL or (element.end is None and element.id != Ids.CLUSTER):
                    raise EbmlError(f"0x{element.id:x} does not belong into a segment")
                if element.id == Ids.CLUSTER:
                    self._position = self._cluster(element)
                else:
                    self._metadata(element)
                    self._position = element.end or self._limit
            except EbmlError:
                self._resync()

    def _header(self, position: int) -> Element:
        return parse_header(
            read_at(self._descriptor, position, min(MAX_HEADER_BYTES, self._limit - position)), 0, position
        )

    def _resync(self) -> None:
        """Move to the next cluster and count what was stepped over."""
        start = self._position
        self._position = self._limit
        for candidate in _find(self._descriptor, encode_id(Ids.CLUSTER), start + 1, self._limit):
            try:
                first = self._header(self._header(candidate).data)
            except EbmlError:
                continue
            if first.id in (Ids.TIMESTAMP, Ids.CRC32):
                self._position = candidate
                break
        self.skipped_bytes += self._position - start

    def _metadata(self, element: Element) -> None:
        assert element.size is not None
        if element.id not in (Ids.INFO, Ids.TRACKS, Ids.TAGS, Ids.ATTACHMENTS):
            return
        if element.size > _MAX_METADATA_BYTES:
            raise EbmlError("metadata is too large")
        raw = read_exactly(self._descriptor, element.data, element.size)
        if element.id == Ids.INFO:
            self._scale_ns = parse_uint(dict(parse_children(raw)).get(Ids.TIMESTAMP_SCALE, b"\x0f\x42\x40"))
            self.has_info = self._scale_ns > 0
        elif element.id == Ids.TRACKS:
            self.tracks |= {track.name: track for track in parse_tracks(raw)}
        elif element.id == Ids.TAGS:
            self.tags |= dict(parse_tags(raw))
        else:
            self.attachments |= dict(parse_attachments(raw, element.data))

    def _cluster(self, cluster: Element) -> int:
        """Index one cluster's blocks; return where to go on. Frames behind the file's end are counted."""
        end = self._limit if cluster.end is None else min(cluster.end, self._limit)
        if cluster.size is not None and cluster.end == end:
            self.clusters.append((cluster.data, cluster.size))
        time = 0
        position = cluster.data
        while position < end:
            self._position = position  # where the search goes on if the next element is damaged
            try:
                child = self._header(position)
            except EbmlError:
                if self._limit - position < MAX_HEADER_BYTES:
                    break  # the file ends inside a header
                raise
            if cluster.end is None and child.id in _TOP_LEVEL - {Ids.VOID, Ids.CRC32}:
                return position
            if child.end is None or (cluster.end is not None and child.end > cluster.end):
                raise EbmlError("a block does not fit into its cluster")
            if child.end > self._limit:
                self.num_cut_frames += child.id in (Ids.SIMPLE_BLOCK, Ids.BLOCK_GROUP)
                break
            if child.id == Ids.TIMESTAMP:
                time = parse_uint(read_exactly(self._descriptor, child.data, child.size or 0))
            elif child.id == Ids.SIMPLE_BLOCK:
                self._block(child.data, child.end, time)
            elif child.id == Ids.BLOCK_GROUP:
                self._block_group(child, time)
            position = child.end
        return self._limit if cluster.end is None else cluster.end

    def _block_group(self, group: Element, time: int) -> None:
        position = group.data
        assert group.end is not None
        while position < group.end:
            child = self._header(position)
            if child.end is None or child.end > group.end:
                raise EbmlError("an element does not fit into its block group")
            if child.id == Ids.BLOCK:
                self._block(child.data, child.end, time)
            position = child.end

    def _block(self, start: int, end: int, time: int) -> None:
        raw = read_at(self._descriptor, start, min(end - start, _BLOCK_HEADER_BYTES))
        number, at = parse_vint(raw, 0, keep_marker=False, max_length=8)
        if at + 3 > len(raw):
            raise EbmlError("a block is too short")
        time += int.from_bytes(raw[at : at + 2], "big", signed=True)
        lacing = (raw[at + 2] >> 1) & 3
        sizes, at = _lace_sizes(raw, at + 3, lacing, end - start)
        frames = self.frames.setdefault(number, [])
        offset = start + at
        for size in sizes:
            frames.append(Frame(time * self._scale_ns, offset, size))
            offset += size


def _lace_sizes(raw: bytes, at: int, lacing: int, total: int) -> tuple[list[int], int]:
    """Sizes of the frames of a block of ``total`` bytes, and the first one's offset (RFC 9559, section 10.3)."""
    if lacing == 0:
        return [total - at], at
    if at >= len(raw):
        raise EbmlError("a laced block is too short")
    count = raw[at] + 1
    at += 1
    if lacing == 2:
        if (total - at) % count:
            raise EbmlError("a fixed-size lace does not divide")
        return [(total - at) // count] * count, at
    sizes: list[int] = []
    for index in range(count - 1):
        if lacing == 1:
            size = 0
            while at < len(raw) and raw[at] == 255:
                size, at = size + 255, at + 1
            if at >= len(raw):
                raise EbmlError("a lacing table is too long")
            size, at = size + raw[at], at + 1
        else:
            before = at
            size, at = parse_vint(raw, at, keep_marker=False, max_length=8)
            if index:
                size += sizes[-1] - ((1 << (7 * (at - before) - 1)) - 1)
        sizes.append(size)
    last = total - at - sum(sizes)
    if min([last, *sizes]) < 0:
        raise EbmlError("a lace is longer than its block")
    return [*sizes, last], at


def _find(descriptor: int, pattern: bytes, start: int, limit: int) -> Iterator[int]:
    """Yield the file offsets of ``pattern`` between ``start`` and ``limit``."""
    overlap = len(pattern) - 1
    while start < limit:
        raw = read_at(descriptor, start, min(_SEARCH_BYTES, limit - start))
        at = raw.find(pattern)
        while at >= 0:
            yield start + at
            at = raw.find(pattern, at + 1)
        if len(raw) <= overlap:
            return
        start += len(raw) - overlap
