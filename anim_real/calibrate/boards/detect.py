"""Corners of a target's boards in images: colour, infrared, and rendered views of a scan.

Pixels are OpenCV's: integer pixel centres. Corner ids are the target's (``calibrate.boards``). Boards printed
white on black are found whether the target says so or not; ``Corners.inverted`` says how they were seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.banners import find_banners
from anim_real.calibrate.boards.refine import refine_corners
from anim_real.calibrate.boards.target import Board, Target, opencv_board
from anim_real.target import BannerSpec, BoardSpec

Array = NDArray[np.float64]
_MIN_BOARD_CORNERS = 6  # four always fit a homography, wrong or not
_MARKER_WINDOW_CELLS = 0.8  # half width of a marker corner's window: its border is one cell wide
_IR_PERCENTILES = (1.0, 99.9)  # a clipped white would shift the edges


@dataclass(frozen=True, kw_only=True, eq=False)
class Corners:
    """Detected corners of one image.

    Attributes:
        ids: (N,) corner ids of the target, ascending.
        pixels: (N, 2) pixel positions.
        inverted: whether the boards were seen white on black; None if nothing was seen.
    """

    ids: NDArray[np.int64]
    pixels: Array
    inverted: bool | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def none(cls) -> Corners:
        """Return no corners."""
        return cls(ids=np.zeros(0, np.int64), pixels=np.zeros((0, 2)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Views:
    """An image as it is (H, W), and enlarged by a whole factor to look for markers."""

    grey: NDArray[np.uint8]
    large: NDArray[np.uint8]
    factor: int

    @classmethod
    def of(cls, grey: NDArray[np.uint8], factor: int) -> _Views:
        large = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else grey
        return cls(grey=grey, large=np.asarray(large, np.uint8), factor=factor)

    def inverted(self) -> _Views:
        """Black and white exchanged."""
        return _Views(grey=np.asarray(255 - self.grey), large=np.asarray(255 - self.large), factor=self.factor)

    def native(self, pixels: Array) -> Array:
        """Pixels (N, 2) of the image as it is, of those of the enlarged one."""
        return (pixels + 0.5) / self.factor - 0.5


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
        self._charuco: dict[int, cv2.aruco.CharucoDetector] = {}
        for board in target.boards:
            if isinstance(board.spec, BoardSpec):
                charuco = cv2.aruco.CharucoParameters()
                charuco.minMarkers = 1
                self._charuco[board.index] = cv2.aruco.CharucoDetector(
                    opencv_board(board.spec, target.dictionary), charuco, parameters
                )

    def detect(self, image: NDArray[np.uint8], *, enlarge: int = 1) -> Corners:
        """Corners of every board seen in ``image`` (H, W) or (H, W, 3) uint8; none is an empty result.

        ``enlarge`` resamples the image to look for markers: with squares below 30 px more of them are read.
        An image that shows no corner is looked at once more with black and white exchanged.
        """
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        views = _Views.of(np.ascontiguousarray(grey, dtype=np.uint8), enlarge)
        found = self._detect(views, flipped=False)
        return found if len(found) else self._detect(views, flipped=True)

    def _detect(self, views: _Views, *, flipped: bool) -> Corners:
        """Corners of an image as the target declares its boards, or with all of them the other way round."""
        ids, pixels, inverted = [], [], []
        for shown in sorted({board.spec.inverted ^ flipped for board in self._target.boards}):
            seen = views.inverted() if shown else views
            boards = [board for board in self._target.boards if board.spec.inverted ^ flipped == shown]
            for board, local, found in self._boards_in(seen, boards):
                ids.append(board.first_corner + local)
                pixels.append(found)
                inverted.append(shown)
        if not ids:
            return Corners.none()
        all_ids, all_pixels = np.concatenate(ids), np.concatenate(pixels)
        order = np.argsort(all_ids)
        most = max(
            (True, False),
            key=lambda value: sum(len(part) for part, seen in zip(ids, inverted, strict=True) if seen == value),
        )
        return Corners(ids=all_ids[order], pixels=all_pixels[order], inverted=most)

    def _boards_in(self, views: _Views, boards: list[Board]) -> list[tuple[Board, NDArray[np.int64], Array]]:
        """Boards that show black on white in an image, with local corner numbers and pixels."""
        answer = []
        banners = [board for board in boards if isinstance(board.spec, BannerSpec)]
        if banners:
            spec = banners[0].spec
            assert isinstance(spec, BannerSpec)
            by_number = {banner.number: views.native(banner.pixels) for banner in find_banners(views.large, spec)}
            answer += [
                (board, np.arange(5), by_number[board.spec.first_marker])
                for board in banners
                if board.spec.first_marker in by_number
            ]
        if len(banners) == len(boards):
            return answer
        quads, marker_ids, _ = self._markers.detectMarkers(views.large)
        if marker_ids is None:
            return answer
        flat = marker_ids.ravel()
        for board in boards:
            chosen = np.flatnonzero(np.isin(flat, board.marker_ids))
            if len(chosen) == 0 or isinstance(board.spec, BannerSpec):
                continue
            quads_of_board = [quads[int(k)] for k in chosen]
            if isinstance(board.spec, BoardSpec):
                part = self._charuco_corners(views, board, quads_of_board, flat[chosen])
            else:
                part = _marker_corners(views, quads_of_board, self._target.dictionary.markerSize + 2)
            if part is not None:
                answer.append((board, *part))
        return answer

    def _charuco_corners(
        self, views: _Views, board: Board, quads: list, marker_ids: NDArray
    ) -> tuple[NDArray[np.int64], Array] | None:
        """Corners of one board: those that its markers lead to, and the others where these put them."""
        corners, local_ids, _, _ = self._charuco[board.index].detectBoard(
            views.large, markerCorners=quads, markerIds=marker_ids.reshape(-1, 1).astype(np.int32)
        )
        if local_ids is None or len(local_ids) < _MIN_BOARD_CORNERS:
            return None
        assert isinstance(board.spec, BoardSpec)
        pixels = np.full((board.spec.num_corners, 2), np.nan)
        pixels[local_ids.ravel().astype(np.int64)] = views.native(corners.reshape(-1, 2).astype(np.float64))
        plane = board.corners_board()[:, :2] / board.spec.square_m
        margin = (1 - board.spec.marker_m / board.spec.square_m) / 2
        found, keep = refine_corners(views.grey, pixels, plane, margin)
        local = np.flatnonzero(keep)
        return (local, found[keep]) if len(local) >= _MIN_BOARD_CORNERS else None

    def num_markers(self, image: NDArray[np.uint8]) -> int:
        """How many of the target's markers show in a grey image (H, W), black on white or white on black."""
        return max(self._num_markers(image), self._num_markers(np.asarray(255 - image)))

    def _num_markers(self, grey: NDArray[np.uint8]) -> int:
        """Markers and banners of the target, black on white."""
        _, ids, _ = self._markers.detectMarkers(grey)
        kinds = [board for board in self._target.boards if not isinstance(board.spec, BannerSpec)]
        wanted = np.concatenate([board.marker_ids for board in kinds]) if kinds else np.zeros(0, np.int32)
        read = 0 if ids is None else int(np.isin(ids.ravel(), wanted).sum())
        banners = [board.spec for board in self._target.boards if isinstance(board.spec, BannerSpec)]
        return read + (len(find_banners(grey, banners[0])) if banners else 0)


