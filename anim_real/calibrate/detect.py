"""ChArUco corners in images: colour, infrared, and rendered views of a scan.

Pixels are OpenCV's: integer pixel centres. Corner ids are the target's (``calibrate.boards``).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards import Target

Array = NDArray[np.float64]
_MIN_BOARD_CORNERS = 4
_MAX_HOMOGRAPHY_ERROR = 0.06  # of a square: a corner further from its board's homography was matched wrongly
_IR_PERCENTILES = (1.0, 99.9)  # a clipped white would shift the edges


@dataclass(frozen=True, kw_only=True, eq=False)
class Corners:
    """Detected corners of one image.

    Attributes:
        ids: (N,) corner ids of the target, ascending.
        pixels: (N, 2) pixel positions.
    """

    ids: NDArray[np.int64]
    pixels: Array

    def __len__(self) -> int:
        return len(self.ids)


class CornerDetector:
    """Finds the boards of one target in grey images."""

    def __init__(self, target: Target) -> None:
        parameters = cv2.aruco.DetectorParameters()
        parameters.adaptiveThreshWinSizeMin = 5
        parameters.adaptiveThreshWinSizeMax = 45
        parameters.adaptiveThreshWinSizeStep = 8
        parameters.minMarkerPerimeterRate = 0.02
        self._target = target
        self._markers = cv2.aruco.ArucoDetector(target.dictionary, parameters)
        self._boards = []
        for board in target.boards:
            charuco = cv2.aruco.CharucoParameters()
            charuco.minMarkers = 1
            self._boards.append(cv2.aruco.CharucoDetector(board.opencv(target.dictionary), charuco, parameters))

    def detect(self, image: NDArray[np.uint8], *, enlarge: int = 1) -> Corners:
        """Corners of every board seen in ``image`` (H, W) or (H, W, 3) uint8; none is an empty result.

        ``enlarge`` resamples the image first: with squares below 30 px more markers are read and corners are finer.
        """
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if enlarge > 1:
            grey = cv2.resize(grey, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
        found = self._detect(np.ascontiguousarray(grey, dtype=np.uint8))
        return Corners(ids=found.ids, pixels=(found.pixels + 0.5) / enlarge - 0.5)

    def _detect(self, grey: NDArray[np.uint8]) -> Corners:
        quads, marker_ids, _ = self._markers.detectMarkers(grey)
        ids, pixels = [], []
        if marker_ids is not None:
            flat = marker_ids.ravel()
            for board, detector in zip(self._target.boards, self._boards, strict=True):
                chosen = np.flatnonzero(np.isin(flat, board.marker_ids))
                if len(chosen) == 0:
                    continue
                corners, local_ids, _, _ = detector.detectBoard(
                    grey,
                    markerCorners=[quads[int(k)] for k in chosen],
                    markerIds=flat[chosen].reshape(-1, 1).astype(np.int32),
                )
                if local_ids is None or len(local_ids) < _MIN_BOARD_CORNERS:
                    continue
                local = local_ids.ravel().astype(np.int64)
                found = corners.reshape(-1, 2).astype(np.float64)
                keep = _agree_with_plane(board.corners_board()[local, :2] / board.spec.square_m, found)
                ids.append(board.first_corner + local[keep])
                pixels.append(found[keep])
        if not ids:
            return Corners(ids=np.zeros(0, np.int64), pixels=np.zeros((0, 2)))
        all_ids, all_pixels = np.concatenate(ids), np.concatenate(pixels)
        order = np.argsort(all_ids)
        return Corners(ids=all_ids[order], pixels=all_pixels[order])

    def num_markers(self, image: NDArray[np.uint8]) -> int:
        """How many of the target's markers show in a grey image (H, W)."""
        _, ids, _ = self._markers.detectMarkers(image)
        wanted = np.concatenate([board.marker_ids for board in self._target.boards])
        return 0 if ids is None else int(np.isin(ids.ravel(), wanted).sum())


def grey_of_ir(ir: NDArray) -> NDArray[np.uint8]:
    """Infrared amplitudes (H, W) as 8-bit grey: percentile stretch of the lit pixels, square root for the fall-off."""
    amplitude = np.sqrt(np.maximum(np.asarray(ir, dtype=np.float32), 0.0))
    lit = amplitude[amplitude > 0]
    if lit.size == 0:
        return np.zeros(amplitude.shape, np.uint8)
    low, high = np.percentile(lit, _IR_PERCENTILES)
    return np.clip((amplitude - low) / max(high - low, 1e-6) * 255.0, 0, 255).astype(np.uint8)


def mean_image(images: list[NDArray]) -> NDArray[np.float32]:
    """Mean of equally large images of a static scene; noise falls with the square root of their number."""
    assert images
    stack = np.stack([np.asarray(image, dtype=np.float32) for image in images])
    return np.asarray(stack.mean(axis=0), dtype=np.float32)


def _agree_with_plane(plane: Array, pixels: Array) -> NDArray[np.bool_]:
    """Which corners fit their board's robust homography; the margin leaves room for the lens."""
    homography, _ = cv2.findHomography(pixels, plane, cv2.RANSAC, _MAX_HOMOGRAPHY_ERROR)
    if homography is None:
        return np.ones(len(pixels), bool)
    mapped = cv2.perspectiveTransform(pixels[None], homography)[0]
    return np.linalg.norm(mapped - plane, axis=1) < _MAX_HOMOGRAPHY_ERROR
