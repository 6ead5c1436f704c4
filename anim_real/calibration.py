"""The calibration record: where the sensors are, how they err, how their clocks run; with evidence.

JSON in metres, seconds and pixels; other units are in the key's name. A refused calibration is
never written under the name that was asked for, only as ``<name>.refused.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator, model_validator

from anim_real.errors import DataError, RefusedError
from anim_real.files import write_text
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import range_per_z
from anim_real.geometry.frames import Rigid
from anim_real.specs import Spec, load_json

_MAX_WANDER_RATE = 1e-3  # µs per µs
_INVERSE_ROUNDS = 12  # of the fixed points that undo the wander and the curve of the depth error
_MAX_CURVE_SLOPE = 0.1  # metres per metre

SCHEMA = "anim-real/calibration/1"


def _as_value_error(build: Callable[[], object]) -> None:
    """Let a value's own refusal become the validation error of the key that holds it."""
    try:
        build()
    except DataError as error:
        raise ValueError(str(error)) from error


class CameraModel(Spec):
    """Intrinsics of one camera in one mode: pixels, integer pixel centres, OpenCV's distortion order."""

    mode: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    fx: float = Field(gt=0)
    fy: float = Field(gt=0)
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float, float, float, float] = Field(
        default=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), description="k1 k2 p1 p2 k3 k4 k5 k6"
    )
    max_radius: float | None = Field(default=None, gt=0, description="metric radius; null = unchecked")

    @model_validator(mode="after")
    def _is_camera(self) -> CameraModel:
        _as_value_error(self.camera)
        return self

    @classmethod
    def of(cls, camera: Camera, mode: str) -> CameraModel:
        """Record a camera."""
        radius = None if np.isinf(camera.max_radius) else float(camera.max_radius)
        return cls(
            mode=mode,
            width=camera.width,
            height=camera.height,
            fx=float(camera.fx),
            fy=float(camera.fy),
            cx=float(camera.cx),
            cy=float(camera.cy),
            distortion=tuple(float(value) for value in camera.distortion),  # type: ignore[arg-type]
            max_radius=radius,
        )

    def camera(self) -> Camera:
        """Return the camera of the geometry package."""
        return Camera(
            width=self.width,
            height=self.height,
            fx=self.fx,
            fy=self.fy,
            cx=self.cx,
            cy=self.cy,
            distortion=np.array(self.distortion),
            max_radius=np.inf if self.max_radius is None else self.max_radius,
        )


class RigidModel(Spec):
    """``T_dst_src`` as a 4x4 row-major matrix, metres."""

    dst: str
    src: str
    matrix: tuple[tuple[float, float, float, float], ...] = Field(min_length=4, max_length=4)

    @model_validator(mode="after")
    def _is_rigid(self) -> RigidModel:
        _as_value_error(self.rigid)
        return self

    @classmethod
    def of(cls, rigid: Rigid) -> RigidModel:
        """Record a transform."""
        rows = tuple(tuple(float(value) for value in row) for row in rigid.matrix)
        return cls(dst=rigid.dst, src=rigid.src, matrix=rows)  # type: ignore[arg-type]

    def rigid(self) -> Rigid:
        """Return the transform of the geometry package."""
        return Rigid(dst=self.dst, src=self.src, matrix=np.array(self.matrix))


