"""Reading frames and samples from shards, against the obvious ways of storing them. Prints ratios of one run.

    python benchmarks/shards.py [--frames 24] [--size 512] [--points 200000]

Depth: one row per chunk (what shards do) against h5py's automatic chunks with gzip, reading random rows. Samples:
a contiguous window of a pre-shuffled pool against a random choice of rows. Medians of repeated reads, files warm.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

WINDOW = 5000


def person_depth(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size) uint16: a noisy ellipse 2 m away on nothing, as a shard's depth is."""
    rows, columns = np.indices((size, size)) / size - 0.5
    inside = (rows / 0.45) ** 2 + (columns / 0.15) ** 2 < 1
    depth = 2000 + 300 * columns + rng.normal(0, 2, (size, size))
    return np.where(inside, depth, 0).astype(np.uint16)


def median_ms(read: Callable[[], object], repeats: int) -> float:
    """Median wall time of ``read`` in milliseconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        read()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def measure_depth(folder: Path, frames: int, size: int, repeats: int) -> tuple[float, float]:
    """Milliseconds per random row: one-row chunks, automatic chunks."""
    rng = np.random.default_rng(0)
    depth = np.stack([person_depth(rng, size) for _ in range(frames)])
    with h5py.File(folder / "depth.h5", "w", libver=("v110", "v110")) as file:
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
        file.create_dataset("row", data=depth, chunks=(1, size, size), **options)
        file.create_dataset("automatic", data=depth, chunks=True, compression="gzip")
    with h5py.File(folder / "depth.h5", rdcc_nbytes=1 << 20) as file:
        return tuple(  # type: ignore[return-value]
            median_ms(lambda table=file[name]: table[int(rng.integers(frames))], repeats)
            for name in ("row", "automatic")
        )


def measure_samples(folder: Path, points: int, repeats: int) -> tuple[float, float]:
    """Milliseconds per draw of ``WINDOW`` points: a window, a random choice."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "samples.h5", "w", libver=("v110", "v110")) as file:
        pool = rng.random((points, 3), dtype=np.float32)
        file.create_dataset("points", data=pool, chunks=(8192, 3), fletcher32=True)
    with h5py.File(folder / "samples.h5") as file:
        table = file["points"]

        def window() -> object:
            start = int(rng.integers(points - WINDOW))
            return table[start : start + WINDOW]

        def choice() -> object:
            return table[np.sort(rng.choice(points, WINDOW, replace=False))]

        return median_ms(window, repeats), median_ms(choice, max(3, repeats // 10))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        row, automatic = measure_depth(Path(name), arguments.frames, arguments.size, arguments.repeats)
        window, choice = measure_samples(Path(name), arguments.points, arguments.repeats)
    lines = (
        f"one random depth image: one-row chunks {row:.2f} ms, automatic {automatic:.2f} ms, {automatic / row:.1f}x",
        f"{WINDOW} samples: window {window:.3f} ms, random choice {choice:.2f} ms, {choice / window:.0f}x",
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
