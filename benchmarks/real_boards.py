"""Real boards that nobody on this project photographed: detection, four cameras' poses, depth against a board.

    python benchmarks/real_boards.py              both folders of ../shared/data, or of --data
    python benchmarks/real_boards.py --data DIR

charuco-rig: a board printed white on black, moved before four cameras that run free at 6 Hz. Prints how often it is
detected, how far the per-frame stamps lie apart, the cameras' poses against the published ones, and what the
images say of the intrinsics. k4a-board: infrared, depth and colour of an Azure Kinect whose calibration was not
published; another device's factory calibration stands in, so only what does not hang on it can be judged.
"""

from __future__ import annotations

import argparse
import csv
import tomllib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.detect import CornerDetector, Corners, grey_of_ir, polarity_remark
from anim_real.calibrate.boards.target import Target, make_target
from anim_real.calibrate.lenses.intrinsics import solve_intrinsics
from anim_real.calibrate.lenses.ray_field import ray_difference
from anim_real.calibrate.lenses.rig import compare_pose, solve_rig_poses
from anim_real.calibrate.lenses.solve import pose_board
from anim_real.calibrate.lenses.views import BoardView, board_views
from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.errors import AnimRealError
from anim_real.geometry.cameras import Camera
from anim_real.target import TargetSpec

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SIZE = (1280, 720)
LETTER_OVER_PAGE = 279.4 / 600.0  # US letter's long side over the drawing's width: printed to fit the page


def plate(columns: int, rows: int, square_m: float, marker_m: float, dictionary: str) -> Target:
    """A single ChArUco board, declared black on white."""
    board = {"side": 0, "columns": columns, "rows": rows, "square_m": square_m, "marker_m": marker_m, "first_marker": 0}
    body = {"kind": "plate", "width_m": columns * square_m, "height_m": rows * square_m, "thickness_m": 0.002}
    table = {"schema": "anim-real/target/1", "name": "plate", "dictionary": dictionary, "body": body, "boards": [board]}
    return make_target(TargetSpec.model_validate(table))


def published(folder: Path) -> tuple[dict[str, Camera], dict[str, tuple[NDArray, NDArray]]]:
    """Cameras and poses ``T_camera_world`` (metres) of camera_array.toml."""
    table = tomllib.loads((folder / "camera_array.toml").read_text())["cameras"]
    cameras, poses = {}, {}
    for key, entry in table.items():
        (fx, _, cx), (_, fy, cy), _ = entry["matrix"]
        cameras[key] = Camera(
            width=SIZE[0], height=SIZE[1], fx=fx, fy=fy, cx=cx, cy=cy, distortion=np.array(entry["distortions"])
        )
        poses[key] = (np.array(entry["rotation"]), np.array(entry["translation"]))
    return cameras, poses


def stamps(folder: Path) -> dict[str, dict[int, float]]:
    """Per camera, time in seconds of every frame of its video, by the moment (sync index) it belongs to."""
    times: dict[str, dict[int, float]] = {}
    with (folder / "timestamps.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            times.setdefault(row["cam_id"], {})[int(row["sync_index"])] = float(row["frame_time"])
    return {key: dict(sorted(times[key].items())) for key in sorted(times)}


def detect_video(path: Path, detector: CornerDetector) -> list[Corners]:
    """Corners of every frame."""
    video = cv2.VideoCapture(str(path))
    found = []
    while True:
        is_read, frame = video.read()
        if not is_read:
            return found
        found.append(detector.detect(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8)))


