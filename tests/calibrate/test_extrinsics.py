"""The joint solve on observations with known truth: exact, derivative by derivative, noisy, wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anim_real.calibrate.extrinsics import NUM_SHARED, Problem, State, solve
from anim_real.calibrate.observations import CornerPairs
from anim_real.calibrate.protocol import ProtocolSpec, load_protocol
from anim_real.calibrate.sensor import sensor_calibration, solve_sensor
from anim_real.calibrate.start import start_states
from anim_real.errors import DataError, RefusedError
from anim_real.geometry.frames import Rigid

from .synthetic import REALISTIC, Errors, make_studio, person_grid, spread_poses

UP = np.array([0.0, 1.0, 0.0])
PROTOCOL: ProtocolSpec = load_protocol("default")[0]


def solved(studio, protocol=PROTOCOL):
    return solve_sensor(studio.observations, studio.target, protocol, floor_center=np.zeros(3), up=UP)


def failed(result):
    return {gate.name for gate in result.gates if not gate.passed}


def test_exact_observations_give_the_exact_pose():
    studio = make_studio(0, Errors())
    solution = solve(Problem(studio.observations, PROTOCOL), start_states(studio.observations)[0])
    assert studio.person_error_mm(solution.state.T_color_scan) < 1e-6
    assert studio.depth_error_mm(solution.state.T_depth_scan) < 1e-6
    assert abs(solution.state.offset_m) < 1e-9
    assert solution.is_converged


def test_exact_observations_reveal_the_factorys_errors():
    """Priors pull by the square of (0.02 px against 2 px): a few micrometres."""
    studio = make_studio(1, Errors(factory=1.0), num=6)
    state = solve(Problem(studio.observations, PROTOCOL), start_states(studio.observations)[0]).state
    assert studio.person_error_mm(state.T_color_scan) < 0.01
    assert studio.depth_error_mm(state.T_depth_scan) < 0.01
    assert state.offset_m == pytest.approx(studio.offset_m, abs=1e-5)
    assert state.slope == pytest.approx(studio.slope, abs=1e-5)
    camera = state.color_camera(studio.observations.color)
    assert [camera.fx, camera.fy, camera.cx, camera.cy] == pytest.approx(
        [studio.color.fx, studio.color.fy, studio.color.cx, studio.color.cy], abs=2e-3
    )


def test_jacobians_equal_differences():
    studio = make_studio(2, Errors(factory=1.0), num=2)
    problem = Problem(studio.observations, PROTOCOL)
    rng = np.random.default_rng(0)
    start = State.factory(studio.T_color_scan, studio.observations.T_color_depth)
    step0 = rng.normal(0, 1e-3, problem.num_parameters)
    state = start.moved(step0, problem.placements)
    points = problem.associate(start, 0.1)
    blocks = problem.blocks(state, points)
    assert {block.kind for block in blocks} == {"color", "ir", "depth"}
    for column in range(problem.num_parameters):
        step = np.zeros(problem.num_parameters)
        step[column] = 1e-6
        ahead, behind = (problem.blocks(state.moved(sign * step, problem.placements), points) for sign in (1, -1))
        for block, plus, minus in zip(blocks, ahead, behind, strict=True):
            numeric = -(plus.residual - minus.residual) / 2e-6  # residual = observed - predicted
            scale = max(np.abs(block.jacobian[..., column]).max(), 1e-3)
            assert np.abs(numeric - block.jacobian[..., column]).max() < 2e-4 * scale, (block.kind, column)


@pytest.mark.parametrize("seed", [11, 12])
def test_realistic_errors_stay_below_the_goal(seed):
    """5 % wrong corners, 30 % depth outliers, a depth ripple the model lacks, factory errors in everything."""
    studio = make_studio(seed, REALISTIC)
    result = solved(studio)
    state = result.solution.state
    assert failed(result) == set()
    assert studio.depth_error_mm(state.T_depth_scan) < 1.5
    camera, grid = state.color_camera(studio.observations.color), person_grid()
    pixels = camera.project(state.T_color_scan.apply(grid)) - studio.color.project(studio.T_color_scan.apply(grid))
    assert np.nanmean(np.linalg.norm(pixels, axis=1)) < 0.3
    start = start_states(studio.observations)[0]
    assert studio.person_error_mm(state.T_color_scan) < 0.5 * studio.person_error_mm(
        start.T_color_scan
    )  # PnP alone is worse


def test_covariance_is_not_far_from_the_truth():
    """Squared Mahalanobis distance of the pose over several trials: near 6 on average, never absurd."""
    distances = []
    for seed in range(20, 24):
        studio = make_studio(seed, replace(REALISTIC, wrong_corners=0.0, depth_outliers=0.0), num=6)
        solution = solve(Problem(studio.observations, PROTOCOL), start_states(studio.observations)[0])
        error = studio.T_color_scan @ solution.state.T_color_scan.inverse()
        vector = np.r_[error.rotvec, error.translation]
        distances.append(vector @ np.linalg.solve(solution.covariance[:6, :6], vector))
    assert 1.5 < np.mean(distances) < 15.0
    assert max(distances) < 40.0


def test_outliers_are_found():
    studio = make_studio(30, replace(REALISTIC, depth_outliers=0.0))
    solution = solve(Problem(studio.observations, PROTOCOL), start_states(studio.observations)[0])
    truth = {}
    for placement in studio.observations.placements:
        expected = studio.color.project(studio.T_color_scan.apply(placement.color.points_scan))
        truth[placement.index] = np.linalg.norm(placement.color.pixels - expected, axis=1) < 2.0
    for index, good in truth.items():
        found = solution.block("color", index)
        assert found is not None
        assert (found[1] == good).mean() > 0.97


def test_one_placement_is_refused():
    studio = make_studio(3, Errors(corner_px=0.1), num=1)
    with pytest.raises(RefusedError, match="1 placement only"):
        solved(studio)


def test_placements_at_one_depth_are_refused():
    poses = [
        Rigid.from_rotvec("scan", "target", [0, a, 0], [x, y, 0.0])
        for x in (-0.4, 0.0, 0.4)
        for y, a in ((0.0, 0.3), (0.7, 1.2))
    ]
    result = solved(make_studio(4, replace(REALISTIC, factory=0.0), poses=poses))
    assert "spread in depth" in failed(result)


def test_too_few_placements_are_refused():
    result = solved(make_studio(5, replace(REALISTIC, factory=0.0), num=3))
    assert "placements" in failed(result)


@pytest.mark.parametrize(
    ("factor", "word"), [(1000.0, "millimetres"), (0.001, "scaled from metres"), (1.05, "times the size")]
)
def test_unit_mix_ups_are_named(factor, word):
    studio = make_studio(6, Errors(), num=2)
    with pytest.raises(RefusedError, match=word):
        solved(_scaled(studio, np.full(3, factor)))


def test_mirrored_scans_are_named():
    studio = make_studio(7, Errors(scan_mm=0.3), num=2)
    with pytest.raises(RefusedError, match="mirrored"):
        solved(_scaled(studio, np.array([-1.0, 1.0, 1.0])))


def test_swapped_scans_are_refused():
    """Every capture paired with another placement's scan."""
    studio = make_studio(8, Errors(corner_px=0.1), num=6)
    placements = studio.observations.placements
    swapped = []
    for first, second in zip(placements, placements[1:] + placements[:1], strict=True):
        ids, a, b = np.intersect1d(first.color.ids, second.color.ids, return_indices=True)
        color = replace(first.color, ids=ids, pixels=first.color.pixels[a], points_scan=second.color.points_scan[b])
        ids, a, b = np.intersect1d(first.ir.ids, second.ir.ids, return_indices=True)
        ir = replace(first.ir, ids=ids, pixels=first.ir.pixels[a], points_scan=second.ir.points_scan[b])
        swapped.append(replace(first, color=color, ir=ir, surface=second.surface))
    studio = replace(studio, observations=replace(studio.observations, placements=tuple(swapped)))
    try:
        assert failed(solved(studio)) & {"share of corners kept", "color residual", "held-out target error"}
    except DataError as error:
        assert "corners" in str(error)


