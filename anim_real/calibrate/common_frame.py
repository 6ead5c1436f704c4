"""Do all scans stand in one frame? Each alone fits its images; only in one frame do they fit together.

Scanners can export every mesh in the frame of a camera or of the object itself, or with its pose inverted. A solve of
such scans ends somewhere, with most corners left out; here the mistake gets its name. Frame ``scan``, metres; pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import CornerPairs, SensorObservations
from anim_real.calibrate.protocol import COLOR_REFERENCE_WIDTH_PX, DEPTH_REFERENCE_WIDTH_PX
from anim_real.calibrate.solve.intrinsics import project_with_jacobian
from anim_real.calibrate.solve.start import perspective
from anim_real.errors import RefusedError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_FITS_PX = 3.0  # of the reference width: a placement's corners under its own pose
_AGREES_PX = 40.0  # the same under another placement's: a pose from one target is 10 px off a metre away
_MIN_CORNERS = 8
_MIN_POSES = 3
_MIN_AGREEING = 0.5  # share of the pairs


def check_common_frame(observations: SensorObservations) -> None:
    """Compare the poses that the placements' corners give one by one.

    Raises:
        RefusedError: most placements fit their own images, but not each other's.
    """
    poses: list[Rigid] = []
    seen: list[CornerPairs] = []
    scale = observations.color.width / COLOR_REFERENCE_WIDTH_PX
    camera, views = observations.color, [placement.color for placement in observations.placements]
    if sum(len(pairs) for pairs in views) == 0:
        scale = observations.depth.width / DEPTH_REFERENCE_WIDTH_PX
        camera, views = observations.depth, [placement.ir for placement in observations.placements]
    for pairs in views:
        pose = perspective(pairs, camera, "view") if len(pairs) >= _MIN_CORNERS else None
        if pose is not None and _error_px(pairs, camera, pose) < _FITS_PX * scale:
            poses.append(pose)
            seen.append(pairs)
    if len(poses) < _MIN_POSES:
        return
    agrees = np.array([[_error_px(pairs, camera, pose) < _AGREES_PX * scale for pairs in seen] for pose in poses])
    share = float(agrees[~np.eye(len(poses), dtype=bool)].mean())
    if share < _MIN_AGREEING:
        raise RefusedError(
            f"the corners of each scan fit its own images, but only {share:.0%} of the pairs of scans fit together: "
            "every scan has a frame of its own, or belongs to another placement",
            where=f"sensor {observations.sensor}",
            fix="Export all scans in the scanner's common frame (not a camera's or the object's, poses not inverted), "
            "and check that scans and captures belong together",
        )


def _error_px(pairs: CornerPairs, camera: Camera, pose: Rigid) -> float:
    """Median distance of the corners; infinite where most are behind the camera."""
    points = pose.apply(pairs.points_scan)
    ahead = points[:, 2] > 0.05
    if ahead.mean() < 0.5:
        return np.inf
    pixels, _ = project_with_jacobian(camera, points[ahead])
    return float(np.median(np.linalg.norm(pixels - pairs.pixels[ahead], axis=1)))
