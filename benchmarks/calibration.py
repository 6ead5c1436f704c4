"""Calibration against known truth: accuracy, honesty of the covariance, other methods, refusals, the whole studio.

    python benchmarks/calibration.py --trials 200 --refusals 10 --seeds 1 2 3 4 5

Trials and refusals are takes without images (``calibration_world``), colour at 1536P; the first 20 trials make the
accuracy tables, all of them the covariance's. A seed is a whole take of the virtual studio with its own device, day
and placements, recorded to MKV files and solved by the commands; errors are those of the demo's scoring.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from calibration_refusals import cases, refusal
from calibration_world import World, make_world, volume_points
from numpy.typing import NDArray
from scipy.stats import chi2

from anim_real.calibrate.bootstrap import bootstrap_check
from anim_real.calibrate.depth_bias import RayImage
from anim_real.calibrate.evidence import predicted_color_px, predicted_pose_mm, predicted_target_mm, target_jacobian
from anim_real.calibrate.observations import CornerPairs
from anim_real.calibrate.problem import Problem
from anim_real.calibrate.protocol import ProtocolSpec, load_protocol
from anim_real.calibrate.rigid_shape import weighted_alignment
from anim_real.calibrate.solver import Solution, solve
from anim_real.calibrate.start import start_states
from anim_real.calibrate.state import BIAS, DEPTH_LENS, NUM_SHARED, PARAMETER_NAMES, POSE, State
from anim_real.calibration import load_calibration
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.commands import calibrate, simulate
from anim_real.commands.demo.score import score_calibration, score_clock
from anim_real.console import Console
from anim_real.geometry.frames import Rigid
from anim_real.rig import load_rig
from anim_real.studio.truth import load_truth

Array = NDArray[np.float64]
COLUMNS = ("pose mm", "pose max", "predicted", "depth mm", "depth max", "px", "px max", "clock us", "ppm", "solve s")
METHODS = ("depth ICP alone", "colour PnP alone", "Procrustes on corners", "joint, factory cameras", "joint")
NUM_ACCURACY = 20
_NO_RAYS = RayImage(rays=np.zeros((1, 1, 2)), by_lens=np.zeros((1, 1, 2, 3)))  # depth is associated already


def solve_world(world: World, *, estimate: Sequence[str] | None = None) -> tuple[Problem, Solution]:
    """Solve a take; with other free parameters than the protocol's if given."""
    protocol, _ = load_protocol("default")
    if estimate is not None:
        solver = protocol.solver.model_copy(update={"estimate": tuple(estimate)})
        protocol = protocol.model_copy(update={"solver": solver})
    problem = Problem(world.observations, protocol, depth_rays=_NO_RAYS)
    return problem, solve(problem, start_states(world.observations)[0], associated=world.depth_points)


