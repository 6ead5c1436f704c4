"""A stand-in for pyorbbecsdk2 2.1.2 (Orbbec SDK 2.9.3): what ``orbbec_process`` uses of it, as that version behaves.

Read from its ``pyorbbecsdk.pyi`` and tried on the package itself without a device: importing prints to stdout,
``OBError`` carries a message only, an unknown profile raises it, ``get_data`` is a flat uint8 copy, a part that did
not come is None, frames and samples come on threads of the library, sync modes are bit values. ``FAKE_ORBBEC``
names a JSON file with the devices and what they do; what is set on them is written to its ``journal``.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

_PLAN = json.loads(Path(os.environ["FAKE_ORBBEC"]).read_text())
__version__ = "2.1.2"
sys.stdout.write("load extensions from /somewhere/pyorbbecsdk/extensions\n")
sys.stdout.flush()
os.write(1, b"and the native part prints past Python\n")


def get_version():
    return _PLAN.get("version", "2.9.3")


def _note(**facts):
    with Path(_PLAN["journal"]).open("a") as journal:
        journal.write(json.dumps(facts) + "\n")


def _hang_in_native_code():
    ctypes.PyDLL(None).sleep(100)  # a PyDLL keeps the interpreter's lock, as a binding without a release does


class OBError(Exception):
    pass


class OBFormat(enum.Enum):
    YUYV = 0
    NV12 = 3
    MJPG = 5
    Y16 = 8
    BGRA = 25


class OBSensorType(enum.Enum):
    IR_SENSOR = 1
    COLOR_SENSOR = 2
    DEPTH_SENSOR = 3
    ACCEL_SENSOR = 4
    GYRO_SENSOR = 5


class OBMultiDeviceSyncMode(enum.Enum):
    FREE_RUN = 1
    STANDALONE = 2
    PRIMARY = 4
    SECONDARY = 8
    SECONDARY_SYNCED = 16


class OBPropertyID(enum.Enum):
    OB_PROP_SWITCH_IR_MODE_INT = 98


class OBFrameAggregateOutputMode(enum.Enum):
    FULL_FRAME_REQUIRE = 0
    ANY_SITUATION = 2


class OBAccelFullScaleRange(enum.Enum):
    ACCEL_FS_4g = 2


class OBGyroFullScaleRange(enum.Enum):
    FS_500dps = 6


class OBGyroSampleRate(enum.Enum):
    SAMPLE_RATE_500_HZ = 9


class OBCameraDistortionModel(enum.Enum):
    NONE = 0
    BROWN_CONRADY_K6 = 4
    KANNALA_BRANDT4 = 5


class _Numbers:
    def __init__(self, numbers):
        self.__dict__.update(numbers)


class VideoStreamProfile:
    def __init__(self, sensor, width, height, image_format, fps):
        self.sensor, self.width, self.height, self.image_format, self.fps = sensor, width, height, image_format, fps

    def as_video_stream_profile(self):
        return self

    def get_width(self):
        return self.width

    def get_height(self):
        return self.height

    def get_format(self):
        return self.image_format

    def get_fps(self):
        return self.fps

    def _lens(self):
        return _PLAN["lenses"]["color" if self.sensor is OBSensorType.COLOR_SENSOR else "depth"]

    def get_intrinsic(self):
        lens = self._lens()
        return _Numbers({key: lens[key] for key in ("fx", "fy", "cx", "cy", "width", "height")})

    def get_distortion(self):
        lens = dict(self._lens())
        lens["model"] = OBCameraDistortionModel[lens["model"]]
        return _Numbers(lens)

    def get_extrinsic_to(self, target):
        assert target.sensor is OBSensorType.COLOR_SENSOR and self.sensor is not OBSensorType.COLOR_SENSOR
        return _Numbers(
            {
                "rot": np.array(_PLAN["rotation"], np.float32).reshape(3, 3),
                "transform": np.array(_PLAN["translation_mm"], np.float32),
            }
        )


class StreamProfileList:
    def __init__(self, sensor):
        sizes = {"COLOR_SENSOR": "color_profiles", "DEPTH_SENSOR": "depth_profiles", "IR_SENSOR": "depth_profiles"}
        self._profiles = [
            VideoStreamProfile(sensor, width, height, OBFormat[name], fps)
            for width, height, name, fps in _PLAN.get(sizes.get(sensor.name, ""), [])
        ]

    def get_count(self):
        return len(self._profiles)

    def get_stream_profile_by_index(self, index):
        return self._profiles[index]

    def get_video_stream_profile(self, width=0, height=0, format=None, fps=0):
        for profile in self._profiles:
            if (profile.width, profile.height, profile.image_format, profile.fps) == (width, height, format, fps):
                return profile
        raise OBError("Invalid input, No matched video stream profile found!")

    def get_accel_stream_profile(self, full_scale_range, sample_rate):
        assert full_scale_range is OBAccelFullScaleRange.ACCEL_FS_4g
        assert sample_rate is OBGyroSampleRate.SAMPLE_RATE_500_HZ
        return "accel"

    def get_gyro_stream_profile(self, full_scale_range, sample_rate):
        assert full_scale_range is OBGyroFullScaleRange.FS_500dps
        assert sample_rate is OBGyroSampleRate.SAMPLE_RATE_500_HZ
        return "gyro"


class _Frame:
    def __init__(self, data=None, width=0, height=0, time_us=0, value=None):
        self._data, self._width, self._height, self._time_us, self._value = data, width, height, time_us, value

    def get_data(self):
        return np.frombuffer(self._data, np.uint8).copy()

    def get_width(self):
        return self._width

    def get_height(self):
        return self._height

    def get_timestamp_us(self):
        return self._time_us

    def get_global_timestamp_us(self):
        return self._time_us + 1_700_000_000_000_000

    def as_depth_frame(self):
        return self

    def as_accel_frame(self):
        return self

    def as_gyro_frame(self):
        return self

    def get_depth_scale(self):
        return _PLAN.get("depth_scale", 1.0)

    def get_value(self):
        return _Numbers(dict(zip("xyz", self._value, strict=True)))


class FrameSet:
    def __init__(self, parts):
        self._parts = parts

    def get_color_frame(self):
        return self._parts.get("color")

    def get_depth_frame(self):
        return self._parts.get("depth")

    def get_ir_frame(self):
        return self._parts.get("ir")


class Sensor:
    def __init__(self, sensor):
        self._sensor = sensor

    def get_stream_profile_list(self):
        return StreamProfileList(self._sensor)

    def start(self, profile, callback):
        def run():
            for index in range(_PLAN.get("imu_samples", 0)):
                if profile == "gyro" and index in _PLAN.get("lost_gyro", []):
                    continue
                callback(_Frame(time_us=5_000_000 + 2000 * index, value=(index, 0.5, -9.8)))

        threading.Thread(target=run, daemon=True).start()

    def stop(self):
        _note(stopped=self._sensor.name)


class DeviceInfo(_Numbers):
    def get_serial_number(self):
        return self.serial

    def get_name(self):
        return self.name

    def get_firmware_version(self):
        return self.firmware

    def get_connection_type(self):
        return self.usb


class Device:
    def __init__(self, facts):
        self.facts = facts

    def get_device_info(self):
        return DeviceInfo(self.facts)

    def set_int_property(self, name, value):
        _note(property=name.name, value=value)

    def get_multi_device_sync_config(self):
        return _Numbers(
            {
                "mode": OBMultiDeviceSyncMode.SECONDARY_SYNCED,
                "color_delay_us": 99,
                "depth_delay_us": 99,
                "trigger_to_image_delay_us": 99,
                "trigger_out_enable": True,
                "trigger_out_delay_us": 99,
                "frames_per_trigger": 1,
            }
        )

    def set_multi_device_sync_config(self, config):
        _note(**dict(config.__dict__, mode=config.mode.name))

    def is_global_timestamp_supported(self):
        return True

    def enable_global_timestamp(self, enable):
        _note(is_global=enable)

    def get_sensor(self, sensor):
        if not _PLAN.get("has_imu", True):
            raise OBError("No matched sensor found!")
        return Sensor(sensor)


class DeviceList:
    def __init__(self, devices):
        self._devices = devices

    def get_count(self):
        return len(self._devices)

    def get_device_serial_number_by_index(self, index):
        return self._devices[index]["serial"]

    def get_device_name_by_index(self, index):
        return self._devices[index]["name"]

    def get_device_connection_type_by_index(self, index):
        return self._devices[index]["usb"]

    def get_device_by_index(self, index):
        return self.get_device_by_serial_number(self._devices[index]["serial"])

    def get_device_by_serial_number(self, serial):
        for facts in self._devices:
            if facts["serial"] == serial:
                if facts.get("in_use"):
                    raise OBError("usbEnumerator openUsbDevice failed!")
                return Device(facts)
        raise OBError("Device not found by serial number: " + serial)


class Context:
    _callbacks: list = []  # noqa: RUF012 - of all contexts, as in the library

    def query_devices(self):
        return DeviceList(_PLAN["devices"])

    def set_device_changed_callback(self, callback):
        Context._callbacks.append(callback)


class Config:
    def __init__(self):
        self.profiles, self.mode = [], None

    def enable_stream(self, profile):
        if profile is None:
            os.abort()  # as the native library does
        self.profiles.append(profile)

    def set_frame_aggregate_output_mode(self, mode):
        self.mode = mode


class Pipeline:
    def __init__(self, device):
        self._device, self._is_synced = device, False
        self._is_running = threading.Event()

    def get_stream_profile_list(self, sensor):
        return StreamProfileList(sensor)

    def enable_frame_sync(self):
        self._is_synced = True

    def start(self, config, callback):
        streams = [f"{p.sensor.name} {p.width}x{p.height} {p.image_format.name} {p.fps}" for p in config.profiles]
        _note(streams=streams, mode=config.mode.name, is_synced=self._is_synced)
        if _PLAN.get("refuses_start"):
            raise OBError("uvc_stream_start failed: bandwidth")
        self._is_running.set()
        threading.Thread(target=self._run, args=(config.profiles, callback), daemon=True).start()

    def _run(self, profiles, callback):
        for index in range(_PLAN.get("frames", 3)):
            if not self._is_running.is_set():
                return
            skipped = _PLAN.get("skip", {}).get(str(index), [])
            parts = {}
            for profile in profiles:
                name = profile.sensor.name.split("_")[0].lower()
                if name in skipped:
                    continue
                size = profile.width * profile.height
                if name == "color":
                    size = {"MJPG": 1000 + index, "BGRA": 4 * size, "NV12": size * 3 // 2, "YUYV": 2 * size}[
                        profile.image_format.name
                    ]
                    data = bytes([index % 256]) * size
                else:
                    data = np.full(size, index + (1000 if name == "depth" else 2000), "<u2").tobytes()
                time_us = 5_000_000 + index * 33_333 + (0 if name == "color" else _PLAN.get("depth_offset_us", 0))
                parts[name] = _Frame(data, profile.width, profile.height, time_us)
            callback(FrameSet(parts))
            time.sleep(_PLAN.get("pause_s", 0.0))
        self._finish(_PLAN.get("then", "wait"))

    def _finish(self, what):
        if what == "crash":
            sys.stderr.write("libOrbbecSDK: something went wrong\n")
            sys.stderr.flush()
            os.abort()
        if what == "exit":
            os._exit(7)
        if what == "hang":
            _hang_in_native_code()
        if what == "unplug":
            for callback in Context._callbacks:
                callback(DeviceList([self._device.facts]), DeviceList([]))

    def stop(self):
        self._is_running.clear()
        _note(stopped="pipeline")
        if _PLAN.get("stop_hangs") == "with the lock":
            _hang_in_native_code()
        if _PLAN.get("stop_hangs") == "without the lock":
            time.sleep(100)
