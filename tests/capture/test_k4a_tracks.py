"""What a recording's tracks and tags mean: every mode and format, legacy layouts, Orbbec's, custom tracks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.capture.recording.k4a_mkv import Recording, open_recording
from anim_real.errors import DataError, NotFoundError

from .k4a_bytes import (
    COLOR,
    DEPTH,
    INERTIAL,
    IR,
    RecordingBytes,
    TrackBytes,
    block,
    capture_cluster,
    cluster,
    depth_image,
    laced,
    small_recording,
    tag,
)
from .recordings import factory_calibration

DEPTH_MODES = {
    "NFOV_2X2BINNED": (320, 288), "NFOV_UNBINNED": (640, 576), "WFOV_2X2BINNED": (512, 512),
    "WFOV_UNBINNED": (1024, 1024),
}  # fmt: skip
COLOR_MODES = {
    "720P": (1280, 720), "1080P": (1920, 1080), "1440P": (2560, 1440), "1536P": (2048, 1536), "2160P": (3840, 2160),
    "3072P": (4096, 3072),
}  # fmt: skip


def opened(tmp_path: Path, content: RecordingBytes) -> Recording:
    path = tmp_path / "r.mkv"
    path.write_bytes(content.encode())
    return open_recording(path)


@pytest.mark.parametrize("mode", DEPTH_MODES)
def test_every_depth_mode_is_read(tmp_path: Path, mode: str, rng: np.random.Generator) -> None:
    size = DEPTH_MODES[mode]
    depth, infrared = rng.integers(0, 65536, (2, size[1], size[0])).astype(np.uint16)
    blocks = block(2, 0, depth.astype(">u2").tobytes()), block(3, 0, infrared.astype(">u2").tobytes())
    content = RecordingBytes(
        tracks=(replace(DEPTH, size=size), replace(IR, size=size)),
        tags={"K4A_DEPTH_MODE": mode, "K4A_IR_MODE": "ACTIVE", "K4A_START_OFFSET_NS": "5000"},
        clusters=(cluster(0, *blocks),),
    )
    with opened(tmp_path, content) as recording:
        frame = recording.capture(0)
        assert (recording.info.depth_mode, recording.info.depth_size) == (mode, size)
        assert (recording.info.color_mode, frame.color, recording.info.num_incomplete) == (None, None, 0)
        np.testing.assert_array_equal(frame.depth_mm, depth)
        np.testing.assert_array_equal(frame.ir, infrared)
        assert frame.depth_time_us == 5


@pytest.mark.parametrize("tags", [{"K4A_DEPTH_MODE": "PASSIVE_IR"}, {"K4A_IR_MODE": "PASSIVE"}])
def test_passive_infrared_is_told_by_either_tag(tmp_path: Path, tags: dict[str, str]) -> None:
    """The SDK writes the depth mode as a tag of the whole file then; our first writers left it out."""
    infrared = np.arange(1 << 20, dtype=np.uint32).astype(np.uint16).reshape(1024, 1024)
    content = RecordingBytes(
        tracks=(replace(IR, size=(1024, 1024)),), tags=tags,
        clusters=(cluster(0, block(3, 0, infrared.astype(">u2").tobytes())),),
    )  # fmt: skip
    with opened(tmp_path, content) as recording:
        assert (recording.info.depth_mode, recording.info.num_incomplete) == ("PASSIVE_IR", 0)
        np.testing.assert_array_equal(recording.capture(0).ir, infrared)
        assert recording.capture(0).depth_mm is None


@pytest.mark.parametrize("mode", COLOR_MODES)
def test_every_color_resolution_is_read(tmp_path: Path, mode: str) -> None:
    width, height = COLOR_MODES[mode]
    red = np.tile(np.linspace(0, 255, width), (height, 1))
    image = np.dstack([np.full_like(red, 40), np.full_like(red, 90), red]).astype(np.uint8)  # BGR
    payload = cv2.imencode(".jpg", image)[1].tobytes()
    track = replace(COLOR, fourcc="MJPG", size=(width, height), fps=15)
    content = RecordingBytes(tracks=(track,), tags={}, clusters=(cluster(0, block(1, 0, payload)),))
    with opened(tmp_path, content) as recording:
        frame = recording.capture(0)
        info = recording.info
        assert (info.color_mode, info.color_size, info.color_format, info.fps) == (mode, (width, height), "MJPG", 15)
        assert info.num_incomplete == 0
        assert frame.color is not None
        assert np.abs(frame.color[::50, ::50].astype(int) - image[::50, ::50, ::-1]).max() <= 4
        assert recording.color_payload(0) == payload


def limited_range_rgb(luma: np.ndarray, blue: np.ndarray, red: np.ndarray) -> np.ndarray:
    """ITU-R BT.601, luma 16 to 235 and chroma 16 to 240, written from its matrix: Kr 0.299, Kb 0.114."""
    y = (luma.astype(float) - 16) * 255 / 219
    cb, cr = (blue.astype(float) - 128) * 255 / 224, (red.astype(float) - 128) * 255 / 224
    r, b = y + 2 * (1 - 0.299) * cr, y + 2 * (1 - 0.114) * cb
    g = (y - 0.299 * r - 0.114 * b) / 0.587
    return np.clip(np.dstack([r, g, b]), 0, 255)


def chroma_planes(width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luma (H, W) with a gradient along x; blue and red chroma, constant in 2x2 pixels, with gradients along y."""
    luma = np.tile(np.linspace(16, 235, width), (height, 1)).astype(np.uint8)
    steps = np.repeat(np.linspace(60, 200, height // 2), 2)[:, None].astype(np.uint8)
    return luma, np.tile(steps, (1, width)), np.tile(256 - 1 - steps, (1, width))


@pytest.mark.parametrize("color_format", ["NV12", "YUY2"])
def test_luma_and_chroma_become_rgb_by_bt_601(tmp_path: Path, color_format: str) -> None:
    luma, blue, red = chroma_planes(1280, 720)
    if color_format == "NV12":
        pairs = np.dstack([blue[::2, ::2], red[::2, ::2]]).reshape(360, 1280)
        payload = np.vstack([luma, pairs]).tobytes()
    else:  # Y0 U Y1 V
        words = np.empty((720, 640, 4), np.uint8)
        words[..., 0], words[..., 2] = luma[:, ::2], luma[:, 1::2]
        words[..., 1], words[..., 3] = blue[:, ::2], red[:, ::2]
        payload = words.tobytes()
    track = replace(COLOR, fourcc=color_format, size=(1280, 720))
    content = RecordingBytes(
        tracks=(track,), tags={"K4A_COLOR_MODE": f"{color_format}_720P"}, clusters=(cluster(0, block(1, 0, payload)),)
    )
    with opened(tmp_path, content) as recording:
        assert (recording.info.color_format, recording.info.color_mode) == (color_format, "720P")
        found = recording.capture(0).color
    assert found is not None
    difference = np.abs(found - limited_range_rgb(luma, blue, red))
    assert difference.max() <= 2  # fixed-point rounding
    assert np.ptp(found[..., 0].astype(int)) > 200  # the image is no constant


def test_bgra_is_read_without_loss(tmp_path: Path, rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (720, 1280, 4)).astype(np.uint8)
    track = replace(COLOR, fourcc="BGRA", size=(1280, 720))
    content = RecordingBytes(tracks=(track,), tags={}, clusters=(cluster(0, block(1, 0, image.tobytes())),))
    with opened(tmp_path, content) as recording:
        np.testing.assert_array_equal(recording.capture(0).color, image[..., 2::-1])


def test_tracks_are_found_by_the_uid_that_their_tag_names(tmp_path: Path) -> None:
    """Names may be anything then; a track that has a camera's name without its tag is a custom one."""
    tracks = (
        replace(DEPTH, number=1, name="FIRST", uid=501), replace(DEPTH, number=2, name="DEPTH", uid=502),
        replace(IR, uid=503),
    )  # fmt: skip
    right, wrong = (depth_image(seed).astype(">u2").tobytes() for seed in (1, 2))
    clusters = (cluster(0, block(1, 0, right), block(2, 0, wrong), block(3, 0, wrong)),)
    content = RecordingBytes(
        tracks=tracks, tags={}, more_tags=tag("K4A_DEPTH_TRACK", "501", track_uid=501), clusters=clusters
    )
    by_text = replace(content, more_tags=tag("K4A_DEPTH_TRACK", "501"))  # a tag of no target: its text is the UID
    for layout in (content, by_text):
        with opened(tmp_path, layout) as recording:
            np.testing.assert_array_equal(recording.capture(0).depth_mm, depth_image(1))
            assert recording.info.custom_track_names == ("DEPTH",)
    unknown = replace(content, more_tags=tag("K4A_DEPTH_TRACK", "999", track_uid=999))
    with opened(tmp_path, unknown) as recording:  # no track has that UID: the name decides
        np.testing.assert_array_equal(recording.capture(0).depth_mm, depth_image(2))


def test_the_earliest_recordings_are_read(tmp_path: Path) -> None:
    """Little-endian depth under the name of a colour format, an IR track called DEPTH_IR, a small x in the mode."""
    size = (320, 288)
    depth = np.arange(320 * 288, dtype=np.uint32).astype(np.uint16).reshape(288, 320)
    tracks = (
        replace(DEPTH, fourcc="YUY2", size=size), replace(IR, name="DEPTH_IR", fourcc="YUY2", size=size),
    )  # fmt: skip
    payload = depth.astype("<u2").tobytes()
    content = RecordingBytes(
        tracks=tracks, tags={"K4A_DEPTH_MODE": "NFOV_2x2BINNED"},
        clusters=(cluster(0, block(2, 0, payload), block(3, 0, payload)),),
    )  # fmt: skip
    with opened(tmp_path, content) as recording:
        frame = recording.capture(0)
        assert recording.info.depth_mode == "NFOV_2X2BINNED"
        np.testing.assert_array_equal(frame.depth_mm, depth)
        np.testing.assert_array_equal(frame.ir, depth)


def test_a_camera_that_never_delivered_makes_every_capture_incomplete(tmp_path: Path) -> None:
    content = small_recording(0)
    depth = [block(2, 0, depth_image(index).astype(">u2").tobytes()) for index in range(3)]
    infrared = block(3, 0, depth_image(9).astype(">u2").tobytes())
    clusters = tuple(cluster(index * 33_333, one, infrared) for index, one in enumerate(depth))
    with opened(tmp_path, replace(content, clusters=clusters)) as recording:
        assert (recording.info.num_captures, recording.info.num_incomplete) == (3, 3)
    without = replace(content, tracks=(DEPTH, IR, INERTIAL), clusters=clusters)
    with opened(tmp_path, without) as recording:
        assert (recording.info.num_captures, recording.info.num_incomplete) == (3, 0)


def test_a_mode_that_contradicts_the_image_size_is_not_believed(tmp_path: Path) -> None:
    payload = bytes(2 * 512 * 512)
    content = RecordingBytes(
        tracks=(replace(DEPTH, size=(512, 512)),), tags={"K4A_DEPTH_MODE": "NFOV_UNBINNED"},
        clusters=(cluster(0, block(2, 0, payload)),),
    )  # fmt: skip
    with opened(tmp_path, content) as recording:
        assert recording.info.depth_mode == "WFOV_2X2BINNED"


def test_the_tags_of_the_trigger_are_read(tmp_path: Path) -> None:
    content = small_recording(2)
    tags = content.tags | {
        "K4A_WIRED_SYNC_MODE": "SUBORDINATE", "K4A_SUBORDINATE_DELAY_NS": "160000", "K4A_DEPTH_DELAY_NS": "-5000000",
        "K4A_COLOR_FIRMWARE_VERSION": "1.6.110", "K4A_DEPTH_FIRMWARE_VERSION": "1.6.79", "MY_NOTE": "left arm",
    }  # fmt: skip
    again = tag("K4A_DEVICE_SERIAL_NUMBER", "000000000002")  # the SDK takes the first of two
    with opened(tmp_path, replace(content, tags=tags, more_tags=again)) as recording:
        info = recording.info
        assert (info.sync_mode, info.subordinate_delay_us, info.depth_delay_us) == ("SUBORDINATE", 160, -5000)
        assert (info.color_firmware, info.depth_firmware) == ("1.6.110", "1.6.79")
        assert (info.serial, info.writing_app) == ("000123456789", "k4arecord-1.4.1")
        assert recording.tags["MY_NOTE"] == "left arm"
        assert info.bad_tags == ()
        assert not info.is_damaged


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("K4A_DEPTH_DELAY_NS", "many"), ("K4A_DEPTH_DELAY_NS", "9" * 25), ("K4A_SUBORDINATE_DELAY_NS", "-1"),
        ("K4A_WIRED_SYNC_MODE", "SLAVE"), ("K4A_START_OFFSET_NS", "²"), ("K4A_START_OFFSET_NS", "1" * 400),
    ],
)  # fmt: skip
def test_a_senseless_tag_takes_its_default_and_is_told(tmp_path: Path, name: str, text: str) -> None:
    content = small_recording(2)
    with opened(tmp_path, replace(content, tags=content.tags | {name: text})) as recording:
        info = recording.info
        assert info.bad_tags == (name,)
        assert info.is_damaged
        assert (info.sync_mode, info.depth_delay_us, info.subordinate_delay_us) == ("STANDALONE", 0, 0)
        # a lost start offset comes back from the inertial payloads
        assert info.start_offset_us == 1_000_000
        assert info.start_offset_source == ("imu" if name == "K4A_START_OFFSET_NS" else "tag")


