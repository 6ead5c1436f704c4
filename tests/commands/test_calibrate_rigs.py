"""The calibrate command on a rig of two sensors: solved together; one lost, one without LED; what stillness refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anim_real.calibrate.evidence import person_points
from anim_real.calibration import load_calibration
from anim_real.cli import main
from anim_real.resources import find
from anim_real.studio.truth import load_truth

UP = np.array([0.0, 1.0, 0.0])


@pytest.fixture(scope="module")
def rig(tmp_path_factory) -> Path:
    """The shipped pair, with both sensors on a trigger box."""
    text = find("rigs", "virtual_pair").read_text().replace('"MASTER"', '"SUBORDINATE"')
    path = tmp_path_factory.mktemp("rigs") / "virtual_pair.toml"
    path.write_text(text + "\n[trigger]\nfps = 30.0\n")
    return path


@pytest.fixture(scope="module")
def quick_protocol(tmp_path_factory) -> Path:
    """The default protocol with its gates, and a fifth of its depth pixels: as many as they count for."""
    text = find("calibration/protocols", "default").read_text()
    path = tmp_path_factory.mktemp("protocols") / "quick.toml"
    path.write_text(
        text.replace('name = "default"', 'name = "quick"').replace("depth_points = 1500", "depth_points = 300")
    )
    return path


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, rig) -> Path:
    """A simulated studio run of both sensors with one calibration take of six placements."""
    studio = tmp_path_factory.mktemp("simulated") / "studio"
    flags = ["--calibration-only", "--placements", "6", "--seed", "3", "--quiet"]
    assert main(["simulate", "-o", str(studio), "--rig", str(rig), *flags]) == 0
    return studio


def calibrate(take: Path, output: Path, rig: Path, protocol: Path, *more: str) -> int:
    return main(["calibrate", str(take), "--rig", str(rig), "--protocol", str(protocol), "-o", str(output), *more])


def without_led(simulated: Path, folder: Path) -> Path:
    shutil.copytree(simulated / "takes" / "calibration", folder)
    (folder / "scans" / "led.csv").unlink()
    return folder


@pytest.mark.slow
def test_two_sensors_are_solved_together(simulated, rig, quick_protocol, tmp_path, capsys):
    """The record and the page tell of the pair; where both put the same points agrees with the truth."""
    output, report = tmp_path / "out.json", tmp_path / "out.html"
    take = simulated / "takes" / "calibration"
    assert calibrate(take, output, rig, quick_protocol, "--report", str(report), "--json", "--quiet") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    solved, truth = load_calibration(output), load_truth(simulated, "calibration")
    (pair,) = solved.between
    assert (pair.first, pair.second, pair.num_scans) == ("k0", "k1", 6)
    assert told["between"][0]["scans"] == 6
    assert {gate.name for gate in solved.gates} >= {"k0 to k1: predicted error", "k0 to k1: held-out error"}
    assert "k0 to k1" in report.read_text()
    both = np.block(
        [
            [np.array(solved.sensors["k0"].covariance), np.array(pair.covariance)],
            [np.array(pair.covariance).T, np.array(solved.sensors["k1"].covariance)],
        ]
    )
    assert np.linalg.eigvalsh(both).min() > 0
    points = person_points(np.zeros(3), UP)
    errors = []
    for key, sensor in solved.sensors.items():
        true = truth.sensors[key]
        points_depth = (true.T_color_depth.rigid().inverse() @ true.T_color_scan.rigid()).apply(points)
        seen = sensor.depth.camera().unproject(true.depth.camera().project(points_depth), points_depth[:, 2])
        errors.append((sensor.T_color_scan.rigid().inverse() @ sensor.T_color_depth.rigid()).apply(seen) - points)
    assert np.nanmean(np.linalg.norm(errors[0] - errors[1], axis=1)) * 1e3 < 3.0 * pair.predicted_mm


@pytest.mark.slow
def test_one_lost_sensor_does_not_hide_the_other_nor_needs_that_one_an_led(
    simulated, rig, quick_protocol, tmp_path, capsys
):
    """The second recording is damaged and there is no LED: the first is solved by stillness, its clock is coarse."""
    take = without_led(simulated, tmp_path / "take")
    (take / "kinect-k1.mkv").write_bytes(b"not a recording")
    assert calibrate(take, tmp_path / "out.json", rig, quick_protocol, "--quiet") == 4
    message = capsys.readouterr().err
    assert "k1: solved" in message and "kinect-k1.mkv" in message
    record = json.loads((tmp_path / "out.refused.json").read_text())
    gates = {gate["name"]: gate["passed"] for gate in record["gates"]}
    assert [name for name, passed in gates.items() if not passed] == ["k1: solved"]
    assert list(record["sensors"]) == ["k0"] and record["between"] == []
    clock = record["sensors"]["k0"]["clock"]
    true = load_truth(simulated, "calibration").sensors["k0"].clock_to_scanner
    error_us = clock["origin_us"] + clock["offset_us"] - float(true.to_dst(clock["origin_us"]))
    assert clock["method"] == "stillness"
    assert abs(error_us) < 3.0 * clock["offset_sigma_us"]
    assert 2e4 < clock["offset_sigma_us"] < 5e5


@pytest.mark.slow
def test_scans_that_do_not_fit_the_stillness_are_refused(simulated, rig, quick_protocol, tmp_path, capsys):
    """The scans' stamps are those of another take."""
    take = without_led(simulated, tmp_path / "take")
    table = pd.read_csv(take / "scans" / "timestamps.csv")
    table["time_us"] = (table["time_us"] * 1.3).astype("int64")
    table.to_csv(take / "scans" / "timestamps.csv", index=False)
    assert calibrate(take, tmp_path / "out.json", rig, quick_protocol, "--quiet") == 4
    message = capsys.readouterr().err
    assert "LED" in message and "stillness" in message and "Traceback" not in message
    assert not list(tmp_path.glob("out*"))
