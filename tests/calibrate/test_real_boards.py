"""Real images: a board printed white on black before four cameras, and a Kinect before a board."""

from __future__ import annotations

import tomllib

import cv2
import numpy as np
import pytest

from anim_real.calibrate.boards.detect import CornerDetector, grey_of_ir, polarity_remark
from anim_real.calibrate.boards.target import make_target
from anim_real.calibrate.lenses.rig import compare_pose, solve_rig_poses
from anim_real.calibrate.lenses.solve import pose_board
from anim_real.calibrate.lenses.views import board_views
from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.geometry.cameras import Camera
from anim_real.target import TargetSpec

EVERY = 5  # frames: a fifth of the moments keeps the test short


def plate(columns, rows, square_m, marker_m, dictionary):
    board = {"side": 0, "columns": columns, "rows": rows, "square_m": square_m, "marker_m": marker_m, "first_marker": 0}
    body = {"kind": "plate", "width_m": columns * square_m, "height_m": rows * square_m, "thickness_m": 0.002}
    table = {"schema": "anim-real/target/1", "name": "plate", "dictionary": dictionary, "body": body, "boards": [board]}
    return make_target(TargetSpec.model_validate(table))


def test_four_cameras_agree_with_their_published_poses(shared_data):
    folder = shared_data / "charuco-rig"
    target = plate(4, 5, 0.054, 0.054 * 0.75, "DICT_4X4_1000")  # declared black on white on purpose
    detector = CornerDetector(target)
    stamps = np.genfromtxt(folder / "timestamps.csv", delimiter=",", names=True)
    cameras, poses, views, polarity = {}, {}, {}, []
    for key, entry in tomllib.loads((folder / "camera_array.toml").read_text())["cameras"].items():
        (fx, _, cx), (_, fy, cy), _ = entry["matrix"]
        cameras[key] = Camera(width=1280, height=720, fx=fx, fy=fy, cx=cx, cy=cy, distortion=entry["distortions"])
        poses[key] = (np.array(entry["rotation"]), np.array(entry["translation"]))
        moments = np.sort(stamps["sync_index"][stamps["cam_id"] == int(key)]).astype(int)
        video = cv2.VideoCapture(str(folder / f"cam_{key}.mp4"))
        views[key] = {}
        for moment in moments.tolist():
            is_read, frame = video.read()
            assert is_read
            if moment % EVERY:
                continue
            corners = detector.detect(frame[..., ::-1])
            polarity.append(corners.inverted)
            for view in board_views(str(moment), corners, target, min_corners=6):
                views[key][moment] = view
    seen = [value for value in polarity if value is not None]
    assert len(seen) >= 25 and all(seen)  # never taken for black on white
    assert "white on black" in str(polarity_remark(target, polarity))
    solved = solve_rig_poses(cameras, views)
    for key in "123":
        rotation = poses[key][0] @ poses["0"][0].T
        translation = poses[key][1] - rotation @ poses["0"][1]
        told = compare_pose(solved.rotations[key], solved.translations[key], rotation, translation)
        assert told.angle_deg < 1.5 and told.baseline_percent < 3.0
    for key in cameras:
        assert solved.rms_px(key) < 3.0  # the cameras run free, the board moves


@pytest.mark.parametrize("name", ["0", "eval"])
def test_a_kinects_infrared_and_depth_of_a_board(shared_data, name):
    """All corners; a flat depth plane; a distance that fits the board printed to fit letter paper, not the drawing."""
    folder = shared_data / "k4a-board"
    target = plate(14, 9, 0.040, 0.030, "DICT_5X5_250")
    ir = cv2.imread(str(folder / f"ir16-{name}.png"), cv2.IMREAD_ANYDEPTH)
    depth = cv2.imread(str(folder / f"depth16-{name}.png"), cv2.IMREAD_ANYDEPTH)
    assert ir is not None and depth is not None
    view = board_views(name, CornerDetector(target).detect(grey_of_ir(ir), enlarge=3), target, min_corners=8)[0]
    assert len(view.ids) == 104  # the SDK's tool found 73 in such an image
    raw = (shared_data / "k4a-recording" / "pyk4a_calibration.json").read_bytes()
    camera = parse_calibration(raw).camera("depth", "WFOV_2X2BINNED")  # another device's
    rotation, translation, residuals = pose_board(camera, view)
    assert np.sqrt((residuals**2).sum(1).mean()) < 0.7
    row, column = np.rint(view.pixels[:, ::-1]).astype(int).T
    measured = depth[row, column] * 1e-3
    assert (measured > 0).all()
    points = np.pad(camera.normalize(view.pixels), ((0, 0), (0, 1)), constant_values=1.0) * measured[:, None]
    centered = points - points.mean(0)
    normal = np.linalg.svd(centered, full_matrices=False)[2][2]
    assert (centered @ normal).std() < 2e-3
    assert np.degrees(np.arccos(abs(normal @ rotation[:, 2]))) < 3.0
    nominal = (view.points @ rotation.T + translation)[:, 2]
    bias_mm = (measured - nominal * 279.4 / 600).mean() * 1e3
    assert abs(bias_mm) < 11.0  # the published limit
    assert abs((measured - nominal).mean()) > 0.2  # with the drawing's own size nothing fits


def test_the_colour_image_shows_all_corners(shared_data):
    image = cv2.imread(str(shared_data / "k4a-board" / "color-0.png"))
    assert image is not None
    assert len(CornerDetector(plate(14, 9, 0.040, 0.030, "DICT_5X5_250")).detect(image)) == 104
