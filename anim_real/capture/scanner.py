"""Reading the scanner's meshes: the file's unit becomes metres, checked against the size of a person or target.

The frame stays the scanner's own (``scan``).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from anim_real.errors import DataError
from anim_real.mesh import Mesh, load_mesh
from anim_real.rig import METRES_PER_UNIT, ScannerSpec, Unit

PLAUSIBLE_M = (0.08, 6.0)  # largest extent: a hand-sized target to a person with raised arms and stray pieces
_PERSON_M = 1.7
_CORE_SHARE = 0.02  # of the vertices at either end may be stray pieces far away


def load_scan(path: Path, scanner: ScannerSpec) -> Mesh:
    """Read one scan in metres.

    Args:
        path: OBJ, PLY, GLB or STL in the scanner's unit.
        scanner: the rig's scanner, which states the unit.

    Raises:
        NotFoundError: no such file.
        DataError: not a mesh, or its size in metres cannot be a person or target: the unit is wrong.
    """
    return load_in_metres(path, scanner.unit, key="the key scanner.unit in the rig")


def load_in_metres(path: Path, unit: Unit, *, key: str) -> Mesh:
    """Read one mesh whose file counts in ``unit``; ``key`` names, in errors, where the unit was stated.

    Raises:
        NotFoundError: no such file.
        DataError: not a mesh, or of a size that no person or target has; the unit that would fit is named.
    """
    mesh = load_mesh(path)
    extent_units = _core_extent(mesh)
    extent_m = extent_units * METRES_PER_UNIT[unit]
    if not _is_plausible(extent_m):
        sizes = {name: extent_units * factor for name, factor in METRES_PER_UNIT.items()}
        fitting = sorted((name for name in sizes if _is_plausible(sizes[name])), key=lambda name: _unlike(sizes[name]))
        named = " or ".join(f"{name!r} ({sizes[name]:.2g} m)" for name in fitting)
        advice = f"{named} would fit" if fitting else "no unit fits; is this a scan?"
        raise DataError(f"spans {extent_m:.4g} m when read as {unit!r}", where=path, fix=f"Check {key}: {advice}")
    return mesh.scaled(METRES_PER_UNIT[unit])


def _is_plausible(extent_m: float) -> bool:
    return PLAUSIBLE_M[0] <= extent_m <= PLAUSIBLE_M[1]


def _unlike(extent_m: float) -> float:
    """How far a size is from a person's, as the logarithm of their ratio."""
    return abs(math.log(extent_m / _PERSON_M)) if extent_m > 0 else math.inf


def _core_extent(mesh: Mesh) -> float:
    """Largest side (file units) of the box that holds all but the stray vertices."""
    low, high = np.quantile(mesh.vertices, [_CORE_SHARE, 1.0 - _CORE_SHARE], axis=0)
    return float((high - low).max())
