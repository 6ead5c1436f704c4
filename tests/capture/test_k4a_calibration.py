"""Factory calibration: published vectors, the format's traps, and OpenCV as an independent lens."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anim_real.capture.k4a_calibration import FactoryCalibration, parse_calibration
from anim_real.capture.point_cloud import point_cloud_mm, xy_table
from anim_real.capture.recording.k4a_format import COLOR_SIZES, DEPTH_SIZES
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.errors import DataError
from anim_real.geometry.depth import unproject

from .recordings import factory_calibration


@pytest.fixture(scope="module")
def published(shared_data: Path) -> tuple[FactoryCalibration, dict]:
    folder = shared_data / "k4a-recording"
    expected = json.loads((folder / "expected.json").read_text())["B_pyk4a_unit"]
    return parse_calibration((folder / expected["raw"]).read_bytes()), expected


def test_points_move_between_the_cameras_as_published(published: tuple[FactoryCalibration, dict]) -> None:
    factory, expected = published
    color_mm, depth_mm = np.array(expected["color3d_to_depth3d"])
    found_mm = factory.T_color_depth.inverse().apply(color_mm / 1000) * 1000
    np.testing.assert_allclose(found_mm, depth_mm, rtol=1e-6)  # the vectors are float32


@pytest.mark.parametrize("target", ["color", "depth"])
def test_pixels_are_lifted_as_published(published: tuple[FactoryCalibration, dict], target: str) -> None:
    factory, expected = published
    pixel, point_mm = expected[f"color2d_depth250_to_{target}3d"]
    point = factory.camera("color", expected["color_res"]).unproject(np.array(pixel), 0.250)
    if target == "depth":
        point = factory.T_color_depth.inverse().apply(point)
    np.testing.assert_allclose(point * 1000, point_mm, rtol=1e-6)


def test_the_published_vectors_see_a_swap_of_p1_and_p2(published: tuple[FactoryCalibration, dict]) -> None:
    """The trap moves the point by 9e-5 only: a tolerance of 1e-4 would miss it, the 1e-6 above does not."""
    factory, expected = published
    document = json.loads(factory.to_json())
    parameters = document["CalibrationInformation"]["Cameras"][1]["Intrinsics"]["ModelParameters"]
    parameters[12], parameters[13] = parameters[13], parameters[12]
    swapped = parse_calibration(json.dumps(document).encode())
    pixel, point_mm = expected["color2d_depth250_to_color3d"]
    point_mm_found = swapped.camera("color", expected["color_res"]).unproject(np.array(pixel), 0.250) * 1000
    assert np.abs(point_mm_found / np.array(point_mm) - 1).max() > 5e-5


def test_the_real_recording_carries_a_calibration(shared_data: Path) -> None:
    with open_recording(shared_data / "k4a-recording" / "recording.mkv") as recording:
        factory = parse_calibration(recording.calibration_json)
        assert factory.serial == recording.info.serial
    baseline_mm = np.linalg.norm(factory.T_color_depth.translation) * 1e3
    assert 30 < baseline_mm < 35  # the device's drawing says 32 mm
    assert factory.T_gyro_depth is not None
    assert np.linalg.norm(factory.T_accelerometer_depth.translation) == pytest.approx(0.051, abs=0.005)


# -- the law of every camera: pixel to ray to pixel, point to pixel to point, over all devices and modes -----------

MODES_OF = {"color": tuple(COLOR_SIZES), "depth": tuple(DEPTH_SIZES)}
mode_of_a_camera = st.one_of(*(st.tuples(st.just(name), st.sampled_from(modes)) for name, modes in MODES_OF.items()))


@pytest.fixture(scope="module")
def devices(shared_data: Path) -> dict[str, FactoryCalibration]:
    """Two real factory calibrations and the synthetic one."""
    folder = shared_data / "k4a-recording"
    with open_recording(folder / "recording.mkv") as recording:
        return {
            "recorded": parse_calibration(recording.calibration_json),
            "published": parse_calibration((folder / "pyk4a_calibration.json").read_bytes()),
            "synthetic": factory_calibration(),
        }


@settings(deadline=None)  # the first call compiles
@given(
    device=st.sampled_from(["recorded", "published", "synthetic"]), camera=mode_of_a_camera, check_radius=st.booleans(),
    column=st.floats(0, 1), row=st.floats(0, 1), z=st.floats(0.2, 8.0),
)  # fmt: skip
def test_a_pixel_with_a_ray_is_where_its_point_is_seen(
    devices: dict[str, FactoryCalibration], device: str, camera: tuple, check_radius: bool, column: float, row: float,
    z: float,
) -> None:  # fmt: skip
    lens = devices[device].camera(*camera, check_radius=check_radius)
    pixel = np.array([column * lens.width - 0.5, row * lens.height - 0.5])
    point = lens.unproject(pixel, z)
    if np.isfinite(point).all():
        np.testing.assert_allclose(lens.project(point), pixel, atol=1e-6)
        assert point[2] == z
        return
    # without a ray: all NaN, and truly beyond what the lens images (the rim of its valid disc lies inside)
    assert np.isnan(point).all() and np.isnan(lens.project(point)).all()
    middle = np.array([lens.cx, lens.cy])
    direction = (pixel - middle) / (lens.fx, lens.fy)
    angle = np.arctan2(direction[1], direction[0])
    rim = lens.valid_radius * np.array([np.cos(angle), np.sin(angle)])
    assert np.hypot(*direction) > np.hypot(*lens.distort(rim)) * (1 - 2e-2)


@settings(deadline=None)  # the first call compiles
@given(
    device=st.sampled_from(["recorded", "published", "synthetic"]), camera=mode_of_a_camera, check_radius=st.booleans(),
    x=st.floats(-2.5, 2.5), y=st.floats(-2.5, 2.5), z=st.floats(0.2, 8.0),
)  # fmt: skip
def test_a_point_that_is_seen_is_lifted_back(
    devices: dict[str, FactoryCalibration], device: str, camera: tuple, check_radius: bool, x: float, y: float, z: float
) -> None:
    lens = devices[device].camera(*camera, check_radius=check_radius)
    point = np.array([x * z, y * z, z])
    pixel = lens.project(point)
    is_seen = np.hypot(x, y) <= lens.valid_radius
    assert np.isfinite(pixel).all() == is_seen and np.isnan(pixel).all() != is_seen
    if is_seen and np.hypot(x, y) < 0.995 * lens.valid_radius:  # at the fold itself the inverse has no slope
        np.testing.assert_allclose(lens.unproject(pixel, z), point, atol=1e-7 * z)


@pytest.mark.parametrize("camera", [(name, mode) for name, modes in MODES_OF.items() for mode in modes])
def test_corners_and_borders_obey_the_law_too(devices: dict[str, FactoryCalibration], camera: tuple[str, str]) -> None:
    """Of the wide modes, the corners have no ray; of all others, every border pixel has one."""
    for device in devices.values():
        lens = device.camera(*camera)
        u, v = np.arange(lens.width), np.arange(lens.height)
        border = np.concatenate(
            [np.stack(np.broadcast_arrays(u, row), -1) for row in (0, lens.height - 1)]
            + [np.stack(np.broadcast_arrays(column, v), -1) for column in (0, lens.width - 1)]
        )
        points = lens.unproject(border, 2.0)
        has_ray = np.isfinite(points[:, 0])
        np.testing.assert_allclose(lens.project(points)[has_ray], border[has_ray], atol=1e-6)
        assert has_ray.all() != camera[1].startswith(("WFOV", "PASSIVE"))
        corners = lens.unproject([[0, 0], [lens.width - 1, 0], [0, lens.height - 1]], 1.0)
        assert np.isnan(corners).all() == camera[1].startswith(("WFOV", "PASSIVE"))
        assert lens.valid_radius == lens.max_radius  # the metric radius ends inside the fold: the SDK's rule is kept


def test_without_the_radius_check_the_wide_modes_reach_their_lens_models_fold(
    devices: dict[str, FactoryCalibration],
) -> None:
    for device in devices.values():
        checked, free = (device.camera("depth", "WFOV_2X2BINNED", check_radius=flag) for flag in (True, False))
        assert free.max_radius == np.inf and 2.9 < free.valid_radius < 3.3
        more = np.isfinite(free.rays()[..., 0]).sum() - np.isfinite(checked.rays()[..., 0]).sum()
        assert 30_000 < more < 60_000  # of 262,144 pixels


# -- poses of the sensors in the device, and the SDK's form of point clouds ------------------------------------------


def test_sensors_poses_chain(devices: dict[str, FactoryCalibration]) -> None:
    device = devices["published"]
    point = np.array([0.3, -0.2, 1.4])
    names = ("depth", "color", "gyro", "accelerometer")
    for dst in names:
        for src in names:
            T = device.transform(dst, src)
            assert (T.dst, T.src) == (dst, src)
            np.testing.assert_allclose(device.transform(src, dst).apply(T.apply(point)), point, atol=1e-6)
            via_color = device.transform(dst, "color").apply(device.transform("color", src).apply(point))
            np.testing.assert_allclose(via_color, T.apply(point), atol=1e-6)  # float32 in the file
    # the JSON's own numbers, with no code in between: R p + t takes depth points to the accelerometer
    raw = next(
        entry["Rt"] for entry in device.document["CalibrationInformation"]["InertialSensors"]
        if entry["SensorType"].endswith("Accelerometer")
    )  # fmt: skip
    expected = np.reshape(raw["Rotation"], (3, 3)) @ point + raw["Translation"]
    np.testing.assert_allclose(device.transform("accelerometer", "depth").apply(point), expected, atol=1e-6)
    with pytest.raises(DataError, match="no pose of the gyro"):
        devices["synthetic"].transform("gyro", "color")


def test_a_resting_device_feels_gravity_where_the_picture_is_down(shared_data: Path) -> None:
    """The desk of the real recording: the mean acceleration, turned into the depth camera, points up (-y), 9.8 m/s²."""
    with open_recording(shared_data / "k4a-recording" / "recording.mkv") as recording:
        factory = parse_calibration(recording.calibration_json)
        up = factory.transform("depth", "accelerometer").rotate(recording.imu().acc.mean(0))
    assert np.linalg.norm(up) == pytest.approx(9.81, abs=0.2)
    assert up[1] < -5.0


def test_the_point_cloud_is_the_sdks(devices: dict[str, FactoryCalibration], rng: np.random.Generator) -> None:
    """Against the SDK's loop written out: floor(x z + 0.5) in float32, nothing where there is no ray."""
    camera = devices["recorded"].camera("depth", "WFOV_2X2BINNED")
    depth = rng.integers(0, 6000, (512, 512)).astype(np.uint16)
    table = xy_table(camera)
    assert table.dtype == np.float32 and table.shape == (512, 512, 2)
    cloud = point_cloud_mm(depth, table)
    assert cloud.dtype == np.int16
    assert not cloud[0, 0].any() and np.isnan(table[0, 0]).all()
    for row, column in rng.integers(0, 512, (400, 2)):
        x, y = camera.normalize([column, row]).astype(np.float32)
        z = np.float32(depth[row, column])
        expected = (
            [0, 0, 0] if np.isnan(x) else [np.floor(x * z + np.float32(0.5)), np.floor(y * z + np.float32(0.5)), z]
        )
        assert cloud[row, column].tolist() == expected
    metres = unproject(depth, camera)
    seen = np.isfinite(metres[..., 0])
    assert np.abs(cloud[seen] - metres[seen] * 1e3).max() <= 0.501
    with pytest.raises(DataError, match="table"):
        point_cloud_mm(depth[:-1], table)
    with pytest.raises(DataError, match="int16"):
        point_cloud_mm(np.full((512, 512), 40_000, np.uint16), table)


