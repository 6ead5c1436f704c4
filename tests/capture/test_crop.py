"""The person's crop, against a scene known exactly: a slab-shaped performer before a wall, on a floor."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.calibration import SensorCalibration
from anim_real.capture.crop import crop_camera, depth_points_scan, find_person, person_crop
from anim_real.capture.filters import flying_pixels
from anim_real.errors import DataError
from anim_real.geometry.depth import camera_rays
from anim_real.rig import RigSpec, VolumeSpec
from anim_real.take import RgbdFrame

from .slab_scene import FRONT_Z_M, HALF_WIDTH_M, T_DEPTH_SCAN, TOP_M, frame_of, scene_depth, slab_rig, slab_sensor


@pytest.fixture(scope="module")
def rig() -> RigSpec:
    return slab_rig()


@pytest.fixture(scope="module")
def sensor() -> SensorCalibration:
    return slab_sensor()


@pytest.fixture(scope="module")
def frame(sensor: SensorCalibration) -> RgbdFrame:
    return frame_of(sensor, scene_depth(sensor.depth.camera()))


def test_the_persons_points_lie_on_the_person(frame: RgbdFrame, sensor: SensorCalibration, rig: RigSpec) -> None:
    points = depth_points_scan(frame, sensor, rig)
    # rounding to a millimetre, nothing else: the bias of 8 mm + 0.2 % is gone
    assert np.abs(points[:, 2] - FRONT_Z_M).max() < 0.6e-3
    assert np.abs(points[:, 0]).max() < HALF_WIDTH_M + 0.002
    assert 1.68 < points[:, 1].max() < TOP_M + 0.002
    assert rig.volume.floor_margin_m < points[:, 1].min() < 0.03
    true_depth = scene_depth(sensor.depth.camera())
    num_floor_rows = (0.015 / 2.1) * sensor.depth.fy  # the slab's lowest rows count as floor
    num_slab = np.isclose(true_depth, 2.1, atol=1e-9).sum()
    assert num_slab - 1.5 * num_floor_rows * 125 < len(points) <= num_slab


def test_the_crop_is_square_and_its_mask_is_the_silhouette(
    frame: RgbdFrame, sensor: SensorCalibration, rig: RigSpec
) -> None:
    crop = person_crop(frame, sensor, rig, size=256)
    assert crop.color.shape == (256, 256, 3)
    assert crop.mask.shape == crop.depth_mm.shape == (256, 256)
    assert not crop.camera.distortion.any()
    T_color_scan = sensor.T_color_scan.rigid()
    rows, columns = np.indices((256, 256))
    rays = np.concatenate([crop.camera.normalize(np.stack([columns, rows], -1)), np.ones((256, 256, 1))], -1)
    T_scan_color = T_color_scan.inverse()
    step = T_scan_color.rotate(rays)
    distance = (FRONT_Z_M - T_scan_color.translation[2]) / step[..., 2]
    hit = T_scan_color.translation + distance[..., None] * step
    truth = (np.abs(hit[..., 0]) < HALF_WIDTH_M) & (hit[..., 1] > 0.015) & (hit[..., 1] < TOP_M)
    assert (crop.mask & truth).sum() / (crop.mask | truth).sum() > 0.96  # a pixel of edge on each side
    np.testing.assert_allclose(crop.depth_mm[crop.depth_mm > 0] * 1e-3, distance[crop.depth_mm > 0], atol=2e-3)
    border = np.concatenate([crop.mask[0], crop.mask[-1], crop.mask[:, 0], crop.mask[:, -1]])
    assert not border.any()
    assert crop.mask.any(1).mean() == pytest.approx(1 / 1.2, abs=0.02)  # 10 % of the extent stays free on each side


@pytest.mark.parametrize("size", [64, 512])
def test_the_crops_camera_is_the_crops_image(
    frame: RgbdFrame, sensor: SensorCalibration, rig: RigSpec, size: int
) -> None:
    """Red tells the sensor image's column, green its row: a crop's pixel must come from where its ray goes."""
    color = np.zeros((720, 1280, 3), np.uint8)
    color[..., 0] = np.linspace(0, 255, 1280)
    color[..., 1] = np.linspace(0, 255, 720)[:, None]
    colored = RgbdFrame(index=0, color=color, depth_mm=frame.depth_mm, ir=None, color_time_us=1, depth_time_us=1)
    crop = person_crop(colored, sensor, rig, size=size)
    rows, columns = np.indices((size, size))
    points = crop.camera.unproject(np.stack([columns, rows], -1), np.full((size, size), 2.0))
    seen = sensor.color.camera().project(points)
    inside = (seen[..., 0] > 5) & (seen[..., 0] < 1275) & (seen[..., 1] > 5) & (seen[..., 1] < 715)
    # one grey level is 5 px of column and 2.8 px of row: 1.5 levels is the rounding of both images
    assert np.abs(crop.color[..., 0] - seen[..., 0] / 1279 * 255)[inside].max() < 1.6
    assert np.abs(crop.color[..., 1] - seen[..., 1] / 719 * 255)[inside].max() < 1.6


def test_dark_clothes_neither_split_the_person_nor_pierce_the_mask(sensor: SensorCalibration, rig: RigSpec) -> None:
    holed = frame_of(sensor, scene_depth(sensor.depth.camera(), holes=True))
    points = depth_points_scan(holed, sensor, rig)
    assert points[:, 1].max() > 1.6  # above the belt
    assert points[:, 1].min() < 0.1  # below it
    crop = person_crop(holed, sensor, rig, size=256)
    whole = person_crop(frame_of(sensor, scene_depth(sensor.depth.camera())), sensor, rig, size=256)
    badge = whole.mask & (crop.depth_mm == 0)
    assert badge.sum() > 200
    inner = crop.camera.project(sensor.T_color_scan.rigid().apply([0.0, 1.3, FRONT_Z_M])).round().astype(int)
    assert crop.mask[inner[1], inner[0]]
    assert crop.depth_mm[inner[1], inner[0]] == 0


def test_an_opening_that_shows_the_wall_stays_open(sensor: SensorCalibration, rig: RigSpec) -> None:
    """An arm on the hip: background seen through the person is not person."""
    depth = scene_depth(sensor.depth.camera())
    camera = sensor.depth.camera()
    u, v = camera.project(T_DEPTH_SCAN.apply([0.0, 1.2, FRONT_Z_M])).round().astype(int)
    depth[v - 20 : v + 20, u - 20 : u + 20] = 3.7
    crop = person_crop(frame_of(sensor, depth), sensor, rig, size=256)
    # the wall lies deeper, so the colour camera sees its patch where the depth camera's ray meets it
    inner = crop.camera.project(sensor.T_color_depth.rigid().apply(camera.unproject([u, v], 3.7)))
    column, row = inner.round().astype(int)
    assert not crop.mask[row, column]
    assert crop.mask[row + 60, column]


def test_a_bystander_is_left_out(sensor: SensorCalibration, rig: RigSpec) -> None:
    depth = scene_depth(sensor.depth.camera())
    depth[230:260, 60:90] = 2.0  # something small inside the volume, 0.7 m beside the performer
    person = find_person(frame_of(sensor, depth), sensor, rig)
    assert not person.is_person[230:260, 60:90].any()


def test_what_hides_the_person_from_the_colour_camera_is_not_the_person(
    sensor: SensorCalibration, rig: RigSpec
) -> None:
    """A post between sensor and performer covers other parts of them in colour than in depth."""
    camera = sensor.depth.camera()
    depth = scene_depth(camera)
    direction = np.concatenate([camera_rays(camera), np.ones((*depth.shape, 1))], -1)
    post_z = 1.0  # depth camera; outside the volume
    depth = np.where(np.abs(direction[..., 0] * post_z) < 0.015, post_z, depth)
    crop = person_crop(frame_of(sensor, depth), sensor, rig, size=256)
    rows, columns = np.indices((256, 256))
    T_depth_color = sensor.T_color_depth.rigid().inverse()
    rays = np.concatenate([crop.camera.normalize(np.stack([columns, rows], -1)), np.ones((256, 256, 1))], -1)
    step, origin = T_depth_color.rotate(rays), T_depth_color.translation
    on_post = origin[0] + (post_z - origin[2]) / step[..., 2] * step[..., 0]
    is_hidden = (np.abs(on_post) < 0.012) & (crop.mask.any(1)[:, None])  # without the quads along the post's edge
    assert is_hidden.sum() > 1000
    assert not crop.mask[is_hidden].any()
    assert not crop.depth_mm[is_hidden].any()
    assert crop.mask.sum() > 8000  # both halves of the performer


def test_flying_pixels_are_left_out(sensor: SensorCalibration, rig: RigSpec) -> None:
    """Pixels along the silhouette whose depth lies between the person and the wall are nobody's surface."""
    camera = sensor.depth.camera()
    depth = scene_depth(camera)
    left, row = camera.project(T_DEPTH_SCAN.apply([-HALF_WIDTH_M, 1.2, FRONT_Z_M])).round().astype(int)
    rows = np.arange(row - 40, row + 40)
    depth[rows, left] = 2.1 + 0.3 * ((np.arange(80) * 7) % 13) / 13 + 0.1  # inside the volume, behind the slab
    points = depth_points_scan(frame_of(sensor, depth), sensor, rig)
    assert np.abs(points[:, 2] - FRONT_Z_M).max() < 0.6e-3
    thin = np.zeros((9, 9))
    thin[:, 4:6] = 1.0  # a finger two pixels wide is a surface, one pixel alone is not
    thin[2, 1] = 1.0
    flying = flying_pixels(thin)
    assert flying[2, 1]
    assert not flying[1:8, 4:6].any()


