"""The rig: which sensors, which scanner, which trigger; written by people as ``rigs/<name>.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from anim_real.files import sha256_file
from anim_real.resources import find
from anim_real.specs import Spec, load_toml

DepthMode = Literal["NFOV_2X2BINNED", "NFOV_UNBINNED", "WFOV_2X2BINNED", "WFOV_UNBINNED", "PASSIVE_IR"]
ColorMode = Literal["720P", "1080P", "1440P", "1536P", "2160P", "3072P"]
ColorFormat = Literal["MJPG", "NV12", "YUY2", "BGRA"]
SyncMode = Literal["STANDALONE", "MASTER", "SUBORDINATE"]
Unit = Literal["m", "dm", "cm", "mm", "inch"]
METRES_PER_UNIT: dict[str, float] = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "inch": 0.0254}


class SensorSpec(Spec):
    """One RGB-D camera. ``id`` names its file in a take: ``kinect-<id>.mkv``."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    model: Literal["azure-kinect", "femto-bolt"] = "azure-kinect"
    serial: str | None = None
    depth_mode: DepthMode = "NFOV_UNBINNED"
    color_mode: ColorMode = "720P"
    color_format: ColorFormat = "MJPG"
    fps: Literal[5, 15, 30] = 30
    sync_mode: SyncMode = "STANDALONE"
    depth_delay_us: int = 0
    subordinate_delay_us: int = Field(default=0, ge=0)


class ScannerSpec(Spec):
    """The multi-view scanner: what its files' numbers mean."""

    name: str
    fps: float = Field(gt=0)
    unit: Unit
    up: Literal["+x", "-x", "+y", "-y", "+z", "-z"] = "+y"
    accuracy_mm: float = Field(default=0.3, gt=0)

    @property
    def metres_per_unit(self) -> float:
        """Factor from file units to metres."""
        return METRES_PER_UNIT[self.unit]

    @property
    def up_vector(self) -> np.ndarray:
        """(3,) unit vector pointing up, in the scan frame."""
        vector = np.zeros(3)
        vector["xyz".index(self.up[1])] = -1.0 if self.up[0] == "-" else 1.0
        return vector


class TriggerSpec(Spec):
    """The trigger box: its pulse rate and what it does not promise."""

    fps: float = Field(gt=0)
    jitter_us: float = Field(default=30.0, ge=0)


class LedSpec(Spec):
    """A coded LED seen by the colour camera and by the scanner in the calibration take.

    Attributes:
        code: the bits it shows in a loop, such as a maximum-length sequence.
        bit_us: duration of one bit in microseconds of the generator clock.
    """

    code: str = Field(pattern=r"^[01]{7,}$")
    bit_us: int = Field(gt=0)


class VolumeSpec(Spec):
    """Upright cylinder, in the scan frame, in which the performer moves; metres.

    Attributes:
        center: a point on the floor at the cylinder's axis.
        radius_m: radius about the axis.
        height_m: top above the floor.
        floor_margin_m: points lower than this above the floor count as floor.
    """

    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius_m: float = Field(default=1.0, gt=0)
    height_m: float = Field(default=2.4, gt=0)
    floor_margin_m: float = Field(default=0.015, ge=0)

    def contains(self, points_scan: np.ndarray, up: np.ndarray) -> np.ndarray:
        """(...) bool: which points (..., 3) of the scan frame lie in the volume; NaN points do not."""
        relative = np.asarray(points_scan) - np.asarray(self.center)
        height = relative @ up
        radius = np.linalg.norm(relative - height[..., None] * up, axis=-1)
        return (height > self.floor_margin_m) & (height < self.height_m) & (radius < self.radius_m)


class TemporalSpec(Spec):
    """Average of a pixel over captures before and after; see ``capture.filters.average_over_time``.

    Attributes:
        half_window: captures on each side.
        max_step_mm: a pixel that changes by more moved; well above the noise (some 2 mm at 2 m).
    """

    half_window: int = Field(default=2, ge=1, le=10)
    max_step_mm: float = Field(default=12.0, gt=0)


