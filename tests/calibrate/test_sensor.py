"""A whole sensor: realistic errors stay below the goal; unit mix-ups, poor geometry and swaps are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anim_real.calibrate.observations import CornerPairs
from anim_real.calibrate.protocol import ProtocolSpec
from anim_real.calibrate.sensor import SensorSolution, sensor_calibration, solve_sensor
from anim_real.calibrate.solve.start import start_states
from anim_real.errors import DataError, RefusedError
from anim_real.geometry.frames import Rigid

from .synthetic import FAST, REALISTIC, Errors, Studio, make_studio, person_grid

UP = np.array([0.0, 1.0, 0.0])


def solved(studio: Studio, protocol: ProtocolSpec = FAST) -> SensorSolution:
    return solve_sensor(studio.observations, studio.target, protocol, floor_center=np.zeros(3), up=UP)


def failed(result: SensorSolution) -> set[str]:
    return {gate.name for gate in result.gates if not gate.passed}


@pytest.fixture(scope="module", params=[11, 12])
def realistic(request) -> tuple[Studio, SensorSolution]:
    """Seven placements with every error at once, solved."""
    studio = make_studio(request.param, REALISTIC, num=7)
    return studio, solved(studio)


def test_realistic_errors_stay_below_the_goal(realistic):
    """5 % wrong corners, 30 % depth outliers, a depth ripple the model lacks, factory errors in everything."""
    studio, result = realistic
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


def test_one_placement_is_refused():
    studio = make_studio(3, Errors(corner_px=0.1), num=1)
    with pytest.raises(RefusedError, match="one placement only"):
        solved(studio)


def test_placements_at_one_depth_are_refused():
    poses = [
        Rigid.from_rotvec("scan", "target", [0, a, 0], [x, y, 0.0])
        for x in (-0.4, 0.4)
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
    studio = make_studio(8, Errors(corner_px=0.1), num=4)
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


def test_the_record_holds_the_solution(realistic):
    _, result = realistic
    record = sensor_calibration(result, serial="1", color_mode="720P", depth_mode="NFOV_UNBINNED", clock=None)
    assert record.T_color_scan.rigid().matrix == pytest.approx(result.solution.state.T_color_scan.matrix)
    assert [entry.placement for entry in record.placements] == list(range(7))
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