def at_common_times(
    found: dict[str, list[Corners]], times: dict[str, dict[int, float]], target: Target
) -> dict[str, dict[int, BoardView]]:
    """Views per camera and moment, corners moved to the moment's middle time by their own speed."""
    views: dict[str, dict[int, BoardView]] = {key: {} for key in found}
    for key, frames in found.items():
        moments = list(times[key])
        assert len(moments) == len(frames), "one stamp per frame"
        for k, (moment, corners) in enumerate(zip(moments, frames, strict=True)):
            middle = float(np.median([times[other][moment] for other in times if moment in times[other]]))
            speeds = np.full((2, *corners.pixels.shape), np.nan)
            for row, near in enumerate((k - 1, k + 1)):
                if 0 <= near < len(frames):
                    _, here, there = np.intersect1d(corners.ids, frames[near].ids, return_indices=True)
                    step_s = times[key][moments[near]] - times[key][moment]
                    speeds[row, here] = (frames[near].pixels[there] - corners.pixels[here]) / step_s
            weight = np.isfinite(speeds).sum(0).clip(1)
            moved = corners.pixels + np.nansum(speeds, 0) / weight * (middle - times[key][moment])
            shifted = Corners(ids=corners.ids, pixels=moved, inverted=corners.inverted)
            for view in board_views(f"{moment}", shifted, target, min_corners=6):
                views[key][moment] = view
    return views


def rig(folder: Path) -> None:
    """The four cameras."""
    target = plate(4, 5, 0.054, 0.054 * 0.75, "DICT_4X4_1000")
    detector = CornerDetector(target)
    cameras, poses = published(folder)
    times = stamps(folder)
    apart = np.ptp(np.array([list(times[key].values()) for key in times]), axis=0) * 1e3
    print(f"charuco-rig: {len(apart)} moments; stamps of a moment lie {np.median(apart):.1f} ms apart "
          f"(median), {apart.max():.1f} ms at most")  # fmt: skip
    found = {key: detect_video(folder / f"cam_{key}.mp4", detector) for key in cameras}
    for key, frames in found.items():
        seen = [len(corners) for corners in frames if len(corners)]
        print(f"  camera {key}: board in {len(seen)} of {len(frames)} frames, {sum(seen)} corners of {12 * len(seen)}")
    print("  " + str(polarity_remark(target, [corners.inverted for frames in found.values() for corners in frames])))
    plain = {
        key: {m: v for m, c in zip(times[key], found[key], strict=True)
              for v in board_views("", c, target, min_corners=6)}
        for key in found
    }  # fmt: skip
    for name, views in (("nearest frames", plain), ("moved to the common time", at_common_times(found, times, target))):
        solved = solve_rig_poses(cameras, views)
        print(f"  {name}: {solved.num_moments} moments, residual "
              + ", ".join(f"{solved.rms_px(key):.2f}" for key in cameras) + " px rms")  # fmt: skip
        for key in list(cameras)[1:]:
            (r_key, t_key), (r_first, t_first) = poses[key], poses["0"]
            rotation = r_key @ r_first.T
            told = compare_pose(
                solved.rotations[key], solved.translations[key], rotation, t_key - rotation @ t_first
            )  # fmt: skip
            print(f"    camera {key} against 0: {told.angle_deg:.2f} deg, {told.distance_mm:.1f} mm "
                  f"({told.baseline_percent:.2f} % of the baseline) from the published pose")  # fmt: skip
    for key, camera in cameras.items():
        alone = [np.sqrt((pose_board(camera, view)[2] ** 2).sum(1).mean()) for view in plain[key].values()]
        print(f"  camera {key}: one view alone fits the published intrinsics to {np.median(alone):.2f} px (median)")
        try:
            result = solve_intrinsics(list(plain[key].values()), SIZE)
        except AnimRealError as error:
            print(f"  camera {key}: intrinsics refused: {error.what}")
            continue
        told = ray_difference(result.camera, camera, cells=result.coverage > 0).summary()
        print(f"  camera {key}: intrinsics from {len(result.views)} views: f {result.camera.fx:.1f} ± "
              f"{result.std['fx']:.1f} (published {camera.fx:.1f}), residual {result.rms_px:.3f} px, held out "
              f"{result.held_out_rms_px:.3f} px; ray field {told['rms_mrad']:.2f} mrad = {told['rms_px']:.2f} px rms "
              f"from the published, where corners were seen ({result.covered_share:.0%} of the image)")  # fmt: skip


