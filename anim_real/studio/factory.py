"""Factory calibrations: a plausible one per device, and how the real device differs from it.

Works on the bytes of k4a's ``calibration.json`` alone, so the file in a recording, what the factory
believed and what is true are three files of one schema. Conventions of that file: SENSOR.md,
"Intrinsics per mode" (normalised intrinsics; translations in metres).
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from anim_real.errors import DataError

_DEPTH, _COLOR = "CALIBRATION_CameraLocationD0", "CALIBRATION_CameraLocationPV0"


@dataclass(frozen=True, kw_only=True)
class FactoryErrors:
    """Standard deviations of what the factory got wrong (SENSOR.md: 10-20 mm colour-depth misfit at 2 m per unit).

    Attributes:
        rotation_rad: depth→colour rotation, per axis.
        translation_m: depth→colour translation, per axis.
        color_focal: relative colour focal length.
        color_center: colour principal point, in widths of the calibration image.
        depth_focal: relative depth focal length.
        depth_center: depth principal point, in widths of the calibration image.
    """

    rotation_rad: float = 0.0025
    translation_m: float = 0.002
    color_focal: float = 0.002
    color_center: float = 0.001
    depth_focal: float = 0.0002
    depth_center: float = 0.0001


def shipped_factory() -> bytes:
    """Return the synthetic ``calibration.json`` that comes with the package (our own values, k4a's schema)."""
    return files("anim_real.studio").joinpath("azure_kinect_calibration.json").read_bytes()


def device_factory(base: bytes, serial: str, rng: np.random.Generator) -> bytes:
    """Return the calibration a factory gave to device ``serial``: units differ from ``base`` as real ones do.

    Raises:
        DataError: ``base`` is not a k4a calibration with a depth and a colour camera.
    """
    document = _parse(base)
    for location, spread in ((_DEPTH, 0.004), (_COLOR, 0.004)):
        values = _camera(document, location)["Intrinsics"]["ModelParameters"]
        values[0] += float(rng.normal(0.0, spread))
        values[1] += float(rng.normal(0.0, spread))
        scale = 1.0 + float(rng.normal(0.0, 0.004))
        values[2] *= scale
        values[3] *= scale
    _turn(_camera(document, _COLOR)["Rt"], rng.normal(0.0, 0.002, 3), rng.normal(0.0, 0.0005, 3))
    document["CalibrationInformation"].setdefault("Metadata", {})["SerialId"] = serial
    return json.dumps(document, indent=1).encode()


def true_device(factory: bytes, errors: FactoryErrors, rng: np.random.Generator) -> bytes:
    """Return the calibration that is true of the device, in the same schema: ``factory`` plus its errors."""
    document = _parse(factory)
    color, depth = _camera(document, _COLOR), _camera(document, _DEPTH)
    for camera, focal, center in (
        (color, errors.color_focal, errors.color_center),
        (depth, errors.depth_focal, errors.depth_center),
    ):
        values = camera["Intrinsics"]["ModelParameters"]
        shape = np.array(
            [1.0, camera["SensorWidth"] / camera["SensorHeight"]]
        )  # the y axis is normalised by the height
        values[0:2] = (np.array(values[0:2]) + rng.normal(0.0, center, 2) * shape).tolist()
        scale = 1.0 + rng.normal(0.0, focal) + rng.normal(0.0, focal * 0.2, 2)
        values[2:4] = (np.array(values[2:4]) * scale).tolist()
    _turn(color["Rt"], rng.normal(0.0, errors.rotation_rad, 3), rng.normal(0.0, errors.translation_m, 3))
    return json.dumps(document, indent=1).encode()


def _turn(pose: dict[str, Any], rotvec: np.ndarray, shift: np.ndarray) -> None:
    rotation = Rotation.from_rotvec(rotvec).as_matrix() @ np.array(pose["Rotation"]).reshape(3, 3)
    left, _, right = np.linalg.svd(rotation)  # the file's float32 digits are not quite a rotation
    pose["Rotation"] = (left @ right).ravel().tolist()
    pose["Translation"] = (np.array(pose["Translation"]) + shift).tolist()


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw.rstrip(b"\x00"))
        for location in (_DEPTH, _COLOR):
            if len(_camera(document, location)["Intrinsics"]["ModelParameters"]) < 14:
                raise DataError(f"camera {location} has fewer than 14 parameters", where="calibration.json")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"is not a k4a calibration ({type(error).__name__}: {error})", where="calibration.json"
        ) from error
    return copy.deepcopy(document)


def _camera(document: dict[str, Any], location: str) -> dict[str, Any]:
    for camera in document["CalibrationInformation"]["Cameras"]:
        if camera["Location"] == location:
            return camera
    raise DataError(f"holds no camera {location}", where="calibration.json")
