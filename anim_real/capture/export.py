"""Captures as files that any tool reads: images, points with normals, cameras in several tools' formats.

Points are in metres in the colour camera's frame (x right, y down, z forward); of a capture without
colour, in the depth camera's. Poses of cameras refer to the colour camera (``reference``), or to the
depth camera where a recording has no colour.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import CameraModel, RigidModel
from anim_real.capture.alignment import depth_to_color
from anim_real.capture.k4a_calibration import FactoryCalibration, parse_calibration
from anim_real.capture.recording.k4a_mkv import Recording
from anim_real.capture.rectify import rectify
from anim_real.errors import DataError
from anim_real.files import atomic_path, write_bytes, write_json
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import normals, unproject
from anim_real.geometry.frames import Rigid
from anim_real.interchange.colmap import write_colmap
from anim_real.interchange.open3d_json import write_open3d_json
from anim_real.interchange.opencv_yaml import write_opencv_yaml
from anim_real.interchange.posed import PosedCamera
from anim_real.take import RgbdFrame

_NEAR_MM, _FAR_MM = 300.0, 4000.0  # colours of the overlay picture


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceCameras:
    """The cameras of a recording's modes, as the factory calibrated them.

    Attributes:
        color, depth: cameras; None where the recording has no such track.
        factory: what they come from.
    """

    color: Camera | None
    depth: Camera | None
    factory: FactoryCalibration

    def posed(self) -> tuple[PosedCamera, ...]:
        """The cameras there are, poses relative to the first: colour, else depth."""
        found = [
            (name, camera) for name, camera in (("color", self.color), ("depth", self.depth)) if camera is not None
        ]
        reference = found[0][0]
        poses = {"color": self.factory.T_color_depth.inverse(), "depth": Rigid.identity("depth", "depth")}
        return tuple(
            PosedCamera(
                name=name,
                camera=camera,
                T_camera_reference=Rigid.identity(name, name) if name == reference else poses[reference],
            )
            for name, camera in found
        )

    def rectified(self) -> PosedCamera:
        """The first of them without its lens: camera of the rectified images."""
        first = self.posed()[0]
        return PosedCamera(name=first.name, camera=first.camera.pinhole(), T_camera_reference=first.T_camera_reference)


def device_cameras(recording: Recording) -> DeviceCameras:
    """Read a recording's cameras from its factory calibration.

    Raises:
        NotFoundError: no calibration is attached.
        DataError: it is damaged, or has no such mode.
    """
    info = recording.info
    factory = parse_calibration(recording.calibration_json, where=f"{recording.path}:calibration.json")

    def camera(name: Any, mode: str | None) -> Camera | None:
        return None if mode is None else factory.camera(name, mode, check_radius=info.check_radius)

    return DeviceCameras(
        color=camera("color", info.color_mode), depth=camera("depth", info.depth_mode), factory=factory
    )


def export_capture(
    recording: Recording, cameras: DeviceCameras, index: int, folder: Path, *, rectified: bool = False
) -> dict[str, Any]:
    """Write one capture's files into ``folder``; return what was written and its figures.

    Writes what the capture has: ``frame-000000.color.jpg`` (the device's own bytes; ``.png`` if it recorded
    uncompressed), ``.depth.png`` and ``.ir.png`` (16 bit) and ``.points.ply``; where both cameras delivered
    also ``.aligned.png`` (depth in the colour image, 16-bit mm) and ``.overlay.png``. With ``rectified``, the
    images without lens distortion too: ``.rectified.color.png`` and ``.rectified.depth.png``.
    """
    frame = recording.capture(index)
    stem = folder / f"frame-{index:06d}"
    written: list[str] = []
    payload = recording.color_payload(index)
    if frame.color is not None and payload is not None:
        if recording.info.color_format == "MJPG":
            write_bytes(stem.with_name(f"{stem.name}.color.jpg"), payload)
            written.append(f"{stem.name}.color.jpg")
        else:
            _write_png(stem, "color", frame.color[..., ::-1], written)
    for name, image in (("depth", frame.depth_mm), ("ir", frame.ir)):
        if image is not None:
            _write_png(stem, name, image, written)
    record: dict[str, Any] = {"index": index, "time_us": frame.time_us, "is_complete": frame.is_complete}
    if frame.depth_mm is not None and (frame.depth_mm > 0).any():
        record |= _export_points(frame, cameras, stem, written)
    if rectified:
        _export_rectified(frame, cameras, stem, written)
    return {**record, "files": written}


def write_cameras(recording: Recording, cameras: DeviceCameras, folder: Path) -> list[str]:
    """Write both cameras in every format; return the files' names.

    ``intrinsics.json`` (with the recording's facts and the IMU's poses), ``intrinsics.opencv.yml``, ``colmap/``
    and ``rectified.open3d.json``, which is the camera of the rectified images and of no others.
    """
    factory, info = cameras.factory, recording.info
    document: dict[str, Any] = {"recording": asdict(info)}
    for name, camera, mode in (("color", cameras.color, info.color_mode), ("depth", cameras.depth, info.depth_mode)):
        if camera is not None and mode is not None:
            document[name] = CameraModel.of(camera, mode).model_dump()
    poses = (factory.T_color_depth, factory.T_accelerometer_depth, factory.T_gyro_depth)
    document |= {f"T_{pose.dst}_{pose.src}": RigidModel.of(pose).model_dump() for pose in poses if pose is not None}
    write_json(folder / "intrinsics.json", document)
    write_opencv_yaml(folder / "intrinsics.opencv.yml", cameras.posed())
    write_colmap(folder / "colmap", cameras.posed())
    write_open3d_json(folder / "rectified.open3d.json", cameras.rectified())
    return ["intrinsics.json", "intrinsics.opencv.yml", "colmap/cameras.txt", "rectified.open3d.json"]


def colored_points(
    frame: RgbdFrame, cameras: DeviceCameras
) -> tuple[NDArray[np.uint16], NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Align a complete capture; return aligned depth (H, W) mm, points (N, 3), normals (N, 3), colours (N, 3).

    Raises:
        DataError: depth and colour do not overlap.
    """
    assert frame.depth_mm is not None
    assert frame.color is not None
    assert cameras.color is not None
    assert cameras.depth is not None
    aligned = depth_to_color(frame.depth_mm, cameras.depth, cameras.color, cameras.factory.T_color_depth)
    points, directions, is_valid = _surface(aligned, cameras.color)
    if not is_valid.any():
        raise DataError("depth and colour do not overlap", where=f"capture {frame.index}")
    return aligned, points, directions, frame.color[is_valid]


