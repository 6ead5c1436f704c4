"""First pose without markers: the scanned object's own shape, found in the depth images from an unknown start.

Many poses are proposed, judged by what the depth camera would have seen, and refined; an answer is given only when one
pose explains all placements, no other one nearly as well, and the shape holds it in every direction. The colour camera
is not observed: the factory's transform from depth to colour is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from anim_real.calibrate.markerless.clouds import ObjectView, object_views
from anim_real.calibrate.markerless.fit import Fit, Fitter
from anim_real.calibrate.markerless.hypotheses import (
    constellation_poses,
    matched_poses,
    spread_rotations,
    turned_poses,
)
from anim_real.calibrate.markerless.symmetry import self_turns
from anim_real.calibrate.markerless.views import Views
from anim_real.calibrate.observations import SensorObservations
from anim_real.calibrate.solve.state import State
from anim_real.errors import RefusedError
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_COARSE_STRIDE, _FINE_STRIDE = 10, 4
_COARSE_M, _FINE_M = 0.05, 0.015
_NUM_TURNS = 600  # about 25 degrees apart: within reach of the refinement
_NUM_PLACEMENTS_FIRST = 3  # that all poses are judged by; those that remain, by all
_NUM_FEW, _NUM_APPROACHED, _NUM_REFINED = 40, 14, 5
_SAME_M, _SAME_RAD = 0.02, np.radians(3.0)
_DISTINCT_COARSE_M = 0.06
_MIN_SCORE = 0.6
_MAX_RUNNER_UP = 0.9  # of the best score
_MIN_WEAKEST = 0.012  # a facetted cylinder reaches 0.004 by its facets
_TURNS_IN_PLACE = np.radians(np.r_[15:360:15, 72, 144, 216, 288])


@dataclass(frozen=True, kw_only=True, eq=False)
class GeometryStart:
    """The pose found, with what speaks for it.

    Attributes:
        T_depth_scan: the pose; the depth bias is still in it.
        score: how well it explains the depth images, at most 1.
        runner_up: the same of the best other pose; -1 where there is none.
        weakest: how well the least certain motion is held (``geometry_fit.Fit.weakest``).
        num_poses: how many poses were judged.
        observations: those given, without floor and walls in the scans, and only placements at which the object was
            seen: what the joint solve is to look at.
    """

    T_depth_scan: Rigid
    score: float
    runner_up: float
    weakest: float
    num_poses: int
    observations: SensorObservations

    @property
    def state(self) -> State:
        """Start of the joint solve: this pose, and the factory's values for the rest."""
        factory = self.observations.T_color_depth
        return State.factory(factory @ self.T_depth_scan, factory)


def find_geometry_start(observations: SensorObservations) -> GeometryStart:
    """Find ``T_depth_scan`` of all placements together from nothing.

    Args:
        observations: scans and depth images; corners are not looked at.

    Raises:
        RefusedError: no object of the scan's size is seen; no pose explains what is seen (the scan may be mirrored, or
            of something else); several poses do (a symmetric object); the shape leaves a motion open (planar, round).
    """
    rays = observations.depth.rays()
    views = object_views(observations, rays)
    where = f"sensor {observations.sensor}"
    judged = _judged(views, rays)
    if not judged or judged[0][0] < _MIN_SCORE:
        best = f"the best agrees to {max(judged[0][0], 0.0):.0%}" if judged else "none even touches"
        raise RefusedError(
            f"no pose lays the scans onto the depth images of {len(views)} placements ({best})",
            where=where,
            fix="Check that scans and recordings show the same object at the same times, that the scans are in the "
            "unit that the rig says and not mirrored, and that the object has shapes of 5 cm and more",
        )
    score, fit = judged[0]
    others = [other for other, pose in judged[1:] if not _is_same(pose.T_depth_scan, fit.T_depth_scan, views)]
    start = GeometryStart(
        T_depth_scan=fit.T_depth_scan,
        score=score,
        runner_up=max(others, default=-1.0),
        weakest=fit.weakest,
        num_poses=len(judged),
        observations=_object_only(observations, views),
    )
    _check_unique(start, where)
    return start


def _check_unique(start: GeometryStart, where: str) -> None:
    """Refuse a pose that could as well be another one."""
    advice = "Use an object without symmetry, with shapes in all directions, at 8 or more places that span the volume"
    if start.weakest < _MIN_WEAKEST:
        raise RefusedError(
            f"the object's shape leaves a motion open (held by {start.weakest:.4f}, {_MIN_WEAKEST} needed): "
            "flat or round things slide or turn in themselves",
            where=where,
            fix=advice,
        )
    if start.runner_up > _MAX_RUNNER_UP * start.score:
        raise RefusedError(
            f"two different poses explain the depth images ({start.score:.0%} and {start.runner_up:.0%} agree): "
            "the object is symmetric, or what tells its sides apart is not seen",
            where=where,
            fix=advice,
        )


