"""Broken recordings by the hundreds: each is read as far as it goes or refused in one line, fast, in little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import k4a_bytes as made
from .fuzz_recordings import MEMORY_BYTES, MUTATIONS, SECONDS_PER_FILE
from .recordings import write_recording

NUM_SMALL, NUM_REAL = 420, 105


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory by Linux's means")
def test_broken_recordings_neither_crash_nor_hang_nor_swell(tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.mkv"
    tiny.write_bytes(made.small_recording(30).encode())
    written = write_recording(tmp_path / "written.mkv", [2_000_000 + index * 33_333 for index in range(2)])
    figures = fuzzed(tmp_path, NUM_SMALL, 11, tiny, written)
    assert figures["outcomes"]["read"] > NUM_SMALL / 3
    assert figures["outcomes"]["refused"] > NUM_SMALL / 20


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory by Linux's means")
def test_the_real_recording_broken_is_read_or_refused(shared_data: Path, tmp_path: Path) -> None:
    figures = fuzzed(tmp_path, NUM_REAL, 12, shared_data / "k4a-recording" / "recording.mkv")
    assert figures["outcomes"]["read"] > NUM_REAL / 5


def fuzzed(folder: Path, count: int, seed: int, *bases: Path) -> dict:
    """Run the reader over ``count`` broken files in a process of its own, and check what holds for all of them."""
    assert count % len(MUTATIONS) == 0
    command = [sys.executable, "-m", "capture.fuzz_recordings", str(folder), str(count), str(seed), *map(str, bases)]
    tests = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(tests), *filter(None, [os.environ.get("PYTHONPATH")])])
    answer = subprocess.run(
        command, check=False, cwd=tests, capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": paths},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-2000:]
    figures = json.loads(answer.stdout)
    assert figures["failures"] == []
    assert sum(figures["outcomes"].values()) == count
    assert set(figures["outcomes"]) <= {"read", "refused"}  # and never a message of several lines
    assert figures["grown_bytes"] < MEMORY_BYTES
    assert figures["slowest_s"] < SECONDS_PER_FILE
    return figures
