"""Several sensors in one solve: exact against the solver of one, better where scans err, apart where they must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anim_real.calibrate.joint.evidence import between_sensors, leave_one_scan_out, predicted_between_mm
from anim_real.calibrate.joint.layout import Member, groups_of
from anim_real.calibrate.joint.rig import solve_together
from anim_real.calibrate.joint.solve import JointSolution, solve_joint
from anim_real.calibrate.observations import CornerPairs, Placement, ScanSurface, SensorObservations
from anim_real.calibrate.protocol import ProtocolSpec
from anim_real.calibrate.sensor import FoundSensor, SensorSolution, judge_sensor
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.residuals import wobbled
from anim_real.calibrate.solve.solver import Solution, solve
from anim_real.calibrate.solve.start import start_states
from anim_real.calibrate.solve.state import NUM_LOCAL, NUM_SHARED, WOBBLE, State, local_slice
from anim_real.geometry.frames import Rigid

from .synthetic import FAST, Errors, Studio, make_studio, person_grid, spread_poses

UP = np.array([0.0, 1.0, 0.0])
NOISY = Errors(corner_px=0.1, depth_mm=1.0, wrong_corners=0.05)


def moved_scans(observations: SensorObservations, moves: dict[int, Rigid]) -> SensorObservations:
    """The same images with every scan moved: what an erring scanner would have made of it."""

    def pairs(found: CornerPairs, move: Rigid) -> CornerPairs:
        return replace(found, points_scan=move.apply(found.points_scan))

    def moved(placement: Placement) -> Placement:
        move = moves[placement.index]
        surface = ScanSurface.of(move.apply(placement.surface.vertices), placement.surface.faces)
        return replace(placement, surface=surface, color=pairs(placement.color, move), ir=pairs(placement.ir, move))

    return replace(observations, placements=tuple(moved(placement) for placement in observations.placements))


def make_pair(errors: Errors, *, shift_mm: float, num: int = 4) -> list[Studio]:
    """Two devices, 40 degrees apart about the volume, before the same scans, each of which is off by a small motion.

    ``shift_mm`` is the motion's size per axis, and three times that its turn over a metre.
    """
    rng = np.random.default_rng(7)
    poses = spread_poses(rng, num)
    moves = {}
    for index, pose in enumerate(poses):
        turn, shift = rng.normal(0, shift_mm * 1e-3, (2, 3))
        motion = Rigid.from_rotvec("scan", "scan", 3.0 * turn, np.zeros(3))
        center = pose.translation
        moves[index] = Rigid.from_parts("scan", "scan", motion.rotation, center - motion.rotation @ center + shift)
    studios = []
    for number in range(2):
        around = Rigid.from_rotvec("scan", "scan", np.radians(40.0 * number) * UP, np.zeros(3))
        studio = make_studio(31 + number, errors, poses=[around @ pose for pose in poses])
        back = {index: move @ around.inverse() for index, move in moves.items()}
        studios.append(
            replace(
                studio,
                observations=replace(moved_scans(studio.observations, back), sensor=f"k{number}"),
                T_color_scan=studio.T_color_scan @ around,
            )
        )
    return studios


def member_of(studio: Studio, protocol: ProtocolSpec = FAST) -> Member:
    """Solved with depth associated at the true pose: once instead of six times."""
    problem = Problem(studio.observations, protocol)
    true = State.factory(studio.T_color_scan, studio.T_color_depth)
    points = problem.associate(true, 0.03)
    return Member(problem=problem, solution=solve(problem, start_states(studio.observations)[0], associated=points))


def between_error_mm(studios: list[Studio], solutions: tuple[Solution, ...]) -> float:
    """Mean distance between where two solved depth cameras put the pixels of one point of known depth."""
    placed = []
    for studio, solution in zip(studios, solutions, strict=True):
        factory = studio.observations.depth
        points = (studio.T_color_depth.inverse() @ studio.T_color_scan).apply(person_grid())
        rays = solution.state.depth_camera(factory).normalize(factory.project(points))
        seen = np.concatenate([rays, np.ones((len(rays), 1))], 1) * points[:, 2:]
        placed.append(solution.state.T_depth_scan.inverse().apply(seen))
    return float(np.nanmean(np.linalg.norm(placed[0] - placed[1], axis=1)) * 1e3)


@pytest.fixture(scope="module")
def erring_scans() -> tuple[list[Studio], list[Member], JointSolution]:
    """No noise; scans 0.3 mm and a milliradian off."""
    studios = make_pair(Errors(), shift_mm=0.3)
    members = [member_of(studio) for studio in studios]
    return studios, members, solve_joint(members)


def test_two_exact_sensors_are_recovered():
    studios = make_pair(Errors(), shift_mm=0.0)
    joint = solve_joint([member_of(studio) for studio in studios])
    for studio, solution in zip(studios, joint.solutions, strict=True):
        assert studio.person_error_mm(solution.state.T_color_scan) < 0.02
    assert between_error_mm(studios, joint.solutions) < 0.02


def test_errors_of_the_scans_cancel_between_the_sensors(erring_scans):
    studios, members, joint = erring_scans
    apart = between_error_mm(studios, (members[0].solution, members[1].solution))
    assert between_error_mm(studios, joint.solutions) < 0.5 * apart
    assert all(solution.is_converged for solution in joint.solutions)


def test_both_sensors_read_the_same_motion_of_a_scan(erring_scans):
    _, members, joint = erring_scans
    points = person_grid()
    for placement in members[0].problem.placements:
        first, second = (
            wobbled(points, member.problem.centers[placement], solution.state.local_of(placement))
            for member, solution in zip(members, joint.solutions, strict=True)
        )
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)
        assert np.linalg.norm(first - points, axis=1).max() > 1e-4  # there is a motion


def test_the_prediction_knows_what_the_sensors_share(erring_scans):
    """The errors of sensors that share scans go together: less between them than if they had nothing in common."""
    studios, _, joint = erring_scans
    cross = joint.covariance_between(0, 1)
    together = predicted_between_mm((joint.solutions[0], joint.solutions[1]), cross, person_grid())
    as_if_apart = predicted_between_mm((joint.solutions[0], joint.solutions[1]), None, person_grid())
    assert together < 0.9 * as_if_apart
    assert between_error_mm(studios, joint.solutions) < 4 * together
    np.testing.assert_allclose(cross, joint.covariance_between(1, 0).T)
    both = np.block([[joint.solutions[0].covariance, cross], [cross.T, joint.solutions[1].covariance]])
    values = np.linalg.eigvalsh(both / np.outer(*[np.sqrt(np.maximum(np.diag(both), 1e-30))] * 2))
    assert values.min() > -1e-9  # a covariance


def fixed(problem: Problem, solution: Solution, priors: np.ndarray) -> Solution:
    """The solver's answer with weights, priors and associations as given."""
    return solve(
        problem, solution.state, rounds=2, associated=solution.depth_points, sigma=solution.sigma, prior_sigma=priors
    )  # fmt: skip


