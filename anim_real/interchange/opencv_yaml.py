"""Cameras as OpenCV's FileStorage YAML: what ``cv2.FileStorage`` reads in C++ and Python.

One map per camera: ``image_width``, ``image_height``, ``camera_matrix`` (3x3, pixels, integer pixel centres),
``distortion_coefficients`` (1x8, OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6), ``max_radius`` (largest undistorted
radius that the lens model holds for; 0 = unlimited) and ``T_<camera>_<reference>`` (4x4, metres:
``p_camera = T @ p_reference``). ``cameras`` lists the names, ``reference`` names the frame of the poses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anim_real.errors import DataError
from anim_real.files import write_text
from anim_real.geometry.frames import Rigid
from anim_real.interchange.file_storage import (
    open_storage,
    read_matrix,
    read_names,
    read_number,
    read_table,
    read_text,
)
from anim_real.interchange.opencv_model import camera_of
from anim_real.interchange.posed import PosedCamera, common_reference

_MEANING = (
    "pixels, integer pixel centres; metres; T_a_b maps points of frame b to frame a; "
    "distortion: k1 k2 p1 p2 k3 k4 k5 k6"
)


def write_opencv_yaml(path: Path, cameras: Sequence[PosedCamera]) -> None:
    """Write cameras that share a reference frame; ``DataError`` if they do not, or a name cannot be a key in YAML."""
    import cv2

    reference = common_reference(cameras)
    odd = [posed.name for posed in cameras if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", posed.name)]
    if odd:
        raise DataError(f"{odd} cannot be keys in OpenCV's YAML", where=path, fix="Begin with a letter; no dots")
    flags = cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY | cv2.FILE_STORAGE_FORMAT_YAML
    storage = cv2.FileStorage(".yml", flags)
    storage.writeComment(_MEANING, False)
    storage.write("reference", reference)
    storage.write("cameras", [posed.name for posed in cameras])
    for posed in cameras:
        camera = posed.camera
        storage.startWriteStruct(posed.name, cv2.FileNode_MAP)
        storage.write("image_width", camera.width)
        storage.write("image_height", camera.height)
        storage.write("camera_matrix", camera.matrix)
        storage.write("distortion_model", "rational_polynomial")
        storage.write("distortion_coefficients", camera.distortion[None])
        storage.write("max_radius", 0.0 if np.isinf(camera.max_radius) else float(camera.max_radius))
        storage.write(f"T_{posed.name}_{reference}", posed.T_camera_reference.matrix)
        storage.endWriteStruct()
    write_text(path, storage.releaseAndGetString())


def read_opencv_yaml(path: Path) -> tuple[PosedCamera, ...]:
    """Read what ``write_opencv_yaml`` wrote, or a single camera as OpenCV's calibration samples write it.

    A single camera has ``camera_matrix`` and ``distortion_coefficients`` at the top; it is called ``camera``
    and is its own reference.

    Raises:
        NotFoundError: no such file.
        DataError: not such a file, or a value is missing or impossible.
    """
    storage = open_storage(path)
    names = read_names(storage, "cameras")
    if not names:
        return (_read_camera(storage, "camera", Rigid.identity("camera", "reference"), path),)
    reference = read_text(storage, "reference", path)
    cameras = []
    for name in names:
        if name not in storage:
            raise DataError(f"has no camera {name!r}, though it lists it", where=path)
        node = read_table(storage, name, path)
        pose = Rigid(dst=name, src=reference, matrix=read_matrix(node, f"T_{name}_{reference}", path, 16).reshape(4, 4))
        cameras.append(_read_camera(node, name, pose, path))
    common_reference(cameras)
    return tuple(cameras)


def _read_camera(node: dict[Any, Any], name: str, pose: Rigid, path: Path) -> PosedCamera:
    radius = read_number(node, "max_radius", path) if "max_radius" in node else 0.0
    camera = camera_of(
        read_matrix(node, "camera_matrix", path, 9).reshape(3, 3),
        read_matrix(node, "distortion_coefficients", path).ravel(),
        (read_number(node, "image_width", path), read_number(node, "image_height", path)),
        where=f"{path}, camera {name}",
        max_radius=radius or np.inf,
    )
    return PosedCamera(name=name, camera=camera, T_camera_reference=pose)
