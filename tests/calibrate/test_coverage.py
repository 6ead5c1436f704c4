"""Coverage of the volume, and the bootstrap that checks the covariance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anim_real.calibrate.bootstrap import BootstrapCheck, bootstrap_check
from anim_real.calibrate.coverage import coverage
from anim_real.calibrate.observations import CornerPairs, SensorObservations
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import solve
from anim_real.calibrate.solve.start import start_states
from anim_real.geometry.frames import Rigid

from .synthetic import FAST, Errors, make_studio, person_grid


def one_board(pairs: CornerPairs, ids: np.ndarray) -> CornerPairs:
    keep = np.isin(pairs.ids, ids)
    return CornerPairs(ids=pairs.ids[keep], points_scan=pairs.points_scan[keep], pixels=pairs.pixels[keep])


def test_placements_in_one_plane_are_named():
    places = [(-0.3, 0.0, 0.0), (0.3, 0.4, 0.0), (0.0, 0.2, -0.3)]
    poses = [Rigid.from_rotvec("scan", "target", [0.0, 0.1, 0.0], place) for place in places]
    poses[1] = Rigid.from_parts("scan", "target", poses[0].rotation, poses[0].apply([[0.6, 0.4, 0.0]])[0])
    studio = make_studio(3, Errors(corner_px=0.1), poses=poses)
    ids = studio.target.boards[0].corner_ids
    placements = tuple(
        replace(p, color=one_board(p.color, ids), ir=one_board(p.ir, ids)) for p in studio.observations.placements
    )
    problem = Problem(replace(studio.observations, placements=placements), FAST)
    solution = solve(problem, start_states(problem.observations)[0], rounds=2)
    found = coverage(problem, solution, person_grid())
    assert found.coplanar == ((0, 1),)
    assert found.off_plane_m > 0.05  # the third stands 0.3 m behind
    assert found.num_placements == 3
    assert 0.1 < found.volume_share < 1.0


def test_the_bootstrap_sees_placements_that_disagree():
    """Every scan moved by 1.5 mm on its own: each placement is as precise as before, together they contradict."""
    studio = make_studio(5, Errors(corner_px=0.1, depth_mm=1.0), num=6)
    rng = np.random.default_rng(0)
    moved = []
    for placement in studio.observations.placements:
        shift = rng.normal(0, 1.5e-3, 3)
        moved.append(
            replace(
                placement,
                color=replace(placement.color, points_scan=placement.color.points_scan + shift),
                ir=replace(placement.ir, points_scan=placement.ir.points_scan + shift),
            )
        )
    torn_observations = replace(studio.observations, placements=tuple(moved))
    calm, torn = _checked(studio.observations), _checked(torn_observations)
    assert calm.ratio < 1.3
    assert torn.bootstrap_mm > 2.5 * calm.bootstrap_mm
    assert torn.jacobian_mm > 2.5 * calm.jacobian_mm  # the placements' own spread is a part of the covariance
    held = _checked(torn_observations, holds_priors=True)
    assert held.ratio > 2.0 * calm.ratio  # a covariance that does not take it in is told by the bootstrap
    assert held.ratio > FAST.gates.max_bootstrap_ratio


def _checked(observations: SensorObservations, *, holds_priors: bool = False) -> BootstrapCheck:
    problem = Problem(observations, FAST)
    start = start_states(observations)[0]
    solution = solve(problem, start, prior_sigma=problem.prior_sigma if holds_priors else None)
    check = bootstrap_check(problem, solution, person_grid(), np.random.default_rng(1))
    assert check is not None
    return check


def test_two_placements_are_too_few_for_a_bootstrap():
    studio = make_studio(6, Errors(corner_px=0.1), num=2)
    problem = Problem(studio.observations, FAST)
    solution = solve(problem, start_states(studio.observations)[0], rounds=2)
    assert bootstrap_check(problem, solution, person_grid(), np.random.default_rng(0)) is None
