"""``calibrate-intrinsics``: from drawn images to a camera file; refusals with advice."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from anim_real.calibrate.boards.patterns import side_pattern
from anim_real.calibrate.boards.target_texture import draw_pattern
from anim_real.calibrate.boards.targets import load_target
from anim_real.cli import main
from anim_real.interchange.opencv_yaml import read_opencv_yaml

K = np.array([[620.0, 0, 316.0], [0, 622.0, 244.5], [0, 0, 1]])
SIZE = (640, 480)
PX_PER_M = 900.0


def draw(folder, rng, count, tilt, *, kind=np.uint8):
    """Images of the shipped board, without lens distortion, noise of 2 grey levels."""
    target = load_target("board")
    width, height = target.boards[0].side_size
    sheet = draw_pattern(side_pattern(target, 0), round(width * PX_PER_M), round(height * PX_PER_M)).astype(np.float32)
    step = 1 / PX_PER_M  # sheet pixel to board plane, y down
    to_plane = np.array([[step, 0, step / 2 - width / 2], [0, step, step / 2 - height / 2], [0, 0, 1]])
    folder.mkdir()
    fine = np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1]])
    for index in range(count):
        turn = cv2.Rodrigues(np.r_[rng.uniform(-tilt, tilt, 2), rng.uniform(-0.3, 0.3)])[0]
        place = np.array([rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.2), rng.uniform(1.1, 1.7)])
        homography = K @ np.stack([turn[:, 0], turn[:, 1], place], 1)
        big = cv2.warpPerspective(sheet, fine @ homography @ to_plane, (SIZE[0] * 4, SIZE[1] * 4), borderValue=120)
        image = cv2.GaussianBlur(big, (0, 0), 2.4).reshape(SIZE[1], 4, SIZE[0], 4).mean((1, 3))
        image = np.clip(image + rng.normal(0, 2, image.shape), 0, 255)
        stored = image.astype(np.uint8) if kind == np.uint8 else (image**2 / 20).astype(np.uint16)
        cv2.imwrite(str(folder / f"view-{index:02}.png"), stored)
    return folder


def test_the_camera_comes_back_with_its_evidence(tmp_path, rng, capsys):
    folder = draw(tmp_path / "images", rng, 14, 0.6)
    truth = tmp_path / "truth.yml"
    storage = cv2.FileStorage(str(truth), cv2.FILE_STORAGE_WRITE)
    for key, value in (("image_width", 640), ("image_height", 480), ("camera_matrix", K),
                       ("distortion_coefficients", np.zeros((1, 5)))):  # fmt: skip
        storage.write(key, value)
    storage.release()
    out, yaml, page = tmp_path / "camera.json", tmp_path / "camera.yml", tmp_path / "camera.html"
    arguments = [str(folder), "-o", str(out), "--target", "board", "--factory", str(truth)]
    assert main(["calibrate-intrinsics", *arguments, "--yaml", str(yaml), "--report", str(page)]) == 0
    told = capsys.readouterr().out
    assert "f 6" in told
    worst = max(view["rms_px"] for view in json.loads(out.read_text())["cameras"]["color"]["views"])
    assert f"to {worst:.3f} px" in told
    assert "against the factory" in told
    record = json.loads(out.read_text())["cameras"]["color"]
    assert [record["camera"]["fx"], record["camera"]["fy"]] == pytest.approx([620.0, 622.0], abs=2.0)
    assert [record["camera"]["cx"], record["camera"]["cy"]] == pytest.approx([316.0, 244.5], abs=2.0)
    assert record["rms_px"] < 0.15 and record["held_out_rms_px"] < 0.2
    assert record["against_factory"]["rms_px"] < 0.5
    assert len(record["views"]) + len(record["left_out"]) >= 12
    assert read_opencv_yaml(yaml)[0].camera.fx == pytest.approx(record["camera"]["fx"])
    assert "ray field" in page.read_text()
    assert main(["calibrate-intrinsics", *arguments]) == 2  # the output exists


def test_frontal_views_are_refused_with_advice(tmp_path, rng, capsys):
    folder = draw(tmp_path / "images", rng, 8, 0.02)
    assert main(["calibrate-intrinsics", str(folder), "-o", str(tmp_path / "a.json"), "--target", "board"]) == 4
    said = capsys.readouterr().err
    assert "focal length" in said and "slanted" in said
    assert not (tmp_path / "a.json").exists()


def test_infrared_images_are_told_by_their_depth(tmp_path, rng, capsys):
    folder = draw(tmp_path / "images", rng, 2, 0.5, kind=np.uint16)
    out = str(tmp_path / "a.json")
    assert main(["calibrate-intrinsics", str(folder), "-o", out, "--target", "board"]) == 4
    assert "2 views" in capsys.readouterr().err  # found in 16-bit images too
    assert main(["calibrate-intrinsics", str(folder), "-o", out, "--target", "board", "--stream", "color"]) == 2


def test_an_empty_folder_and_mixed_sizes_are_named(tmp_path, rng, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["calibrate-intrinsics", str(empty), "-o", str(tmp_path / "a.json")]) == 10
    folder = draw(tmp_path / "images", rng, 2, 0.5)
    cv2.imwrite(str(folder / "zz.png"), np.zeros((10, 20), np.uint8))
    assert main(["calibrate-intrinsics", str(folder), "-o", str(tmp_path / "a.json")]) == 4
    assert "zz.png is 20x10" in capsys.readouterr().err


def test_a_recording_that_shows_no_board_is_refused_for_both_cameras(shared_data, tmp_path, capsys):
    recording = shared_data / "k4a-recording" / "recording.mkv"
    assert main(["calibrate-intrinsics", str(recording), "-o", str(tmp_path / "a.json")]) == 4
    said = capsys.readouterr().err
    assert "no camera could be solved" in said and "0 views of a board" in said
    arguments = [str(recording), "-o", str(tmp_path / "a.json"), "--yaml", str(tmp_path / "a.yml")]
    assert main(["calibrate-intrinsics", *arguments]) == 2  # two cameras, one file
