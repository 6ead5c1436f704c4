"""The factory calibration that an Azure Kinect carries (``calibration.json``), without any SDK.

``k4a_modes`` turns its normalised intrinsics into cameras. Traps: p2 stands before p1, translations are
metres (the SDK's API gives millimetres). Source: the SDK's ``calibration.c``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from anim_real.capture.k4a_modes import MODES, FactoryCamera
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid

__all__ = ["MODES", "CameraName", "FactoryCalibration", "FactoryCamera", "SensorName", "parse_calibration"]

CameraName = Literal["color", "depth"]
SensorName = Literal["color", "depth", "gyro", "accelerometer"]
_LOCATIONS = {"depth": "CALIBRATION_CameraLocationD0", "color": "CALIBRATION_CameraLocationPV0"}
_PURPOSES = {"depth": "CALIBRATION_CameraPurposeDepth", "color": "CALIBRATION_CameraPurposePhotoVideo"}
_INERTIAL = {
    "accelerometer": "CALIBRATION_InertialSensorType_Accelerometer",
    "gyro": "CALIBRATION_InertialSensorType_Gyro",
}
_MODEL = "CALIBRATION_LensDistortionModelBrownConrady"
_ROTATION_TOLERANCE = 1e-3  # entries of R'R - I; beyond this the file is damaged,
_EXACT_TOLERANCE = 2e-7  # below this it is float32 rounding and left as it is; between, the nearest rotation is taken


@dataclass(frozen=True, kw_only=True, eq=False)
class FactoryCalibration:
    """Both cameras of a device, its IMU, and what else the file holds.

    Attributes:
        depth_camera, color_camera: the cameras; their poses are given in the depth camera's frame.
        T_accelerometer_depth, T_gyro_depth: depth camera to IMU frames, metres; None if not given.
        serial: the device's serial number, empty if not given.
        document: the JSON document that ``to_json`` starts from; keys we do not interpret survive.
    """

    depth_camera: FactoryCamera
    color_camera: FactoryCamera
    T_accelerometer_depth: Rigid | None = None
    T_gyro_depth: Rigid | None = None
    serial: str = ""
    document: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def T_color_depth(self) -> Rigid:
        """Depth camera frame to colour camera frame, metres."""
        T_depth_base = Rigid.from_parts("depth", "base", self.depth_camera.rotation, self.depth_camera.translation)
        T_color_base = Rigid.from_parts("color", "base", self.color_camera.rotation, self.color_camera.translation)
        return T_color_base @ T_depth_base.inverse()

    def transform(self, dst: SensorName, src: SensorName) -> Rigid:
        """``T_dst_src`` between any two of the device's cameras and IMU sensors, metres.

        Raises:
            DataError: the file holds no pose of that IMU sensor.
        """
        return self._from_depth(dst) @ self._from_depth(src).inverse()

    def _from_depth(self, name: SensorName) -> Rigid:
        poses = {
            "depth": Rigid.identity("depth", "depth"),
            "color": self.T_color_depth,
            "gyro": self.T_gyro_depth,
            "accelerometer": self.T_accelerometer_depth,
        }
        pose = poses[name]
        if pose is None:
            raise DataError(f"holds no pose of the {name}", where="calibration.json")
        return pose

    def camera(self, name: CameraName, mode: str, *, check_radius: bool = True) -> Camera:
        """Camera ``color`` or ``depth`` in one of its modes, pixels.

        Without ``check_radius`` the metric radius does not limit the image (``Camera.max_radius`` is infinite,
        as in Orbbec's library); pixels beyond the lens model's own fold have no ray all the same.

        Raises:
            DataError: no such mode of that camera.
        """
        if mode not in MODES or mode.endswith("P") != (name == "color"):
            raise DataError(
                f"the {name} camera has no mode {mode!r}", where="calibration.json", fix=f"Known: {', '.join(MODES)}"
            )
        source = self.color_camera if name == "color" else self.depth_camera
        return source.pixel_camera(mode, check_radius=check_radius)

    def to_json(self) -> bytes:
        """Bytes of a ``calibration.json`` of the device's schema; ``parse_calibration`` reads the same values back."""
        document = json.loads(json.dumps(self.document)) if self.document else {"CalibrationInformation": {}}
        information = document["CalibrationInformation"]
        cameras = {entry["Location"]: entry for entry in information.get("Cameras", [])}
        information["Cameras"] = [
            _camera_entry("depth", self.depth_camera, cameras.get(_LOCATIONS["depth"], {})),
            _camera_entry("color", self.color_camera, cameras.get(_LOCATIONS["color"], {})),
        ]
        poses = {"gyro": self.T_gyro_depth, "accelerometer": self.T_accelerometer_depth}
        inertial = {entry["SensorType"]: entry for entry in information.get("InertialSensors", [])}
        information["InertialSensors"] = [
            {
                **inertial.get(_INERTIAL[name], {}),
                "Rt": _pose_entry(pose.rotation, pose.translation),
                "SensorType": _INERTIAL[name],
            }
            for name, pose in poses.items()
            if pose is not None
        ]
        information.setdefault("Metadata", {})["SerialId"] = self.serial
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")


def parse_calibration(raw: bytes, *, where: object = "calibration.json") -> FactoryCalibration:
    """Read a factory calibration; ``where`` names it in errors.

    Raises:
        DataError: not JSON, NaN, a key missing or of the wrong form, impossible values, or translations in millimetres.
    """
    try:
        document = json.loads(raw.rstrip(b"\0"), parse_constant=_refuse_constant)
        information = document["CalibrationInformation"]
        cameras = {entry["Location"]: entry for entry in information["Cameras"]}
        depth = _parse_camera("depth", cameras[_LOCATIONS["depth"]], f"{where}:depth")
        color = _parse_camera("color", cameras[_LOCATIONS["color"]], f"{where}:color")
        inertial = {entry["SensorType"]: entry["Rt"] for entry in information.get("InertialSensors", [])}
        serial = str(information.get("Metadata", {}).get("SerialId", ""))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"is not JSON ({error})", where=where, fix="Copy it from the device again") from error
    except KeyError as error:
        raise DataError(f"has no {error.args[0]!r}", where=where) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"is not a factory calibration ({error})", where=where) from error
    return FactoryCalibration(
        depth_camera=depth,
        color_camera=color,
        T_accelerometer_depth=_inertial_pose(inertial, "accelerometer", where),
        T_gyro_depth=_inertial_pose(inertial, "gyro", where),
        serial=serial,
        document=document,
    )


