"""Trigger health: a pulled cable is found and placed; nothing is found in hours of ordinary running."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.capture.recorder.stream_health import Finding
from anim_real.capture.recorder.trigger_health import Stamp, TriggerWatch
from capture.fake_camera import sensor_spec

PERIOD_US = 1e6 / 30
STEP_US = 1e6 / 90_000  # the device counts in 90 kHz


def stamps_of(
    times_us: np.ndarray, rng: np.random.Generator, *, offset_us: float, ppm: float, drop: float = 0.0
) -> list[Stamp]:
    """Stamps of exposures at true times, on a clock of its own, and their arrival with the host's delays."""
    clock = offset_us + times_us * (1 + ppm * 1e-6)
    kept = rng.random(len(times_us)) >= drop
    arrivals = times_us / 1e6 + 0.03 + rng.exponential(0.002, len(times_us))
    return [
        (int(round(stamp / STEP_US) * STEP_US), float(at_s))
        for stamp, at_s, is_kept in zip(clock, arrivals, kept, strict=True)
        if is_kept
    ]


def watched(watch: TriggerWatch, streams: dict[str, list[Stamp]]) -> list[Finding]:
    """Hand the stamps over in batches of 0.2 s of arrival."""
    findings = []
    end_s = max(stamps[-1][1] for stamps in streams.values())
    position = dict.fromkeys(streams, 0)
    for until_s in np.arange(0.2, end_s + 0.2, 0.2):
        batch = {}
        for name, stamps in streams.items():
            start = position[name]
            while position[name] < len(stamps) and stamps[position[name]][1] <= until_s:
                position[name] += 1
            batch[name] = stamps[start : position[name]]
        findings += watch.observe(batch)
    return findings


def pulses(seconds: float, rng: np.random.Generator, jitter_us: float) -> np.ndarray:
    count = int(seconds * 30)
    return np.arange(count) * PERIOD_US + rng.normal(0, jitter_us, count)


def pulled(times_us: np.ndarray, at_s: float, ppm: float) -> np.ndarray:
    """The same exposures, but from ``at_s`` on one in a nominal period of a clock that is ``ppm`` fast."""
    last = int(np.searchsorted(times_us, at_s * 1e6)) - 1
    free = times_us[last] + np.arange(1, len(times_us) - last) * PERIOD_US / (1 + ppm * 1e-6)
    return np.concatenate([times_us[: last + 1], free])


def pair() -> TriggerWatch:
    return TriggerWatch(
        [sensor_spec("k1", sync_mode="SUBORDINATE", subordinate_delay_us=160), sensor_spec("k0", sync_mode="MASTER")]
    )


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_running_tells_nothing(seed: int) -> None:
    """Ten minutes, clocks 389 ppm apart, jitter of 30 µs, 5 % of the captures lost."""
    rng = np.random.default_rng(seed)
    times = pulses(600, rng, 30.0)
    streams = {
        "k0": stamps_of(times, rng, offset_us=5e6, ppm=0.0, drop=0.05),
        "k1": stamps_of(times + 160, rng, offset_us=3e6, ppm=389.0, drop=0.05),
    }
    watch = pair()
    assert watched(watch, streams) == []
    figures = watch.figures("k1")
    assert figures is not None
    assert figures.reference == "k0"
    assert figures.rate_ppm == pytest.approx(389.0, abs=3.0)
    assert watch.figures("k0") is None


@pytest.mark.parametrize(("ppm", "late_s", "off_s"), [(389.0, 2.5, 0.3), (-80.0, 4.0, 0.7), (20.0, 12.0, 2.5)])
def test_a_pulled_cable_is_found_and_placed(rng: np.random.Generator, ppm: float, late_s: float, off_s: float) -> None:
    """The faster the clocks part, the sooner it shows; 20 ppm is what two good crystals differ by."""
    master = pulses(60, rng, 5.0)
    streams = {
        "k0": stamps_of(master, rng, offset_us=5e6, ppm=0.0),
        "k1": stamps_of(pulled(master + 160, 25.0, ppm), rng, offset_us=3e6, ppm=ppm, drop=0.02),
    }
    watch = pair()
    cut = {name: [stamp for stamp in stamps if stamp[1] < 25.0 + late_s] for name, stamps in streams.items()}
    (finding,) = watched(pair(), cut)
    assert finding.sensor == "k1"
    assert finding.at_s == pytest.approx(25.03, abs=off_s)
    device_us = 3e6 + 25e6 * (1 + ppm * 1e-6)
    assert finding.device_us == pytest.approx(device_us, abs=off_s * 1e6)
    assert len(watched(watch, streams)) == 1  # told once, also in the long run


def test_devices_that_share_their_time_show_it_in_the_offset(rng: np.random.Generator) -> None:
    """Stamps of a subordinate that follow its master's clock: no bend in its own rate, only in the offset."""
    master = pulses(40, rng, 5.0)
    sub = pulled(master + 160, 20.0, 100.0)
    streams = {
        "k0": stamps_of(master, rng, offset_us=0.0, ppm=0.0),
        "k1": stamps_of(sub, rng, offset_us=0.0, ppm=0.0),
    }
    watch = pair()
    before = {name: stamps[: 19 * 30] for name, stamps in streams.items()}
    assert watched(watch, before) == []
    figures = watch.figures("k1")
    assert figures is not None
    assert figures.offset_us == pytest.approx(0.0, abs=12.0)  # the delay set in the rig is taken off
    assert figures.rate_ppm == pytest.approx(0.0, abs=2.0)
    (finding,) = watched(pair(), streams)
    assert finding.at_s == pytest.approx(20.03, abs=0.7)


def test_one_sensor_on_a_trigger_box_is_watched_by_its_own_rate(rng: np.random.Generator) -> None:
    sensor = sensor_spec("k0", sync_mode="SUBORDINATE")
    times = pulled(pulses(30, rng, 30.0), 15.0, 250.0)
    (finding,) = watched(TriggerWatch([sensor]), {"k0": stamps_of(times, rng, offset_us=1e6, ppm=250.0)})
    assert finding.kind == "trigger"
    assert finding.at_s == pytest.approx(15.03, abs=0.7)
    assert TriggerWatch([sensor]).figures("k0") is None


def test_a_jump_of_the_phase_is_found(rng: np.random.Generator) -> None:
    """Pulses that stop and come again at another phase, as after a trigger box was restarted."""
    times = pulses(30, rng, 5.0)
    times[450:] += 4_000.0
    (finding,) = watched(
        TriggerWatch([sensor_spec("k0", sync_mode="SUBORDINATE")]),
        {"k0": stamps_of(times, rng, offset_us=1e6, ppm=0.0)},
    )
    assert finding.at_s == pytest.approx(15.03, abs=0.3)


def test_sensors_that_run_alone_are_not_compared(rng: np.random.Generator) -> None:
    watch = TriggerWatch([sensor_spec("k0"), sensor_spec("k1")])
    times = pulses(10, rng, 5.0)
    streams = {name: stamps_of(times, rng, offset_us=0.0, ppm=300.0) for name in ("k0", "k1")}
    assert watched(watch, streams) == []
    assert watch.figures("k1") is None
