"""The calibrate command: bad input ends in one clear line and nothing is written; a simulated take is solved."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anim_real.calibrate.boards.targets import load_target, target_mesh
from anim_real.calibrate.evidence import color_error_px, person_points, target_error_mm
from anim_real.calibration import load_calibration
from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.cli import main
from anim_real.errors import RefusedError
from anim_real.mesh import load_mesh, save_mesh
from anim_real.resources import find
from anim_real.studio.truth import load_truth

TAKE_TOML = """
schema = "anim-real/take/1"
take_id = "calibration"
kind = "{kind}"
subject = "target"
rig = "{rig}"
"""


def make_take(folder: Path, *, kind: str = "calibration", rig: str = "virtual") -> Path:
    (folder / "scans").mkdir(parents=True)
    (folder / "take.toml").write_text(TAKE_TOML.format(kind=kind, rig=rig))
    (folder / "kinect-k0.mkv").write_bytes(b"not a recording")
    (folder / "scans" / "timestamps.csv").write_text("frame_index,time_us\n0,0\n1,33333\n")
    (folder / "scans" / "frame-000001.ply").write_bytes(b"ply\n")
    return folder


def calibrate(take: Path, output: Path, *more: str) -> int:
    return main(["calibrate", str(take), "--rig", "virtual", "-o", str(output), "--quiet", *more])


@pytest.mark.parametrize(
    ("prepare", "code", "word"),
    [
        (lambda take: shutil.rmtree(take), 10, "no such take"),
        (lambda take: (take / "take.toml").write_text(TAKE_TOML.format(kind="subject", rig="virtual")), 2, "kind"),
        (
            lambda take: (take / "take.toml").write_text(TAKE_TOML.format(kind="calibration", rig="other")),
            2,
            "--rig other",
        ),
        (lambda take: (take / "scans" / "frame-000001.ply").unlink(), 10, "no frame-<number> mesh"),
        (lambda take: None, 4, "frame-000001.ply"),
        (lambda take: (take / "scans" / "frame-000007.ply").write_bytes(b"ply\n"), 4, "no row"),
        (lambda take: (take / "kinect-k0.mkv").unlink(), 10, "kinect"),
    ],
)
def test_bad_takes_are_named(tmp_path, capsys, prepare, code, word):
    take, output = make_take(tmp_path / "take"), tmp_path / "out.json"
    prepare(take)
    assert calibrate(take, output) == code
    message = capsys.readouterr().err
    assert word in message
    assert "Traceback" not in message
    assert not list(tmp_path.glob("out*"))


def test_unknown_names_list_the_known(tmp_path, capsys):
    take = make_take(tmp_path / "take")
    assert calibrate(take, tmp_path / "out.json", "--protocol", "none") == 10
    assert "default" in capsys.readouterr().err


def test_output_is_checked_before_any_work(tmp_path, capsys):
    take = make_take(tmp_path / "take")
    assert calibrate(take, tmp_path / "out.toml") == 2
    (tmp_path / "out.json").write_text("mine")
    assert calibrate(take, tmp_path / "out.json") == 2
    assert (tmp_path / "out.json").read_text() == "mine"


def test_a_scan_in_the_wrong_unit_is_refused(tmp_path, capsys):
    take = make_take(tmp_path / "take")
    (take / "scans" / "frame-000001.ply").unlink()
    save_mesh(take / "scans" / "frame-000001.glb", target_mesh(load_target("prism"), 512))  # metres; the rig says mm
    assert calibrate(take, tmp_path / "out.json") == 4
    assert "unit" in capsys.readouterr().err


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """A simulated studio run with one calibration take of six placements, the fewest that the gates let pass."""
    studio = tmp_path_factory.mktemp("simulated") / "studio"
    flags = ["--calibration-only", "--placements", "6", "--seed", "3", "--quiet"]
    assert main(["simulate", "-o", str(studio), *flags]) == 0
    return studio


@pytest.fixture(scope="module")
def quick_protocol(tmp_path_factory) -> Path:
    """The default protocol with its gates, and a fifth of its depth pixels: as many as they count for."""
    text = find("calibration/protocols", "default").read_text()
    path = tmp_path_factory.mktemp("protocols") / "quick.toml"
    path.write_text(
        text.replace('name = "default"', 'name = "quick"').replace("depth_points = 1500", "depth_points = 300")
    )
    return path


@pytest.mark.slow
def test_a_simulated_take_is_solved(simulated, quick_protocol, tmp_path, capsys):
    """End to end from files alone, against the studio's truth; the report shows the gates and every placement."""
    take, output, report = simulated / "takes" / "calibration", tmp_path / "out.json", tmp_path / "out.html"
    assert calibrate(take, output, "--protocol", str(quick_protocol), "--report", str(report), "--json") == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["path"] == str(output)
    assert all(gate["passed"] for gate in record["gates"])
    solved = load_calibration(output).sensors["k0"]
    truth = load_truth(simulated, "calibration").sensors["k0"]
    points = person_points(np.zeros(3), np.array([0.0, 1.0, 0.0]))
    true_pose = truth.T_color_depth.rigid().inverse() @ truth.T_color_scan.rigid()
    pose = solved.T_color_depth.rigid().inverse() @ solved.T_color_scan.rigid()
    assert target_error_mm(pose, true_pose, points).mean() < 2.5  # the pose alone; part of it the depth centre undoes
    pixels = color_error_px(
        solved.color.camera(), solved.T_color_scan.rigid(), truth.color.camera(), truth.T_color_scan.rigid(), points
    )
    assert np.nanmean(pixels) < 0.2
    assert solved.clock is not None
    middle_us = solved.clock.origin_us
    assert abs(float(solved.clock.to_dst(middle_us) - truth.clock_to_scanner.to_dst(middle_us))) < 1000
    page = report.read_text()
    assert all(html.escape(gate["name"]) in page for gate in record["gates"])
    assert len(re.findall(r"<figcaption>[^<]*\d+ captures, 0 left out as moving", page)) == 6
    assert len(re.findall(r'<img[^>]+src="data:image/', page)) >= 6 + 3  # overlays; histograms of three kinds
    assert calibrate(take, tmp_path / "again.json", "--report", str(report)) == 2
    assert not (tmp_path / "again.json").exists()


