"""One shard file, opened distrustfully: structure checked first, every read bounded and named."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from anim_real.errors import DataError, NotFoundError, SchemaVersionError
from anim_real.shards.schema import (
    HEADER_ATTRIBUTE,
    SHARD_SCHEMA,
    Column,
    DatasetRecord,
    ShardEntry,
    ShardHeader,
    columns,
)

_FRAME_TABLE = (
    "projection",
    "intrinsics",
    "T_color_scan",
    "sensor",
    "kinect_index",
    "scan",
    "dt_us",
    "depth_coverage",
    "depth_to_scan_mm",
    "depth_bias_mm",
)
_COPY_AGAIN = "Copy it again, or build again"
_DO_NOT_USE = "Do not use this file"
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_MAX_HEADER_BYTES = 16 << 20
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py raises on broken metadata


def require_whole(path: Path, entry: ShardEntry | None) -> None:
    """Raise unless the file is there and has the size that the record gives."""
    if not path.is_file():
        raise NotFoundError("a shard of the data set is missing", where=path, fix=_COPY_AGAIN)
    if entry is not None and path.stat().st_size != entry.bytes:
        num_bytes = path.stat().st_size
        raise DataError(f"has {num_bytes} bytes, the record says {entry.bytes}", where=path, fix=_COPY_AGAIN)


class ShardFile:
    """An open shard whose structure has been checked against the schema and its entry in the record.

    Args:
        path: the file.
        entry: its line in ``dataset.json``; None (while building) checks the file against itself only.
        record: the record the entry is from.
    """

    def __init__(self, path: Path, entry: ShardEntry | None = None, record: DatasetRecord | None = None) -> None:
        self.path = path
        require_whole(path, entry)
        try:
            self._file = h5py.File(path, "r", rdcc_nbytes=1 << 20)
        except OSError as error:
            raise DataError(f"is not a readable HDF5 file ({error})", where=path, fix=_COPY_AGAIN) from error
        try:
            self.header = _read_header(self._file, path)
            self._datasets = _checked_datasets(self._file, path, self.header)
            self._check_rows()
            if entry is not None and record is not None:
                self._check_entry(entry, record)
            self.frame_table: dict[str, NDArray] = {
                name: self.read(f"frames/{name}", slice(None)) for name in _FRAME_TABLE
            }
            self.scan_index: NDArray[np.int64] = self.read("scans/scan_index", slice(None))
            self._check_frames()
        except _DAMAGE as error:
            self._file.close()
            raise DataError(f"is damaged ({error})", where=path, fix=_COPY_AGAIN) from error
        except BaseException:
            self._file.close()
            raise

    def read(self, name: str, rows: int | slice) -> NDArray:
        """Rows of a dataset, copied; a failed checksum raises ``DataError`` naming shard and dataset."""
        try:
            return self._datasets[name][rows]
        except (OSError, RuntimeError) as error:
            raise DataError(f"dataset {name} is corrupt ({error})", where=self.path, fix=_COPY_AGAIN) from error

    def num_rows(self, name: str) -> int:
        """Rows of a dataset."""
        return self._datasets[name].shape[0]

    def offsets(self, name: str, row: int) -> tuple[int, int]:
        """First and one past the last flat row that belong to item ``row``."""
        first, end = (int(value) for value in self._offset_tables[name][row : row + 2])
        return first, end

    def read_all(self) -> None:
        """Read every chunk of every dataset once, so that every checksum is tested."""
        for name, dataset in self._datasets.items():
            step = max(1, (8 << 20) // max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))))
            for start in range(0, dataset.shape[0], step):
                self.read(name, slice(start, start + step))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _check_rows(self) -> None:
        """Every dataset has the number of rows its domain says; offsets ascend and end where the flat arrays do."""
        table = columns(self.header.size, self.header.color)
        counts = {"frame": self.num_rows("frames/projection"), "scan": self.num_rows("scans/scan_index")}
        flat = {"vertex": "scans/vertex_offset", "face": "scans/face_offset", "point": "samples/offset"}
        if self.header.color == "jpeg":
            flat["color_byte"] = "frames/color_offset"
        self._offset_tables: dict[str, NDArray[np.int64]] = {}
        for domain, name in flat.items():
            expected = counts[table[name].domain.removesuffix("+1")] + 1
            if self.num_rows(name) != expected:
                raise DataError(f"{name} has {self.num_rows(name)} rows, not {expected}", where=self.path)
            offsets = self.read(name, slice(None))
            if offsets[0] != 0 or (np.diff(offsets) <= 0).any():
                raise DataError(f"{name} does not ascend from 0", where=self.path)
            self._offset_tables[name] = offsets
            counts[domain] = int(offsets[-1])
        for name, column in table.items():
            if not column.domain.endswith("+1") and self.num_rows(name) != counts[column.domain]:
                raise DataError(f"{name} has {self.num_rows(name)} rows, not {counts[column.domain]}", where=self.path)
            dataset = self._datasets[name]
            assert dataset.chunks is not None  # _dataset_problem refused it
            if dataset.id.get_num_chunks() != -(-len(dataset) // dataset.chunks[0]):
                raise DataError(
                    f"{name} lacks chunks: rows without bytes behind them", where=self.path, fix=_DO_NOT_USE
                )

    def _check_frames(self) -> None:
        num_scans, num_sensors = len(self.scan_index), len(self.header.sensors)
        scan, sensor = self.frame_table["scan"], self.frame_table["sensor"]
        if ((scan < 0) | (scan >= num_scans)).any() or (sensor >= num_sensors).any():
            raise DataError("a frame refers to a scan or sensor that is not there", where=self.path)

    def _check_entry(self, entry: ShardEntry, record: DatasetRecord) -> None:
        header = self.header
        found = (header.subject, header.take, header.part, header.input_key, header.size, header.color)
        listed = (entry.subject, entry.take, entry.part, entry.input_key, record.size, record.color)
        rows = tuple(self.num_rows(name) for name in ("frames/projection", "samples/sdf", "scans/vertices"))
        is_same = found == listed and rows == (entry.num_frames, entry.num_points, entry.num_vertices)
        if not is_same or tuple(self.read("scans/scan_index", slice(None)).tolist()) != entry.scans:
            raise DataError("is another shard than the record lists", where=self.path, fix="Copy the data set again")


def _read_header(file: h5py.File, path: Path) -> ShardHeader:
    if HEADER_ATTRIBUTE not in file.attrs:
        raise DataError(f"has no attribute {HEADER_ATTRIBUTE!r}: not a shard", where=path)
    attribute = file.attrs.get_id(HEADER_ATTRIBUTE)
    if attribute.dtype.kind != "S" or attribute.shape != () or attribute.dtype.itemsize > _MAX_HEADER_BYTES:
        raise DataError("its header is not a plain JSON string", where=path)
    try:
        table = json.loads(np.asarray(file.attrs[HEADER_ATTRIBUTE]).tobytes().rstrip(b"\0"))
        if not isinstance(table, dict) or table.get("schema") != SHARD_SCHEMA:
            found = table.get("schema") if isinstance(table, dict) else None
            raise SchemaVersionError(f"schema is {found!r}, this version reads {SHARD_SCHEMA!r}", where=path)
        return ShardHeader.model_validate(table)
    except (ValidationError, ValueError, RecursionError) as error:
        raise DataError(f"its header cannot be read ({error})", where=path) from error


def _checked_datasets(file: h5py.File, path: Path, header: ShardHeader) -> dict[str, h5py.Dataset]:
    table = columns(header.size, header.color)
    groups = sorted({name.partition("/")[0] for name in table})
    _check_members(file, groups, path, kind=h5py.Group)
    found = {}
    for group in groups:
        names = sorted(name.partition("/")[2] for name in table if name.startswith(f"{group}/"))
        members = file[group]
        assert isinstance(members, h5py.Group)
        _check_members(members, names, path, kind=h5py.Dataset)
        for name in names:
            column = table[f"{group}/{name}"]
            dataset = file[column.path]
            assert isinstance(dataset, h5py.Dataset)
            problem = _dataset_problem(dataset, column)
            if problem is not None:
                raise DataError(f"dataset {column.path} {problem}", where=path, fix=_DO_NOT_USE)
            found[column.path] = dataset
    return found


def _check_members(group: h5py.Group, expected: list[str], path: Path, *, kind: type) -> None:
    """Only hard links to objects of ``kind``, with exactly the expected names, each object linked once."""
    names = sorted(group)
    if names != expected:
        odd = sorted(set(names) ^ set(expected))
        raise DataError(f"has unknown or missing members {odd[:5]} in {group.name}", where=path, fix=_DO_NOT_USE)
    for name in names:
        member = f"{(group.name or '').rstrip('/')}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise DataError(f"{member} is a link", where=path, fix=_DO_NOT_USE)
        if group.get(name, getclass=True) is not kind:
            raise DataError(f"{member} is not a {kind.__name__}", where=path, fix=_DO_NOT_USE)


def _dataset_problem(dataset: h5py.Dataset, column: Column) -> str | None:
    """What makes a dataset other than the schema's; None if nothing."""
    creation = dataset.id.get_create_plist()
    if creation.get_layout() != h5py.h5d.CHUNKED or creation.get_external_count():
        return "is not chunked inside the file (virtual, external or compact)"
    if dataset.dtype != np.dtype(column.dtype):
        return f"has type {dataset.dtype}, not {column.dtype}"
    if dataset.shape[1:] != column.shape or len(dataset.shape) != len(column.shape) + 1:
        return f"has rows of shape {dataset.shape[1:]}, not {column.shape}"
    if dataset.chunks is None or dataset.chunks[1:] != column.shape or dataset.chunks[0] > column.chunk[0]:
        return f"has chunks of {dataset.chunks}, at most {column.chunk} are allowed"
    filters = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())}
    if h5py.h5z.FILTER_FLETCHER32 not in filters or not filters <= _FILTERS:
        return "has no checksum, or a filter that is not gzip, shuffle or fletcher32"
    return None
