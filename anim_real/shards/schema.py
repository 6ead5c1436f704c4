"""What a shard and a data set hold: columns, headers, limits. Everything that writes or reads one asks here.

A shard is one HDF5 file of column tables in three groups. ``/frames`` has one row per RGB-D image,
``/scans`` one row per watertight scan (flat vertex and face arrays with offsets), ``/samples`` one
pool of labelled points per scan (flat arrays with offsets). Metres in the ``scan`` frame, depth in
millimetres along the camera's z, device time in microseconds. ``dataset.json`` beside the shards is
the commit record: a folder without it is not a data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from anim_real.specs import Spec
from anim_real.take import PSEUDONYM, ConsentSpec

SHARD_SCHEMA = "anim-real/shard/1"
DATASET_SCHEMA = "anim-real/dataset/1"
HEADER_ATTRIBUTE = "anim_real"
MAX_SHARD_BYTES = 256 << 20
MAX_IMAGE_SIZE = 4096
FLAT_CHUNK_ROWS = 8192  # 96 KiB of points: a training window reads a few chunks, a checksum covers each
BLOB_CHUNK_BYTES = 1 << 16
JPEG_QUALITY = 95
PERSPECTIVE, ORTHOGRAPHIC = 0, 1

ColorStorage = Literal["jpeg", "raw"]
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Domain = Literal["frame", "frame+1", "color_byte", "scan", "scan+1", "vertex", "face", "point"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One dataset of a shard.

    Attributes:
        path: name inside the file.
        dtype: NumPy type, little endian.
        domain: what one row is; ``+1`` marks offsets, which have one more row than there are items.
        shape: shape of one row.
        unit: physical unit, or a short word.
        is_compressed: gzip-1 with shuffle; floats stay uncompressed.
    """

    path: str
    dtype: str
    domain: Domain
    unit: str
    shape: tuple[int, ...] = ()
    is_compressed: bool = False

    @property
    def chunk(self) -> tuple[int, ...]:
        """Chunk shape: exactly one row per frame, blocks of rows for flat arrays."""
        rows = {"frame": 1, "color_byte": BLOB_CHUNK_BYTES}.get(self.domain, FLAT_CHUNK_ROWS)
        return (rows, *self.shape)


def columns(size: int, color: ColorStorage) -> dict[str, Column]:
    """Every dataset of a shard whose images are ``size`` pixels square, by path."""
    if color == "jpeg":
        color_columns = [
            Column(path="frames/color_blob", dtype="<u1", domain="color_byte", unit=f"JPEG q{JPEG_QUALITY}"),
            Column(path="frames/color_offset", dtype="<i8", domain="frame+1", unit="byte"),
        ]
    else:
        color_columns = [Column(path="frames/color", dtype="<u1", domain="frame", unit="RGB", shape=(size, size, 3))]
    found = [*color_columns, *_frame_columns(size), *_SCAN_COLUMNS, *_SAMPLE_COLUMNS]
    return {column.path: column for column in found}


