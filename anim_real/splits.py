"""Splitting subjects into train, val and test: by person, never by frame, stable under the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from anim_real.errors import ConfigError

Split = Literal["train", "val", "test"]


def split_subjects(
    subjects: Iterable[str],
    *,
    seed: int = 0,
    val: tuple[str, ...] = (),
    test: tuple[str, ...] = (),
    val_fraction: float = 0.0,
    test_fraction: float = 0.2,
) -> dict[Split, tuple[str, ...]]:
    """Give every subject one split.

    Subjects named in ``val`` and ``test`` go there, and that split takes no others. The rest is ranked by a
    hash of (seed, subject), so the order does not depend on who else is in the data. A fraction above zero
    takes at least one subject as long as one is left to train on.

    Raises:
        ConfigError: a named subject is unknown or in both, a fraction is out of range, or none is left to train on.
    """
    names = sorted(set(subjects))
    for flag, chosen in (("--val", val), ("--test", test)):
        unknown = sorted(set(chosen) - set(names))
        if unknown:
            raise ConfigError(f"no subject {unknown[0]!r}", where=flag, fix=f"Known: {', '.join(names)}")
    if set(val) & set(test):
        raise ConfigError(f"subjects {sorted(set(val) & set(test))} are in both", where="--val and --test")
    if not (val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):
        raise ConfigError(
            f"fractions are {val_fraction} and {test_fraction}", where="split", fix="Their sum must be below 1"
        )
    free = sorted(
        set(names) - set(val) - set(test), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
    )
    chosen_test = list(test) or _take(free, test_fraction, len(names))
    chosen_val = list(val) or _take(free, val_fraction, len(names))
    if names and not free:
        raise ConfigError("no subject is left to train on", where="split", fix="Name fewer in --val and --test")
    return {"train": tuple(sorted(free)), "val": tuple(sorted(chosen_val)), "test": tuple(sorted(chosen_test))}


def _take(free: list[str], fraction: float, num_subjects: int) -> list[str]:
    """Remove a share of all subjects from the front of ``free``, leaving one at least."""
    count = min(max(1, round(fraction * num_subjects)), len(free) - 1) if fraction > 0 else 0
    taken, free[:] = free[:count], free[count:]
    return taken