class BilateralSpec(Spec):
    """Edge-preserving smoothing in the image; see ``capture.filters.bilateral``.

    Attributes:
        radius_px: half the side of the window.
        sigma_px: how fast weight falls with distance in the image.
        sigma_mm: how fast it falls with the step in depth; beyond three of them a neighbour counts nothing.
    """

    radius_px: int = Field(default=2, ge=1, le=10)
    sigma_px: float = Field(default=1.5, gt=0)
    sigma_mm: float = Field(default=10.0, gt=0)


class DepthFilterSpec(Spec):
    """What is done to depth images before the person is found; nothing unless it is asked for.

    Attributes:
        flying_pixels: rule by which pixels that hang between two surfaces lose their depth.
        temporal, bilateral: the filters, if given.
    """

    flying_pixels: Literal["keep", "neighbors", "angle"] = "keep"
    temporal: TemporalSpec | None = None
    bilateral: BilateralSpec | None = None

    @property
    def is_off(self) -> bool:
        """Whether depth stays as the device measured it."""
        return self.flying_pixels == "keep" and self.temporal is None and self.bilateral is None


class BackgroundSpec(Spec):
    """The empty studio: who is nearer than it is the person.

    Attributes:
        folder: where ``background-<sensor id>.mkv`` lies, relative to the take's folder: "." in it, ".." beside it.
        sigmas: how many standard deviations of the empty studio's depth a person must be nearer,
        margin_mm: and how many millimetres more.
    """

    folder: str = "."
    sigmas: float = Field(default=4.0, ge=0)
    margin_mm: float = Field(default=15.0, ge=0)


class PersonSpec(Spec):
    """What counts as the person, beside the volume; all that is given must agree.

    Attributes:
        near_m, far_m: depth range along the depth camera's z, bias removed.
        background: recording of the empty studio.
        masks: the image that mask files belong to: ``masks-<sensor id>/<capture, 6 digits>.png`` in the take.
    """

    near_m: float | None = Field(default=None, ge=0)
    far_m: float | None = Field(default=None, gt=0)
    background: BackgroundSpec | None = None
    masks: Literal["depth", "color"] | None = None

    @model_validator(mode="after")
    def _is_range(self) -> PersonSpec:
        if self.near_m is not None and self.far_m is not None and self.near_m >= self.far_m:
            raise ValueError(f"near_m {self.near_m} is not below far_m {self.far_m}")
        return self


class RigSpec(Spec):
    """A whole rig. The ``rig`` frame is the first sensor's colour camera."""

    schema_: Literal["anim-real/rig/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str = ""
    sensors: tuple[SensorSpec, ...] = Field(min_length=1)
    scanner: ScannerSpec
    volume: VolumeSpec = VolumeSpec()
    person: PersonSpec = PersonSpec()
    depth_filters: DepthFilterSpec = DepthFilterSpec()
    trigger: TriggerSpec | None = None
    led: LedSpec | None = None
    target: str = Field(default="prism", description="name of the calibration target in calibration/targets")
    protocol: str = Field(default="default", description="name of the protocol in calibration/protocols")

    @model_validator(mode="after")
    def _unique_sensors(self) -> RigSpec:
        ids = [sensor.id for sensor in self.sensors]
        if len(set(ids)) != len(ids):
            raise ValueError(f"sensor ids repeat: {ids}")
        return self

    def sensor(self, sensor_id: str) -> SensorSpec:
        """Return the sensor called ``sensor_id``; KeyError if the rig has none of that name."""
        return {sensor.id: sensor for sensor in self.sensors}[sensor_id]


def load_rig(name: str) -> tuple[RigSpec, Path, str]:
    """Find and read a rig by name or path; return it with its file and the file's sha256."""
    path = find("rigs", name)
    return load_toml(RigSpec, path), path, sha256_file(path)
