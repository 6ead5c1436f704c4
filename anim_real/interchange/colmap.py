"""Cameras as a COLMAP text model: ``cameras.txt``, ``images.txt`` and an empty ``points3D.txt`` in a folder.

COLMAP counts pixels from the image's corner: the centre of the first pixel is (0.5, 0.5), ours is (0, 0); the
half pixel is crossed here. Its world is our reference frame, its poses lead from world to camera, as ours do.
Images carry the cameras' names, one each. ``max_radius`` has no place in the format and is lost.
Source: COLMAP, ``doc/format.rst`` and ``src/colmap/sensor/models.h``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from anim_real.errors import DataError
from anim_real.files import require_file, write_text
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.interchange.opencv_model import whole_pixels
from anim_real.interchange.posed import PosedCamera, common_reference

# model: which of fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6 its parameters are; f stands for fx and fy
_MODELS: dict[str, tuple[str, ...]] = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
    "FULL_OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
}
_LENS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_CENTER = 0.5  # COLMAP's coordinate of the first pixel's centre


def write_colmap(folder: Path, cameras: Sequence[PosedCamera]) -> None:
    """Write a model of cameras that share a reference frame; ``DataError`` if they do not."""
    reference = common_reference(cameras)
    camera_lines = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]; first pixel centre at 0.5 0.5"]
    image_lines = [f"# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME; world = {reference}, metres; no POINTS2D"]
    for number, posed in enumerate(cameras, start=1):
        camera = posed.camera
        is_pinhole = not camera.distortion.any()
        values = [camera.fx, camera.fy, camera.cx + _CENTER, camera.cy + _CENTER, *camera.distortion.tolist()]
        model, values = ("PINHOLE", values[:4]) if is_pinhole else ("FULL_OPENCV", values)
        camera_lines.append(f"{number} {model} {camera.width} {camera.height} {_numbers(values)}")
        x, y, z, w = Rotation.from_matrix(posed.T_camera_reference.rotation).as_quat(canonical=True)
        pose = _numbers([w, x, y, z, *posed.T_camera_reference.translation])
        image_lines += [f"{number} {pose} {number} {posed.name}", ""]
    write_text(folder / "cameras.txt", "\n".join([*camera_lines, ""]))
    write_text(folder / "images.txt", "\n".join([*image_lines, ""]))
    write_text(folder / "points3D.txt", "# none\n")


def read_colmap(folder: Path, *, reference: str = "world") -> tuple[PosedCamera, ...]:
    """Read the cameras of a text model: one per image, named by the image without its suffix.

    Args:
        folder: holds ``cameras.txt`` and ``images.txt``.
        reference: what to call COLMAP's world.

    Raises:
        NotFoundError: one of the files is missing.
        DataError: a line is malformed, a model is not supported (fisheye), or a camera is missing.
    """
    cameras: dict[str, Camera] = {}
    path = folder / "cameras.txt"
    for line in _lines(path):
        if line.strip():
            number, *rest = line.split()
            cameras[number] = _camera(rest, path)
    found = []
    path = folder / "images.txt"
    for line in _lines(path)[::2]:
        if not line.strip():
            continue
        words = line.split(maxsplit=9)
        try:
            w, x, y, z, *translation = (float(word) for word in words[1:8])
            name = Path(words[9]).with_suffix("").as_posix().replace("/", "-")
            rotation = Rotation.from_quat([x, y, z, w]).as_matrix()
        except (ValueError, IndexError) as error:
            raise DataError(f"line {line!r} is no image ({error})", where=path) from error
        if words[8] not in cameras:
            raise DataError(f"image {name} names camera {words[8]}, which cameras.txt does not hold", where=path)
        pose = Rigid.from_parts(name, reference, rotation, translation)
        found.append(PosedCamera(name=name, camera=cameras[words[8]], T_camera_reference=pose))
    common_reference(found)
    return tuple(found)


def _camera(words: list[str], path: Path) -> Camera:
    """A camera of ``MODEL WIDTH HEIGHT PARAMS[]``."""
    model = words[0] if words else ""
    if model not in _MODELS:
        raise DataError(f"camera model {model!r} is not supported", where=path, fix=f"Known: {', '.join(_MODELS)}")
    names = _MODELS[model]
    try:
        width, height, *numbers = (float(word) for word in words[1:])
        values = dict(zip(names, numbers, strict=True))
        width, height = (whole_pixels(side, where=path) for side in (width, height))
    except ValueError as error:
        raise DataError(f"{model} needs width, height and {len(names)} parameters ({error})", where=path) from error
    return Camera(
        width=width,
        height=height,
        fx=values.get("fx", values.get("f", 0.0)),
        fy=values.get("fy", values.get("f", 0.0)),
        cx=values["cx"] - _CENTER,
        cy=values["cy"] - _CENTER,
        distortion=np.array([values.get(name, 0.0) for name in _LENS]),
    )


def _lines(path: Path) -> list[str]:
    text = require_file(path, "file of the COLMAP model").read_text("utf-8", errors="replace")
    return [line for line in text.splitlines() if not line.startswith("#")]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
