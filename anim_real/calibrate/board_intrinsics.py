"""A camera's focal length, centre and lens from images of a board alone (Zhang 2000, as OpenCV solves it).

Views that are too alike are refused: boards all parallel to the image leave the focal length undetermined.
Views and corners that do not fit are left out and listed. Pixels are OpenCV's, lengths in metres.
How two cameras differ is ``ray_field``; which images to use is ``board_views``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.board_views import BoardView, choose_spread, coverage, normal_spread_deg, tilts_deg
from anim_real.errors import DataError, RefusedError
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]
Lens = Literal["auto", "simple", "brown", "rational"]
MIN_VIEWS = 6
_MIN_NORMAL_SPREAD_DEG = 25.0  # below, focal length and distance of the boards trade off
_MAX_FOCAL_STD = 0.01  # of the focal length: a larger one is no calibration
_MAX_REMOVED_SHARE = 0.25
_VIEW_OUTLIER = 2.5  # times the median of the views' residuals
_CORNER_OUTLIER = 5.0  # times the residuals' robust standard deviation
_NUM_FOLDS = 5
_FLAGS = {"simple": cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3, "brown": 0, "rational": cv2.CALIB_RATIONAL_MODEL}
_NUM_LENS = {"simple": 5, "brown": 5, "rational": 8}  # values; of simple's three are zero
_NUM_FREE = {"simple": 2, "brown": 5, "rational": 8}
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
        return _rms(self.residuals)


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Solved:
    camera: Camera
    rotations: Array
    translations: Array
    residuals: list[Array]
    std: Array


def solve_intrinsics(
    views: list[BoardView], size: tuple[int, int], *, lens: Lens = "auto", max_views: int = 40
) -> BoardIntrinsics:
    """Solve a camera from views of flat boards.

    Args:
        views: boards as seen; at least ``MIN_VIEWS``.
        size: width and height of the images, px.
        lens: ``simple`` (k1 k2), ``brown`` (k1 k2 p1 p2 k3), ``rational`` (with k4 k5 k6), or ``auto``: what the
            residuals ask for (Schwarz 1978).
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
    candidates = _ranked_lenses(used, size, lens)
    for position, (model, start) in enumerate(candidates):
        try:
            return _settle(used, start, size, model, left_out)
        except RefusedError:
            raise
        except DataError:  # folds over once views are left out
            if position == len(candidates) - 1:
                raise
    raise AssertionError("there is at least one candidate")


def _settle(
    used: list[BoardView], best: _Solved, size: tuple[int, int], model: str, left_out: list[tuple[str, str]]
) -> BoardIntrinsics:
    """Leave out what does not fit, judge, and gather the evidence, with one lens model."""

    def refine(kept: list[BoardView]) -> _Solved:
        return _solve(kept, size, model)

    used, best, dropped = _without_outliers(used, best, refine)
    used, best, num_corners = _without_wrong_corners(used, best, refine)
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
        rms_px=_rms(np.concatenate(best.residuals)),
        held_out_rms_px=_held_out_rms(used, refine),
        coverage=coverage(used, size),
        normal_spread_deg=spread,
    )


def _ranked_lenses(views: list[BoardView], size: tuple[int, int], lens: Lens) -> list[tuple[str, _Solved]]:
    """Lens models that do not fold over within the boards; first the one whose parameters earn their price."""
    if lens != "auto":
        return [(lens, _solve(views, size, lens))]
    found: dict[str, _Solved] = {}
    for name in _NUM_FREE:
        try:
            found[name] = _solve(views, size, name)
        except DataError:
            continue
    if not found:
        raise DataError("no lens model explains the views", where="intrinsics", fix="Is it the right target?")
    scale = min(_robust(solved.residuals) for solved in found.values())
    num = 2 * sum(len(view.ids) for view in views)

    def score(name: str) -> float:
        """Squared residuals in units of the smallest scale, wrong corners capped, and a price per parameter."""
        squared = (np.concatenate(found[name].residuals) / scale) ** 2
        return float(np.minimum(squared, 9.0).sum() + _NUM_FREE[name] * np.log(num))

    return [(name, found[name]) for name in sorted(found, key=score)]


def _robust(residuals: list[Array]) -> float:
    """Scale of residuals that a tenth of wrong corners does not move."""
    return float(np.percentile(np.abs(np.concatenate(residuals)), 68.3)) + 1e-9


