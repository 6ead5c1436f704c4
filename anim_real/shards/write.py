"""Writing one shard: built in memory, then published whole. Equal input gives equal bytes.

A shard never exists half-written under its name: HDF5 writes into memory only (writing to a full
disk through HDF5 can crash the process), and the finished image goes to a temporary file in the same
folder whose space is reserved first, then it is flushed and renamed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.files import atomic_path
from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import WatertightMesh
from anim_real.samples import PointSamples
from anim_real.shards.images import pack_mask
from anim_real.shards.schema import (
    HEADER_ATTRIBUTE,
    MAX_SHARD_BYTES,
    ORTHOGRAPHIC,
    PERSPECTIVE,
    Column,
    ShardHeader,
    columns,
)

_GZIP = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameRow:
    """One row of ``/frames``.

    Attributes:
        color: JPEG bytes, or (S, S, 3) uint8 RGB where the data set stores raw colour.
        depth_mm: (S, S) uint16 millimetres along z, 0 = none.
        mask: (S, S) bool.
        camera: of all three images; no lens distortion.
        T_color_scan: scan frame to camera frame, metres.
        sensor: sensor id.
        kinect_index, kinect_time_us: capture and its device time; -1 where there was none (rendered frames).
        scan_time_us: scanner time of the scan; -1 where there was none.
        dt_us, depth_coverage, depth_to_scan_mm, depth_bias_mm: of the manifest; NaN where there is none.
    """

    color: bytes | NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    mask: NDArray[np.bool_]
    camera: Camera | OrthographicCamera
    T_color_scan: Rigid
    sensor: str
    kinect_index: int = -1
    kinect_time_us: int = -1
    scan_time_us: int = -1
    dt_us: float = np.nan
    depth_coverage: float = np.nan
    depth_to_scan_mm: float = np.nan
    depth_bias_mm: float = np.nan

    def __post_init__(self) -> None:
        size = self.depth_mm.shape[0]
        if self.depth_mm.shape != (size, size) or self.depth_mm.dtype != np.uint16 or self.mask.shape != (size, size):
            found = f"{self.depth_mm.shape} {self.depth_mm.dtype} and {self.mask.shape}"
            raise DataError(f"depth (uint16) and mask must be square images of one size, got {found}")
        if (self.camera.width, self.camera.height) != (size, size):
            raise DataError(f"camera is {self.camera.width}x{self.camera.height}, the images are {size}x{size}")
        if isinstance(self.camera, Camera) and self.camera.distortion.any():
            raise DataError("a stored frame must be free of lens distortion")
        if (self.T_color_scan.dst, self.T_color_scan.src) != ("color", "scan"):
            raise DataError(f"needs T_color_scan, got T_{self.T_color_scan.dst}_{self.T_color_scan.src}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanUnit:
    """A scan with its samples and every frame that shows it: always packed into the same shard.

    Attributes:
        scan_index: frame index of the scanner, unique in its take.
        mesh: scan frame, metres.
        invented: (V,) bool, vertices that hole filling invented.
        samples: scan frame, metres, shuffled.
        frames: its frames; may be empty.
        cell_m: grid cell of the watertighting.
        fit_m: mean distance of the mesh to the raw scan, holes excluded.
        invented_share: share of the surface that closed holes.
    """

    scan_index: int
    mesh: WatertightMesh
    invented: NDArray[np.bool_]
    samples: PointSamples
    frames: tuple[FrameRow, ...]
    cell_m: float
    fit_m: float
    invented_share: float

    def __post_init__(self) -> None:
        if self.invented.shape != (len(self.mesh.vertices),):
            raise DataError(f"invented has shape {self.invented.shape} for {len(self.mesh.vertices)} vertices")

    @property
    def num_bytes(self) -> int:
        """Upper bound of what the unit takes in a shard (images uncompressed)."""
        num_bytes = 18 * len(self.mesh.vertices) + 12 * len(self.mesh.faces) + 19 * len(self.samples.sdf)
        for frame in self.frames:
            color = len(frame.color) if isinstance(frame.color, bytes) else frame.color.nbytes
            num_bytes += color + frame.depth_mm.nbytes + frame.mask.nbytes // 8 + 1024
        return num_bytes


def build_image(header: ShardHeader, units: list[ScanUnit]) -> bytes:
    """Return the bytes of a shard.

    Raises:
        DataError: an image is of another size than the header says, or the shard is too large.
    """
    tables = {**_frame_tables(header, units), **_scan_tables(units), **_sample_tables(units)}
    expected = columns(header.size, header.color)
    assert tables.keys() == expected.keys(), sorted(tables.keys() ^ expected.keys())
    file = h5py.File.in_memory(libver=("v110", "v110"), track_times=False)
    try:
        payload = header.model_dump_json(by_alias=True).encode()
        file.attrs.create(HEADER_ATTRIBUTE, np.bytes_(payload))
        for group in sorted({path.partition("/")[0] for path in expected}):
            file.create_group(group, track_times=False)
        for path, column in sorted(expected.items()):
            _write_column(file, column, tables[path])
        file.flush()
        image = file.id.get_file_image()
    finally:
        file.close()
    if len(image) > MAX_SHARD_BYTES:
        problem = f"a shard of {len(image)} bytes is larger than {MAX_SHARD_BYTES}"
        raise DataError(problem, fix="Use fewer points or a lower resolution")
    return image


def publish_image(path: Path, image: bytes) -> None:
    """Write ``image`` as ``path``: reserve, write, flush, rename, flush the folder.

    Raises:
        NoSpaceError: the disk is full; nothing is left behind.
    """
    with atomic_path(path) as partial, partial.open("rb+") as stream:
        os.posix_fallocate(stream.fileno(), 0, len(image))
        stream.write(image)


def _write_column(file: h5py.File, column: Column, rows: NDArray) -> None:
    if rows.shape[1:] != column.shape:
        problem = f"{column.path} has rows of shape {rows.shape[1:]}, not {column.shape}"
        raise DataError(problem, fix="All images of a data set have one size")
    filters = _GZIP if column.is_compressed else {}
    file.create_dataset(
        column.path,
        data=rows.astype(column.dtype, copy=False),
        chunks=_fitting_chunk(column, len(rows)),
        maxshape=rows.shape,
        fletcher32=True,
        track_times=False,
        fillvalue=0,
        **filters,
    )


def _fitting_chunk(column: Column, num_rows: int) -> tuple[int, ...]:
    """The schema's chunk, no longer than the table (HDF5 pads the last chunk on disk)."""
    return (max(1, min(column.chunk[0], num_rows)), *column.shape)


