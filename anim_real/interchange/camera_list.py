"""Our own list of named cameras with poses: what ``import-cameras`` writes, and ``export`` and ``inspect`` read.

JSON in metres and pixels, with our conventions throughout: integer pixel centres, OpenCV's order of distortion,
``T_camera_reference`` from the reference frame to the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from anim_real.calibration import Calibration, CameraModel, RigidModel
from anim_real.errors import DataError
from anim_real.files import write_text
from anim_real.geometry.frames import Rigid
from anim_real.interchange.posed import PosedCamera, common_reference
from anim_real.specs import Spec, load_json

SCHEMA = "anim-real/cameras/1"
_MODE = "imported"  # a foreign format tells no mode of the sensor


class ListedCamera(Spec):
    """One camera: intrinsics, and the pose from the reference frame to it."""

    camera: CameraModel
    T_camera_reference: RigidModel


class CameraSource(Spec):
    """What a list was read from."""

    format: str
    path: str
    sha256: dict[str, str] = Field(description="of every file read, by its name inside the folder, or its own")


class CameraList(Spec):
    """Named cameras that share a reference frame."""

    schema_: Literal["anim-real/cameras/1"] = Field(default=SCHEMA, alias="schema")
    reference: str
    cameras: dict[str, ListedCamera]
    source: CameraSource


def save_cameras(path: Path, cameras: Sequence[PosedCamera], source: CameraSource) -> None:
    """Write cameras that share a reference frame; ``DataError`` if they do not."""
    listed = CameraList(
        reference=common_reference(cameras),
        cameras={
            posed.name: ListedCamera(
                camera=CameraModel.of(posed.camera, _MODE), T_camera_reference=RigidModel.of(posed.T_camera_reference)
            )
            for posed in cameras
        },
        source=source,
    )
    write_text(path, listed.model_dump_json(indent=2, by_alias=True) + "\n")


def load_cameras(path: Path) -> tuple[PosedCamera, ...]:
    """Read a list.

    Raises:
        NotFoundError, SchemaVersionError: no such file, or another schema.
        DataError: a key is unknown, missing or impossible, or the poses share no reference frame.
    """
    listed = load_json(CameraList, path, schema=SCHEMA)
    cameras = tuple(
        PosedCamera(name=name, camera=entry.camera.camera(), T_camera_reference=entry.T_camera_reference.rigid())
        for name, entry in listed.cameras.items()
    )
    if common_reference(cameras) != listed.reference:
        raise DataError(f"its poses do not start from {listed.reference!r}", where=path)
    return cameras


def calibration_cameras(calibration: Calibration) -> tuple[PosedCamera, ...]:
    """Colour and depth camera of every solved sensor, ``<sensor>-color`` and ``<sensor>-depth``; reference ``scan``."""
    found: list[PosedCamera] = []
    for name, sensor in calibration.sensors.items():
        color_scan = sensor.T_color_scan.rigid()
        depth_scan = sensor.T_color_depth.rigid().inverse() @ color_scan
        for kind, model, pose in (("color", sensor.color, color_scan), ("depth", sensor.depth, depth_scan)):
            frame = f"{name}-{kind}"
            renamed = Rigid(dst=frame, src=pose.src, matrix=pose.matrix)
            found.append(PosedCamera(name=frame, camera=model.camera(), T_camera_reference=renamed))
    return tuple(found)
