"""A take: one recorded performance, raw and never modified.

Layout::

    <take>/take.toml                 TakeSpec
    <take>/record.json               how the recording went (``record``; optional)
    <take>/kinect-<sensor id>.mkv    one recording per sensor
    <take>/scans/frame-000012.glb    one mesh per scanner frame (OBJ, PLY, GLB), the scanner's unit and frame
    <take>/scans/timestamps.csv      frame_index,time_us     (scanner clock)
    <take>/scans/led.csv             frame_index,time_us,level   (scanner clock; LED brightness 0..1, optional)
    <take>/triggers.csv              pulse_index,time_us     (generator clock, optional)
"""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from anim_real.errors import DataError, NotFoundError
from anim_real.files import require_file, require_folder
from anim_real.mesh import SUFFIXES
from anim_real.specs import Spec, load_toml

PSEUDONYM = r"^[a-z0-9][a-z0-9-]*$"
ConsentScope = Literal["research", "commercial", "publication", "internal"]


class ConsentSpec(Spec):
    """What the recorded person agreed to. A take without consent is not packed."""

    scope: tuple[ConsentScope, ...] = Field(min_length=1)
    licence: str
    date: datetime.date


class TakeSpec(Spec):
    """Content of ``take.toml``."""

    schema_: Literal["anim-real/take/1"] = Field(alias="schema")
    take_id: str = Field(pattern=PSEUDONYM)
    kind: Literal["subject", "calibration"]
    subject: str = Field(pattern=PSEUDONYM, description="pseudonym, never a name; 'target' for a calibration take")
    action: str = ""
    rig: str
    date: datetime.date | None = None
    target: str | None = None
    consent: ConsentSpec | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class RgbdFrame:
    """One capture of a sensor, decoded. A part that the device did not deliver is None.

    Attributes:
        color: (H, W, 3) uint8 RGB, or None.
        depth_mm: (h, w) uint16 millimetres along z, 0 = no return, or None.
        ir: (h, w) uint16, or None.
        color_time_us, depth_time_us: device time of the centre of exposure in microseconds, or None.
        index: position of the capture in its recording.
    """

    index: int
    color: NDArray[np.uint8] | None
    depth_mm: NDArray[np.uint16] | None
    ir: NDArray[np.uint16] | None
    color_time_us: int | None
    depth_time_us: int | None

    @property
    def time_us(self) -> int:
        """Device time of the capture: the depth image's, else the colour image's."""
        time_us = self.depth_time_us if self.depth_time_us is not None else self.color_time_us
        assert time_us is not None
        return time_us

    @property
    def is_complete(self) -> bool:
        """Whether both colour and depth are there."""
        return self.color is not None and self.depth_mm is not None


@dataclass(frozen=True, kw_only=True, eq=False)
class Take:
    """An opened take: its spec and the files that exist, checked for presence and form.

    Attributes:
        folder: where it lies.
        spec: content of take.toml.
        recordings: sensor id -> MKV file.
        scan_index, scan_time_us: (S,) int64 frame indices and scanner-clock stamps, ascending.
        scan_paths: frame index -> mesh file, for the frames that have one.
        pulse_index, pulse_time_us: (P,) int64 of the trigger log, or None.
        led: table frame_index,time_us,level, or None.
    """

    folder: Path
    spec: TakeSpec
    recordings: dict[str, Path]
    scan_index: NDArray[np.int64]
    scan_time_us: NDArray[np.int64]
    scan_paths: dict[int, Path]
    pulse_index: NDArray[np.int64] | None
    pulse_time_us: NDArray[np.int64] | None
    led: pd.DataFrame | None

    def recording(self, sensor_id: str) -> Path:
        """MKV of a sensor; NotFoundError names the file that should be there."""
        if sensor_id not in self.recordings:
            raise NotFoundError(f"no recording of sensor {sensor_id!r}", where=self.folder / f"kinect-{sensor_id}.mkv")
        return self.recordings[sensor_id]


def take_toml(spec: TakeSpec) -> str:
    """Text of ``take.toml``; keys that say nothing are left out."""
    table = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    consent = table.pop("consent", None)
    dates = {"date"}
    lines = [f"{key} = {_toml(value, is_date=key in dates)}" for key, value in table.items() if value != ""]
    if consent is not None:
        lines += ["", "[consent]"]
        lines += [f"{key} = {_toml(value, is_date=key in dates)}" for key, value in consent.items()]
    return "\n".join(lines) + "\n"


