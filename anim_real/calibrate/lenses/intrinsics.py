"""A camera's focal length, centre and lens from images of a board alone (Zhang 2000, as OpenCV solves it).

Views that are too alike are refused: boards all parallel to the image leave the focal length undetermined.
Views and corners that do not fit are left out and listed. Pixels are OpenCV's, lengths in metres.
How two cameras differ is ``ray_field``; which images to use is ``board_views``; the solve itself ``board_solve``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.lenses.outliers import MIN_VIEWS, without_outliers, without_wrong_corners
from anim_real.calibrate.lenses.solve import NUM_FREE, SolvedBoards, pose_board, rms_length, robust_scale, solve_boards
from anim_real.calibrate.lenses.views import BoardView, choose_spread, coverage, normal_spread_deg, tilts_deg
from anim_real.errors import DataError, RefusedError
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]
Lens = Literal["auto", "simple", "brown", "rational"]
_MIN_NORMAL_SPREAD_DEG = 25.0  # below, focal length and distance of the boards trade off
_MAX_FOCAL_STD = 0.01  # of the focal length: a larger one is no calibration
_NUM_FOLDS = 5
_MAX_HELD_OUT_RATIO = 1.2  # of the best lens model, in pixels of views held out: the residuals may choose among such
_NAMES = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewFit:
    """One view that was used.

    Attributes:
        view: the view, without the corners left out.
        rotation: (3, 3) ``R_camera_board``.
        translation: (3,) metres.
        residuals: (N, 2) seen minus projected, px.
        tilt_deg: angle between the board's normal and the camera's axis.
    """

    view: BoardView
    rotation: Array
    translation: Array
    residuals: Array
    tilt_deg: float

    @property
    def rms_px(self) -> float:
        """Root mean square distance of seen and projected corners."""
        return rms_length(self.residuals)


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardIntrinsics:
    """A camera and how well the boards tell it.

    Attributes:
        camera: the camera; beyond the corners seen (``coverage``) it is an extrapolation.
        lens: the model used.
        views: the views used.
        left_out: name and reason of views that were not used.
        num_corners_left_out: single corners left out of used views.
        std: standard deviation of every parameter (px; lens terms have no unit), if residuals were independent.
        rms_px: over all corners used.
        held_out_rms_px: over all views, each posed by a camera solved without its fifth of the views.
        coverage: (6, 8) corners per cell of the image.
        normal_spread_deg: largest angle between two boards.
    """

    camera: Camera
    lens: str
    views: tuple[ViewFit, ...]
    left_out: tuple[tuple[str, str], ...]
    num_corners_left_out: int
    std: dict[str, float]
    rms_px: float
    held_out_rms_px: float
    coverage: NDArray[np.int64]
    normal_spread_deg: float

    @property
    def covered_share(self) -> float:
        """Share of the image's cells in which a corner was seen."""
        return float((self.coverage > 0).mean())


def solve_intrinsics(
    views: list[BoardView], size: tuple[int, int], *, lens: Lens = "auto", max_views: int = 40
) -> BoardIntrinsics:
    """Solve a camera from views of flat boards.

    Args:
        views: boards as seen; at least ``MIN_VIEWS``.
        size: width and height of the images, px.
        lens: ``simple`` (k1 k2), ``brown`` (k1 k2 p1 p2 k3), ``rational`` (with k4 k5 k6), or ``auto``: what the
            residuals ask for (Schwarz 1978), unless another one predicts views held out clearly better.
        max_views: use at most so many, those that differ most.

    Raises:
        RefusedError: too few views, or too alike; says what to record.
        DataError: no camera explains the views.
    """
    if len(views) < MIN_VIEWS:
        raise RefusedError(
            f"{len(views)} views of a board, {MIN_VIEWS} are needed",
            where="intrinsics",
            fix="Record 15 or more, slanted to all sides, near and far, into every corner of the image",
        )
    chosen = choose_spread(views, size, max_views)
    used = [views[k] for k in chosen]
    left_out = [(view.name, "much like others") for k, view in enumerate(views) if k not in set(chosen)]
    settled: list[BoardIntrinsics] = []
    failures: list[DataError | RefusedError] = []
    for model, start in _ranked_lenses(used, size, lens):
        try:
            settled.append(_settle(used, start, size, model, left_out))
        except (DataError, RefusedError) as error:  # folds over once views are left out, or its focal length is open
            failures.append(error)
    if not settled:
        raise failures[0]
    least = min(answer.held_out_rms_px for answer in settled)
    return next(answer for answer in settled if answer.held_out_rms_px <= _MAX_HELD_OUT_RATIO * least)


