"""What a data set is packed from: its takes, the keys by which a later run knows them again, and the outcomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from anim_real.shards.schema import ColorStorage, ItemFailure, Split, TakeConsent
from anim_real.shards.write import ScanUnit


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What came of one scan of ``take``: a unit to pack, failures, or both (some of its frames failed)."""

    take: str
    unit: ScanUnit | None
    failures: tuple[ItemFailure, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TakePlan:
    """One take to pack.

    Attributes:
        take, subject: id and pseudonym.
        sensors: ids of the sensors whose frames are packed.
        num_scans: how many scans it has.
        input_key: sha256 of everything the take's shards are computed from.
        consent: travels with the data.
        provenance: JSON-ready; goes into the take's shards.
    """

    take: str
    subject: str
    sensors: tuple[str, ...]
    num_scans: int
    input_key: str
    consent: TakeConsent
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """A data set to pack.

    Attributes:
        splits: subjects of each split, restricted to what is packed when the record is written.
        build_key: sha256 of inputs and options; an output folder is only resumed under the same key.
        provenance: JSON-ready; goes into the record. Shards carry only their take's.
    """

    name: str
    kind: Literal["pairs", "rendered"]
    size: int
    color: ColorStorage
    splits: dict[Split, tuple[str, ...]]
    takes: tuple[TakePlan, ...]
    build_key: str
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Remainder:
    """What is left of a take: its plan and how many of its scans are packed already."""

    plan: TakePlan
    num_done: int


Outcomes = Callable[[list[Remainder]], Iterable[Outcome]]


def content_key(value: Any) -> str:
    """Sha256 of a JSON-ready value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
