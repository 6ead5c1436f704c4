"""Reads hundreds of broken recordings in a process of its own; ``test_fuzz`` runs it and judges what it prints.

Usage: ``python -m capture.fuzz_recordings FOLDER COUNT SEED BASE.mkv...``
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anim_real.capture.recording.ebml import Ids, encode_id
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.commands.inspect.recordings import describe_recording
from anim_real.errors import AnimRealError

MEMORY_BYTES = 1 << 30
SECONDS_PER_FILE = 5
_IDS = [encode_id(value) for name, value in vars(Ids).items() if name.isupper()]
_SIZES = [
    bytes.fromhex(text) for text in ("01ffffffffffffff", "017fffffffffffff", "08ffffffff", "10ffffff", "ff", "80")
]

Mutation = Callable[[bytearray, np.random.Generator], bytearray]


class Hang(BaseException):
    """A file took longer than it may; no ``Exception``, so that no handler of the code under test can swallow it."""


def _place(content: bytearray, rng: np.random.Generator) -> int:
    """A position; half of the time where the structure is: near the beginning, or behind an element's ID."""
    kind = rng.integers(4)
    if kind == 0:
        return int(rng.integers(min(len(content), 8000)))
    if kind == 1:
        at = content.find(_IDS[rng.integers(len(_IDS))], int(rng.integers(len(content))))
        return max(at, 0) + int(rng.integers(12))
    return int(rng.integers(len(content)))


def _chunk(content: bytearray, rng: np.random.Generator) -> slice:
    start = int(rng.integers(len(content)))
    return slice(start, start + int(2 ** rng.uniform(0, np.log2(len(content)))))


def truncated(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: int(rng.integers(len(content)))]


def flipped(content: bytearray, rng: np.random.Generator) -> bytearray:
    for _ in range(int(2 ** rng.uniform(0, 7))):
        content[_place(content, rng) % len(content)] ^= 1 << int(rng.integers(8))
    return content


def overwritten(content: bytearray, rng: np.random.Generator) -> bytearray:
    for _ in range(int(rng.integers(1, 8))):
        at = _place(content, rng)
        content[at : at + 8] = rng.bytes(int(rng.integers(1, 9)))
    return content


def resized(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Element sizes become huge, unknown or nothing; the bytes behind move or are overwritten."""
    for _ in range(int(rng.integers(1, 4))):
        identifier = _IDS[rng.integers(len(_IDS))]
        at = content.find(identifier, int(rng.integers(len(content))))
        size = _SIZES[rng.integers(len(_SIZES))]
        at = max(at, 0) + len(identifier)
        content[at : at + (len(size) if rng.integers(2) else 1)] = size
    return content


def spliced(content: bytearray, rng: np.random.Generator) -> bytearray:
    """A piece is taken out, doubled, moved, or replaced by noise or zeros."""
    for _ in range(int(rng.integers(1, 4))):
        piece = content[_chunk(content, rng)]
        into = _chunk(content, rng)
        kind = rng.integers(5)
        content[into] = (b"", piece, rng.bytes(len(piece)), bytes(len(piece)), content[into] + piece)[kind]
        if not content:
            return bytearray(b"\x1a")
    return content


def sprinkled(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Element IDs appear where none should be."""
    for _ in range(int(2 ** rng.uniform(0, 10))):
        at = int(rng.integers(len(content)))
        piece = _IDS[rng.integers(len(_IDS))] + _SIZES[rng.integers(len(_SIZES))]
        content[at : at + len(piece)] = piece
    return content


def doubled(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content + content[int(rng.integers(len(content))) :]


MUTATIONS: tuple[Mutation, ...] = (truncated, flipped, overwritten, resized, spliced, sprinkled, doubled)


def read_all(path: Path) -> str:
    """Everything a reader does with a recording; ``read`` or ``refused``."""
    try:
        with open_recording(path) as recording:
            for frame in recording.captures():
                assert frame.depth_mm is None or frame.depth_mm.nbytes < MEMORY_BYTES
            recording.imu()
            for name in recording.custom_tracks:
                sum(len(payload) for _, payload in recording.custom_frames(name))
            recording.num_bad_clusters()
            if recording.info.has_calibration:
                assert isinstance(recording.calibration_json, bytes)
        record, lines = describe_recording(path)
        assert lines and json.dumps(record, allow_nan=False)
    except AnimRealError as error:
        return "several lines" if "\n" in str(error) else "refused"
    return "read"


def main(arguments: list[str]) -> dict[str, Any]:
    """Break, read, count; the figures."""
    folder, count, seed = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    bases = [Path(name).read_bytes() for name in arguments[3:]]
    rng = np.random.default_rng(seed)
    cv2.setNumThreads(1)
    for base in bases:  # what a whole file needs is the baseline
        (folder / "whole.mkv").write_bytes(base)
        read_all(folder / "whole.mkv")
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, _hang)
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    slowest = 0.0
    path = folder / "broken.mkv"
    for number in range(count):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        path.write_bytes(mutation(bytearray(bases[number // len(MUTATIONS) % len(bases)]), rng))
        begin = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_FILE)
        try:
            outcomes[read_all(path)] += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
            place = "".join(traceback.format_tb(error.__traceback__)[-2:])
            failures.append(f"{number} {mutation.__name__}: {type(error).__name__} {error} {place}")
            (folder / f"failed-{number}.mkv").write_bytes(path.read_bytes())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        slowest = max(slowest, time.perf_counter() - begin)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - baseline
    return {"outcomes": outcomes, "failures": failures, "slowest_s": slowest, "grown_bytes": grown}


def _hang(*_: object) -> None:
    raise Hang


if __name__ == "__main__":
    json.dump(main(sys.argv[1:]), sys.stdout)
