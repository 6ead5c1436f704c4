"""Corner detection on drawn images with known truth: OpenCV's ChArUco detector alone, and the project's.

    python benchmarks/corners.py                  squares of 14 to 45 px, enlarged 1, 2 and 3 times
    python benchmarks/corners.py --images 40 --seed 7

Every image shows the shipped board in a random perspective, blurred by 0.6 px, with noise of 3 grey levels.
Prints the share of corners found, the error in px, and the share off by more than half a pixel.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.detect import CornerDetector
from anim_real.calibrate.boards.patterns import side_pattern
from anim_real.calibrate.boards.target import Target, opencv_board
from anim_real.calibrate.boards.target_texture import draw_pattern
from anim_real.calibrate.boards.targets import load_target
from anim_real.target import BoardSpec

Array = NDArray[np.float64]
Detect = Callable[[NDArray[np.uint8], int], tuple[NDArray[np.int64], Array]]
SHEET_PX_PER_M = 1500.0  # whole pixels for the board's plate
FINE = 4
BLUR_PX, NOISE = 0.6, 3.0


def draw(target: Target, square_px: float, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Array]:
    """Grey image of the board, and the true pixels (N, 2) of its corners."""
    board = target.boards[0]
    width, height = board.side_size
    sheet = draw_pattern(side_pattern(target, 0), round(width * SHEET_PX_PER_M), round(height * SHEET_PX_PER_M))
    step = 1 / SHEET_PX_PER_M
    to_plane = np.array([[step, 0, step / 2 - width / 2], [0, step, step / 2 - height / 2], [0, 0, 1]])
    angle, squeeze = rng.uniform(-0.5, 0.5), rng.uniform(0.7, 1.0)
    scale = square_px / board.spec.pitch_m
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    tilt = np.array([[squeeze, 0, 0], [0, 1, 0], [*rng.uniform(-0.25, 0.25, 2), 1]])
    size = round(12.5 * square_px)
    middle = size / 2 + rng.uniform(-0.5, 0.5, 2)
    place = np.array([[scale, 0, middle[0]], [0, scale, middle[1]], [0, 0, 1]])
    homography = place @ turn @ tilt
    fine = np.array([[FINE, 0, (FINE - 1) / 2], [0, FINE, (FINE - 1) / 2], [0, 0, 1]])
    big = cv2.warpPerspective(
        sheet.astype(np.float32), fine @ homography @ to_plane, (size * FINE, size * FINE), borderValue=(235.0,)
    )
    big = cv2.GaussianBlur(big, (0, 0), BLUR_PX * FINE)
    image = big.reshape(size, FINE, size, FINE).mean((1, 3)) + rng.normal(0, NOISE, (size, size))
    points = board.corners_board()[:, :2] * (1, -1)
    truth = np.asarray(cv2.perspectiveTransform(points[None], homography)[0], np.float64)
    return np.clip(image, 0, 255).astype(np.uint8), truth


def opencv_alone(target: Target) -> Detect:
    """OpenCV's detector with the same thresholds, no further refinement."""
    spec = target.boards[0].spec
    assert isinstance(spec, BoardSpec)
    parameters = cv2.aruco.DetectorParameters()
    parameters.adaptiveThreshWinSizeMin, parameters.adaptiveThreshWinSizeMax = 5, 45
    parameters.adaptiveThreshWinSizeStep, parameters.minMarkerPerimeterRate = 8, 0.02
    charuco = cv2.aruco.CharucoParameters()
    charuco.minMarkers = 1
    detector = cv2.aruco.CharucoDetector(opencv_board(spec, target.dictionary), charuco, parameters)

    def detect(image: NDArray[np.uint8], enlarge: int) -> tuple[NDArray[np.int64], Array]:
        large = cv2.resize(image, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
        corners, ids, _, _ = detector.detectBoard(large)
        if ids is None:
            return np.zeros(0, np.int64), np.zeros((0, 2))
        return ids.ravel().astype(np.int64), (corners.reshape(-1, 2).astype(np.float64) + 0.5) / enlarge - 0.5

    return detect


def ours(target: Target) -> Detect:
    """The project's detector."""
    detector = CornerDetector(target)

    def detect(image: NDArray[np.uint8], enlarge: int) -> tuple[NDArray[np.int64], Array]:
        found = detector.detect(image, enlarge=enlarge)
        return found.ids, found.pixels

    return detect


def main() -> None:
    """Print one line per square size, enlargement and detector."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    target = load_target("board")
    detectors = {"OpenCV": opencv_alone(target), "anim-real": ours(target)}
    print(f"{arguments.images} images each, seed {arguments.seed}; error in px of the image before enlargement")
    for square_px in (14.0, 18.0, 22.0, 30.0, 45.0):
        for enlarge in (1, 2, 3):
            for name, detect in detectors.items():
                rng = np.random.default_rng(arguments.seed)
                errors, total = [], 0
                for _ in range(arguments.images):
                    image, truth = draw(target, square_px, rng)
                    ids, pixels = detect(image, enlarge)
                    total += len(truth)
                    errors.append(np.linalg.norm(pixels - truth[ids], axis=1))
                error = np.concatenate(errors)
                told = "none" if len(error) == 0 else (
                    f"median {np.median(error):.3f}, rms {np.sqrt((error**2).mean()):.3f}, "
                    f"p95 {np.percentile(error, 95):.3f}, off by > 0.5 px {np.mean(error > 0.5):.1%}"
                )  # fmt: skip
                print(f"  squares {square_px:2.0f} px, enlarged {enlarge}, {name:9}: {len(error) / total:4.0%} {told}")


if __name__ == "__main__":
    main()
