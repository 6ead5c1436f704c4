"""Which images belong together: grouping the blocks of a recording into captures.

The rule is the SDK's (``get_capture`` in its ``matroska_read.cpp``): once the depth delay is removed,
a capture begins at the earliest waiting image and takes from every track the next image if that
lies less than half a frame period later. Every track is put in order of time first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.capture.recording.mkv_blocks import FrameTable

_NONE = 1 << 63  # later than any image


@dataclass(frozen=True, kw_only=True, eq=False)
class CaptureStamps:
    """Device times of every capture, without decoding; -1 where the capture lacks the image.

    Attributes:
        index: (N,) int64 position in the recording.
        color_time_us, depth_time_us, ir_time_us: (N,) int64 microseconds, centre of exposure.
    """

    index: NDArray[np.int64]
    color_time_us: NDArray[np.int64]
    depth_time_us: NDArray[np.int64]
    ir_time_us: NDArray[np.int64]

    @property
    def time_us(self) -> NDArray[np.int64]:
        """(N,) the capture's time: depth's, else IR's, else colour's."""
        infrared = np.where(self.depth_time_us >= 0, self.depth_time_us, self.ir_time_us)
        return np.where(infrared >= 0, infrared, self.color_time_us)

    @property
    def is_complete(self) -> NDArray[np.bool_]:
        """(N,) whether the capture has both colour and depth."""
        return (self.color_time_us >= 0) & (self.depth_time_us >= 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageTable:
    """The images of one track in order of time, no stamp twice.

    Attributes:
        blocks: where they lie, one frame per row.
        num_backwards: images that stood in the file behind a later one.
        num_duplicates: images left out because another one has the same stamp; the first is kept.
    """

    blocks: FrameTable
    num_backwards: int = 0
    num_duplicates: int = 0

    @classmethod
    def of(cls, blocks: FrameTable) -> ImageTable:
        """Sort a track's blocks; images are never laced, so a laced block is left out as damage."""
        single = blocks.take(blocks.count == 1)
        _, first = np.unique(single.time_ns, return_index=True)
        return cls(
            blocks=single.take(first),
            num_backwards=int((np.diff(single.time_ns) < 0).sum()),
            num_duplicates=blocks.num_frames - len(first),
        )

    def __len__(self) -> int:
        return len(self.blocks.time_ns)


def group_captures(
    tables: tuple[ImageTable, ImageTable, ImageTable], depth_delay_ns: int, period_ns: int
) -> NDArray[np.int64]:
    """Group images into captures.

    Args:
        tables: images of colour, depth and IR.
        depth_delay_ns: depth exposure after colour exposure.
        period_ns: frame period.

    Returns:
        (N, 3) rows of the three tables; -1 where the capture lacks the image.
    """
    delays = (0, depth_delay_ns, depth_delay_ns)
    times = [[*(table.blocks.time_ns - delay).tolist(), _NONE] for table, delay in zip(tables, delays, strict=True)]
    heads = [0, 0, 0]
    captures: list[tuple[int, int, int]] = []
    half_ns = period_ns / 2
    while True:
        waiting = [times[track][heads[track]] for track in range(3)]
        begin = min(waiting)
        if begin == _NONE:
            return np.array(captures, dtype=np.int64).reshape(-1, 3)
        rows = [-1, -1, -1]
        for track in range(3):
            if waiting[track] != _NONE and waiting[track] - begin < half_ns:
                rows[track] = heads[track]
                heads[track] += 1
        captures.append((rows[0], rows[1], rows[2]))
