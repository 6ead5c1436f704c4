"""When a depth camera counts as disturbed, and when the measurement does not tell."""

from __future__ import annotations

from dataclasses import dataclass

TILE_PX = 16
_RESOLVED_SIGMAS = 3.0


@dataclass(frozen=True, kw_only=True)
class InterferenceLimits:
    """What is tolerated, and what the measurement must be good for.

    Attributes:
        bias_mm: mean bias of the region, and its root mean square over the pixels.
        tile_bias_mm: bias of any tile of 16x16 pixels.
        added_noise_mm: median of what the noise grows by (root of the difference of variances).
        added_dropout: further share 0..1 of lost readings in the region.
        tile_added_dropout: the same of any tile.
        min_captures: of each stretch.
        min_pixels: of the region.
        moved_mm: pixels that change by more between the dark stretches have moved.
        moved_share: share 0..1 of such pixels that is tolerated.
        drift_mm: change of the region's mean between the dark stretches.
    """

    bias_mm: float = 1.0
    tile_bias_mm: float = 2.0
    added_noise_mm: float = 0.5
    added_dropout: float = 0.01
    tile_added_dropout: float = 0.10
    min_captures: int = 60
    min_pixels: int = 1000
    moved_mm: float = 4.0
    moved_share: float = 0.002
    drift_mm: float = 2.0


def refusals(
    figures: dict[str, float],
    num_captures: tuple[int, int, int],
    num_measured: int,
    num_watched: int,
    limits: InterferenceLimits,
) -> list[str]:
    """Why the measurement does not tell, one sentence each; see ``Interference`` for the figures."""
    if min(num_captures) < limits.min_captures:
        return [f"a stretch has {min(num_captures)} captures, {limits.min_captures} are needed: probe for longer"]
    if num_watched < limits.min_pixels:
        return [
            f"{num_watched} pixels of the region have depth, {limits.min_pixels} are needed: "
            "put something into the volume"
        ]
    reasons = []
    if figures["moved_share"] > limits.moved_share:
        reasons.append(
            f"{figures['moved_share']:.1%} of the pixels moved by more than {limits.moved_mm:g} mm (limit "
            f"{limits.moved_share:.1%}): keep people, cloth and camera still, and probe again"
        )
    if num_measured and abs(figures["drift_mm"]) > limits.drift_mm:
        reasons.append(
            f"depth drifted by {figures['drift_mm']:+.1f} mm between the dark stretches (limit {limits.drift_mm:g}): "
            "let the camera warm up"
        )
    if num_measured and _RESOLVED_SIGMAS * figures["bias_se_mm"] > limits.bias_mm:
        reasons.append(
            f"the mean bias is known to {figures['bias_se_mm']:.2f} mm only, too little for a limit of "
            f"{limits.bias_mm:g} mm: probe for longer"
        )
    return reasons


def findings(figures: dict[str, float], limits: InterferenceLimits) -> list[str]:
    """Which limits the effect passes, one sentence each."""
    checks = (
        ("mean bias", abs(figures["bias_mm"]), limits.bias_mm, "mm"),
        ("root mean square bias", figures["rms_bias_mm"], limits.bias_mm, "mm"),
        (f"bias of a tile of {TILE_PX}x{TILE_PX} pixels", abs(figures["worst_tile_mm"]), limits.tile_bias_mm, "mm"),
        ("added noise", figures["added_noise_mm"], limits.added_noise_mm, "mm"),
        ("further drop-outs", figures["added_dropout"] * 100, limits.added_dropout * 100, "%"),
        ("further drop-outs of a tile", figures["worst_tile_dropout"] * 100, limits.tile_added_dropout * 100, "%"),
    )
    return [
        f"{name} {value:.2f} {unit} (limit {limit:g} {unit})" for name, value, limit, unit in checks if value > limit
    ]