def trial(seed: int) -> dict[str, Array]:
    """Errors, predictions and normalised errors of one take."""
    world = make_world(seed)
    problem, solution = solve_world(world)
    state, points = solution.state, volume_points()
    error = parameter_error(world, state)
    covariance = solution.covariance[:NUM_SHARED, :NUM_SHARED]
    jacobian, part = target_jacobian(solution, points)
    corners = jacobian[[0, len(points) // 2, -1]].reshape(-1, jacobian.shape[2])
    index = np.r_[0:12, DEPTH_LENS]
    check = bootstrap_check(problem, solution, points, np.random.default_rng(seed))
    assert check is not None
    return {
        "target": world.target_error_mm(state),
        "chain": world.chain_error_mm(state),
        "pose": world.pose_error_mm(state),
        "px": world.color_error_px(state),
        "predicted": np.array(
            [
                predicted_target_mm(solution, points),
                predicted_pose_mm(solution, points),
                predicted_color_px(solution, world.observations.color, points),
            ]
        ),
        "pose squared": mahalanobis(error[POSE], covariance[POSE, POSE], 6),
        "target squared": mahalanobis(corners @ error[index], corners @ part @ corners.T, 6),
        "normalised": error / np.sqrt(np.diag(covariance)),
        "ratio": np.array(check.ratio),
    }


def parameter_error(world: World, state: State) -> Array:
    """(21,) truth minus estimate; the depth bias has no true offset and slope, its errors are NaN."""
    factory, error = world.observations, np.full(NUM_SHARED, np.nan)
    for start, (true, found) in (
        (0, (world.truth.T_color_scan, state.T_color_scan)),
        (6, (world.truth.T_color_depth, state.T_color_depth)),
    ):
        step = true @ found.inverse()
        error[start : start + 6] = np.r_[step.rotvec, step.translation]
    focal = np.array([world.color.fx / factory.color.fx, world.color.fy / factory.color.fy])
    error[14:16] = np.array([focal[0] - 1, focal[1] - focal[0]]) - state.relative_focal
    error[16:18] = (world.color.cx - factory.color.cx, world.color.cy - factory.color.cy) - state.center_px
    depth_focal = (world.depth.fx / factory.depth.fx + world.depth.fy / factory.depth.fy) / 2 - 1
    lens = (depth_focal, world.depth.cx - factory.depth.cx, world.depth.cy - factory.depth.cy)
    error[DEPTH_LENS] = lens - state.depth_lens
    assert np.isnan(error[BIAS]).all()
    return error


def mahalanobis(error: Array, covariance: Array, rank: int) -> Array:
    """Squared length of an error in standard deviations, over the ``rank`` widest directions."""
    values, axes = np.linalg.eigh(covariance)
    return np.asarray(np.sum((axes[:, -rank:].T @ error) ** 2 / values[-rank:]))


def other_method(task: tuple[str, int]) -> tuple[Array, Array]:
    """Target error (mm) and colour error (px) over the volume of a method at a seed."""
    name, seed = task
    world = make_world(seed, rigid=name == "joint")
    factory = State.factory(world.truth.T_color_scan, world.observations.T_color_depth)
    if name == "depth ICP alone":
        bare = replace(
            world.observations,
            placements=tuple(
                replace(p, color=CornerPairs.empty(), ir=CornerPairs.empty()) for p in world.observations.placements
            ),
        )
        problem = Problem(bare, _plain(), depth_rays=_NO_RAYS)
        start = start_states(world.observations)[0]  # as good as a start can be: ICP is not to blame for it
        state = solve(problem, start, associated=world.depth_points).state
    elif name == "colour PnP alone":
        seen = tuple(replace(p, ir=CornerPairs.empty()) for p in world.observations.placements)
        problem = Problem(replace(world.observations, placements=seen), _plain(), depth_rays=_NO_RAYS)
        state = solve(problem, start_states(problem.observations)[0], associated={}).state
    elif name == "Procrustes on corners":
        state = replace(factory, T_color_scan=factory.T_color_depth @ _procrustes(world))
    elif name == "joint, factory cameras":
        state = solve_world(world, estimate=())[1].state
    else:
        state = solve_world(world)[1].state
    return world.target_error_mm(state), world.color_error_px(state)


def _plain() -> ProtocolSpec:
    protocol, _ = load_protocol("default")
    return protocol.model_copy(update={"solver": protocol.solver.model_copy(update={"estimate": ()})})


def _procrustes(world: World) -> Rigid:
    """``T_depth_scan`` from corners lifted by the depth measured there, with the outliers trimmed."""
    scan, depth = [], []
    for placement in world.observations.placements:
        rays = world.observations.depth.normalize(placement.ir.pixels)
        z = world.corner_depth[placement.index]
        depth.append(np.concatenate([rays, np.ones((len(rays), 1))], 1) * z[:, None])
        scan.append(placement.ir.points_scan)
    source, destination = np.concatenate(scan), np.concatenate(depth)
    weights = np.ones(len(source))
    for _ in range(20):
        rotation, translation = weighted_alignment(source, destination, weights)
        error = np.linalg.norm(source @ rotation.T + translation - destination, axis=1)
        weights = 1.0 / (1.0 + (error / (2.0 * np.median(error))) ** 2)
    return Rigid.from_parts("depth", "scan", rotation, translation)


def spoiled(task: tuple[int, int]) -> tuple[bool, bool]:
    """Whether a spoiled take is refused, and whether for the right reason."""
    number, seed = task
    case = cases()[number]
    reason = refusal(case.make(seed))
    return reason is not None, reason is not None and any(word in reason for word in case.reason)


def accepted(seed: int) -> bool:
    """Whether a good take is accepted."""
    return refusal(make_world(seed)) is None


def measure(seed: int, rig_name: str, placements: int) -> list[float]:
    """Simulate a calibration take, solve it, score it; one value per column."""
    rig, _, _ = load_rig(rig_name)
    sensor = rig.sensors[0].id
    with tempfile.TemporaryDirectory() as name:
        studio, output = Path(name) / "studio", Path(name) / "calibration.json"
        simulate.run(
            simulate.Arguments(output=studio, rig=rig_name, placements=placements, calibration_only=True, seed=seed),
            Console(quiet=True),
        )
        take = studio / "takes" / "calibration"
        start = time.perf_counter()
        calibrate.run(calibrate.Arguments(take=take, output=output, rig=rig_name), Console(quiet=True))
        seconds = time.perf_counter() - start
        solved = load_calibration(output).sensors[sensor]
        truth = load_truth(studio, "calibration").sensors[sensor]
        with open_recording(take / f"kinect-{sensor}.mkv") as recording:
            stamps_us = recording.stamps().time_us
    score = score_calibration(solved, truth, rig)
    assert solved.clock is not None
    clock = score_clock(solved.clock, truth.clock_to_scanner, stamps_us)
    pose = (score.pose_mean_mm, score.pose_max_mm, score.predicted_mm)
    depth = (score.depth_mean_mm, score.depth_max_mm)
    return [*pose, *depth, score.color_mean_px, score.color_max_px, clock.offset_us, clock.drift_ppm, seconds]


def print_trials(answers: list[dict[str, Array]]) -> None:
    """Accuracy over the first trials, coverage of the covariance over all."""
    first = answers[:NUM_ACCURACY]
    print(f"\nover the person volume, 8 placements, {len(first)} trials (colour at 1536P)")
    print(f"{'':34}{'mean':>9}{'p95':>9}{'max':>9}{'predicted':>11}")
    for name, label, order in (
        ("target", "target error, mm", 0),
        ("chain", "with the device's depth error, mm", None),
        ("pose", "pose of the colour camera, mm", 1),
        ("px", "colour reprojection, px", 2),
    ):
        values = np.stack([answer[name] for answer in first])
        predicted = "" if order is None else f"{np.mean([answer['predicted'][order] for answer in first]):>11.3f}"
        print(f"{label:34}{values.mean():>9.3f}{np.percentile(values, 95):>9.3f}{values.max():>9.3f}{predicted}")
    print(f"\n95 % covariance holds the truth, {len(answers)} trials (goal 90 to 98 %)")
    for name, label in (
        ("pose squared", "pose of the colour camera, 6 dof"),
        ("target squared", "target error, 6 dof"),
    ):
        squared = np.array([answer[name] for answer in answers])
        inside = (squared < chi2.ppf(0.95, 6)).mean()
        print(f"{label:34}{100 * inside:>8.1f}%   mean squared length {squared.mean():.2f} (6 expected)")
    normalised = np.stack([answer["normalised"] for answer in answers])
    for number, name in enumerate(PARAMETER_NAMES):
        if np.isfinite(normalised[:, number]).all():
            column = normalised[:, number]
            print(f"{name:34}{100 * (np.abs(column) < 1.96).mean():>8.1f}%   spread {column.std():.2f} (1 expected)")
    ratios = np.array([answer["ratio"] for answer in answers])
    low, middle, high = np.percentile(ratios, [5, 50, 95])
    print(f"{'bootstrap over covariance':34}{middle:>9.2f} median, {low:.2f} to {high:.2f} (5 to 95 %)")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--refusals", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--rig", default="virtual")
    parser.add_argument("--placements", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    flags = parser.parse_args()
    with get_context("spawn").Pool(flags.processes) as pool:
        if flags.trials:
            print_trials(pool.map(trial, range(1000, 1000 + flags.trials)))
            print(f"\nother methods, the same {NUM_ACCURACY} trials: mean / max over the volume")
            for name in METHODS:
                found = pool.map(other_method, [(name, 1000 + number) for number in range(NUM_ACCURACY)])
                target, px = (np.stack(values) for values in zip(*found, strict=True))
                print(
                    f"{name:26}{target.mean():>8.2f} /{target.max():>7.2f} mm{px.mean():>9.3f} /{px.max():>7.3f} px",
                    flush=True,
                )
        if flags.refusals:
            print(f"\nspoiled takes, {flags.refusals} each: refused, with the right reason")
            for number, case in enumerate(cases()):
                found = pool.map(spoiled, [(number, 3000 + k) for k in range(flags.refusals)])
                refused, named = np.mean(found, axis=0)
                print(f"{case.name:34}{100 * refused:>6.0f}%{100 * named:>6.0f}%", flush=True)
            good = pool.map(accepted, range(1000, 1000 + flags.refusals))
            print(f"{'good takes accepted':34}{100 * np.mean(good):>6.0f}%")
    if flags.seeds:
        print("\nthe whole studio\nseed  " + "".join(f"{name:>11}" for name in COLUMNS))
        rows = []
        for seed in flags.seeds:
            rows.append(measure(seed, flags.rig, flags.placements))
            print(f"{seed:<6}" + "".join(f"{value:>11.3f}" for value in rows[-1]), flush=True)
        print("median" + "".join(f"{value:>11.3f}" for value in np.median(rows, axis=0)))
        print("worst " + "".join(f"{value:>11.3f}" for value in np.max(rows, axis=0)))


if __name__ == "__main__":
    main()
