"""Recordings: the real one as published, written ones exactly, damaged ones as far as they go."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter, open_recording
from anim_real.errors import ConfigError, DataError, NotFoundError

from .recordings import CONFIG, DEPTH_SHAPE, depth_image, factory_calibration, jpeg, write_recording

PERIOD_US = 33_333
TIMES_US = [1_700_000 + index * PERIOD_US for index in range(12)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(
        tmp_path_factory.mktemp("mkv") / "kinect-k0.mkv", TIMES_US, without_color=(3,), without_depth=(7,)
    )


def test_the_real_recording_holds_what_was_published(shared_data: Path) -> None:
    folder = shared_data / "k4a-recording"
    expected = json.loads((folder / "expected.json").read_text())["F_pyk4a_recording"]
    with open_recording(folder / "recording.mkv") as recording:
        info = recording.info
        assert info.length_us == expected["length_usec"]
        assert info.start_offset_us == expected["start_timestamp_offset_usec"]
        assert info.fps == expected["fps"]
        assert f"{info.color_format} {info.color_mode}" == expected["color"]
        assert info.depth_mode == expected["depth_mode"]
        assert info.sync_mode == expected["wired_sync"]
        assert len(recording) == info.num_captures == expected["n_captures"]
        assert info.serial == expected["serial"]
        assert not info.is_damaged
        stamps = recording.stamps()
        assert stamps.color_time_us.tolist() == [expected["timestamps_usec"]["color"]]
        assert stamps.depth_time_us.tolist() == [expected["timestamps_usec"]["depth"]]
        assert stamps.ir_time_us.tolist() == [expected["timestamps_usec"]["ir"]]
        assert recording.imu().acc_time_us[0] == expected["first_imu_timestamp"]
        # a device at rest measures gravity: a wrong byte order or offset does not give 9.8
        assert np.linalg.norm(recording.imu().acc[0]) == pytest.approx(9.81, abs=0.2)
        frame = recording.capture(0)
        assert frame.color is not None
        assert frame.color.shape == (720, 1280, 3)
        assert frame.depth_mm is not None
        # 23.5 % of the real frame is empty; read in the wrong byte order the median would be far beyond the room
        assert (frame.depth_mm == 0).mean() == pytest.approx(0.235, abs=0.001)
        assert 500 < np.median(frame.depth_mm[frame.depth_mm > 0]) < 3000


def test_what_was_written_is_read_back_exactly(written: Path) -> None:
    with open_recording(written) as recording:
        info = recording.info
        assert (info.num_captures, info.num_incomplete, info.num_dropped) == (12, 2, 0)
        assert (info.serial, info.color_mode, info.depth_mode, info.fps) == (
            CONFIG.serial,
            "720P",
            "NFOV_2X2BINNED",
            30,
        )
        assert info.start_offset_us == TIMES_US[0]
        assert not info.is_damaged
        for index, frame in enumerate(recording.captures()):
            assert frame.index == index
            assert (frame.color is None) == (index == 3)
            assert (frame.depth_mm is None) == (index == 7)
            if frame.depth_mm is not None:
                np.testing.assert_array_equal(frame.depth_mm, depth_image(index))
                np.testing.assert_array_equal(frame.ir, depth_image(index + 500))
                assert frame.depth_time_us == TIMES_US[index]
            if frame.color is not None:
                assert frame.color_time_us == TIMES_US[index] + 37
                assert recording.color_payload(index) == jpeg(index * 5)
                red, green, blue = frame.color[100, 100].astype(int)
                assert (abs(red - 200) < 6, abs(green - index * 5) < 6, abs(blue - 30) < 6) == (True, True, True)
        imu = recording.imu()
        assert len(imu.acc_time_us) == info.num_imu_samples == 12 * 12
        expected_us = sorted(time + sample * 600 for time in TIMES_US for sample in range(12))
        assert imu.acc_time_us.tolist() == expected_us
        np.testing.assert_array_equal(imu.gyro_time_us, imu.acc_time_us + 11)
        np.testing.assert_array_equal(imu.acc[13], np.float32([1, 1, -9.81]))
        assert recording.calibration_json == factory_calibration().to_json()


def test_captures_are_reached_in_any_order(written: Path) -> None:
    with open_recording(written) as recording:
        for index in (11, 0, 5):
            np.testing.assert_array_equal(recording.capture(index).depth_mm, depth_image(index))
        assert recording.capture(5, decode_color=False).color is None
        with pytest.raises(NotFoundError, match="no capture 12"):
            recording.capture(12)
        stamps = recording.stamps()
    assert stamps.color_time_us[3] == -1
    assert stamps.depth_time_us[7] == -1
    assert stamps.time_us.tolist() == [t + 37 * (i == 7) for i, t in enumerate(TIMES_US)]
    assert (~stamps.is_complete).nonzero()[0].tolist() == [3, 7]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_recording(tmp_path / "a.mkv", TIMES_US[:3]).read_bytes()
    assert first == write_recording(tmp_path / "b.mkv", TIMES_US[:3]).read_bytes()


def test_dropped_captures_and_epoch_offsets_are_counted(tmp_path: Path) -> None:
    epoch_us = 1_700_000_000_000_000  # Orbbec devices stamp with the time of day
    times = [epoch_us + index * PERIOD_US for index in (0, 1, 4, 5, 7)]
    with open_recording(write_recording(tmp_path / "r.mkv", times)) as recording:
        assert recording.info.num_dropped == 3
        assert recording.stamps().depth_time_us.tolist() == times
        assert recording.info.start_offset_us == epoch_us


@pytest.mark.parametrize("delay_us", [0, 8_000, -20_000, 20_000])
def test_the_depth_delay_does_not_split_captures(tmp_path: Path, delay_us: int) -> None:
    """A delay of more than half a period, not removed, would pair depth with a neighbouring colour image."""
    config = RecordingConfig(serial="1", depth_mode="NFOV_2X2BINNED", fps=30, depth_delay_us=delay_us)
    with RecordingWriter(tmp_path / "r.mkv", config, b"{}") as writer:
        for time_us in TIMES_US:
            writer.write_capture(jpeg(1), depth_image(0), depth_image(1), time_us, time_us + delay_us)
    with open_recording(tmp_path / "r.mkv") as recording:
        assert recording.info.num_captures == len(TIMES_US)
        assert recording.info.num_incomplete == 0
        assert recording.info.depth_delay_us == delay_us


def test_images_half_a_period_apart_are_two_captures(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.mkv", CONFIG, b"{}") as writer:
        writer.write_capture(jpeg(1), None, None, 1_000_000, None)
        writer.write_capture(None, depth_image(0), None, None, 1_000_000 + 16_600)
        writer.write_capture(jpeg(1), None, None, 2_000_000, None)
        writer.write_capture(None, depth_image(0), None, None, 2_000_000 + 16_700)
    with open_recording(tmp_path / "r.mkv") as recording:
        assert recording.stamps().color_time_us.tolist() == [1_000_000, 2_000_000, -1]


def test_late_blocks_are_sorted_and_too_late_ones_refused(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.mkv", CONFIG, b"{}") as writer:
        for time_us in (1_500_000, 1_000_000, 1_900_000):
            writer.write_capture(None, depth_image(0), None, None, time_us)
    with open_recording(tmp_path / "r.mkv") as recording:
        assert recording.stamps().depth_time_us.tolist() == [1_000_000, 1_500_000, 1_900_000]
    with (
        pytest.raises(DataError, match="more than a second late"),
        RecordingWriter(tmp_path / "s.mkv", CONFIG, b"{}") as writer,
    ):
        for time_us in (1_000_000, 2_000_000, 4_000_000, 1_000_000):
            writer.write_capture(None, depth_image(0), None, None, time_us)


def test_a_failed_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RecordingWriter(tmp_path / "r.mkv", CONFIG, b"{}") as writer:
        writer.write_capture(None, depth_image(0), None, None, 1_000_000)
        raise KeyError("stop")
    assert list(tmp_path.iterdir()) == []


def test_wrong_images_are_refused_by_the_writer(tmp_path: Path) -> None:
    wrong = [
        {"color": b"\x89PNG", "color_time_us": 5},
        {"depth_mm": depth_image(0)[:-1], "depth_time_us": 5},
        {"depth_mm": depth_image(0).astype(np.int32), "depth_time_us": 5},
        {"depth_mm": depth_image(0)},
        {"color": jpeg(0), "color_time_us": -1},
    ]
    for arguments in wrong:
        with pytest.raises(DataError), RecordingWriter(tmp_path / "r.mkv", CONFIG, b"{}") as writer:
            writer.write_capture(**arguments)
    with pytest.raises(ConfigError):
        RecordingConfig(serial="1", fps=24)
    with pytest.raises(ConfigError):
        RecordingConfig(serial="1", color_mode="3072P", fps=30)
    assert list(tmp_path.iterdir()) == []


def test_passive_infrared_has_no_depth(tmp_path: Path) -> None:
    config = RecordingConfig(serial="1", color_mode=None, depth_mode="PASSIVE_IR", has_imu=False)
    infrared = np.arange(1024 * 1024, dtype=np.uint32).astype(np.uint16).reshape(1024, 1024)
    with RecordingWriter(tmp_path / "r.mkv", config, b"{}") as writer:
        writer.write_capture(ir=infrared, depth_time_us=77)
        with pytest.raises(DataError, match="no DEPTH track"):
            writer.write_capture(depth_mm=infrared, depth_time_us=99)
    with open_recording(tmp_path / "r.mkv") as recording:
        frame = recording.capture(0)
        assert recording.info.depth_mode == "PASSIVE_IR"
        assert (frame.color, frame.depth_mm, frame.time_us) == (None, None, 77)
        np.testing.assert_array_equal(frame.ir, infrared)


def test_a_corrupt_image_is_none_and_keeps_its_stamp(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r.mkv", CONFIG, b"{}") as writer:
        writer.write_capture(jpeg(9)[:2000], depth_image(0), None, TIMES_US[0], TIMES_US[0])
        writer.write_capture(jpeg(9) + bytes(20), depth_image(0), None, TIMES_US[1], TIMES_US[1])
    with open_recording(tmp_path / "r.mkv") as recording:
        assert recording.capture(0).color is None
        assert recording.capture(0).color_time_us == TIMES_US[0]
        assert recording.capture(1).color is not None  # padded behind its end, as some encoders do


@pytest.mark.skipif(shutil.which("mkvmerge") is None, reason="mkvmerge (Debian: mkvtoolnix) is not installed")
def test_mkvtoolnix_accepts_what_we_write(written: Path) -> None:
    answer = subprocess.run(["mkvmerge", "-J", str(written)], capture_output=True, text=True, check=True)
    table = json.loads(answer.stdout)
    assert (table["errors"], table["warnings"]) == ([], [])
    assert [track["properties"]["track_name"] for track in table["tracks"]] == ["COLOR", "DEPTH", "IR", "IMU"]
    assert [track["properties"]["codec_id"] for track in table["tracks"]] == ["V_MS/VFW/FOURCC"] * 3 + ["S_K4A/IMU"]
    assert table["attachments"][0]["file_name"] == "calibration.json"
    dump = subprocess.run(["mkvinfo", "-v", "-v", str(written)], capture_output=True, text=True, check=True).stdout
    assert "Unknown" not in dump
    assert dump.count("Simple block:") == 11 + 2 * 11


def test_another_demuxer_finds_the_same_packets(written: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(written)) as container:
        packets = [
            (packet.stream_index, int(packet.pts), bytes(packet))
            for packet in container.demux()
            if packet.pts is not None
        ]
    depth = [(time, payload) for stream, time, payload in packets if stream == 1]
    assert [time for time, _ in depth] == [t - TIMES_US[0] for i, t in enumerate(TIMES_US) if i != 7]
    np.testing.assert_array_equal(np.frombuffer(depth[2][1], ">u2").reshape(DEPTH_SHAPE), depth_image(2))