def test_custom_tracks_are_read_with_their_times(tmp_path: Path) -> None:
    log = TrackBytes(number=5, name="TRIGGER_LOG", kind=17, codec_id="S_ANIM/TRIGGER", private=b"\x01version", uid=55)
    fast = TrackBytes(number=6, name="FORCE", kind=17, codec_id="S_ANIM/FORCE")
    content = small_recording(3)
    clusters = (
        *content.clusters,
        cluster(200_000, block(5, 0, b"rise"), block(5, -700, b""), laced(6, 0, [b"a0", b"b1", b"c2"], 801)),
    )
    more = tag("K4A_CUSTOM_TRACK_TRIGGER_LOG", "55", track_uid=55)
    layout = replace(content, tracks=(*content.tracks, log, fast), clusters=clusters, more_tags=more)
    with opened(tmp_path, layout) as recording:
        assert recording.info.custom_track_names == ("TRIGGER_LOG", "FORCE")
        track = recording.custom_tracks["TRIGGER_LOG"]
        assert (track.codec_id, track.codec_private) == ("S_ANIM/TRIGGER", b"\x01version")
        assert list(recording.custom_frames("TRIGGER_LOG")) == [(1_200_000, b"rise"), (1_199_300, b"")]
        # laced frames are spread over their block's duration less one tick, as the SDK estimates them
        assert list(recording.custom_frames("FORCE")) == [(1_200_000, b"a0"), (1_200_400, b"b1"), (1_200_800, b"c2")]
        assert recording.num_custom_frames("FORCE") == 3
        with pytest.raises(NotFoundError, match="TRIGGER_LOG, FORCE"):
            list(recording.custom_frames("DEPTH"))


