"""Charts of a solved sensor: residuals over the images and over distance, what was observed where, expected error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from anim_real.calibrate.sensor import SensorSolution
    from anim_real.calibrate.solve.residuals import Kind

Array = NDArray[np.float64]
_ARROW_SHARE = 0.04  # of the image's width, for the 90th percentile
_NUM_BINS = 12
_MIN_IN_BIN = 20


def residual_maps(solved: SensorSolution) -> Figure:
    """Corner residuals over the colour and the IR image, all placements, and depth residuals over distance."""
    from matplotlib.figure import Figure

    observations = solved.problem.observations
    figure = Figure(figsize=(10.5, 3.0), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    color, depth = observations.color, observations.depth
    _corner_map(left, *_kept_corners(solved, "color"), "colour", (color.width, color.height))
    _corner_map(middle, *_kept_corners(solved, "ir"), "IR", (depth.width, depth.height))
    _depth_over_distance(right, solved)
    return figure


def _kept_corners(solved: SensorSolution, kind: Kind) -> tuple[Array, Array]:
    """(N, 2) pixels of the corners kept at all placements, and their residuals."""
    pixels, residuals = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for placement in solved.problem.observations.placements:
        found = solved.solution.block(kind, placement.index)
        if found is not None:
            pairs = placement.color if kind == "color" else placement.ir
            pixels.append(pairs.pixels[found[1]])
            residuals.append(found[0].residual[found[1]])
    return np.concatenate(pixels), np.concatenate(residuals)


def _corner_map(axes: Axes, pixels: Array, residuals: Array, name: str, size: tuple[int, int]) -> None:
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    axes.set_aspect("equal")
    axes.set_title(f"{name}: no corners", fontsize=9)
    if len(pixels) == 0:
        return
    usual = max(float(np.percentile(np.linalg.norm(residuals, axis=1), 90)), 1e-4)
    length = _ARROW_SHARE * size[0]
    arrows = residuals * (length / usual)
    axes.quiver(
        pixels[:, 0], pixels[:, 1], arrows[:, 0], arrows[:, 1], angles="xy", scale_units="xy", scale=1.0,
        width=0.003, color="#4c78a8",
    )  # fmt: skip
    axes.plot([0.04 * size[0], 0.04 * size[0] + length], [0.95 * size[1]] * 2, color="#cf222e", linewidth=2)
    axes.set_title(f"{name} residuals (red bar: {usual:.2g} px)", fontsize=9)


def _depth_over_distance(axes: Axes, solved: SensorSolution) -> None:
    """Median and middle 68 % of depth residuals in bins of the distance measured."""
    solution = solved.solution
    distance, residual = [np.zeros(0)], [np.zeros(0)]
    for index, points in solution.depth_points.items():
        found = solution.block("depth", index)
        if found is not None and len(found[0].residual) == len(points):
            distance.append(points.z_measured[found[1]])
            residual.append(1e3 * found[0].residual[found[1], 0])
    z, error = np.concatenate(distance), np.concatenate(residual)
    axes.set_xlabel("depth, m")
    axes.set_ylabel("depth residual, mm")
    axes.set_title("median, and 68 % of the pixels", fontsize=9)
    axes.axhline(0.0, color="0.7", linewidth=0.8)
    if len(z) == 0:
        return
    edges = np.linspace(z.min(), z.max() + 1e-6, _NUM_BINS + 1)
    number = np.digitize(z, edges) - 1
    full = [k for k in range(_NUM_BINS) if (number == k).sum() >= _MIN_IN_BIN]
    low, median, high = (np.array([np.percentile(error[number == k], q) for k in full]) for q in (16, 50, 84))
    middles = (edges[:-1] + edges[1:])[full] / 2
    axes.fill_between(middles, low, high, color="#4c78a8", alpha=0.25)
    axes.plot(middles, median, ".-", color="#4c78a8")


def volume_chart(solved: SensorSolution) -> Figure:
    """The person's volume from the side and from the camera: what was observed, and the expected target error."""
    from matplotlib.figure import Figure

    state = solved.solution.state
    grid = state.T_color_scan.apply(solved.volume_scan)
    observed = [placement.color.points_scan for placement in solved.problem.observations.placements]
    if solved.color_is_factory:
        observed = [points.anchors_scan for points in solved.solution.depth_points.values()]
    figure = Figure(figsize=(10.5, 4.0), layout="constrained")
    views = figure.subplots(1, 4, sharey=True)
    order = np.argsort(solved.target_map_mm)  # the largest error is drawn last: on top
    shown = None
    for column, (axis, name) in enumerate(((2, "away from the camera, m"), (0, "to the right, m"))):
        seen, error = views[column], views[2 + column]
        seen.plot(grid[:, axis], -grid[:, 1], "s", color="0.8", markersize=3)
        for points_scan in observed:
            points = state.T_color_scan.apply(points_scan)
            seen.plot(points[:, axis], -points[:, 1], ".", markersize=3)
        shown = error.scatter(
            grid[order, axis], -grid[order, 1], c=solved.target_map_mm[order], s=36, cmap="viridis", marker="s"
        )
        for axes, title in ((seen, "observed, by placement"), (error, "expected error")):
            axes.set_title(title, fontsize=9)
            axes.set_xlabel(name)
            axes.set_aspect("equal")
    views[0].set_ylabel("up from the camera's axis, m")
    assert shown is not None
    figure.colorbar(shown, ax=views[3], label="expected target error, mm")
    return figure