def assert_same(found: Solution, expected: Solution, *, atol: float = 1e-9) -> None:
    for name in ("T_color_scan", "T_color_depth"):
        first, second = getattr(found.state, name).matrix, getattr(expected.state, name).matrix
        np.testing.assert_allclose(first, second, rtol=0, atol=atol)
    for name in ("relative_focal", "center_px", "depth_lens"):
        np.testing.assert_allclose(getattr(found.state, name), getattr(expected.state, name), rtol=0, atol=1e3 * atol)


def test_one_sensor_alone_is_the_solver_s_answer():
    """Same weights, same priors: another implementation of the steps, the same answer and covariance."""
    member = member_of(make_pair(NOISY, shift_mm=0.2)[0])
    expected = fixed(member.problem, member.solution, member.solution.prior_sigma)
    found = solve_joint([member], is_fixed=True).solutions[0]
    assert_same(found, expected)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-5, atol=1e-5 * expected.covariance.max())


def test_two_equal_sensors_are_one_whose_scans_are_trusted_less():
    """An oracle: twice the same sensor has twice every term but the scans', so its optimum is that of one sensor whose
    scans' priors are wider by the root of two; also where the two read a scan's motion about different centres."""
    studio = make_pair(NOISY, shift_mm=0.2)[0]
    member = member_of(studio)
    priors = member.solution.prior_sigma.copy()
    for number in range(len(member.problem.placements)):
        priors[local_slice(number)][WOBBLE] *= np.sqrt(2.0)
    expected = fixed(member.problem, member.solution, priors)
    copies = []
    for side in (-1.0, 1.0):
        problem = Problem(studio.observations, FAST)
        problem.centers = {key: center + side * np.array([0.2, -0.1, 0.3]) for key, center in problem.centers.items()}
        copies.append(Member(problem=problem, solution=member.solution))
    joint = solve_joint(copies, is_fixed=True)
    for solution in joint.solutions:
        assert_same(solution, expected, atol=2e-9)


def test_scans_that_are_trusted_wholly_leave_the_sensors_apart():
    estimate = tuple(name for name in FAST.solver.estimate if name != "scan_wobble")
    protocol = FAST.model_copy(update={"solver": FAST.solver.model_copy(update={"estimate": estimate})})
    members = [member_of(studio, protocol) for studio in make_pair(NOISY, shift_mm=0.1)]
    joint = solve_joint(members, is_fixed=True)
    for member, solution in zip(members, joint.solutions, strict=True):
        assert_same(solution, fixed(member.problem, member.solution, member.solution.prior_sigma))
    assert np.abs(joint.covariance_between(0, 1)).max() == 0.0


def with_frames(member: Member, frames: list[int]) -> Member:
    observations = member.problem.observations
    placements = tuple(
        replace(placement, scan_frame=frame) for placement, frame in zip(observations.placements, frames, strict=True)
    )
    return replace(member, problem=member.problem.part(replace(observations, placements=placements)))


