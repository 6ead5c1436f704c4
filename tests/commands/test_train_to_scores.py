"""train, finetune, reconstruct and evaluate through the command line, on a rendered data set; and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data.people import person_mesh

from anim_real.cli import main
from anim_real.mesh import load_mesh, save_mesh

from .tiny_release import CENTER_M, write_release

SMALL = [
    "--set", "network.image_size=64", "--set", "data.sampling.candidates=600", "--set", "data.sampling.base=200",
    "--set", "data.sampling.semantic=50", "--set", "data.depth_points=100", "--set", "schedule.batch_size=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two views and weights of a few steps."""
    root = tmp_path_factory.mktemp("spine")
    save_mesh(root / "person.ply", person_mesh())
    size = ["--size", "96", "--views", "2", "--resolution", "48", "--points", "3000", "--workers", "1"]
    assert main(["render", str(root / "person.ply"), "-o", str(root / "data"), *size]) == 0
    steps = ["--set", "schedule.steps=16"]
    assert main(["train", "anim_tiny", "--data", str(root / "data"), "-o", str(root / "run"), *SMALL, *steps]) == 0
    return root


def test_the_spine_runs_and_every_output_is_read_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, weights = str(folder / "data"), str(folder / "run" / "weights")
    tuned = folder / "tuned"
    changes = [change for change in SMALL if "network" not in change][1:]
    arguments = ["finetune", "finetune_tiny", "--weights", weights, "--data", data, "-o", str(tuned), *changes]
    assert main([*arguments, "--set", "schedule.steps=2"]) == 0
    assert json.loads((tuned / "run.json").read_text())["weights_sha256"]
    mesh = folder / "mesh.ply"
    frame = ["--data", data, "--split", "train", "--frame", "0", "--resolution", "24"]
    assert main(["reconstruct", "--weights", weights, *frame, "-o", str(mesh)]) == 0
    extent = load_mesh(mesh).vertices.max(0) - load_mesh(mesh).vertices.min(0)
    assert 0.5 < extent[1] < 3.0  # metres, y up
    scores = folder / "scores.json"
    split = ["--data", data, "--split", "train", "--limit", "1"]
    kept = ["--keep-meshes", str(folder / "kept"), "--resolution", "24"]
    assert main(["evaluate", "--weights", weights, *split, *kept, "-o", str(scores)]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--meshes", str(folder / "kept"), *split, "-o", str(folder / "again.json"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    first, again = json.loads(scores.read_text()), json.loads((folder / "again.json").read_text())
    assert shown["summary"] == again["summary"]
    assert again["summary"]["cd_cm"]["mean"] == pytest.approx(first["summary"]["cd_cm"]["mean"], abs=0.02)
    assert (first["metrics"], first["seed"], len(first["frames"])) == ("pifu", 0, 1)


def test_a_capture_of_a_take_becomes_a_mesh_in_the_scans_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release, mesh = folder / "release", folder / "from-take.ply"
    write_release(release, num_scans=1)
    take = ["--take", str(release / "takes" / "s02-sway"), "--calibration", str(release / "calibration.json")]
    arguments = [
        "reconstruct",
        "--weights",
        str(folder / "run" / "weights"),
        *take,
        "--rig",
        "virtual",
        "--size",
        "128",
    ]
    assert main([*arguments, "--index", "0", "--resolution", "24", "-o", str(mesh)]) == 0
    made = load_mesh(mesh).vertices
    # few steps of training: only that most of it stands where the person stands, in metres, y up
    assert np.abs(np.median(made, axis=0) - (0.0, CENTER_M, 0.0)).max() < 0.4
    capsys.readouterr()
    assert main([*arguments, "--index", "9", "-o", str(folder / "none.ply")]) == 10
    assert "no capture 9; there are 2" in capsys.readouterr().err
    assert not (folder / "none.ply").exists()


def test_the_truth_as_meshes_scores_perfectly(folder: Path) -> None:
    from anim_real.shards.read import open_dataset

    dataset = open_dataset(folder / "data")
    key = dataset.frames("train")[0]
    meshes = folder / "truth"
    save_mesh(meshes / f"{key.name.replace('/', '_')}.ply", dataset.mesh(dataset.frame(key).scan))
    arguments = ["--meshes", str(meshes), "--data", str(folder / "data"), "--split", "train"]
    output = folder / "truth.json"
    assert main(["evaluate", *arguments, "-o", str(output)]) == 3  # the second frame has no mesh: listed
    record = json.loads(output.read_text())
    assert record["summary"]["cd_cm"]["mean"] < 0.01
    assert record["summary"]["iou"]["mean"] == 1.0
    assert len(record["failures"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "nothing", "--data", "{data}", "-o", "{new}"], 10, "anim_tiny"),
        (["train", "anim_tiny", "--data", "{nowhere}", "-o", "{new}"], 10, "data set"),
        (["train", "anim_tiny", "--data", "{data}", "-o", "{new}", "--set", "optimizer.lrr=1"], 2, "lrr"),
        (["train", "finetune_tiny", "--data", "{data}", "-o", "{new}"], 2, "preset"),
        (["train", "anim_tiny", "--data", "{data}", "-o", "{new}", "--set", "data.split=test"], 4, "no frames"),
        (["train", "anim_tiny", "--data", "{data}", "-o", "{new}", "--set", "run.device=abacus"], 2, "abacus"),
        (["finetune", "finetune_tiny", "--weights", "{nowhere}", "--data", "{data}", "-o", "{new}"], 10, "weights"),
        (["finetune", "finetune_tiny", "--weights", "{data}", "--data", "{data}", "-o", "{new}"], 10, "config.json"),
        (["reconstruct", "--weights", "{weights}", "-o", "{new}.ply"], 2, "--data"),
        (["reconstruct", "--weights", "{weights}", "--data", "{data}", "-o", "{new}.stl"], 2, "stl"),
        (["reconstruct", "--weights", "{weights}", "--data", "{data}", "--frame", "x", "-o", "{new}.ply"], 10, "frame"),
        (["reconstruct", "--weights", "{weights}", "--take", "{data}", "-o", "{new}.ply"], 2, "calibration"),
        (["evaluate", "--data", "{data}", "-o", "{new}.json"], 2, "--weights"),
        (["evaluate", "--weights", "{weights}", "--data", "{data}", "-o", "{new}.json"], 4, "no frames"),
        (["evaluate", "--meshes", "{nowhere}", "--data", "{data}", "--split=train", "-o", "{new}.json"], 10, "folder"),
        (["evaluate", "--weights", "{weights}", "--data", "{data}", "--metrics", "x", "-o", "{new}.json"], 2, "icon"),
        (["evaluate", "--weights", "{weights}", "--data", "{data}", "-o", "{data}/dataset.json"], 2, "exists"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_clear_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    places = {
        "data": folder / "data",
        "weights": folder / "run" / "weights",
        "nowhere": tmp_path / "nowhere",
        "new": tmp_path / "new",
    }
    assert main([part.format(**places) for part in arguments]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())
