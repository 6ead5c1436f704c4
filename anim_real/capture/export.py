"""Captures as files that any tool reads: images, coloured points with normals, intrinsics.

Points are in metres in the colour camera's frame (x right, y down, z forward).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import CameraModel, RigidModel
from anim_real.capture.alignment import depth_to_color
from anim_real.capture.k4a_calibration import FactoryCalibration, parse_calibration
from anim_real.capture.k4a_mkv import Recording
from anim_real.errors import DataError
from anim_real.files import atomic_path, write_bytes, write_json
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import normals, unproject
from anim_real.take import RgbdFrame

_NEAR_MM, _FAR_MM = 300.0, 4000.0  # colours of the overlay picture


def export_capture(recording: Recording, index: int, folder: Path) -> dict[str, Any]:
    """Write one capture's files into ``folder``; return what was written and its figures.

    Writes what the capture has: ``frame-000000.color.jpg`` (the device's own bytes), ``.depth.png`` and
    ``.ir.png`` (16 bit), and where both cameras delivered ``.aligned.png`` (depth in the colour image,
    16-bit mm), ``.overlay.png`` and ``.points.ply``.
    """
    calibration = parse_calibration(recording.calibration_json, where=f"{recording.path}:calibration.json")
    frame = recording.capture(index)
    stem = f"frame-{index:06d}"
    written: list[str] = []
    payload = recording.color_payload(index)
    if frame.color is not None and payload is not None:
        if recording.info.color_format == "MJPG":
            write_bytes(folder / f"{stem}.color.jpg", payload)
            written.append(f"{stem}.color.jpg")
        else:
            _write_png(folder / f"{stem}.color.png", frame.color[..., ::-1], written)
    for name, image in (("depth", frame.depth_mm), ("ir", frame.ir)):
        if image is not None:
            _write_png(folder / f"{stem}.{name}.png", image, written)
    record: dict[str, Any] = {"index": index, "time_us": frame.time_us, "is_complete": frame.is_complete}
    if frame.is_complete:
        record |= _export_points(frame, calibration, recording, folder / stem, written)
    return {**record, "files": written}


def write_intrinsics(recording: Recording, path: Path) -> None:
    """Write both cameras' factory intrinsics, their transform and the recording's facts as JSON."""
    calibration = parse_calibration(recording.calibration_json, where=f"{recording.path}:calibration.json")
    info = recording.info
    document: dict[str, Any] = {"recording": asdict(info)}
    if info.color_mode is not None:
        document["color"] = CameraModel.of(calibration.camera("color", info.color_mode), info.color_mode).model_dump()
    if info.depth_mode is not None:
        document["depth"] = CameraModel.of(calibration.camera("depth", info.depth_mode), info.depth_mode).model_dump()
    document["T_color_depth"] = RigidModel.of(calibration.T_color_depth).model_dump()
    write_json(path, document)


def colored_points(
    frame: RgbdFrame, depth_camera: Camera, color_camera: Camera, calibration: FactoryCalibration
) -> tuple[NDArray[np.uint16], NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Align a complete capture; return aligned depth (H, W) mm, points (N, 3), normals (N, 3), colours (N, 3)."""
    assert frame.depth_mm is not None
    assert frame.color is not None
    aligned = depth_to_color(frame.depth_mm, depth_camera, color_camera, calibration.T_color_depth)
    points = unproject(aligned, color_camera)
    directions = normals(points)
    is_valid = np.isfinite(directions[..., 0])
    if not is_valid.any():
        raise DataError("depth and colour do not overlap", where=f"capture {frame.index}")
    return aligned, points[is_valid], directions[is_valid], frame.color[is_valid]


def write_points(path: Path, points: NDArray, directions: NDArray, colors: NDArray[np.uint8]) -> None:
    """Write a binary PLY point cloud: positions (N, 3) metres, unit normals (N, 3), RGB (N, 3)."""
    names = ("x", "y", "z", "nx", "ny", "nz")
    table = np.empty(
        len(points), dtype=[*((name, "<f4") for name in names), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    )
    for column, name in enumerate(names):
        table[name] = points[:, column] if column < 3 else directions[:, column - 3]
    table["red"], table["green"], table["blue"] = np.asarray(colors).T
    header = ["ply", "format binary_little_endian 1.0", "comment metres, camera axes", f"element vertex {len(points)}"]
    header += [f"property float {name}" for name in names]
    header += [f"property uchar {name}" for name in ("red", "green", "blue")]
    write_bytes(path, "\n".join([*header, "end_header", ""]).encode("ascii") + table.tobytes())


def overlay(color: NDArray[np.uint8], aligned_mm: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Colour image (H, W, 3) with the aligned depth (H, W) painted half transparent over it, near red, far blue."""
    share = np.clip((aligned_mm - _NEAR_MM) / (_FAR_MM - _NEAR_MM), 0.0, 1.0)
    paint = cv2.applyColorMap((255 * (1.0 - np.sqrt(share))).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    mixed = (color.astype(np.uint16) + paint) // 2
    return np.where((aligned_mm > 0)[..., None], mixed, color).astype(np.uint8)


def _export_points(
    frame: RgbdFrame, calibration: FactoryCalibration, recording: Recording, stem: Path, written: list[str]
) -> dict[str, Any]:
    info = recording.info
    assert frame.color is not None
    depth_camera = calibration.camera("depth", info.depth_mode or "")
    color_camera = calibration.camera("color", info.color_mode or "")
    aligned, points, directions, colors = colored_points(frame, depth_camera, color_camera, calibration)
    _write_png(stem.with_name(f"{stem.name}.aligned.png"), aligned, written)
    _write_png(stem.with_name(f"{stem.name}.overlay.png"), overlay(frame.color, aligned)[..., ::-1], written)
    write_points(stem.with_name(f"{stem.name}.points.ply"), points, directions, colors)
    written.append(f"{stem.name}.points.ply")
    return {
        "num_points": len(points),
        "depth_coverage": round(float((frame.depth_mm > 0).mean()), 4) if frame.depth_mm is not None else 0.0,
        "aligned_coverage": round(float((aligned > 0).mean()), 4),
        "median_depth_mm": float(np.median(aligned[aligned > 0])),
    }


def _write_png(path: Path, image: NDArray, written: list[str]) -> None:
    is_encoded, payload = cv2.imencode(".png", np.ascontiguousarray(image))
    if not is_encoded:
        raise DataError("image cannot be written as PNG", where=path)
    with atomic_path(path) as partial:
        partial.write_bytes(payload.tobytes())
    written.append(path.name)
