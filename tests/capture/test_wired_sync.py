"""Roles, delays and cables of a rig, and the space that a recording needs."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from anim_real.capture.recorder.disk_space import capture_size, check_space, data_rate
from anim_real.capture.recorder.wired_sync import check_cables, check_roles, starting_order
from anim_real.depth_camera import CableState
from anim_real.errors import ConfigError, MissingDependencyError, NoSpaceError
from anim_real.rig import RigSpec, SensorSpec
from capture.fake_camera import sensor_spec

MASTER, SUB, ALONE = "MASTER", "SUBORDINATE", "STANDALONE"
Usage = namedtuple("Usage", "total used free")


def sensor(name: str, role: str, **changes: Any) -> SensorSpec:
    return sensor_spec(name, sync_mode=role, **changes)


def rig(*sensors: SensorSpec, trigger_fps: float | None = None) -> RigSpec:
    table: dict[str, Any] = {
        "schema": "anim-real/rig/1",
        "name": "test",
        "sensors": sensors,
        "scanner": {"name": "scanner", "fps": 30.0, "unit": "mm"},
    }
    if trigger_fps is not None:
        table["trigger"] = {"fps": trigger_fps}
    return RigSpec.model_validate(table)


@pytest.mark.parametrize(
    ("sensors", "trigger_fps", "text"),
    [
        ([sensor("a", MASTER), sensor("b", MASTER)], None, r"several masters \(a, b\)"),
        ([sensor("a", SUB)], None, "'a' is SUBORDINATE, but nothing triggers it"),
        ([sensor("a", MASTER), sensor("b", SUB, fps=15)], None, "several rates"),
        ([sensor("a", SUB)], 15.0, "trigger runs at 15 Hz, sensor 'a' at 30"),
        ([sensor("a", SUB)], 30.1, "trigger runs at 30.1 Hz"),
        ([sensor("a", MASTER, subordinate_delay_us=160)], None, "subordinate_delay_us"),
        ([sensor("a", ALONE, depth_delay_us=-34_000)], None, "depth_delay_us"),
        ([sensor("a", MASTER), sensor("b", SUB, subordinate_delay_us=34_000)], None, "subordinate_delay_us"),
    ],
)
def test_impossible_roles_are_refused(sensors: list[SensorSpec], trigger_fps: float | None, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        check_roles(rig(*sensors, trigger_fps=trigger_fps))


@pytest.mark.parametrize(
    ("sensors", "trigger_fps", "texts"),
    [
        ([sensor("a", ALONE)], None, []),
        ([sensor("a", SUB)], 30.0, []),
        ([sensor("a", MASTER), sensor("b", SUB, subordinate_delay_us=160)], None, []),
        ([sensor("a", MASTER), sensor("b", SUB, subordinate_delay_us=159)], None, ["159 µs apart"]),
        ([sensor("a", MASTER), sensor("b", SUB)], None, ["depth of a and b fires 0 µs apart"]),
        ([sensor("a", SUB, depth_delay_us=-80), sensor("b", SUB, depth_delay_us=80)], 30.0, []),
        # 33300 µs after one pulse is 33 µs before the next
        ([sensor("a", MASTER), sensor("b", SUB, subordinate_delay_us=33_300)], None, ["33 µs apart"]),
        ([sensor("a", MASTER), sensor("b", SUB, depth_mode="PASSIVE_IR")], None, []),
        (
            [sensor("a", SUB), sensor("b", SUB, subordinate_delay_us=160), sensor("c", SUB, subordinate_delay_us=200)],
            30.0,
            ["depth of b and c fires 40 µs apart"],
        ),
        ([sensor("a", MASTER), sensor("b", ALONE)], None, ["a is MASTER, but no sensor follows", "b run freely"]),
        ([sensor("a", MASTER)], 30.0, ["follows no trigger box"]),
        ([sensor("a", ALONE), sensor("b", ALONE)], None, ["a, b run freely"]),
    ],
)
def test_what_is_seldom_meant_is_remarked(
    sensors: list[SensorSpec], trigger_fps: float | None, texts: list[str]
) -> None:
    remarks = check_roles(rig(*sensors, trigger_fps=trigger_fps))
    assert len(remarks) == len(texts), remarks
    for remark, text in zip(remarks, texts, strict=True):
        assert text in remark


def test_subordinates_start_before_their_master() -> None:
    sensors = [sensor("a", MASTER), sensor("b", SUB), sensor("c", ALONE), sensor("d", SUB)]
    assert [found.id for found in starting_order(sensors)] == ["b", "d", "c", "a"]


def test_cables_are_compared_with_roles() -> None:
    pair = [sensor("a", MASTER), sensor("b", SUB)]
    good = {"a": CableState(sync_in=False, sync_out=True), "b": CableState(sync_in=True, sync_out=False)}
    assert check_cables(pair, good) == ()
    with pytest.raises(MissingDependencyError, match="'b' is SUBORDINATE, but no cable is in its sync-in"):
        check_cables(pair, good | {"b": CableState(sync_in=False, sync_out=True)})
    with pytest.raises(MissingDependencyError, match="'a' is MASTER, but no cable is in its sync-out"):
        check_cables(pair, good | {"a": CableState(sync_in=True, sync_out=False)})
    remarks = check_cables(pair, {"a": CableState(), "b": CableState()})
    assert [remark[:15] for remark in remarks] == ["a does not tell", "b does not tell"]
    lone_master = [sensor("a", MASTER), sensor("c", ALONE)]
    (remark,) = check_cables(lone_master, {"a": CableState(sync_out=False), "c": CableState(sync_in=True)})
    assert "c is STANDALONE" in remark


def test_the_data_rate_is_that_of_the_images() -> None:
    raw = sensor("a", ALONE, color_format="NV12", depth_mode="NFOV_UNBINNED")
    assert capture_size(raw) == 1280 * 720 * 1.5 + 2 * 2 * 640 * 576
    assert capture_size(raw.model_copy(update={"color_format": "BGRA", "depth_mode": "PASSIVE_IR"})) == (
        1280 * 720 * 4 + 2 * 1024 * 1024
    )
    imu = 1600 * 40
    assert data_rate([raw, raw]) == pytest.approx(2 * (capture_size(raw) * 30 + imu))


def test_a_real_jpeg_is_not_larger_than_assumed(shared_data: Path) -> None:
    from anim_real.capture.recording.k4a_mkv import open_recording

    with open_recording(shared_data / "k4a-recording" / "recording.mkv") as recording:
        color = recording.color_payload(0)
    real = sensor("a", ALONE, depth_mode="NFOV_UNBINNED")
    assert color is not None
    assert len(color) + 4 * 640 * 576 < capture_size(real) < 1.1 * (len(color) + 4 * 640 * 576)


def test_space_is_compared_with_the_duration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sensors = [sensor("a", ALONE)]
    rate = data_rate(sensors)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, int(rate * 110) + 1000))
    output = tmp_path / "not" / "yet" / "there"
    assert check_space(output, sensors, 100.0) == ()
    with pytest.raises(NoSpaceError, match=r"not enough space for 101 s.*MB/s.*GB are free"):
        check_space(output, sensors, 101.0)
    (remark,) = check_space(output, sensors, None)
    assert "room for 1.7 min" in remark
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, int(rate * 20)))
    with pytest.raises(NoSpaceError, match="even 30 s"):
        check_space(output, sensors, None)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, int(rate * 1000)))
    assert check_space(output, sensors, None) == ()
