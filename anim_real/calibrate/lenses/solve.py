"""One camera of one lens model from flat views, as OpenCV solves it; and one view's pose before a given camera.

Pixels are OpenCV's, lengths in metres. Which model and which views to use is left to ``lenses.intrinsics``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.lenses.views import BoardView
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]
_FLAGS = {"simple": cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3, "brown": 0, "rational": cv2.CALIB_RATIONAL_MODEL}
_NUM_LENS = {"simple": 5, "brown": 5, "rational": 8}  # values; of simple's three are zero
NUM_FREE = {"simple": 2, "brown": 5, "rational": 8}


@dataclass(frozen=True, kw_only=True, eq=False)
class SolvedBoards:
    """A camera with the pose of every view.

    Attributes:
        camera: the camera.
        rotations, translations: (V, 3, 3) ``R_camera_board`` and (V, 3) metres.
        residuals: per view (N, 2) seen minus projected, px.
        std: standard deviations of fx, fy, cx, cy and the lens terms.
    """

    camera: Camera
    rotations: Array
    translations: Array
    residuals: list[Array]
    std: Array


def solve_boards(views: list[BoardView], size: tuple[int, int], lens: str) -> SolvedBoards:
    """Solve a camera of one lens model from flat views.

    Raises:
        DataError: no camera explains the views, or the lens folds over within them.
    """
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
    return SolvedBoards(
        camera=camera,
        rotations=rotations,
        translations=translations,
        residuals=residuals,
        std=np.asarray(std, np.float64).ravel()[: 4 + _NUM_LENS[lens]],
    )


def pose_board(camera: Camera, view: BoardView) -> tuple[Array, Array, Array]:
    """Rotation ``R_camera_board`` (3, 3), translation (3,) in metres and residuals (N, 2) px of one view."""
    solved, turn, shift = cv2.solvePnP(view.points, view.pixels, camera.matrix, camera.distortion)
    if not solved:
        raise DataError("the board's pose cannot be solved", where=view.name)
    rotation, translation = cv2.Rodrigues(turn)[0].astype(np.float64), shift.ravel().astype(np.float64)
    projected, _ = cv2.projectPoints(view.points, turn, shift, camera.matrix, camera.distortion)
    return rotation, translation, view.pixels - projected[:, 0]


def robust_scale(residuals: list[Array]) -> float:
    """Scale of residuals that a tenth of wrong corners does not move."""
    return float(np.percentile(np.abs(np.concatenate(residuals)), 68.3)) + 1e-9


def rms_length(residuals: Array) -> float:
    """Root mean square length of residuals (N, 2)."""
    return float(np.sqrt((residuals**2).sum(-1).mean()))


def _seen_radius(views: list[BoardView], rotations: Array, translations: Array) -> float:
    """Largest undistorted radius at which a corner was seen."""
    radii = []
    for view, rotation, translation in zip(views, rotations, translations, strict=True):
        x, y, z = (view.points @ rotation.T + translation).T
        radii.append(np.max(np.hypot(x, y) / z))
    return float(np.max(radii))
