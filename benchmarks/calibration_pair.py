"""Two sensors against one scanner: solved together, which shares the scans' errors, against each on its own.

    python benchmarks/calibration_pair.py --trials 100

Takes without images (``calibration_world``): two devices 40 degrees apart see the same eight scans. Errors are those
over the person-sized volume: of each sensor against the scans, and between the sensors, which is the distance between
where the two depth cameras put one point of known depth. Cases: ``default`` errors; ``corners``, the same with exact
corners on the scans, whose noise both sensors share and the solver takes for their own; ``scans``, where the scanner
bends space by 0.2 mm rms and hardly anything else is wrong.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
from calibration_honesty import parameter_error, squared_length
from calibration_world import NO_ERRORS, World, WorldErrors, make_rig, volume_points
from numpy.typing import NDArray
from scipy.stats import chi2

from anim_real.calibrate.evidence import TARGET_PARAMETERS, predicted_target_mm, target_jacobian
from anim_real.calibrate.joint.evidence import between_jacobian, predicted_between_mm
from anim_real.calibrate.joint.layout import Member
from anim_real.calibrate.joint.solve import solve_joint
from anim_real.calibrate.solve.solver import Solution
from anim_real.calibrate.solve.state import NUM_SHARED, POSE
from calibration import solve_world

Array = NDArray[np.float64]


CASES = {
    "default": WorldErrors(),
    "corners": replace(WorldErrors(), scan_corner_mm=0.0),
    "scans": replace(
        NO_ERRORS, scanner_mm=WorldErrors().scanner_mm, color_px=0.03, ir_px=0.03, depth_mm=0.1, factory=1.0
    ),
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trial: its seed and what is wrong with its take."""

    seed: int
    errors: WorldErrors


def trial(task: Task) -> dict[str, dict[str, Array]]:
    """Errors (mm, over the volume), predictions (mm), squared normalised errors and CPU seconds of both ways."""
    worlds = make_rig(task.seed, task.errors)
    start = time.process_time()
    members = [Member(problem=problem, solution=solution) for problem, solution in map(solve_world, worlds)]
    apart_s = time.process_time() - start
    start = time.process_time()
    joint = solve_joint(members)
    joint_s = time.process_time() - start
    first, second = (member.solution for member in members)
    return {
        "apart": _scores(worlds, (first, second), None) | {"seconds": np.array(apart_s)},
        "together": _scores(worlds, joint.solutions, joint.covariance_between(0, 1)) | {"seconds": np.array(joint_s)},
    }


def _scores(worlds: list[World], solutions: tuple[Solution, ...], cross: Array | None) -> dict[str, Array]:
    first, second = solutions
    points = volume_points()
    between = worlds[0].placed(first.state) - worlds[1].placed(second.state)
    errors = [parameter_error(world, solution.state) for world, solution in zip(worlds, solutions, strict=True)]
    some = points[[0, len(points) // 2, -1]]  # three points hold all six degrees of a rigid motion
    jacobian, covariance = between_jacobian((first, second), cross, some)
    rows = jacobian.reshape(-1, jacobian.shape[2])
    stacked = np.concatenate([error[TARGET_PARAMETERS] for error in errors])
    own = []
    for error, solution in zip(errors, solutions, strict=True):
        part, sigma = target_jacobian(solution, some)
        flat = part.reshape(-1, part.shape[2])
        own.append(squared_length(flat @ error[TARGET_PARAMETERS], flat @ sigma @ flat.T, 6))
    across = np.zeros((NUM_SHARED, NUM_SHARED)) if cross is None else cross
    poses = np.block(
        [
            [first.covariance[POSE, POSE], across[POSE, POSE]],
            [across[POSE, POSE].T, second.covariance[POSE, POSE]],
        ]
    )
    return {
        "target": np.concatenate([w.target_error_mm(s.state) for w, s in zip(worlds, solutions, strict=True)]),
        "between": np.linalg.norm(between, axis=1) * 1e3,
        "predicted target": np.array([predicted_target_mm(solution, points) for solution in solutions]).mean(
            keepdims=True
        ),
        "predicted between": np.array(predicted_between_mm((first, second), cross, points)),
        "target squared": np.array(own),
        "between squared": squared_length(rows @ stacked, rows @ covariance @ rows.T, 6),
        "poses squared": squared_length(np.concatenate([error[POSE] for error in errors]), poses, 12),
    }


def print_table(answers: list[dict[str, dict[str, Array]]]) -> None:
    """Accuracy, coverage and time of both ways."""
    print(f"{'':36}{'apart':>24}{'together':>24}")
    for name in ("target", "between"):
        cells = []
        for way in ("apart", "together"):
            values = np.stack([answer[way][name] for answer in answers])
            predicted = np.mean([answer[way][f"predicted {name}"] for answer in answers])
            cells.append(f"{values.mean():.3f} / {np.percentile(values, 95):.3f} ({predicted:.3f})")
        print(f"{name + ' error, mm: mean / p95 (predicted)':36}" + "".join(f"{cell:>24}" for cell in cells))
    apart, together = (np.array([answer[way]["between"].mean() for answer in answers]) for way in ("apart", "together"))
    print(f"between the sensors, better in {100 * np.mean(together < apart):.0f} % of the takes")
    for name, freedom in (("target squared", 6), ("between squared", 6), ("poses squared", 12)):
        cells = []
        for way in ("apart", "together"):
            squared = np.array([answer[way][name] for answer in answers])
            inside = 100 * np.mean(squared < chi2.ppf(0.95, freedom))
            cells.append(f"{inside:.1f} % (mean {squared.mean():.1f} of {freedom})")
        print(f"{'95 % covariance holds: ' + name.split()[0]:36}" + "".join(f"{cell:>24}" for cell in cells))
    apart_s, joint_s = (np.median([answer[way]["seconds"] for answer in answers]) for way in ("apart", "together"))
    print(f"CPU, median: {apart_s:.2f} s for both sensors apart, {joint_s:.2f} s more together", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    flags = parser.parse_args()
    with get_context("spawn").Pool(flags.processes) as pool:
        for case in flags.cases:
            print(f"\n{case}: {flags.trials} takes of two sensors, eight placements")
            tasks = [Task(seed=flags.seed + number, errors=CASES[case]) for number in range(flags.trials)]
            print_table(pool.map(trial, tasks))


if __name__ == "__main__":
    main()
