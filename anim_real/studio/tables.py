"""The small files of a take: ``take.toml`` and the CSV tables (formats: ``anim_real.take``)."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anim_real.files import write_text
from anim_real.rig import RigSpec

_CONSENT_DATE = datetime.date(2026, 1, 1)


@dataclass(frozen=True, kw_only=True)
class TakeName:
    """Identity of a take: ``number`` selects its random streams."""

    take_id: str
    number: int
    kind: str
    subject: str
    action: str


def take_toml(rig: RigSpec, name: TakeName) -> str:
    """Text of a take's ``take.toml``."""
    lines = [
        'schema = "anim-real/take/1"',
        f"take_id = {json.dumps(name.take_id)}",
        f"kind = {json.dumps(name.kind)}",
        f"subject = {json.dumps(name.subject)}",
        f"action = {json.dumps(name.action)}",
        f"rig = {json.dumps(rig.name)}",
    ]
    if name.kind == "calibration":
        lines.append(f"target = {json.dumps(rig.target)}")
    lines += [
        'note = "virtual studio"', "", "[consent]", 'scope = ["research", "commercial", "publication", "internal"]',
        'licence = "CC0-1.0"', f"date = {_CONSENT_DATE.isoformat()}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write_table(
    path: Path,
    names: Iterable[str],
    *columns: NDArray,
    index_name: str = "frame_index",
    index: NDArray[np.int64] | None = None,
) -> None:
    """Write a table of an index column and named columns of equal length."""
    index = np.arange(len(columns[0])) if index is None else index
    rows = [",".join((index_name, *names))]
    rows += [
        ",".join(str(value) for value in row)
        for row in zip(index.tolist(), *(column.tolist() for column in columns), strict=True)
    ]
    write_text(path, "\n".join(rows) + "\n")
