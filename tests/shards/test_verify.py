"""Verification finds what was broken on purpose, each by its own sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anim_real.mesh import Mesh
from anim_real.samples import PointSamples
from anim_real.shards.pack import pack_dataset
from anim_real.shards.plan import Outcome
from anim_real.shards.verify import Verification, verify_dataset

from .packing import RADIUS_M, build_plan, only_shard, packed, take_plan, unit


def _inside_sphere(_: Mesh, points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points, axis=1) < RADIUS_M


def _verify(folder: Path) -> Verification:
    return verify_dataset(folder, is_inside=_inside_sphere, rng=np.random.default_rng(0))


def _built_with(folder: Path, **samples: np.ndarray) -> Path:
    one = unit(0)
    changed = PointSamples(**{**vars(one.samples), **samples})
    outcome = Outcome(take="s01-walk", unit=replace(one, samples=changed))
    pack_dataset(folder, build_plan(take_plan(num_scans=1)), lambda _: iter([outcome]))
    return folder


def test_a_sound_data_set_has_no_problem(tmp_path: Path) -> None:
    found = _verify(packed(tmp_path / "d"))
    assert found.problems == ()
    assert (found.num_shards, found.num_frames, found.num_scans) == (2, 12, 6)


def test_flipped_signs_are_found(tmp_path: Path) -> None:
    problems = _verify(_built_with(tmp_path / "d", sdf=-unit(0).samples.sdf)).problems
    assert len(problems) == 1
    assert "signs disagree" in problems[0]


def test_centimetres_instead_of_metres_are_found(tmp_path: Path) -> None:
    assert any(
        "are off" in problem for problem in _verify(_built_with(tmp_path / "d", sdf=100 * unit(0).samples.sdf)).problems
    )


def test_labels_one_and_a_half_cells_off_pass_and_three_do_not(tmp_path: Path) -> None:
    sdf = unit(0).samples.sdf
    assert _verify(_built_with(tmp_path / "a", sdf=sdf + np.float32(0.015))).problems == ()
    assert len(_verify(_built_with(tmp_path / "b", sdf=sdf + np.float32(0.03))).problems) == 1


def test_unknown_regions_are_found(tmp_path: Path) -> None:
    region = np.full(3000, 9, dtype=np.uint8)
    assert any("unknown region" in problem for problem in _verify(_built_with(tmp_path / "d", region=region)).problems)


def test_a_mesh_far_from_its_scan_is_found(tmp_path: Path) -> None:
    outcome = Outcome(take="s01-walk", unit=replace(unit(0), fit_m=0.006))  # cells are 10 mm
    pack_dataset(tmp_path / "d", build_plan(take_plan(num_scans=1)), lambda _: iter([outcome]))
    assert any("more than half a cell" in problem for problem in _verify(tmp_path / "d").problems)


def test_a_flipped_bit_is_found_and_the_other_shards_are_still_checked(tmp_path: Path) -> None:
    folder = packed(tmp_path / "d")
    path = only_shard(folder)
    image = bytearray(path.read_bytes())
    image[len(image) // 2] ^= 16
    path.write_bytes(image)
    found = _verify(folder)
    assert found.problems and all(path.name in problem for problem in found.problems)
    assert found.num_scans == 3


def test_a_changed_hash_is_found(tmp_path: Path) -> None:
    folder = packed(tmp_path / "d")
    _edit(folder, lambda record: record["shards"][0].update(sha256="0" * 64))
    assert any("sha256 differs" in problem for problem in _verify(folder).problems)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["counts"]["train"].update(frames=99), "counts of split train"),
        (lambda record: record.update(consents=record["consents"][:1]), "no licence entry"),
        (lambda record: record["splits"]["val"].append("s07"), "have no shard"),
    ],
)
def test_a_record_that_miscounts_is_found(tmp_path: Path, change: object, message: str) -> None:
    folder = packed(tmp_path / "d")
    _edit(folder, change)
    assert any(message in problem for problem in _verify(folder).problems)


def test_a_stray_file_is_found(tmp_path: Path) -> None:
    folder = packed(tmp_path / "d")
    (folder / "shards" / "extra.h5").write_bytes(b"x")
    assert _verify(folder).problems == ("shards/extra.h5 is not in dataset.json",)


def _edit(folder: Path, change: object) -> None:
    record = json.loads((folder / "dataset.json").read_text())
    change(record)  # type: ignore[operator]
    (folder / "dataset.json").write_text(json.dumps(record))
