"""Numbering periodic stamps: exact, then with drops, losses, strays and jitter, then refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anim_real.errors import DataError, RefusedError
from anim_real.sync.pulses import fit_train, relative_rate

from .clock_world import PERIOD_US


def stamps(
    index: np.ndarray, *, ppm: float = 0.0, offset: float = 5e9, jitter: float = 0.0, seed: int = 0
) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, jitter, len(index)) if jitter else 0.0
    return np.rint(offset + (1.0 + ppm * 1e-6) * PERIOD_US * index + noise).astype(np.int64)


def test_exact_stamps_give_their_own_numbers_and_period() -> None:
    index = np.array([0, 1, 2, 5, 6, 100])
    train = fit_train(stamps(index, ppm=389.0), PERIOD_US)
    assert train.index.tolist() == index.tolist()
    assert train.period_us == pytest.approx(PERIOD_US * (1 + 389e-6), abs=0.02)  # stamps are whole µs over 100 periods
    assert train.missing.tolist() == [3, 4, *range(7, 100)]
    assert len(train.stray_us) == 0


@given(
    seed=st.integers(0, 10_000),
    ppm=st.floats(-900.0, 900.0),
    lost=st.floats(0.0, 0.4),
    num=st.integers(40, 400),
)
@settings(max_examples=60, deadline=None)
def test_numbers_survive_losses_jitter_and_drift(seed: int, ppm: float, lost: float, num: int) -> None:
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(rng.random(num) >= lost)
    if len(kept) < 5:
        return
    train = fit_train(stamps(kept, ppm=ppm, jitter=30.0, seed=seed), PERIOD_US)
    assert train.index.tolist() == (kept[train.row] - kept[train.row[0]]).tolist()
    assert len(train.stray_us) <= 0.1 * len(kept)  # five robust sigmas
    drift = (train.period_us / PERIOD_US - 1.0) * 1e6
    assert abs(drift - ppm) <= 6.0 * train.period_sigma_us / PERIOD_US * 1e6 + 0.01


def test_long_gaps_do_not_shift_the_numbers() -> None:
    index = np.concatenate([np.arange(6) + start for start in range(0, 1600, 200)])
    train = fit_train(stamps(index, ppm=389.0, jitter=30.0), PERIOD_US)
    assert train.index.tolist() == index.tolist()


def test_strays_are_set_aside_even_at_the_start() -> None:
    true = stamps(np.arange(30), jitter=10.0)
    strays = np.array([true[0] - 15_000, true[9] + 16_000, true[20] + 12_000])
    train = fit_train(np.sort(np.concatenate([true, strays])), PERIOD_US)
    assert train.stray_us.tolist() == strays.tolist()
    assert train.time_us.tolist() == true.tolist()


def test_one_late_stamp_does_not_bend_the_fit() -> None:
    true = stamps(np.arange(60), jitter=20.0)
    late = true.copy()
    late[50] += 4000
    clean, bent = fit_train(true, PERIOD_US), fit_train(late, PERIOD_US)
    assert bent.stray_us.tolist() == [late[50]]
    assert bent.period_us == pytest.approx(clean.period_us, abs=1.0)


def test_rate_between_two_clocks_on_the_same_pulses() -> None:
    index = np.arange(1800)
    rate = relative_rate(
        fit_train(stamps(index, ppm=-389.0, jitter=30.0), PERIOD_US),
        fit_train(stamps(index[::2], ppm=40.0, jitter=30.0, seed=1), 2 * PERIOD_US),  # one exposes on every other pulse
    )
    expected = ((1 + 40e-6) / (1 - 389e-6) - 1) * 1e6
    assert rate.drift_ppm == pytest.approx(expected, abs=0.5)
    assert rate.sigma_ppm < 0.2


def test_captures_against_a_log_that_lost_pulses() -> None:
    """30 % dropped captures, 20 % lost pulses, 389 ppm, 30 µs jitter, 30 s: the rate within 2 ppm, every time."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        captured = np.flatnonzero(rng.random(900) >= 0.3)
        logged = np.flatnonzero(rng.random(900) >= 0.2)
        device = fit_train(stamps(captured, ppm=-389.0, jitter=30.0, seed=seed), PERIOD_US)
        log = fit_train(stamps(logged, offset=1e6, jitter=30.0, seed=seed + 1000), PERIOD_US)
        assert len(log.missing) == log.index[-1] + 1 - len(log.index)
        rate = relative_rate(log, device)
        assert abs(rate.drift_ppm + 389.0) <= 2.0
        assert abs(rate.drift_ppm + 389.0) <= 5 * rate.sigma_ppm


def test_refused_aperiodic_stamps_wrong_fps_and_wild_drift() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(RefusedError, match="lie on a 30 Hz grid"):
        fit_train(np.sort(rng.integers(0, 10_000_000, 300)), PERIOD_US, name="captures")
    with pytest.raises(RefusedError, match="ppm"):
        fit_train(stamps(np.arange(200), ppm=5000.0), PERIOD_US)
    with pytest.raises(DataError, match="too few"):
        fit_train(np.array([1, 2]), PERIOD_US)
