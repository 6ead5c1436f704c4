"""``inspect`` of recordings: clock, inertial samples and calibration of files whose faults are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from capture import k4a_bytes as made
from capture.recordings import factory_calibration

from anim_real.capture.k4a_calibration import FactoryCalibration
from anim_real.cli import main
from anim_real.geometry.frames import Rigid

NUM_IMU = 55  # at 0.6 ms they fill a frame period


def described(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: made.RecordingBytes
) -> tuple[dict[str, Any], str]:
    """The JSON and the printed page of a recording."""
    path = tmp_path / "r.mkv"
    path.write_bytes(content.encode())
    assert main(["inspect", str(path), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert main(["inspect", str(path)]) == 0
    return table, capsys.readouterr().out


def recording_at(times_us: list[int], *, num_imu: int = NUM_IMU, **parts: object) -> made.RecordingBytes:
    """A healthy recording of captures at these times since the start."""
    content = made.small_recording(0)
    clusters = tuple(made.capture_cluster(index, time, imu=num_imu) for index, time in enumerate(times_us))
    files = {"calibration.json": factory_calibration().to_json()}
    return replace(content, clusters=clusters, **({"attachments": files} | parts))


def test_a_healthy_recording_has_nothing_to_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = [index * 33_333 + (index % 2) * 40 for index in range(30)]
    table, page = described(capsys, tmp_path, recording_at(times))
    assert table["problems"] == []
    clock, imu = table["clock"], table["imu"]
    assert clock["num_intervals"] == 29
    assert clock["median_ms"] == pytest.approx(33.373)  # 15 intervals of 33,373 and 14 of 33,293 µs
    assert clock["jitter_p95_ms"] == pytest.approx(0.08)
    assert clock["longest_gap_ms"] == pytest.approx(33.373)
    assert clock["depth_after_color_us"] == -37
    assert clock["histogram"]["within 0.1 ms"] == 29
    assert sum(clock["histogram"].values()) == 29
    assert imu["num_samples"] == 30 * NUM_IMU
    assert imu["rate_hz"] == pytest.approx(1e6 / 600)
    assert (imu["num_gaps"], imu["num_backwards"]) == (0, 0)
    assert imu["gravity_m_s2"] == pytest.approx(np.linalg.norm([0.5, 0.25, 9.75]))
    assert "CHECK" not in page
    assert "jitter p95 0.080 ms" in page


def test_missing_inertial_samples_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, page = described(capsys, tmp_path, recording_at([0, 33_333, 66_666], num_imu=20))
    assert table["imu"]["num_gaps"] == 2
    assert table["imu"]["longest_gap_ms"] == pytest.approx(33.333 - 19 * 0.6)
    assert "CHECK       inertial samples are missing 2 times" in page


def test_dropped_backward_and_repeated_captures_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    period = 33_333
    steps = [0, 1, 2, 4, 5, 8, 9, 3_000, 3_001]
    times = [step * period for step in steps]
    table, page = described(capsys, tmp_path, recording_at([*times[:2], times[1], times[3], times[2], *times[4:]]))
    clock = table["clock"]
    assert (table["num_jumps"], table["num_dropped"]) == (1, 3)
    assert clock["histogram"] == {
        "within 0.1 ms": 5, "0.1 to 1 ms off": 0, "over 1 ms off": 0, "under half a period": 0, "1 missing": 1,
        "2 missing": 1, "more missing": 1,
    }  # fmt: skip
    for text in (
        "3 captures are missing", "jumps by more than a minute 1 times", "3 images are stamped earlier",
        "3 images have the stamp of another one",
    ):  # fmt: skip
        assert text in page
    assert f"{'1 missing':<20} {1:>7}  ########\n" in page  # a fifth of the highest bar


def test_inertial_values_that_are_no_numbers_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nan, whole = float("nan"), made.IMU.pack(0, 0, 0, 9.81, 0, 0, 0, 0)
    broken = made.IMU.pack(600_000, nan, 0, 9.81, 600_000, 0, nan, 0)
    content = recording_at([0], num_imu=0)
    for samples, text in (([whole, broken], "2 inertial values are no numbers"), ([broken], "no number in them")):
        clusters = (*content.clusters, made.cluster(0, made.laced(4, 0, samples, 1)))
        table, _ = described(capsys, tmp_path, replace(content, clusters=clusters))
        assert text in str(table["problems"])


def test_a_delay_unlike_the_stated_one_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = recording_at([0, 33_333])
    table, _ = described(capsys, tmp_path, replace(content, tags=content.tags | {"K4A_DEPTH_DELAY_NS": "4000000"}))
    assert "depth comes -37 µs after colour, the tags state 4000 µs" in str(table["problems"])


def tilted(degrees: float, baseline_m: float) -> FactoryCalibration:
    source = factory_calibration()
    pose = Rigid.from_rotvec("color", "depth", [np.radians(degrees), 0, 0], [-baseline_m, 0, 0])
    camera = replace(source.color_camera, rotation=pose.rotation, translation=pose.translation)
    return replace(source, color_camera=camera)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (tilted(6, 0.032), []),
        (tilted(6, 0.100), ["distance between the cameras 100 mm; an Azure Kinect has 28 to 37"]),
        (tilted(25, 0.032), ["angle between the cameras 25 degrees"]),
        (replace(factory_calibration(), serial="7"), ["was made for device 7, not 000123456789"]),
        (
            replace(factory_calibration(), color_camera=replace(factory_calibration().color_camera, fx=0.585)),
            ["colour focal length 0.585 of the image width; an Azure Kinect has 0.45 to 0.51"],
        ),
    ],
)
def test_an_implausible_calibration_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], factory: FactoryCalibration, expected: list[str]
) -> None:
    content = recording_at([0], attachments={"calibration.json": factory.to_json()})
    table, page = described(capsys, tmp_path, content)
    assert len(table["problems"]) == len(expected)
    for text in expected:
        assert text in page


def test_what_a_femto_has_is_plausible_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its colour camera sees less wide; and the field of view does not end at the metric radius."""
    source = factory_calibration()
    factory = replace(source, serial="CL8R241010D", color_camera=replace(source.color_camera, fx=0.585))
    content = recording_at([0], attachments={"calibration.json": factory.to_json()})
    tags = content.tags | {"K4A_DEVICE_SERIAL_NUMBER": "CL8R241010D"}
    table, page = described(capsys, tmp_path, replace(content, tags=tags))
    assert table["problems"] == []
    assert "Orbbec, serial CL8R241010D" in page