class DepthBias(Spec):
    """Systematic depth error: affine along the camera's z axis, and a smooth function of range along the ray.

    ``z_measured = z' (1 + slope) + offset_m`` with ``z' = z_true + curve(range') / range_per_z`` and ``range' = z'
    range_per_z``: the curve is read at the measured range, so that correcting takes no iteration.

    Attributes:
        offset_m, slope: the affine part.
        curve: (range m, error m, its standard deviation m) of knots, ascending; linear between them, zero beyond. The
            first and the last error are zero. Empty in records without it.
    """

    offset_m: float = 0.0
    slope: float = Field(default=0.0, gt=-1.0)
    curve: tuple[tuple[float, float, float], ...] = ()

    @model_validator(mode="after")
    def _is_invertible(self) -> DepthBias:
        if not self.curve:
            return self
        ranges, errors, sigmas = np.array(self.curve).T
        if (np.diff(ranges) <= 0).any() or ranges[0] < 0:
            raise ValueError("the ranges of curve must ascend from zero or more")
        if errors[0] != 0 or errors[-1] != 0:
            raise ValueError("the first and the last error of curve must be zero: beyond them nothing is known")
        if (np.abs(np.diff(errors)) > _MAX_CURVE_SLOPE * np.diff(ranges)).any():
            raise ValueError("curve changes by more than a tenth of the range: no camera errs like that")
        if (sigmas < 0).any():
            raise ValueError("a standard deviation of curve is negative")
        return self

    def correct(self, z_measured: ArrayLike, range_per_z: ArrayLike | None = None) -> NDArray[np.float64]:
        """Remove the bias from depths in metres; zero (no return) stays zero.

        Args:
            z_measured: depths.
            range_per_z: length of every depth's ray at z = 1 (see ``geometry.depth``); must be given with a curve.
        """
        z_measured = np.asarray(z_measured, dtype=np.float64)
        straight = (z_measured - self.offset_m) / (1.0 + self.slope)
        return np.where(z_measured > 0, straight - self._curve_z(straight, range_per_z), 0.0)

    def apply(self, z_true: ArrayLike, range_per_z: ArrayLike | None = None) -> NDArray[np.float64]:
        """Add the bias to true depths in metres; zero stays zero. Arguments as of ``correct``."""
        z_true = np.asarray(z_true, dtype=np.float64)
        straight = z_true
        for _ in range(_INVERSE_ROUNDS if self.curve else 0):  # each round gains a digit or more
            straight = z_true + self._curve_z(straight, range_per_z)
        return np.where(z_true > 0, straight * (1.0 + self.slope) + self.offset_m, 0.0)

    def describe(self) -> str:
        """One line: offset, slope and the largest error of the curve."""
        line = f"{self.offset_m * 1e3:.2f} mm + {self.slope * 1e3:.2f} mm/m"
        if not self.curve:
            return line
        ranges, errors, sigmas = np.array(self.curve).T
        at = int(np.abs(errors).argmax())
        return (
            f"{line}, curve up to {errors[at] * 1e3:+.2f} ± {sigmas[at] * 1e3:.2f} mm at {ranges[at]:.2f} m "
            f"(known {ranges[0]:.2f} to {ranges[-1]:.2f} m)"
        )

    def _curve_z(self, straight: NDArray[np.float64], range_per_z: ArrayLike | None) -> NDArray[np.float64] | float:
        if not self.curve:
            return 0.0
        if range_per_z is None:
            raise ValueError("this depth bias depends on range: give range_per_z")
        stretch = np.asarray(range_per_z, dtype=np.float64)
        ranges, errors, _ = np.array(self.curve).T
        return np.interp(straight * stretch, ranges, errors, left=0.0, right=0.0) / stretch