def test_an_imu_track_of_another_kind_is_a_custom_track(tmp_path: Path) -> None:
    content = small_recording(2)
    layout = replace(content, tracks=(COLOR, DEPTH, IR, replace(INERTIAL, kind=1)))
    with opened(tmp_path, layout) as recording:
        assert recording.info.num_imu_samples == 0
        assert recording.info.custom_track_names == ("IMU",)


def test_an_orbbec_recording_keeps_its_time_of_day(tmp_path: Path) -> None:
    epoch_us = 1_730_796_756_988_167  # the stamp a user reported of a Femto Bolt
    content = small_recording(3)
    tags = content.tags | {"K4A_START_OFFSET_NS": str(epoch_us * 1000), "K4A_DEVICE_SERIAL_NUMBER": "123"}
    with opened(tmp_path, replace(content, tags=tags)) as recording:
        assert recording.stamps().depth_time_us.tolist() == [epoch_us, epoch_us + 33_333, epoch_us + 66_666]
        assert recording.capture(1).color_time_us == epoch_us + 33_333 + 37
        assert recording.info.is_orbbec
        assert not recording.info.check_radius
        assert recording.index_at(epoch_us + 34_000) == 1
    femto = content.tags | {"K4A_DEVICE_SERIAL_NUMBER": "CL8R241010D"}
    with opened(tmp_path, replace(content, tags=femto)) as recording:
        assert recording.info.is_orbbec
    with opened(tmp_path, content) as recording:
        assert recording.info.check_radius