def test_json_is_read_back_exactly() -> None:
    factory = factory_calibration()
    again = parse_calibration(factory.to_json())
    for name in ("depth_camera", "color_camera"):
        for key, value in vars(getattr(factory, name)).items():
            np.testing.assert_array_equal(getattr(getattr(again, name), key), value)
    assert again.serial == factory.serial
    np.testing.assert_array_equal(again.T_accelerometer_depth.matrix, factory.T_accelerometer_depth.matrix)
    assert again.T_gyro_depth is None
    assert again.to_json() == factory.to_json()


def test_keys_we_do_not_interpret_survive(shared_data: Path) -> None:
    raw = (shared_data / "k4a-recording" / "pyk4a_calibration.json").read_bytes()
    before = json.loads(raw)["CalibrationInformation"]
    after = json.loads(parse_calibration(raw).to_json())["CalibrationInformation"]
    assert after["Metadata"] == before["Metadata"]
    assert after["InertialSensors"][0] == before["InertialSensors"][0]
    assert after["Cameras"][0]["ThermalAdjustmentParams"] == before["Cameras"][0]["ThermalAdjustmentParams"]
    assert after["Cameras"][1]["Intrinsics"] == before["Cameras"][1]["Intrinsics"]


@pytest.mark.parametrize("mode", [*COLOR_SIZES, *DEPTH_SIZES])
def test_every_mode_has_its_size_and_agrees_with_opencv(mode: str) -> None:
    factory = factory_calibration()
    name = "color" if mode in COLOR_SIZES else "depth"
    camera = factory.camera(name, mode)
    assert (camera.width, camera.height) == {**COLOR_SIZES, **DEPTH_SIZES}[mode]
    points = np.array([[0.1, -0.2, 1.0], [0.0, 0.0, 2.0], [-0.4, 0.25, 1.5]])
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.matrix, camera.distortion)
    np.testing.assert_allclose(camera.project(points), expected[:, 0], atol=1e-9)


