"""Pictures of what was observed at one placement, cut to the target and enlarged: corners, residuals, depth errors.

Pixels of the cut are those of the image times ``factor``, less the cut's corner; integer centres before and after.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import CornerPairs
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
MAP_RANGE_MM = 5.0  # depth errors from blue to red
_SEEN, _KEPT, _LEFT_OUT, _OUTLINE = (40, 220, 60), (255, 200, 0), (255, 30, 30), (0, 160, 255)  # RGB
_SIZE_PX, _FACTORS = (640, 560), (0.25, 5.0)  # of a picture: width at most, height
_MARGIN = 0.08  # of the target's size
_MAX_ARROW_PX = 60.0
_LABEL_PX = 24
_CLOSING_PX = 15  # gaps between the scan's vertices in the image
_SCALES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SHOWN_PX = 3.0  # length that a usual residual is drawn with


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Part of an image: columns ``left`` to ``right``, rows ``top`` to ``bottom``, scaled by ``factor``."""

    left: int
    top: int
    right: int
    bottom: int
    factor: float

    @classmethod
    def around(cls, pixels: Array, size: tuple[int, int]) -> Cut:
        """Cut an image of (width, height) ``size`` around pixels (N, 2); the whole image if none lies in it."""
        inside = pixels[np.isfinite(pixels).all(1)]
        inside = inside[((inside >= 0) & (inside < size)).all(1)]
        if len(inside) == 0:
            inside = np.array([(0.0, 0.0), (size[0] - 1.0, size[1] - 1.0)])
        margin = _MARGIN * np.ptp(inside, axis=0).max() + 4
        low = np.maximum(np.floor(inside.min(0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(inside.max(0) + margin) + 1, size).astype(int)
        factor = float(np.clip((np.array(_SIZE_PX) / (high - low)).min(), *_FACTORS))
        return cls(left=int(low[0]), top=int(low[1]), right=int(high[0]), bottom=int(high[1]), factor=factor)

    def image(self, image: Image, *, smooth: bool) -> Image:
        """The part of an image (H, W, 3), scaled."""
        part = image[self.top : self.bottom, self.left : self.right]
        how = (cv2.INTER_CUBIC if self.factor > 1 else cv2.INTER_AREA) if smooth else cv2.INTER_NEAREST
        size = (round(part.shape[1] * self.factor), round(part.shape[0] * self.factor))
        return np.ascontiguousarray(cv2.resize(part, size, interpolation=how), dtype=np.uint8)

    def place(self, pixels: Array) -> Array:
        """Pixels (N, 2) of the image as pixels of the cut."""
        return (pixels - (self.left, self.top) + 0.5) * self.factor - 0.5


def arrow_scale(residual_px: float) -> int:
    """How many times longer residuals of a usual length are drawn, so that they can be seen."""
    return next((scale for scale in _SCALES if scale * residual_px >= _SHOWN_PX), _SCALES[-1])


def corner_picture(
    image: Image,
    pairs: CornerPairs,
    predicted: Array,
    kept: NDArray[np.bool_],
    outline: Array,
    *,
    scale: int,
    label: str,
) -> Image:
    """Corners seen (green), their residuals times ``scale`` (yellow; red = left out) and the scan's outline (blue).

    Args:
        image: (H, W, 3).
        pairs: the corners.
        predicted: (N, 2) where the cameras put them.
        kept: (N,) whether the solution keeps them.
        outline: (M, 2) pixels of the scan's vertices.
        scale: as ``arrow_scale`` says.
        label: written above.
    """
    height, width = image.shape[:2]
    cut = Cut.around(np.concatenate([outline, pairs.pixels]), (width, height))
    canvas = cut.image(image, smooth=True)
    for contour in _contours(outline, (width, height)):
        line = np.rint(cut.place(contour)).astype(np.int32)
        cv2.polylines(canvas, [line], True, _OUTLINE, 1, cv2.LINE_AA)
    for seen, expected, is_kept in zip(pairs.pixels, predicted, kept, strict=True):
        arrow = scale * (expected - seen) * cut.factor
        arrow *= min(1.0, _MAX_ARROW_PX / max(float(np.linalg.norm(arrow)), 1e-9))
        start = cut.place(seen[None])[0]
        (x, y), (end_x, end_y) = np.rint(16 * np.stack([start, start + arrow])).astype(int).tolist()
        cv2.circle(canvas, (x, y), 16 * 4, _SEEN, 1, cv2.LINE_AA, 4)
        cv2.line(canvas, (x, y), (end_x, end_y), _KEPT if is_kept else _LEFT_OUT, 2, cv2.LINE_AA, 4)
    return _labelled(canvas, label)


def depth_picture(
    size: tuple[int, int], pixels: NDArray[np.int64], error_mm: Array, outline: Array, *, label: str
) -> Image:
    """Depth errors (N,) at pixels (N, 2) of an image of (width, height) ``size``, blue to red; grey where unknown."""
    canvas = np.full((size[1], size[0], 3), 60, np.uint8)
    share = np.clip(error_mm / (2 * MAP_RANGE_MM) + 0.5, 0, 1)
    colors = cv2.applyColorMap(np.rint(share * 255).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)
    canvas[pixels[:, 1], pixels[:, 0]] = colors.reshape(-1, 3)[:, ::-1]
    return _labelled(Cut.around(outline, size).image(canvas, smooth=False), label)


def outline_pixels(points_scan: Array, camera: Camera, pose: Rigid) -> Array:
    """(N, 2) pixels of a scan's vertices (N, 3); NaN where a camera does not see."""
    return camera.project(pose.apply(points_scan))


def _contours(pixels: Array, size: tuple[int, int]) -> list[Array]:
    """Outlines (K, 2) of what pixels (N, 2) cover."""
    silhouette = np.zeros((size[1], size[0]), np.uint8)
    whole = np.rint(pixels[np.isfinite(pixels).all(1)]).astype(int)
    whole = whole[((whole >= 0) & (whole < size)).all(1)]
    silhouette[whole[:, 1], whole[:, 0]] = 255
    silhouette = cv2.morphologyEx(silhouette, cv2.MORPH_CLOSE, np.ones((_CLOSING_PX, _CLOSING_PX), np.uint8))
    found = cv2.findContours(silhouette, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    return [np.asarray(contour, np.float64).reshape(-1, 2) for contour in found]


def _labelled(image: Image, label: str) -> Image:
    """The image with a line of text above it."""
    canvas = np.full((image.shape[0] + _LABEL_PX, max(image.shape[1], 11 * len(label)), 3), 255, np.uint8)
    canvas[_LABEL_PX:, : image.shape[1]] = image
    cv2.putText(canvas, label, (2, _LABEL_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (40, 40, 40), 1, cv2.LINE_AA)
    return canvas