def _settle(
    used: list[BoardView], best: SolvedBoards, size: tuple[int, int], model: str, left_out: list[tuple[str, str]]
) -> BoardIntrinsics:
    """Leave out what does not fit, judge, and gather the evidence, with one lens model."""

    def refine(kept: list[BoardView]) -> SolvedBoards:
        return solve_boards(kept, size, model)

    used, best, dropped = without_outliers(used, best, refine)
    used, best, num_corners = without_wrong_corners(used, best, refine)
    spread = normal_spread_deg(best.rotations)
    _refuse_weak(best, spread)
    fits = tuple(
        ViewFit(view=view, rotation=rotation, translation=translation, residuals=residuals, tilt_deg=float(tilt))
        for view, rotation, translation, residuals, tilt in zip(
            used, best.rotations, best.translations, best.residuals, tilts_deg(best.rotations), strict=True
        )
    )
    return BoardIntrinsics(
        camera=best.camera,
        lens=model,
        views=fits,
        left_out=(*left_out, *dropped),
        num_corners_left_out=num_corners,
        std=dict(zip(_NAMES, best.std.tolist(), strict=False)),
        rms_px=rms_length(np.concatenate(best.residuals)),
        held_out_rms_px=_held_out_rms(used, refine),
        coverage=coverage(used, size),
        normal_spread_deg=spread,
    )


def _ranked_lenses(views: list[BoardView], size: tuple[int, int], lens: Lens) -> list[tuple[str, SolvedBoards]]:
    """Lens models that do not fold over within the boards; first the one whose parameters earn their price."""
    if lens != "auto":
        return [(lens, solve_boards(views, size, lens))]
    found: dict[str, SolvedBoards] = {}
    for name in NUM_FREE:
        try:
            found[name] = solve_boards(views, size, name)
        except DataError:
            continue
    if not found:
        raise DataError("no lens model explains the views", where="intrinsics", fix="Is it the right target?")
    scale = min(robust_scale(solved.residuals) for solved in found.values())
    num = 2 * sum(len(view.ids) for view in views)

    def score(name: str) -> float:
        """Squared residuals in units of the smallest scale, wrong corners capped, and a price per parameter."""
        squared = (np.concatenate(found[name].residuals) / scale) ** 2
        return float(np.minimum(squared, 9.0).sum() + NUM_FREE[name] * np.log(num))

    return [(name, found[name]) for name in sorted(found, key=score)]


def _refuse_weak(solved: SolvedBoards, spread_deg: float) -> None:
    if spread_deg < _MIN_NORMAL_SPREAD_DEG:
        raise RefusedError(
            f"the boards are too alike: their normals differ by {spread_deg:.0f} degrees at most, "
            f"{_MIN_NORMAL_SPREAD_DEG:.0f} are needed; the focal length is not determined",
            where="intrinsics",
            fix="Add views with the board slanted by 30 to 45 degrees to the left, the right, up and down",
        )
    relative = solved.std[:2] / (solved.camera.fx, solved.camera.fy)
    if relative.max() > _MAX_FOCAL_STD:
        raise RefusedError(
            f"the focal length is known to {relative.max():.1%} only, {_MAX_FOCAL_STD:.0%} is needed",
            where="intrinsics",
            fix="Add views: nearer, more slanted, and with more of the board in the image",
        )


def _held_out_rms(views: list[BoardView], solve: Callable[[list[BoardView]], SolvedBoards]) -> float:
    """Residuals of views that the camera was not solved from; their poses are fitted."""
    residuals: list[Array] = []
    for fold in range(min(_NUM_FOLDS, len(views) // 2)):
        inside = [view for k, view in enumerate(views) if k % _NUM_FOLDS != fold]
        try:
            camera = solve(inside).camera
        except DataError:
            return float("inf")
        residuals += [pose_board(camera, view)[2] for view in views[fold::_NUM_FOLDS]]
    return rms_length(np.concatenate(residuals))