def _solve(views: list[BoardView], size: tuple[int, int], lens: str) -> _Solved:
    points = [view.points.astype(np.float32) for view in views]
    pixels = [view.pixels.astype(np.float32).reshape(-1, 1, 2) for view in views]
    start = cv2.initCameraMatrix2D(points, pixels, size, 1.0)
    if not np.isfinite(start).all() or start[0, 0] <= 0:
        start = np.array([[size[0], 0, (size[0] - 1) / 2], [0, size[0], (size[1] - 1) / 2], [0, 0, 1.0]])
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 200, 1e-10)
    try:
        _, matrix, lens_terms, turns, shifts, std, _, _ = cv2.calibrateCameraExtended(
            points, pixels, size, start, np.zeros(_NUM_LENS[lens]), flags=_FLAGS[lens] | cv2.CALIB_USE_INTRINSIC_GUESS,
            criteria=stop,
        )  # fmt: skip
    except cv2.error as error:
        raise DataError(f"no camera explains the views ({error.err})", where="intrinsics") from error
    terms = np.asarray(lens_terms, np.float64).ravel()[: _NUM_LENS[lens]]
    rotations = np.array([cv2.Rodrigues(turn)[0] for turn in turns], np.float64)
    translations = np.array([shift.ravel() for shift in shifts], np.float64)
    radius = _seen_radius(views, rotations, translations)
    camera = Camera(
        width=size[0], height=size[1], fx=matrix[0, 0], fy=matrix[1, 1], cx=matrix[0, 2], cy=matrix[1, 2],
        distortion=terms, max_radius=np.inf,
    )  # fmt: skip
    if camera.valid_radius < radius:
        raise DataError(
            "the lens model folds over within the boards", where="intrinsics", fix="Choose a smaller lens model"
        )
    residuals = [
        view.pixels - camera.project(view.points @ rotation.T + translation)
        for view, rotation, translation in zip(views, rotations, translations, strict=True)
    ]
    return _Solved(
        camera=camera,
        rotations=rotations,
        translations=translations,
        residuals=residuals,
        std=np.asarray(std, np.float64).ravel()[: 4 + _NUM_LENS[lens]],
    )


def _seen_radius(views: list[BoardView], rotations: Array, translations: Array) -> float:
    """Largest undistorted radius at which a corner was seen."""
    radii = []
    for view, rotation, translation in zip(views, rotations, translations, strict=True):
        x, y, z = (view.points @ rotation.T + translation).T
        radii.append(np.max(np.hypot(x, y) / z))
    return float(np.max(radii))


def _without_outliers(
    views: list[BoardView], solved: _Solved, solve: Callable[[list[BoardView]], _Solved]
) -> tuple[list[BoardView], _Solved, list[tuple[str, str]]]:
    """Leave out the worst view and solve again, while it stands out and a quarter of the views is not used up."""
    dropped: list[tuple[str, str]] = []
    limit = int(_MAX_REMOVED_SHARE * len(views))
    while len(dropped) < limit and len(views) > MIN_VIEWS:
        rms = np.array([_rms(residuals) for residuals in solved.residuals])
        worst = int(rms.argmax())
        if rms[worst] <= _VIEW_OUTLIER * np.median(rms):
            break
        dropped.append((views[worst].name, f"residual {rms[worst]:.2f} px, median {np.median(rms):.2f} px"))
        views = [view for k, view in enumerate(views) if k != worst]
        solved = solve(views)
    return views, solved, dropped


def _without_wrong_corners(
    views: list[BoardView], solved: _Solved, solve: Callable[[list[BoardView]], _Solved]
) -> tuple[list[BoardView], _Solved, int]:
    """Leave out single corners far from where the camera puts them, and solve once more."""
    limit = _CORNER_OUTLIER * _robust(solved.residuals) * np.sqrt(2)
    kept = [np.linalg.norm(residuals, axis=1) <= limit for residuals in solved.residuals]
    num = sum(int((~keep).sum()) for keep in kept)
    if num == 0:
        return views, solved, 0
    views = [
        BoardView(name=view.name, ids=view.ids[keep], points=view.points[keep], pixels=view.pixels[keep])
        for view, keep in zip(views, kept, strict=True)
        if keep.sum() >= 4
    ]
    return views, solve(views), num


def _refuse_weak(solved: _Solved, spread_deg: float) -> None:
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


def _held_out_rms(views: list[BoardView], solve: Callable[[list[BoardView]], _Solved]) -> float:
    """Residuals of views that the camera was not solved from; their poses are fitted."""
    residuals: list[Array] = []
    for fold in range(min(_NUM_FOLDS, len(views) // 2)):
        inside = [view for k, view in enumerate(views) if k % _NUM_FOLDS != fold]
        try:
            camera = solve(inside).camera
        except DataError:
            return float("inf")
        residuals += [pose_board(camera, view)[2] for view in views[fold::_NUM_FOLDS]]
    return _rms(np.concatenate(residuals))


def pose_board(camera: Camera, view: BoardView) -> tuple[Array, Array, Array]:
    """Rotation ``R_camera_board`` (3, 3), translation (3,) in metres and residuals (N, 2) px of one view."""
    solved, turn, shift = cv2.solvePnP(view.points, view.pixels, camera.matrix, camera.distortion)
    if not solved:
        raise DataError("the board's pose cannot be solved", where=view.name)
    rotation, translation = cv2.Rodrigues(turn)[0].astype(np.float64), shift.ravel().astype(np.float64)
    projected, _ = cv2.projectPoints(view.points, turn, shift, camera.matrix, camera.distortion)
    return rotation, translation, view.pixels - projected[:, 0]


def _rms(residuals: Array) -> float:
    return float(np.sqrt((residuals**2).sum(-1).mean()))
