"""Clock maps against known truth: many worlds of two clocks, a trigger box and a coded LED, with losses.

    python benchmarks/sync.py --trials 200
    python benchmarks/sync.py --trials 200 --drop 0.3 --lost 0.2 --ppm 389 --jitter-us 30

Per trial: a calibration take of ten seconds with the LED, then a take of the same length a minute and one ten minutes
later, matched by the continued map. Every figure is against the world's truth, which is written apart from the
package's own studio. A lag is wrong when the map is off by half a frame or more; a refusal is no error, and is
counted. The motion rows are stories of six lengths with errors of 4 mm that last from frame to frame.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from anim_real.calibration import ClockMap
from anim_real.errors import RefusedError
from anim_real.sync.clocks import Stamps, calibrate_clock, take_clock
from anim_real.sync.motion import MotionTrack, motion_clock
from tests.sync.clock_world import PERIOD_US, Recorded, World, make_world

NUM_FRAMES = 300
LATER_US = {"1 min": 60e6, "10 min": 600e6}
EPOCH_US, DEVICE_US = 5e9, 1e6


def without_pulses(recorded: Recorded, share: float, rng: np.random.Generator) -> Stamps:
    """The stamps when a share of the pulses reached neither system."""
    lost = np.flatnonzero(rng.random(len(recorded.pulse_us)) < share)
    device = recorded.stamps.device_us[~np.isin(recorded.kept, lost)]
    return replace(recorded.stamps, device_us=device, scanner_us=np.delete(recorded.stamps.scanner_us, lost))


def errors(clock: ClockMap, world: World, stamps: Stamps) -> tuple[float, float]:
    """Largest error of the map over a take (µs), and of its drift (ppm)."""
    truth = world.to_scanner(stamps.device_us.astype(np.float64))
    return float(np.abs(clock.to_dst(stamps.device_us) - truth).max()), abs(clock.drift_ppm - world.drift_ppm)


def led_trials(trials: int, drop: float, lost: float, ppm: float, jitter_us: float) -> dict[str, list]:
    """Errors of calibration takes and of those that follow; a refusal is None."""
    found: dict[str, list] = {"calibration take": [], **{f"{name} later": [] for name in LATER_US}}
    for trial in range(trials):
        drawn = make_world(10_000 + trial, drop=drop, jitter_us=jitter_us)
        world = replace(drawn, device_ppm=float(np.sign(drawn.device_ppm)) * ppm)
        rng = np.random.default_rng(trial)
        recorded = world.record(5e6, NUM_FRAMES)
        device, scanner = world.led_pair(recorded)
        try:
            clock = calibrate_clock("k0", without_pulses(recorded, lost, rng), device, scanner, world.led)
        except RefusedError:
            for rows in found.values():
                rows.append(None)
            continue
        found["calibration take"].append(errors(clock, world, recorded.stamps))
        for name, start_us in LATER_US.items():
            stamps = without_pulses(world.record(start_us, NUM_FRAMES), lost, rng)
            try:
                found[f"{name} later"].append(errors(take_clock(clock, stamps), world, stamps))
            except RefusedError:
                found[f"{name} later"].append(None)
    return found


def motion_trials(trials: int, drop: float, ppm: float, noise_m: float) -> list:
    """Errors of maps from motion alone."""
    rows = []
    for trial in range(trials):
        device, scanner = motion_tracks(trial, drop, ppm, noise_m)
        try:
            clock = motion_clock("k0", device, scanner)
        except RefusedError:
            rows.append(None)
            continue
        truth = (device.time_us - DEVICE_US) * (1 + ppm * 1e-6) + EPOCH_US
        rows.append((float(np.abs(clock.to_dst(device.time_us) - truth).max()), abs(clock.drift_ppm - ppm)))
    return rows


def motion_tracks(seed: int, drop: float, ppm: float, noise_m: float) -> tuple[MotionTrack, MotionTrack]:
    """Twelve seconds of a performer as both systems see it; errors of neighbouring frames correlate by 0.7."""
    rng = np.random.default_rng(20_000 + seed)
    rate, phase = rng.uniform(0.2, 1.5, (6, 5)), rng.uniform(0, 2 * np.pi, (6, 5))
    size, moment = rng.uniform(0.02, 0.08, (6, 5)) / rate, rng.uniform(4.0, 8.0)

    def lengths(true_us: np.ndarray) -> np.ndarray:
        t = true_us[:, None, None] * 1e-6
        burst = 0.15 * np.exp(-(((t[..., 0] - moment) / 0.25) ** 2))
        return (size * np.sin(2 * np.pi * rate * t + phase)).sum(-1) + burst

    device_true = np.arange(0.0, 12e6, PERIOD_US) + 7_000.0
    device_true = device_true[rng.random(len(device_true)) >= drop]
    scanner_true = np.arange(0.4e6, 11.7e6, PERIOD_US)
    error = rng.normal(0, 1, (len(device_true), 6))
    for row in range(1, len(error)):
        error[row] = 0.7 * error[row - 1] + np.sqrt(1 - 0.49) * error[row]
    device = MotionTrack(
        time_us=np.rint(device_true / (1 + ppm * 1e-6) + DEVICE_US).astype(np.int64),
        lengths=lengths(device_true) + rng.normal(0, 0.02, 6) + noise_m * error,
        period_us=PERIOD_US,
    )
    scanner = MotionTrack(
        time_us=np.rint(scanner_true + EPOCH_US).astype(np.int64),
        lengths=lengths(scanner_true) + 0.2 * noise_m * rng.normal(0, 1, (len(scanner_true), 6)),
        period_us=PERIOD_US,
    )
    return device, scanner


def show(name: str, rows: list) -> None:
    """One row of the table."""
    kept = np.array([row for row in rows if row is not None]).reshape(-1, 2)
    offsets, drifts = kept.T
    wrong = int((offsets >= PERIOD_US / 2).sum())
    figures = [np.median(offsets), np.percentile(offsets, 95), offsets.max(), np.percentile(drifts, 95), drifts.max()]
    print(f"{name:<18}{len(rows):>8}{len(rows) - len(kept):>9}{wrong:>7}" + "".join(f"{v:>10.2f}" for v in figures))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--drop", type=float, default=0.3, help="share of captures that the device drops")
    parser.add_argument("--lost", type=float, default=0.2, help="share of pulses that reach neither system")
    parser.add_argument("--ppm", type=float, default=389.0)
    parser.add_argument("--jitter-us", type=float, default=30.0)
    parser.add_argument("--noise-mm", type=float, default=4.0, help="of the motion's lengths")
    flags = parser.parse_args()
    start = time.perf_counter()
    columns = ("trials", "refused", "wrong", "median us", "p95 us", "max us", "p95 ppm", "max ppm")
    print(" " * 18 + "".join(f"{c:>{w}}" for c, w in zip(columns, (8, 9, 7, 10, 10, 10, 10, 10), strict=True)))
    for name, rows in led_trials(flags.trials, flags.drop, flags.lost, flags.ppm, flags.jitter_us).items():
        show(name, rows)
    show("motion alone", motion_trials(flags.trials, flags.drop, flags.ppm, flags.noise_mm * 1e-3))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
