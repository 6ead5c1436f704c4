"""Poses of several cameras that watch one board move, from moments at which two or more of them see it.

Robust bundle adjustment: unknown are the cameras' poses against the first one and the board's pose at every
moment; intrinsics are given, or solved along (f, c, k1, k2). Frames: ``camera k`` and ``board``, metres;
pixels are OpenCV's. Start: pairwise poses from the board, averaged, along the pairs with most moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.sparse import lil_matrix
from scipy.spatial.transform import Rotation

from anim_real.calibrate.lenses.solve import pose_board
from anim_real.calibrate.lenses.views import BoardView
from anim_real.calibrate.solve.intrinsics import project_with_jacobian
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]
Pose = tuple[Array, Array]  # rotation (3, 3), translation (3,)
_ROBUST_PX = 1.0
_MIN_SHARED = 3  # moments that two cameras must share
_NUM_FREE_LENS = 6  # fx, fy, cx, cy, k1, k2
_LENS_SCALE = np.array([100.0, 100.0, 100.0, 100.0, 0.1, 0.1])


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardRig:
    """Cameras of a rig against its first camera.

    Attributes:
        cameras: by key, as given or as solved along.
        rotations: by key, (3, 3) ``R_camera_first``.
        translations: by key, (3,) metres.
        residuals: by key, (N, 2) seen minus projected, px.
        num_moments: moments used.
    """

    cameras: dict[str, Camera]
    rotations: dict[str, Array]
    translations: dict[str, Array]
    residuals: dict[str, Array]
    num_moments: int

    def rms_px(self, key: str) -> float:
        """Root mean square residual of one camera."""
        return float(np.sqrt((self.residuals[key] ** 2).sum(1).mean()))


@dataclass(frozen=True, kw_only=True)
class PoseDifference:
    """One camera's pose against the first one, measured and published.

    Attributes:
        angle_deg: angle of the rotation between the two.
        distance_mm: distance of the camera centres.
        baseline_percent: that distance in percent of the camera's distance from the first.
    """

    angle_deg: float
    distance_mm: float
    baseline_percent: float


def solve_rig_poses(
    cameras: Mapping[str, Camera], views: Mapping[str, Mapping[int, BoardView]], *, free_lens: bool = False
) -> BoardRig:
    """Solve the cameras' poses.

    Args:
        cameras: by key; the first is the reference.
        views: by key, then by moment: the board as that camera saw it.
        free_lens: solve focal lengths, centre, k1 and k2 of every camera along.

    Raises:
        DataError: a camera shares too few moments with the others.
    """
    keys = list(cameras)
    single = {key: {moment: pose_board(cameras[key], view)[:2] for moment, view in views[key].items()} for key in keys}
    poses = _start_poses(keys, single)
    moments = sorted({m for key in keys for m in views[key] if sum(m in views[other] for other in keys) >= 2})
    boards = {moment: _board_in_first(moment, keys, single, poses) for moment in moments}
    problem = _Problem(keys, cameras, views, moments, free_lens=free_lens)
    start = problem.pack(poses, boards)
    answer = least_squares(
        problem.residuals, start, jac_sparsity=problem.sparsity(len(start)), loss="soft_l1", f_scale=_ROBUST_PX,
        x_scale=problem.scale(len(start)), method="trf", max_nfev=80, ftol=1e-8, xtol=1e-8,
    )  # fmt: skip
    return problem.unpack(answer.x)


def compare_pose(
    rotation: Array, translation: Array, other_rotation: Array, other_translation: Array
) -> PoseDifference:
    """Compare two poses ``T_camera_first`` of one camera (rotation (3, 3), translation (3,) in metres)."""
    angle = np.degrees(np.linalg.norm(Rotation.from_matrix(rotation @ other_rotation.T).as_rotvec()))
    center, other = -rotation.T @ translation, -other_rotation.T @ other_translation
    distance = float(np.linalg.norm(center - other))
    return PoseDifference(
        angle_deg=float(angle),
        distance_mm=distance * 1e3,
        baseline_percent=100.0 * distance / max(float(np.linalg.norm(other)), 1e-9),
    )


def _start_poses(keys: Sequence[str], single: Mapping[str, Mapping[int, Pose]]) -> dict[str, Pose]:
    """``T_camera_first`` of every camera, added in the order of shared moments (Prim 1957)."""
    poses: dict[str, Pose] = {keys[0]: (np.eye(3), np.zeros(3))}
    while len(poses) < len(keys):
        pairs = [(len(single[a].keys() & single[b].keys()), a, b) for a in poses for b in keys if b not in poses]
        num, known, key = max(pairs)
        if num < _MIN_SHARED:
            raise DataError(
                f"camera {key} shares {num} moments of the board with the others, {_MIN_SHARED} are needed",
                where="rig",
                fix="Show the board where two cameras see it at once",
            )
        relative = []
        for moment in single[known].keys() & single[key].keys():
            (r_known, t_known), (r_key, t_key) = single[known][moment], single[key][moment]
            rotation = r_key @ r_known.T
            relative.append((rotation, t_key - rotation @ t_known))
        rotation, translation = _middle(relative)
        r_first, t_first = poses[known]
        poses[key] = (rotation @ r_first, rotation @ t_first + translation)
    return poses


def _middle(poses: list[Pose]) -> Pose:
    """The pose that lies nearest to all others (a wrong minority does not move it)."""
    vectors = np.array([np.r_[Rotation.from_matrix(r).as_rotvec(), t] for r, t in poses])
    rotations = Rotation.from_rotvec(vectors[:, :3])
    apart = np.array([(rotations * one.inv()).magnitude() for one in rotations])
    apart = apart + np.linalg.norm(vectors[:, None, 3:] - vectors[None, :, 3:], axis=-1)
    return poses[int(np.median(apart, axis=1).argmin())]


def _board_in_first(
    moment: int, keys: Sequence[str], single: Mapping[str, Mapping[int, Pose]], poses: Mapping[str, Pose]
) -> Pose:
    """``T_first_board`` at a moment, from the cameras that see it."""
    seen = []
    for key in keys:
        if moment in single[key]:
            (rotation, translation), (r_key, t_key) = single[key][moment], poses[key]
            seen.append((r_key.T @ rotation, r_key.T @ (translation - t_key)))
    return _middle(seen)


class _Problem:
    """Parameters: six per camera but the first, six per moment, then six lens terms per camera if free."""

    def __init__(
        self,
        keys: list[str],
        cameras: Mapping[str, Camera],
        views: Mapping[str, Mapping[int, BoardView]],
        moments: list[int],
        *,
        free_lens: bool,
    ) -> None:
        self.keys, self.cameras, self.moments = keys, dict(cameras), moments
        self.free_lens = free_lens
        self.views = [(k, m, views[key][moment]) for m, moment in enumerate(moments) for k, key in enumerate(keys)
                      if moment in views[key]]  # fmt: skip
        self.num_camera = 6 * (len(keys) - 1)
        self.num_pose = self.num_camera + 6 * len(moments)

    def pack(self, poses: Mapping[str, Pose], boards: Mapping[int, Pose]) -> Array:
        ordered = [poses[key] for key in self.keys[1:]] + [boards[moment] for moment in self.moments]
        parts = [np.r_[Rotation.from_matrix(r).as_rotvec(), t] for r, t in ordered]
        if self.free_lens:
            parts += [
                np.array([c.fx, c.fy, c.cx, c.cy, c.distortion[0], c.distortion[1]]) for c in self.cameras.values()
            ]
        return np.concatenate(parts)

    def scale(self, size: int) -> Array:
        scale = np.ones(size)
        if self.free_lens:
            scale[self.num_pose :] = np.tile(_LENS_SCALE, len(self.keys))
        return scale

    def camera(self, k: int, x: Array) -> Camera:
        camera = self.cameras[self.keys[k]]
        if not self.free_lens:
            return camera
        fx, fy, cx, cy, k1, k2 = x[self.num_pose + _NUM_FREE_LENS * k :][:_NUM_FREE_LENS]
        distortion = camera.distortion.copy()
        distortion[:2] = k1, k2
        return replace(camera, fx=max(fx, 1.0), fy=max(fy, 1.0), cx=cx, cy=cy, distortion=distortion)

    def residuals(self, x: Array) -> Array:
        cameras = [self.camera(k, x) for k in range(len(self.keys))]
        poses = np.r_[np.zeros(6), x[: self.num_pose]].reshape(-1, 6)
        rotations = Rotation.from_rotvec(poses[:, :3]).as_matrix()
        parts = []
        for k, m, view in self.views:
            board = len(self.keys) + m
            in_first = view.points @ rotations[board].T + poses[board, 3:]
            in_camera = in_first @ rotations[k].T + poses[k, 3:]
            in_camera[:, 2] = np.maximum(in_camera[:, 2], 1e-3)
            parts.append((view.pixels - project_with_jacobian(cameras[k], in_camera)[0]).ravel())
        return np.concatenate(parts)

    def sparsity(self, size: int) -> lil_matrix:
        pattern = lil_matrix((sum(2 * len(view.ids) for _, _, view in self.views), size), dtype=np.int8)
        row = 0
        for k, m, view in self.views:
            stop = row + 2 * len(view.ids)
            if k > 0:
                pattern[row:stop, 6 * (k - 1) : 6 * k] = 1
            board = self.num_camera + 6 * m
            pattern[row:stop, board : board + 6] = 1
            if self.free_lens:
                lens = self.num_pose + _NUM_FREE_LENS * k
                pattern[row:stop, lens : lens + _NUM_FREE_LENS] = 1
            row = stop
        return pattern

    def unpack(self, x: Array) -> BoardRig:
        poses = np.r_[np.zeros(6), x[: self.num_camera]].reshape(-1, 6)
        flat = self.residuals(x)
        residuals: dict[str, list[Array]] = {key: [] for key in self.keys}
        row = 0
        for k, _, view in self.views:
            residuals[self.keys[k]].append(flat[row : row + 2 * len(view.ids)].reshape(-1, 2))
            row += 2 * len(view.ids)
        return BoardRig(
            cameras={key: self.camera(k, x) for k, key in enumerate(self.keys)},
            rotations={key: Rotation.from_rotvec(poses[k, :3]).as_matrix() for k, key in enumerate(self.keys)},
            translations={key: poses[k, 3:].copy() for k, key in enumerate(self.keys)},
            residuals={key: np.concatenate(parts) for key, parts in residuals.items()},
            num_moments=len(self.moments),
        )
