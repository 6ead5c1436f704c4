"""Laying the scans onto the depth images: one pose for all placements, point to plane, and what it leaves open.

Frames ``scan`` and ``depth``, metres. The depth bias is left to the joint solve: here it goes into the pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from anim_real.calibrate.markerless.clouds import Cloud, ObjectView
from anim_real.calibrate.solve.state import perturbed, skew_jacobian
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_GATES_M = (*np.geomspace(0.15, 0.03, 10), *[0.03] * 8, *[0.02] * 6)  # search distance of every step
_APPROACH_M = (0.15, 0.15, 0.12, 0.10, 0.08, 0.06, 0.05, 0.05)
_MIN_FACING = 0.5  # cosine between the normals of matched points
_MAX_POINTS, _FEW_POINTS = 400, 500  # of a placement; of all together
_ROBUST_M = 0.01
_MIN_MATCHED = 30
_SETTLED = 1e-5  # of a radian and a metre


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A pose with what holds it.

    Attributes:
        T_depth_scan: the pose.
        information: (6, 6) mean over matched points of J'J by rotation (about the matched points' middle, in units of
            ``reach_m``) and translation: 1/3 is good, 0 is open.
        reach_m: root mean square distance of matched points from the middle of their own placement's.
        matched: share of the seen points that lie on a scan.
    """

    T_depth_scan: Rigid
    information: Array
    reach_m: float
    matched: float

    @property
    def weakest(self) -> float:
        """How well the least certain motion is held: 0 means that the shape slides or turns in itself."""
        return float(np.linalg.eigvalsh(self.information)[0])


class Fitter:
    """The placements' clouds, prepared."""

    def __init__(self, views: list[ObjectView]) -> None:
        self._scans = [(cKDTree(view.scan.points), view.scan) for view in views]
        self._seen = [_some(view.seen, _MAX_POINTS) for view in views]
        self._few = [_some(view.seen, max(40, _FEW_POINTS // len(views))) for view in views]

    def approach(self, start: Rigid) -> Fit | None:
        """Refine a pose in a few steps with few points."""
        return self._descend(start, _APPROACH_M, self._few)

    def fit(self, start: Rigid) -> Fit | None:
        """Refine a pose; None when scans and images do not meet."""
        return self._descend(start, _GATES_M, self._seen)

    def _descend(self, start: Rigid, gates: tuple[float, ...], seen: list[Cloud]) -> Fit | None:
        pose = start
        for number, gate in enumerate(gates):
            points, anchors, normals, _ = self._match(pose, gate, seen)
            if len(points) < _MIN_MATCHED:
                return None
            residual = np.einsum("ni,ni->n", points - anchors, normals)
            middle = anchors.mean(0)
            jacobian = np.einsum("ni,nij->nj", normals, skew_jacobian(anchors - middle))
            weight = 1.0 / (1.0 + (residual / max(_ROBUST_M, gate / 4)) ** 2)
            hessian = (jacobian * weight[:, None]).T @ jacobian
            damped = hessian + 1e-6 * np.trace(hessian) / 6 * np.eye(6)
            step = np.linalg.solve(damped, (jacobian * weight[:, None]).T @ residual)
            shift = Rigid.from_parts("depth", "depth", np.eye(3), middle)
            pose = shift @ perturbed(shift.inverse() @ pose, step)
            if number >= 12 and gate == gates[-1] and np.abs(step).max() < _SETTLED:
                break
        return self._evidence(pose, gates[-1], seen)

    def _match(self, pose: Rigid, gate: float, clouds: list[Cloud]) -> tuple[Array, Array, Array, Array]:
        """Seen points (N, 3), the scans' nearest and their normals, in the depth frame, and whose they are (N,)."""
        inverse = pose.inverse()
        parts = []
        for owner, ((tree, scan), seen) in enumerate(zip(self._scans, clouds, strict=True)):
            away, nearest = tree.query(inverse.apply(seen.points), distance_upper_bound=gate)
            found = np.flatnonzero(np.isfinite(away))
            normals = pose.rotate(scan.normals[nearest[found]])
            facing = np.einsum("ni,ni->n", normals, seen.normals[found]) > _MIN_FACING
            kept = found[facing]
            parts.append(
                (seen.points[kept], pose.apply(scan.points[nearest[kept]]), normals[facing], np.full(len(kept), owner))
            )
        points, anchors, normals, owners = (np.concatenate(part) for part in zip(*parts, strict=True))
        return points, anchors, normals, owners

    def _evidence(self, pose: Rigid, gate: float, clouds: list[Cloud]) -> Fit | None:
        points, anchors, normals, owners = self._match(pose, gate, clouds)
        if len(points) < _MIN_MATCHED:
            return None
        reach = float(np.sqrt((_centered_by(anchors, owners) ** 2).sum(1).mean()))
        jacobian = np.einsum("ni,nij->nj", normals, skew_jacobian(anchors - anchors.mean(0)))
        jacobian[:, :3] /= reach
        total = sum(len(seen) for seen in clouds)
        return Fit(
            T_depth_scan=pose,
            information=jacobian.T @ jacobian / len(points),
            reach_m=reach,
            matched=len(points) / total,
        )


def _centered_by(points: Array, owners: Array) -> Array:
    """Points (N, 3) relative to the middle of those of the same owner (N,)."""
    centered = points.copy()
    for owner in np.unique(owners):
        centered[owners == owner] -= points[owners == owner].mean(0)
    return centered


def _some(cloud: Cloud, number: int) -> Cloud:
    chosen = np.linspace(0, len(cloud) - 1, min(len(cloud), number)).round().astype(int)
    return cloud.subset(chosen)
