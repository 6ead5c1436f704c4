"""What a user would do with the depth alone: Open3D's point-to-plane ICP of all depth points against all scans."""

from __future__ import annotations

import numpy as np
import open3d as o3d
from calibration_world import World

from anim_real.geometry.frames import Rigid

_GATES_M = (0.05, 0.02)  # largest distance of a pair, first and last
_NUM_SAMPLES = 20_000  # of every scan's surface
_MAX_ITERATIONS = 100
_registration = o3d.pipelines.registration


def open3d_icp(world: World, start: Rigid) -> Rigid:
    """``T_depth_scan`` by ICP from a start, with Tukey's weights; the factory's lens, no model of the depth error."""
    source, target = o3d.geometry.PointCloud(), o3d.geometry.PointCloud()
    o3d.utility.random.seed(0)
    depth = [points.factory_rays * points.z_measured[:, None] for points in world.depth_points.values()]
    source.points = o3d.utility.Vector3dVector(np.concatenate(depth))
    for placement in world.observations.placements:
        surface = o3d.geometry.TriangleMesh(
            o3d.utility.Vector3dVector(placement.surface.vertices),
            o3d.utility.Vector3iVector(placement.surface.faces.astype(np.int32)),
        )
        surface.compute_triangle_normals()
        target += surface.sample_points_uniformly(_NUM_SAMPLES, use_triangle_normal=True)
    matrix = start.inverse().matrix
    for gate_m in _GATES_M:
        matrix = _registration.registration_icp(
            source,
            target,
            gate_m,
            matrix,
            _registration.TransformationEstimationPointToPlane(_registration.TukeyLoss(gate_m)),
            _registration.ICPConvergenceCriteria(max_iteration=_MAX_ITERATIONS),
        ).transformation
    return Rigid(dst="scan", src="depth", matrix=np.array(matrix)).inverse()
