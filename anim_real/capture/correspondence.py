"""Where each depth pixel lands in the colour image (or any other camera's), the step that all alignment shares.

Depth is millimetres along z, pixels have integer centres. The rules are those of the Azure Kinect Sensor SDK
(``src/transformation/rgbz.c``), which computes in float32; here everything is float64, and each expression is
rounded in the order in which ``Camera.project`` writes it, so that plain NumPy gives the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import camera_rays
from anim_real.geometry.frames import Rigid
from anim_real.geometry.stripes import even_stripes, run_stripes

Array = NDArray[np.float64]
_WHERE = "depth to colour"


class Corners(NamedTuple):
    """Depth pixels in the target image, each (h, w) float64; a plain tuple for the compiled kernels.

    Attributes:
        u, v: pixel coordinates; meaningless where ``z`` is 0.
        z: millimetres along the target camera's z; 0 where there is no depth, or no way into the image.
    """

    u: Array
    v: Array
    z: Array

    def rows(self, first: int, last: int) -> Corners:
        """Views of rows first..last-1."""
        return Corners(self.u[first:last], self.v[first:last], self.z[first:last])


def find_corners(depth_mm: NDArray, depth_camera: Camera, target: Camera, T_target_depth: Rigid) -> Corners:
    """Lift every depth pixel and project it into the target camera.

    Args:
        depth_mm: (h, w) millimetres along the depth camera's z, 0 = none; uint16, or float where a bias was removed.
        depth_camera: camera of ``depth_mm``.
        target: the other camera, a crop or a pinhole as well.
        T_target_depth: depth camera frame to target camera frame, metres.

    Raises:
        DataError: the image is not of the depth camera's size, or holds NaN or negative depth.
    """
    depth = np.asarray(depth_mm)
    depth = np.ascontiguousarray(depth, np.uint16 if depth.dtype == np.uint16 else np.float64)
    if depth.shape != (depth_camera.height, depth_camera.width):
        expected = (depth_camera.height, depth_camera.width)
        raise DataError(f"depth image is {depth.shape}, its camera {expected}", where=_WHERE)
    if depth.dtype != np.uint16 and not (depth >= 0).all():
        raise DataError("depth image holds NaN or negative depth", where=_WHERE)
    rays = camera_rays(depth_camera)
    pose = (T_target_depth.rotation.ravel(), T_target_depth.translation * 1e3)
    lens = (np.array([target.fx, target.fy, target.cx, target.cy]), target.distortion, target.valid_radius**2)
    block = np.empty((3, *depth.shape))  # one allocation: NumPy asks for huge pages from 4 MiB on, some ms faster
    corners = Corners(block[0], block[1], block[2])

    def work(first: int, last: int) -> None:
        part = slice(first, last)
        _project(depth[part], rays[part, :, 0], rays[part, :, 1], *pose, *lens, *corners.rows(first, last))

    run_stripes(work, even_stripes(len(depth)))
    return corners


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _project(
    depth: NDArray,
    rays_x: Array,
    rays_y: Array,
    rotation: Array,
    translation_mm: Array,
    intrinsics: Array,
    distortion: Array,
    valid_radius2: float,
    u: Array,
    v: Array,
    z: Array,
) -> None:
    """Fill ``u``, ``v``, ``z`` of some rows; without branches, so that the compiler computes several pixels at once."""
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    tx, ty, tz = translation_mm
    fx, fy, cx, cy = intrinsics
    k1, k2, p1, p2, k3, k4, k5, k6 = distortion
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            own_z = np.float64(depth[row, column])
            x, y = rays_x[row, column] * own_z, rays_y[row, column] * own_z
            target_z = r20 * x + r21 * y + r22 * own_z + tz
            a = (r00 * x + r01 * y + r02 * own_z + tx) / target_z
            b = (r10 * x + r11 * y + r12 * own_z + ty) / target_z
            r2 = a * a + b * b
            radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
            target_u = fx * (a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a)) + cx
            target_v = fy * (b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b) + cy
            # The radius keeps off the lens's pole; a NaN that slipped through would index outside the image.
            is_finite = (target_u - target_u == 0.0) & (target_v - target_v == 0.0)
            is_seen = (own_z > 0.0) & (target_z > 0.0) & (r2 <= valid_radius2) & is_finite
            u[row, column] = target_u
            v[row, column] = target_v
            z[row, column] = target_z if is_seen else 0.0
