"""Image work shared among threads: each takes a stripe of rows that no other writes, so results never depend on them.

Numba's own parallel loops are not used: of its threading layers, ``omp`` kills a process that forks after
use, ``workqueue`` aborts when two Python threads call it at once, and ``tbb`` has no wheel everywhere. Kernels
that release the GIL on plain threads are safe in both cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba

_MAX_THREADS = 4  # a frame is some milliseconds of work: more threads cost more to start than they save
_MIN_ROWS = 64  # nor is less than this per thread worth one


def num_stripes(num_rows: int, min_rows: int = _MIN_ROWS) -> int:
    """Into how many stripes to cut an image; ``NUMBA_NUM_THREADS`` (by default the usable cores) is the limit."""
    return max(1, min(numba.config.NUMBA_NUM_THREADS, _MAX_THREADS, num_rows // min_rows))


def even_stripes(num_rows: int, min_rows: int = _MIN_ROWS) -> list[int]:
    """Borders of stripes of about the same height, at least ``min_rows``: ``[0, ..., num_rows]``."""
    count = num_stripes(num_rows, min_rows)
    return [num_rows * stripe // count for stripe in range(count + 1)]


def run_stripes(work: Callable[[int, int], object], borders: Sequence[int]) -> None:
    """Call ``work(first, last)`` for every pair of neighbouring borders, all at once; the caller's thread takes one.

    Args:
        work: runs a kernel compiled with ``nogil=True`` that writes only what belongs to rows first..last-1.
        borders: rising row numbers.
    """
    if len(borders) == 2:
        work(borders[0], borders[1])
        return
    with ThreadPoolExecutor(len(borders) - 2, "stripe") as pool:
        others = [pool.submit(work, *pair) for pair in pairwise(borders[1:])]
        work(borders[0], borders[1])
        for other in others:
            other.result()
