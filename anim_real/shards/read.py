"""Reading data sets: one frame, one window of samples or one mesh at a time. Nothing a file says is trusted.

A shard may only hold the plain datasets of the schema: a link, an external or virtual dataset, an
object type, an unknown name or a size that does not fit is refused before any of it is read. Bytes
that changed on disk are met by the checksum of their chunk (``DataError`` naming shard and dataset).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError, NotFoundError
from anim_real.files import inside, sha256_file
from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import WatertightMesh
from anim_real.samples import PointSamples
from anim_real.shards.container import ShardFile, require_whole
from anim_real.shards.images import decode_jpeg, unpack_mask
from anim_real.shards.index import RECORD_NAME, FrameKey, load_record, scan_id
from anim_real.shards.schema import ORTHOGRAPHIC, PERSPECTIVE, DatasetRecord, Split

_MAX_OPEN_SHARDS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardFrame:
    """One RGB-D image and where it was taken from.

    Attributes:
        color: (S, S, 3) uint8 RGB.
        depth_mm: (S, S) uint16 millimetres along z, 0 = no return, aligned to the colour image.
        mask: (S, S) bool, the person.
        camera: pinhole or orthographic camera of all three images.
        T_color_scan: scan frame to camera frame, metres.
        scan: id of the scan that shows the same instant (see ``Dataset.mesh``).
        subject, take, sensor: pseudonym, take id, sensor id.
        kinect_index: capture in the recording.
        dt_us: capture minus scan on the scanner's clock; NaN if unknown.
        depth_coverage, depth_to_scan_mm, depth_bias_mm: quality numbers of the manifest; NaN if none.
    """

    key: FrameKey
    color: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    mask: NDArray[np.bool_]
    camera: Camera | OrthographicCamera
    T_color_scan: Rigid
    scan: str
    subject: str
    take: str
    sensor: str
    kinect_index: int
    dt_us: float
    depth_coverage: float
    depth_to_scan_mm: float
    depth_bias_mm: float


@dataclass(frozen=True, kw_only=True)
class ScanEvidence:
    """How well a stored mesh shows its raw scan.

    Attributes:
        cell_m: grid cell of the watertighting.
        fit_m: mean distance to the raw scan, holes excluded.
        invented_share: share of the surface that closed holes.
    """

    cell_m: float
    fit_m: float
    invented_share: float


class Dataset:
    """An opened data set. Shards are opened when first used, once per process; threads may share it.

    Attributes:
        folder: where it lies.
        record: content of dataset.json.
        sha256: of dataset.json; with the hashes inside it names every byte of the data set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record: DatasetRecord = load_record(folder)
        self.sha256 = sha256_file(folder / RECORD_NAME)
        self._scan_rows = {
            scan_id(entry.take, index): (shard, row)
            for shard, entry in enumerate(self.record.shards)
            for row, index in enumerate(entry.scans)
        }
        self._reset()

    def _reset(self) -> None:
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._lock = threading.RLock()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        """Move to another process without open files and locks."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_open", "_lock", "_process")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    @property
    def size(self) -> int:
        """Side of the square images in pixels."""
        return self.record.size

    def frames(self, split: Split | None = None) -> tuple[FrameKey, ...]:
        """Keys of every frame of a split (None: all), in the order of the record."""
        subjects = None if split is None else set(self.record.splits.get(split, ()))
        return tuple(
            FrameKey(subject=entry.subject, take=entry.take, shard=shard, row=row)
            for shard, entry in enumerate(self.record.shards)
            if subjects is None or entry.subject in subjects
            for row in range(entry.num_frames)
        )

    def scans(self, split: Split | None = None) -> tuple[str, ...]:
        """Ids of every scan of a split (None: all), in the order of the record."""
        subjects = None if split is None else set(self.record.splits.get(split, ()))
        return tuple(
            scan_id(entry.take, index)
            for entry in self.record.shards
            if subjects is None or entry.subject in subjects
            for index in entry.scans
        )

    def frame(self, key: FrameKey) -> ShardFrame:
        """Read one frame.

        Raises:
            NotFoundError: the key is not of this data set.
            DataError: the bytes changed, or do not fit the schema.
        """
        if not 0 <= key.shard < len(self.record.shards) or not 0 <= key.row < self.record.shards[key.shard].num_frames:
            raise NotFoundError(f"no frame {key.name}", where=self.folder)
        shard, row = self._shard(key.shard), key.row
        columns = shard.frame_table
        return ShardFrame(
            key=key,
            color=_color(shard, row),
            depth_mm=shard.read("frames/depth_mm", row),
            mask=unpack_mask(shard.read("frames/mask", row), self.size),
            camera=_camera(columns["projection"][row], columns["intrinsics"][row], self.size),
            T_color_scan=Rigid(dst="color", src="scan", matrix=columns["T_color_scan"][row]),
            scan=scan_id(key.take, int(shard.scan_index[columns["scan"][row]])),
            subject=key.subject,
            take=key.take,
            sensor=shard.header.sensors[int(columns["sensor"][row])],
            kinect_index=int(columns["kinect_index"][row]),
            dt_us=float(columns["dt_us"][row]),
            depth_coverage=float(columns["depth_coverage"][row]),
            depth_to_scan_mm=float(columns["depth_to_scan_mm"][row]),
            depth_bias_mm=float(columns["depth_bias_mm"][row]),
        )

    def num_samples(self, scan: str) -> int:
        """Points in the pool of a scan."""
        shard, row = self._find(scan)
        first, end = shard.offsets("samples/offset", row)
        return end - first

    def samples(self, scan: str, start: int = 0, count: int | None = None) -> PointSamples:
        """Read ``count`` points of a scan's pool from ``start``; scan frame, metres. The pool is stored shuffled.

        Raises:
            NotFoundError: no such scan.
            DataError: the window is empty or leaves the pool, or the bytes changed.
        """
        shard, row = self._find(scan)
        first, end = shard.offsets("samples/offset", row)
        count = end - first - start if count is None else count
        if start < 0 or count < 1 or first + start + count > end:
            problem = f"window {start}+{count} is outside the pool of {end - first} points"
            raise DataError(problem, where=f"{self.folder} {scan}")
        window = slice(first + start, first + start + count)
        return PointSamples(
            points=shard.read("samples/points", window),
            sdf=shard.read("samples/sdf", window),
            region=shard.read("samples/region", window),
            invented=shard.read("samples/invented", window) != 0,
            band=shard.read("samples/band", window),
        )

    def mesh(self, scan: str) -> WatertightMesh:
        """Read the watertight mesh of a scan; scan frame, metres; colours and regions where it had them."""
        shard, row = self._find(scan)
        vertices = slice(*shard.offsets("scans/vertex_offset", row))
        faces = slice(*shard.offsets("scans/face_offset", row))
        columns = {
            "vertices": shard.read("scans/vertices", vertices).astype(np.float64),
            "faces": shard.read("scans/faces", faces).astype(np.int64),
            "colors": shard.read("scans/colors", vertices) if shard.read("scans/has_colors", row) else None,
            "regions": shard.read("scans/regions", vertices) if shard.read("scans/has_regions", row) else None,
        }
        try:
            return WatertightMesh(**columns)
        except DataError as error:
            raise DataError(error.what, where=f"{shard.path} scan {scan}") from error

    def invented(self, scan: str) -> NDArray[np.bool_]:
        """(V,) bool: vertices of ``mesh(scan)`` that hole filling invented."""
        shard, row = self._find(scan)
        return shard.read("scans/invented", slice(*shard.offsets("scans/vertex_offset", row))) != 0

    def evidence(self, scan: str) -> ScanEvidence:
        """Read what watertighting reported about a scan."""
        shard, row = self._find(scan)
        cell_m, fit_m, share = (
            float(shard.read(f"scans/{name}", row)) for name in ("cell_m", "fit_m", "invented_share")
        )
        return ScanEvidence(cell_m=cell_m, fit_m=fit_m, invented_share=share)

    def close(self) -> None:
        """Close every shard this process opened; they open again when used."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _find(self, scan: str) -> tuple[ShardFile, int]:
        if scan not in self._scan_rows:
            raise NotFoundError(f"no scan {scan!r}", where=self.folder)
        shard, row = self._scan_rows[scan]
        return self._shard(shard), row

    def _shard(self, number: int) -> ShardFile:
        if self._process != os.getpid():  # forked: HDF5 handles of the parent must not be used here
            self._reset()
        with self._lock:
            if number not in self._open:
                entry = self.record.shards[number]
                self._open[number] = ShardFile(inside(self.folder, entry.path), entry, self.record)
                while len(self._open) > _MAX_OPEN_SHARDS:
                    self._open.popitem(last=False)  # closed when its last reader lets go of it
            self._open.move_to_end(number)
            return self._open[number]


