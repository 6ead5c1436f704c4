"""The manifest: which frames of which takes are pairs, with their quality numbers and verdicts.

Two files: ``<name>.json`` (this record) and ``<name>.frames.csv`` (one row per Kinect capture that
was considered). Excluded frames stay listed with their reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from anim_real.calibration import ClockMap
from anim_real.errors import DataError
from anim_real.files import require_file, sha256_file, write_text
from anim_real.specs import Spec, load_json
from anim_real.take import ConsentSpec

SCHEMA = "anim-real/manifest/1"

# column -> pandas type. Times: kinect_time_us in device time, scan_time_us in scanner time,
# dt_us = kinect capture mapped to the scanner clock minus the scan's stamp.
FRAME_COLUMNS: dict[str, str] = {
    "take": "string",
    "subject": "string",
    "sensor": "string",
    "kinect_index": "Int64",
    "scan_index": "Int64",
    "kinect_time_us": "Int64",
    "scan_time_us": "Int64",
    "dt_us": "float64",
    "depth_coverage": "float64",
    "depth_to_scan_mm": "float64",
    "depth_bias_mm": "float64",
    "verdict": "string",
    "reason": "string",
}
Verdict = Literal["pair", "excluded"]


class ManifestTake(Spec):
    """One take of the manifest. ``folder`` is relative to the manifest's folder where possible."""

    take_id: str
    folder: str
    subject: str
    action: str
    consent: ConsentSpec | None
    files_sha256: dict[str, str]
    clocks: dict[str, ClockMap] = Field(description="per sensor: device clock to scanner clock in this take")
    person_sources: dict[str, dict[str, Any]] = Field(
        default={}, description="per sensor: what told the person from the background, with hashes"
    )
    best_offset_frames: dict[str, int] = Field(
        description="per sensor: frame offset at which depth fits the scans best; 0 is in sync"
    )
    num_captures: dict[str, int]
    num_incomplete: dict[str, int]
    num_dropped: dict[str, int]
    num_scans: int
    num_pairs: int


class Manifest(Spec):
    """A data set release before packing. Counts are computed from the data, never quoted."""

    schema_: Literal["anim-real/manifest/1"] = Field(default=SCHEMA, alias="schema")
    name: str
    rig: str
    rig_sha256: str
    calibration: str
    calibration_sha256: str
    depth_filters: dict[str, Any] = Field(default={}, description="what was done to depth images, as the rig has it")
    takes: tuple[ManifestTake, ...]
    splits: dict[Literal["train", "val", "test"], tuple[str, ...]] = Field(description="subjects of each split")
    num_pairs: int
    num_excluded: int
    frames_sha256: str
    tool_version: str
    created: str


def frames_path(path: Path) -> Path:
    """The table that belongs to manifest ``path``: ``<stem>.frames.csv`` beside it."""
    return path.with_name(f"{path.stem}.frames.csv")


def save_manifest(path: Path, manifest: Manifest, frames: pd.DataFrame) -> None:
    """Write the table first, then the record with the table's sha256."""
    write_text(frames_path(path), frames[list(FRAME_COLUMNS)].to_csv(index=False))
    stamped = manifest.model_copy(update={"frames_sha256": sha256_file(frames_path(path))})
    write_text(path, stamped.model_dump_json(indent=2, by_alias=True) + "\n")


def load_manifest(path: Path) -> tuple[Manifest, pd.DataFrame]:
    """Read a manifest and its table; a table changed since raises ``DataError``."""
    manifest = load_json(Manifest, path, schema=SCHEMA)
    table_path = require_file(frames_path(path), "frame table of the manifest")
    if sha256_file(table_path) != manifest.frames_sha256:
        raise DataError(
            "the frame table was changed after the manifest was written", where=table_path, fix="Run ingest again"
        )
    try:
        frames = pd.read_csv(table_path, dtype=FRAME_COLUMNS)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"holds a wrong value ({error})", where=table_path, fix="Run ingest again") from error
    if list(frames.columns) != list(FRAME_COLUMNS):
        odd = sorted(set(frames.columns) ^ set(FRAME_COLUMNS))
        raise DataError(f"has unknown or missing columns {odd}", where=table_path, fix="Run ingest again")
    return manifest, frames
