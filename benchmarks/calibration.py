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
from calibration_honesty import DEGREES, score
from calibration_icp import open3d_icp
from calibration_refusals import cases, refusal
from calibration_world import World, WorldErrors, make_world
from numpy.typing import NDArray
from scipy.stats import chi2

from anim_real.calibrate.boards.rigid_shape import weighted_alignment
from anim_real.calibrate.observations import CornerPairs
from anim_real.calibrate.protocol import ProtocolSpec, load_protocol
from anim_real.calibrate.solve.depth_bias import RayImage
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution, solve
from anim_real.calibrate.solve.start import start_states
from anim_real.calibrate.solve.state import PARAMETER_NAMES, State
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
METHODS = (
    "Open3D ICP, point to plane",
    "depth alone, own solver",
    "colour PnP alone",
    "Procrustes on corners",
    "joint, factory cameras",
    "joint",
)
USUAL = "usual"
TAKES = {
    USUAL: WorldErrors(),
    "scanner three times as bad": WorldErrors(scanner_mm=0.6),
    "cyclic depth error three times as large": WorldErrors(wiggle_mm=3.0),
}
NUM_ACCURACY, NUM_WORSE = 20, 40
_NO_RAYS = RayImage(rays=np.zeros((1, 1, 2)), by_lens=np.zeros((1, 1, 2, 3)))  # depth is associated already


def solve_world(world: World, *, estimate: Sequence[str] | None = None) -> tuple[Problem, Solution]:
    """Solve a take; with other free parameters than the protocol's if given."""
    protocol, _ = load_protocol("default")
    if estimate is not None:
        solver = protocol.solver.model_copy(update={"estimate": tuple(estimate)})
        protocol = protocol.model_copy(update={"solver": solver})
    problem = Problem(world.observations, protocol, depth_rays=_NO_RAYS)
    return problem, solve(problem, start_states(world.observations)[0], associated=world.depth_points)


def trial(task: tuple[str, int]) -> dict[str, Array]:
    """Errors, predictions and squared lengths of a take (``calibration_honesty``), and the scans' own error (mm)."""
    name, seed = task
    world = make_world(seed, TAKES[name])
    problem, solution = solve_world(world)
    shift = 1e3 * float(solution.prior_sigma[problem.free_wobbles()[0, -1]])
    return score(world, problem, solution, seed) | {"scan shift": np.array(shift)}


def other_method(task: tuple[str, int]) -> tuple[Array, Array]:
    """Target error (mm) and colour error (px) over the volume of a method at a seed."""
    name, seed = task
    world = make_world(seed, rigid=name == "joint")
    factory = State.factory(world.truth.T_color_scan, world.observations.T_color_depth)
    if name == "Open3D ICP, point to plane":
        start = start_states(world.observations)[0]  # as good as a start can be: ICP is not to blame for it
        state = replace(factory, T_color_scan=factory.T_color_depth @ open3d_icp(world, start.T_depth_scan))
    elif name == "depth alone, own solver":
        bare = replace(
            world.observations,
            placements=tuple(
                replace(p, color=CornerPairs.empty(), ir=CornerPairs.empty()) for p in world.observations.placements
            ),
        )
        problem = Problem(bare, _plain(), depth_rays=_NO_RAYS)
        start = start_states(world.observations)[0]
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
    for order, (name, label) in enumerate(
        (
            ("target", "target error, mm"),
            ("chain", "with the device's depth error, mm"),
            ("pose", "pose of the colour camera, mm"),
            ("px", "colour reprojection, px"),
        )
    ):
        values = np.stack([answer[name] for answer in first])
        predicted = np.mean([answer["predicted"][order] for answer in first])
        figures = (values.mean(), np.percentile(values, 95), values.max(), predicted)
        print(f"{label:34}" + "".join(f"{value:>9.3f}" for value in figures[:3]) + f"{figures[3]:>11.3f}")
    print(f"\n95 % covariance holds the truth, {len(answers)} trials (goal 90 to 98 %)")
    print_coverage(answers)
    normalised = np.stack([answer["normalised"] for answer in answers])
    for number, name in enumerate(PARAMETER_NAMES):
        if np.isfinite(normalised[:, number]).all():
            column = normalised[:, number]
            print(f"{name:34}{100 * (np.abs(column) < 1.96).mean():>8.1f}%   spread {column.std():.2f} (1 expected)")
    ratios = np.array([answer["ratio"] for answer in answers])
    low, middle, high = np.percentile(ratios, [5, 50, 95])
    print(f"{'bootstrap over covariance':34}{middle:>9.2f} median, {low:.2f} to {high:.2f} (5 to 95 %)")


def print_coverage(answers: list[dict[str, Array]]) -> None:
    """How often the 95 % region holds the truth, and the scans' own error that the takes show."""
    for name, label in (
        ("pose", "pose of the colour camera, 6 dof"),
        ("depth pose", "pose of the depth camera, 6 dof"),
        ("target", "target error, 6 dof"),
        ("point", "target error of a point, 3 dof"),
        ("pixel", "colour error of a point, 2 dof"),
    ):
        squared, degrees = np.concatenate([np.ravel(answer[f"squared {name}"]) for answer in answers]), DEGREES[name]
        inside = (squared < chi2.ppf(0.95, degrees)).mean()
        print(f"{label:34}{100 * inside:>8.1f}%   mean squared length {squared.mean():.2f} ({degrees} expected)")
    shifts = np.array([answer["scan shift"] for answer in answers])
    limit = load_protocol("default")[0].gates.max_scan_shift_mm
    low, middle, high = np.percentile(shifts, [5, 50, 95])
    print(
        f"{'scans off, mm':34}{middle:>9.3f} median, {low:.3f} to {high:.3f} (5 to 95 %);"
        f" {100 * (shifts > limit).mean():.0f} % refused"
    )
    if (shifts > limit).any() and (shifts <= limit).any():
        kept = [float(answer["squared target"]) for answer in answers if answer["scan shift"] <= limit]
        print(f"{'  target error of those accepted':34}{100 * (np.array(kept) < chi2.ppf(0.95, 6)).mean():>8.1f}%")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=1000, help="of the trials")
    parser.add_argument("--refusals", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--rig", default="virtual")
    parser.add_argument("--placements", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    flags = parser.parse_args()
    with get_context("spawn").Pool(flags.processes) as pool:
        if flags.trials:
            for name in TAKES:
                num = flags.trials if name == USUAL else min(flags.trials, NUM_WORSE)
                answers = pool.map(trial, [(name, flags.first_seed + number) for number in range(num)])
                if name == USUAL:
                    print_trials(answers)
                else:
                    errors = np.mean(
                        [[answer[key].mean() for key in ("target", "chain", "px")] for answer in answers], 0
                    )
                    print(f"\n{name}, {num} trials: {errors[0]:.3f} mm, chain {errors[1]:.3f} mm, {errors[2]:.3f} px")
                    print_coverage(answers)
            print(f"\nother methods, the same {NUM_ACCURACY} trials: mean / max over the volume")
            for name in METHODS:
                found = pool.map(other_method, [(name, flags.first_seed + number) for number in range(NUM_ACCURACY)])
                target, px = (np.stack(values) for values in zip(*found, strict=True))
                print(
                    f"{name:30}{target.mean():>8.2f} /{target.max():>7.2f} mm{px.mean():>9.3f} /{px.max():>7.3f} px",
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
