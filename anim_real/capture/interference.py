"""Does the scanner's projector disturb a depth camera? Three stretches of a still scene: off, on, off again.

Bias is the stretch with the projector on, less the mean of the two beside it: a sensor that drifts evenly
cancels, and the two dark stretches tell whether the scene stood still. Everything in millimetres along z.
Standard errors come from block means, so they hold for noise that is not independent between captures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.capture.depth_statistics import NUM_BLOCKS, DepthStatistics, inflation
from anim_real.capture.interference_limits import TILE_PX, InterferenceLimits, findings, refusals

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Verdict = Literal["ok", "disturbed", "refused"]
_MIN_TILE_PIXELS = 64
_MAX_DROPOUT = 0.5  # over all stretches alike, so that choosing pixels favours none; more often tells nothing
_MIN_LIT_SHARE = 0.25  # of the captures: to measure a bias
_MAX_STD_MM = 10.0  # pixels noisier than this without projector lie on edges
_MOVED_SIGMAS = 6.0
_JUMP_MM = 40.0  # with the projector on; interference is a matter of millimetres


@dataclass(frozen=True, kw_only=True, eq=False)
class InterferenceMaps:
    """Pictures of the effect, each (h, w) float32; NaN where it could not be measured.

    Attributes:
        bias_mm, significance: on less off, and the same in standard errors.
        noise_off_mm, noise_on_mm: standard deviation of single readings.
        dropout_off, dropout_on: share of lost readings.
        ir_off, ir_on: mean IR counts.
    """

    bias_mm: F32
    significance: F32
    noise_off_mm: F32
    noise_on_mm: F32
    dropout_off: F32
    dropout_on: F32
    ir_off: F32
    ir_on: F32


@dataclass(frozen=True, kw_only=True, eq=False)
class Interference:
    """The verdict on one camera, with its evidence. ``_se`` is a standard error.

    Attributes:
        verdict: ``ok``, ``disturbed`` or ``refused`` (the measurement does not tell).
        reasons: one sentence for each limit that was passed.
        num_captures: before, on, after.
        num_pixels: pixels measured.
        inflation: variance of means over that of independent readings.
        bias_mm, bias_se_mm: mean bias of the region.
        rms_bias_mm: root mean square of the pixels' bias, without what noise adds.
        worst_tile_mm: bias of the tile that is farthest from zero.
        noise_off_mm, noise_on_mm: median standard deviation.
        noise_ratio: median of the pixels' ratio on/off.
        added_noise_mm, added_noise_se_mm: root of the median growth of variance.
        dropout_off, dropout_on, added_dropout, added_dropout_se: shares 0..1.
        worst_tile_dropout: largest added share of a tile.
        drift_mm: change of the region's mean between the dark stretches.
        moved_share: largest share of pixels that moved between or within stretches.
        maps: pictures.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    num_captures: tuple[int, int, int]
    num_pixels: int
    inflation: float
    bias_mm: float
    bias_se_mm: float
    rms_bias_mm: float
    worst_tile_mm: float
    noise_off_mm: float
    noise_on_mm: float
    noise_ratio: float
    added_noise_mm: float
    added_noise_se_mm: float
    dropout_off: float
    dropout_on: float
    added_dropout: float
    added_dropout_se: float
    worst_tile_dropout: float
    drift_mm: float
    moved_share: float
    maps: InterferenceMaps

    def record(self) -> dict[str, Any]:
        """JSON-ready figures; what could not be measured is None."""
        figures = {key: value for key, value in vars(self).items() if key != "maps"}
        return {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in figures.items()
        }


