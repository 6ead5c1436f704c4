"""A camera as Open3D's JSON: ``PinholeCameraParameters``, read by ``open3d.io.read_pinhole_camera_parameters``.

Open3D's cameras are pinholes: the file belongs to images whose lens distortion was removed. Matrices are
column-major; the extrinsic leads from world (our reference frame) to camera; pixel centres are integers, as
ours. The file holds no names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anim_real.errors import DataError
from anim_real.files import read_json, write_json
from anim_real.geometry.frames import Rigid
from anim_real.interchange.opencv_model import camera_of
from anim_real.interchange.posed import PosedCamera

_CLASS = "PinholeCameraParameters"


def write_open3d_json(path: Path, posed: PosedCamera) -> None:
    """Write a camera; ``DataError`` if it has lens distortion."""
    camera = posed.camera
    if camera.distortion.any():
        raise DataError(
            f"camera {posed.name} has lens distortion, Open3D's have none", where=path, fix="Undistort its images first"
        )
    document = {
        "class_name": _CLASS,
        "extrinsic": posed.T_camera_reference.matrix.ravel(order="F").tolist(),
        "intrinsic": {
            "height": camera.height,
            "intrinsic_matrix": camera.matrix.ravel(order="F").tolist(),
            "width": camera.width,
        },
        "version_major": 1,
        "version_minor": 0,
    }
    write_json(path, document)


def read_open3d_json(path: Path, *, name: str = "camera", reference: str = "world") -> PosedCamera:
    """Read a ``PinholeCameraParameters`` or ``PinholeCameraIntrinsic`` file (the latter: pose identity).

    Args:
        path: the file.
        name: what to call the camera.
        reference: what to call Open3D's world.

    Raises:
        NotFoundError: no such file.
        DataError: neither of the two, or impossible values.
    """
    document = read_json(path)
    try:
        intrinsic: dict[str, Any] = document.get("intrinsic", document)
        matrix = np.array(intrinsic["intrinsic_matrix"], np.float64).reshape(3, 3, order="F")
        extrinsic = np.array(document.get("extrinsic", np.eye(4).ravel()), np.float64).reshape(4, 4, order="F")
        size = intrinsic["width"], intrinsic["height"]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"is not Open3D's {_CLASS} ({error})", where=path) from error
    camera = camera_of(matrix, np.zeros(0), size, where=path)
    return PosedCamera(name=name, camera=camera, T_camera_reference=Rigid(dst=name, src=reference, matrix=extrinsic))
