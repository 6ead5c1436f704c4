"""The export command on recordings: the real one through other tools' eyes, partial ones, chosen times, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from anim_real.capture.k4a_calibration import FactoryCalibration, parse_calibration
from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter, open_recording
from anim_real.cli import main
from anim_real.geometry.cameras import transfer_pixels
from anim_real.interchange.colmap import read_colmap
from anim_real.interchange.open3d_json import read_open3d_json
from anim_real.interchange.opencv_yaml import read_opencv_yaml
from tests.capture.recordings import depth_image, factory_calibration, write_recording

PERIOD_US = 33_333


def export(source: Path, output: Path, *flags: str) -> int:
    return main(["export", str(source), "-o", str(output), "--quiet", *flags])


def image(folder: Path, name: str) -> np.ndarray:
    found = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
    assert found is not None, name
    return found


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FactoryCalibration]:
    source = shared_data / "k4a-recording" / "recording.mkv"
    output = tmp_path_factory.mktemp("real") / "out"
    assert export(source, output, "--rectified") == 0
    with open_recording(source) as recording:
        return output, parse_calibration(recording.calibration_json)


def test_all_formats_hold_the_factorys_cameras(real: tuple[Path, FactoryCalibration]) -> None:
    folder, factory = real
    color, depth = factory.camera("color", "720P"), factory.camera("depth", "NFOV_UNBINNED")
    points = np.array([[0.1, -0.2, 1.0], [-0.3, 0.3, 2.0]])
    for cameras in (
        read_opencv_yaml(folder / "intrinsics.opencv.yml"),
        read_colmap(folder / "colmap", reference="color"),
    ):
        assert [posed.name for posed in cameras] == ["color", "depth"]
        np.testing.assert_allclose(cameras[0].camera.project(points), color.project(points), atol=1e-9)
        np.testing.assert_allclose(cameras[1].camera.project(points), depth.project(points), atol=1e-9)
        np.testing.assert_allclose(
            cameras[1].T_camera_reference.inverse().apply(points), factory.T_color_depth.apply(points), atol=1e-7
        )
    table = json.loads((folder / "intrinsics.json").read_text())
    assert {"T_color_depth", "T_accelerometer_depth", "T_gyro_depth"} <= set(table)
    assert table["depth"]["max_radius"] == depth.max_radius


def test_open3d_makes_the_same_cloud_of_the_rectified_pair(real: tuple[Path, FactoryCalibration]) -> None:
    """Its own pinhole back-projection of our two images, against our PLY of the distorted ones."""
    open3d = pytest.importorskip("open3d")
    folder, _ = real
    pair = open3d.geometry.RGBDImage.create_from_color_and_depth(
        open3d.io.read_image(str(folder / "frame-000000.rectified.color.png")),
        open3d.io.read_image(str(folder / "frame-000000.rectified.depth.png")),
        1000.0, 5.0, False,
    )  # fmt: skip
    camera = open3d.io.read_pinhole_camera_parameters(str(folder / "rectified.open3d.json"))
    cloud = open3d.geometry.PointCloud.create_from_rgbd_image(pair, camera.intrinsic, camera.extrinsic)
    ours = open3d.io.read_point_cloud(str(folder / "frame-000000.points.ply"))
    distance = np.asarray(cloud.uniform_down_sample(20).compute_point_cloud_distance(ours))
    # pixels are 1.6 to 4 mm apart on the walls: two samplings of one surface
    assert np.median(distance) < 1.5e-3
    assert np.percentile(distance, 95) < 4e-3
    tree = open3d.geometry.KDTreeFlann(ours)
    picked = np.asarray(cloud.points)[5000::20000], np.asarray(cloud.colors)[5000::20000]
    nearest = [tree.search_knn_vector_3d(point, 1)[1][0] for point in picked[0]]
    assert np.abs(np.asarray(ours.colors)[nearest] - picked[1]).mean() < 0.03  # the same colours at the same places


def test_the_rectified_images_lie_where_the_lens_says(real: tuple[Path, FactoryCalibration]) -> None:
    folder, factory = real
    lens, pinhole = factory.camera("color", "720P"), read_open3d_json(folder / "rectified.open3d.json").camera
    original, straight = image(folder, "frame-000000.color.jpg"), image(folder, "frame-000000.rectified.color.png")
    assert original.shape == straight.shape == (720, 1280, 3)
    pixels = np.stack(np.meshgrid(np.arange(100, 1180, 20), np.arange(80, 640, 20)), -1)
    seen = lens.project(pinhole.unproject(pixels, 1.0))
    expected = cv2.remap(original, *np.moveaxis(seen, -1, 0).astype(np.float32), cv2.INTER_LINEAR)  # type: ignore[call-overload]
    difference = np.abs(expected.astype(int) - straight[pixels[..., 1], pixels[..., 0]])
    assert np.percentile(difference, 99) <= 3
    assert not straight[0, 0].any()  # beyond the sensor's image


def test_aligned_depth_is_the_depth_images(real: tuple[Path, FactoryCalibration]) -> None:
    """Pixels on the wall: carried into the depth image by hand, they meet the same depth."""
    folder, factory = real
    aligned, depth = image(folder, "frame-000000.aligned.png"), image(folder, "frame-000000.depth.png")
    pixels = np.stack(np.meshgrid(np.arange(250, 480, 10), np.arange(60, 330, 10)), -1).reshape(-1, 2)
    z = aligned[pixels[:, 1], pixels[:, 0]] * 1e-3
    cameras = factory.camera("color", "720P"), factory.camera("depth", "NFOV_UNBINNED")
    there = transfer_pixels(pixels[z > 0], z[z > 0], *cameras, factory.T_color_depth.inverse())
    column, row = np.rint(there[:, :2]).astype(int).T
    away_mm = np.abs(depth[row, column] - there[:, 2] * 1e3)
    assert (z > 0).mean() > 0.9
    assert np.median(away_mm) < 3.0  # rounding, and the wall's slope within a pixel


def write_partial(path: Path, config: RecordingConfig, *, num: int, has_depth: bool) -> Path:
    shape = {"NFOV_2X2BINNED": (288, 320), "PASSIVE_IR": (1024, 1024), None: (1, 1)}[config.depth_mode]
    wall = np.full(shape, 1500, np.uint16)
    jpeg = cv2.imencode(".jpg", np.zeros((720, 1280, 3), np.uint8))[1].tobytes()
    with RecordingWriter(path, config, factory_calibration().to_json()) as writer:
        for index in range(num):
            time_us = index * PERIOD_US
            color, infrared = config.color_mode is not None, config.depth_mode is not None
            writer.write_capture(
                jpeg if color else None, wall if has_depth else None, wall if infrared else None,
                time_us if color else None, time_us if infrared else None,
            )  # fmt: skip
    return path


def names(folder: Path, stem: str = "frame-000000") -> list[str]:
    return sorted(path.name.removeprefix(f"{stem}.") for path in folder.glob(f"{stem}.*"))


def test_a_recording_of_depth_alone(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    config = RecordingConfig(serial="1", depth_mode="NFOV_2X2BINNED", color_mode=None, fps=30, has_imu=False)
    source = write_partial(tmp_path / "d.mkv", config, num=2, has_depth=True)
    assert export(source, tmp_path / "out", "--rectified") == 0
    assert names(tmp_path / "out") == ["depth.png", "ir.png", "points.ply", "rectified.depth.png"]
    cloud = open3d.io.read_point_cloud(str(tmp_path / "out" / "frame-000001.points.ply"))
    points = np.asarray(cloud.points)
    assert len(points) > 90_000 and not cloud.has_colors()
    np.testing.assert_allclose(points[:, 2], 1.5, atol=1e-6)
    camera = factory_calibration().camera("depth", "NFOV_2X2BINNED")
    np.testing.assert_allclose(points[0], camera.unproject([0.0, 0.0], 1.5), atol=1e-5)
    assert b"comment metres, depth camera axes" in (tmp_path / "out" / "frame-000001.points.ply").read_bytes()[:200]
    (posed,) = read_opencv_yaml(tmp_path / "out" / "intrinsics.opencv.yml")
    assert (posed.name, posed.T_camera_reference.src) == ("depth", "depth")
    straight = image(tmp_path / "out", "frame-000000.rectified.depth.png")
    assert straight.shape == (288, 320) and set(np.unique(straight)) <= {0, 1500}


def test_a_recording_of_infrared_alone(tmp_path: Path) -> None:
    config = RecordingConfig(serial="1", depth_mode="PASSIVE_IR", color_mode=None, fps=30, has_imu=False)
    source = write_partial(tmp_path / "i.mkv", config, num=2, has_depth=False)
    assert export(source, tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["ir.png"]
    assert image(tmp_path / "out", "frame-000001.ir.png").shape == (1024, 1024)
    (posed,) = read_colmap(tmp_path / "out" / "colmap")
    assert (posed.name, posed.camera.width) == ("depth", 1024)


def test_a_recording_of_colour_alone(tmp_path: Path) -> None:
    config = RecordingConfig(serial="1", depth_mode=None, color_mode="720P", fps=30, has_imu=False)
    source = write_partial(tmp_path / "c.mkv", config, num=2, has_depth=False)
    assert export(source, tmp_path / "out", "--rectified") == 0
    assert names(tmp_path / "out") == ["color.jpg", "rectified.color.png"]
    (posed,) = read_opencv_yaml(tmp_path / "out" / "intrinsics.opencv.yml")
    assert posed.name == "color"


def test_an_orbbec_recordings_cameras_have_no_metric_radius(tmp_path: Path) -> None:
    radii = {}
    for serial in ("000123456789", "CL8H741005J"):
        config = RecordingConfig(serial=serial, depth_mode="NFOV_2X2BINNED", color_mode=None, fps=30, has_imu=False)
        source = write_partial(tmp_path / f"{serial}.mkv", config, num=1, has_depth=True)
        assert export(source, tmp_path / serial) == 0
        (posed,) = read_opencv_yaml(tmp_path / serial / "intrinsics.opencv.yml")
        table = json.loads((tmp_path / serial / "intrinsics.json").read_text())
        radii[serial] = (posed.camera.max_radius, table["depth"]["max_radius"])
    assert radii == {"000123456789": (1.74, 1.74), "CL8H741005J": (np.inf, None)}


def test_an_incomplete_capture_gives_what_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = [index * PERIOD_US for index in range(4)]
    source = write_recording(tmp_path / "r.mkv", times, without_color=(1,), without_depth=(2,))
    assert export(source, tmp_path / "out", "--frames", "1", "2", "1") == 0  # named twice, exported once
    assert capsys.readouterr().out.startswith("2 captures (2 without colour or depth)")
    assert names(tmp_path / "out", "frame-000001") == ["depth.png", "ir.png", "points.ply"]
    assert names(tmp_path / "out", "frame-000002") == ["color.jpg"]
    np.testing.assert_array_equal(image(tmp_path / "out", "frame-000001.depth.png"), depth_image(1))
    assert export(source, tmp_path / "complete") == 0
    assert sorted(path.name for path in (tmp_path / "complete").glob("*.depth.png")) == [
        "frame-000000.depth.png",
        "frame-000003.depth.png",
    ]


@pytest.mark.parametrize(
    ("flags", "frames"),
    [
        (["--start", "0.09"], [3, 4, 5]),
        (["--end", "0.09"], [0, 1, 2]),
        (["--start", "0.03", "--end", "0.14", "--every", "2"], [1, 3]),
        (["--start", "0"], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_range_of_seconds_is_chosen(tmp_path: Path, flags: list[str], frames: list[int]) -> None:
    config = RecordingConfig(serial="1", depth_mode=None, color_mode="720P", fps=30, has_imu=False)
    source = write_partial(tmp_path / "c.mkv", config, num=6, has_depth=False)
    assert export(source, tmp_path / "out", *flags) == 0
    assert [int(path.name[6:12]) for path in sorted((tmp_path / "out").glob("frame-*"))] == frames


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--start", "9"], 4, "no capture lies in this range; the recording lasts 0.03 s"),
        (["--end", "0"], 4, "--start and --end"),
        (["--frames", "0", "--start", "0"], 2, "Give one"),
        (["--start", "nan"], 2, "--start: is nan"),
        (["--end", "-1"], 2, "--end: is -1.0"),
        (["--formats", "kalibr"], 2, "--formats: a recording's cameras are written as"),
    ],
)
def test_a_choice_of_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, message: str
) -> None:
    config = RecordingConfig(serial="1", depth_mode=None, color_mode="720P", fps=30, has_imu=False)
    source = write_partial(tmp_path / "c.mkv", config, num=2, has_depth=False)
    assert export(source, tmp_path / "out", *flags) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