def test_sensors_hang_together_by_scans_that_both_saw():
    first, second = (member_of(s) for s in make_pair(NOISY, shift_mm=0.1, num=3))
    assert groups_of([first, second]) == [[0, 1]]
    assert groups_of([with_frames(first, [0, 1, 2]), with_frames(second, [3, 4, 5])]) == [[0], [1]]
    chain = [with_frames(first, [0, 1, 2]), with_frames(second, [5, 6, 7]), with_frames(second, [2, 4, 5])]
    assert groups_of(chain) == [[0, 1, 2]]
    joint = solve_joint(chain)
    assert np.abs(joint.covariance_between(0, 1)).max() > 0  # the ends hang together by the middle
    assert joint.solutions[0].covariance.shape == (NUM_SHARED + 3 * NUM_LOCAL,) * 2


def judge(found: FoundSensor, prefix: str, rest) -> SensorSolution:
    return judge_sensor(found, floor_center=np.zeros(3), up=UP, gate_prefix=prefix, rest=rest)


def found_of(studio: Studio) -> FoundSensor:
    member = member_of(studio)
    return FoundSensor(problem=member.problem, solution=member.solution, start=member.solution.state, num_starts=1)


def test_a_rig_of_one_sensor_keeps_its_own_solution():
    found = found_of(make_pair(NOISY, shift_mm=0.1)[0])
    rig = solve_together({"k0": found}, judge, person_grid(), is_rig=False)
    assert rig.sensors["k0"].solution is found.solution
    assert rig.between == ()
    assert [gate.name for gate in rig.gates] == [gate.name for gate in judge(found, "", None).gates]


def test_a_target_that_moved_between_the_sensors_captures_is_named():
    """The second sensor sees one placement 8 mm from where its scan and the first sensor have it."""
    first, second = make_pair(NOISY, shift_mm=0.1, num=5)
    still = solve_together({"k0": found_of(first), "k1": found_of(second)}, judge, person_grid(), is_rig=True)
    (good,) = still.between
    assert set(good.held_out_mm) == {0, 10, 20, 30, 40} and good.num_scans == 5
    assert max(good.held_out_mm.values()) < 2.0
    moves = {index: Rigid.identity("scan", "scan") for index in range(5)}
    moves[3] = Rigid.from_parts("scan", "scan", np.eye(3), np.array([0.008, 0.0, 0.0]))
    wrong = replace(second, observations=moved_scans(second.observations, moves))
    bad = solve_together({"k0": found_of(first), "k1": found_of(wrong)}, judge, person_grid(), is_rig=True)
    gates = {gate.name: gate for gate in bad.gates}
    assert not gates["k0 to k1: held-out error"].passed
    assert "scan 30 " in gates["k0 to k1: held-out error"].advice
    assert max(bad.between[0].held_out_mm, key=lambda scan: bad.between[0].held_out_mm[scan]) == 30


def test_a_sensor_with_the_wrong_scans_does_not_spoil_the_other():
    """The second sensor's captures are paired with other placements' scans: the first keeps its own solution."""
    first, second = make_pair(NOISY, shift_mm=0.1)
    steps = np.array([[0.1, 0, 0], [-0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]])
    shift = {index: Rigid.from_parts("scan", "scan", np.eye(3), step) for index, step in enumerate(steps)}
    wrong = replace(second, observations=moved_scans(second.observations, shift))
    found = {"k0": found_of(first), "k1": found_of(wrong)}
    rig = solve_together(found, judge, person_grid(), is_rig=True)
    assert rig.sensors["k0"].solution is found["k0"].solution
    assert rig.between == ()
    failed = {gate.name for gate in rig.gates if not gate.passed}
    assert "k1: share of corners kept" in failed
    assert "k0: share of corners kept" not in failed and "k0: held-out target error" not in failed


def test_held_out_states_did_not_see_the_scan():
    """A scan's observations, changed at will, leave the state without it as it is."""
    studios = make_pair(NOISY, shift_mm=0.1)
    members = [member_of(studio) for studio in studios]
    joint = solve_joint(members)
    rest = leave_one_scan_out(members, joint)
    assert [set(states) for states in rest] == [{0, 1, 2, 3}] * 2
    moves = {index: Rigid.identity("scan", "scan") for index in range(4)}
    moves[2] = Rigid.from_parts("scan", "scan", np.eye(3), np.array([0.0, 0.1, 0.0]))
    spoiled = [
        replace(member, problem=member.problem.part(moved_scans(member.problem.observations, moves)))
        for member in members
    ]
    again = leave_one_scan_out(spoiled, joint)
    for before, after in zip(rest, again, strict=True):
        np.testing.assert_allclose(before[2].T_color_scan.matrix, after[2].T_color_scan.matrix, atol=1e-9)
        assert np.abs(before[1].T_color_scan.matrix - after[1].T_color_scan.matrix).max() > 1e-6
    (pair,) = between_sensors(members, joint, rest, person_grid())
    assert (pair.first, pair.second) == ("k0", "k1")
    assert 0.0 < pair.moved_mm < 2.0
