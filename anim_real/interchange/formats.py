"""The table of formats: what each is called, where it lies in a folder of exports, how it is written and read.

``write_cameras`` and ``read_cameras`` are the way out and the way in; every error of reading names the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anim_real.errors import DataError, NotFoundError
from anim_real.files import read_json
from anim_real.interchange import camera_list, colmap, easymocap, kalibr, multical, open3d_json, opencv_yaml
from anim_real.interchange.posed import PosedCamera, common_reference
from anim_real.interchange.radtan import LensFit

LIST = "anim-real"  # our own camera list
_HEAD_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format.

    Attributes:
        location: file or folder inside a folder of exports.
        files: what a folder of this format holds; empty where it is one file, or any.
        write: writes cameras to the location; returns the fits of lenses that had to be approximated.
        read: reads cameras from a file or folder.
        conventions: directions, pixels, distortion and what is lost, for people.
    """

    location: str
    files: tuple[str, ...] = ()
    write: Callable[[Path, Sequence[PosedCamera]], dict[str, LensFit]]
    read: Callable[[Path], tuple[PosedCamera, ...]]
    conventions: str


def write_cameras(name: str, folder: Path, cameras: Sequence[PosedCamera]) -> dict[str, LensFit]:
    """Write cameras in the format ``name`` into ``folder``; return the fits of approximated lenses by camera.

    Raises:
        DataError: the format cannot hold them.
    """
    found = FORMATS[name]
    return found.write(folder / found.location, cameras)


def read_cameras(path: Path, name: str, *, size: tuple[int, int] | None = None) -> tuple[PosedCamera, ...]:
    """Read cameras of the format ``name`` (of ``FORMATS``, or ``LIST``).

    Args:
        path: file or folder.
        name: the format.
        size: (width, height) of EasyMocap's cameras without a size.

    Raises:
        NotFoundError: the file, or one of the folder's, is missing.
        DataError: it cannot be read as this format; the message names the file.
    """
    try:
        if name == LIST:
            return camera_list.load_cameras(path)
        if name == "easymocap":
            return easymocap.read_easymocap(path, size=size)
        return FORMATS[name].read(path)
    except DataError as error:
        if error.where is not None and str(path) in error.where:
            raise
        inner = "" if error.where is None else f", {error.where}"
        raise DataError(error.what, where=f"{path}{inner}", fix=error.fix) from error


def detect_format(path: Path) -> str:
    """Name of the format that a file or folder is in, by its files, keys or first line.

    Raises:
        NotFoundError: nothing is there.
        DataError: it is in none.
    """
    if path.is_dir():
        held = [
            name for name, each in FORMATS.items() if each.files and any((path / file).exists() for file in each.files)
        ]
        if held:
            return held[0]
        if any(path.glob("*.json")):
            return "open3d"
    elif not path.is_file():
        raise NotFoundError("no such file or folder", where=path, fix="Check the path")
    elif any(path.name in each.files for each in FORMATS.values()):
        raise DataError("is one of several files", where=path, fix="Name the folder that holds them")
    elif path.suffix.lower() == ".json":
        return _detect_json(path)
    elif path.suffix.lower() in (".yaml", ".yml"):
        with path.open("rb") as stream:
            return "opencv" if stream.read(_HEAD_BYTES).lstrip().startswith(b"%YAML") else "kalibr"
    raise DataError(
        "is in no format of cameras that is known", where=path, fix=f"Known: {', '.join(FORMATS)}; --format"
    )


def files_of(path: Path, name: str) -> tuple[Path, ...]:
    """The files that ``read_cameras`` reads."""
    if path.is_file():
        return (path,)
    files = FORMATS[name].files
    return tuple(path / file for file in files) if files else tuple(sorted(path.glob("*.json")))


def _detect_json(path: Path) -> str:
    document = read_json(path)
    keys = set(document) if isinstance(document, dict) else set()
    if "schema" in keys:
        return LIST
    if keys & {"intrinsic", "intrinsic_matrix"}:
        return "open3d"
    return "multical"


