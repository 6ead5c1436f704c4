"""The work on one scan: its aligned RGB-D frames, its watertight mesh and its pool of labelled points.

A pure function of a task that can move to another process: everything it needs is in the task, and
its randomness is derived from stable names. Frames of reference: images in ``color`` of the crop,
mesh and points in ``scan``, metres.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import SensorCalibration
from anim_real.capture.person_reader import PersonReader
from anim_real.capture.recording.k4a_mkv import Recording, open_recording
from anim_real.capture.scanner import load_scan
from anim_real.commands.jobs.region_labels import RegionCapture, labelled
from anim_real.commands.jobs.scan_units import scan_unit, stable_rng
from anim_real.errors import DataError, NotFoundError
from anim_real.meshes.watertight import make_watertight
from anim_real.regions import RegionSpec
from anim_real.rig import RigSpec
from anim_real.shards.images import encode_jpeg
from anim_real.shards.plan import Outcome
from anim_real.shards.schema import ColorStorage, ItemFailure
from anim_real.shards.write import FrameRow, ScanUnit

_OPEN_RECORDINGS = 4


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """What decides the content of a data set, beside its inputs.

    Attributes:
        size: side of the square crops in pixels.
        resolution: cells along the longest side of the watertight grid.
        num_points: labelled points per scan.
        color: JPEG or raw colour.
        seed: of the sampling.
        regions: where face and hands come from; None = the labels of the scans' own vertices.
    """

    size: int = 512
    resolution: int = 256
    num_points: int = 200_000
    color: ColorStorage = "jpeg"
    seed: int = 0
    regions: RegionSpec | None = None

    def record(self) -> dict[str, Any]:
        """JSON-ready form; the place of a model file on this machine stays out of it."""
        regions = None if self.regions is None else self.regions.portable()
        return asdict(replace(self, regions=None)) | {"regions": regions}


@dataclass(frozen=True, kw_only=True)
class PairFrame:
    """One manifest row: a capture of a sensor that belongs to the scan."""

    sensor: str
    kinect_index: int
    kinect_time_us: int
    scan_time_us: int
    dt_us: float
    depth_coverage: float
    depth_to_scan_mm: float
    depth_bias_mm: float

    @property
    def name(self) -> str:
        """How a failure names it."""
        return f"frame {self.sensor}/{self.kinect_index}"


@dataclass(frozen=True, kw_only=True, eq=False)
class PairTask:
    """Everything about one scan that the work needs."""

    take: str
    folder: Path
    scan_index: int
    scan_path: Path
    frames: tuple[PairFrame, ...]
    recordings: dict[str, Path]
    sensors: dict[str, SensorCalibration]
    rig: RigSpec
    options: PairOptions


@dataclass(frozen=True, kw_only=True)
class LostTake:
    """Stands for the tasks of a take that cannot be used at all."""

    take: str
    reason: str


def pair_outcome(task: PairTask | LostTake) -> Outcome:
    """Align the task's frames, mend its scan and draw its points; what fails is listed, the rest goes on."""
    if isinstance(task, LostTake):
        failure = ItemFailure(take=task.take, item="take", reason=task.reason)
        return Outcome(take=task.take, unit=None, failures=(failure,))
    frames: list[FrameRow] = []
    failures: list[ItemFailure] = []
    for frame in task.frames:
        try:
            frames.append(_frame_row(task, frame))
        except (DataError, NotFoundError) as error:
            failures.append(ItemFailure(take=task.take, item=frame.name, reason=str(error)))
    if not frames:
        return Outcome(take=task.take, unit=None, failures=tuple(failures))
    try:
        return Outcome(take=task.take, unit=_unit(task, tuple(frames)), failures=tuple(failures))
    except (DataError, NotFoundError) as error:
        failures.append(ItemFailure(take=task.take, item=f"scan {task.scan_index}", reason=str(error)))
        return Outcome(take=task.take, unit=None, failures=tuple(failures))


def _frame_row(task: PairTask, frame: PairFrame) -> FrameRow:
    sensor = task.sensors[frame.sensor]
    reader = _reader(task.recordings[frame.sensor], sensor, task.rig, task.folder)  # type: ignore[arg-type]  # frozen
    crop = reader.crop(frame.kinect_index, size=task.options.size)
    return FrameRow(
        color=encode_jpeg(crop.color) if task.options.color == "jpeg" else crop.color,
        depth_mm=crop.depth_mm,
        mask=crop.mask,
        camera=crop.camera,
        T_color_scan=sensor.T_color_scan.rigid(),
        sensor=frame.sensor,
        kinect_index=frame.kinect_index,
        kinect_time_us=frame.kinect_time_us,
        scan_time_us=frame.scan_time_us,
        dt_us=frame.dt_us,
        depth_coverage=frame.depth_coverage,
        depth_to_scan_mm=frame.depth_to_scan_mm,
        depth_bias_mm=frame.depth_bias_mm,
    )


def _unit(task: PairTask, frames: tuple[FrameRow, ...]) -> ScanUnit:
    scan = load_scan(task.scan_path, task.rig.scanner)
    captures = [_region_capture(task, frame) for frame in task.frames]
    scan = labelled(scan, task.options.regions, task.folder, {"scan_index": task.scan_index}, captures)
    result = make_watertight(scan, resolution=task.options.resolution)
    rng = stable_rng("samples", task.options.seed, task.take, task.scan_index)
    return scan_unit(result, scan_index=task.scan_index, frames=frames, num_points=task.options.num_points, rng=rng)


def _region_capture(task: PairTask, frame: PairFrame) -> RegionCapture:
    def color() -> NDArray[np.uint8] | None:
        return _recording(task.recordings[frame.sensor]).capture(frame.kinect_index).color

    sensor = task.sensors[frame.sensor]
    return RegionCapture(
        sensor=frame.sensor,
        kinect_index=frame.kinect_index,
        camera=sensor.color.camera(),
        T_camera_scan=sensor.T_color_scan.rigid(),
        color=color,
    )


@lru_cache(maxsize=_OPEN_RECORDINGS)
def _reader(path: Path, sensor: SensorCalibration, rig: RigSpec, folder: Path) -> PersonReader:
    return PersonReader(_recording(path), sensor, rig, folder)


@lru_cache(maxsize=_OPEN_RECORDINGS)
def _recording(path: Path) -> Recording:
    return open_recording(path)