def test_an_empty_volume_is_refused(frame: RgbdFrame, sensor: SensorCalibration, rig: RigSpec) -> None:
    elsewhere = rig.model_copy(update={"volume": VolumeSpec(center=(5.0, 0.0, 0.0))})
    with pytest.raises(DataError, match="nobody is in the rig's volume"):
        person_crop(frame, sensor, elsewhere, size=64)


def test_incomplete_and_foreign_captures_are_refused(frame: RgbdFrame, sensor: SensorCalibration, rig: RigSpec) -> None:
    def changed(**parts: object) -> RgbdFrame:
        values = {"index": 9, "color": frame.color, "depth_mm": frame.depth_mm, "ir": None}
        return RgbdFrame(**{**values, **parts}, color_time_us=1, depth_time_us=1)  # type: ignore[arg-type]

    cases = [
        (changed(color=None), "no colour"),
        (changed(depth_mm=None), "no depth"),
        (changed(color=np.zeros((1080, 1920, 3), np.uint8)), "720P"),
        (changed(depth_mm=np.zeros((288, 320), np.uint16)), "NFOV_UNBINNED"),
    ]
    for case, message in cases:
        with pytest.raises(DataError, match=message) as caught:
            person_crop(case, sensor, rig, size=64)
        assert "capture 9" in str(caught.value)


def test_the_crop_camera_holds_all_points(rng: np.random.Generator) -> None:
    points = rng.uniform([-0.4, -0.9, 1.5], [0.5, 0.8, 2.5], (500, 3))
    pixels = crop_camera(points, 200).project(points)
    assert pixels.min() > 0
    assert pixels.max() < 199
    middle = (pixels.min(0) + pixels.max(0)) / 2
    np.testing.assert_allclose(middle, 99.5, atol=1.0)
