"""Scoring against the truth of the virtual studio: calibration, clocks, matches. No stage reads the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anim_real.calibration import ClockMap, SensorCalibration
from anim_real.rig import RigSpec
from anim_real.studio.truth import SensorTruth

Array = NDArray[np.float64]
_PERSON_SIZE_M = (0.8, 1.9, 0.8)
_GRID = (7, 13, 7)


@dataclass(frozen=True, kw_only=True)
class CalibrationScore:
    """Errors of one sensor's calibration over a person-sized volume at the rig's centre.

    Attributes:
        pose_mean_mm, pose_max_mm: scan points moved to the colour camera, against the true pose.
        depth_mean_mm, depth_max_mm: the whole depth chain: a true depth return, with the device's systematic
            error, unprojected, corrected and moved to the scan frame, against where it really is.
        color_mean_px, color_max_px: scan points projected into the colour image, against the true camera.
        predicted_mm: what the calibration itself predicts for the mean pose error.
    """

    pose_mean_mm: float
    pose_max_mm: float
    depth_mean_mm: float
    depth_max_mm: float
    color_mean_px: float
    color_max_px: float
    predicted_mm: float


@dataclass(frozen=True, kw_only=True)
class ClockScore:
    """Errors of a clock map over a take: worst offset in µs, drift in ppm."""

    offset_us: float
    drift_ppm: float


@dataclass(frozen=True, kw_only=True)
class MatchScore:
    """Pairs of one take against the truth.

    Attributes:
        num_pairs: rows with the verdict ``pair``.
        num_wrong: pairs whose scan is not the one exposed at the same moment.
        num_dropped: pulses the device lost, by the truth.
        num_dropped_listed: of these, how many the manifest lists at the right time.
        num_invented: drops the manifest lists that did not happen.
    """

    num_pairs: int
    num_wrong: int
    num_dropped: int
    num_dropped_listed: int
    num_invented: int


def person_grid(rig: RigSpec) -> Array:
    """(N, 3) points of the scan frame that fill a person-sized box standing at the rig's centre, metres."""
    up = rig.scanner.up_vector
    across = np.roll(np.abs(up), 1)
    along = np.cross(up, across)
    steps = [np.linspace(-0.5, 0.5, count) for count in _GRID]
    x, y, z = np.meshgrid(*steps, indexing="ij")
    center = np.asarray(rig.volume.center)
    width, height, depth = _PERSON_SIZE_M
    points = width * x[..., None] * across + height * (y[..., None] + 0.5) * up + depth * z[..., None] * along
    return (center + points).reshape(-1, 3)


def score_calibration(solved: SensorCalibration, truth: SensorTruth, rig: RigSpec) -> CalibrationScore:
    """Compare a solved sensor with its truth over ``person_grid``."""
    points_scan = person_grid(rig)
    T_color_scan, true_T_color_scan = solved.T_color_scan.rigid(), truth.T_color_scan.rigid()
    points_color, true_points_color = T_color_scan.apply(points_scan), true_T_color_scan.apply(points_scan)
    pose_mm = 1e3 * np.linalg.norm(points_color - true_points_color, axis=1)
    depth_mm = 1e3 * np.linalg.norm(_through_depth(solved, truth, true_points_color) - points_scan, axis=1)
    seen, true_seen = solved.color.camera().project(points_color), truth.color.camera().project(true_points_color)
    color_px = np.linalg.norm(seen - true_seen, axis=1)[_inside(true_seen, truth)]
    return CalibrationScore(
        pose_mean_mm=float(pose_mm.mean()),
        pose_max_mm=float(pose_mm.max()),
        depth_mean_mm=float(np.nanmean(depth_mm)),
        depth_max_mm=float(np.nanmax(depth_mm)),
        color_mean_px=float(color_px.mean()),
        color_max_px=float(color_px.max()),
        predicted_mm=solved.predicted_person_mm,
    )


def score_clock(solved: ClockMap, true: ClockMap, stamps_us: NDArray[np.int64]) -> ClockScore:
    """Compare two maps of the same clocks over the stamps (N,) of a take."""
    return ClockScore(
        offset_us=float(np.abs(solved.to_dst(stamps_us) - true.to_dst(stamps_us)).max()),
        drift_ppm=float(abs(solved.drift_ppm - true.drift_ppm)),
    )


def score_matches(frames: pd.DataFrame, truth: SensorTruth) -> MatchScore:
    """Compare the manifest's rows of one take and sensor with the truth."""
    scan_of = {capture.capture_index: capture.scan_frame for capture in truth.captures}
    pairs = frames[frames["verdict"] == "pair"]
    wrong = sum(
        scan_of.get(int(index)) != int(scan)
        for index, scan in zip(pairs["kinect_index"], pairs["scan_index"], strict=True)
    )
    lost = frames[frames["kinect_index"].isna() & frames["kinect_time_us"].notna()]
    listed = _count_true_drops(lost["kinect_time_us"].to_numpy(dtype=np.float64), truth)
    return MatchScore(
        num_pairs=len(pairs),
        num_wrong=int(wrong),
        num_dropped=len(truth.dropped_pulses),
        num_dropped_listed=listed,
        num_invented=len(lost) - listed,
    )


def _count_true_drops(times_us: Array, truth: SensorTruth) -> int:
    """Count the listed drop times that fall on a truly dropped pulse, each at most once."""
    stamps = np.array([c.depth_time_us or c.color_time_us for c in truth.captures], dtype=np.float64)
    pulses = np.array([c.pulse for c in truth.captures], dtype=np.float64)
    rate_us, start_us = np.polyfit(pulses - pulses[0], stamps, 1)
    expected = start_us + rate_us * (np.asarray(truth.dropped_pulses, dtype=np.float64) - pulses[0])
    hit = {int(np.argmin(np.abs(expected - time))) for time in times_us if len(expected)}
    return sum(bool(np.abs(times_us - expected[k]).min() < rate_us / 2) for k in hit)


def _through_depth(solved: SensorCalibration, truth: SensorTruth, true_points_color: Array) -> Array:
    """(N, 3) scan-frame points where the solved depth chain puts true colour-frame points (N, 3); NaN if unseen."""
    points_depth = truth.T_color_depth.rigid().inverse().apply(true_points_color)
    z = points_depth[:, 2]
    range_per_z = np.linalg.norm(points_depth, axis=1) / z
    along_ray = np.interp(z * range_per_z, truth.depth_error_range_m, truth.depth_error_m)
    z_measured = z + along_ray / range_per_z
    pixels = truth.depth.camera().project(points_depth)
    measured = solved.depth.camera().unproject(pixels, solved.depth_bias.correct(z_measured, range_per_z))
    return (solved.T_color_scan.rigid().inverse() @ solved.T_color_depth.rigid()).apply(measured)


def _inside(pixels: Array, truth: SensorTruth) -> NDArray[np.bool_]:
    size = np.array([truth.color.width, truth.color.height])
    with np.errstate(invalid="ignore"):
        return np.asarray(((pixels > -0.5) & (pixels < size - 0.5)).all(1))
