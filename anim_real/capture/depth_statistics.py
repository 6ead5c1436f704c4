"""Running statistics of depth and IR of a still scene: constant memory, whatever the number of captures.

A stretch of captures is cut into blocks of equal length. Means of whole blocks carry what single readings hide:
noise that is not independent from capture to capture, drift, and motion. Depth is uint16 millimetres, 0 = no return.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError

F32 = NDArray[np.float32]
NUM_BLOCKS = 8
MIN_BLOCK_CAPTURES = 4
_ROUNDING_VARIANCE = 1.0 / 12.0  # of whole millimetres


class DepthStatistics:
    """Statistics of a stretch of captures, taken in one by one.

    Args:
        reference_mm: (h, w) float32 depth that readings are measured from, 0 = unknown: such pixels are left out.
            The same one for stretches that are compared.
        num_planned: captures that the stretch is to have; further ones are ignored.

    Attributes:
        sums: (B, h, w) float32 sum of reading - reference of each block, mm.
        counts: (B, h, w) uint16 readings of each block.
        num_captures: captures taken in.
    """

    def __init__(self, reference_mm: F32, num_planned: int) -> None:
        if num_planned < NUM_BLOCKS * MIN_BLOCK_CAPTURES:
            raise DataError(
                f"{num_planned} captures are too few", where="depth statistics",
                fix=f"Take {NUM_BLOCKS * MIN_BLOCK_CAPTURES} or more",
            )  # fmt: skip
        self.reference_mm = np.ascontiguousarray(reference_mm, np.float32)
        self.num_captures = 0
        shape = self.reference_mm.shape
        self._block_length = num_planned // NUM_BLOCKS
        self.sums = np.zeros((NUM_BLOCKS, *shape), np.float32)
        self.counts = np.zeros((NUM_BLOCKS, *shape), np.uint16)
        self._squares = np.zeros(shape, np.float64)
        self._ir = np.zeros(shape, np.float64)

    @property
    def is_full(self) -> bool:
        """Whether the stretch has all its captures."""
        return self.num_captures >= NUM_BLOCKS * self._block_length

    def add(self, depth_mm: NDArray[np.uint16], ir: NDArray[np.uint16] | None) -> None:
        """Take in one capture.

        Raises:
            DataError: it has another size than the reference.
        """
        if depth_mm.shape != self.reference_mm.shape:
            raise DataError(f"depth image {depth_mm.shape} among {self.reference_mm.shape}", where="depth statistics")
        if self.is_full:
            return
        block = self.num_captures // self._block_length
        _add(depth_mm, self.reference_mm, self.sums[block], self.counts[block], self._squares)
        if ir is not None:
            self._ir += ir
        self.num_captures += 1

    @property
    def count(self) -> NDArray[np.int64]:
        """(h, w) readings of each pixel."""
        return self.counts.sum(0, dtype=np.int64)

    @property
    def mean_mm(self) -> F32:
        """(h, w) mean of reading - reference, mm; NaN without readings."""
        return self.mean_of(slice(None))

    def mean_of(self, blocks: slice) -> F32:
        """(h, w) the same of some blocks."""
        count = self.counts[blocks].sum(0, dtype=np.int64)
        with np.errstate(invalid="ignore"):
            return np.where(count > 0, self.sums[blocks].sum(0) / np.maximum(count, 1), np.nan).astype(np.float32)

    @property
    def std_mm(self) -> F32:
        """(h, w) standard deviation of the readings, mm, at least that of rounding; NaN below two readings."""
        count = self.count
        total = self.sums.sum(0, dtype=np.float64)
        variance = (self._squares - total**2 / np.maximum(count, 1)) / np.maximum(count - 1, 1)
        return np.where(count > 1, np.sqrt(np.maximum(variance, _ROUNDING_VARIANCE)), np.nan).astype(np.float32)

    @property
    def dropout(self) -> F32:
        """(h, w) share 0..1 of captures without a reading."""
        return (1.0 - self.count / max(self.num_captures, 1)).astype(np.float32)

    @property
    def ir_mean(self) -> F32:
        """(h, w) mean IR counts."""
        return (self._ir / max(self.num_captures, 1)).astype(np.float32)


def inflation(stretches: list[DepthStatistics], region: NDArray[np.bool_]) -> float:
    """How much larger the variance of a mean is than independent readings would make it; 1 at least.

    The variance between block means against that within, pooled over the pixels of ``region`` (median; its
    bias for the chi-square law of few blocks is removed).
    """
    from scipy.stats import chi2

    ratios = []
    for stretch in stretches:
        counts = stretch.counts[:, region].astype(np.float64)
        full = (counts >= MIN_BLOCK_CAPTURES).all(0)
        if not full.any():
            continue
        means = stretch.sums[:, region][:, full] / counts[:, full]
        per_reading = stretch.std_mm[region][full] ** 2
        ratios.append(means.var(0, ddof=1) * counts[:, full].mean(0) / per_reading)
    if not ratios:
        return 1.0
    freedom = NUM_BLOCKS - 1
    return max(1.0, float(np.median(np.concatenate(ratios)) * freedom / chi2.ppf(0.5, freedom)))


def first_reference(depths_mm: list[NDArray[np.uint16]]) -> F32:
    """(h, w) median of the readings of a few captures, mm; 0 where fewer than half of them have one."""
    stack = np.stack(depths_mm).astype(np.float32)
    stack[stack == 0] = np.nan
    seen = np.isfinite(stack).sum(0)
    reference = np.zeros(stack.shape[1:], np.float32)
    enough = seen * 2 > len(depths_mm)
    reference[enough] = np.nanmedian(stack[:, enough], 0)
    return reference


@numba.njit(cache=True, nogil=True)
def _add(
    depth: NDArray[np.uint16], reference: F32, total: F32, count: NDArray[np.uint16], squares: NDArray[np.float64]
) -> None:
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            if depth[row, column] != 0 and reference[row, column] > 0.0:
                difference = np.float32(depth[row, column]) - reference[row, column]
                total[row, column] += difference
                count[row, column] += np.uint16(1)
                squares[row, column] += np.float64(difference) * np.float64(difference)
