"""Poses that the object's shape suggests, before any is tested: local shapes that match, places, and turns.

All placements share the scan frame, so matches of all of them vote for one pose. ``T_depth_scan`` throughout; metres.
Deterministic.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from anim_real.calibrate.markerless.clouds import VOXEL_M, Cloud, ObjectView
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_FEATURE_RADII_M = (0.06, 0.10)
_MAX_FEATURES = 4_000  # of a scan, about: a larger object is described in larger steps
_MAX_MATCHES = 1_600  # of all placements together: the votes are a square matrix
_VOTE_M = 0.022  # two matches agree when they keep their distance: depth errs by a centimetre
_APART_M = 0.04  # nearer matches always agree
_NUM_SEEDS, _SUPPORT = 40, 30
_MAX_TRIPLES = 40
_MIN_TRIANGLE_M = 0.15


def matched_poses(views: list[ObjectView]) -> list[Rigid]:
    """Poses on which matches of local shapes agree, best first.

    Features are FPFH (Rusu et al. 2009); agreement is second-order spatial compatibility (Chen et al., SC2-PCR, 2022):
    two matches support each other as far as they keep their distance and others support both.
    """
    poses = []
    for radius in _FEATURE_RADII_M:
        sources, targets = _matches(views, radius)
        if len(sources) >= 3:
            poses += _agreeing(sources, targets)
    return poses


def constellation_poses(views: list[ObjectView]) -> list[Rigid]:
    """Poses that bring the scanned objects' middles to those seen: all placements, and triples of them."""
    scan, seen = np.array([view.center for view in views]), np.array([view.main for view in views])
    groups = [tuple(range(len(views))), *list(combinations(range(len(views)), 3))] if len(views) >= 3 else []
    wide = [group for group in groups if np.linalg.svd(_centered(scan[list(group)]))[1][1] > _MIN_TRIANGLE_M]
    step = max(1, len(wide) // _MAX_TRIPLES)
    return [aligned(scan[list(group)], seen[list(group)]) for group in wide[::step]]


def turned_poses(view: ObjectView, rotations: list[Rotation]) -> list[Rigid]:
    """Poses with given rotations that bring one placement's scanned object to where it was seen.

    Only the camera's side of the object is seen, and so only that side of the scan is laid upon it.
    """
    poses = []
    for rotation in rotations:
        turned = rotation.apply(view.scan.points)
        side = turned[np.einsum("ni,i->n", rotation.apply(view.scan.normals), view.main) < 0]
        middle = np.median(side, axis=0) if len(side) else turned.mean(0)
        poses.append(Rigid.from_parts("depth", "scan", rotation.as_matrix(), view.main - middle))
    return poses


def spread_rotations(number: int) -> list[Rotation]:
    """Rotations spread evenly over SO(3): super-Fibonacci spirals (Alexa 2022)."""
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(number) + 0.5
    r, q = np.sqrt(s / number), np.sqrt(1.0 - s / number)
    a, b = 2.0 * np.pi * s / phi, 2.0 * np.pi * s / psi
    quaternions = np.stack([r * np.sin(a), r * np.cos(a), q * np.sin(b), q * np.cos(b)], 1)
    return [Rotation.from_quat(quaternion) for quaternion in quaternions]


def aligned(points_scan: Array, points_depth: Array, weights: Array | None = None) -> Rigid:
    """Least-squares ``T_depth_scan`` of matched points (N, 3) (Kabsch 1976)."""
    weights = np.ones(len(points_scan)) if weights is None else weights
    middle_scan = np.average(points_scan, axis=0, weights=weights)
    middle_depth = np.average(points_depth, axis=0, weights=weights)
    cross = ((points_depth - middle_depth) * weights[:, None]).T @ (points_scan - middle_scan)
    left, _, right = np.linalg.svd(cross)
    rotation = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    return Rigid.from_parts("depth", "scan", rotation, middle_depth - rotation @ middle_scan)


def _matches(views: list[ObjectView], radius: float) -> tuple[Array, Array]:
    """Matched points (N, 3) of scans and of depth images, an equal share of every placement."""
    share = _MAX_MATCHES // len(views)
    sources, targets = [], []
    for view in views:
        cell_m = VOXEL_M * float(np.sqrt(len(view.scan) / _MAX_FEATURES))
        scan, seen = view.scan.thinned(cell_m), view.seen.thinned(cell_m)
        of_scan, of_seen = _features(scan, radius), _features(seen, radius)
        unlike = -2.0 * (of_seen @ of_scan.T)
        unlike += (of_scan**2).sum(1)
        unlike += (of_seen**2).sum(1)[:, None]
        to_scan = unlike.argmin(1)
        is_mutual = unlike.argmin(0)[to_scan] == np.arange(len(of_seen))
        cost = unlike[np.arange(len(of_seen)), to_scan] + np.where(is_mutual, 0.0, 1e9)
        rank = np.argsort(cost, kind="stable")[:share]
        sources.append(scan.points[to_scan[rank]])
        targets.append(seen.points[rank])
    return np.concatenate(sources), np.concatenate(targets)


def _features(cloud: Cloud, radius: float) -> NDArray[np.float32]:
    """(N, 33) fast point feature histograms."""
    import open3d as o3d

    points = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud.points))
    points.normals = o3d.utility.Vector3dVector(cloud.normals)
    search = o3d.geometry.KDTreeSearchParamHybrid(radius, 100)
    feature = o3d.pipelines.registration.compute_fpfh_feature(points, search)  # pyright: ignore[reportCallIssue]
    return np.asarray(feature.data).T.astype(np.float32)


def _agreeing(sources: Array, targets: Array) -> list[Rigid]:
    """Poses of the groups of matches that support each other most."""
    apart, apart_seen = _distances(sources), _distances(targets)
    agrees = np.abs(apart - apart_seen) < _VOTE_M
    np.fill_diagonal(agrees, False)
    votes = agrees.astype(np.float32)
    support = votes * (votes @ votes)
    seeds = _distinct_seeds(support.sum(1), apart)
    found = []
    for seed in seeds:
        group = np.append(np.argsort(-support[seed], kind="stable")[:_SUPPORT], seed)
        pose = aligned(sources[group], targets[group])
        for tolerance in (3.0 * _VOTE_M, 2.0 * _VOTE_M, 2.0 * _VOTE_M):
            near = np.linalg.norm(pose.apply(sources) - targets, axis=1) < tolerance
            if near.sum() < 4:
                break
            pose = aligned(sources[near], targets[near])
        agreed = int((np.linalg.norm(pose.apply(sources) - targets, axis=1) < 2.0 * _VOTE_M).sum())
        found.append((agreed, pose))
    return [pose for _, pose in sorted(found, key=lambda item: -item[0])]


def _distinct_seeds(strength: Array, apart: NDArray[np.float32]) -> list[int]:
    """The strongest matches that do not stand beside a stronger one."""
    seeds: list[int] = []
    for row in np.argsort(-strength, kind="stable"):
        if strength[row] <= 0 or len(seeds) == _NUM_SEEDS:
            break
        if not seeds or apart[row, seeds].min() > _APART_M:
            seeds.append(int(row))
    return seeds


def _distances(points: Array) -> NDArray[np.float32]:
    from scipy.spatial.distance import cdist

    return cdist(points, points).astype(np.float32)


def _centered(points: Array) -> Array:
    return points - points.mean(0)
