"""From stamps to clock maps: the calibration take ties device and scanner, every other take continues it.

Clocks: ``kinect:<id>`` (device), ``scanner``, ``generator`` (trigger box, which also drives the LED).
The coded LED of the calibration take gives the absolute map device -> scanner. A subject take is seconds or
minutes later: the map, extrapolated, says which scan belongs to which capture (the integer lag); the take's own
stamps, which follow the same pulses in both systems, then refine it within the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.calibration import ClockMap
from anim_real.errors import DataError, RefusedError
from anim_real.rig import LedSpec, RigSpec, SensorSpec
from anim_real.sync.led import LedSamples
from anim_real.sync.led_fit import LedFit, fit_led
from anim_real.sync.pulses import MAX_DRIFT_PPM, PulseTrain, Rate, fit_train, relative_rate
from anim_real.sync.wander import fit_wander

MIN_MARGIN = 10.0  # nats: odds of 22,000 to 1 against the next best lag
_LOCKED_RESIDUAL_US = 1000.0  # stamps that follow pulses scatter by tens of µs; free-running ones do not matter here
_WINDOW_SIGMA_US = (
    200_000.0  # both systems record from the first to the last pulse: latencies are 65-248 ms (SENSOR.md)
)
_FREE_WINDOW_SIGMA_US = 1_000_000.0  # recordings started by hand
_UNKNOWN_DRIFT_PPM = 0.5  # for clock maps whose drift has no sigma
_WANDER_PPM = 1.0  # how far a crystal's rate may move between two takes (temperature)
_MIN_TRAIN = 4  # stamps; fewer do not tell a period from their own noise
_LATENCY_SIGMAS = 5.0
_MIN_LATENCY_CHANGE_US = 500.0  # smaller changes are refined away without suspicion


@dataclass(frozen=True, kw_only=True, eq=False)
class Stamps:
    """What one take knows about time.

    Attributes:
        device_us: (K,) int64 stamps of the captures that have depth, device clock, ascending.
        scanner_us: (S,) int64 stamps of all scanner frames, scanner clock, ascending.
        device_period_us, scanner_period_us: nominal frame periods.
        is_triggered: whether both systems follow the same pulses, so that their rates and phases are tied.
    """

    device_us: NDArray[np.int64]
    scanner_us: NDArray[np.int64]
    device_period_us: float
    scanner_period_us: float
    is_triggered: bool

    def __post_init__(self) -> None:
        for name, stamps in (("captures with depth", self.device_us), ("scanner frames", self.scanner_us)):
            if len(stamps) < 1:
                raise DataError(f"there are no {name}", where="stamps", fix="Look at the take with anim-real inspect")


def rig_stamps(rig: RigSpec, sensor: SensorSpec, *, device_us: ArrayLike, scanner_us: ArrayLike) -> Stamps:
    """Stamps of one take with what the rig says about them.

    Args:
        rig: tells the scanner's rate and whether there is a trigger box.
        sensor: tells its rate; a SUBORDINATE sensor follows the trigger box.
        device_us: stamps of the captures that have depth, device clock.
        scanner_us: stamps of the scanner's frames, scanner clock.
    """
    return Stamps(
        device_us=np.asarray(device_us, dtype=np.int64),
        scanner_us=np.asarray(scanner_us, dtype=np.int64),
        device_period_us=1e6 / sensor.fps,
        scanner_period_us=1e6 / rig.scanner.fps,
        is_triggered=rig.trigger is not None and sensor.sync_mode == "SUBORDINATE",
    )


def calibrate_clock(sensor_id: str, stamps: Stamps, device: LedSamples, scanner: LedSamples, led: LedSpec) -> ClockMap:
    """Solve the map device -> scanner of a calibration take from the coded LED.

    Args:
        sensor_id: the sensor whose clock it is.
        stamps: all captures and scanner frames of the take (for the scanner the LED table's stamps do).
        device: the LED in the colour frames (``led.locate_led``).
        scanner: the LED in the scanner's frames (``scans/led.csv``).
        led: its code. Its rate is estimated too: the LED may run on an oscillator of its own.

    Raises:
        DataError: too few samples.
        RefusedError: the code is not found, its position is ambiguous, or the drift is implausible.
    """
    device_train, scanner_train = _trains(stamps)
    scanner_fit = fit_led(scanner, led, name="LED in scans/led.csv")
    tied = None
    if device_train is not None and scanner_train is not None:
        tied = _chained(relative_rate(device_train, scanner_train), scanner_fit.rate)
    device_fit = fit_led(device, led, rate=tied, name=f"LED in kinect-{sensor_id}")
    loop_us = led.bit_us * len(led.code)
    offset_us, loop_margin = _choose_loop(device_fit, scanner_fit, stamps, loop_us)
    drift = _drift(device_fit, scanner_fit, device_train, scanner_train)
    _require_plausible(drift.drift_ppm, sensor_id)
    margin = min(device_fit.margin, scanner_fit.margin, loop_margin)
    if margin < MIN_MARGIN:
        weakest = (
            "the loop of the code is too short to tell its turns apart"
            if margin == loop_margin
            else "few or noisy bits"
        )
        raise RefusedError(
            f"the LED's position in its code is ambiguous ({weakest}): margin {margin:.1f} nats, "
            f"{MIN_MARGIN:.0f} needed",
            where=f"kinect-{sensor_id}",
            fix="Record the LED longer, start both systems together, or use a longer code",
        )
    offset_sigma = float(np.hypot(device_fit.phase_sigma_us, scanner_fit.phase_sigma_us))
    clock = ClockMap(
        src=f"kinect:{sensor_id}",
        dst="scanner",
        origin_us=device_fit.mid_us,
        offset_us=offset_us,
        drift_ppm=drift.drift_ppm,
        residual_us=float(np.hypot(device_fit.frame_sigma_us, scanner_fit.frame_sigma_us)),
        num_observations=device_fit.num_samples + scanner_fit.num_samples,
        lag_margin=margin,
        method="led",
        offset_sigma_us=offset_sigma,
        drift_sigma_ppm=drift.sigma_ppm,
    )
    if device_train is None or scanner_train is None:
        return clock
    return clock.model_copy(update={"latency_us": _latency(clock, device_train, scanner_train)})


def take_clock(calibrated: ClockMap, stamps: Stamps) -> ClockMap:
    """Continue a calibration's clock map into another take and refine it by the take's own stamps.

    Raises:
        RefusedError: the device clock does not continue (restarted), or the lag is ambiguous by now.
    """
    clock = _moved(calibrated, round(float(np.median(stamps.device_us))))
    _require_overlap(clock, stamps)
    away_s = abs(clock.origin_us - calibrated.origin_us) * 1e-6
    drift_sigma = float(np.hypot(calibrated.drift_sigma_ppm or _UNKNOWN_DRIFT_PPM, _WANDER_PPM))
    offset_sigma = float(np.hypot(calibrated.offset_sigma_us or calibrated.residual_us, drift_sigma * away_s))
    device, scanner = _trains(stamps)
    if device is None or scanner is None or calibrated.latency_us is None:
        period_us = min(stamps.device_period_us, stamps.scanner_period_us)
        return _checked(clock, offset_sigma, drift_sigma, 0.0, period_us)
    fine_us = _fine_period(device, scanner)
    error = _wrap(_latency(clock, device, scanner) - calibrated.latency_us, fine_us)
    if abs(error) > max(_LATENCY_SIGMAS * offset_sigma, _MIN_LATENCY_CHANGE_US):
        raise RefusedError(
            f"device and scanner are {error / 1000:+.2f} ms apart from where the calibration take left them "
            f"(expected within {offset_sigma / 1000:.2f} ms)",
            where=clock.src,
            fix="Was a trigger cable pulled, or a device restarted or set differently? Record a new calibration take",
        )
    checked = _checked(clock, offset_sigma, drift_sigma, error, fine_us)
    drift = _combined(Rate(drift_ppm=clock.drift_ppm, sigma_ppm=drift_sigma), relative_rate(device, scanner))
    _require_plausible(drift.drift_ppm, clock.src)
    center = round(device.center_us)
    predicted = float(clock.to_dst(center)) - error
    own_sigma = float(np.hypot(device.origin_sigma_us, scanner.origin_sigma_us))
    straight = checked.model_copy(
        update={
            "origin_us": center,
            "offset_us": predicted - center,
            "drift_ppm": drift.drift_ppm,
            "residual_us": float(np.hypot(device.residual_us, scanner.residual_us)),
            "num_observations": len(device.index) + len(scanner.index),
            "method": "triggers",
            "offset_sigma_us": float(np.hypot(own_sigma, calibrated.offset_sigma_us or 0.0)),
            "drift_sigma_ppm": drift.sigma_ppm,
        }
    )
    return straight.model_copy(update={"wander": _wander(straight, device, scanner, calibrated.latency_us, fine_us)})


def _wander(
    clock: ClockMap, device: PulseTrain, scanner: PulseTrain, latency_us: float, fine_us: float
) -> tuple[tuple[int, float], ...]:
    """Knots about the straight line, from captures and scans of the same pulses: the pulses' jitter cancels."""
    on_scanner = clock.to_dst(device.time_us) - latency_us
    after = np.clip(np.searchsorted(scanner.time_us, on_scanner), 1, len(scanner.time_us) - 1)
    is_before = on_scanner - scanner.time_us[after - 1] <= scanner.time_us[after] - on_scanner
    error = scanner.time_us[after - is_before] - on_scanner
    is_shared = np.abs(error) < fine_us / 4.0
    return fit_wander(device.time_us[is_shared], error[is_shared]) if is_shared.sum() >= 2 else ()


def window_sigma_us(stamps: Stamps) -> float:
    """How far apart both systems' recordings begin and end, as a standard deviation in µs."""
    return _WINDOW_SIGMA_US if stamps.is_triggered else _FREE_WINDOW_SIGMA_US


def tied_drift(stamps: Stamps) -> Rate | None:
    """Rate of the scanner clock against the device clock where both follow the same pulses; else None."""
    device, scanner = _trains(stamps)
    return None if device is None or scanner is None else relative_rate(device, scanner)


def _trains(stamps: Stamps) -> tuple[PulseTrain | None, PulseTrain | None]:
    """Both systems' pulse trains; None for a system that follows no pulses."""
    if not stamps.is_triggered:
        return None, None
    return (
        _optional_train(stamps.device_us, stamps.device_period_us, "captures"),
        _optional_train(stamps.scanner_us, stamps.scanner_period_us, "scans/timestamps.csv"),
    )


def _optional_train(time_us: ArrayLike, period_us: float, name: str) -> PulseTrain | None:
    """A pulse train if there are enough stamps and they follow the grid closely, else None."""
    if len(np.asarray(time_us)) < _MIN_TRAIN:
        return None
    train = fit_train(time_us, period_us, name=name)
    return train if train.residual_us <= _LOCKED_RESIDUAL_US else None


def _chained(first: Rate, second: Rate) -> Rate:
    """Rate of clock C against A from B against A and C against B."""
    product = (1.0 + first.drift_ppm * 1e-6) * (1.0 + second.drift_ppm * 1e-6)
    return Rate(drift_ppm=(product - 1.0) * 1e6, sigma_ppm=float(np.hypot(first.sigma_ppm, second.sigma_ppm)))


def _drift(device: LedFit, scanner: LedFit, device_train: PulseTrain | None, scanner_train: PulseTrain | None) -> Rate:
    """Rate of the scanner clock against the device clock: from pulses where both follow them, else from the LED."""
    if device_train is not None and scanner_train is not None:
        return relative_rate(device_train, scanner_train)
    ratio = (1.0 + device.rate.drift_ppm * 1e-6) / (1.0 + scanner.rate.drift_ppm * 1e-6)
    return Rate(drift_ppm=(ratio - 1.0) * 1e6, sigma_ppm=float(np.hypot(device.rate.sigma_ppm, scanner.rate.sigma_ppm)))


def _choose_loop(device: LedFit, scanner: LedFit, stamps: Stamps, loop_us: float) -> tuple[float, float]:
    """Offset at ``device.mid_us`` for the turn of the loop that makes both recordings start and end together.

    Returns the offset (µs) and the margin (nats) over the next turn.
    """
    sigma = window_sigma_us(stamps)
    scale = 1.0 + scanner.rate.drift_ppm * 1e-6
    base = scanner.mid_us + (device.phase_us - scanner.phase_us) / scale - device.mid_us
    ends = stamps.scanner_us[[0, -1]] - stamps.device_us[[0, -1]]
    nearest = round(float(ends.mean() - base) * scale / loop_us)
    offsets = base + loop_us / scale * np.arange(nearest - 2, nearest + 3)
    cost = ((offsets[:, None] - ends) ** 2).sum(1) / (2.0 * sigma**2)
    first, second = np.argsort(cost)[:2]
    return float(offsets[first]), float(cost[second] - cost[first])


def _fine_period(device: PulseTrain, scanner: PulseTrain) -> float:
    """The faster system's period on the scanner's clock: the two may expose on every n-th pulse only."""
    return scanner.period_us * min(1.0, device.nominal_period_us / scanner.nominal_period_us)


def _latency(clock: ClockMap, device: PulseTrain, scanner: PulseTrain) -> float:
    """Device stamps minus nearest scanner pulses, on the scanner's clock, averaged over the take (±half a period)."""
    fine_us = _fine_period(device, scanner)
    phase = (clock.to_dst(device.time_us) - scanner.origin_us) / fine_us
    return float(np.angle(np.exp(2j * np.pi * phase).mean()) / (2.0 * np.pi) * fine_us)


def _wrap(value_us: float, period_us: float) -> float:
    return (value_us + period_us / 2.0) % period_us - period_us / 2.0


def _combined(first: Rate, second: Rate) -> Rate:
    """Inverse-variance mean of two rates."""
    weights = np.array([first.sigma_ppm, second.sigma_ppm]) ** -2.0
    mean = float(weights @ [first.drift_ppm, second.drift_ppm] / weights.sum())
    return Rate(drift_ppm=mean, sigma_ppm=float(weights.sum() ** -0.5))


def _moved(clock: ClockMap, origin_us: int) -> ClockMap:
    """The same map with its origin elsewhere."""
    offset_us = float(clock.to_dst(origin_us)) - origin_us
    return clock.model_copy(update={"origin_us": origin_us, "offset_us": offset_us})


def _require_overlap(clock: ClockMap, stamps: Stamps) -> None:
    first, last = clock.to_dst(stamps.device_us[[0, -1]])
    if last < stamps.scanner_us[0] or first > stamps.scanner_us[-1]:
        gap_s = max(stamps.scanner_us[0] - last, first - stamps.scanner_us[-1]) * 1e-6
        raise RefusedError(
            f"by the calibration's clock map the recording and the scans are {gap_s:.3g} s apart",
            where=clock.src,
            fix="A clock was restarted since the calibration take: record a new one without switching anything off",
        )


def _require_plausible(drift_ppm: float, where: str) -> None:
    if abs(drift_ppm) > MAX_DRIFT_PPM:
        raise RefusedError(
            f"a drift of {drift_ppm:.0f} ppm is implausible (limit {MAX_DRIFT_PPM:.0f})",
            where=where,
            fix="Check fps and led.bit_us in the rig",
        )


def _checked(clock: ClockMap, offset_sigma: float, drift_sigma: float, error_us: float, period_us: float) -> ClockMap:
    """Give the map its margin: how much likelier (nats) this lag is than the next, given the extrapolation's sigma."""
    rival = period_us - abs(error_us)
    margin = (rival**2 - error_us**2) / (2.0 * max(offset_sigma, 1.0) ** 2)
    if clock.lag_margin is not None:
        margin = min(margin, clock.lag_margin)  # a chain is as sure as its weakest link
    if margin < MIN_MARGIN:
        raise RefusedError(
            f"the calibration's clock map is too old: ±{offset_sigma / 1000:.1f} ms by now, "
            f"lag margin {margin:.1f} nats ({MIN_MARGIN:.0f} needed)",
            where=clock.src,
            fix="Record a calibration take nearer in time",
        )
    return clock.model_copy(
        update={
            "lag_margin": margin,
            "method": "calibration",
            "offset_sigma_us": offset_sigma,
            "drift_sigma_ppm": drift_sigma,
        }
    )
