"""Packing: parts, resuming, locking, failures, and what must not be overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anim_real.errors import ConfigError, DataError, LockedError
from anim_real.files import sha256_file
from anim_real.shards.locking import dataset_lock
from anim_real.shards.pack import pack_dataset
from anim_real.shards.plan import content_key
from anim_real.shards.read import open_dataset

from .packing import Source, build_plan, only_shard, packed, take_plan, unit


def test_the_record_lists_hashes_and_counts_of_what_is_there(tmp_path: Path) -> None:
    folder = packed(tmp_path / "spheres")
    record = open_dataset(folder).record
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "shards"]
    for entry in record.shards:
        assert sha256_file(folder / entry.path) == entry.sha256
        assert (folder / entry.path).stat().st_size == entry.bytes
    assert record.splits == {"train": ("s02",), "val": (), "test": ("s01",)}
    test = record.counts["test"]
    assert (test.subjects, test.takes, test.frames, test.scans, test.points) == (1, 1, 6, 3, 9000)
    assert record.counts["val"].frames == 0
    assert [consent.licence for consent in record.consents] == ["CC0-1.0", "CC0-1.0"]


def test_two_builds_of_one_input_are_equal_byte_for_byte(tmp_path: Path) -> None:
    first, second = packed(tmp_path / "a"), packed(tmp_path / "b")
    for path in sorted(first.rglob("*.*")):
        if path.is_file():
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path.name


def test_large_takes_are_cut_into_parts_that_keep_scans_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anim_real.shards.pack._PART_BYTES", 2 * unit(0).num_bytes + 1000)
    pack_dataset(tmp_path / "d", build_plan(take_plan(num_scans=5)), Source())
    dataset = open_dataset(tmp_path / "d")
    assert [entry.scans for entry in dataset.record.shards] == [(0, 2), (4, 6), (8,)]
    assert [entry.part for entry in dataset.record.shards] == [0, 1, 2]
    assert dataset.samples("s01-walk/8", 0, 10).points.tolist() == unit(8).samples.points[:10].tolist()
    assert {dataset.frame(key).scan for key in dataset.frames()} == set(dataset.scans())


def test_a_stopped_build_goes_on_after_the_last_whole_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anim_real.shards.pack._PART_BYTES", 2 * unit(0).num_bytes + 1000)
    plan = build_plan(take_plan(num_scans=5), take_plan("s02-turn", num_scans=2))
    with pytest.raises(KeyboardInterrupt):
        pack_dataset(tmp_path / "d", plan, Source(broken=(("s01-walk", 1),), stop_after=5))
    assert not (tmp_path / "d" / "dataset.json").exists()
    (tmp_path / "d" / "shards" / ".x.1234.partial.h5").write_bytes(b"left by kill -9")
    again = Source(broken=(("s01-walk", 1),))
    record = pack_dataset(tmp_path / "d", plan, again)
    assert again.asked[0] == ("s01-walk", 3)  # scans 0, 1 (broken) and 2 are in the part that was finished
    whole = tmp_path / "whole"
    assert pack_dataset(whole, plan, Source(broken=(("s01-walk", 1),))) == record
    assert (whole / "dataset.json").read_bytes() == (tmp_path / "d" / "dataset.json").read_bytes()
    assert [failure.item for failure in record.failures] == ["scan 2"]
    assert not list((tmp_path / "d" / "shards").glob(".*"))


def test_a_finished_build_is_not_done_again(tmp_path: Path) -> None:
    folder = packed(tmp_path / "d")
    again = Source()
    pack_dataset(folder, build_plan(take_plan(), take_plan("s02-turn")), again)
    assert again.asked == []


def test_a_lost_or_damaged_shard_of_a_finished_build_is_built_again(tmp_path: Path) -> None:
    folder = packed(tmp_path / "d")
    before = {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}
    only_shard(folder).write_bytes(b"short")
    again = Source()
    pack_dataset(folder, build_plan(take_plan(), take_plan("s02-turn")), again)
    assert {take for take, _ in again.asked} == {"s01-walk"}
    assert {path.name: path.read_bytes() for path in (folder / "shards").iterdir()} == before


def test_other_inputs_or_options_do_not_overwrite(tmp_path: Path) -> None:
    folder = packed(tmp_path / "d")
    with pytest.raises(ConfigError, match="other inputs"):
        pack_dataset(folder, build_plan(take_plan(), key="other"), Source())
    with pytest.raises(KeyboardInterrupt):
        pack_dataset(tmp_path / "e", build_plan(take_plan()), Source(stop_after=0))
    with pytest.raises(ConfigError, match="other inputs"):
        pack_dataset(tmp_path / "e", build_plan(take_plan(), key="other"), Source())
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="not empty"):
        pack_dataset(foreign, build_plan(take_plan()), Source())
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]


def test_takes_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    first = replace(take_plan("c"), subject="a-b")
    clash = build_plan(first, replace(take_plan("b-c"), subject="a"))
    with pytest.raises(ConfigError, match="share a shard name"):
        pack_dataset(tmp_path / "d", clash, Source())


def test_failures_are_listed_and_the_rest_is_packed(tmp_path: Path) -> None:
    record = pack_dataset(tmp_path / "d", build_plan(take_plan()), Source(broken=(("s01-walk", 2),)))
    assert record.shards[0].scans == (0, 2)
    assert [(failure.take, failure.item, failure.reason) for failure in record.failures] == [
        ("s01-walk", "scan 4", "is broken")
    ]


def test_nothing_packed_is_an_error_and_no_data_set(tmp_path: Path) -> None:
    broken = tuple(("s01-walk", number) for number in range(3))
    with pytest.raises(DataError, match="not one scan could be packed"):
        pack_dataset(tmp_path / "d", build_plan(take_plan()), Source(broken=broken))
    assert not (tmp_path / "d" / "dataset.json").exists()


def test_a_second_process_is_locked_out_until_the_first_ends(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom anim_real.shards.locking import dataset_lock\n"
        "with dataset_lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError), dataset_lock(tmp_path):
            pass
    finally:
        holder.kill()  # no chance to clean up: the kernel must free the lock
        holder.wait()
    with dataset_lock(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()


def test_content_keys_ignore_the_order_of_keys_only() -> None:
    assert content_key({"a": 1, "b": [1, 2]}) == content_key(json.loads('{"b": [1, 2], "a": 1}'))
    assert content_key({"a": 1, "b": [2, 1]}) != content_key({"a": 1, "b": [1, 2]})
