"""The truth of a simulated take. Only the demo's scoring and tests may read it.

Layout::

    <out>/truth/<take id>/truth.json                  TakeTruth
    <out>/truth/<take id>/meshes/frame-000012.ply     closed surface at the scanner's exposure, scan frame, metres
    <out>/truth/<take id>/regions.npy                 (V,) uint8 region of every vertex of those meshes
    <out>/truth/<take id>/depth_pattern-<sensor>.npy  (h, w) part of the depth error that depends on the pixel, metres
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from anim_real.calibration import CameraModel, ClockMap, RigidModel
from anim_real.files import write_text
from anim_real.specs import Spec, load_json
from anim_real.studio.bend import Bend

SCHEMA = "anim-real/truth/1"


class MultipathTruth(Spec):
    """A patch of depth that measures too far: ``amplitude_m exp(-d² / (2 radius_m²))`` along the ray (depth frame)."""

    center_depth: tuple[float, float, float]
    amplitude_m: float
    radius_m: float


class CaptureTruth(Spec):
    """One capture of the recording.

    Attributes:
        capture_index: position in the MKV.
        pulse: number of the pulse (of the take's true pulses) that triggered it.
        color_time_us, depth_time_us: device stamps as they would be without rounding loss; None = not delivered.
        scan_frame: scanner frame exposed at the same moment (nearest, within half a period); None = none.
        scan_dt_us: depth exposure minus that scanner exposure, in true time.
        led_level: share of the colour exposure during which the LED shone; None in takes without code.
        multipath: patches of its depth; the largest error counts where they overlap.
    """

    capture_index: int
    pulse: int
    color_time_us: int | None
    depth_time_us: int | None
    scan_frame: int | None
    scan_dt_us: float | None
    led_level: float | None = None
    multipath: tuple[MultipathTruth, ...] = ()


class SensorTruth(Spec):
    """What is true of one sensor in one take. ``depth_error_*`` sample the systematic error over range."""

    sensor: str
    serial: str
    T_color_scan: RigidModel
    T_color_depth: RigidModel
    color: CameraModel
    depth: CameraModel
    depth_error_range_m: tuple[float, ...]
    depth_error_m: tuple[float, ...]
    clock_to_scanner: ClockMap
    clock_to_generator: ClockMap
    latency_us: float = Field(description="pulse to depth exposure, true time")
    lag: int = Field(description="whole pulse periods in the latency")
    led_px: tuple[float, float] | None
    captures: tuple[CaptureTruth, ...]
    dropped_pulses: tuple[int, ...] = Field(description="pulses whose capture never reached the recording")
    incomplete: tuple[int, ...] = Field(description="capture indices that lack colour or depth")


class PlacementTruth(Spec):
    """Where the target stood when a scan was taken."""

    placement: int
    scan_frame: int
    T_scan_target: RigidModel


class BendTruth(Spec):
    """How the scanner bends the scan frame, metres: a point moves by ``cos(waves p + phases) amplitudes``."""

    waves: tuple[tuple[float, float, float], ...]
    phases: tuple[float, ...]
    amplitudes: tuple[tuple[float, float, float], ...]

    @classmethod
    def of(cls, bend: Bend) -> BendTruth:
        """Write one down."""
        return cls.model_validate({name: getattr(bend, name).tolist() for name in ("waves", "phases", "amplitudes")})

    def bend(self) -> Bend:
        """The bend itself."""
        return Bend(waves=np.array(self.waves), phases=np.array(self.phases), amplitudes=np.array(self.amplitudes))


class TakeTruth(Spec):
    """Content of ``truth.json``."""

    schema_: Literal["anim-real/truth/1"] = Field(default=SCHEMA, alias="schema")
    take_id: str
    subject: str
    action: str
    seed: int
    T_scan_world: RigidModel
    scanner_bend: BendTruth = Field(description="of every scan; poses and meshes of the truth are not bent")
    sensors: dict[str, SensorTruth]
    scan_frames: tuple[int, ...] = Field(description="scanner frames that have a mesh")
    scan_latency_us: float = Field(description="pulse to scanner exposure, true time")
    pulse_time_us: tuple[int, ...] = Field(description="generator-clock times of all true pulses, logged or not")
    logged_pulses: tuple[int, ...] = Field(description="which true pulse each row of triggers.csv is")
    placements: tuple[PlacementTruth, ...] = ()


def truth_path(output: Path, take_id: str) -> Path:
    """Where the truth of a take lies below a simulation's output folder."""
    return output / "truth" / take_id / "truth.json"


def save_truth(output: Path, truth: TakeTruth) -> None:
    """Write ``truth.json`` of a take."""
    write_text(truth_path(output, truth.take_id), truth.model_dump_json(indent=1, by_alias=True) + "\n")


def load_truth(output: Path, take_id: str) -> TakeTruth:
    """Read ``truth.json`` of a take of the simulation in ``output``."""
    return load_json(TakeTruth, truth_path(output, take_id), schema=SCHEMA)
