"""Turns that map a scanned object onto itself: what several placements must tell apart. Frame ``scan``, metres.

A turn that leaves every placement's object where it is leaves the first one's where it is, so looking at that one is
enough; whether the others and the depth images agree is left to ``markerless.start``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from anim_real.calibrate.markerless.clouds import Cloud
from anim_real.calibrate.markerless.hypotheses import spread_rotations
from anim_real.calibrate.solve.state import perturbed, skew_jacobian
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_NUM_TURNS = 1500  # none of SO(3) is farther than 20 degrees from all of them
_NUM_POINTS = 250
_FAR_M = 0.05
_NUM_REFINED = 64
_STEPS = 10
_ON_M = 0.015  # a point nearer than this to the scan lies on it: a voxel and the noise
_MIN_ON = 0.8
_ITSELF_RAD, _SAME_RAD = np.radians(12.0), np.radians(6.0)


def self_turns(scan: Cloud) -> list[Rigid]:
    """Turns about an object's middle, other than none, that lay it onto itself; those of round objects are samples."""
    chosen = scan.subset(np.linspace(0, len(scan) - 1, min(len(scan), _NUM_POINTS)).round().astype(int))
    tree, middle = cKDTree(scan.points), scan.points.mean(0)
    centered = chosen.points - middle
    turns = [turn for turn in spread_rotations(_NUM_TURNS) if turn.magnitude() > _ITSELF_RAD]
    away = np.array([_away(tree, turn.apply(centered) + middle).mean() for turn in turns])
    found: list[Rigid] = []
    for index in np.argsort(away, kind="stable")[:_NUM_REFINED]:
        start = turns[index].as_matrix()
        pose = _refined(chosen, scan, tree, Rigid.from_parts("scan", "scan", start, middle - start @ middle))
        angle = float(np.linalg.norm(pose.rotvec))
        is_on = float((_away(tree, pose.apply(chosen.points)) < _ON_M).mean()) >= _MIN_ON
        if is_on and angle > _ITSELF_RAD and all(_apart(pose, other) > _SAME_RAD for other in found):
            found.append(pose)
    return found


def _refined(points: Cloud, scan: Cloud, tree: cKDTree, start: Rigid) -> Rigid:
    """Point to plane onto the same scan."""
    pose = start
    for _ in range(_STEPS):
        moved = pose.apply(points.points)
        away, nearest = tree.query(moved, distance_upper_bound=_FAR_M)
        kept = np.isfinite(away)
        if kept.sum() < 20:
            break
        normals, anchors = scan.normals[nearest[kept]], scan.points[nearest[kept]]
        jacobian = np.einsum("ni,nij->nj", normals, skew_jacobian(moved[kept]))
        residual = np.einsum("ni,ni->n", anchors - moved[kept], normals)
        hessian = jacobian.T @ jacobian
        pose = perturbed(pose, np.linalg.solve(hessian + 1e-6 * np.trace(hessian) * np.eye(6), jacobian.T @ residual))
    return pose


def _away(tree: cKDTree, points: Array) -> Array:
    """(N,) distance to the scan, at most ``_FAR_M``."""
    return np.minimum(tree.query(points, distance_upper_bound=_FAR_M)[0], _FAR_M)


def _apart(first: Rigid, second: Rigid) -> float:
    return float(Rotation.from_matrix(first.rotation @ second.rotation.T).magnitude())
