"""One RGB-D frame made ready for the network, and one training example, in numpy.

Frames: ``color`` = the camera of the crop, metres (x right, y down, z forward); ``model`` = centimetres
about the person's centre (x right, y up, z towards the camera). Points and normals are computed at the
resolution of the depth image; only images are resized (by area, so their corners stay where they are).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.depth import normals, unproject

Array = NDArray[np.float64]
Image = NDArray[np.float32]
CM_PER_M = 100.0
MODEL_AXES = np.array([1.0, -1.0, -1.0])  # model axes in the camera's: y and z point the other way
_MIN_DEPTH_POINTS = 50
_BOX_QUANTILE = 0.002  # flying pixels must not move the box that defines the centre


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedFrame:
    """What the network sees of one frame.

    Attributes:
        color: (S, S, 3) uint8 RGB, zero outside the person.
        normals: (S, S, 3) float32 unit normals in the camera frame, zero where unknown.
        relative_depth: (S, S) float32 metres behind the person's centre, zero where unknown.
        is_person: (S, S) bool.
        points_color: (N, 3) float32 depth points of the person, camera frame, metres.
        center: (3,) float64 origin of model space in the camera frame, metres.
        camera: camera of the (S, S) images.
    """

    color: NDArray[np.uint8]
    normals: Image
    relative_depth: Image
    is_person: NDArray[np.bool_]
    points_color: Image
    center: Array
    camera: Camera | OrthographicCamera

    @property
    def is_orthographic(self) -> bool:
        """Whether the camera projects in parallel."""
        return isinstance(self.camera, OrthographicCamera)

    @property
    def scale_px(self) -> tuple[float, float]:
        """Focal lengths in pixels, or pixels per metre twice."""
        if isinstance(self.camera, OrthographicCamera):
            return self.camera.px_per_m, self.camera.px_per_m
        return self.camera.fx, self.camera.fy

    def points_model(self) -> Image:
        """(N, 3) float32 depth points in model space, cm."""
        return to_model(self.points_color, self.center)


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One frame with labelled points in model space.

    Attributes:
        points: (P, 3) float32 cm.
        sdf: (P,) float32 cm, negative inside.
        is_invented: (P,) bool, the label is the hole filling's, not the scan's (``PointSamples.invented``).
        depth_points: (Q, 3) float32 cm, a subset of the frame's depth points.
        depth_sdf: (Q,) float32 cm, their label.
    """

    frame: PreparedFrame
    points: Image
    sdf: Image
    is_invented: NDArray[np.bool_]
    depth_points: Image
    depth_sdf: Image


def to_model(points_color: NDArray[np.floating], center: Array) -> Image:
    """Camera points (..., 3) in metres to model space in cm."""
    return ((np.asarray(points_color, dtype=np.float64) - center) * (MODEL_AXES * CM_PER_M)).astype(np.float32)


def from_model(points_model: NDArray[np.floating], center: Array) -> Array:
    """Model points (..., 3) in cm to camera points in metres."""
    return np.asarray(points_model, dtype=np.float64) * (MODEL_AXES / CM_PER_M) + center


def prepare(
    color: NDArray[np.uint8],
    depth_mm: NDArray[np.uint16],
    mask: NDArray[np.bool_],
    camera: Camera | OrthographicCamera,
    *,
    size: int,
    where: object = "frame",
) -> PreparedFrame:
    """Make a square RGB-D crop ready for the network.

    Args:
        color: (T, T, 3) uint8 RGB.
        depth_mm: (T, T) uint16 millimetres along z, 0 = no return.
        mask: (T, T) bool, the person.
        camera: camera of the crop; without lens distortion.
        size: side of the images the network takes.
        where: what to name in an error.

    Raises:
        DataError: sizes differ, the lens is distorted, or hardly any depth lies on the person.
    """
    shape = depth_mm.shape
    if (
        color.shape != (*shape, 3)
        or mask.shape != shape
        or shape != (camera.height, camera.width)
        or shape[0] != shape[1]
    ):
        raise DataError(
            f"colour {color.shape}, depth {shape}, mask {mask.shape} and camera do not fit one square crop", where=where
        )
    if isinstance(camera, Camera) and camera.distortion.any():
        raise DataError("the crop's camera still has lens distortion", where=where, fix="Rectify the crop first")
    is_depth = mask & (depth_mm > 0)
    if is_depth.sum() < _MIN_DEPTH_POINTS:
        raise DataError(
            f"only {int(is_depth.sum())} depth pixels lie on the person", where=where, fix="Choose a frame with depth"
        )
    points_HW3 = unproject(np.where(is_depth, depth_mm, 0), camera)
    points = points_HW3[is_depth]
    low, high = np.quantile(points, [_BOX_QUANTILE, 1.0 - _BOX_QUANTILE], axis=0)
    center = (low + high) / 2
    normals_HW3 = normals(points_HW3)
    has_normal = is_depth & np.isfinite(normals_HW3).all(-1)
    small_normals = _mean_where(normals_HW3, has_normal, size)
    small_normals /= np.maximum(np.linalg.norm(small_normals, axis=-1, keepdims=True), 1e-6)
    return PreparedFrame(
        color=_resized(np.where(mask[..., None], color, 0).astype(np.uint8), size),
        normals=small_normals.astype(np.float32),
        relative_depth=_mean_where(points_HW3[..., 2:] - center[2], is_depth, size)[..., 0].astype(np.float32),
        is_person=_resized(mask.astype(np.float32), size) > 0.5,
        points_color=points.astype(np.float32),
        center=center,
        camera=camera.scale(size / shape[0]),
    )


def _resized(image: NDArray, size: int) -> NDArray:
    if image.shape[0] == size:
        return image
    method = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)


def _mean_where(values_HWC: NDArray[np.floating], is_valid: NDArray[np.bool_], size: int) -> Image:
    """Resize, averaging valid pixels only; zero where fewer than half are valid."""
    filled = np.where(is_valid[..., None], np.nan_to_num(values_HWC), 0.0).astype(np.float32)
    weight = _resized(is_valid.astype(np.float32), size)
    total = _resized(filled, size).reshape(size, size, -1)
    return np.where(weight[..., None] >= 0.5, total / np.maximum(weight, 1e-6)[..., None], 0.0).astype(np.float32)
