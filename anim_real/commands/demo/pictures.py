"""Pictures of the demo: depth on colour, the scan in the image, point samples, a reconstruction beside the truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import SensorCalibration
from anim_real.capture.alignment import depth_to_color
from anim_real.capture.export import overlay
from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.meshes.render import render_rgbd, shaded
from anim_real.report import side_by_side
from anim_real.shards.read import Dataset, ShardFrame
from anim_real.take import RgbdFrame

Image = NDArray[np.uint8]
_SCAN_TINT = np.array([255.0, 120.0, 0.0])
_OUTLINE = (0, 255, 80)
_YAWS_DEG = (0.0, 90.0, 180.0, 270.0)


def depth_on_color(frame: RgbdFrame, sensor: SensorCalibration) -> Image:
    """Aligned, bias-corrected depth over the whole colour image (H, W, 3)."""
    assert frame.color is not None
    assert frame.depth_mm is not None
    depth_mm = 1e3 * sensor.true_depth(frame.depth_mm)
    aligned = depth_to_color(depth_mm, sensor.depth.camera(), sensor.color.camera(), sensor.T_color_depth.rigid())
    return overlay(frame.color, aligned)


def scan_in_image(color: Image, mesh: Mesh, camera: Camera | OrthographicCamera, T_color_scan: Rigid) -> Image:
    """Colour image (H, W, 3) with the shaded scan half transparent over it and its outline."""
    view = render_rgbd(mesh, camera, T_color_scan)
    shade = 0.35 + 0.65 * np.abs(view.normals[..., 2:])
    painted = color.astype(np.float64)
    painted[view.mask] = 0.55 * painted[view.mask] + 0.45 * (_SCAN_TINT * shade)[view.mask]
    picture = np.ascontiguousarray(painted.round().astype(np.uint8))
    outlines, _ = cv2.findContours(view.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, _OUTLINE, 1)
    return picture


def point_samples(dataset: Dataset, frame: ShardFrame, *, num_points: int = 6000) -> Image:
    """Sampled points seen by the frame's camera: blue inside, red outside, paler with distance to the surface."""
    samples = dataset.samples(frame.scan, 0, min(num_points, dataset.num_samples(frame.scan)))
    pixels = frame.camera.project(frame.T_color_scan.apply(samples.points))
    size = dataset.size * 2
    canvas = np.full((size, size, 3), 255, dtype=np.uint8)
    order = np.argsort(-np.abs(samples.sdf))
    for (u, v), sdf in zip(pixels[order], samples.sdf[order], strict=True):
        if not np.isfinite(u) or not (0 <= u < dataset.size and 0 <= v < dataset.size):
            continue
        fade = 200 * min(1.0, abs(float(sdf)) / 0.08)
        color = (fade, fade, 255.0) if sdf < 0 else (255.0, fade, fade)
        cv2.circle(canvas, (round(2 * u), round(2 * v)), 1, color, -1, cv2.LINE_AA)
    return canvas


def four_sides(mesh: Mesh, up: NDArray[np.float64], *, size: int = 260) -> Image:
    """The mesh (any upright axis) from yaw 0, 90, 180 and 270 degrees in one row, uncoloured."""
    upright = mesh.moved(mesh.vertices @ _to_y_up(up).T)
    return side_by_side([shaded(upright, yaw, size, has_colors=False) for yaw in _YAWS_DEG])


def frame_input(frame: ShardFrame) -> Image:
    """What the network gets: colour and depth of the masked person, side by side."""
    color = np.where(frame.mask[..., None], frame.color, 255).astype(np.uint8)
    near, far = np.percentile(frame.depth_mm[frame.depth_mm > 0], (1, 99))
    share = np.clip((frame.depth_mm - near) / max(far - near, 1.0), 0.0, 1.0)
    gray = (230 - 200 * share).astype(np.uint8)
    depth = np.where((frame.depth_mm > 0)[..., None], np.repeat(gray[..., None], 3, -1), 255).astype(np.uint8)
    return side_by_side([color, depth])


def read_image(path: Path) -> Image:
    """Read a PNG or JPEG as RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _to_y_up(up: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) rotation that takes ``up`` (a signed axis) to +y."""
    y = np.array([0.0, 1.0, 0.0])
    if np.allclose(up, y):
        return np.eye(3)
    if np.allclose(up, -y):
        return np.diag([1.0, -1.0, -1.0])
    axis = np.cross(up, y)
    return np.asarray(cv2.Rodrigues(axis / np.linalg.norm(axis) * np.pi / 2)[0], dtype=np.float64)
