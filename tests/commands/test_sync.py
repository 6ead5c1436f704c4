"""``anim-real sync`` on takes whose clocks are known: by stamps, by motion where a device was restarted, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anim_real.calibration import ClockMap
from anim_real.cli import main

from .ball_takes import DEVICE_OFFSET_US, DEVICE_PPM, PERIOD_US, device_us, scanner_us, write_calibration, write_take

RESTART_US = -40_000_000.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sync")
    write_calibration(root / "calibration.json")
    write_take(root / "kept", "s01", num=36)
    write_take(root / "restarted", "s02", num=36, device_jump_us=RESTART_US)
    return root


def sync(world: Path, take: str, *more: str) -> tuple[int, Path]:
    output = world / f"{take}-{len(list(world.iterdir()))}.json"
    arguments = ["sync", str(world / take), "--calibration", str(world / "calibration.json"), "-o", str(output)]
    return main([*arguments, "--quiet", *more]), output


def error_us(path: Path, jump_us: float = 0.0) -> float:
    """Largest error of the written map over the take."""
    clock = ClockMap.model_validate(json.loads(path.read_text())["sensors"]["k0"]["clock"])
    true_us = 30e6 + np.linspace(0, 36, 50) * PERIOD_US
    return float(np.abs(clock.to_dst(device_us(true_us) + jump_us) - scanner_us(true_us)).max())


def test_stamps_continue_the_calibration_and_the_drop_is_listed(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = world / "kept.html"
    code, output = sync(world, "kept", "--report", str(page))
    told = capsys.readouterr().out
    assert code == 0
    assert "by triggers" in told and "1 captures missing in 1 gaps, the longest 0.03 s" in told
    assert error_us(output) < 60.0
    record = json.loads(output.read_text())["sensors"]["k0"]
    assert record["num_dropped"] == 1 and record["num_incomplete"] == 1 and record["num_pairs"] == 34
    [lost_us] = record["dropped_device_us"]
    frame = ((lost_us - DEVICE_OFFSET_US) / (1 + DEVICE_PPM * 1e-6) - 30e6) / PERIOD_US
    assert frame - 3 == pytest.approx(round(frame - 3), abs=0.1) and 4 <= round(frame - 3) <= 6
    assert page.read_text().count("data:image") == 2


def test_a_restarted_device_is_told_by_motion_with_its_larger_uncertainty(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = sync(world, "restarted")
    told = capsys.readouterr().out
    assert code == 0
    assert "by motion" in told and "not by stamps" in told and "not by led" in told
    clock = json.loads(output.read_text())["sensors"]["k0"]["clock"]
    assert error_us(output, RESTART_US) < min(5.0 * clock["offset_sigma_us"], PERIOD_US / 8)
    assert clock["offset_sigma_us"] > 60.0


def test_one_means_alone_says_why_it_did_not(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = sync(world, "restarted", "--by", "stamps")
    assert code == 4 and not output.exists()
    assert "A clock was restarted" in capsys.readouterr().err
    code, _ = sync(world, "kept", "--by", "led")
    assert code == 4
    assert "coded LED" in capsys.readouterr().err


def test_without_a_calibration_nothing_but_an_led_can_tell(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", str(world / "kept"), "--quiet"]) == 4
    assert "no calibration is given" in capsys.readouterr().err


def test_a_clock_told_by_stillness_is_not_continued(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the captures of a calibration take; for a take it would be a guess. Motion tells the take its clock."""
    record = json.loads((world / "calibration.json").read_text())
    record["sensors"]["k0"]["clock"] |= {"method": "stillness", "offset_sigma_us": 110_000.0}
    coarse, output = world / "coarse.json", world / "by_motion.json"
    coarse.write_text(json.dumps(record))
    take = ["sync", str(world / "kept"), "--calibration", str(coarse), "--quiet"]
    assert main([*take, "--by", "stamps"]) == 4
    assert "told by stillness, to ±110 ms: too coarse" in capsys.readouterr().err
    assert main([*take, "-o", str(output)]) == 0
    assert json.loads(output.read_text())["sensors"]["k0"]["clock"]["method"] == "motion"


def test_outputs_are_never_overwritten(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "there.json").write_text("{}")
    assert main(["sync", str(world / "kept"), "-o", str(world / "there.json")]) == 2
    assert main(["sync", str(world / "kept"), "--report", str(world / "page.txt")]) == 2
    assert "exists already" in capsys.readouterr().err