def test_a_placement_without_observations_does_no_harm():
    studio = make_studio(14, Errors(corner_px=0.1, depth_mm=1.0), num=3)
    first, *rest = studio.observations.placements
    empty = replace(
        first, color=CornerPairs.empty(), ir=CornerPairs.empty(), depth_m=np.full_like(first.depth_m, np.nan)
    )
    studio = replace(studio, observations=replace(studio.observations, placements=(empty, *rest)))
    result = solved(studio)
    assert {item.placement for item in result.held_out} == {1, 2}
    assert result.coverage.num_placements == 2
    assert studio.depth_error_mm(result.solution.state.T_depth_scan) < 2.0


def test_fixed_groups_stay_at_the_factory():
    protocol = PROTOCOL.model_copy(update={"solver": PROTOCOL.solver.model_copy(update={"estimate": ("depth_bias",)})})
    studio = make_studio(9, Errors(factory=1.0), num=3)
    solution = solve(Problem(studio.observations, protocol), start_states(studio.observations)[0])
    assert solution.state.T_color_depth.matrix == pytest.approx(studio.observations.T_color_depth.matrix)
    assert not solution.state.relative_focal.any()
    assert solution.covariance[8, 8] == 0.0
    assert solution.covariance.shape[0] == NUM_SHARED + 3


def test_the_record_holds_the_solution():
    studio = make_studio(10, replace(REALISTIC, factory=0.5), num=6, poses=spread_poses(np.random.default_rng(1), 6))
    result = solved(studio)
    record = sensor_calibration(result, serial="1", color_mode="720P", depth_mode="NFOV_UNBINNED", clock=None)
    assert record.T_color_scan.rigid().matrix == pytest.approx(result.solution.state.T_color_scan.matrix)
    assert [entry.placement for entry in record.placements] == list(range(6))
    assert all(entry.held_out_target_mm is not None and entry.held_out_target_mm < 3.0 for entry in record.placements)
    covariance = np.array(record.covariance)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert record.depth_bias.offset_m == result.solution.state.offset_m


def _scaled(studio, factors):
    placements = tuple(
        replace(
            placement,
            color=replace(placement.color, points_scan=placement.color.points_scan * factors),
            ir=replace(placement.ir, points_scan=placement.ir.points_scan * factors),
        )
        for placement in studio.observations.placements
    )
    return replace(studio, observations=replace(studio.observations, placements=placements))
