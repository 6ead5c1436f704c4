"""Cameras as EasyMocap's ``intri.yml`` and ``extri.yml`` in a folder, both OpenCV FileStorage.

``names`` lists the cameras. ``intri.yml``: ``K_<name>`` (3x3, pixels, integer centres), ``dist_<name>`` (1xN, OpenCV's
order; 5 where the others are zero, else 8: EasyMocap hands them to OpenCV) and ``H_<name>``, ``W_<name>`` (pixels).
``extri.yml``: ``R_<name>`` (rotation vector), ``Rot_<name>`` (the same as matrix) and ``T_<name>`` (3x1, metres) map
points of the world, our reference frame, to the camera.

The name of the reference frame is not in the format. ``max_radius`` has no place in it and is lost.
Source: EasyMocap, ``mytools/camera_utils.py`` and its documentation of cameras.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anim_real.errors import DataError
from anim_real.files import require_folder, write_text
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.interchange.file_storage import open_storage, read_matrix, read_names, read_number
from anim_real.interchange.opencv_model import camera_of, shortest_lens
from anim_real.interchange.posed import PosedCamera, common_reference

INTRINSICS, EXTRINSICS = "intri.yml", "extri.yml"
_NOBODY = "none"  # EasyMocap passes over a camera of this name
_AGREE = 1e-2  # of R and Rot, entries: they may be written with two decimals


def write_easymocap(folder: Path, cameras: Sequence[PosedCamera]) -> None:
    """Write cameras that share a reference frame.

    Raises:
        DataError: they do not, or a name holds a dot, after which EasyMocap cuts names.
    """
    common_reference(cameras)
    odd = [posed.name for posed in cameras if "." in posed.name or posed.name == _NOBODY]
    if odd:
        raise DataError(f"{odd} cannot name cameras in EasyMocap", where=folder, fix="Use no dots")
    intrinsics, extrinsics = _storage(), _storage()
    for storage in (intrinsics, extrinsics):
        storage.write("names", [posed.name for posed in cameras])
    for posed in cameras:
        name, camera, pose = posed.name, posed.camera, posed.T_camera_reference
        intrinsics.write(f"K_{name}", camera.matrix)
        intrinsics.write(f"dist_{name}", np.array([shortest_lens(camera)]))
        intrinsics.write(f"H_{name}", camera.height)
        intrinsics.write(f"W_{name}", camera.width)
        extrinsics.write(f"R_{name}", pose.rotvec[:, None])
        extrinsics.write(f"Rot_{name}", np.ascontiguousarray(pose.rotation))
        extrinsics.write(f"T_{name}", pose.translation[:, None])
    write_text(folder / INTRINSICS, intrinsics.releaseAndGetString())
    write_text(folder / EXTRINSICS, extrinsics.releaseAndGetString())


def read_easymocap(
    folder: Path, *, size: tuple[int, int] | None = None, reference: str = "world"
) -> tuple[PosedCamera, ...]:
    """Read both files.

    Args:
        folder: holds them.
        size: (width, height) in pixels of cameras without ``W_`` and ``H_``: older EasyMocap writes none.
        reference: what to call EasyMocap's world.

    Raises:
        NotFoundError: the folder or one of the files is missing.
        DataError: a camera lacks a value or its image size, ``R`` and ``Rot`` differ, or a value is impossible.
    """
    path, poses_path = (require_folder(folder, "EasyMocap folder") / name for name in (INTRINSICS, EXTRINSICS))
    intrinsics, extrinsics = open_storage(path), open_storage(poses_path)
    names = [name for name in read_names(intrinsics, "names") if name != _NOBODY]
    if not names:
        raise DataError("lists no cameras under 'names'", where=path)
    found = tuple(
        PosedCamera(
            name=name,
            camera=_camera(intrinsics, name, size, path),
            T_camera_reference=_pose(extrinsics, name, reference, poses_path),
        )
        for name in names
    )
    common_reference(found)
    return found


def _camera(storage: dict[Any, Any], name: str, size: tuple[int, int] | None, path: Path) -> Camera:
    where = f"{path}, camera {name}"
    matrix = read_matrix(storage, f"K_{name}", path, 9).reshape(3, 3)
    lens = next((key for key in (f"dist_{name}", f"D_{name}") if key in storage), f"dist_{name}")
    found: tuple[float, float] | None = size
    if f"W_{name}" in storage and f"H_{name}" in storage:
        found = read_number(storage, f"W_{name}", path), read_number(storage, f"H_{name}", path)
    if found is None:
        raise DataError(f"has no image size W_{name}, H_{name}", where=where, fix="Give --size WIDTH HEIGHT")
    return camera_of(matrix, read_matrix(storage, lens, path).ravel(), found, where=where)


def _pose(storage: dict[Any, Any], name: str, reference: str, path: Path) -> Rigid:
    """World to camera, by the rotation vector: it is what EasyMocap reads, and a rotation however it was rounded."""
    rotvec = read_matrix(storage, f"R_{name}", path, 3).ravel()
    pose = Rigid.from_rotvec(name, reference, rotvec, read_matrix(storage, f"T_{name}", path, 3).ravel())
    if f"Rot_{name}" in storage:
        rotation = read_matrix(storage, f"Rot_{name}", path, 9).reshape(3, 3)
        if np.abs(rotation - pose.rotation).max() > _AGREE:
            raise DataError(
                f"R_{name} and Rot_{name} are different rotations, determinant {np.linalg.det(rotation):.2f}",
                where=path, fix="Write both from one rotation; a determinant of -1 is a mirrored one",
            )  # fmt: skip
    return pose


def _storage() -> Any:
    import cv2

    return cv2.FileStorage(".yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY | cv2.FILE_STORAGE_FORMAT_YAML)
