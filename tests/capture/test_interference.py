"""Interference of a projector with depth: exact, then noisy against known truth, then refused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from anim_real.capture.depth_statistics import NUM_BLOCKS, DepthStatistics, first_reference, inflation
from anim_real.capture.interference import Interference, assess
from anim_real.capture.interference_limits import InterferenceLimits
from anim_real.errors import DataError

SHAPE = (96, 128)
NUM = 96
SIGMA_MM = 1.5
EVERYWHERE = np.ones(SHAPE, dtype=bool)
ROWS, COLUMNS = np.indices(SHAPE)
SURFACE_MM = 1500.0 + 2.0 * COLUMNS + 1.0 * ROWS  # a slanted plane


def captures(
    rng: np.random.Generator,
    *,
    num: int = NUM,
    bias_mm: np.ndarray | float = 0.0,
    sigma_mm: np.ndarray | float = SIGMA_MM,
    dropout: np.ndarray | float = 0.001,
    surface_mm: np.ndarray = SURFACE_MM,
    correlation: float = 0.0,
    common_mm: float = 0.0,
    drift_mm: float = 0.0,
) -> Iterator[np.ndarray]:
    """Depth images of a still plane; ``correlation`` from capture to capture, ``common_mm`` shared by all pixels."""
    noise = rng.standard_normal(SHAPE)
    for index in range(num):
        if index:
            noise = correlation * noise + np.sqrt(1 - correlation**2) * rng.standard_normal(SHAPE)
        shared = rng.normal(0.0, common_mm) + drift_mm * index / num
        depth = np.rint(surface_mm + bias_mm + sigma_mm * noise + shared)
        depth[rng.random(SHAPE) < dropout] = 0
        yield depth.astype(np.uint16)


def stretch(reference: np.ndarray, images: Iterator[np.ndarray], num: int = NUM) -> DepthStatistics:
    statistics = DepthStatistics(reference, num)
    for image in images:
        statistics.add(image, image // 2)
    return statistics


def probe(
    seed: int,
    *,
    limits: InterferenceLimits | None = None,
    region: np.ndarray = EVERYWHERE,
    num: int = NUM,
    all_three: dict | None = None,
    **lit: object,
) -> Interference:
    """Three stretches of noise; ``lit`` applies to the one with the projector on."""
    rng = np.random.default_rng(seed)
    same = {"num": num, **(all_three or {})}
    reference = first_reference(list(captures(rng, **{**same, "num": 5})))
    before, on, after = (stretch(reference, captures(rng, **{**same, **changes}), num) for changes in ({}, lit, {}))
    return assess(before, on, after, region, limits)


def test_statistics_are_those_of_the_readings(rng: np.random.Generator):
    reference = np.full(SHAPE, 1800.0, np.float32)
    images = np.stack(list(captures(rng, dropout=0.2)))
    statistics = stretch(reference, iter(images))
    readings = np.where(images == 0, np.nan, images.astype(float))
    assert np.array_equal(statistics.count, (images > 0).sum(0))
    assert np.allclose(statistics.mean_mm, np.nanmean(readings, 0) - 1800.0, atol=1e-4)
    assert np.allclose(statistics.std_mm, np.nanstd(readings, 0, ddof=1), atol=1e-3)
    assert np.allclose(statistics.dropout, (images == 0).mean(0), atol=1e-6)
    assert np.allclose(statistics.ir_mean, (images // 2).mean(0), atol=1e-3)
    first_half = np.nanmean(readings[: NUM // 2], 0) - 1800.0
    assert np.allclose(statistics.mean_of(slice(None, NUM_BLOCKS // 2)), first_half, atol=1e-4)
    statistics.add(images[0], None)  # beyond the plan: ignored
    assert statistics.num_captures == NUM and statistics.is_full


def test_reference_needs_half_of_the_readings():
    images = [np.array([[1000, 0, 1500]], np.uint16), np.array([[1002, 0, 0]], np.uint16),
              np.array([[1001, 900, 1500]], np.uint16)]  # fmt: skip
    assert first_reference(images).tolist() == [[1001.0, 0.0, 1500.0]]


def test_known_step_without_noise_is_found_exactly(rng: np.random.Generator):
    bias = np.where(COLUMNS < 64, 3.0, 0.0)
    plain = {"sigma_mm": 0.0, "dropout": 0.0}
    reference = first_reference(list(captures(rng, num=5, **plain)))
    before, after = (stretch(reference, captures(rng, **plain)) for _ in range(2))
    lit = stretch(reference, captures(rng, bias_mm=bias, **plain))
    found = assess(before, lit, after, EVERYWHERE)
    assert np.array_equal(found.maps.bias_mm, bias.astype(np.float32))
    assert (found.bias_mm, found.worst_tile_mm, found.bias_se_mm) == (1.5, 3.0, 0.0)
    assert found.rms_bias_mm == pytest.approx(3.0 / np.sqrt(2), rel=1e-3)
    assert found.verdict == "disturbed"
    assert (found.drift_mm, found.moved_share, found.added_noise_mm, found.added_dropout) == (0.0, 0.0, 0.0, 0.0)


def test_nothing_gives_no_alarm_and_honest_errors():
    found = [probe(seed) for seed in range(24)]
    assert [item.verdict for item in found] == ["ok"] * 24
    for value, error in (("bias_mm", "bias_se_mm"), ("added_dropout", "added_dropout_se")):
        z = np.array([getattr(item, value) / getattr(item, error) for item in found])
        assert np.abs(z).max() < 5.0 and 0.6 < z.std() < 1.5  # t law of some 15 degrees of freedom
        assert abs(z.mean()) < 0.6
    z = found[0].maps.significance
    assert z.std() == pytest.approx(1.0, abs=0.1)
    assert max(abs(item.worst_tile_mm) for item in found) < 0.1
    assert max(item.rms_bias_mm for item in found) < 0.1


def test_known_effect_is_recovered_within_its_error():
    for seed in range(5):
        found = probe(100 + seed, bias_mm=3.0, sigma_mm=2 * SIGMA_MM, dropout=0.051)
        assert found.verdict == "disturbed"
        assert abs(found.bias_mm - 3.0) < max(5 * found.bias_se_mm, 0.02)
        assert found.bias_se_mm < 0.01
        assert found.rms_bias_mm == pytest.approx(3.0, abs=0.03)
        assert found.noise_ratio == pytest.approx(2.0, abs=0.05)
        assert found.added_noise_mm == pytest.approx(SIGMA_MM * np.sqrt(3.0), abs=0.05)
        assert abs(found.added_dropout - 0.05) < 5 * found.added_dropout_se + 1e-3
        told = " ".join(found.reasons)
        assert "mean bias" in told and "noise" in told and "drop-outs" in told


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [
        ({"bias_mm": 0.8}, "ok"),
        ({"bias_mm": -1.2}, "disturbed"),
        ({"bias_mm": np.where(COLUMNS < 64, 1.5, -1.5)}, "disturbed"),  # no mean, but everywhere
        ({"bias_mm": np.where((COLUMNS < 32) & (ROWS < 32), 2.5, 0.0)}, "disturbed"),  # one corner
        ({"bias_mm": np.where((COLUMNS < 32) & (ROWS < 32), 1.5, 0.0)}, "ok"),
        ({"sigma_mm": 1.02 * SIGMA_MM}, "ok"),
        ({"sigma_mm": 1.15 * SIGMA_MM}, "disturbed"),  # adds 0.85 mm
        ({"dropout": 0.008}, "ok"),
        ({"dropout": 0.02}, "disturbed"),
        ({"dropout": np.where((COLUMNS < 16) & (ROWS < 16), 0.2, 0.001)}, "disturbed"),
    ],
)
def test_limits_part_what_is_tolerated_from_what_is_not(effect: dict, verdict: str):
    found = probe(7, **effect)
    assert found.verdict == verdict, found.reasons
    assert bool(found.reasons) == (verdict == "disturbed")


def test_losing_everything_is_a_disturbance_and_not_an_error():
    found = probe(8, dropout=1.0)
    assert found.verdict == "disturbed"
    assert found.added_dropout == pytest.approx(1.0, abs=0.01)
    assert found.num_pixels == 0 and np.isnan(found.bias_mm)
    assert found.record()["bias_mm"] is None


def test_only_the_region_counts():
    effect = np.where(COLUMNS < 40, 5.0, 0.0)
    assert probe(9, bias_mm=effect, region=COLUMNS >= 40).verdict == "ok"
    assert probe(9, bias_mm=effect, region=COLUMNS < 40).bias_mm == pytest.approx(5.0, abs=0.05)


def test_noise_that_lasts_widens_the_errors():
    independent, lasting = (probe(10, num=320, all_three={"correlation": rho}) for rho in (0.0, 0.8))
    assert independent.inflation == pytest.approx(1.0, abs=0.1)
    assert 6.0 < lasting.inflation < 9.0  # (1 + 0.8) / (1 - 0.8) = 9, less what blocks of 40 cannot see
    assert lasting.maps.significance.std() == pytest.approx(1.0, abs=0.15)
    assert lasting.verdict == "ok"


def test_what_all_pixels_share_widens_the_error_of_the_mean():
    z = []
    for seed in range(20):
        found = probe(200 + seed, all_three={"common_mm": 0.5})
        z.append(found.bias_mm / found.bias_se_mm)
        expected = 0.5 * np.sqrt(1.5 / NUM)  # one stretch against the mean of two
        assert 0.4 * expected < found.bias_se_mm < 2.0 * expected
    assert 0.6 < np.std(z) < 1.6
    shaky = probe(220, all_three={"common_mm": 4.0})
    assert shaky.verdict == "refused" and "known to" in shaky.reasons[0]


def test_even_drift_cancels_and_a_large_one_is_refused(rng: np.random.Generator):
    def drifting(total_mm: float) -> Interference:
        reference = first_reference(list(captures(rng, num=5)))
        stretches = [
            stretch(reference, captures(rng, bias_mm=step * total_mm / 3, drift_mm=total_mm / 3)) for step in range(3)
        ]
        return assess(*stretches, EVERYWHERE)

    slow = drifting(2.4)
    assert slow.verdict == "ok"
    assert slow.drift_mm == pytest.approx(1.6, abs=0.05)
    assert slow.bias_mm == pytest.approx(0.0, abs=0.05)
    fast = drifting(4.0)
    assert fast.verdict == "refused" and "warm up" in fast.reasons[0]


@pytest.mark.parametrize("step_mm", [400.0, 10.0])
def test_motion_is_refused_whenever_it_happens(rng: np.random.Generator, step_mm: float):
    reference = first_reference(list(captures(rng, num=5)))
    step = np.where((COLUMNS > 60) & (COLUMNS < 64) & (ROWS < 40), step_mm, 0.0)  # 1 % of the pixels: an outline
    still = [stretch(reference, captures(rng)) for _ in range(3)]
    moved = stretch(reference, captures(rng, surface_mm=SURFACE_MM + step))
    half_way = DepthStatistics(reference, NUM)
    for surface in (SURFACE_MM, SURFACE_MM + step):
        for image in captures(rng, num=NUM // 2, surface_mm=surface):
            half_way.add(image, None)
    assert assess(*still, EVERYWHERE).verdict == "ok"
    cases = [
        (still[0], still[1], moved),
        (half_way, moved, moved),
        (still[0], half_way, moved),
        (still[0], half_way, still[1]),  # and back again
        (still[0], still[1], half_way),
    ]
    if step_mm > 100.0:  # a few millimetres that last as long as the light are the light's
        cases.append((still[0], moved, still[1]))
    for stretches in cases:
        found = assess(*stretches, EVERYWHERE)
        assert found.verdict == "refused", found.record()
        assert "moved" in found.reasons[0] and "still" in found.reasons[0]
        assert 0.005 < found.moved_share < 0.02


def test_a_surface_that_slides_by_some_millimetres_is_refused():
    rng = np.random.default_rng(5)
    ball = np.where(np.hypot(ROWS - 48, COLUMNS - 64) < 30, np.hypot(ROWS - 48, COLUMNS - 64) * 6.0 - 180.0, 0.0)
    slid = np.roll(ball, 2, axis=1)
    reference = first_reference(list(captures(rng, num=5, surface_mm=SURFACE_MM + ball)))
    first, lit = (stretch(reference, captures(rng, surface_mm=SURFACE_MM + ball)) for _ in range(2))
    after = stretch(reference, captures(rng, surface_mm=SURFACE_MM + slid))
    assert assess(first, lit, after, EVERYWHERE).verdict == "refused"
    assert assess(first, lit, first, EVERYWHERE).verdict == "ok"


def test_too_few_captures_or_pixels_are_refused():
    few = probe(11, num=40, bias_mm=5.0)
    assert few.verdict == "refused" and "60 are needed" in few.reasons[0]
    dark = probe(12, region=(ROWS < 8) & (COLUMNS < 8))
    assert dark.verdict == "refused" and "pixels" in dark.reasons[0]
    nothing = probe(13, region=np.zeros(SHAPE, bool))
    assert nothing.verdict == "refused" and nothing.num_pixels == 0


def test_impossible_input_is_an_error(rng: np.random.Generator):
    reference = np.full(SHAPE, 1000.0, np.float32)
    with pytest.raises(DataError, match="too few"):
        DepthStatistics(reference, 10)
    with pytest.raises(DataError, match="among"):
        DepthStatistics(reference, NUM).add(np.zeros((3, 4), np.uint16), None)
    assert inflation([DepthStatistics(reference, NUM)], EVERYWHERE) == 1.0  # no readings, nothing to tell
