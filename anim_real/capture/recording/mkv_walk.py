"""One pass over a Matroska file from header to header, through damage where there is some.

The walk reads a few kilobytes per cluster and no image. It believes blocks before the sizes around
them, goes on at the next element that can be read behind damaged bytes, and counts what it stepped over.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator

from anim_real.capture.recording.ebml import (
    MAX_HEADER_BYTES,
    OPEN,
    EbmlError,
    Element,
    Ids,
    encode_id,
    parse_header,
    parse_uint,
    parse_vint,
    read_at,
    read_exactly,
    read_header,
)
from anim_real.capture.recording.mkv_blocks import MAX_LACE_BYTES, add_block
from anim_real.capture.recording.mkv_metadata import (
    Attachment,
    Tag,
    Track,
    parse_attachments,
    parse_info,
    parse_tags,
    parse_tracks,
)

METADATA = {Ids.INFO: "info", Ids.TRACKS: "tracks", Ids.TAGS: "tags", Ids.ATTACHMENTS: "attachments"}
_TOP_LEVEL = {
    *METADATA, Ids.SEEK_HEAD, Ids.CLUSTER, Ids.CUES, Ids.VOID, Ids.CRC32,
    0x1043A770,  # Chapters
}  # fmt: skip
_ENDS_A_CLUSTER = (_TOP_LEVEL | {Ids.EBML}) - {Ids.VOID, Ids.CRC32}
_IN_A_CLUSTER = {
    Ids.TIMESTAMP, Ids.SIMPLE_BLOCK, Ids.BLOCK_GROUP, Ids.VOID, Ids.CRC32,
    0xA7, 0xAB, 0x5854,  # Position, PrevSize, SilentTracks
}  # fmt: skip
_LANDMARKS = re.compile(b"|".join(re.escape(encode_id(identifier)) for identifier in (*METADATA, Ids.CLUSTER)))
_WINDOW_BYTES = 4096  # read at once: holds all inertial blocks of a cluster
_HEADER_BYTES = 64  # the headers of a block group and of its block
_SEARCH_BYTES = 1 << 20
_MAX_METADATA_BYTES = 64 << 20  # metadata larger than this is damage, not metadata
_MAX_METADATA_READ = 4 * _MAX_METADATA_BYTES  # by all attempts together: damage may look like metadata many times
MAX_TIME_NS = 1 << 62  # 146 years: later is damage; a device may stamp with the time of day, 54 years by now
_MAX_SCALE_NS = 1_000_000_000
_MISSING_SCALE_NS = 1000  # what the SDK writes; a recording that was never closed does not state it


class Walk:
    """The state of one pass over a segment's elements, up to the file's end."""

    def __init__(self, descriptor: int, file_size: int, segment: Element) -> None:
        self._descriptor = descriptor
        self._segment = self._position = segment.data
        self._limit = file_size
        self._is_whole = bool(segment.size) and (segment.end or 0) <= file_size
        self._window, self._window_start = b"", 0
        self._scale_ns = _MISSING_SCALE_NS
        self._metadata_read = 0
        self.seen: set[int] = set()
        self.lost = {Ids.INFO, Ids.TAGS}  # every recording has them, until they are seen
        self.writing_app = ""
        self.tracks: list[Track] = []
        self.tags: list[Tag] = []
        self.attachments: list[Attachment] = []
        self.rows: dict[int, array[int]] = {}
        self.clusters: list[tuple[int, int]] = []
        self.skipped_bytes = self.num_cut_frames = 0

    def run(self) -> None:
        """Visit every top-level element; continue at the next one that can be read after damage."""
        stepped_over = None  # an element whose content was not looked at: its size may be the damage
        while self._position < self._limit:
            start = self._position
            try:
                element = self._header(start)
                if element.id == Ids.EBML:  # another file was appended
                    self.skipped_bytes += self._limit - start
                    break
                if element.id not in _TOP_LEVEL:
                    raise EbmlError(f"0x{element.id:x} does not belong into a segment")
                if element.id == Ids.CLUSTER:
                    stepped_over = None
                    self._position = self._cluster(element)
                elif element.end is None or element.end > self._limit:
                    raise EbmlError("an element does not fit into the file")
                else:
                    self._metadata(element)
                    stepped_over = None if element.id in METADATA else start
                    self._position = element.end
            except EbmlError:
                if stepped_over is not None:
                    self._position, stepped_over = stepped_over, None
                self._resync()

    def _header(self, position: int) -> Element:
        if not 0 <= position < self._limit:
            raise EbmlError("an element lies behind the file's end")
        return parse_header(
            read_at(self._descriptor, position, min(MAX_HEADER_BYTES, self._limit - position)), 0, position
        )

    def _resync(self) -> None:
        """Move to the next cluster, or metadata not yet seen, and count what was stepped over."""
        start = self._position
        self._position = next(self._landmarks(start + 1), self._limit)
        self.skipped_bytes += self._position - start

    def _landmarks(self, start: int) -> Iterator[int]:
        """Yield where clusters and metadata not yet seen seem to begin."""
        for candidate in _find(self._descriptor, _LANDMARKS, start, self._limit):
            try:
                element = self._header(candidate)
                is_cluster = element.id == Ids.CLUSTER
                if is_cluster and self._header(element.data).id not in (Ids.TIMESTAMP, Ids.CRC32):
                    continue
            except EbmlError:
                continue
            if is_cluster or (element.id not in self.seen and (element.end or self._limit) < self._limit):
                yield candidate

    def _metadata(self, element: Element) -> None:
        """Keep what a top-level element tells, as far as it can be read."""
        assert element.size is not None
        if element.id not in METADATA or element.id in self.seen:
            return
        self.lost.add(element.id)  # until it is seen
        self._metadata_read += element.size
        if element.size > _MAX_METADATA_BYTES or self._metadata_read > _MAX_METADATA_READ:
            raise EbmlError("metadata is too large")
        raw = read_exactly(self._descriptor, element.data, element.size)
        if element.id == Ids.INFO:
            scale_ns, self.writing_app = parse_info(raw)
            if not 0 < scale_ns <= _MAX_SCALE_NS:
                raise EbmlError("a time scale is impossible")
            self._scale_ns = scale_ns
        elif element.id == Ids.TRACKS:
            self.tracks.extend(parse_tracks(raw))
        elif element.id == Ids.TAGS:
            self.tags.extend(parse_tags(raw))
        else:
            self.attachments.extend(parse_attachments(raw, element.data))
        self.seen.add(element.id)

    def _bytes(self, position: int, size: int) -> int:
        """Have ``size`` bytes at ``position`` in the window, or all up to the file's end; return where they stand."""
        at = position - self._window_start
        if not 0 <= at <= len(self._window) - size:
            self._window = read_at(self._descriptor, position, min(max(_WINDOW_BYTES, size), self._limit - position))
            self._window_start, at = position, 0
        return at

    def _cluster(self, cluster: Element) -> int:
        """Index one cluster's blocks; return where to go on. Frames behind the file's end are counted.

        The blocks are believed before the cluster's size, which one wrong bit can change.
        """
        time_ns = 0
        position, cluster_end = cluster.data, cluster.end
        while position < self._limit:
            self._position = position  # where the search goes on if the next element is damaged
            at = self._bytes(position, _HEADER_BYTES)
            try:
                identifier, size, behind = read_header(self._window, at)
            except EbmlError:
                if self._limit - position < MAX_HEADER_BYTES:
                    return self._limit  # the file ends inside a header
                raise
            if identifier in _ENDS_A_CLUSTER:
                break
            if identifier not in _IN_A_CLUSTER or size == OPEN:
                raise EbmlError(f"0x{identifier:x} does not belong into a cluster")
            data = position + behind - at
            position = data + size
            if position > self._limit:
                return self._cut(identifier)
            if cluster_end is not None and data <= cluster_end < position and self._ends_at(cluster_end):
                raise EbmlError("a block does not fit into its cluster")
            if identifier == Ids.SIMPLE_BLOCK:
                self._block(data, position, time_ns, 0)
            elif identifier == Ids.BLOCK_GROUP:
                self._block_group(data, position, time_ns)
            elif identifier == Ids.TIMESTAMP:
                time_ns = parse_uint(self._window[behind : behind + min(size, 8)]) * self._scale_ns
                if time_ns > MAX_TIME_NS:
                    raise EbmlError("a cluster's time is impossible")
        if cluster.size is not None and cluster_end == position:
            self.clusters.append((cluster.data, cluster.size))
        return position

    def _ends_at(self, position: int) -> bool:
        """Whether a cluster can end here: the file does, or the next element begins."""
        try:
            return position == self._limit or self._header(position).id in _ENDS_A_CLUSTER
        except EbmlError:
            return False

    def _cut(self, identifier: int) -> int:
        """Count a frame that the file's end cuts; if the file is whole, or clusters follow, its size is wrong."""
        if self._is_whole or next(self._landmarks(self._position + 1), None) is not None:
            raise EbmlError("a block does not fit into the file")
        self.num_cut_frames += identifier in (Ids.SIMPLE_BLOCK, Ids.BLOCK_GROUP)
        return self._limit

    def _block_group(self, position: int, end: int, time_ns: int) -> None:
        block, duration = None, 0
        while position < end:
            at = self._bytes(position, _HEADER_BYTES)
            identifier, size, behind = read_header(self._window, at)
            data = position + behind - at
            if size == OPEN or data + size > end:
                raise EbmlError("an element does not fit into its block group")
            if identifier == Ids.BLOCK:
                block = data, data + size
            elif identifier == Ids.BLOCK_DURATION:
                duration = parse_uint(self._window[behind : behind + min(size, 8)])
            position = data + size
        if block is not None:
            self._block(*block, time_ns, min(duration * self._scale_ns, MAX_TIME_NS))

    def _block(self, start: int, end: int, time_ns: int, duration_ns: int) -> None:
        at = self._bytes(start, _HEADER_BYTES // 2)
        number, behind = parse_vint(self._window, at, keep_marker=False, max_length=8)
        if len(self._window) > behind + 2 and self._window[behind + 2] & 6 in (2, 6):  # its lacing table may be long
            behind -= at
            at = self._bytes(start, min(end - start, MAX_LACE_BYTES))
            behind += at
        rows = self.rows.get(number)
        if rows is None:
            rows = self.rows.setdefault(number, array("q"))
        add_block(rows, self._window, behind, start + behind - at, end, time_ns, self._scale_ns, duration_ns)


def _find(descriptor: int, pattern: re.Pattern[bytes], start: int, limit: int) -> Iterator[int]:
    """Yield the file offsets of a pattern of four bytes between ``start`` and ``limit``."""
    size = _WINDOW_BYTES  # small first: the next cluster is often near
    while start < limit:
        raw = read_at(descriptor, start, min(size, limit - start))
        for match in pattern.finditer(raw):
            yield start + match.start()
        if len(raw) <= 3:
            return
        start += len(raw) - 3
        size = min(2 * size, _SEARCH_BYTES)