def test_modes_of_a_camera_see_the_same_ray() -> None:
    """A 2x2-binned pixel's centre lies between its four pixels: the half-pixel rule, from geometry alone."""
    factory = factory_calibration()
    fine, binned = factory.camera("depth", "NFOV_UNBINNED"), factory.camera("depth", "NFOV_2X2BINNED")
    np.testing.assert_allclose(binned.normalize([100.0, 50.0]), fine.normalize([200.5, 100.5]), atol=1e-12)
    wide = factory.camera("depth", "WFOV_UNBINNED")
    np.testing.assert_allclose(fine.normalize([10.0, 20.0]), wide.normalize([202.0, 200.0]), atol=1e-12)
    hd, full = factory.camera("color", "1080P"), factory.camera("color", "720P")
    np.testing.assert_allclose(full.normalize([99.5, 49.5]), hd.normalize([149.5, 74.5]), atol=1e-12)


def test_a_legacy_widescreen_calibration_is_converted() -> None:
    """The 16:9 image is the middle 2304 rows of the 4:3 sensor: both describe one lens."""
    document = json.loads(factory_calibration().to_json())
    entry = document["CalibrationInformation"]["Cameras"][1]
    parameters = entry["Intrinsics"]["ModelParameters"]
    parameters[1] = (parameters[1] * 3072 - 384) / 2304
    parameters[3] *= 3072 / 2304
    entry["SensorWidth"], entry["SensorHeight"] = 3840, 2160
    legacy = parse_calibration(json.dumps(document).encode()).camera("color", "720P")
    modern = factory_calibration().camera("color", "720P")
    np.testing.assert_allclose([legacy.cy, legacy.fy], [modern.cy, modern.fy], rtol=1e-12)


