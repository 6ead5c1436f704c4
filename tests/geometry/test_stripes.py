"""Stripes of rows on threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from anim_real.geometry.stripes import even_stripes, num_stripes, run_stripes


def test_the_number_of_stripes_is_limited_by_threads_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 3)
    assert [num_stripes(rows) for rows in (1, 100, 128, 10_000)] == [1, 1, 2, 3]
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 64)
    assert num_stripes(10_000) == 4
    assert even_stripes(576) == [0, 144, 288, 432, 576]


@pytest.mark.parametrize("borders", [[0, 10], [0, 4, 10], [0, 3, 3, 7, 10]])
def test_every_row_is_worked_on_once(borders: list[int]) -> None:
    rows = np.zeros(10, int)

    def work(first: int, last: int) -> None:
        rows[first:last] += 1

    run_stripes(work, borders)
    np.testing.assert_array_equal(rows, 1)


def test_stripes_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=30)
    run_stripes(lambda first, last: meeting.wait(), [0, 1, 2, 3])
    assert not meeting.broken


@pytest.mark.parametrize("failing", [0, 2])
def test_an_error_in_any_stripe_is_raised(failing: int) -> None:
    def work(first: int, last: int) -> None:
        if first == failing:
            raise ValueError(f"stripe {first}")

    with pytest.raises(ValueError, match=f"stripe {failing}"):
        run_stripes(work, [0, 1, 2, 3])
