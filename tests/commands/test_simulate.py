"""``anim-real simulate``: true files on disk, clear refusals, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.cli import main
from anim_real.commands.simulate import Arguments, run
from anim_real.console import Console, Result
from anim_real.studio.truth import load_truth
from anim_real.take import load_take


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    output = tmp_path_factory.mktemp("simulate") / "out"
    return run(Arguments(output=output, calibration_only=True, placements=1, seed=3), Console(quiet=True))


@pytest.fixture(scope="module")
def simulated(result: Result) -> Path:
    assert result.path is not None
    return result.path


def test_recording_reads_back_with_its_times(simulated: Path):
    take = load_take(simulated / "takes" / "calibration")
    truth = load_truth(simulated, "calibration").sensors["k0"]
    recording = open_recording(take.recording("k0"))
    assert recording.info.num_captures == len(truth.captures)
    assert recording.info.num_incomplete == len(truth.incomplete)
    assert recording.info.serial == truth.serial
    assert (recording.info.color_mode, recording.info.depth_mode) == ("720P", "NFOV_UNBINNED")
    assert recording.info.sync_mode == "SUBORDINATE"
    for frame, told in zip(recording.captures(), truth.captures, strict=True):
        assert (frame.color_time_us, frame.depth_time_us) == (told.color_time_us, told.depth_time_us)


def test_recording_carries_the_factory_calibration_not_the_truth(simulated: Path):
    take = load_take(simulated / "takes" / "calibration")
    truth = load_truth(simulated, "calibration").sensors["k0"]
    factory = parse_calibration(open_recording(take.recording("k0")).calibration_json)
    off = np.abs(factory.T_color_depth.matrix - truth.T_color_depth.rigid().matrix).max()
    assert 1e-4 < off < 0.03
    focal = factory.camera("color", "720P").fx / truth.color.fx
    assert 1e-5 < abs(focal - 1) < 0.02


def test_result_counts_what_was_written(result: Result):
    assert not result.failures
    take = result.record["takes"][0]
    assert take["scans"] == 1
    assert take["sensors"]["k0"] == {"captures": 11, "dropped": 1, "incomplete": 1}  # a burst of 12


def test_rig_without_trigger_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = (Path(__file__).parents[2] / "rigs" / "virtual.toml").read_text()
    rig = tmp_path / "untriggered.toml"
    rig.write_text(text.replace("[trigger]\nfps = 30.0\njitter_us = 30.0\n", ""))
    assert main(["simulate", "-o", str(tmp_path / "out"), "--rig", str(rig)]) == 2
    assert "[trigger]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [rig]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["--rig", "nowhere"], 10, "nowhere"),
        (["--subjects", "-1"], 2, "--subjects"),
        (["--frames", "1"], 2, "--frames"),
        (["--placements", "0"], 2, "--placements"),
        (["--factory", "no.json"], 10, "no.json"),
        (["--unknown", "1"], 2, "unknown"),
    ],
)
def test_wrong_arguments_end_clearly(
    arguments: list[str], exit_code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "out"
    assert main(["simulate", "-o", str(output), *arguments]) == exit_code
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{}", b"\x89PNG", b'{"CalibrationInformation": {"Cameras": 3}}'])
def test_refuses_a_broken_factory_calibration(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    broken = tmp_path / "broken.json"
    broken.write_bytes(content)
    assert main(["simulate", "-o", str(tmp_path / "out"), "--factory", str(broken)]) == 4
    assert "broken.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [broken]


def test_dry_run_names_the_takes_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["simulate", "-o", str(tmp_path / "out"), "--subjects", "2", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "calibration, s01-walk, s02-stretch" in said
    assert not any(tmp_path.iterdir())


def test_keeps_an_existing_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "out").mkdir()
    assert main(["simulate", "-o", str(tmp_path / "out")]) == 2
    assert "exists" in capsys.readouterr().err
    assert not any((tmp_path / "out").iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from anim_real.capture.recording import k4a_writer

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(k4a_writer.RecordingWriter, "write_capture", full)
    arguments = ["simulate", "-o", str(tmp_path / "out"), "--calibration-only", "--placements", "1", "--quiet"]
    assert main(arguments) == 13
    assert not any(tmp_path.iterdir())
