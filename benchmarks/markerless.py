"""Calibration against a scanned object without markers: unknown start, 50 takes, and objects that must be refused.

    python benchmarks/markerless.py --trials 50
    python benchmarks/markerless.py --trials 50 --placements 1

Per trial another object (every fifth the boot or the head of ``../shared/data/meshes`` where they are present, the
others a random cluster of solids 40 to 60 cm large), another pose of the scanner over all of SO(3), other placements
turned at random, in a room with floor and walls. Depth has noise, flying pixels, drop-outs and a bias of up to
10 mm with slope, a cyclic part and a pattern. The pose from nothing is right below 25 mm and 1 degree: the bias
is still in it. After the joint solve the error is that over a person-sized volume. ``cpu_s`` is what a take costs on
one core, whatever else runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import trimesh

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from anim_real.calibrate.geometry_solve import geometry_protocol
from anim_real.calibrate.geometry_start import find_geometry_start
from anim_real.calibrate.problem import Problem
from anim_real.calibrate.protocol import load_protocol
from anim_real.calibrate.solver import solve
from anim_real.errors import RefusedError
from anim_real.mesh import load_mesh
from tests.calibrate.geometry_world import lumpy_object, make_world

MESHES = Path(__file__).resolve().parents[2] / "shared" / "data" / "meshes"
REAL = ("boot.obj", "LeePerrySmith.glb")
RIGHT_MM, RIGHT_DEG = 25.0, 1.0
SYMMETRIC = {
    "sphere": trimesh.creation.icosphere(subdivisions=4, radius=0.2),
    "cylinder": trimesh.creation.cylinder(0.12, 0.45, sections=64),
    "box": trimesh.creation.box((0.3, 0.42, 0.2)),
    "cube": trimesh.creation.box((0.3, 0.3, 0.3)),
    "hexagon": trimesh.creation.cylinder(0.2, 0.3, sections=6),
    "plate": trimesh.creation.box((0.5, 0.4, 0.01)),
}


def real_object(name: str) -> trimesh.Trimesh:
    """A mesh of the shared data, scaled to half a metre."""
    mesh = load_mesh(MESHES / name)
    body = trimesh.Trimesh(mesh.vertices, mesh.faces)
    body.apply_scale(0.5 / np.linalg.norm(np.ptp(body.vertices, axis=0)))
    body.apply_translation(-body.bounds.mean(0))
    return body


def salient_trials(first: int, trials: int, placements: int) -> list[dict]:
    """One row per trial; refused ones hold the reason."""
    protocol = geometry_protocol(load_protocol("default")[0])
    real = [real_object(name) for name in REAL if (MESHES / name).is_file()]
    rows = []
    for seed in range(first, first + trials):
        is_real = bool(real) and seed % 5 == 4
        body = real[seed // 5 % len(real)] if is_real else lumpy_object(np.random.default_rng(seed))
        world = make_world(seed, body, num=placements, scan_floor=seed % 2 == 1)
        begin, cpu = time.perf_counter(), time.process_time()
        row: dict = {"seed": seed, "object": REAL[seed // 5 % len(real)] if is_real else "lumpy"}
        try:
            start = find_geometry_start(world.observations)
        except RefusedError as error:
            row["refused"] = error.what
        else:
            row["start_mm"], row["start_deg"] = world.error(start.T_depth_scan)
            row["score"], row["runner_up"] = start.score, max(start.runner_up, 0.0)
            if placements > 1:
                solved = solve(Problem(start.observations, protocol), start.state)
                row["person_mm"] = world.person_mm(solved.state.T_depth_scan)
        row["wall_s"], row["cpu_s"] = time.perf_counter() - begin, time.process_time() - cpu
        rows.append(row)
        print("  " + "  ".join(f"{key} {_text(value)}" for key, value in row.items()), flush=True)
    return rows


def symmetric_trials(first: int, trials: int, placements: int) -> dict[str, Counter]:
    """Per object how often it was refused, and accepted with the right or a wrong pose."""
    counts = {name: Counter() for name in SYMMETRIC}
    for name, body in SYMMETRIC.items():
        for seed in range(first, first + trials):
            world = make_world(seed, body, num=placements)
            try:
                found = find_geometry_start(world.observations)
            except RefusedError:
                counts[name]["refused"] += 1
            else:
                shift_mm, turn_deg = world.error(found.T_depth_scan)
                counts[name]["right" if shift_mm < RIGHT_MM and turn_deg < RIGHT_DEG else "wrong"] += 1
        print(f"  {name:10}{dict(counts[name])}", flush=True)
    return counts


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _spread(values: list[float]) -> str:
    return f"median {np.median(values):.2f}, p95 {np.percentile(values, 95):.2f}, max {np.max(values):.2f}"


def summarize(rows: list[dict]) -> None:
    """Print shares and errors."""
    kept = [row for row in rows if "refused" not in row]
    right = [row for row in kept if row["start_mm"] < RIGHT_MM and row["start_deg"] < RIGHT_DEG]
    strict = [row for row in kept if row["start_mm"] < 10.0 and row["start_deg"] < 1.0]
    print(f"right pose {len(right)}/{len(rows)}, wrong {len(kept) - len(right)}, refused {len(rows) - len(kept)}")
    print(f"start below 10 mm and 1 degree with the bias still in it: {len(strict)}/{len(rows)}")
    for key in ("start_mm", "start_deg", "person_mm", "runner_up", "wall_s", "cpu_s"):
        values = [row[key] for row in kept if key in row]
        if values:
            print(f"{key:10} {_spread(values)}")


def main() -> None:
    """Print the rows and their summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--placements", type=int, default=8)
    parser.add_argument("--symmetric", type=int, default=10, help="trials per symmetric object; 0 leaves them out")
    flags = parser.parse_args()
    rows = salient_trials(flags.first, flags.trials, flags.placements)
    if rows:
        summarize(rows)
    for number in (1, 8) if flags.symmetric else ():
        print(f"symmetric objects, {number} placement{'s' if number > 1 else ''}")
        symmetric_trials(flags.first, flags.symmetric, number)


if __name__ == "__main__":
    main()
