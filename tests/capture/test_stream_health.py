"""Figures of a stream: exact on synthetic stamps, then with noise; pauses and clocks that go back are told."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.capture.recorder.depth_stability import DepthStability
from anim_real.capture.recorder.stream_health import Finding, StreamFigures, StreamHealth
from anim_real.depth_camera import LiveCapture
from capture.fake_camera import sensor_spec, small_depth

IMAGE = np.zeros((288, 320), np.uint16)


def capture(stamp_us: int | None, *, color: bytes | None = b"12345", exposure_us: int | None = None) -> LiveCapture:
    return LiveCapture(
        color=color,
        depth_mm=None if stamp_us is None else IMAGE,
        ir=None if stamp_us is None else IMAGE,
        color_time_us=None if color is None else (stamp_us or 0),
        depth_time_us=stamp_us,
        color_exposure_us=exposure_us,
    )


def run(stamps_us: np.ndarray, **sensor: object) -> tuple[StreamFigures, list[Finding]]:
    health = StreamHealth(sensor_spec(**sensor), 0.0)
    findings = []
    for number, stamp_us in enumerate(stamps_us.tolist()):
        findings += health.observe(capture(stamp_us), number / 30)
    return health.figures((len(stamps_us) - 1) / 30), findings


def test_a_steady_stream_has_no_findings() -> None:
    figures, findings = run(1_000_000 + 200_000 * np.arange(60), fps=5)
    assert findings == []
    assert (figures.num_captures, figures.num_dropped, figures.num_incomplete) == (60, 0, 0)
    assert (figures.first_us, figures.last_us) == (1_000_000, 1_000_000 + 59 * 200_000)
    assert figures.jitter_us == figures.worst_jitter_us == figures.rate_ppm == 0.0
    assert figures.num_bytes == 60 * (5 + 2 * IMAGE.nbytes)
    assert figures.bytes_per_s == pytest.approx(figures.fps * (5 + 2 * IMAGE.nbytes))


def test_drops_are_counted_and_placed() -> None:
    index = np.delete(np.arange(100), [10, 40, 41, 42, 97])
    stamps = np.rint(5_000_000 + index * 1e6 / 30).astype(int)
    figures, findings = run(stamps)
    assert figures.num_dropped == 5
    assert [(finding.kind, finding.count, finding.device_us) for finding in findings] == [
        ("dropped", 1, int(stamps[9])), ("dropped", 3, int(stamps[38])), ("dropped", 1, int(stamps[92])),
    ]  # fmt: skip
    assert findings[1].at_s == pytest.approx(39 / 30)
    assert figures.worst_jitter_us < 1.0  # a gap is no jitter


def test_jitter_and_rate_are_those_put_in(rng: np.random.Generator) -> None:
    """A device clock 389 ppm off and exposures scattered by 30 µs: an interval scatters by 30·√2."""
    stamps = np.rint(1e6 + np.arange(20_000) * (1e6 / 30) * (1 + 389e-6) + rng.normal(0, 30, 20_000)).astype(int)
    figures, findings = run(np.delete(stamps, rng.permutation(19_000)[:300] + 1))
    assert {finding.kind for finding in findings} == {"dropped"}
    assert figures.num_dropped == 300
    assert figures.jitter_us == pytest.approx(30 * np.sqrt(2), rel=0.03)
    assert figures.rate_ppm == pytest.approx(389.0, abs=0.5)
    assert 100 < (figures.worst_jitter_us or 0) < 300


def test_the_frame_rate_is_the_present_one() -> None:
    health = StreamHealth(sensor_spec(), 0.0)
    for number in range(300):
        health.observe(capture(number * 33_333), number / 30 if number < 150 else 5 + (number - 150) / 10)
    assert health.figures(20.0).fps == pytest.approx(10.0, abs=0.4)
    assert health.figures(40.0).fps == 0.0


def test_a_clock_that_goes_back_is_no_drop() -> None:
    figures, findings = run(np.array([1_000_000, 1_033_333, 66_000, 99_333]))
    assert [(finding.kind, finding.device_us) for finding in findings] == [("clock", 66_000)]
    assert "967333 µs" in findings[0].text
    assert figures.num_dropped == 0


def test_pauses_are_told_once_and_their_end_too() -> None:
    health = StreamHealth(sensor_spec(), 100.0)
    assert health.idle(109.9) == []
    (early,) = health.idle(110.1)
    assert (early.kind, early.sensor) == ("no pulses", "k0")
    assert health.idle(111.0) == []
    assert [finding.kind for finding in health.observe(capture(0), 112.0)] == ["resumed"]
    assert health.idle(112.9) == []
    (silent,) = health.idle(113.1)
    assert (silent.kind, silent.at_s) == ("silent", 112.0)
    assert health.idle(114.0) == []
    kinds = [finding.kind for finding in health.observe(capture(2_000_000), 114.0)]
    assert kinds == ["resumed", "dropped"]


def test_a_subordinate_that_never_begins_lacks_pulses() -> None:
    (finding,) = StreamHealth(sensor_spec(sync_mode="SUBORDINATE"), 0.0).idle(11.0)
    assert "no pulses on its sync cable" in finding.text
    (finding,) = StreamHealth(sensor_spec(), 0.0).idle(11.0)
    assert "the device sends nothing" in finding.text


def test_what_is_incomplete_depends_on_the_mode() -> None:
    for mode, counted in (("NFOV_2X2BINNED", 2), ("PASSIVE_IR", 2)):
        health = StreamHealth(sensor_spec(depth_mode=mode, depth_delay_us=-50), 0.0)
        health.observe(capture(1_000_000), 0.0)
        health.observe(capture(1_033_333, color=None), 0.1)
        health.observe(LiveCapture(color=b"1", color_time_us=1_066_717), 0.2)  # colour alone: its stamp less 50 µs
        health.observe(LiveCapture(color=b"1", color_time_us=1_100_050, ir=IMAGE, depth_time_us=1_100_000), 0.3)
        figures = health.figures(0.3)
        assert figures.num_incomplete == counted + (mode != "PASSIVE_IR")
        assert (figures.num_dropped, figures.last_us) == (0, 1_100_000)
        assert (figures.worst_jitter_us or 0) < 1.0


def test_exposures_are_followed() -> None:
    health = StreamHealth(sensor_spec(), 0.0)
    for number, exposure_us in enumerate((8000, 8000, None, 16000, 16000, 4000)):
        health.observe(capture(number * 33_333, exposure_us=exposure_us), 0.0)
    figures = health.figures(0.0)
    assert (figures.exposure_us, figures.exposure_range_us, figures.num_exposure_changes) == (4000, (4000, 16000), 2)


def test_drift_of_depth_is_measured(rng: np.random.Generator) -> None:
    """0.6 mm in a minute on a wall at 2 m, rounded to millimetres and noisy, with a person in front of part of it."""
    stability = DepthStability()
    assert stability.drift_mm_per_min is None
    assert stability.depth_mm is None
    for second in np.arange(0, 60, 0.25):
        depth = np.rint(2000.0 + 0.6 * second / 60 + rng.normal(0, 2, (288, 320))).astype(np.uint16)
        depth[:, :110] = 1200
        depth[100:120] = 0
        stability.observe(depth, float(second))
    assert stability.depth_mm == pytest.approx(2000.6, abs=0.1)
    assert stability.drift_mm_per_min == pytest.approx(0.6, abs=0.05)
    still = DepthStability()
    for second in range(30):
        still.observe(small_depth(1500), float(second))
    assert (still.depth_mm, still.drift_mm_per_min) == (1500.0, pytest.approx(0.0, abs=1e-9))