def test_radius_zero_means_1_7_and_can_be_switched_off() -> None:
    factory = factory_calibration()
    assert factory.camera("color", "720P").max_radius == 1.7
    assert factory.camera("depth", "NFOV_UNBINNED").max_radius == 1.74
    assert factory.camera("color", "720P", check_radius=False).max_radius == np.inf


def test_a_rotation_written_with_few_decimals_is_made_exact() -> None:
    document = json.loads(factory_calibration().to_json())
    pose = document["CalibrationInformation"]["Cameras"][1]["Rt"]
    pose["Rotation"] = [round(value, 4) for value in pose["Rotation"]]
    rotation = parse_calibration(json.dumps(document).encode()).T_color_depth.rotation
    np.testing.assert_allclose(rotation, factory_calibration().T_color_depth.rotation, atol=1e-4)


def test_a_mode_of_the_other_camera_is_refused() -> None:
    for name, mode in (("color", "NFOV_UNBINNED"), ("depth", "720P"), ("depth", "OFF")):
        with pytest.raises(DataError, match="no mode"):
            factory_calibration().camera(name, mode)


def _changed(**changes: object) -> bytes:
    """The synthetic calibration with values of the colour camera replaced, by dotted path."""
    document = json.loads(factory_calibration().to_json())
    for path, value in changes.items():
        target = document["CalibrationInformation"]["Cameras"][1]
        *parents, last = path.split("__")
        for key in parents:
            target = target[key]
        target[int(last) if isinstance(target, list) else last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"{}", "CalibrationInformation"),
        (b"[1, 2]", "not a factory calibration"),
        (b'{"CalibrationInformation": {"Cameras": 3}}', "not a factory calibration"),
        (b'{"CalibrationInformation": {"Cameras": []}}', "CameraLocationD0"),
        (factory_calibration().to_json()[:-40], "not JSON"),
        (_changed(Intrinsics__ModelParameters__4=float("nan")), "NaN"),
        (_changed(Intrinsics__ModelParameters__4=1e400), "Infinity"),
        (_changed(Intrinsics__ModelParameters__2=-0.5), "impossible lens"),
        (_changed(Intrinsics__ModelParameters=[0.5] * 13), "14 lens parameters"),
        (_changed(Intrinsics__ModelType="CALIBRATION_LensDistortionModelRational6KT"), "not supported"),
        (_changed(Rt__Translation=[-32.0, -2.0, 4.0]), "millimetres"),
        (_changed(Rt__Translation=[0.0, 0.0]), "3 of translation"),
        (_changed(Rt__Rotation=[1, 0, 0, 0, 1, 0, 0, 0, -1]), "not a rotation"),
        (_changed(SensorHeight=1000), "neither 16:9 nor 4:3"),
        (_changed(MetricRadius=-1.0), "radius"),
    ],
)
def test_a_damaged_calibration_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_calibration(raw)
    assert "calibration.json" in str(caught.value)
