"""Spheres of the target on its scans and in the depth images, each found where the rest says it should be.

On a scan the corners say where, in a depth image a first pose of the sensor does. What does not look like the sphere
it should be (its radius, free, comes out wrong) is refused with the reason. Frames ``scan`` and ``depth``, metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.rigid_shape import CornerCloud, share_shape, weighted_alignment
from anim_real.calibrate.boards.target import Target, corner_positions
from anim_real.calibrate.observations import Placement, ScanSpheres, SensorObservations, SpherePairs
from anim_real.calibrate.solve.depth_bias import RayImage
from anim_real.calibrate.spheres.constellations import Constellation, matched_poses
from anim_real.calibrate.spheres.fits import RangeFit, SphereFit, fit_range_sphere, fit_surface_sphere
from anim_real.calibrate.spheres.votes import vote_centers
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.target import SphereSpec

Array = NDArray[np.float64]
_REACH_M = 0.06  # a first pose may be off by this much
_SCAN_RADIUS_M, _DEPTH_RADIUS_M = (
    0.0003,
    0.001,
)  # what radii err by beyond the fit's spread: scanner, cyclic depth error
_MAX_SIGMAS = 3.0
_MAX_SIGMA_M = 0.003  # of a centre in its least certain direction
_MIN_SHARE = 0.3  # of the pixels that look at it: the rest may be hidden
_MIN_CORNERS = 4
_RIM = 1.1  # of the radius: what is seen of a sphere with the mixed pixels around it
_ALIGNMENT_ROUNDS = 10
_VOTE_TOLERANCE_M = 0.006  # votes find a centre on a scan to a millimetre or two


def find_scan_spheres(scan: Mesh, target: Target, corner_ids: NDArray[np.int64], corners: Array) -> ScanSpheres:
    """Find the target's spheres on one scan: where its corners say, else by the distances between likely spheres.

    Args:
        scan: the scan.
        target: the target.
        corner_ids: (N,) ids of the corners found on the scan.
        corners: (N, 3) their positions.
    """
    if not target.spheres:
        return ScanSpheres.empty()
    T_scan_target = _pose_by_corners(target, corner_ids, corners) or _pose_by_spheres(target, scan)
    if T_scan_target is None:
        reason = "not found on the scan: too few corners say where it is"
        return replace(ScanSpheres.empty(), refused=dict.fromkeys(range(len(target.spheres)), reason))
    return fit_scan_spheres(scan.vertices, target.spheres, T_scan_target)


def fit_scan_spheres(vertices: Array, spheres: tuple[SphereSpec, ...], T_scan_target: Rigid) -> ScanSpheres:
    """Fit the spheres (target frame) of a target that stands at a pose, to the scan's vertices (V, 3)."""
    found: dict[int, SphereFit] = {}
    refused: dict[int, str] = {}
    for number, sphere in enumerate(spheres):
        expected = T_scan_target.apply(np.array(sphere.center)[None])[0]
        near = np.linalg.norm(vertices - expected, axis=1) < sphere.radius_m + _REACH_M
        post = T_scan_target.rotate(np.array([[0.0, -1.0, 0.0]]))[0] if sphere.post_radius_m > 0 else None
        fit = fit_surface_sphere(vertices[near], sphere.radius_m, expected, post=post)
        reason = _refusal(fit, sphere.radius_m, _SCAN_RADIUS_M, expected, share=0.0)
        if fit is None or reason:
            refused[number] = f"on the scan {reason}"
        else:
            found[number] = fit
    if not found:
        return replace(ScanSpheres.empty(), refused=refused)
    return ScanSpheres(
        ids=np.array(list(found), dtype=np.int64),
        centers=np.stack([fit.center for fit in found.values()]),
        covariances=np.stack([fit.covariance for fit in found.values()]),
        radii_m=np.array([spheres[number].radius_m for number in found]),
        radius_errors_m=np.array([fit.radius_error_m for fit in found.values()]),
        refused=refused,
    )


def observe_spheres(observations: SensorObservations, T_depth_scan: Rigid, depth_rays: RayImage) -> SensorObservations:
    """Find the scans' spheres in the depth images, near where a first pose puts them."""
    if not any(len(placement.scan_spheres) for placement in observations.placements):
        return observations
    placements = tuple(
        replace(placement, spheres=_pairs(placement, T_depth_scan, depth_rays)) for placement in observations.placements
    )
    return replace(observations, placements=placements)


def _pairs(placement: Placement, T_depth_scan: Rigid, depth_rays: RayImage) -> SpherePairs:
    on_scan = placement.scan_spheres
    refused = dict(on_scan.refused)
    found: dict[int, RangeFit] = {}
    pixels = np.zeros(placement.depth_m.shape, bool)
    for row, expected in enumerate(T_depth_scan.apply(on_scan.centers)):
        number, radius = int(on_scan.ids[row]), float(on_scan.radii_m[row])
        fit = find_in_depth(placement.depth_m, depth_rays, radius, expected)
        reason = _refusal(fit, radius, _DEPTH_RADIUS_M, expected, share=_MIN_SHARE)
        if fit is None or reason:
            refused[number] = f"in depth {reason}"
        else:
            found[number] = fit
            pixels |= _near(depth_rays, fit.center, _RIM * radius)
    if not found:
        return SpherePairs.empty(refused)
    kept = np.isin(on_scan.ids, list(found))
    turn = T_depth_scan.rotation
    return SpherePairs(
        ids=on_scan.ids[kept],
        centers_scan=on_scan.centers[kept],
        fits=tuple(found.values()),
        covariances=np.stack([fit.covariance for fit in found.values()]) + turn @ on_scan.covariances[kept] @ turn.T,
        scan_radius_errors_m=on_scan.radius_errors_m[kept],
        refused=refused,
        pixels=pixels,
    )