class ClockMap(Spec):
    """Map between two clocks: ``t_dst = t_src + offset_us + drift_ppm * 1e-6 * (t_src - origin_us) + wander(t_src)``.

    Attributes:
        src, dst: clock names: ``kinect:<sensor id>``, ``scanner``, ``generator``.
        origin_us: source time at which ``offset_us`` holds exactly.
        offset_us: destination minus source at ``origin_us``.
        drift_ppm: rate of the destination clock against the source clock, minus one, in parts per million.
        residual_us: standard deviation of the observations about the map.
        num_observations: how many stamps the map rests on.
        lag_margin: log-likelihood (nats) by which the integer lag beats the next best; None if none was searched.
        method: ``led``, ``triggers``, ``motion``, ``calibration``, or ``stillness``: told by when the target stood
            still, to some tenths of a second; good for a calibration take alone.
        offset_sigma_us, drift_sigma_ppm: one standard deviation of the two estimates, where known.
        latency_us: where both systems expose on the same pulses, the constant time (destination clock) from
            a destination stamp to the nearest source stamp, in ±half a frame; None where there are no pulses.
        wander: (source time µs, correction µs) of knots, ascending; linear between them, constant beyond them. Empty
            where a straight line explains the stamps.
    """

    src: str
    dst: str
    origin_us: int
    offset_us: float
    drift_ppm: float
    residual_us: float = Field(ge=0)
    num_observations: int = Field(ge=0)
    lag_margin: float | None = None
    method: Literal["led", "triggers", "motion", "calibration", "stillness"]
    offset_sigma_us: float | None = Field(default=None, ge=0)
    drift_sigma_ppm: float | None = Field(default=None, ge=0)
    latency_us: float | None = None
    wander: tuple[tuple[int, float], ...] = ()

    @model_validator(mode="after")
    def _ascending(self) -> ClockMap:
        times = np.array([time_us for time_us, _ in self.wander])
        if (np.diff(times) <= 0).any():
            raise ValueError("the knots of wander must ascend")
        steps = np.abs(np.diff([correction for _, correction in self.wander])) / np.maximum(np.diff(times), 1)
        if (steps >= _MAX_WANDER_RATE).any():
            raise ValueError("wander turns the clock faster than a thousandth: no crystal does")
        return self

    def to_dst(self, time_us: ArrayLike) -> NDArray[np.float64]:
        """Map source times (µs) to destination times (µs)."""
        time_us = np.asarray(time_us, dtype=np.float64)
        straight = time_us + self.offset_us + self.drift_ppm * 1e-6 * (time_us - self.origin_us)
        return straight + self._wander_us(time_us)

    def to_src(self, time_us: ArrayLike) -> NDArray[np.float64]:
        """Map destination times (µs) to source times (µs)."""
        time_us = np.asarray(time_us, dtype=np.float64)
        source = corrected = time_us
        for _ in range(_INVERSE_ROUNDS if self.wander else 1):  # wander changes slowly: each round gains three digits
            source = self.origin_us + (corrected - self.origin_us - self.offset_us) / (1.0 + self.drift_ppm * 1e-6)
            corrected = time_us - self._wander_us(source)
        return source

    def _wander_us(self, source_us: NDArray[np.float64]) -> NDArray[np.float64] | float:
        if not self.wander:
            return 0.0
        times, corrections = np.array(self.wander).T
        return np.asarray(np.interp(source_us, times, corrections), dtype=np.float64)


class GateVerdict(Spec):
    """One gate of the protocol: what was measured, the limit, and whether it passed."""

    name: str
    value: float | None
    limit: float
    unit: str
    passed: bool
    advice: str = ""


class SphereResidual(Spec):
    """A sphere of the target at one placement; null = not measured."""

    sphere: int = Field(ge=0, description="its place among the target's spheres, from 0")
    error_mm: float | None = Field(default=None, description="between its centres by depth and by the scan, as solved")
    scan_radius_error_mm: float | None = Field(default=None, description="radius found on the scan minus the target's")
    depth_radius_error_mm: float | None = Field(default=None, description="the same in the depth image")
    used: bool
    reason: str = Field(default="", description="why it is not used")


class PlacementResidual(Spec):
    """Errors of one placement of the target, in the full solve and when it was held out."""

    placement: int
    scan_frame: int
    num_color_corners: int
    num_ir_corners: int
    num_depth_points: int
    color_rms_px: float | None
    ir_rms_px: float | None
    depth_rms_mm: float | None
    held_out_target_mm: float | None = None
    held_out_color_px: float | None = None
    held_out_depth_mm: float | None = Field(default=None, description="of a target without markers")
    spheres: tuple[SphereResidual, ...] = ()


