"""The target's own shape from all of its scans: it is rigid, so every scan may borrow the others' corners.

A corner on one scan carries the noise of the scanner and of its texture. The same corners on all scans, moved onto
each other, average it away; the shape moved back to each scan then replaces that scan's corners. What stays is how
far a whole scan is off (``State.local``). The drawing only starts the search: a print that is not to scale does no
harm. Frame ``scan`` (points) and the drawing's frame (shape), metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError

Array = NDArray[np.float64]
_ROUNDS = 20
_SETTLED_M = 1e-7
_CAUCHY = 2.5  # in standard deviations
_MIN_SIGMA_M = 1e-6  # no scan is better: exact data stays solvable
_MIN_CORNERS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class CornerCloud:
    """Corners of one scan.

    Attributes:
        ids: (N,) corner ids, ascending.
        points: (N, 3) frame scan, metres.
    """

    ids: NDArray[np.int64]
    points: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class RigidShape:
    """The shape that all scans share.

    Attributes:
        ids: (N,) corner ids of the drawing.
        shape: (N, 3) positions; those of the drawing where no scan has the corner.
        clouds: the corners of every scan, replaced by the shape moved there.
        rms_m: per scan, root mean square distance between its own corners and the shape's (robustly weighted).
    """

    ids: NDArray[np.int64]
    shape: Array
    clouds: dict[int, CornerCloud]
    rms_m: dict[int, float]


def share_shape(scans: Mapping[int, CornerCloud], ids: NDArray[np.int64], drawing: Array) -> RigidShape:
    """Find the shape by generalised Procrustes analysis (Gower 1975) with Cauchy weights.

    Args:
        scans: corners per scan; scans with fewer than three keep their own.
        ids: (N,) corner ids of the drawing, ascending.
        drawing: (N, 3) their positions.

    Raises:
        DataError: a scan has a corner that the drawing has not.
    """
    for key, cloud in scans.items():
        if not np.isin(cloud.ids, ids).all():
            raise DataError("a corner is not of this target", where=f"scan frame {key}")
    rows = {key: np.searchsorted(ids, cloud.ids) for key, cloud in scans.items() if len(cloud.ids) >= _MIN_CORNERS}
    shape = drawing.astype(np.float64)
    weights = {key: np.ones(len(row)) for key, row in rows.items()}
    fits: dict[int, tuple[Array, Array]] = {}
    for _ in range(_ROUNDS):
        total, moved_sum = np.zeros(len(ids)), np.zeros((len(ids), 3))
        errors = {}
        for key, row in rows.items():
            rotation, translation = fits[key] = weighted_alignment(shape[row], scans[key].points, weights[key])
            back = (scans[key].points - translation) @ rotation
            errors[key] = np.linalg.norm(back - shape[row], axis=1)
            np.add.at(total, row, weights[key])
            np.add.at(moved_sum, row, back * weights[key][:, None])
        sigma = _spread(errors)
        weights = {key: 1.0 / (1.0 + (error / (_CAUCHY * sigma)) ** 2) for key, error in errors.items()}
        seen = total > 0
        step = np.zeros_like(shape)
        step[seen] = moved_sum[seen] / total[seen, None] - shape[seen]
        shape = shape + step
        if np.abs(step).max() < _SETTLED_M:
            break
    clouds, rms = dict(scans), {}
    for key, row in rows.items():
        rotation, translation = weighted_alignment(shape[row], scans[key].points, weights[key])
        placed = shape[row] @ rotation.T + translation
        clouds[key] = CornerCloud(ids=scans[key].ids, points=placed)
        squared = ((placed - scans[key].points) ** 2).sum(1)
        rms[key] = float(np.sqrt(np.average(squared, weights=weights[key])))
    return RigidShape(ids=ids, shape=shape, clouds=clouds, rms_m=rms)


def weighted_alignment(source: Array, destination: Array, weights: Array) -> tuple[Array, Array]:
    """Rotation (3, 3) and translation (3,) that move source (N, 3) onto destination (N, 3), weights (N,) (Kabsch)."""
    share = weights / weights.sum()
    source_center, destination_center = share @ source, share @ destination
    left, _, right = np.linalg.svd((destination - destination_center).T @ ((source - source_center) * share[:, None]))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    return rotation, destination_center - rotation @ source_center


def _spread(errors: Mapping[int, Array]) -> float:
    """Standard deviation of a coordinate from the median length of all errors (a Maxwell distribution's is 1.538)."""
    joined = np.concatenate(list(errors.values())) if errors else np.zeros(1)
    return max(float(np.median(joined)) / 1.538, _MIN_SIGMA_M)