def find_in_depth(depth_m: Array, depth_rays: RayImage, radius_m: float, expected: Array) -> RangeFit | None:
    """Fit a sphere in a depth image (h, w) near an expected centre (3,); None when too few pixels show it."""
    if expected[2] < 2 * radius_m:
        return None
    near = _near(depth_rays, expected, radius_m + _REACH_M)
    rays = np.concatenate([depth_rays.rays[near], np.ones((int(near.sum()), 1))], 1)
    return fit_range_sphere(rays, depth_rays.by_lens[near], depth_m[near], radius_m, expected)


def is_depth_sphere(fit: RangeFit, radius_m: float, expected: Array) -> bool:
    """Whether a fit in a depth image counts."""
    return not _refusal(fit, radius_m, _DEPTH_RADIUS_M, expected, share=_MIN_SHARE)


def _near(depth_rays: RayImage, center: Array, reach_m: float) -> NDArray[np.bool_]:
    """(h, w) pixels whose rays pass within ``reach_m`` of a point."""
    x, y = np.moveaxis(depth_rays.rays, 2, 0)
    along = x * center[0] + y * center[1] + center[2]
    with np.errstate(invalid="ignore"):
        return center @ center - along**2 / (x * x + y * y + 1.0) < reach_m**2


def _refusal(fit: SphereFit | None, radius_m: float, floor_m: float, expected: Array, *, share: float) -> str:
    """Why a fit does not count; empty if it does."""
    if fit is None:
        return "too little of it is seen"
    if np.linalg.norm(fit.center - expected) > _REACH_M:
        return f"it lies {np.linalg.norm(fit.center - expected) * 1e3:.0f} mm from where it should be"
    sigma = float(np.hypot(fit.radius_sigma_m, floor_m))
    if abs(fit.radius_error_m) > _MAX_SIGMAS * sigma:
        return (
            f"its radius comes out as {(radius_m + fit.radius_error_m) * 1e3:.1f} mm instead of {radius_m * 1e3:.1f} "
            f"(± {sigma * 1e3:.1f}): dented, hidden in part, or not this sphere"
        )
    widest = float(np.sqrt(np.linalg.eigvalsh(fit.covariance)[-1]))
    if widest > _MAX_SIGMA_M:
        return f"its centre is known to {widest * 1e3:.1f} mm only"
    if fit.share_kept < share:
        return f"only {fit.share_kept:.0%} of its pixels lie on a sphere"
    return ""


def _pose_by_corners(target: Target, corner_ids: NDArray[np.int64], corners: Array) -> Rigid | None:
    """``T_scan_target`` by the corners on a scan, robustly; None with too few, or when they lie on a line."""
    if len(corner_ids) < _MIN_CORNERS:
        return None
    ids, drawing = corner_positions(target)
    source = drawing[np.searchsorted(ids, corner_ids)]
    if np.linalg.svd(source - source.mean(0), compute_uv=False)[1] < 1e-3:
        return None
    weights = np.ones(len(source))
    rotation, translation = weighted_alignment(source, corners, weights)
    for _ in range(_ALIGNMENT_ROUNDS):
        error = np.linalg.norm(source @ rotation.T + translation - corners, axis=1)
        weights = 1.0 / (1.0 + (error / max(2.0 * float(np.median(error)), 1e-6)) ** 2)
        rotation, translation = weighted_alignment(source, corners, weights)
    return Rigid.from_parts("scan", "target", rotation, translation)


def _pose_by_spheres(target: Target, scan: Mesh) -> Rigid | None:
    """``T_scan_target`` by what on a scan could be its spheres; None unless three or more agree."""
    normals, areas = scan.vertex_normals(), _vertex_areas(scan)
    groups = []
    for radius in {sphere.radius_m for sphere in target.spheres}:
        drawing = np.array([sphere.center for sphere in target.spheres if sphere.radius_m == radius])
        groups.append(Constellation(source=drawing, destination=vote_centers(scan.vertices, normals, areas, radius)))
    found = matched_poses(groups, tolerance_m=_VOTE_TOLERANCE_M)
    return Rigid.from_parts("scan", "target", found[0].rotation, found[0].translation) if found else None


def _vertex_areas(scan: Mesh) -> Array:
    """(V,) a third of the faces around every vertex, m²."""
    shares = np.repeat(scan.face_areas / 3.0, 3)
    return np.bincount(scan.faces.ravel(), shares, len(scan.vertices)).astype(np.float64)


def share_spheres(
    spheres: Mapping[int, ScanSpheres], corners: Mapping[int, CornerCloud], target: Target
) -> dict[int, ScanSpheres]:
    """The spheres of every scan, placed by all scans together: the target is rigid (see ``rigid_shape``).

    Args:
        spheres: by scan, as found on it.
        corners: by scan, corners that all scans share already.
        target: the target.
    """
    ids, drawing = corner_positions(target)
    first = int(ids.max()) + 1
    all_ids = np.r_[ids, first + np.arange(len(target.spheres))]
    positions = np.concatenate([drawing, np.array([sphere.center for sphere in target.spheres]).reshape(-1, 3)])
    clouds = {}
    for key, cloud in corners.items():
        own = spheres[key]
        clouds[key] = CornerCloud(
            ids=np.r_[cloud.ids, first + own.ids], points=np.concatenate([cloud.points, own.centers])
        )
    shared = share_shape(clouds, all_ids, positions).clouds
    return {key: replace(own, centers=shared[key].points[shared[key].ids >= first]) for key, own in spheres.items()}