def assess(
    before: DepthStatistics,
    lit: DepthStatistics,
    after: DepthStatistics,
    region: Mask,
    limits: InterferenceLimits | None = None,
) -> Interference:
    """Compare a stretch with the projector on with the two beside it with the projector off.

    Args:
        before: statistics of one camera with the projector off,
        lit: with it on,
        after: and off again; all against one reference.
        region: (h, w) pixels that matter, such as the rig's volume.
        limits: what is tolerated.
    """
    limits = limits or InterferenceLimits()
    dropout_off = (before.dropout + after.dropout) / 2
    dropout = (before.dropout + lit.dropout + after.dropout) / 3
    watched = region & (before.reference_mm > 0) & (dropout <= _MAX_DROPOUT)
    noise_off = np.sqrt((before.std_mm**2 + after.std_mm**2) / 2)
    measured = watched & (noise_off <= _MAX_STD_MM) & (lit.count >= max(2.0, _MIN_LIT_SHARE * lit.num_captures))
    factor = inflation([before, lit, after], measured)
    bias = np.where(measured, lit.mean_mm - (before.mean_mm + after.mean_mm) / 2, np.nan)
    error = np.sqrt(_squared_error(lit, factor) + (_squared_error(before, factor) + _squared_error(after, factor)) / 4)
    maps = InterferenceMaps(
        bias_mm=bias.astype(np.float32),
        significance=np.where(measured, bias / error, np.nan).astype(np.float32),
        noise_off_mm=np.where(measured, noise_off, np.nan).astype(np.float32),
        noise_on_mm=np.where(measured, lit.std_mm, np.nan).astype(np.float32),
        dropout_off=np.where(watched, dropout_off, np.nan).astype(np.float32),
        dropout_on=np.where(watched, lit.dropout, np.nan).astype(np.float32),
        ir_off=((before.ir_mean + after.ir_mean) / 2).astype(np.float32),
        ir_on=lit.ir_mean,
    )
    figures: dict[str, float] = {
        **_bias_figures(before, lit, after, measured, maps, error),
        **_noise_figures(measured, maps),
        **_dropout_figures(before, lit, after, watched),
        "moved_share": _moved_share(before, lit, after, watched, maps, factor, limits),
    }
    num_captures = (before.num_captures, lit.num_captures, after.num_captures)
    unusable = refusals(figures, num_captures, int(measured.sum()), int(watched.sum()), limits)
    found = findings(figures, limits)
    return Interference(
        verdict="refused" if unusable else "disturbed" if found else "ok",
        reasons=tuple(unusable or found),
        num_captures=num_captures,
        num_pixels=int(measured.sum()),
        inflation=factor,
        maps=maps,
        **figures,
    )


def _squared_error(stretch: DepthStatistics, factor: float) -> F32:
    """(h, w) squared standard error of the pixels' means."""
    return (factor * stretch.std_mm**2 / np.maximum(stretch.count, 1)).astype(np.float32)


def _bias_figures(
    before: DepthStatistics, lit: DepthStatistics, after: DepthStatistics, measured: Mask, maps: InterferenceMaps,
    error: F32,
) -> dict[str, float]:  # fmt: skip
    means = [_block_means(stretch, measured) for stretch in (before, lit, after)]
    variance = [values.var(ddof=1) / NUM_BLOCKS for values in means]
    bias, squared_error = maps.bias_mm[measured], error[measured] ** 2
    tiles = _tile_means(maps.bias_mm, measured)
    nothing = np.nan
    return {
        "bias_mm": float(bias.mean()) if bias.size else nothing,
        "bias_se_mm": float(np.sqrt(variance[1] + (variance[0] + variance[2]) / 4)),
        "rms_bias_mm": float(np.sqrt(max(0.0, (bias**2 - squared_error).mean()))) if bias.size else nothing,
        "worst_tile_mm": float(tiles[np.argmax(np.abs(tiles))]) if tiles.size else nothing,
        "drift_mm": float(means[2].mean() - means[0].mean()),
    }