def _object_only(observations: SensorObservations, views: list[ObjectView]) -> SensorObservations:
    surfaces = {view.index: view.surface for view in views}
    placements = tuple(
        replace(placement, surface=surfaces[placement.index])
        for placement in observations.placements
        if placement.index in surfaces
    )
    return replace(observations, placements=placements)


def _judged(views: list[ObjectView], rays: Array) -> list[tuple[float, Fit]]:
    """Refined poses with their scores, best first; turns of the best one in itself are among them.

    Those are the turns that lay the first object onto itself, and some about the axes of inertia.
    """
    judge = _Judge(Views(rays, views, _COARSE_STRIDE), Views(rays, views, _FINE_STRIDE), Fitter(views), views)
    proposed = matched_poses(views) + constellation_poses(views)
    if len(views) <= 2:
        proposed += [pose for view in views for pose in turned_poses(view, spread_rotations(_NUM_TURNS))]
    judged = judge.best_of(proposed)
    if judged:
        best = judged[0][1].T_depth_scan
        judged += judge.best_of(_turned_in_place(best, views))
        judged += judge.best_of([best @ turn for turn in self_turns(views[0].scan)])
    return sorted(judged, key=lambda item: -item[0])


@dataclass(frozen=True, eq=False)
class _Judge:
    """From many poses to a few refined ones: every step looks closer at fewer."""

    coarse: Views
    fine: Views
    fitter: Fitter
    views: list[ObjectView]

    def best_of(self, poses: list[Rigid]) -> list[tuple[float, Fit]]:
        """The poses that explain the images best, refined, with their scores."""
        few = self._distinct(poses, _NUM_FEW, first=_NUM_PLACEMENTS_FIRST)
        quick = [fit.T_depth_scan for fit in map(self.fitter.approach, self._distinct(few, _NUM_APPROACHED)) if fit]
        fits = [fit for fit in map(self.fitter.fit, self._distinct(quick, _NUM_REFINED)) if fit]
        return sorted(((self.fine.score(fit.T_depth_scan, _FINE_M), fit) for fit in fits), key=lambda item: -item[0])

    def _distinct(self, poses: list[Rigid], number: int, first: int | None = None) -> list[Rigid]:
        """The best by a wide tolerance, each unlike the others."""
        scores = np.array([self.coarse.score(pose, _COARSE_M, first) for pose in poses])
        kept: list[Rigid] = []
        for index in np.argsort(-scores, kind="stable"):
            if all(_difference(poses[index], other, self.views) > _DISTINCT_COARSE_M for other in kept):
                kept.append(poses[index])
            if len(kept) == number:
                break
        return kept


def _turned_in_place(pose: Rigid, views: list[ObjectView]) -> list[Rigid]:
    """The pose after turns of the scans about the axes about which they could be symmetric.

    Those are the principal axes of each of the first two objects, and of all of them together.
    """
    clouds = [view.scan.points for view in views[:2]]
    if len(views) > 1:
        clouds.append(np.concatenate([view.scan.points for view in views]))
    poses = []
    for points in clouds:
        middle = points.mean(0)
        axes = np.linalg.eigh((points - middle).T @ (points - middle))[1].T
        for axis in axes:
            for angle in _TURNS_IN_PLACE:
                rotation = Rotation.from_rotvec(angle * axis).as_matrix()
                turn = Rigid.from_parts("scan", "scan", rotation, middle - rotation @ middle)
                poses.append(pose @ turn)
    return poses


def _difference(first: Rigid, second: Rigid, views: list[ObjectView]) -> float:
    """Root mean square distance between where two poses put the scanned objects."""
    points = np.concatenate([view.scan.points[:: max(1, len(view.scan) // 40)] for view in views])
    return float(np.sqrt(((first.apply(points) - second.apply(points)) ** 2).sum(1).mean()))


def _is_same(first: Rigid, second: Rigid, views: list[ObjectView]) -> bool:
    """Whether two poses are one answer: near in place and turn."""
    turn = (first @ second.inverse()).rotvec
    return _difference(first, second, views) < _SAME_M and float(np.linalg.norm(turn)) < _SAME_RAD