def write_points(
    path: Path, points: NDArray, directions: NDArray, colors: NDArray[np.uint8] | None, *, frame_name: str = "color"
) -> None:
    """Write a binary PLY point cloud: positions (N, 3) metres, unit normals (N, 3), RGB (N, 3) if given."""
    names = ("x", "y", "z", "nx", "ny", "nz")
    shades = () if colors is None else ("red", "green", "blue")
    columns = [*((name, "<f4") for name in names), *((name, "u1") for name in shades)]
    table = np.empty(len(points), dtype=columns)
    for column, name in enumerate(names):
        table[name] = points[:, column] if column < 3 else directions[:, column - 3]
    for column, name in enumerate(shades):
        assert colors is not None
        table[name] = colors[:, column]
    header = ["ply", "format binary_little_endian 1.0", f"comment metres, {frame_name} camera axes"]
    header += [f"element vertex {len(points)}", *(f"property float {name}" for name in names)]
    header += [f"property uchar {name}" for name in shades]
    write_bytes(path, "\n".join([*header, "end_header", ""]).encode("ascii") + table.tobytes())


def overlay(color: NDArray[np.uint8], aligned_mm: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Colour image (H, W, 3) with the aligned depth (H, W) painted half transparent over it, near red, far blue."""
    share = np.clip((aligned_mm - _NEAR_MM) / (_FAR_MM - _NEAR_MM), 0.0, 1.0)
    paint = cv2.applyColorMap((255 * (1.0 - np.sqrt(share))).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    mixed = (color.astype(np.uint16) + paint) // 2
    return np.where((aligned_mm > 0)[..., None], mixed, color).astype(np.uint8)


def _surface(depth_mm: NDArray, camera: Camera) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    """Points (N, 3) and normals (N, 3) of the pixels that have a normal, and which those are (H, W)."""
    points = unproject(depth_mm, camera)
    directions = normals(points)
    is_valid = np.isfinite(directions[..., 0])
    return points[is_valid], directions[is_valid], is_valid


def _export_points(frame: RgbdFrame, cameras: DeviceCameras, stem: Path, written: list[str]) -> dict[str, Any]:
    assert frame.depth_mm is not None
    assert cameras.depth is not None
    path = stem.with_name(f"{stem.name}.points.ply")
    record = {"depth_coverage": round(float((frame.depth_mm > 0).mean()), 4)}
    if frame.color is None or cameras.color is None:
        points, directions, _ = _surface(frame.depth_mm, cameras.depth)
        write_points(path, points, directions, None, frame_name="depth")
        written.append(path.name)
        return record | {"num_points": len(points), "points_frame": "depth"}
    aligned, points, directions, colors = colored_points(frame, cameras)
    _write_png(stem, "aligned", aligned, written)
    _write_png(stem, "overlay", overlay(frame.color, aligned)[..., ::-1], written)
    write_points(path, points, directions, colors)
    written.append(path.name)
    return record | {
        "num_points": len(points),
        "points_frame": "color",
        "aligned_coverage": round(float((aligned > 0).mean()), 4),
        "median_depth_mm": float(np.median(aligned[aligned > 0])),
    }


def _export_rectified(frame: RgbdFrame, cameras: DeviceCameras, stem: Path, written: list[str]) -> None:
    """Colour and depth as the rectified camera sees them; depth alone if there is no colour track."""
    target = cameras.rectified()
    if frame.color is not None and cameras.color is not None:
        image, _ = rectify(frame.color, cameras.color, target.camera)
        _write_png(stem, "rectified.color", image[..., ::-1], written)
    if frame.depth_mm is not None and cameras.depth is not None:
        T_target_depth = cameras.factory.transform("color" if cameras.color is not None else "depth", "depth")
        aligned = depth_to_color(frame.depth_mm, cameras.depth, target.camera, T_target_depth)
        _write_png(stem, "rectified.depth", aligned, written)


def _write_png(stem: Path, name: str, image: NDArray, written: list[str]) -> None:
    path = stem.with_name(f"{stem.name}.{name}.png")
    is_encoded, payload = cv2.imencode(".png", np.ascontiguousarray(image))
    if not is_encoded:
        raise DataError("image cannot be written as PNG", where=path)
    with atomic_path(path) as partial:
        partial.write_bytes(payload.tobytes())
    written.append(path.name)
