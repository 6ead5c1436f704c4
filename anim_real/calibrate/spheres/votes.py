"""Likely spheres by the votes of surface normals: where, if anywhere, a sphere of a known radius could be. Metres.

Every point of a sphere's surface, moved inwards along its normal by the radius, lands on the centre; other surfaces
spread their votes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from anim_real.calibrate.solve.depth_bias import RayImage
from anim_real.calibrate.spheres.fits import MIN_COSINE

Array = NDArray[np.float64]
_VOXEL_M = 0.015
_REACH_M = 0.0225  # votes this near to a peak belong to it: normals of depth images scatter by some millimetres
_MIN_AREA_SHARE = 0.1  # of the sphere's area: a depth camera sees a quarter well enough, a plane votes for less
_MAX_CENTERS = 12
_NORMAL_SHARE = 0.2  # of the radius, at a usual distance: normals over a few pixels only would be noise
_USUAL_M = 2.0
_RANGE_M = (0.3, 4.5)


def vote_centers(points: Array, normals: Array, areas: Array, radius_m: float) -> Array:
    """Centres (K, 3) of likely spheres, best first.

    Args:
        points: (N, 3) of surfaces.
        normals: (N, 3) outward unit normals.
        areas: (N,) surface that each point stands for, m².
        radius_m: the spheres' radius.
    """
    votes = points - radius_m * normals
    if len(votes) == 0:
        return np.zeros((0, 3))
    cells, total = _counted(votes, areas)
    likely = np.flatnonzero(total > _MIN_AREA_SHARE * 4 * np.pi * radius_m**2)
    tree = cKDTree(votes)
    centers: list[Array] = []
    for index in likely[np.argsort(-total[likely], kind="stable")]:
        center = (cells[index] + 0.5) * _VOXEL_M
        if any(np.linalg.norm(center - other) < radius_m for other in centers):
            continue
        for _ in range(5):  # mean shift
            near = tree.query_ball_point(center, _REACH_M)
            if not near:
                break
            center = areas[near] @ votes[near] / areas[near].sum()
        centers.append(np.asarray(center, dtype=np.float64))
        if len(centers) == _MAX_CENTERS:
            break
    return np.array(centers).reshape(-1, 3)


def _counted(votes: Array, areas: Array) -> tuple[NDArray[np.int64], Array]:
    """Cubes (C, 3) with votes, and the area (C,) that votes for each or one of its 26 neighbours."""
    place = np.floor(votes / _VOXEL_M).astype(np.int64)
    low = place.min(0) - 1
    size = np.ptp(place, axis=0) + 3
    weights = np.array([size[1] * size[2], size[2], 1])
    keys, cell = np.unique((place - low) @ weights, return_inverse=True)
    area = np.bincount(cell.ravel(), areas)
    total = np.zeros(len(keys))
    for step in np.ndindex(3, 3, 3):
        wanted = keys + (np.array(step) - 1) @ weights
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        total += np.where(keys[at] == wanted, area[at], 0.0)
    return np.stack(np.unravel_index(keys, size), 1) + low, total


def depth_surface(depth_m: Array, depth_rays: RayImage, radius_m: float) -> tuple[Array, Array, Array]:
    """What a depth image (h, w) shows of smooth surfaces, seen for spheres of a radius.

    Returns:
        Points (N, 3), unit normals towards the camera (N, 3), areas (N,) in m²; frame depth.
    """
    per_px = float(np.nanmedian(np.abs(np.diff(depth_rays.rays[..., 0], axis=1))))
    half = int(np.clip(round(_NORMAL_SHARE * radius_m / (_USUAL_M * per_px)), 1, 6))
    good = np.isfinite(depth_rays.rays).all(2) & (depth_m > _RANGE_M[0]) & (depth_m < _RANGE_M[1])
    share = ndimage.uniform_filter(good.astype(np.float64), 3)
    z = ndimage.uniform_filter(np.where(good, depth_m, 0.0), 3) / np.maximum(share, 1e-9)
    rays = np.concatenate([np.nan_to_num(depth_rays.rays), np.ones((*depth_m.shape, 1))], 2)
    points = rays * z[..., None]
    right, down = (np.roll(points, -half, axis) - np.roll(points, half, axis) for axis in (1, 0))
    normals = np.cross(down, right)  # towards the camera: x right, y down, z forward
    size = 2 * half + 1
    whole = ndimage.binary_erosion(good, np.ones((size, size)))
    step = ndimage.maximum_filter(z, size) - ndimage.minimum_filter(z, size)
    length = np.linalg.norm(normals, axis=2)
    cosine = -np.einsum("hwi,hwi->hw", normals, rays) / np.maximum(length * np.linalg.norm(rays, axis=2), 1e-12)
    kept = np.logical_and.reduce([whole, step < radius_m, cosine > MIN_COSINE])
    return points[kept], normals[kept] / length[kept][:, None], length[kept] / (2 * half) ** 2
