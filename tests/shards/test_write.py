"""A shard's bytes: exact, repeatable, plain."""

from __future__ import annotations

import errno
import os
import time
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

from anim_real.errors import DataError, NoSpaceError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.shards.schema import MAX_SHARD_BYTES, columns
from anim_real.shards.write import FrameRow, build_image, publish_image

from .packing import SIZE, frame, header, unit


def test_same_input_gives_same_bytes_a_second_later() -> None:
    first = build_image(header(), [unit(1), unit(4)])
    time.sleep(1.1)  # HDF5 time stamps have a resolution of one second
    assert build_image(header(), [unit(1), unit(4)]) == first
    assert build_image(header(), [unit(1), unit(5)]) != first


@pytest.mark.parametrize("color", ["jpeg", "raw"])
def test_every_dataset_is_plain_checked_and_chunked_by_row(color: str, tmp_path: Path) -> None:
    path = tmp_path / "shard.h5"
    path.write_bytes(build_image(header(color=color), [unit(1, is_raw=color == "raw")]))
    with h5py.File(path) as file:
        found = {f"{group}/{name}": file[group][name] for group in file for name in file[group]}
        assert found.keys() == columns(SIZE, color).keys()
        for name, dataset in found.items():
            assert dataset.fletcher32, name
            assert dataset.dtype.kind in "uif", name
            assert not dataset.is_virtual and not dataset.external, name
            assert dataset.dtype.kind != "f" or dataset.compression is None, name
            assert not dataset.id.get_create_plist().get_obj_track_times(), name
            assert isinstance(file.get(name, getlink=True), h5py.HardLink)
        per_frame = [found[name] for name, column in columns(SIZE, color).items() if column.domain == "frame"]
        assert per_frame and all(dataset.chunks == (1, *dataset.shape[1:]) for dataset in per_frame)
        depth = found["frames/depth_mm"]
        assert (depth.compression, depth.compression_opts, depth.shuffle) == ("gzip", 1, True)
        assert file.id.get_access_plist().get_libver_bounds()[1] >= h5py.h5f.LIBVER_V110


def test_content_is_what_went_in(tmp_path: Path) -> None:
    units = [unit(1), unit(4, num_frames=1)]
    path = tmp_path / "shard.h5"
    path.write_bytes(build_image(header(), units))
    frames = [row for one in units for row in one.frames]
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["frames/depth_mm"][:], [row.depth_mm for row in frames])
        np.testing.assert_array_equal(file["frames/scan"][:], [0, 0, 1])
        np.testing.assert_array_equal(file["frames/sensor"][:], [0, 1, 0])
        np.testing.assert_array_equal(file["scans/scan_index"][:], [1, 4])
        blob, offset = file["frames/color_blob"][:], file["frames/color_offset"][:]
        assert [blob[a:b].tobytes() for a, b in pairwise(offset)] == [row.color for row in frames]
        start, end = file["samples/offset"][1:3]
        np.testing.assert_array_equal(file["samples/points"][start:end], units[1].samples.points)
        np.testing.assert_array_equal(file["samples/invented"][start:end], units[1].samples.invented)


def test_mixed_image_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="one size"):
        build_image(header(size=64), [unit(1)])


def test_a_shard_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anim_real.shards.write.MAX_SHARD_BYTES", 1000)
    with pytest.raises(DataError, match="larger than 1000"):
        build_image(header(), [unit(1)])
    assert MAX_SHARD_BYTES == 256 * 1024 * 1024


@pytest.mark.parametrize(
    "change",
    [
        {"mask": np.zeros((SIZE, SIZE + 1), dtype=bool)},
        {"depth_mm": np.zeros((SIZE, SIZE), dtype=np.int32)},
        {"camera": Camera(width=SIZE + 1, height=SIZE, fx=1.0, fy=1.0, cx=0.0, cy=0.0)},
        {"camera": Camera(width=SIZE, height=SIZE, fx=1.0, fy=1.0, cx=0.0, cy=0.0, distortion=np.array([0.1]))},
        {"T_color_scan": Rigid.identity("scan", "color")},
    ],
)
def test_a_frame_that_contradicts_itself_is_refused(change: dict) -> None:
    good = frame(3)
    with pytest.raises(DataError):
        FrameRow(**{**{name: getattr(good, name) for name in good.__dataclass_fields__}, **change})


@pytest.mark.parametrize("call", ["posix_fallocate", "fsync"])
def test_a_full_disk_leaves_nothing_behind(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(NoSpaceError):
        publish_image(tmp_path / "shard.h5", b"0" * 1000)
    assert list(tmp_path.iterdir()) == []
