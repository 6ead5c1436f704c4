"""Point clouds as the Azure Kinect Sensor SDK gives them: a table of rays, and int16 millimetres.

For code that was written for ``k4a_transformation_depth_image_to_point_cloud`` or for the SDK's
``fastpointcloud`` example; everything else here works in metres (``geometry.depth.unproject``).
Source: ``src/transformation/rgbz.c``, ``transformation_init_xy_tables`` and ``transformation_depth_to_xyz``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import camera_rays


def xy_table(camera: Camera) -> NDArray[np.float32]:
    """(h, w, 2) float32 x/z, y/z of every pixel; NaN in both where the pixel has no ray."""
    return np.ascontiguousarray(camera_rays(camera), np.float32)


def point_cloud_mm(depth_mm: NDArray[np.uint16], table: NDArray[np.float32]) -> NDArray[np.int16]:
    """Points of a depth image in the SDK's form, rounded half up as its plain C code does.

    Its SSE code rounds half to even instead, which differs where a coordinate ends in exactly .5.

    Args:
        depth_mm: (h, w) uint16 millimetres along z, 0 = none; of the depth camera, or aligned to colour.
        table: ``xy_table`` of that image's camera.

    Returns:
        (h, w, 3) int16 x, y, z in millimetres; all 0 where the pixel has no ray or no depth.

    Raises:
        DataError: image and table are not of one size, or a depth exceeds 32,767 mm.
    """
    if depth_mm.shape != table.shape[:2]:
        raise DataError(f"depth image is {depth_mm.shape}, the table {table.shape[:2]}", where="point cloud")
    if depth_mm.max(initial=0) > np.iinfo(np.int16).max:
        raise DataError("a depth does not fit into int16 millimetres", where="point cloud")
    z = np.where(np.isnan(table[..., 0]), np.uint16(0), depth_mm)
    points = np.zeros((*z.shape, 3), np.int16)
    points[..., :2] = np.floor(np.nan_to_num(table) * z[..., None].astype(np.float32) + np.float32(0.5))
    points[..., 2] = z
    return points