def _toml(value: str | list[str], *, is_date: bool) -> str:
    """A value in TOML: JSON's strings and lists are TOML's, but for DEL, which TOML wants escaped."""
    if is_date:
        return str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def load_take(folder: Path, *, require_scans: bool = True) -> Take:
    """Open a take folder.

    Args:
        folder: where it lies.
        require_scans: refuse a take without ``scans/``, as ``record`` leaves it until the scanner's files are
            added; if off, such a take has no scan frames.

    Raises:
        NotFoundError: the folder, take.toml, scans/timestamps.csv, every recording or every scan is missing.
        ConfigError: take.toml has an unknown or wrong key.
        DataError: a recording was never finished, a table is malformed, not ascending, or no scan has a stamp.
    """
    require_folder(folder, "take")
    spec = load_toml(TakeSpec, folder / "take.toml")
    recordings = {path.stem.removeprefix("kinect-"): path for path in sorted(folder.glob("kinect-*.mkv"))}
    for name, path in recordings.items():
        if name.endswith(".partial"):
            raise DataError(
                "this recording was never finished", where=path,
                fix=f"It can be read: rename it to kinect-{name.removesuffix('.partial')}.mkv, once record has ended",
            )  # fmt: skip
    if not recordings:
        raise NotFoundError("the take holds no kinect-<sensor id>.mkv", where=folder)
    stamps, scan_paths = _load_scans(folder / "scans", required=require_scans)
    pulses = led = None
    if (folder / "triggers.csv").is_file():
        pulses = read_table(folder / "triggers.csv", {"pulse_index": "int64", "time_us": "int64"})
    if (folder / "scans" / "led.csv").is_file():
        led = read_table(folder / "scans" / "led.csv", {"frame_index": "int64", "time_us": "int64", "level": "float64"})
    return Take(
        folder=folder,
        spec=spec,
        recordings=recordings,
        scan_index=stamps["frame_index"].to_numpy(),
        scan_time_us=stamps["time_us"].to_numpy(),
        scan_paths=scan_paths,
        pulse_index=None if pulses is None else pulses["pulse_index"].to_numpy(),
        pulse_time_us=None if pulses is None else pulses["time_us"].to_numpy(),
        led=led,
    )


def _load_scans(scans: Path, *, required: bool) -> tuple[pd.DataFrame, dict[int, Path]]:
    """Stamps of the scanner's frames, and the meshes by frame; both empty if there is no folder and none is needed."""
    if not scans.exists():
        if not required:
            return pd.DataFrame({"frame_index": np.zeros(0, np.int64), "time_us": np.zeros(0, np.int64)}), {}
        raise NotFoundError(
            "the take has no scans yet", where=scans / "timestamps.csv",
            fix="Add the scanner's frames and their timestamps.csv (docs/formats.md, Take)",
        )  # fmt: skip
    stamps = read_table(scans / "timestamps.csv", {"frame_index": "int64", "time_us": "int64"})
    scan_paths = {}
    for path in sorted(scans.iterdir()):
        match = re.fullmatch(r"frame-(\d+)", path.stem)
        if match and path.suffix.lower() in SUFFIXES:
            scan_paths[int(match.group(1))] = path
    unstamped = sorted(set(scan_paths) - set(stamps["frame_index"].tolist()))
    if unstamped:
        raise DataError(f"scan frames {unstamped[:5]} have no row in timestamps.csv", where=scans)
    if not scan_paths:
        raise NotFoundError(
            f"holds no frame-<number> mesh ({', '.join(SUFFIXES)})", where=scans, fix="Export the scans"
        )
    return stamps, scan_paths


def find_takes(root: Path) -> list[Path]:
    """Folders below ``root`` (or ``root`` itself) that hold a take.toml, sorted by path."""
    require_folder(root, "takes folder")
    found = sorted(path.parent for path in root.rglob("take.toml"))
    if not found:
        raise NotFoundError(
            "no take.toml in or below this folder", where=root, fix="Point to a take or a folder of takes"
        )
    return found


def read_table(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """Read a CSV with exactly these columns and types; ``time_us`` and the index column must ascend.

    Raises:
        NotFoundError: no such file.
        DataError: a column is missing, a value is not a number, or times do not ascend.
    """
    try:
        table = pd.read_csv(require_file(path, "table"))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"not a readable CSV ({error})", where=path) from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"columns {missing} are missing; found {list(table.columns)}", where=path)
    try:
        table = pd.DataFrame(table[list(columns)]).astype(columns)
    except (ValueError, OverflowError, pd.errors.IntCastingNaNError) as error:
        raise DataError(f"a value is not a number ({error})", where=path) from error
    for name in columns:
        is_finite = np.isfinite(table[name].to_numpy())
        if not is_finite.all():
            row = int(np.flatnonzero(~is_finite)[0]) + 2
            raise DataError(f"{name} is not a finite number at line {row}", where=path)
    for name in (next(iter(columns)), "time_us"):
        steps = np.diff(table[name].to_numpy())
        if (steps <= 0).any():
            row = int(np.flatnonzero(steps <= 0)[0]) + 3
            raise DataError(f"{name} does not ascend at line {row}", where=path)
    return table
