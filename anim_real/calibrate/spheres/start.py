"""A first pose from spheres alone: for prints too dirty to read. Frames ``scan`` and ``depth``, metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import SensorObservations
from anim_real.calibrate.solve.depth_bias import RayImage
from anim_real.calibrate.spheres.constellations import Constellation, matched_poses
from anim_real.calibrate.spheres.observe import find_in_depth, is_depth_sphere
from anim_real.calibrate.spheres.votes import depth_surface, vote_centers
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_TOLERANCE_M = 0.02  # depth bias and the scanner change distances between centres by less


def sphere_poses(observations: SensorObservations) -> list[Rigid]:
    """Hypotheses of ``T_depth_scan`` from the spheres alone, best first; empty where fewer than three pairs agree."""
    if not any(len(placement.scan_spheres) for placement in observations.placements):
        return []
    depth_rays = RayImage.of(observations.depth)
    groups = []
    for placement in observations.placements:
        on_scan = placement.scan_spheres
        for radius in np.unique(on_scan.radii_m):
            centers = depth_centers(placement.depth_m, depth_rays, float(radius))
            source = on_scan.centers[on_scan.radii_m == radius]
            if len(centers) and len(source):
                groups.append(Constellation(source=source, destination=centers))
    found = matched_poses(groups, tolerance_m=_TOLERANCE_M)
    return [Rigid.from_parts("depth", "scan", match.rotation, match.translation) for match in found]


def depth_centers(depth_m: Array, depth_rays: RayImage, radius_m: float) -> Array:
    """(K, 3) centres of the spheres of a radius in a depth image (h, w), fitted to its pixels; frame depth."""
    found = []
    for center in vote_centers(*depth_surface(depth_m, depth_rays, radius_m), radius_m):
        fit = find_in_depth(depth_m, depth_rays, radius_m, center)
        if fit is not None and is_depth_sphere(fit, radius_m, center):
            found.append(fit.center)
    return np.array(found).reshape(-1, 3)
