"""Poses that lay points onto points when nobody knows which is which: by the distances between them.

Points come in groups (placements): within one, every source point may be any of the destination points or none of
them, and one pose holds for all groups. Metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.rigid_shape import weighted_alignment

Array = NDArray[np.float64]
_MIN_PAIRS = 3
_MAX_TRIPLES = 300
_MIN_HEIGHT_M = 0.03  # of a triangle: a flatter one may turn about its long side
_REFINEMENTS = 3
_SAME_M = 0.02
_MAX_POSES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Constellation:
    """One group: points (S, 3) of the source, points (D, 3) of the destination."""

    source: Array
    destination: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """A pose: rotation (3, 3) and translation (3,) from source to destination, pairs that agree, their rms, metres."""

    rotation: Array
    translation: Array
    num_pairs: int
    rms_m: float


def matched_poses(groups: Sequence[Constellation], *, tolerance_m: float) -> list[Match]:
    """Poses under which three pairs or more agree, best first, unlike each other; at most three.

    Args:
        groups: the points.
        tolerance_m: how far a pair may be apart, and distances may differ.
    """
    pairs = [
        (number, i, j)
        for number, group in enumerate(groups)
        for i in range(len(group.source))
        for j in range(len(group.destination))
    ]
    if len(pairs) < _MIN_PAIRS:
        return []
    source = np.array([groups[n].source[i] for n, i, _ in pairs])
    destination = np.array([groups[n].destination[j] for n, _, j in pairs])
    matches: list[Match] = []
    for triple in _triples(np.array(pairs), source, destination, tolerance_m):
        match = _refined(groups, *weighted_alignment(source[triple], destination[triple], np.ones(3)), tolerance_m)
        if match is not None:
            matches.append(match)
    distinct: list[Match] = []
    for match in sorted(matches, key=lambda item: (-item.num_pairs, item.rms_m)):
        if all(_difference(match, other, source) > _SAME_M for other in distinct):
            distinct.append(match)
        if len(distinct) == _MAX_POSES:
            break
    return distinct


def _triples(pairs: NDArray[np.int64], source: Array, destination: Array, tolerance_m: float) -> NDArray[np.int64]:
    """(T, 3) pairs whose distances agree, those that agree best first."""
    apart, seen = (np.linalg.norm(points[:, None] - points, axis=2) for points in (source, destination))
    misfit = np.abs(apart - seen)
    same_group = pairs[:, None, 0] == pairs[:, 0]
    shares = same_group & ((pairs[:, None, 1] == pairs[:, 1]) | (pairs[:, None, 2] == pairs[:, 2]))
    agrees = (misfit < tolerance_m) & ~shares & np.triu(np.ones(misfit.shape, bool), 1)
    first, second = np.nonzero(agrees)
    found, costs = [], []
    for a, b in zip(first, second, strict=True):
        third = np.flatnonzero(agrees[a] & agrees[b])
        if len(third):
            found.append(np.stack([np.full(len(third), a), np.full(len(third), b), third], 1))
            costs.append(misfit[a, b] + misfit[a, third] + misfit[b, third])
    if not found:
        return np.zeros((0, 3), np.int64)
    triples, cost = np.concatenate(found), np.concatenate(costs)
    corners = source[triples]
    edges = corners[:, [1, 2, 2]] - corners[:, [0, 0, 1]]
    height = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / np.linalg.norm(edges, axis=2).max(1)
    usable = np.flatnonzero(height > _MIN_HEIGHT_M)
    return triples[usable[np.argsort(cost[usable], kind="stable")[:_MAX_TRIPLES]]]


def _refined(groups: Sequence[Constellation], rotation: Array, translation: Array, tolerance_m: float) -> Match | None:
    """Align again with every pair that agrees; None when fewer than three do."""
    match: Match | None = None
    for _ in range(_REFINEMENTS):
        left, right = [], []
        for group in groups:
            distance = np.linalg.norm((group.source @ rotation.T + translation)[:, None] - group.destination, axis=2)
            i = np.arange(len(distance))
            j = distance.argmin(1)
            mutual = (distance.argmin(0)[j] == i) & (distance[i, j] < tolerance_m)
            left.append(group.source[mutual])
            right.append(group.destination[j[mutual]])
        source, destination = np.concatenate(left), np.concatenate(right)
        if len(source) < _MIN_PAIRS:
            return match
        rotation, translation = weighted_alignment(source, destination, np.ones(len(source)))
        error = np.linalg.norm(source @ rotation.T + translation - destination, axis=1)
        match = Match(
            rotation=rotation,
            translation=translation,
            num_pairs=len(source),
            rms_m=float(np.sqrt(np.mean(error**2))),
        )
    return match


def _difference(first: Match, second: Match, points: Array) -> float:
    """Largest distance between where two poses put points (N, 3)."""
    moved = points @ (first.rotation - second.rotation).T + first.translation - second.translation
    return float(np.linalg.norm(moved, axis=1).max())
