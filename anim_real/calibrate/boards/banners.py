"""LiveScan3D's banner markers: their code, and their corners in images.

A banner is a black rectangle with a notch in its lower edge; nine white or black cells hold its number.
Shape and code were read from the printable sheets and the reader of LiveScan3D (MIT): cells 0-3 are the number,
highest bit first; cells 4-7 their complement; cell 8 is white if the number has an even count of ones.
The notch tells which way is up, so this is no dictionary that OpenCV's detector could hold. Pixels are OpenCV's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.target import BannerSpec

Array = NDArray[np.float64]
_CELLS_HALF_WIDTH, _CELLS_HALF_HEIGHT, _CELLS_CENTER = 0.275, 0.20625, 0.175  # of width and height, from the origin
_MIN_AREA_PX = 200.0
_POLYGON_TOLERANCE = 0.05  # of the square root of the area
_MAX_SHAPE_ERROR = 0.04  # of the width: five corners against the nominal shape under a homography
_MIN_CONTRAST = 25.0  # grey levels between the white and the black cells
_EDGE_REACH = 0.04  # of the square root of the area: how far from the polygon an edge is looked for
_EDGE_SAMPLES = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class Banner:
    """A banner seen in an image.

    Attributes:
        number: what its cells say.
        pixels: (5, 2) its corners in the order of ``BannerSpec.corners``.
    """

    number: int
    pixels: Array


def banner_cells(number: int) -> NDArray[np.bool_]:
    """(3, 3) which cells are white, as seen."""
    bits = [bool(number >> shift & 1) for shift in (3, 2, 1, 0)]
    return np.array([*bits, *(not bit for bit in bits), sum(bits) % 2 == 0]).reshape(3, 3)


def cell_edges(spec: BannerSpec) -> tuple[Array, Array]:
    """Column edges (4,) to the right and row edges (4,) downwards (falling y) of the cells in the board frame, m."""
    steps = np.linspace(-1.0, 1.0, 4)
    across = steps * _CELLS_HALF_WIDTH * spec.width_m
    down = (_CELLS_CENTER - steps * _CELLS_HALF_HEIGHT) * spec.height_m
    return across, down


def find_banners(grey: NDArray[np.uint8], spec: BannerSpec) -> list[Banner]:
    """Banners of the shape of ``spec`` in a grey image (H, W); one per number, the largest."""
    found: dict[int, tuple[float, Banner]] = {}
    for threshold in _thresholds(grey):
        for polygon in _polygons(threshold):
            banner = _read(grey, polygon, spec)
            if banner is None:
                continue
            area = float(cv2.contourArea(polygon.astype(np.float32)))
            if banner.number not in found or area > 1.1 * found[banner.number][0]:
                found[banner.number] = (area, banner)
    return [found[number][1] for number in sorted(found)]


def _thresholds(grey: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Dark areas by one threshold for the image, and by neighbourhoods of two sizes."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    _, whole = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    windows = (2 * (max(grey.shape) // share) + 1 for share in (6, 16))
    local = [
        cv2.adaptiveThreshold(smooth, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, max(window, 3), 7)
        for window in windows
    ]
    return [np.asarray(image, np.uint8) for image in (whole, *local)]


def _polygons(dark: NDArray[np.uint8]) -> list[Array]:
    """Outlines (5, 2) with one inward corner, which comes first; then counter-clockwise on the target (y up)."""
    contours, _ = cv2.findContours(dark, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    polygons = []
    for contour in contours:
        area = cv2.contourArea(contour)
        if area < _MIN_AREA_PX:
            continue
        polygon = cv2.approxPolyDP(contour, _POLYGON_TOLERANCE * area**0.5, True).reshape(-1, 2).astype(np.float64)
        if len(polygon) != 5:
            continue
        ahead, behind = np.roll(polygon, -1, 0) - polygon, polygon - np.roll(polygon, 1, 0)
        turn = behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]
        total = np.sign(cv2.contourArea(polygon.astype(np.float32), oriented=True))
        inward = np.flatnonzero(turn * total < 0)
        if len(inward) != 1:
            continue
        polygon = np.roll(polygon, -int(inward[0]), 0)
        # notch, bottom left, top left …: clockwise as seen in an image with y down
        polygons.append(polygon if total > 0 else np.roll(polygon[::-1], 1, 0))
    return polygons


def _read(grey: NDArray[np.uint8], polygon: Array, spec: BannerSpec) -> Banner | None:
    """Refine a polygon to its edges and read its cells; None if shape, contrast or code do not fit."""
    nominal = np.array(spec.corners())
    pixels = _refined(grey, polygon)
    homography, _ = cv2.findHomography(nominal, pixels)
    if homography is None:
        return None
    back = cv2.perspectiveTransform(pixels[None], np.linalg.inv(homography))[0]
    if np.linalg.norm(back - nominal, axis=1).max() > _MAX_SHAPE_ERROR * spec.width_m:
        return None
    across, down = cell_edges(spec)
    x, y = np.meshgrid((across[1:] + across[:-1]) / 2, (down[1:] + down[:-1]) / 2)
    spread = np.linspace(-0.25, 0.25, 5)
    dx, dy = np.meshgrid(spread * (across[1] - across[0]), spread * (down[0] - down[1]))
    places = np.stack([x[..., None] + dx.ravel(), y[..., None] + dy.ravel()], -1).reshape(1, -1, 2)
    seen = cv2.perspectiveTransform(places, homography)[0].astype(np.float32)
    values = cv2.remap(grey, seen[:, :1], seen[:, 1:], cv2.INTER_LINEAR).reshape(9, -1).mean(1)
    if values.max() - values.min() < _MIN_CONTRAST:
        return None
    white = values > (values.max() + values.min()) / 2
    number = int(np.dot(white[:4], (8, 4, 2, 1)))
    if not np.array_equal(white.reshape(3, 3), banner_cells(number)):
        return None
    return Banner(number=number, pixels=pixels)


def _refined(grey: NDArray[np.uint8], polygon: Array) -> Array:
    """Corners (5, 2) where lines fitted to the edges meet; an edge is the steepest place across the polygon's side."""
    reach = max(2.0, _EDGE_REACH * abs(cv2.contourArea(polygon.astype(np.float32))) ** 0.5)
    lines = [_edge_line(grey, start, end, reach) for start, end in zip(polygon, np.roll(polygon, -1, 0), strict=True)]
    corners = polygon.copy()
    for index in range(5):
        crossing = np.cross(lines[index - 1], lines[index])
        if abs(crossing[2]) > 1e-9:
            corner = crossing[:2] / crossing[2]
            if np.linalg.norm(corner - polygon[index]) < 2 * reach:
                corners[index] = corner
    return corners


