"""How well a recording went: its clock, its inertial samples, its factory calibration, as figures and as lines.

Times are device microseconds. What is out of the ordinary is told in words beside the figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from anim_real.capture.k4a_calibration import FactoryCalibration
    from anim_real.capture.recording.k4a_mkv import CaptureStamps, ImuSamples, RecordingInfo
    from anim_real.geometry.cameras import Camera

_BAR_CHARACTERS = 40
_GRAVITY = (9.81, 0.3)  # m/s², and how far factory bias and a hand-held device may take the median from it
_IMU_GAP_PERIODS = 2.5
_ON_TIME_US, _NEAR_US = 100, 1000
_DELAY_TOLERANCE_US = 1000

# Ranges of factory calibrations: normalised focal length fx, metres, degrees. The data sheets give fields of view of
# 90 degrees (Azure Kinect colour), 80 (Femto Bolt and Mega colour) and 120 (depth, wide), 32 mm between the cameras
# and a tilt of 6 degrees by construction; units differ by a few per cent.
_COLOR_FOCAL = {"Azure Kinect": (0.45, 0.51), "Orbbec": (0.55, 0.62)}
_DEPTH_FOCAL = (0.46, 0.53)
_CENTRE = (0.45, 0.55)
_BASELINE_M = (0.028, 0.037)
_TILT_DEG = (2.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class ClockHealth:
    """Intervals between captures.

    Attributes:
        num_intervals: how many there are; the others are None where there is none.
        nominal_ms, median_ms: frame period as stated, and as found.
        jitter_p95_ms: 95 of 100 intervals of one period differ less than this from their median.
        longest_gap_ms: longest interval.
        num_backwards: images stamped earlier than the one before them in the file.
        depth_after_color_us: median of depth's stamp after colour's, in captures that have both.
        histogram: what the intervals are, in words, and how many of each.
    """

    num_intervals: int
    nominal_ms: float
    median_ms: float | None
    jitter_p95_ms: float | None
    longest_gap_ms: float | None
    num_backwards: int
    depth_after_color_us: float | None
    histogram: dict[str, int]


def measure_clock(info: RecordingInfo, stamps: CaptureStamps) -> tuple[ClockHealth, list[str]]:
    """Figures of the stamps, and what is wrong with them."""
    period_us = 1e6 / info.fps
    intervals = np.diff(np.sort(stamps.time_us))
    single = intervals[intervals < 1.5 * period_us]
    median = float(np.median(single)) if len(single) else None
    both = stamps.is_complete
    delay = float(np.median((stamps.depth_time_us - stamps.color_time_us)[both])) if both.any() else None
    health = ClockHealth(
        num_intervals=len(intervals),
        nominal_ms=period_us / 1e3,
        median_ms=None if median is None else median / 1e3,
        jitter_p95_ms=None if median is None else float(np.percentile(np.abs(single - median), 95)) / 1e3,
        longest_gap_ms=float(intervals.max()) / 1e3 if len(intervals) else None,
        num_backwards=info.num_backwards,
        depth_after_color_us=delay,
        histogram=_histogram(intervals, period_us),
    )
    problems = []
    if info.num_dropped:
        problems.append(f"{info.num_dropped} captures are missing by the gaps in the stamps")
    if info.num_jumps:
        problems.append(f"the clock jumps by more than a minute {info.num_jumps} times")
    if info.num_backwards:
        problems.append(f"{info.num_backwards} images are stamped earlier than the one before them")
    if info.num_duplicates:
        problems.append(f"{info.num_duplicates} images have the stamp of another one and were left out")
    if delay is not None and abs(delay - info.depth_delay_us) > _DELAY_TOLERANCE_US:
        problems.append(f"depth comes {delay:.0f} µs after colour, the tags state {info.depth_delay_us} µs")
    if median is not None and abs(median / period_us - 1) > 0.01:
        problems.append(f"captures come every {median / 1e3:.3f} ms, {info.fps} fps are {period_us / 1e3:.3f} ms")
    return health, problems


def _histogram(intervals: NDArray[np.int64], period_us: float) -> dict[str, int]:
    off_us = np.abs(intervals - period_us)
    periods = np.rint(intervals / period_us).astype(int)
    single = periods == 1
    bins = {
        "within 0.1 ms": single & (off_us <= _ON_TIME_US),
        "0.1 to 1 ms off": single & (off_us > _ON_TIME_US) & (off_us <= _NEAR_US),
        "over 1 ms off": single & (off_us > _NEAR_US),
        "under half a period": periods == 0,
        "1 missing": periods == 2,
        "2 missing": periods == 3,
        "more missing": periods > 3,
    }
    return {name: int(chosen.sum()) for name, chosen in bins.items()}


def clock_lines(health: ClockHealth) -> list[str]:
    """The clock's figures and its histogram."""
    if health.median_ms is None:
        found = "no two captures in a row" if health.num_intervals else "one capture, no interval"
        lines = [f"  clock       {found} ({health.nominal_ms:.3f} ms nominal)"]
    else:
        lines = [
            f"  clock       every {health.median_ms:.3f} ms (nominal {health.nominal_ms:.3f}), jitter p95"
            f" {health.jitter_p95_ms:.3f} ms, longest gap {health.longest_gap_ms:.1f} ms,"
            f" {health.num_backwards} backwards"
        ]
    highest = max(health.histogram.values(), default=0)
    for name, count in health.histogram.items():
        if count:
            bar = "#" * max(1, round(count / highest * _BAR_CHARACTERS))
            lines.append(f"    {name:<20} {count:>7}  {bar}")
    if health.depth_after_color_us is not None:
        lines.append(f"  exposure    depth {health.depth_after_color_us:+.0f} µs after colour (median)")
    return lines


