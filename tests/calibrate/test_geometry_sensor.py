"""A sensor solved by an object's shape alone: covariance, gates, record. The oracle is the world's own pose."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import trimesh

from anim_real.calibrate.bootstrap import bootstrap_check
from anim_real.calibrate.evidence import predicted_color_px, predicted_target_mm
from anim_real.calibrate.markerless.gates import held_out_depth_mm, judge_geometry
from anim_real.calibrate.markerless.sensor import solve_geometry_sensor
from anim_real.calibrate.markerless.solve import geometry_protocol
from anim_real.calibrate.protocol import load_protocol
from anim_real.calibrate.sensor import sensor_calibration
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution, solve
from anim_real.calibrate.solve.state import CENTER, DELTA, FOCAL, POSE, State
from anim_real.calibration import GateVerdict
from anim_real.errors import RefusedError
from tests.calibrate.geometry_world import DEPTH, SMALL, GeometryWorld, lumpy_object, make_world


def lumpy_world(seed: int, **changes) -> GeometryWorld:
    return make_world(seed, lumpy_object(np.random.default_rng(seed)), **{"camera": SMALL, **changes})


def test_what_depth_does_not_show_stays_open_whatever_the_protocol_estimates() -> None:
    protocol = load_protocol("default")[0]
    assert geometry_protocol(protocol).solver.estimate == protocol.solver.estimate
    bare = protocol.model_copy(update={"solver": protocol.solver.model_copy(update={"estimate": ("depth_bias",)})})
    assert geometry_protocol(bare).solver.estimate == ("depth_bias", "depth_to_color", "color_focal", "color_center")


@cache
def solved_near_truth() -> tuple[GeometryWorld, Problem, Solution]:
    """A joint solve of eight placements from the true pose: what the gates look at."""
    world = lumpy_world(1, num=8, camera=DEPTH)
    factory = world.observations.T_color_depth
    problem = Problem(world.observations, geometry_protocol(load_protocol("default")[0]))
    return world, problem, solve(problem, State.factory(factory @ world.T_depth_scan, factory))


def verdicts(problem: Problem, solution: Solution, world: GeometryWorld) -> dict[str, GateVerdict]:
    points = world.person_scan()
    check = bootstrap_check(problem, solution, points, np.random.default_rng(0))
    return {gate.name: gate for gate in judge_geometry(problem, solution, points, bootstrap=check)}


def test_what_is_not_observed_keeps_the_factorys_value_and_the_priors_spread() -> None:
    world, problem, solution = solved_near_truth()
    state, sigma = solution.state, np.sqrt(np.diag(solution.covariance))
    assert state.T_color_depth.matrix == pytest.approx(world.observations.T_color_depth.matrix, abs=1e-9)
    assert np.abs(state.relative_focal).max() < 1e-12 and np.abs(state.center_px).max() < 1e-9
    for part in (DELTA, FOCAL, CENTER):
        assert sigma[part] == pytest.approx(problem.prior_sigma[part], rel=1e-6)
    assert sigma[POSE][:3].min() > np.radians(0.29)  # the colour camera's turn is the factory's, 0.3 degrees
    points = world.person_scan()
    assert predicted_color_px(solution, world.observations.color, points) > 3.0
    assert predicted_target_mm(solution, points) < 1.5  # of depth, the factory's transform is no part


def test_a_well_spread_take_passes_and_its_prediction_is_near_the_error() -> None:
    world, problem, solution = solved_near_truth()
    gates = verdicts(problem, solution, world)
    assert all(gate.passed for gate in gates.values()), gates
    predicted, error = gates["predicted target error"].value, world.person_mm(solution.state.T_depth_scan)
    assert predicted is not None
    assert error < 3.0 * predicted
    assert predicted < 1.5


def test_placements_that_moved_after_their_scans_are_refused() -> None:
    """So far off they count for nothing in the solve, nor in the bootstrap: what was held out tells of them."""
    world, problem, solution = solved_near_truth()
    placements = tuple(
        replace(placement, depth_m=placement.depth_m + {2: 0.015, 5: -0.015}.get(placement.index, 0.0))
        for placement in problem.observations.placements
    )
    pushed = problem.part(replace(problem.observations, placements=placements))
    gate = verdicts(pushed, solve(pushed, solution.state), world)["held-out depth error"]
    assert not gate.passed
    assert "the worst is placement" in gate.advice


def test_a_placement_that_moved_after_its_scan_shows_when_held_out() -> None:
    _, problem, solution = solved_near_truth()
    pushed = {
        key: replace(points, z_measured=points.z_measured + (0.012 if key == 3 else 0.0))
        for key, points in solution.depth_points.items()
    }
    errors = held_out_depth_mm(problem, replace(solution, depth_points=pushed))
    assert max(errors, key=lambda key: errors[key]) == 3
    assert errors[3] > 8.0


def test_too_few_placements_at_one_distance_fail_by_name() -> None:
    world, problem, solution = solved_near_truth()
    few = {key: solution.depth_points[key] for key in (0, 1)}
    assert not verdicts(problem, replace(solution, depth_points=few), world)["placements"].passed


def test_a_covariance_that_forgets_what_placements_share_fails_by_the_bootstrap() -> None:
    """Every depth pixel taken for independent, no error of a placement's own, yet four placements err by 4 mm."""
    world, problem, solution = solved_near_truth()
    protocol = problem.protocol
    solver = protocol.solver.model_copy(update={"estimate": ("depth_bias",), "depth_effective": 1500.0})
    placements = tuple(
        replace(placement, depth_m=placement.depth_m + 0.004 * (0, 1, 0, -1, 1, 0, 0, -1)[placement.index])
        for placement in problem.observations.placements
    )
    uneven = replace(problem.observations, placements=placements)
    sure = Problem(uneven, geometry_protocol(protocol.model_copy(update={"solver": solver})))
    gate = verdicts(sure, solve(sure, solution.state), world)["bootstrap over covariance"]
    assert gate.value is not None and gate.value > 2.0
    assert not gate.passed
    assert "Placements differ by more than the noise explains" in gate.advice