def kinect(folder: Path, calibration: Path) -> None:
    """Infrared and depth of a Kinect before a board."""
    target = plate(14, 9, 0.040, 0.030, "DICT_5X5_250")
    detector = CornerDetector(target)
    camera = parse_calibration(calibration.read_bytes(), where=calibration).camera("depth", "WFOV_2X2BINNED")
    color = detector.detect(np.asarray(cv2.imread(str(folder / "color-0.png"), cv2.IMREAD_GRAYSCALE), np.uint8))
    print(f"k4a-board: colour {len(color)} of 104 corners")
    for name in ("0", "eval"):
        ir = cv2.imread(str(folder / f"ir16-{name}.png"), cv2.IMREAD_ANYDEPTH)
        depth = cv2.imread(str(folder / f"depth16-{name}.png"), cv2.IMREAD_ANYDEPTH)
        assert ir is not None and depth is not None
        grey = grey_of_ir(ir)
        counts = {enlarge: len(detector.detect(grey, enlarge=enlarge)) for enlarge in (1, 2, 3)}
        view = board_views(name, detector.detect(grey, enlarge=3), target, min_corners=8)[0]
        rotation, translation, residuals = pose_board(camera, view)
        print(f"  ir16-{name}: corners {counts} of 104 by enlargement; PnP residual "
              f"{np.sqrt((residuals**2).sum(1).mean()):.2f} px with another device's calibration")  # fmt: skip
        depth_m, board_m, off_plane_mm, angle = _planes(camera, depth, target, rotation, translation)
        print(f"    depth plane: residual {off_plane_mm:.2f} mm rms, {angle:.2f} deg from the board's plane")
        print(f"    depth {depth_m * 1e3:.1f} mm, board by PnP with squares of 40 mm as drawn {board_m * 1e3:.1f} mm: "
              f"ratio {depth_m / board_m:.4f}; a drawing of 600 mm printed to fit US letter paper has "
              f"{LETTER_OVER_PAGE:.4f}")  # fmt: skip
        print(f"    if so, depth bias {(depth_m - board_m * LETTER_OVER_PAGE) * 1e3:+.1f} mm (published limit 11 mm); "
              f"1 % of focal length would move it by {board_m * LETTER_OVER_PAGE * 10:.1f} mm")  # fmt: skip


def _planes(
    camera: Camera, depth_mm: NDArray, target: Target, rotation: NDArray, translation: NDArray
) -> tuple[float, float, float, float]:
    """Mean depth measured and of the board's plane over its area (m), plane residual (mm), angle of planes (deg)."""
    corners = camera.project(target.boards[0].corners_board() @ rotation.T + translation)
    mask = np.zeros(depth_mm.shape, np.uint8)
    hull = np.rint(cv2.convexHull(corners.astype(np.float32))).astype(np.int32)
    cv2.fillConvexPoly(mask, hull, 1)
    row, column = np.nonzero((mask > 0) & (depth_mm > 0))
    rays = np.pad(camera.normalize(np.stack([column, row], 1)), ((0, 0), (0, 1)), constant_values=1.0)
    measured = depth_mm[row, column] * 1e-3
    normal = rotation[:, 2]
    nominal = (normal @ translation) / (rays @ normal)
    points = rays * measured[:, None]
    centered = points - points.mean(0)
    own_normal = np.linalg.svd(centered, full_matrices=False)[2][2]
    angle = float(np.degrees(np.arccos(np.clip(abs(own_normal @ normal), 0, 1))))
    return float(measured.mean()), float(nominal.mean()), float((centered @ own_normal).std() * 1e3), angle


def main() -> None:
    """Run what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=SHARED)
    data = parser.parse_args().data
    rig(data / "charuco-rig")
    kinect(data / "k4a-board", data / "k4a-recording" / "pyk4a_calibration.json")


if __name__ == "__main__":
    main()