def _frame_tables(header: ShardHeader, units: list[ScanUnit]) -> dict[str, NDArray]:
    frames = [(row, frame) for row, unit in enumerate(units) for frame in unit.frames]
    size = header.size
    tables = _color_tables(header, [frame for _, frame in frames])
    tables["frames/depth_mm"] = _stack([frame.depth_mm for _, frame in frames], (size, size), np.uint16)
    tables["frames/mask"] = _stack([pack_mask(frame.mask) for _, frame in frames], (size, (size + 7) // 8), np.uint8)
    cameras = [_camera_row(frame.camera) for _, frame in frames]
    tables["frames/projection"] = np.array([projection for projection, _ in cameras], dtype=np.uint8)
    tables["frames/intrinsics"] = _stack([np.array(numbers) for _, numbers in cameras], (4,), np.float64)
    tables["frames/T_color_scan"] = _stack([frame.T_color_scan.matrix for _, frame in frames], (4, 4), np.float64)
    tables["frames/sensor"] = np.array([header.sensors.index(frame.sensor) for _, frame in frames], dtype=np.uint8)
    tables["frames/scan"] = np.array([row for row, _ in frames], dtype=np.int64)
    for name in ("kinect_index", "kinect_time_us", "scan_time_us"):
        tables[f"frames/{name}"] = np.array([getattr(frame, name) for _, frame in frames], dtype=np.int64)
    for name in ("dt_us", "depth_coverage", "depth_to_scan_mm", "depth_bias_mm"):
        tables[f"frames/{name}"] = np.array([getattr(frame, name) for _, frame in frames], dtype=np.float64)
    return tables


def _color_tables(header: ShardHeader, frames: list[FrameRow]) -> dict[str, NDArray]:
    if header.color == "raw":
        images = [np.asarray(frame.color) for frame in frames]
        return {"frames/color": _stack(images, (header.size, header.size, 3), np.uint8)}
    payloads = [bytes(frame.color) for frame in frames]
    return {
        "frames/color_blob": np.frombuffer(b"".join(payloads), dtype=np.uint8),
        "frames/color_offset": _offsets([len(payload) for payload in payloads]),
    }


def _camera_row(camera: Camera | OrthographicCamera) -> tuple[int, tuple[float, float, float, float]]:
    if isinstance(camera, Camera):
        return PERSPECTIVE, (camera.fx, camera.fy, camera.cx, camera.cy)
    return ORTHOGRAPHIC, (camera.px_per_m, camera.px_per_m, camera.cx, camera.cy)


def _scan_tables(units: list[ScanUnit]) -> dict[str, NDArray]:
    meshes = [unit.mesh for unit in units]
    counts = [len(mesh.vertices) for mesh in meshes]
    colors = [np.zeros((len(mesh.vertices), 3), np.uint8) if mesh.colors is None else mesh.colors for mesh in meshes]
    regions = [np.zeros(len(mesh.vertices), np.uint8) if mesh.regions is None else mesh.regions for mesh in meshes]
    evidence = {
        f"scans/{name}": np.array([getattr(unit, name) for unit in units], dtype=np.float64)
        for name in ("cell_m", "fit_m", "invented_share")
    }
    return {
        **evidence,
        "scans/scan_index": np.array([unit.scan_index for unit in units], dtype=np.int64),
        "scans/has_colors": np.array([mesh.colors is not None for mesh in meshes], dtype=np.uint8),
        "scans/has_regions": np.array([mesh.regions is not None for mesh in meshes], dtype=np.uint8),
        "scans/vertex_offset": _offsets(counts),
        "scans/face_offset": _offsets([len(mesh.faces) for mesh in meshes]),
        "scans/vertices": np.concatenate([mesh.vertices for mesh in meshes]),
        "scans/colors": np.concatenate(colors),
        "scans/regions": np.concatenate(regions),
        "scans/invented": np.concatenate([unit.invented for unit in units]),
        "scans/faces": np.concatenate([mesh.faces for mesh in meshes]),
    }


def _sample_tables(units: list[ScanUnit]) -> dict[str, NDArray]:
    pools = [unit.samples for unit in units]
    tables = {"samples/offset": _offsets([len(pool.sdf) for pool in pools])}
    for name in ("points", "sdf", "region", "invented", "band"):
        tables[f"samples/{name}"] = np.concatenate([getattr(pool, name) for pool in pools])
    return tables


def _offsets(counts: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def _stack(rows: list[NDArray], shape: tuple[int, ...], dtype: type) -> NDArray:
    """Stack rows; an empty list gives an empty table of the right row shape."""
    return np.stack(rows) if rows else np.zeros((0, *shape), dtype=dtype)