def test_too_few_placements_for_a_bootstrap_do_not_pass() -> None:
    world, problem, solution = solved_near_truth()
    gates = judge_geometry(problem, solution, world.person_scan(), bootstrap=None)
    assert not {gate.name: gate for gate in gates}["bootstrap over covariance"].passed


def test_a_sensor_is_solved_and_judged_by_depth_alone() -> None:
    world = lumpy_world(4, num=4, scan_floor=True, camera=DEPTH)
    floor, up = world.person_scan()[:9].mean(0), world.T_depth_scan.inverse().rotation @ [0, -1.0, 0]
    solved = solve_geometry_sensor(world.observations, load_protocol("default")[0], floor_center=floor, up=up)
    assert world.person_mm(solved.solution.state.T_depth_scan) < 3.0
    seen = set(solved.held_out_depth_mm)
    assert {0, 1, 3} <= seen
    assert solved.held_out == []
    assert [gate.name for gate in solved.gates if not gate.passed][:1] == ["placements"]
    assert (solved.coverage.num_placements, solved.coverage.num_color_corners) == (len(seen), 0)
    record = sensor_calibration(solved, serial=None, color_mode="720P", depth_mode="NFOV_UNBINNED", clock=None)
    assert record.color_is_factory
    assert record.T_color_depth.rigid().matrix == pytest.approx(world.observations.T_color_depth.matrix)
    told = {entry.placement: entry.held_out_depth_mm for entry in record.placements}
    assert {key: value for key, value in told.items() if value is not None} == solved.held_out_depth_mm


def test_a_sensor_before_a_round_object_is_refused() -> None:
    world = make_world(3, trimesh.creation.cylinder(0.12, 0.45, sections=64), num=1, camera=SMALL)
    with pytest.raises(RefusedError, match="leaves a motion open"):
        solve_geometry_sensor(
            world.observations, load_protocol("default")[0], floor_center=np.zeros(3), up=np.array([0.0, 1.0, 0.0])
        )