def _frame_columns(size: int) -> list[Column]:
    packed = (size, (size + 7) // 8)
    images = [
        ("depth_mm", "<u2", "mm along z, 0 = none", (size, size)),
        ("mask", "<u1", "bits, first pixel highest", packed),
    ]
    scalars = [
        ("projection", "<u1", "0 perspective, 1 orthographic", ()),
        ("intrinsics", "<f8", "fx fy cx cy px, or px_per_m twice, cx cy", (4,)),
        ("T_color_scan", "<f8", "m", (4, 4)),
        ("sensor", "<u1", "row of header.sensors", ()),
        ("kinect_index", "<i8", "capture", ()),
        ("kinect_time_us", "<i8", "us, device clock", ()),
        ("scan", "<i8", "row of scans", ()),
        ("scan_time_us", "<i8", "us, scanner clock", ()),
        ("dt_us", "<f8", "us, NaN = none", ()),
        ("depth_coverage", "<f8", "share, NaN = none", ()),
        ("depth_to_scan_mm", "<f8", "mm, NaN = none", ()),
        ("depth_bias_mm", "<f8", "mm, NaN = none", ()),
    ]
    return [
        Column(
            path=f"frames/{name}",
            dtype=dtype,
            domain="frame",
            unit=unit,
            shape=shape,
            is_compressed=name in ("depth_mm", "mask"),
        )
        for name, dtype, unit, shape in images + scalars
    ]


_SCAN_COLUMNS = (
    Column(path="scans/scan_index", dtype="<i8", domain="scan", unit="scanner frame"),
    Column(path="scans/has_colors", dtype="<u1", domain="scan", unit="flag"),
    Column(path="scans/has_regions", dtype="<u1", domain="scan", unit="flag"),
    Column(path="scans/cell_m", dtype="<f8", domain="scan", unit="m, grid cell of watertighting"),
    Column(path="scans/fit_m", dtype="<f8", domain="scan", unit="m, mean distance to the raw scan, holes excluded"),
    Column(path="scans/invented_share", dtype="<f8", domain="scan", unit="share of the surface that closed holes"),
    Column(path="scans/vertex_offset", dtype="<i8", domain="scan+1", unit="vertex"),
    Column(path="scans/face_offset", dtype="<i8", domain="scan+1", unit="face"),
    Column(path="scans/vertices", dtype="<f4", domain="vertex", unit="m", shape=(3,)),
    Column(path="scans/colors", dtype="<u1", domain="vertex", unit="RGB", shape=(3,)),
    Column(path="scans/regions", dtype="<u1", domain="vertex", unit="samples.Region"),
    Column(path="scans/invented", dtype="<u1", domain="vertex", unit="flag"),
    Column(path="scans/faces", dtype="<i4", domain="face", unit="vertex of the same scan", shape=(3,)),
)
_SAMPLE_COLUMNS = (
    Column(path="samples/offset", dtype="<i8", domain="scan+1", unit="point"),
    Column(path="samples/points", dtype="<f4", domain="point", unit="m, scan frame", shape=(3,)),
    Column(path="samples/sdf", dtype="<f4", domain="point", unit="m, negative inside"),
    Column(path="samples/region", dtype="<u1", domain="point", unit="samples.Region"),
    Column(path="samples/invented", dtype="<u1", domain="point", unit="flag"),
    Column(path="samples/band", dtype="<u1", domain="point", unit="0 surface, 1 box, 2 region"),
)


class ItemFailure(Spec):
    """A scan or frame that could not be packed, and why."""

    take: str
    item: str = Field(description="scan 12, frame k0/34, or take")
    reason: str


class ShardHeader(Spec):
    """JSON attribute ``anim_real`` at the root of a shard; no time stamps, so equal input gives equal bytes."""

    schema_: Literal["anim-real/shard/1"] = Field(default=SHARD_SCHEMA, alias="schema")
    subject: str = Field(pattern=PSEUDONYM)
    take: str = Field(pattern=PSEUDONYM)
    part: int = Field(ge=0)
    is_last_part: bool
    size: int = Field(gt=0, le=MAX_IMAGE_SIZE)
    color: ColorStorage
    sensors: tuple[str, ...] = Field(min_length=1, max_length=256)
    units: dict[str, str] = Field(description="dataset -> unit")
    input_key: str = Field(description="sha256 of all that the content was computed from")
    num_scans_done: int = Field(ge=0, description="scans of the take consumed so far, failed ones too")
    failures: tuple[ItemFailure, ...] = Field(description="of the scans that this part consumed")
    provenance: dict[str, Any] = Field(description="manifest, calibration, options, tool version")


class ShardEntry(Spec):
    """One shard in ``dataset.json``."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    subject: str = Field(pattern=PSEUDONYM)
    take: str = Field(pattern=PSEUDONYM)
    part: int = Field(ge=0)
    input_key: str
    scans: tuple[int, ...] = Field(description="scan_index of every scan, in the order of the rows")
    num_frames: int = Field(ge=0)
    num_points: int = Field(ge=0)
    num_vertices: int = Field(ge=0)
    num_unlabelled: int = Field(default=0, ge=0, description="scans whose face and hands are not labelled")


class SplitCounts(Spec):
    """What a split holds, counted from the shards."""

    subjects: int
    takes: int
    shards: int
    frames: int
    scans: int
    points: int
    unlabelled: int = Field(default=0, description="scans whose face and hands are not labelled")


class TakeConsent(Spec):
    """Consent and licence that travel with a take's data."""

    take: str
    subject: str
    action: str = ""
    consent: ConsentSpec | None = None
    licence: str


class DatasetRecord(Spec):
    """``dataset.json``: written last. Its own sha256 names the data set in a run's record."""

    schema_: Literal["anim-real/dataset/1"] = Field(default=DATASET_SCHEMA, alias="schema")
    name: str
    kind: Literal["pairs", "rendered"]
    size: int = Field(gt=0, le=MAX_IMAGE_SIZE)
    color: ColorStorage
    splits: dict[Split, tuple[str, ...]] = Field(description="subjects of each split")
    counts: dict[Split, SplitCounts]
    shards: tuple[ShardEntry, ...]
    consents: tuple[TakeConsent, ...]
    failures: tuple[ItemFailure, ...]
    build_key: str = Field(description="sha256 of inputs and options: the same key may resume, another may not")
    provenance: dict[str, Any]
    tool_version: str
