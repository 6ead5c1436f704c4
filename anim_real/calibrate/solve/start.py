"""First poses: several hypotheses from the markers, judged by all corners together; without markers from the spheres.

All placements share the scan frame, so one perspective-n-point problem holds every corner of a camera.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import CornerPairs, SensorObservations
from anim_real.calibrate.solve.intrinsics import project_with_jacobian
from anim_real.calibrate.solve.state import State
from anim_real.calibrate.spheres.start import sphere_poses
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_RANSAC_PX = 6.0
_SCORE_PX = 3.0
_MIN_CORNERS = 6


def start_states(observations: SensorObservations) -> list[State]:
    """Hypotheses, best first: PnP over all colour corners, over all IR corners, and per placement; else the spheres'.

    Raises:
        DataError: fewer than six corners were matched in every view, and fewer than three spheres.
    """
    factory = observations.T_color_depth
    poses: list[Rigid] = []
    color = _joined([placement.color for placement in observations.placements])
    ir = _joined([placement.ir for placement in observations.placements])
    for pairs in (color, *(placement.color for placement in observations.placements)):
        pose = perspective(pairs, observations.color, "color")
        poses += [] if pose is None else [pose]
    for pairs in (ir, *(placement.ir for placement in observations.placements)):
        pose = perspective(pairs, observations.depth, "depth")
        poses += [] if pose is None else [factory @ pose]
    if not poses:
        poses = [factory @ pose for pose in sphere_poses(observations)]  # best first already
        if poses:
            return [State.factory(pose, factory) for pose in poses]
        raise DataError(
            f"only {observations.num_corners} corners were found both in the images and on the scans",
            where=f"sensor {observations.sensor}",
            fix="Check that the target's boards face the camera, are sharp, and that the scans carry their texture",
        )
    scores = [_score(observations, pose) for pose in poses]
    order = np.argsort(scores)[::-1]
    return [State.factory(poses[index], factory) for index in order]


def _score(observations: SensorObservations, T_color_scan: Rigid) -> float:
    """Sum over all corners of a bounded reward for reprojecting well."""
    T_depth_scan = observations.T_color_depth.inverse() @ T_color_scan
    total = 0.0
    for placement in observations.placements:
        for pairs, camera, pose in (
            (placement.color, observations.color, T_color_scan),
            (placement.ir, observations.depth, T_depth_scan),
        ):
            points = pose.apply(pairs.points_scan)
            ahead = points[:, 2] > 0.05
            error = np.linalg.norm(project_with_jacobian(camera, points[ahead])[0] - pairs.pixels[ahead], axis=1)
            total += float(np.sum(1.0 / (1.0 + (error / _SCORE_PX) ** 2)))
    return total


def _joined(parts: list[CornerPairs]) -> CornerPairs:
    return CornerPairs(
        ids=np.concatenate([part.ids for part in parts]),
        points_scan=np.concatenate([part.points_scan for part in parts]),
        pixels=np.concatenate([part.pixels for part in parts]),
    )


def perspective(pairs: CornerPairs, camera: Camera, dst: str) -> Rigid | None:
    """Pose of the scan frame in a camera by RANSAC over SQPnP (Terzakis & Lourakis 2020); None without agreement."""
    normalized = camera.normalize(pairs.pixels)
    valid = np.isfinite(normalized).all(1)
    if valid.sum() < _MIN_CORNERS:
        return None
    points, rays = pairs.points_scan[valid], normalized[valid]
    center = points.mean(0)
    cv2.setRNGSeed(0)  # the same take gives the same calibration
    found, rotvec, translation, inliers = cv2.solvePnPRansac(
        points - center,
        rays,
        np.eye(3),
        None,
        iterationsCount=300,
        reprojectionError=_RANSAC_PX / camera.fx,
        confidence=0.9999,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found or inliers is None or len(inliers) < _MIN_CORNERS:
        return None
    pose = Rigid.from_rotvec(dst, "scan", rotvec.ravel(), np.zeros(3))
    return Rigid.from_parts(dst, "scan", pose.rotation, translation.ravel() - pose.rotation @ center)