@dataclass(frozen=True, kw_only=True)
class ImuHealth:
    """Inertial samples: rate, gaps, and whether the accelerometer feels gravity.

    Attributes:
        num_samples: how many; the others are None where there are fewer than two.
        rate_hz: by the median interval.
        num_gaps: intervals of more than 2.5 periods.
        longest_gap_ms: longest interval.
        num_backwards: samples stamped earlier than the one before.
        gravity_m_s2: median length of the acceleration.
        rotation_deg_s: median length of the rotation rate.
    """

    num_samples: int
    rate_hz: float | None = None
    num_gaps: int | None = None
    longest_gap_ms: float | None = None
    num_backwards: int = 0
    gravity_m_s2: float | None = None
    rotation_deg_s: float | None = None


def measure_imu(imu: ImuSamples) -> tuple[ImuHealth, list[str]]:
    """Figures of the samples, and what is wrong with them."""
    count = len(imu.acc_time_us)
    gravity, num_bad_acc = _median_length(imu.acc)
    rotation, num_bad_gyro = _median_length(imu.gyro)
    if gravity is None or rotation is None:
        return ImuHealth(num_samples=count), [f"{count} inertial samples and no number in them"] if count else []
    steps = np.diff(imu.acc_time_us)
    forward = steps[steps > 0]
    period_us = float(np.median(forward)) if len(forward) else None
    num_gaps = None if period_us is None else int((forward > _IMU_GAP_PERIODS * period_us).sum())
    health = ImuHealth(
        num_samples=count,
        rate_hz=None if period_us is None else 1e6 / period_us,
        num_gaps=num_gaps,
        longest_gap_ms=None if period_us is None else float(forward.max()) / 1e3,
        num_backwards=int((steps < 0).sum()),
        gravity_m_s2=gravity,
        rotation_deg_s=float(np.degrees(rotation)),
    )
    problems = []
    if not abs(gravity - _GRAVITY[0]) <= _GRAVITY[1]:
        problems.append(f"the accelerometer feels {gravity:.2f} m/s², gravity is {_GRAVITY[0]}")
    if num_bad_acc or num_bad_gyro:
        problems.append(f"{num_bad_acc + num_bad_gyro} inertial values are no numbers")
    if num_gaps:
        problems.append(f"inertial samples are missing {num_gaps} times")
    if health.num_backwards:
        problems.append(f"{health.num_backwards} inertial samples are stamped earlier than the one before them")
    return health, problems


