"""Coarse checks before the solve: scale, mirroring and plausibility of corners on the scans.

The solver would hide such mistakes in focal lengths or poses; here they get their name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.scan_corners import align_points
from anim_real.calibrate.boards.target import Target, corner_positions
from anim_real.errors import RefusedError

Array = NDArray[np.float64]
_MIN_CORNERS = 6
_FLATNESS = 0.02  # smallest over largest extent: below it a mirror image cannot be told from the object
_UNITS = (
    (1000.0, "the scans are in millimetres but were read as metres"),
    (0.001, "the scans were scaled from metres as if from millimetres"),
)


def check_scan_scale(
    target: Target, ids: NDArray[np.int64], points_scan: Array, *, max_percent: float, where: str
) -> float:
    """Compare the scanned corners with the target's drawing.

    Args:
        target: the target.
        ids: (N,) corner ids of one placement.
        points_scan: (N, 3) positions on its scan, metres.
        max_percent: largest plausible difference of size.
        where: the placement, for messages.

    Returns:
        Scale of the scan relative to the drawing; 1 when there are too few corners to say.

    Raises:
        RefusedError: wrong unit, another size, mirrored, or not this target.
    """
    if len(ids) < _MIN_CORNERS:
        return 1.0
    all_ids, positions = corner_positions(target)
    nominal = positions[np.searchsorted(all_ids, ids)]
    spread = np.linalg.norm(nominal - nominal.mean(0), axis=1)
    measured = np.linalg.norm(points_scan - np.median(points_scan, axis=0), axis=1)
    pairs = np.triu_indices(len(ids), 1)
    nominal_lengths = np.linalg.norm(nominal[pairs[0]] - nominal[pairs[1]], axis=1)
    lengths = np.linalg.norm(points_scan[pairs[0]] - points_scan[pairs[1]], axis=1)
    scale = float(np.median(lengths / nominal_lengths))  # robust: half the distances may be wrong
    for factor, meaning in _UNITS:
        if 0.5 < scale / factor < 2.0:
            raise RefusedError(
                f"the target is {scale:.4g} times its size: {meaning}", where=where, fix="Check scanner.unit in the rig"
            )
    if abs(scale - 1.0) * 100.0 > max_percent:
        raise RefusedError(
            f"the target is {scale:.4f} times the size of its drawing",
            where=where,
            fix="Measure the printed squares and correct the target's TOML, or check the scanner's own calibration",
        )
    extents = np.linalg.svd(nominal - nominal.mean(0), compute_uv=False)
    proper, mirrored = (_misfit(nominal, points_scan, allow) for allow in (False, True))
    size = float(np.median(spread) + np.median(measured)) / 2
    if extents[2] > _FLATNESS * extents[0] and mirrored < 0.5 * proper and proper > 0.02 * size:
        raise RefusedError(
            "the scan shows the target mirrored",
            where=where,
            fix="Check the axes of the scanner's export: one is flipped",
        )
    if proper > 0.05 * size:
        raise RefusedError(
            f"the corners on the scan differ from the drawing by {proper * 1e3:.0f} mm",
            where=where,
            fix="Is it the target that the rig names?",
        )
    return scale


def _misfit(source: Array, destination: Array, allow_mirror: bool) -> float:
    """Median distance after the best rigid (or, if it fits better, mirrored) alignment, made robust by one trimming."""
    keep = np.ones(len(source), bool)
    error = np.zeros(len(source))
    for _ in range(3):
        rotation, translation = align_points(source[keep], destination[keep], allow_mirror=allow_mirror)
        error = np.linalg.norm(source @ rotation.T + translation - destination, axis=1)
        keep = error <= max(3.0 * float(np.median(error)), 1e-9)
    return float(np.median(error))
