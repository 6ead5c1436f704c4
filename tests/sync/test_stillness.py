"""A coarse clock from stillness: exact stretches, the right match with its true error inside, and the refusals."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import DataError, RefusedError
from anim_real.sync.stillness import still_clock, still_stretches

FPS = 30.0
OFFSET_US = 7_345_678_901.0  # scanner minus device


def scene(rng: np.random.Generator, place: float, *, noise_mm: float = 3.0) -> np.ndarray:
    """(72, 80) depth image of a wall with an object in front of it at a place 0 to 1; edges flicker."""
    image = np.full((72, 80), 3000.0)
    column = 5 + int(50 * place)
    image[20:60, column : column + 12] = 2000.0 + 300.0 * place
    image += rng.normal(0, noise_mm, image.shape)
    image[rng.random(image.shape) < 0.05] = 0.0
    image[20:60, column] = np.where(rng.random(40) < 0.5, 2200.0, 0.0)  # a flying edge
    return np.rint(image).astype(np.uint16)


def filmed(
    rng: np.random.Generator, stays_s: list[tuple[float, float]]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Images and stamps of a target that stands from and to given times and is carried in between; true stretches."""
    end_s = stays_s[-1][1] + 1.0
    time_s = np.arange(0.0, end_s, 1.0 / FPS)
    places = rng.permutation(len(stays_s)) / len(stays_s)
    path_s = np.ravel(stays_s)
    at = np.interp(time_s, path_s, np.repeat(places, 2), left=1.0, right=1.0)
    at[time_s > path_s[-1]] = np.linspace(places[-1], 1.3, (time_s > path_s[-1]).sum())
    images = [scene(rng, min(place, 1.2)) for place in at]
    return images, np.rint(1e6 * time_s).astype(np.int64), np.array(stays_s)


def test_stretches_are_found_where_nothing_moves(rng):
    stays = [(0.5, 2.5), (4.0, 5.5), (8.0, 11.0)]
    images, time_us, true_s = filmed(rng, stays)
    found = still_stretches(images, time_us) * 1e-6
    inside = [stretch for stretch in found if any(a - 0.3 < stretch[0] and stretch[1] < b + 0.3 for a, b in true_s)]
    assert len(inside) == 3
    assert np.abs(np.array(inside) - true_s).max() < 0.25


def test_one_bad_image_does_not_end_a_stretch_and_a_pause_does(rng):
    images = [scene(rng, 0.3) for _ in range(60)]
    time_us = np.arange(60, dtype=np.int64) * 33_333
    images[30] = np.full_like(images[30], 1000)
    assert still_stretches(images, time_us).tolist() == [[0, 59 * 33_333]]
    time_us[40:] += 1_500_000
    assert len(still_stretches(images, time_us)) == 2


def test_nothing_still_gives_nothing(rng):
    images = [scene(rng, place) for place in np.linspace(0, 1, 40)]
    assert len(still_stretches(images, np.arange(40, dtype=np.int64) * 33_333)) == 0


def stays_and_scans(rng: np.random.Generator, num: int, *, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stretches (device clock, µs), scans within them (scanner clock), the true offset at the scans."""
    waits = 6.0 + spread * rng.uniform(-1.0, 1.0, num)
    begin = np.cumsum(waits) * 1e6
    lengths = rng.uniform(0.8e6, 2.0e6, num)
    stretches = np.stack([begin, begin + lengths], 1).astype(np.int64)
    at = stretches[:, 0] + lengths * rng.uniform(0.2, 0.8, num)
    scans = at * (1.0 + 200e-6) + OFFSET_US
    return stretches, np.rint(scans).astype(np.int64), scans - at


@pytest.mark.parametrize("seed", range(20))
def test_the_match_is_right_and_its_uncertainty_honest(seed):
    """Also with stretches in which nothing was scanned: an empty studio before, a rest between."""
    rng = np.random.default_rng(seed)
    stretches, scans, true = stays_and_scans(rng, 8, spread=3.0)
    extra = np.array([[-20_000_000, -1_000_000], [stretches[3, 1] + 300_000, stretches[3, 1] + 900_000]])
    everything = np.concatenate([stretches, extra])
    everything = everything[np.argsort(everything[:, 0])]
    found = still_clock("k0", everything, scans)
    assert (found.stretches == stretches).all()
    errors = found.clock.to_dst(scans - true) - scans
    assert found.clock.offset_sigma_us is not None
    assert np.abs(errors).max() < 4.0 * found.clock.offset_sigma_us
    assert 5e3 < found.clock.offset_sigma_us < 1e6
    assert found.clock.method == "stillness"


def test_equal_spacing_is_refused(rng):
    stretches, scans, _ = stays_and_scans(rng, 8, spread=0.0)
    with pytest.raises(RefusedError, match="several ways"):
        still_clock("k0", stretches, scans)


def test_a_scan_of_a_moving_target_is_refused(rng):
    stretches, scans, _ = stays_and_scans(rng, 8, spread=3.0)
    scans[4] += 2_500_000
    with pytest.raises(RefusedError, match="7 of 8"):
        still_clock("k0", stretches, scans)


def test_scans_of_one_stretch_are_no_placements(rng):
    """One long stretch holds every scan at many offsets: none of them counts."""
    _, scans, _ = stays_and_scans(rng, 8, spread=3.0)
    long = np.array([[0, 10_000_000_000], [20_000_000_000, 30_000_000_000]] * 2, np.int64)
    long[2:] += 50_000_000_000
    with pytest.raises(RefusedError, match="of 8 do"):
        still_clock("k0", long, scans)


def test_another_take_s_scans_are_refused(rng):
    stretches, _, _ = stays_and_scans(rng, 8, spread=3.0)
    _, scans, _ = stays_and_scans(rng, 8, spread=3.0)
    with pytest.raises(RefusedError):
        still_clock("k0", stretches, scans)


def test_too_little_is_said(rng):
    stretches, scans, _ = stays_and_scans(rng, 8, spread=3.0)
    with pytest.raises(DataError, match="too few"):
        still_clock("k0", stretches[:3], scans)
