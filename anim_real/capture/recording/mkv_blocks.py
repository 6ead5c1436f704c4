"""Blocks: the frames of a Matroska cluster, and compact tables of where they lie.

An hour of a camera's inertial samples is millions of frames, so a table keeps one row of numbers per
block, and frames of equal size that were laced into one block stay one row. Source: RFC 9559, section 10.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.capture.recording.ebml import EbmlError, parse_vint

MAX_LACE_BYTES = 8 + 3 + 4096  # track number, time and flags, and any lacing table a camera's block can have
_COLUMNS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameTable:
    """The blocks of one track, in file order; times since the segment's start.

    Attributes:
        time_ns: (B,) int64 time of the block's first frame.
        offset: (B,) int64 where the first frame lies in the file.
        size: (B,) int64 bytes of each frame.
        count: (B,) int64 frames in the block, one behind the other.
        duration_ns: (B,) int64 what the writer gave as the block's duration, 0 if nothing.
    """

    time_ns: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    count: NDArray[np.int64]
    duration_ns: NDArray[np.int64]

    @classmethod
    def of(cls, numbers: array[int]) -> FrameTable:
        """Table of the rows that ``add_block`` appended."""
        columns = np.frombuffer(numbers, dtype=np.int64).reshape(-1, _COLUMNS).T
        time_ns, offset, size, count, duration_ns = (column.copy() for column in columns)
        return cls(time_ns=time_ns, offset=offset, size=size, count=count, duration_ns=duration_ns)

    @property
    def num_frames(self) -> int:
        """Frames of all blocks."""
        return int(self.count.sum())

    @property
    def end_ns(self) -> int:
        """Time of the last frame that a block tells of; 0 without blocks."""
        return int((self.time_ns + np.maximum(self.duration_ns - 1, 0)).max(initial=0))

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> FrameTable:
        """The table of some of its rows."""
        return FrameTable(
            time_ns=self.time_ns[rows], offset=self.offset[rows], size=self.size[rows], count=self.count[rows],
            duration_ns=self.duration_ns[rows],
        )  # fmt: skip

    def frames(self) -> Iterator[tuple[int, int, int]]:
        """Yield (time_ns, offset, size) of every frame; laced ones are spread over their block's duration.

        The SDK estimates their times so (``estimate_block_timestamp_ns`` in its ``matroska_read.cpp``).
        """
        for time, offset, size, count, duration in zip(
            self.time_ns.tolist(), self.offset.tolist(), self.size.tolist(), self.count.tolist(),
            self.duration_ns.tolist(), strict=True,
        ):  # fmt: skip
            for index in range(count):
                yield time + _lace_time(index, count, duration), offset + index * size, size


def add_block(
    numbers: array[int], raw: bytes, at: int, start: int, end: int, cluster_ns: int, scale_ns: int, duration_ns: int
) -> None:
    """Append the frames of a block to its track's ``numbers``.

    Args:
        numbers: rows of ``FrameTable``.
        raw: bytes that hold the block's header and lacing table.
        at: where in ``raw`` the block's time stands, behind its track number.
        start: where that is in the file.
        end: where the block ends in the file.
        cluster_ns: time of its cluster.
        scale_ns: nanoseconds per tick.
        duration_ns: duration of the block, 0 if not given.

    Raises:
        EbmlError: the block is too short, or its lacing does not fit.
    """
    if at + 3 > len(raw) or start + 3 > end:
        raise EbmlError("a block is too short")
    ticks = raw[at] << 8 | raw[at + 1]
    time_ns = cluster_ns + (ticks - 0x10000 if ticks & 0x8000 else ticks) * scale_ns
    lacing = (raw[at + 2] >> 1) & 3
    if not lacing:
        numbers.extend((time_ns, start + 3, end - start - 3, 1, duration_ns))
        return
    sizes, behind = _lace_sizes(raw, at + 3, lacing, end - start + at)
    offset = start + behind - at
    if min(sizes) == max(sizes):
        numbers.extend((time_ns, offset, sizes[0], len(sizes), duration_ns))
        return
    for index, size in enumerate(sizes):
        numbers.extend((time_ns + _lace_time(index, len(sizes), duration_ns), offset, size, 1, 0))
        offset += size


def _lace_time(index: int, count: int, duration_ns: int) -> int:
    return index * max(duration_ns - 1, 0) // max(count - 1, 1)


def _lace_sizes(raw: bytes, at: int, lacing: int, end: int) -> tuple[list[int], int]:
    """Sizes of the frames of a block that ends at ``end``, and the first one's offset; all as offsets of ``raw``."""
    if at >= len(raw) or at >= end:
        raise EbmlError("a laced block is too short")
    count = raw[at] + 1
    at += 1
    if lacing == 2:
        if (end - at) % count or end < at:
            raise EbmlError("a fixed-size lace does not divide")
        return [(end - at) // count] * count, at
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
    last = end - at - sum(sizes)
    if min([last, *sizes]) < 0:
        raise EbmlError("a lace is longer than its block")
    return [*sizes, last], at