def test_a_legacy_wide_calibration_is_converted(tmp_path: Path) -> None:
    """A 16:9 calibration of the 4:3 sensor: cy = (cy 2304 + 384) / 3072, fy = fy 2304 / 3072."""
    document = json.loads(factory_calibration().to_json())
    camera = document["CalibrationInformation"]["Cameras"][1]
    camera["SensorWidth"], camera["SensorHeight"] = 3840, 2160
    cx, cy, fx, fy = camera["Intrinsics"]["ModelParameters"][:4]
    content = replace(small_recording(1), attachments={"calibration.json": json.dumps(document).encode() + b"\0\0"})
    with opened(tmp_path, content) as recording:
        factory = parse_calibration(recording.calibration_json)
    found = factory.camera("color", "1080P", check_radius=recording.info.check_radius)
    assert found.fx == pytest.approx(fx * 1920)
    assert found.fy == pytest.approx(fy * 2304 / 3072 * 1440)
    assert found.cx == pytest.approx(cx * 1920 - 0.5)
    assert found.cy == pytest.approx((cy * 2304 + 384) / 3072 * 1440 - 180 - 0.5)


def test_the_calibration_is_found_by_tag_by_name_or_not_at_all(tmp_path: Path) -> None:
    files = {"other.json": b"other", "calibration.json": b"default"}
    content = replace(small_recording(1), attachments=files)
    for text, expected in ((None, b"default"), ("other.json", b"other"), ("gone.json", b"default")):
        more = b"" if text is None else tag("K4A_CALIBRATION_FILE", text)
        with opened(tmp_path, replace(content, more_tags=more)) as recording:
            assert recording.calibration_json == expected
    with opened(tmp_path, replace(content, attachments={})) as recording:
        assert not recording.info.has_calibration
        assert not recording.info.is_damaged
        with pytest.raises(NotFoundError, match="no factory calibration"):
            _ = recording.calibration_json


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (replace(COLOR, fourcc="H264"), "'H264' of track COLOR"),
        (replace(DEPTH, fourcc="MJPG"), "'MJPG' of track DEPTH"),
        (replace(DEPTH, size=(100_000, 100_000)), "100000x100000"),
        (TrackBytes(number=2, name="DEPTH", fps=30), "0x0"),
    ],
)
def test_images_nobody_can_decode_are_refused(tmp_path: Path, track: TrackBytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(tmp_path, RecordingBytes(tracks=(track,), clusters=(capture_cluster(0, 0),)))


def test_a_missing_frame_period_is_taken_from_the_stamps(tmp_path: Path) -> None:
    tracks = tuple(replace(track, fps=0) for track in (COLOR, DEPTH, IR))
    with opened(tmp_path, replace(small_recording(6, period_us=66_667), tracks=tracks)) as recording:
        assert (recording.info.fps, recording.info.num_captures, recording.info.num_dropped) == (15, 6, 0)