def _parse_camera(name: str, entry: dict[str, Any], where: str) -> FactoryCamera:
    model = entry["Intrinsics"]["ModelType"]
    if model != _MODEL:
        raise DataError(f"lens model {model!r} is not supported (pre-production device)", where=where)
    parameters = np.array(entry["Intrinsics"]["ModelParameters"], dtype=np.float64)
    if parameters.shape != (14,):
        raise DataError(f"needs 14 lens parameters, got {parameters.shape}", where=where)
    cx, cy, fx, fy, k1, k2, k3, k4, k5, k6, codx, cody, p2, p1 = parameters
    if not np.isfinite(parameters).all() or min(fx, fy) <= 0:
        raise DataError(f"impossible lens parameters {parameters.tolist()}", where=where)
    if codx or cody:
        raise DataError("a centre of distortion other than 0 is not supported", where=where)
    width, height = int(entry["SensorWidth"]), int(entry["SensorHeight"])
    if name == "color" and width * 9 // 16 != height and width * 3 // 4 != height:
        raise DataError(f"calibration image {width}x{height} is neither 16:9 nor 4:3", where=where)
    if name == "depth" and (width, height) != (1024, 1024):
        raise DataError(f"calibration image {width}x{height} is not 1024x1024", where=where)
    rotation, translation = _parse_pose(entry["Rt"], where)
    radius = float(entry.get("MetricRadius", 0.0))
    if not np.isfinite(radius) or radius < 0:
        raise DataError(f"metric radius {radius} is impossible", where=where)
    return FactoryCamera(
        cx=float(cx),
        cy=float(cy),
        fx=float(fx),
        fy=float(fy),
        distortion=np.array([k1, k2, p1, p2, k3, k4, k5, k6]),
        metric_radius=radius,
        width=width,
        height=height,
        rotation=rotation,
        translation=translation,
    )


def _parse_pose(entry: dict[str, Any], where: str) -> tuple[np.ndarray, np.ndarray]:
    rotation = np.array(entry["Rotation"], dtype=np.float64)
    translation = np.array(entry["Translation"], dtype=np.float64)
    if rotation.shape != (9,) or translation.shape != (3,):
        raise DataError("needs 9 numbers of rotation and 3 of translation", where=where)
    if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
        raise DataError("its pose is not finite", where=where)
    if np.abs(translation).max() > 1.0:
        raise DataError(
            f"translation {translation.tolist()} is longer than a metre inside one device", where=where,
            fix="The file keeps metres; divide by 1000 if it was written in millimetres",
        )  # fmt: skip
    rotation = rotation.reshape(3, 3)
    error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if error > _ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise DataError("its rotation is not a rotation", where=where)
    if error > _EXACT_TOLERANCE:
        left, _, right = np.linalg.svd(rotation)
        rotation = left @ right
    return rotation, translation


def _inertial_pose(poses: dict[str, Any], name: str, where: object) -> Rigid | None:
    entry = poses.get(_INERTIAL[name])
    if entry is None:
        return None
    rotation, translation = _parse_pose(entry, f"{where}:{name}")
    return Rigid.from_parts(name, "depth", rotation, translation)


def _camera_entry(name: str, camera: FactoryCamera, entry: dict[str, Any]) -> dict[str, Any]:
    k1, k2, p1, p2, k3, k4, k5, k6 = (float(value) for value in camera.distortion)
    parameters = [camera.cx, camera.cy, camera.fx, camera.fy, k1, k2, k3, k4, k5, k6, 0.0, 0.0, p2, p1]
    return {
        **entry,
        "Intrinsics": {"ModelParameterCount": 14, "ModelParameters": parameters, "ModelType": _MODEL},
        "Location": _LOCATIONS[name],
        "Purpose": _PURPOSES[name],
        "MetricRadius": float(camera.metric_radius),
        "Rt": _pose_entry(camera.rotation, camera.translation),
        "SensorHeight": camera.height,
        "SensorWidth": camera.width,
    }


def _pose_entry(rotation: np.ndarray, translation: np.ndarray) -> dict[str, list[float]]:
    return {"Rotation": np.asarray(rotation).ravel().tolist(), "Translation": np.asarray(translation).ravel().tolist()}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