def open_dataset(folder: Path) -> Dataset:
    """Open a data set that ``build-shards`` or ``render`` finished.

    Raises:
        NotFoundError: no such folder, no dataset.json in it, or a shard is missing.
        SchemaVersionError: written by another version.
        DataError: the record contradicts itself or leads out of its folder, or a shard has not its size.
    """
    dataset = Dataset(folder)
    for entry in dataset.record.shards:
        require_whole(folder / entry.path, entry)
    return dataset


def _color(shard: ShardFile, row: int) -> NDArray[np.uint8]:
    if shard.header.color == "raw":
        return shard.read("frames/color", row)
    blob = shard.read("frames/color_blob", slice(*shard.offsets("frames/color_offset", row)))
    return decode_jpeg(blob, shard.header.size, where=f"{shard.path} frames/color_blob row {row}")


def _camera(projection: int, intrinsics: NDArray[np.float64], size: int) -> Camera | OrthographicCamera:
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    if projection == PERSPECTIVE:
        return Camera(width=size, height=size, fx=fx, fy=fy, cx=cx, cy=cy)
    if projection == ORTHOGRAPHIC and fx == fy and fx > 0 and np.isfinite(intrinsics).all():
        return OrthographicCamera(width=size, height=size, px_per_m=fx, cx=cx, cy=cy)
    problem = f"no camera has projection {projection} and intrinsics {intrinsics.tolist()}"
    raise DataError(problem, where="frames/intrinsics")
