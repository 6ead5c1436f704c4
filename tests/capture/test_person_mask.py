"""Sources of the person's mask on a scene known exactly: range, empty studio, mask files; alone and together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from anim_real.calibration import SensorCalibration
from anim_real.capture.crop import find_person, person_crop
from anim_real.capture.person_mask import BackgroundPlate, PersonSources, open_sources, read_background, read_mask
from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter
from anim_real.errors import DataError, NotFoundError
from anim_real.rig import BackgroundSpec, PersonSpec, RigSpec, VolumeSpec
from anim_real.take import RgbdFrame

from .recordings import factory_calibration
from .slab_scene import BIAS, FRONT_Z_M, T_DEPTH_SCAN, frame_of, scene_depth, slab_rig, slab_sensor

EVERYWHERE = VolumeSpec(radius_m=50.0, height_m=50.0, floor_margin_m=0.0)


@pytest.fixture(scope="module")
def sensor() -> SensorCalibration:
    return slab_sensor()


@pytest.fixture(scope="module")
def rig() -> RigSpec:
    """A volume that holds the whole room: only the other sources tell the person."""
    return slab_rig().model_copy(update={"volume": EVERYWHERE})


@pytest.fixture(scope="module")
def truth(sensor: SensorCalibration) -> np.ndarray:
    """(h, w) bool: the depth pixels that see the performer."""
    camera = sensor.depth.camera()
    return scene_depth(camera) < scene_depth(camera, is_empty=True) - 1e-9


def noisy_frame(sensor: SensorCalibration, rng: np.random.Generator, *, is_empty: bool = False) -> RgbdFrame:
    """Noise of 2 mm at every pixel, 2 % of pixels without return."""
    depth = scene_depth(sensor.depth.camera(), is_empty=is_empty)
    measured = frame_of(sensor, np.where(rng.random(depth.shape) < 0.02, 0.0, depth + rng.normal(0, 2e-3, depth.shape)))
    return measured


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory, sensor: SensorCalibration) -> Path:
    """A take folder with a recording of the empty studio: 12 captures, one of them without depth."""
    folder = tmp_path_factory.mktemp("take")
    write_background(folder / "background-k0.mkv", sensor, np.random.default_rng(5), num=12)
    return folder


def write_background(path: Path, sensor: SensorCalibration, rng: np.random.Generator, *, num: int, serial="1") -> None:
    config = RecordingConfig(serial=serial, depth_mode="NFOV_UNBINNED", color_mode="720P", fps=30, has_imu=False)
    image = cv2.imencode(".jpg", np.zeros((720, 1280, 3), np.uint8))[1].tobytes()
    with RecordingWriter(path, config, factory_calibration().to_json()) as writer:
        for index in range(num):
            depth = noisy_frame(sensor, rng, is_empty=True).depth_mm
            depth = None if index == 3 else depth
            writer.write_capture(image, depth, depth, index * 33_333, index * 33_333)


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


def test_the_plate_is_the_empty_studio(take: Path, sensor: SensorCalibration) -> None:
    plate = read_background(take / "background-k0.mkv")
    expected_mm = BIAS.apply(scene_depth(sensor.depth.camera(), is_empty=True)) * 1e3
    assert plate.num_captures == 11
    error = plate.depth_mm - expected_mm
    assert np.abs(error).max() < 5.0  # the median of 11: 0.75 mm of sigma over 368,640 pixels
    assert error.std() == pytest.approx(2.0 * np.sqrt(np.pi / 2 / 11), rel=0.15)
    assert np.median(plate.sigma_mm) == pytest.approx(2.0, rel=0.15)


def test_who_is_before_the_empty_studio_is_the_person(
    take: Path, sensor: SensorCalibration, rig: RigSpec, truth: np.ndarray, rng: np.random.Generator
) -> None:
    sources = open_sources(PersonSpec(background=BackgroundSpec()), sensor, take)
    frame = noisy_frame(sensor, rng)
    found = find_person(frame, sensor, rig, sources).is_person
    has_depth = truth & (frame.depth_mm > 0)
    assert iou(found, has_depth) > 0.985  # all but the feet, less than the margin before the floor behind them
    with pytest.raises(DataError, match="nobody"):
        find_person(noisy_frame(sensor, rng, is_empty=True), sensor, rig, sources)
    alone = find_person(frame, sensor, rig).is_person  # the whole room, if nothing else is said
    assert iou(alone, has_depth) < 0.2


def test_the_plate_where_it_has_no_depth_and_where_it_is_unsteady(sensor: SensorCalibration) -> None:
    """A window without return behind the performer, and a curtain that moves by 20 mm."""
    plate = BackgroundPlate(
        depth_mm=np.array([[0, 0, 3000, 3000, 3000, 3000]], np.float32),
        sigma_mm=np.array([[0, 0, 2, 2, 20, 20]], np.float32), num_captures=9, serial="", sha256="",
    )  # fmt: skip
    depth = np.array([[2000, 0, 2978, 2976, 2906, 2904]], np.uint16)
    limit = BackgroundSpec(sigmas=4.0, margin_mm=15.0)  # 23 mm where steady, 95 mm where not
    assert plate.is_nearer(depth, limit).tolist() == [[True, False, False, True, False, True]]


def test_a_pixel_that_rarely_returns_has_no_place_in_the_plate(tmp_path: Path, sensor: SensorCalibration) -> None:
    config = RecordingConfig(serial="1", depth_mode="NFOV_2X2BINNED", color_mode=None, fps=30, has_imu=False)
    with RecordingWriter(tmp_path / "b.mkv", config, b"{}") as writer:
        for index in range(9):
            depth = np.full((288, 320), 2000 + index, np.uint16)
            depth[0, 0] = 0 if index < 5 else 900
            depth[0, 1] = 0 if index < 4 else 2000
            writer.write_capture(None, depth, depth, None, index * 33_333)
    plate = read_background(tmp_path / "b.mkv")
    assert plate.depth_mm[0, :3].tolist() == [0, 2000, 2004]
    assert plate.sigma_mm[0, 2] == pytest.approx(np.sqrt(np.pi / 2) * 20 / 9)


def test_a_range_keeps_what_lies_in_it(
    sensor: SensorCalibration, rig: RigSpec, truth: np.ndarray, rng: np.random.Generator
) -> None:
    """The slab is 2.1 m away: metres are true ones, the bias of 12 mm removed."""
    frame = frame_of(sensor, scene_depth(sensor.depth.camera()))
    found = find_person(frame, sensor, rig, PersonSources(spec=PersonSpec(near_m=2.095, far_m=2.105))).is_person
    assert found[truth].all()
    upper = np.arange(found.shape[0]) < 300  # lower down the floor comes into the range too
    assert iou(found[upper], truth[upper]) == 1.0
    for limits in ({"near_m": 2.105, "far_m": 2.2}, {"far_m": 0.5}):
        found = PersonSources(spec=PersonSpec(**limits)).select(frame, BIAS.correct(frame.depth_mm * 1e-3), sensor)
        assert not found[truth].any()


def write_mask(folder: Path, index: int, mask: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{index:06d}.png"), mask.astype(np.uint8) * 255)


def test_masks_in_the_depth_image(
    tmp_path: Path, sensor: SensorCalibration, rig: RigSpec, truth: np.ndarray, rng: np.random.Generator
) -> None:
    frame = noisy_frame(sensor, rng)
    left = truth & (np.arange(640) < 330)
    write_mask(tmp_path / "masks-k0", frame.index, left)
    sources = open_sources(PersonSpec(masks="depth"), sensor, tmp_path)
    found = find_person(frame, sensor, rig, sources).is_person
    assert iou(found, left & (frame.depth_mm > 0)) > 0.995
    assert not found[~left].any()


def test_masks_in_the_colour_image(
    tmp_path: Path, sensor: SensorCalibration, rig: RigSpec, truth: np.ndarray, rng: np.random.Generator
) -> None:
    """The mask as a perfect parser would draw it: the slab's projection into the colour camera."""
    frame = noisy_frame(sensor, rng)
    corners = [[-0.25, 1.7, FRONT_Z_M], [0.25, 1.7, FRONT_Z_M], [0.25, 0.0, FRONT_Z_M], [-0.25, 0.0, FRONT_Z_M]]
    edges = [np.linspace(a, b, 50) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
    outline = sensor.color.camera().project(sensor.T_color_scan.rigid().apply(np.concatenate(edges)))
    drawn = cv2.fillPoly(np.zeros((720, 1280), np.uint8), [np.rint(outline).astype(np.int32)], 1) > 0
    write_mask(tmp_path / "masks-k0", frame.index, drawn)
    sources = open_sources(PersonSpec(masks="color"), sensor, tmp_path)
    found = find_person(frame, sensor, rig, sources).is_person
    # the depth image is the coarser one; the colour camera sees a strip of wall and floor beside the slab as it
    assert iou(found, truth & (frame.depth_mm > 0)) > 0.97
    crop = person_crop(frame, sensor, rig, size=256, sources=sources)
    rows, columns = np.indices((256, 256))
    rays = crop.camera.unproject(np.stack([columns, rows], -1), 1.0)
    pixel = np.rint(sensor.color.camera().project(rays)).astype(int)
    inside = (pixel >= 0).all(-1) & (pixel[..., 0] < 1280) & (pixel[..., 1] < 720)
    allowed = inside & drawn[np.where(inside, pixel[..., 1], 0), np.where(inside, pixel[..., 0], 0)]
    # nothing outside the drawn mask, up to the rounding of the map to 1/32 pixel
    assert (crop.mask & ~cv2.dilate(allowed.astype(np.uint8), np.ones((3, 3))).astype(bool)).sum() == 0
    assert ((crop.depth_mm > 0) <= crop.mask).all()
    half = drawn & (np.arange(1280) < outline[:, 0].mean())
    write_mask(tmp_path / "masks-k0", frame.index, half)
    smaller = find_person(frame, sensor, rig, sources).is_person
    assert 0.4 < smaller.sum() / found.sum() < 0.6


def test_all_sources_must_agree(take: Path, sensor: SensorCalibration, rig: RigSpec, rng: np.random.Generator) -> None:
    frame = noisy_frame(sensor, rng)
    z = BIAS.correct(frame.depth_mm * 1e-3)
    upper = np.zeros((576, 640), bool)
    upper[:300] = True
    write_mask(take / "masks-k0", frame.index, upper)
    each = [
        PersonSpec(near_m=1.0, far_m=3.0), PersonSpec(background=BackgroundSpec()), PersonSpec(masks="depth"),
    ]  # fmt: skip
    together = PersonSpec(near_m=1.0, far_m=3.0, background=BackgroundSpec(), masks="depth")
    allowed = [open_sources(spec, sensor, take).select(frame, z, sensor) for spec in each]
    both = open_sources(together, sensor, take)
    np.testing.assert_array_equal(both.select(frame, z, sensor), allowed[0] & allowed[1] & allowed[2])
    record = both.record()
    assert (record["near_m"], record["far_m"], record["masks"]) == (1.0, 3.0, "depth")
    assert record["background"]["num_captures"] == 11
    assert len(record["background"]["sha256"]) == 64
    assert PersonSources().record() == {"volume": True, "near_m": None, "far_m": None, "masks": None}


def test_the_background_may_lie_beside_the_take(take: Path, sensor: SensorCalibration, tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    (tmp_path / "background-k0.mkv").write_bytes((take / "background-k0.mkv").read_bytes())
    sources = open_sources(PersonSpec(background=BackgroundSpec(folder="..")), sensor, tmp_path / "walk")
    assert sources.plate is not None and sources.plate.num_captures == 11
    with pytest.raises(NotFoundError, match="empty studio") as caught:
        open_sources(PersonSpec(background=BackgroundSpec()), sensor, tmp_path / "walk")
    assert "background-k0.mkv" in str(caught.value)


def test_backgrounds_that_are_no_use_are_refused(
    tmp_path: Path, take: Path, sensor: SensorCalibration, rng: np.random.Generator
) -> None:
    background = PersonSpec(background=BackgroundSpec())
    write_background(tmp_path / "background-k0.mkv", sensor, rng, num=4)
    with pytest.raises(DataError, match="only 3 captures"):
        open_sources(background, sensor, tmp_path)
    other = sensor.model_copy(update={"serial": "000777"})
    with pytest.raises(DataError, match="device 1, the calibration is of 000777"):
        open_sources(background, other, take)
    small = RgbdFrame(
        index=0, color=None, depth_mm=np.full((288, 320), 900, np.uint16), ir=None, color_time_us=None, depth_time_us=0
    )
    with pytest.raises(DataError, match="depth mode"):
        open_sources(background, sensor, take).select(small, small.depth_mm * 1e-3, sensor)


def test_masks_that_are_none_are_refused(
    tmp_path: Path, sensor: SensorCalibration, rig: RigSpec, rng: np.random.Generator
) -> None:
    frame = noisy_frame(sensor, rng)
    with pytest.raises(NotFoundError, match="folder of masks"):
        open_sources(PersonSpec(masks="depth"), sensor, tmp_path)
    (tmp_path / "masks-k0").mkdir()
    sources = open_sources(PersonSpec(masks="depth"), sensor, tmp_path)
    with pytest.raises(NotFoundError, match="no such mask") as caught:
        find_person(frame, sensor, rig, sources)
    assert f"masks-k0/{frame.index:06d}.png" in str(caught.value)
    path = tmp_path / "masks-k0" / f"{frame.index:06d}.png"
    bad = {
        "one channel, of the size": np.zeros((720, 1280), np.uint8),
        "belongs to": np.zeros((576, 640, 3), np.uint8),
        "other values": np.full((576, 640), 1, np.uint8),
        "8 bits": np.zeros((576, 640), np.uint16),
    }
    for message, image in bad.items():
        cv2.imwrite(str(path), image)
        with pytest.raises(DataError, match=message):
            find_person(frame, sensor, rig, sources)
    for payload in (b"", b"not a picture"):
        path.write_bytes(payload)
        with pytest.raises(DataError, match="readable image"):
            read_mask(path, (576, 640))


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="not below"):
        PersonSpec(near_m=2.0, far_m=1.0)
    assert T_DEPTH_SCAN.dst == "depth"