def _edge_line(grey: NDArray[np.uint8], start: Array, end: Array, reach: float) -> Array:
    """Homogeneous line (3,) through the edge between two points, its ends left out."""
    along = end - start
    normal = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-9)
    share = np.linspace(0.12, 0.88, _EDGE_SAMPLES)
    offset = np.arange(-reach, reach + 0.25, 0.5)
    places = start + share[:, None, None] * along + offset[None, :, None] * normal
    seen = cv2.remap(
        cv2.GaussianBlur(grey, (0, 0), 0.8).astype(np.float32),
        places[..., 0].astype(np.float32),
        places[..., 1].astype(np.float32),
        cv2.INTER_LINEAR,
    )
    slope = np.abs(np.diff(seen, axis=1))
    middle = (offset[1:] + offset[:-1]) / 2
    peak = slope.argmax(1)
    window = np.abs(np.arange(slope.shape[1])[None] - peak[:, None]) <= 3
    weights = np.where(window, slope, 0.0)
    shift = (weights * middle).sum(1) / np.maximum(weights.sum(1), 1e-9)
    points = (start + share[:, None] * along + shift[:, None] * normal).astype(np.float32)
    vx, vy, x, y = cv2.fitLine(points, cv2.DIST_HUBER, 0, 0.01, 0.01).ravel().astype(np.float64)
    return np.array([-vy, vx, vy * x - vx * y])