class SensorCalibration(Spec):
    """Everything solved for one sensor. Frames: ``color``, ``depth``, ``scan`` (metres, the scanner's axes)."""

    sensor: str
    serial: str | None
    color: CameraModel
    depth: CameraModel
    T_color_depth: RigidModel
    T_color_scan: RigidModel
    covariance: tuple[tuple[float, ...], ...] = Field(
        description="6x6 of T_color_scan: left perturbation exp([w, t]) @ T, w in radians then t in metres"
    )
    depth_bias: DepthBias
    clock: ClockMap | None = Field(default=None, description="device clock to scanner clock, from the calibration take")
    placements: tuple[PlacementResidual, ...]
    predicted_person_mm: float = Field(
        description="mean error of the colour camera's pose over a person-sized volume that the covariance predicts"
    )
    predicted_target_mm: float | None = Field(
        default=None, description="the same of where a depth pixel of known depth is put; not in old files"
    )
    predicted_person_px: float | None = Field(
        default=None, description="the same in the colour image; not in old files"
    )
    color_is_factory: bool = Field(
        default=False,
        description="target without markers: color and T_color_depth are the factory's; the covariance and what is "
        "predicted hold the errors that the protocol expects of the factory",
    )

    @field_validator("covariance")
    @classmethod
    def _six_by_six(cls, value: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if len(value) != 6 or any(len(row) != 6 for row in value):
            raise ValueError("covariance must be 6x6")
        return value

    def true_depth(self, depth_mm: NDArray[np.generic]) -> NDArray[np.float64]:
        """(H, W) metres along z, bias removed, of a depth image (H, W) in millimetres; 0 where there is no return."""
        stretch = range_per_z(self.depth.camera()) if self.depth_bias.curve else None
        z = self.depth_bias.correct(np.asarray(depth_mm, dtype=np.float64) * 1e-3, stretch)
        return np.maximum(z, 0.0)


class BetweenSensors(Spec):
    """Two sensors that were solved together because they saw the same scans.

    Attributes:
        first, second: ids of the sensors.
        num_scans: scans that both saw.
        predicted_mm: mean distance, over a person-sized volume, between where their depth cameras put one point of
            known depth, as the joint covariance predicts it.
        held_out_mm: mean distance between where the two see the target in solutions that did not see that scan; null
            without markers.
    """

    first: str
    second: str
    num_scans: int = Field(ge=0)
    predicted_mm: float = Field(ge=0)
    held_out_mm: float | None = Field(default=None, ge=0)
    covariance: tuple[tuple[float, ...], ...] = Field(
        description="6x6 of the errors of T_color_scan, the first's (rows) with the second's; as a sensor's covariance"
    )

    @field_validator("covariance")
    @classmethod
    def _six_by_six(cls, value: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if len(value) != 6 or any(len(row) != 6 for row in value):
            raise ValueError("covariance must be 6x6")
        return value


class Calibration(Spec):
    """A solved rig: one entry per sensor, the gates' verdicts and what it was computed from."""

    schema_: Literal["anim-real/calibration/1"] = Field(default=SCHEMA, alias="schema")
    rig: str
    rig_sha256: str
    target: str
    protocol: str
    take_id: str
    sensors: dict[str, SensorCalibration]
    between: tuple[BetweenSensors, ...] = ()
    gates: tuple[GateVerdict, ...]
    inputs_sha256: dict[str, str]
    tool_version: str
    created: str

    @property
    def is_accepted(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)

    def refusal(self) -> str:
        """One sentence per failed gate."""
        return "; ".join(
            f"{g.name} is {g.value} {g.unit} (limit {g.limit}). {g.advice}" for g in self.gates if not g.passed
        )


def save_calibration(path: Path, calibration: Calibration) -> Path:
    """Write an accepted calibration to ``path``, a refused one to ``<stem>.refused.json``; return the file written."""
    written = path if calibration.is_accepted else path.with_name(f"{path.stem}.refused.json")
    write_text(written, calibration.model_dump_json(indent=2, by_alias=True) + "\n")
    return written


def load_calibration(path: Path) -> Calibration:
    """Read a calibration; a refused one raises ``RefusedError``."""
    calibration = load_json(Calibration, path, schema=SCHEMA)
    if not calibration.is_accepted:
        raise RefusedError(
            f"this calibration was refused: {calibration.refusal()}", where=path, fix="Record a better calibration take"
        )
    return calibration
