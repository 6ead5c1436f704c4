"""A coded LED in colour frames: finding it beside whatever else moves, and reading its brightness.

``led_fit.py`` reads the time off the brightness.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError, RefusedError
from anim_real.rig import LedSpec
from anim_real.sync.led_code import TYPICAL_EXPOSURE_US, LedCode, rates_to_try

Array = NDArray[np.float64]
MIN_SAMPLES = 12
MIN_CORRELATION = 0.7  # of the LED's brightness with its code; a moving performer reaches 0.3-0.5 by chance
_LOCATE_FRAMES = 600  # the LED does not move: later frames are read where the first show it
_PATCH_BLOCKS = 3.0  # radius about the best block
_PATCH_CORRELATION = 0.9  # of the best block's
_MAX_BLOCKS = 60_000
_MAX_CANDIDATES = 4096
_MIN_CONTRAST = 1.0  # standard deviation of a block's 8-bit brightness; below it is noise


@dataclass(frozen=True, kw_only=True, eq=False)
class LedSamples:
    """Brightness of the LED in the frames of one system.

    Attributes:
        time_us: (N,) int64 centres of exposure, ascending, in the system's clock.
        level: (N,) float64 brightness in any unit.
        pixel: (u, v) of the LED's centre in the colour image; None for the scanner.
    """

    time_us: NDArray[np.int64]
    level: Array
    pixel: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.time_us.shape != self.level.shape or self.time_us.ndim != 1:
            raise DataError(f"{self.time_us.shape} times for {self.level.shape} levels", where="LED samples")
        if not np.isfinite(self.level).all() or (np.diff(self.time_us) <= 0).any():
            raise DataError("levels must be finite and times must ascend", where="LED samples")


def locate_led(frames: Iterable[tuple[int, NDArray[np.uint8]]], led: LedSpec) -> LedSamples:
    """Find the blinking LED in colour frames and read its brightness.

    Blocks of pixels whose brightness follows the code at some phase are the LED; whatever else moves
    (a performer, a target) does not follow the code.

    Args:
        frames: (device time in µs, (H, W, 3) uint8 image), ascending in time; read once.
        led: the code.

    Raises:
        DataError: fewer than 12 frames.
        RefusedError: nothing in the images follows the code.
    """
    stream = ((time_us, color.shape, _block_means(color)) for time_us, color in frames)
    first = list(itertools.islice(stream, _LOCATE_FRAMES))
    if len(first) < MIN_SAMPLES:
        raise DataError(f"{len(first)} colour frames are too few to find the LED ({MIN_SAMPLES} needed)", where="LED")
    times = [time_us for time_us, *_ in first]
    stack = np.stack([means for *_, means in first])
    chosen, weight = _find_patch(stack.reshape(len(stack), -1), stack.shape[2], np.array(times, dtype=np.int64), led)
    level = [float(means.ravel()[chosen] @ weight) for means in stack]
    for time_us, _, means in stream:
        times.append(time_us)
        level.append(float(means.ravel()[chosen] @ weight))
    block = _block_size(*first[0][1][:2])
    row, column = np.divmod(chosen, stack.shape[2])
    center = (float(weight @ column + 0.5) * block - 0.5, float(weight @ row + 0.5) * block - 0.5)
    return LedSamples(time_us=np.array(times, dtype=np.int64), level=np.array(level), pixel=center)


def _find_patch(
    series: NDArray[np.float32], width: int, time_us: NDArray[np.int64], led: LedSpec
) -> tuple[NDArray[np.int64], Array]:
    """Blocks (columns of ``series`` (N, B), ``width`` per row of the image) that show the LED, and their weights."""
    blinking = np.flatnonzero(series.std(0) >= _MIN_CONTRAST)
    best = blinking[np.argsort(series[:, blinking].var(0))[::-1][:_MAX_CANDIDATES]]
    correlation = _best_correlation(series[:, best], time_us, led)
    if correlation.max(initial=0.0) < MIN_CORRELATION:
        raise RefusedError(
            f"no LED with the rig's code in {len(series)} frames (best correlation {correlation.max(initial=0.0):.2f})",
            where="LED",
            fix="The LED must be in view of the colour camera during the calibration take, unoccluded",
        )
    peak = int(np.argmax(correlation))  # not the brightest: a moving target blinks more than a small LED
    row, column = np.divmod(best, width)
    near = np.hypot(row - row[peak], column - column[peak]) <= _PATCH_BLOCKS
    chosen = best[near & (correlation >= _PATCH_CORRELATION * correlation[peak])]
    weight = series[:, chosen].std(0).astype(np.float64)
    return chosen, weight / weight.sum()


def _block_size(height: int, width: int) -> int:
    """Side of the square blocks (px) that keeps the number of blocks within the limit."""
    return max(2, int(np.ceil(np.sqrt(height * width / _MAX_BLOCKS))))


def _block_means(color: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(h, w) mean brightness of square blocks; the rim that fills no block is left out."""
    block = _block_size(color.shape[0], color.shape[1])
    height, width = color.shape[0] // block, color.shape[1] // block
    small = cv2.resize(color[: height * block, : width * block], (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32).mean(-1)


def _best_correlation(series: NDArray[np.float32], time_us: NDArray[np.int64], led: LedSpec) -> Array:
    """(B,) best correlation of each block's series (N, B) with the code over all phases and rates."""
    code = LedCode(led)
    elapsed = (time_us - round(float(time_us[[0, -1]].mean()))).astype(np.float64)
    phases = np.arange(len(code.bits) * 4) * code.bit_us / 4.0
    centered = series - series.mean(0)
    centered /= np.maximum(np.linalg.norm(centered, axis=0), 1e-6)
    best = np.zeros(series.shape[1])
    for rate_ppm in rates_to_try(code, float(np.ptp(elapsed)), None)[::2]:
        model = code.level(phases[:, None] + elapsed * (1.0 + rate_ppm * 1e-6), TYPICAL_EXPOSURE_US)
        model -= model.mean(1, keepdims=True)
        model /= np.maximum(np.linalg.norm(model, axis=1, keepdims=True), 1e-9)
        best = np.maximum(best, (model.astype(np.float32) @ centered).max(0))
    return best
