"""Reading: exact, by row and window, in other processes; damaged or hostile files are refused by name."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from anim_real.errors import DataError, NotFoundError, SchemaVersionError
from anim_real.files import sha256_file
from anim_real.geometry.cameras import OrthographicCamera
from anim_real.shards.read import Dataset, open_dataset
from anim_real.shards.schema import DatasetRecord
from anim_real.shards.write import build_image

from .packing import RADIUS_M, SIZE, color_image, frame, header, only_shard, packed, unit


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("data") / "spheres")


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


def test_frames_come_back_exactly(built: Path) -> None:
    dataset = open_dataset(built)
    keys = dataset.frames()
    assert len(keys) == len(set(keys)) == 12
    assert len(dataset.frames("train")) == len(dataset.frames("test")) == 6
    assert dataset.frames("val") == ()
    assert {key.subject for key in dataset.frames("test")} == {"s01"}
    found, expected = dataset.frame(keys[3]), frame(21)  # second scan of the take (index 2), its second frame
    np.testing.assert_array_equal(found.depth_mm, expected.depth_mm)
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert np.abs(found.color.astype(int) - color_image(21)).max() <= 6  # grey levels: JPEG q95 on a smooth picture
    np.testing.assert_array_equal(found.T_color_scan.matrix, expected.T_color_scan.matrix)
    assert (found.T_color_scan.dst, found.T_color_scan.src) == ("color", "scan")
    assert found.camera == expected.camera or vars(found.camera).keys() == vars(expected.camera).keys()
    np.testing.assert_array_equal(found.camera.matrix, expected.camera.matrix)
    assert (found.scan, found.subject, found.take, found.sensor) == ("s01-walk/2", "s01", "s01-walk", "k1")
    assert (found.kinect_index, found.dt_us, found.depth_coverage) == (121, 20.5, 0.9)
    assert np.isnan(found.depth_bias_mm)


def test_windows_of_samples_and_meshes_come_back_exactly(built: Path) -> None:
    dataset = open_dataset(built)
    expected = unit(4)
    assert dataset.scans("test") == ("s01-walk/0", "s01-walk/2", "s01-walk/4")
    assert dataset.num_samples("s01-walk/4") == 3000
    window = dataset.samples("s01-walk/4", 2900, 100)
    for name in ("points", "sdf", "region", "invented", "band"):
        np.testing.assert_array_equal(getattr(window, name), getattr(expected.samples, name)[2900:])
        assert getattr(window, name).dtype == getattr(expected.samples, name).dtype
    mesh = dataset.mesh("s01-walk/4")
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), RADIUS_M, atol=1e-7)  # float32
    np.testing.assert_array_equal(mesh.faces, expected.mesh.faces)
    assert mesh.colors is None and mesh.regions is None
    np.testing.assert_array_equal(dataset.invented("s01-walk/4"), expected.invented)
    assert dataset.evidence("s01-walk/4").cell_m == 0.01


@pytest.mark.parametrize(("start", "count"), [(-1, 10), (0, 0), (2999, 2), (3000, None), (0, 3001)])
def test_a_window_outside_the_pool_is_refused(built: Path, start: int, count: int | None) -> None:
    with pytest.raises(DataError, match="outside the pool"):
        open_dataset(built).samples("s01-walk/2", start, count)


def test_raw_colour_and_orthographic_cameras(tmp_path: Path) -> None:
    one = unit(7, num_frames=1, is_raw=True, is_orthographic=True)
    record = _single(tmp_path, build_image(header(color="raw"), [one]), color="raw")
    found = open_dataset(record).frame(open_dataset(record).frames()[0])
    np.testing.assert_array_equal(found.color, one.frames[0].color)
    assert isinstance(found.camera, OrthographicCamera)
    assert (found.camera.px_per_m, found.camera.cx) == (20.0, 23.5)


def test_a_data_set_moves_to_other_processes_and_threads(built: Path) -> None:
    dataset = open_dataset(built)
    keys = dataset.frames()
    dataset.frame(keys[0])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        np.testing.assert_array_equal(process.submit(_depth, dataset, 5).result(), dataset.frame(keys[5]).depth_mm)
    with ThreadPoolExecutor(4) as pool:
        depths = list(pool.map(lambda key: dataset.frame(key).depth_mm, keys * 5))
    for key, depth in zip(keys * 5, depths, strict=True):
        np.testing.assert_array_equal(depth, dataset.frame(key).depth_mm)


def _depth(dataset: Dataset, number: int) -> np.ndarray:
    return dataset.frame(dataset.frames()[number]).depth_mm


def test_what_does_not_exist_is_named(built: Path, tmp_path: Path) -> None:
    dataset = open_dataset(built)
    with pytest.raises(NotFoundError, match="s09/1"):
        dataset.mesh("s09/1")
    with pytest.raises(NotFoundError, match="no such data set"):
        open_dataset(tmp_path / "nothing")
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(NotFoundError, match="not finished"):
        open_dataset(tmp_path / "unfinished")


@pytest.mark.parametrize("name", ["samples/sdf", "frames/depth_mm", "frames/color_blob", "scans/vertices"])
def test_every_flipped_bit_is_met_where_it_is_read(copy: Path, name: str) -> None:
    path = only_shard(copy)
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(0)
    image = bytearray(path.read_bytes())
    image[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(image)
    dataset = open_dataset(copy)
    with pytest.raises(DataError, match=f"{path.name}: dataset {name} is corrupt"):
        dataset.samples("s01-walk/0")
        dataset.mesh("s01-walk/0")
        dataset.frame(dataset.frames("test")[0])


def test_a_truncated_or_missing_shard_is_named(copy: Path) -> None:
    path = only_shard(copy)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="bytes, the record says"):
        open_dataset(copy).mesh("s01-walk/0")
    path.unlink()
    with pytest.raises(NotFoundError, match="is missing"):
        open_dataset(copy).mesh("s01-walk/0")


def test_a_swapped_shard_is_noticed(copy: Path) -> None:
    first, second = sorted((copy / "shards").iterdir())
    _edit_record(copy, lambda record: record["shards"][0].update(bytes=second.stat().st_size))
    shutil.copy(second, first)
    with pytest.raises(DataError, match="another shard"):
        open_dataset(copy).mesh("s01-walk/0")


def _soft_link(file: h5py.File) -> None:
    file["samples/extra"] = h5py.SoftLink("/samples/sdf")


def _external_link(file: h5py.File) -> None:
    del file["samples/sdf"]
    file["samples/sdf"] = h5py.ExternalLink("/etc/passwd", "/x")


def _virtual(file: h5py.File) -> None:
    del file["samples/sdf"]
    layout = h5py.VirtualLayout(shape=(9000,), dtype="<f4")
    layout[:] = h5py.VirtualSource("/etc/hosts", "x", shape=(9000,))
    file.create_virtual_dataset("samples/sdf", layout)


def _external_storage(file: h5py.File) -> None:
    del file["samples/sdf"]
    file.create_dataset("samples/sdf", shape=(9000,), dtype="<f4", external=[("/etc/passwd", 0, 36000)])


def _object_type(file: h5py.File) -> None:
    del file["samples/sdf"]
    file.create_dataset("samples/sdf", shape=(9000,), dtype=h5py.string_dtype(), chunks=(1000,))


def _no_checksum(file: h5py.File) -> None:
    values = file["samples/sdf"][:]
    del file["samples/sdf"]
    file.create_dataset("samples/sdf", data=values, chunks=(1000,))


def _huge(file: h5py.File) -> None:
    del file["samples/sdf"]
    file.create_dataset("samples/sdf", shape=(1 << 40,), dtype="<f4", chunks=(8192,), fletcher32=True)


def _sparse(file: h5py.File) -> None:
    """Terabytes that need no bytes in the file: every table agrees, nothing is stored."""
    file["samples/offset"][-1] = 1 << 40
    for name in ("points", "sdf", "region", "invented", "band"):
        old = file[f"samples/{name}"]
        shape, dtype = (1 << 40, *old.shape[1:]), old.dtype
        del file[f"samples/{name}"]
        chunks = (8192, *shape[1:])
        file.create_dataset(f"samples/{name}", shape=shape, dtype=dtype, chunks=chunks, fletcher32=True)


def _wild_offset(file: h5py.File) -> None:
    file["samples/offset"][1] = -5


def _wild_scan(file: h5py.File) -> None:
    file["frames/scan"][0] = 99


def _foreign_schema(file: h5py.File) -> None:
    table = json.loads(bytes(file.attrs["anim_real"]))
    file.attrs["anim_real"] = np.bytes_(json.dumps({**table, "schema": "anim-real/shard/9"}))


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (_soft_link, "unknown or missing members"),
        (_external_link, "is a link"),
        (_virtual, "virtual, external"),
        (_external_storage, "virtual, external"),
        (_object_type, "has type"),
        (_no_checksum, "no checksum"),
        (_huge, "rows, not"),
        (_sparse, "lacks chunks"),
        (_wild_offset, "does not ascend"),
        (_wild_scan, "not there"),
    ],
)
def test_hostile_files_are_refused_before_they_are_read(
    copy: Path, attack: Callable[[h5py.File], None], message: str
) -> None:
    path = only_shard(copy)
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        attack(file)
    _edit_record(copy, lambda record: record["shards"][0].update(bytes=path.stat().st_size))
    with pytest.raises(DataError, match=message):
        open_dataset(copy).mesh("s01-walk/0")


def test_a_foreign_schema_has_its_own_error(copy: Path) -> None:
    path = only_shard(copy)
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        _foreign_schema(file)
    _edit_record(copy, lambda record: record["shards"][0].update(bytes=path.stat().st_size))
    with pytest.raises(SchemaVersionError):
        open_dataset(copy).mesh("s01-walk/0")
    _edit_record(copy, lambda record: record.update(schema="anim-real/dataset/2"))
    with pytest.raises(SchemaVersionError):
        open_dataset(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "../../etc/passwd"}, "not shards/<name>.h5"),
        ({"path": "/etc/passwd"}, "not shards/<name>.h5"),
        ({"path": "shards/../../x.h5"}, "not shards/<name>.h5"),
        ({"bytes": 1 << 40}, "more than"),
        ({"subject": "s09"}, "no split"),
        ({"scans": [0, 0, 4]}, "repeats a scan"),
        ({"sha256": "xyz"}, "sha256"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_record_that_lies_is_refused(copy: Path, change: dict, message: str) -> None:
    _edit_record(copy, lambda record: record["shards"][0].update(change))
    with pytest.raises(DataError, match=message):
        open_dataset(copy)


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(copy: Path, tmp_path: Path) -> None:
    path = only_shard(copy)
    outside = shutil.move(path, tmp_path / "outside.h5")
    path.symlink_to(outside)
    with pytest.raises(DataError, match="leaves its folder"):
        open_dataset(copy)


def test_a_subject_in_two_splits_is_refused(copy: Path) -> None:
    _edit_record(copy, lambda record: record["splits"].update(val=["s01"]))
    with pytest.raises(DataError, match="more than one split"):
        open_dataset(copy)


def test_a_jpeg_of_another_size_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    from anim_real.shards.images import encode_jpeg

    one = unit(1, num_frames=1)
    large = replace(one.frames[0], color=encode_jpeg(np.zeros((SIZE, 2 * SIZE, 3), dtype=np.uint8)))
    for payload, message in ((large.color, f"JPEG is {2 * SIZE}x{SIZE}"), (b"no jpeg at all", "is not a JPEG")):
        folder = tmp_path / message[:6].strip()
        frames = (replace(large, color=payload),)
        dataset = open_dataset(_single(folder, build_image(header(), [replace(one, frames=frames)])))
        with pytest.raises(DataError, match=message):
            dataset.frame(dataset.frames()[0])


def _single(folder: Path, image: bytes, color: str = "jpeg") -> Path:
    """A data set of one shard, its record written by hand."""
    (folder / "shards").mkdir(parents=True)
    path = folder / "shards" / "s01-s01-walk-0.h5"
    path.write_bytes(image)
    with h5py.File(path) as file:
        scans = file["scans/scan_index"][:].tolist()
        counts = len(file["frames/scan"]), len(file["samples/sdf"]), len(file["scans/vertices"])
    entry = {
        "path": "shards/s01-s01-walk-0.h5",
        "sha256": sha256_file(path),
        "bytes": len(image),
        "subject": "s01",
        "take": "s01-walk",
        "part": 0,
        "input_key": "key",
        "scans": scans,
        "num_frames": counts[0],
        "num_points": counts[1],
        "num_vertices": counts[2],
    }
    record = DatasetRecord(
        name="one",
        kind="pairs",
        size=SIZE,
        color=color,  # type: ignore[arg-type]
        splits={"train": ("s01",)},
        counts={},
        shards=(entry,),  # type: ignore[arg-type]
        consents=(),
        failures=(),
        build_key="build",
        provenance={},
        tool_version="0",
    )
    (folder / "dataset.json").write_text(record.model_dump_json(by_alias=True))
    return folder


def _edit_record(folder: Path, change: Callable[[dict], object]) -> None:
    record = json.loads((folder / "dataset.json").read_text())
    change(record)
    (folder / "dataset.json").write_text(json.dumps(record))