def _exact(write: Callable[[Path, Sequence[PosedCamera]], None]) -> Callable[..., dict[str, LensFit]]:
    def writes(path: Path, cameras: Sequence[PosedCamera]) -> dict[str, LensFit]:
        write(path, cameras)
        return {}

    return writes


def _write_open3d(folder: Path, cameras: Sequence[PosedCamera]) -> None:
    common_reference(cameras)
    for posed in cameras:
        pinhole = PosedCamera(
            name=posed.name, camera=posed.camera.pinhole(), T_camera_reference=posed.T_camera_reference
        )
        open3d_json.write_open3d_json(folder / f"{posed.name}.json", pinhole)


def _read_open3d(path: Path) -> tuple[PosedCamera, ...]:
    files = files_of(path, "open3d")
    found = tuple(open3d_json.read_open3d_json(file, name=re.sub(r"[^A-Za-z0-9_.-]", "-", file.stem)) for file in files)
    common_reference(found)
    return found


FORMATS: dict[str, Format] = {
    "opencv": Format(
        location="opencv.yml",
        write=_exact(opencv_yaml.write_opencv_yaml),
        read=opencv_yaml.read_opencv_yaml,
        conventions=(
            "cv2.FileStorage. T_<camera>_<reference> maps points of the reference to the camera. Integer pixel "
            "centres. k1 k2 p1 p2 k3 k4 k5 k6. Nothing is lost."
        ),
    ),
    "colmap": Format(
        location="colmap",
        files=("cameras.txt", "images.txt"),
        write=_exact(colmap.write_colmap),
        read=colmap.read_colmap,
        conventions=(
            "COLMAP text model. Quaternion (w x y z) and translation map points of the world, which is the reference, "
            "to the camera. The first pixel's centre is at 0.5 0.5. FULL_OPENCV: k1 k2 p1 p2 k3 k4 k5 k6. Lost: the "
            "reference's name, max_radius."
        ),
    ),
    "open3d": Format(
        location="open3d",
        write=_exact(_write_open3d),
        read=_read_open3d,
        conventions=(
            "PinholeCameraParameters, one file per camera. Column-major extrinsic maps points of the world, which is "
            "the reference, to the camera. Integer pixel centres. No lens: they are the cameras of images whose lens "
            "was removed with the camera's own matrix. Lost: the lens, max_radius, the reference's name."
        ),
    ),
    "kalibr": Format(
        location="camchain.yaml",
        write=kalibr.write_kalibr,
        read=kalibr.read_kalibr,
        conventions=(
            "Kalibr camera chain. T_cn_cnm1 maps points of the previous camera to this one. Integer pixel centres. "
            "radtan: k1 k2 p1 p2, the nearest such lens. The keys name, reference, T_cn_reference and lens_residual_px "
            "are ours; Kalibr passes over them. Lost: the lens beyond its residual, max_radius."
        ),
    ),
    "multical": Format(
        location="multical.json",
        write=_exact(multical.write_multical),
        read=multical.read_multical,
        conventions=(
            "multical calibration.json. R, T under a camera's name map points of the rig, which is the reference, to "
            "the camera. Integer pixel centres. k1 k2 p1 p2 k3 [k4 k5 k6]. Lost: the reference's name, max_radius."
        ),
    ),
    "easymocap": Format(
        location="easymocap",
        files=(easymocap.INTRINSICS, easymocap.EXTRINSICS),
        write=_exact(easymocap.write_easymocap),
        read=easymocap.read_easymocap,
        conventions=(
            "EasyMocap intri.yml, extri.yml. R (rotation vector; Rot is its matrix) and T map points of the world, "
            "which is the reference, to the camera. Integer pixel centres. k1 k2 p1 p2 k3 [k4 k5 k6]. Lost: the "
            "reference's name, max_radius."
        ),
    ),
}
