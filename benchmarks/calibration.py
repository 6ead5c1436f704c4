"""Calibration against the truth of the virtual studio, over fresh seeds: pose, depth chain, colour, clock.

    python benchmarks/calibration.py --seeds 1 2 3 4 5

Each seed draws another device, another studio day and other placements. The figures are those of the demo's
scoring: errors over a person-sized volume. Prints one row per seed and the worst of each column.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from anim_real.calibration import load_calibration
from anim_real.capture.k4a_mkv import open_recording
from anim_real.commands import calibrate, simulate
from anim_real.commands.demo.score import score_calibration, score_clock
from anim_real.console import Console
from anim_real.rig import load_rig
from anim_real.studio.truth import load_truth

COLUMNS = ("pose mm", "pose max", "predicted", "depth mm", "depth max", "px", "px max", "clock us", "ppm", "solve s")


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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--rig", default="virtual")
    parser.add_argument("--placements", type=int, default=8)
    flags = parser.parse_args()
    print("seed  " + "".join(f"{name:>11}" for name in COLUMNS))
    rows = []
    for seed in flags.seeds:
        rows.append(measure(seed, flags.rig, flags.placements))
        print(f"{seed:<6}" + "".join(f"{value:>11.3f}" for value in rows[-1]), flush=True)
    print("median" + "".join(f"{value:>11.3f}" for value in np.median(rows, axis=0)))
    print("worst " + "".join(f"{value:>11.3f}" for value in np.max(rows, axis=0)))


if __name__ == "__main__":
    main()