def _noise_figures(measured: Mask, maps: InterferenceMaps) -> dict[str, float]:
    off, on = maps.noise_off_mm[measured], maps.noise_on_mm[measured]
    if not off.size:
        names = ("noise_off_mm", "noise_on_mm", "noise_ratio", "added_noise_mm", "added_noise_se_mm")
        return dict.fromkeys(names, np.nan)
    growth = on.astype(np.float64) ** 2 - off.astype(np.float64) ** 2
    median = float(np.median(growth))
    scatter = 1.4826 * float(np.median(np.abs(growth - median)))
    growth_se = 1.2533 * scatter / np.sqrt(off.size)  # of a median
    added = float(np.sqrt(max(median, 0.0)))
    return {
        "noise_off_mm": float(np.median(off)),
        "noise_on_mm": float(np.median(on)),
        "noise_ratio": float(np.median(on / off)),
        "added_noise_mm": added,
        "added_noise_se_mm": float(growth_se / (2.0 * added) if added**2 > growth_se else np.sqrt(growth_se)),
    }


def _dropout_figures(
    before: DepthStatistics, lit: DepthStatistics, after: DepthStatistics, watched: Mask
) -> dict[str, float]:
    shares = []
    for stretch in (before, lit, after):
        length = max(stretch.num_captures / NUM_BLOCKS, 1.0)
        shares.append(1.0 - stretch.counts[:, watched].sum(1) / (length * max(int(watched.sum()), 1)))
    variance = [values.var(ddof=1) / NUM_BLOCKS for values in shares]
    off, on = float((shares[0].mean() + shares[2].mean()) / 2), float(shares[1].mean())
    tiles = _tile_means(lit.dropout - (before.dropout + after.dropout) / 2, watched)
    return {
        "dropout_off": off,
        "dropout_on": on,
        "added_dropout": on - off,
        "added_dropout_se": float(np.sqrt(variance[1] + (variance[0] + variance[2]) / 4)),
        "worst_tile_dropout": float(tiles.max()) if tiles.size else np.nan,
    }


def _moved_share(
    before: DepthStatistics,
    lit: DepthStatistics,
    after: DepthStatistics,
    watched: Mask,
    maps: InterferenceMaps,
    factor: float,
    limits: InterferenceLimits,
) -> float:
    """Largest share of pixels that moved: between the dark stretches, within any stretch, or by jumps when lit."""
    if not watched.any():
        return 0.0

    def share(change: F32, squared_error: F32) -> float:
        far = np.abs(change) > np.maximum(limits.moved_mm, _MOVED_SIGMAS * np.sqrt(squared_error))
        return float(far[watched].mean())

    shares = [share(after.mean_mm - before.mean_mm, _squared_error(before, factor) + _squared_error(after, factor))]
    half = NUM_BLOCKS // 2
    for stretch in (before, lit, after):
        change = stretch.mean_of(slice(half, None)) - stretch.mean_of(slice(None, half))
        shares.append(share(change, 4.0 * _squared_error(stretch, factor)))
    shares.append(float((np.abs(maps.bias_mm[watched]) > _JUMP_MM).mean()))
    return max(shares)


def _block_means(stretch: DepthStatistics, mask: Mask) -> NDArray[np.float64]:
    """(B,) mean deviation from the reference of each block over the mask."""
    total = stretch.sums[:, mask].sum(1, dtype=np.float64)
    return total / np.maximum(stretch.counts[:, mask].sum(1, dtype=np.int64), 1)


def _tile_means(values: NDArray[np.floating], mask: Mask) -> NDArray[np.float64]:
    """(T,) means over tiles that have enough pixels of the mask."""
    height, width = (size // TILE_PX * TILE_PX for size in mask.shape)
    shape = (height // TILE_PX, TILE_PX, width // TILE_PX, TILE_PX)
    inside = mask[:height, :width].reshape(shape)
    total = np.where(mask, values, 0.0)[:height, :width].astype(np.float64).reshape(shape).sum((1, 3))
    count = inside.sum((1, 3))
    return (total / np.maximum(count, 1))[count >= _MIN_TILE_PIXELS]