def test_a_missing_and_a_broken_calibration_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, page = described(capsys, tmp_path, recording_at([0], attachments={}))
    assert table["problems"] == ["no factory calibration is attached"]
    assert "calibration missing" in page
    table, _ = described(capsys, tmp_path, recording_at([0], attachments={"calibration.json": b"{}"}))
    assert table["calibration"] is None
    assert "the factory calibration has no" in str(table["problems"])


def test_custom_tracks_and_lost_metadata_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = made.TrackBytes(number=5, name="TRIGGER_LOG", kind=17, codec_id="S_ANIM/TRIGGER", private=b"v1")
    content = recording_at([0])
    clusters = (*content.clusters, made.cluster(0, made.block(5, 0, b"x"), made.block(5, 9, b"y")))
    layout = replace(
        content, tracks=(*content.tracks, log), clusters=clusters, tags={}, is_closed=False,
        more_tags=made.tag("K4A_DEPTH_DELAY_NS", "soon"),
    )  # fmt: skip
    table, page = described(capsys, tmp_path, layout)
    assert table["custom_tracks"] == [
        {"name": "TRIGGER_LOG", "codec_id": "S_ANIM/TRIGGER", "codec_private_bytes": 2, "num_frames": 2}
    ]
    assert "TRIGGER_LOG (S_ANIM/TRIGGER), 2 frames" in page
    assert "never closed by its writer" in page
    assert "tags without a sensible value: K4A_DEPTH_DELAY_NS" in page
    assert "by its first inertial sample" in page


def test_the_real_recording_is_plausible(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared_data / "k4a-recording" / "recording.mkv"
    assert main(["inspect", str(path), "--json", "--decode"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["problems"] == []
    # the data sheet gives 90 x 59 degrees at 16:9, and 75 x 65 for the narrow depth mode
    assert table["calibration"]["color_fov_deg"] == pytest.approx([90, 59], abs=2)
    assert table["calibration"]["depth_fov_deg"] == pytest.approx([75, 65], abs=2)
    assert table["calibration"]["baseline_mm"] == pytest.approx(32.4, abs=0.1)
    assert (table["num_corrupt_color"], table["num_bad_clusters"]) == (0, 0)