def _marker_corners(views: _Views, quads: list, num_cells: int) -> tuple[NDArray[np.int64], Array] | None:
    """Outer corners of one marker, refined; None where two places claim its number."""
    if len(quads) != 1:
        return None
    quad = np.asarray(quads[0], np.float32).reshape(-1, 1, 2)
    side = float(np.linalg.norm(np.diff(quad[:, 0], axis=0), axis=1).min())
    half = int(np.clip(round(_MARKER_WINDOW_CELLS * side / num_cells), 2, 15))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-3)
    refined = cv2.cornerSubPix(views.large, quad.copy(), (half, half), (-1, -1), stop)
    return np.arange(4), views.native(refined.reshape(-1, 2).astype(np.float64))


def polarity_remark(target: Target, seen: Iterable[bool | None]) -> str | None:
    """One sentence if images (their ``Corners.inverted``) show the boards the other way than declared; else None."""
    declared = target.boards[0].spec.inverted
    known = [value for value in seen if value is not None]
    others = sum(value != declared for value in known)
    if 2 * others <= len(known):
        return None
    names = {True: "white on black", False: "black on white"}
    return (
        f"{others} of {len(known)} images show the boards of target {target.name} {names[not declared]}, it declares "
        f"{names[declared]}; they are used as seen (set inverted = {str(not declared).lower()} in its TOML)"
    )


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