@pytest.mark.slow
def test_a_poor_take_leaves_only_the_refusal(simulated, quick_protocol, tmp_path, capsys):
    """Two placements of the same take."""
    take = tmp_path / "take"
    shutil.copytree(simulated / "takes" / "calibration", take)
    for path in sorted((take / "scans").glob("frame-*"))[2:]:
        path.unlink()
    folder = tmp_path / "results"
    folder.mkdir()
    flags = ("--protocol", str(quick_protocol), "--report", str(folder / "poor.html"))
    assert calibrate(take, folder / "poor.json", *flags) == 4
    assert sorted(path.name for path in folder.iterdir()) == ["poor.html", "poor.refused.json"]
    message = capsys.readouterr().err
    assert "placements is 2" in message
    assert "poor.refused.json" in message
    with pytest.raises(RefusedError, match="refused"):
        load_calibration(folder / "poor.refused.json")
    assert "Record the target at more places" in (folder / "poor.html").read_text()


def without_markers(simulated: Path, folder: Path) -> Path:
    """The simulated take, calibrated by the target's shape alone."""
    shutil.copytree(simulated / "takes" / "calibration", folder)
    text = (folder / "take.toml").read_text()
    (folder / "take.toml").write_text(re.sub(r'target = ".*"', 'target = "object"', text))
    return folder


@pytest.mark.slow
def test_a_take_of_an_object_without_markers_is_solved_by_its_shape(simulated, quick_protocol, tmp_path, capsys):
    """The prism's boards are not looked at: its scans and the depth images give the pose from nothing."""
    take, output, report = without_markers(simulated, tmp_path / "take"), tmp_path / "out.json", tmp_path / "out.html"
    assert calibrate(take, output, "--protocol", str(quick_protocol), "--report", str(report), "--json") == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    told = record["sensors"]["k0"]
    assert told["color_is_factory"] and told["color_rms_px"] is None
    assert told["predicted_person_px"] > 3.0  # what the factory may err by
    assert len(told["held_out_depth_mm"]) == 6 and told["held_out_mm"] == []
    calibration = load_calibration(output)
    solved, truth = calibration.sensors["k0"], load_truth(simulated, "calibration").sensors["k0"]
    assert calibration.target == "object"
    assert "object.toml" in calibration.inputs_sha256
    points = person_points(np.zeros(3), np.array([0.0, 1.0, 0.0]))
    true_pose = truth.T_color_depth.rigid().inverse() @ truth.T_color_scan.rigid()
    pose = solved.T_color_depth.rigid().inverse() @ solved.T_color_scan.rigid()
    assert target_error_mm(pose, true_pose, points).mean() < 3.0
    with open_recording(take / "kinect-k0.mkv") as recording:
        factory = parse_calibration(recording.calibration_json, where="test")
    assert solved.color_is_factory
    assert solved.T_color_depth.rigid().matrix == pytest.approx(factory.T_color_depth.matrix, abs=1e-9)
    assert all(entry.num_color_corners == 0 and entry.held_out_depth_mm is not None for entry in solved.placements)
    page = report.read_text()
    assert "transform from depth to colour are the factory" in page
    assert page.count("no corners: the target has no boards") == 1  # told once, above the pictures
    assert len(re.findall(r"<figcaption>k0, placement \d+ \(scan \d+; \d+ captures", page)) == 6


@pytest.mark.slow
def test_a_scan_of_another_size_is_refused(simulated, tmp_path, capsys):
    take = without_markers(simulated, tmp_path / "take")
    first, *others = sorted((take / "scans").glob("frame-*"))
    for path in others:
        path.unlink()
    mesh = load_mesh(first)
    save_mesh(first, replace(mesh, vertices=mesh.vertices * 0.2))
    assert calibrate(take, tmp_path / "out.json") == 4
    message = capsys.readouterr().err
    assert "sensor k0" in message
    assert "nothing of the scanned object's size" in message
    assert not list(tmp_path.glob("out*"))


def test_a_target_without_markers_takes_no_mesh(tmp_path, capsys):
    take = make_take(tmp_path / "take")
    vase = tmp_path / "vase.toml"
    vase.write_text('schema = "anim-real/geometry-target/1"\nname = "vase"\nmesh = "vase.ply"\n')
    (take / "take.toml").write_text(TAKE_TOML.format(kind="calibration", rig="virtual") + f'target = "{vase}"\n')
    assert calibrate(take, tmp_path / "out.json") == 2
    message = capsys.readouterr().err
    assert "vase.toml" in message
    assert "every placement's own scan is the object's shape; leave this key out" in message