def _median_length(vectors: NDArray[np.float32]) -> tuple[float | None, int]:
    """Median length of the vectors (N, 3) that are finite, None without any; and how many are not."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    finite = lengths[np.isfinite(lengths)]
    return (float(np.median(finite)) if len(finite) else None), len(lengths) - len(finite)


def imu_line(health: ImuHealth) -> str:
    """The inertial samples in one line."""
    if health.num_samples == 0:
        return "  imu         none"
    line = f"  imu         {health.num_samples} sample{'s' if health.num_samples > 1 else ''}"
    if health.gravity_m_s2 is None:
        return line
    if health.rate_hz is not None:
        line += (
            f" at {health.rate_hz:.0f} Hz, {health.num_gaps} gaps (longest {health.longest_gap_ms:.1f} ms),"
            f" {health.num_backwards} backwards"
        )
    return f"{line}; gravity {health.gravity_m_s2:.2f} m/s², rotation {health.rotation_deg_s:.1f} °/s"


@dataclass(frozen=True, kw_only=True)
class CalibrationHealth:
    """Figures of a factory calibration that every unit has alike.

    Attributes:
        serial: the device it was made for, empty if not stated.
        color_focal, depth_focal: fx over the calibration image's width.
        color_fov_deg, depth_fov_deg: (horizontal, vertical) field of view of the modes recorded, None without.
        baseline_mm: distance between the cameras.
        tilt_deg: angle between them.
    """

    serial: str
    color_focal: float
    depth_focal: float
    color_fov_deg: tuple[float, float] | None
    depth_fov_deg: tuple[float, float] | None
    baseline_mm: float
    tilt_deg: float


def measure_calibration(info: RecordingInfo, factory: FactoryCalibration) -> tuple[CalibrationHealth, list[str]]:
    """Figures of the factory calibration, and what a device of this kind does not have."""
    from anim_real.capture.k4a_calibration import MODES

    kind = "Orbbec" if info.is_orbbec else "Azure Kinect"
    T_color_depth = factory.T_color_depth
    baseline_m = float(np.linalg.norm(T_color_depth.translation))
    cosine = (np.trace(T_color_depth.rotation) - 1) / 2
    tilt_deg = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    fields: dict[str, tuple[float, float] | None] = {"color": None, "depth": None}
    if info.color_mode in MODES:
        fields["color"] = _field_of_view(factory.camera("color", info.color_mode, check_radius=info.check_radius))
    if info.depth_mode in MODES:
        fields["depth"] = _field_of_view(factory.camera("depth", info.depth_mode, check_radius=info.check_radius))
    health = CalibrationHealth(
        serial=factory.serial,
        color_focal=factory.color_camera.fx,
        depth_focal=factory.depth_camera.fx,
        color_fov_deg=fields["color"],
        depth_fov_deg=fields["depth"],
        baseline_mm=baseline_m * 1e3,
        tilt_deg=tilt_deg,
    )
    color, depth = factory.color_camera, factory.depth_camera
    checks = [
        ("colour focal length", color.fx, _COLOR_FOCAL[kind], "of the image width"),
        ("depth focal length", depth.fx, _DEPTH_FOCAL, "of the image width"),
        ("colour principal point", color.cx, _CENTRE, "of the image width"),
        ("colour principal point", color.cy, _CENTRE, "of the image height"),
        ("depth principal point", depth.cx, _CENTRE, "of the image width"),
        ("depth principal point", depth.cy, _CENTRE, "of the image height"),
        ("distance between the cameras", baseline_m * 1e3, (_BASELINE_M[0] * 1e3, _BASELINE_M[1] * 1e3), "mm"),
        ("angle between the cameras", tilt_deg, _TILT_DEG, "degrees"),
    ]
    problems = [
        f"{name} {value:.4g} {unit}; an {kind} has {low:.4g} to {high:.4g}"
        for name, value, (low, high), unit in checks
        if not low <= value <= high
    ]
    if factory.serial and info.serial and factory.serial != info.serial:
        problems.append(f"the calibration was made for device {factory.serial}, not {info.serial}")
    return health, problems


def calibration_lines(health: CalibrationHealth) -> list[str]:
    """The factory calibration in two lines."""
    color, depth = health.color_fov_deg, health.depth_fov_deg
    views = [
        f"{name} {field[0]:.1f}° x {field[1]:.1f}°" for name, field in (("colour", color), ("depth", depth)) if field
    ]
    return [
        f"  calibration factory, of device {health.serial or '?'}; field of view {', '.join(views) or 'unknown'}",
        f"              cameras {health.baseline_mm:.1f} mm apart, turned by {health.tilt_deg:.2f}°",
    ]


def _field_of_view(camera: Camera) -> tuple[float, float] | None:
    """Angles between the rays through the middles of opposite image sides, degrees; None where a ray is invalid."""
    middle_x, middle_y = (camera.width - 1) / 2, (camera.height - 1) / 2
    sides = [(-0.5, middle_y), (camera.width - 0.5, middle_y), (middle_x, -0.5), (middle_x, camera.height - 0.5)]
    angles = np.degrees(np.arctan(camera.normalize(np.array(sides))))
    field = float(angles[1, 0] - angles[0, 0]), float(angles[3, 1] - angles[2, 1])
    return field if np.isfinite(field).all() else None


def as_record(*parts: ClockHealth | ImuHealth | CalibrationHealth | None) -> list[dict[str, Any] | None]:
    """The figures as JSON holds them."""
    return [None if part is None else asdict(part) for part in parts]
