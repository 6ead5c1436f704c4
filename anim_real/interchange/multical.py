"""Cameras as multical's ``calibration.json``: OpenCV's intrinsics and lenses, and poses by name.

``cameras`` holds per name ``image_size`` [width height], ``K``, ``dist`` (OpenCV's order) and ``model`` (standard: 5
coefficients, rational: 8); pixel centres are integers. A pose ``R``, ``T`` under a camera's name maps points of the
rig to the camera: ``p_camera = R p_rig + T``, metres. A pose under ``a_to_b`` maps points of camera b to camera a,
against what its name suggests. Written are poses by name; multical's rig is our reference frame.

The name of the reference frame is not in the format. ``max_radius`` has no place in it and is lost.
Source: multical, ``FORMAT.md``, ``io/export_calib.py`` (``poses[i] @ inv(poses[j])`` is written as ``i_to_j``) and
``optimization/calibration.py`` (camera poses stand left of the rig's).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anim_real.errors import DataError
from anim_real.files import read_json, write_json
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.interchange.documents import numbers, table_of, value_of, vector
from anim_real.interchange.opencv_model import camera_of, shortest_lens
from anim_real.interchange.posed import PosedCamera, common_reference

_RIG = "rig"
_MODELS = ("standard", "rational", "thin_prism", "tilted")  # all are OpenCV's; what they add must be zero
_AGREE = 1e-6  # of two ways to one pose: rotation entries, metres


def write_multical(path: Path, cameras: Sequence[PosedCamera]) -> None:
    """Write cameras that share a reference frame; ``DataError`` if they do not."""
    common_reference(cameras)
    write_json(
        path,
        {
            "cameras": {posed.name: _entry(posed.camera) for posed in cameras},
            "camera_poses": {
                posed.name: {
                    "R": posed.T_camera_reference.rotation.tolist(),
                    "T": posed.T_camera_reference.translation.tolist(),
                }
                for posed in cameras
            },
        },
    )


def read_multical(path: Path) -> tuple[PosedCamera, ...]:
    """Read cameras and poses; the reference is multical's rig, called ``rig``.

    Where multical was told a master, its pose is the identity and the rig is the master camera.

    Raises:
        NotFoundError: no such file.
        DataError: not such a file, a camera without pose, poses that contradict each other, a model that is not
            OpenCV's (fisheye), or a missing or impossible value.
    """
    document = table_of(read_json(path), where=path)
    cameras: dict[str, Camera] = {}
    for name, entry in table_of(value_of(document, "cameras", where=path), where=f"{path}, cameras").items():
        cameras[name] = _camera(table_of(entry, where=f"{path}, camera {name}"), f"{path}, camera {name}")
    poses = _poses(
        table_of(value_of(document, "camera_poses", where=path), where=f"{path}, camera_poses"), cameras, path
    )
    found = tuple(
        PosedCamera(name=name, camera=camera, T_camera_reference=poses[name]) for name, camera in cameras.items()
    )
    common_reference(found)
    return found


def _entry(camera: Camera) -> dict[str, Any]:
    lens = shortest_lens(camera)
    return {
        "model": "standard" if len(lens) == 5 else "rational",
        "image_size": [camera.width, camera.height],
        "K": camera.matrix.tolist(),
        "dist": [lens],
    }


def _camera(entry: dict[Any, Any], where: str) -> Camera:
    model = entry.get("model", _MODELS[0])
    if model not in _MODELS:
        raise DataError(
            f"camera model {str(model)[:40]!r} is not supported", where=where, fix=f"Known: {', '.join(_MODELS)}"
        )
    width, height = numbers(entry, "image_size", (2,), where=where).tolist()
    lens = vector(entry, "dist", where=where)
    return camera_of(numbers(entry, "K", (3, 3), where=where), lens, (width, height), where=where)


def _poses(table: dict[Any, Any], cameras: dict[str, Camera], path: Path) -> dict[str, Rigid]:
    """``T_camera_rig`` of every camera, through relative poses where it has none of its own."""
    own: dict[str, Rigid] = {}
    steps: list[Rigid] = []
    for key, entry in table.items():
        where = f"{path}, camera_poses, {key}"
        dst, src = _ends(key, cameras, where)
        entry = table_of(entry, where=where)
        rotation, translation = numbers(entry, "R", (3, 3), where=where), numbers(entry, "T", (3,), where=where)
        pose = Rigid.from_parts(dst, src, rotation, translation)
        if key in cameras:
            own[dst] = pose
        else:
            steps += [pose, pose.inverse()]
    found = dict(own)
    waiting = list(own)
    while waiting:
        known = waiting.pop()
        for step in (step for step in steps if step.src == known):
            pose = step @ found[known]
            if step.dst not in found:
                found[step.dst] = pose
                waiting.append(step.dst)
            elif np.abs(pose.matrix - found[step.dst].matrix).max() > _AGREE:
                raise DataError(f"two poses of camera {step.dst} contradict each other", where=path)
    missing = [name for name in cameras if name not in found]
    if missing:
        raise DataError(f"has no pose of {', '.join(missing)}", where=path, fix="Give each a pose or a chain to one")
    return found


def _ends(key: str, cameras: dict[str, Camera], where: str) -> tuple[str, str]:
    """Frames (dst, src) that a key of ``camera_poses`` names; names of cameras may themselves hold ``_to_``."""
    if key in cameras:
        return key, _RIG
    parts = key.split("_to_")
    ends = [("_to_".join(parts[:cut]), "_to_".join(parts[cut:])) for cut in range(1, len(parts))]
    known = [(dst, src) for dst, src in ends if dst in cameras and src in cameras]
    if len(known) != 1:
        raise DataError("names no camera, and no two as a_to_b", where=where)
    return known[0]
