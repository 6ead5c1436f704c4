"""The process that talks to an Orbbec device: run by the interpreter that has pyorbbecsdk, never imported by us.

It needs the standard library, pyorbbecsdk (2.x) and the numpy that it brings, Python 3.8 or newer. Commands come as
JSON lines on stdin (``list``, ``open``, ``start``, ``stop``); answers and captures go out on what was stdout as
messages: ``<4sII`` (magic, bytes of the header, bytes of the payload), the header as JSON, the payload. Whatever else
is printed goes to stderr. The end of stdin ends the process, and so does a native call that never returns.
Times are microseconds; depth is in the device's units (``scale`` millimetres each); nothing is decoded or converted.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import json
import os
import queue
import struct
import sys
import threading

PROTOCOL = 1
MAGIC = b"ARO1"
PREFIX = struct.Struct("<4sII")
ALIVE_S = 0.5  # a message at least that often
STUCK_S = 30.0  # this process ends when its interpreter stood still that long
STOP_S = 3.0  # time for the device to stop
QUEUE_LENGTH = 15  # captures that wait for the pipe; the oldest is dropped beyond
SYNC_MODES = {"STANDALONE": "STANDALONE", "MASTER": "PRIMARY", "SUBORDINATE": "SECONDARY"}
COLOR_FORMATS = {"MJPG": "MJPG", "NV12": "NV12", "YUY2": "YUYV", "BGRA": "BGRA"}


class Refused(Exception):
    """What the device or the SDK cannot do; ``kind`` tells the parent which error to raise."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class Link:
    """The way to the parent: whole messages, from any thread."""

    def __init__(self):
        # the SDK and its examples print to stdout: the pipe moves away from there first
        self._file = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        if os.name == "nt":
            import msvcrt

            msvcrt.setmode(self._file.fileno(), os.O_BINARY)
        elif sys.platform == "linux":
            import fcntl

            with contextlib.suppress(OSError):  # a user may own only so much of it
                fcntl.fcntl(self._file.fileno(), 1031, 1 << 20)  # F_SETPIPE_SZ: fewer, larger writes
        self.lock = threading.Lock()
        self.is_ending = False  # from then on nobody lengthens the time this process has left

    def send(self, kind, header=None, parts=()):
        """Write one message; ``parts`` are buffers that follow the header."""
        head = json.dumps(dict(header or {}, type=kind)).encode("ascii")
        with self.lock:
            self._write(PREFIX.pack(MAGIC, len(head), sum(len(part) for part in parts)) + head)
            for part in parts:
                self._write(part)

    def _write(self, data):
        view = memoryview(data)
        while len(view):
            view = view[self._file.write(view) :]


def stay_alive(link):
    """Tell the parent that we live, and end this process when the interpreter stands still."""

    def beat():
        pause = threading.Event()
        while True:
            if not link.is_ending:
                faulthandler.dump_traceback_later(STUCK_S, exit=True)
            if link.lock.acquire(timeout=ALIVE_S):  # else a capture is on its way, which says as much
                link.lock.release()
                try:
                    link.send("alive")
                except OSError:
                    return  # the parent is gone, which the main thread also sees
            pause.wait(ALIVE_S)

    threading.Thread(target=beat, daemon=True).start()


def read_commands():
    """A queue of the parent's commands; None once the parent is gone."""
    commands = queue.Queue()

    def read():
        for line in sys.stdin.buffer:
            commands.put(json.loads(line.decode("utf-8")))
        commands.put(None)

    threading.Thread(target=read, daemon=True).start()
    return commands


def load_sdk():
    """Import pyorbbecsdk."""
    try:
        import pyorbbecsdk
    except (ImportError, OSError) as error:
        raise Refused("missing", f"{sys.executable} has no working pyorbbecsdk ({error})") from error
    return pyorbbecsdk


def list_devices(sdk, context):
    """Facts of every device; one that cannot be opened has a ``problem``."""
    devices = context.query_devices()
    found = []
    for index in range(devices.get_count()):
        facts = {
            "serial": devices.get_device_serial_number_by_index(index),
            "name": devices.get_device_name_by_index(index),
            "usb": devices.get_device_connection_type_by_index(index),
            "firmware": "",
            "problem": "",
        }
        try:
            facts["firmware"] = devices.get_device_by_index(index).get_device_info().get_firmware_version()
        except sdk.OBError as error:
            facts["problem"] = f"cannot be opened: in use by another program, or no permission ({error})"
        found.append(facts)
    return found


class Camera:
    """One device: opened, configured, then streaming into ``captures``."""

    def __init__(self, sdk, link, settings):
        self.sdk, self.link, self.settings = sdk, link, settings
        self.context = sdk.Context()
        self.captures = queue.Queue()
        self.num_dropped = 0
        self.samples = {"acc": collections.deque(maxlen=20000), "gyro": collections.deque(maxlen=20000)}
        self.sensors = []
        self.device = self.find_device()
        self.is_passive = settings["depth_mode"] == "PASSIVE_IR"
        self.is_global = settings["clock"] == "global"
        self.configure()
        self.pipeline = sdk.Pipeline(self.device)
        width, height = settings["depth_size"]
        color_width, color_height = settings["color_size"]
        formats = sdk.OBFormat
        color_format = getattr(formats, COLOR_FORMATS[settings["color_format"]])
        self.color = self.profile("COLOR", color_width, color_height, color_format)
        self.ir = self.profile("IR", width, height, formats.Y16)
        self.depth = None if self.is_passive else self.profile("DEPTH", width, height, formats.Y16)

    def find_device(self):
        """The device of the settings' serial number, or the only one."""
        devices = self.context.query_devices()
        serials = [devices.get_device_serial_number_by_index(index) for index in range(devices.get_count())]
        wanted = self.settings["serial"]
        if not serials:
            raise Refused("absent", "no device is connected")
        if wanted is None and len(serials) > 1:
            raise Refused("ambiguous", f"several devices are connected: {', '.join(serials)}")
        if wanted is not None and wanted not in serials:
            raise Refused("absent", f"device {wanted} is not there; found: {', '.join(serials)}")
        serial = wanted or serials[0]
        self.context.set_device_changed_callback(lambda removed, added: self.notice_removed(serial, removed))
        try:
            return devices.get_device_by_serial_number(serial)
        except self.sdk.OBError as error:
            raise Refused("busy", f"device {serial} cannot be opened ({error})") from error

    def notice_removed(self, serial, removed):
        """Called by the SDK when devices come and go."""
        serials = [removed.get_device_serial_number_by_index(index) for index in range(removed.get_count())]
        if serial in serials:
            self.captures.put(None)

    def configure(self):
        """Illumination, sync role and clock."""
        sdk, settings = self.sdk, self.settings
        self.device.set_int_property(sdk.OBPropertyID.OB_PROP_SWITCH_IR_MODE_INT, int(self.is_passive))
        base_us = settings["subordinate_delay_us"]
        delay_us = settings["depth_delay_us"]
        sync = self.device.get_multi_device_sync_config()
        sync.mode = getattr(sdk.OBMultiDeviceSyncMode, SYNC_MODES[settings["sync_mode"]])
        sync.color_delay_us = base_us + max(0, -delay_us)
        sync.depth_delay_us = base_us + max(0, delay_us)
        sync.trigger_to_image_delay_us = sync.depth_delay_us  # older SDKs read this one for depth
        sync.trigger_out_enable = settings["sync_mode"] != "STANDALONE"
        sync.trigger_out_delay_us = 0
        self.device.set_multi_device_sync_config(sync)
        if self.is_global:
            if not self.device.is_global_timestamp_supported():
                raise Refused("mode", "the device has no global clock")
            self.device.enable_global_timestamp(True)

    def profile(self, name, width, height, image_format):
        """The stream profile of a sensor, or a refusal that lists what there is."""
        sensor = getattr(self.sdk.OBSensorType, name + "_SENSOR")
        fps = self.settings["fps"]
        profiles = self.pipeline.get_stream_profile_list(sensor)
        try:
            return profiles.get_video_stream_profile(width, height, image_format, fps)
        except self.sdk.OBError as error:
            known = set()
            for index in range(profiles.get_count()):
                one = profiles.get_stream_profile_by_index(index).as_video_stream_profile()
                known.add(f"{one.get_width()}x{one.get_height()} {one.get_format().name} {one.get_fps()} fps")
            wanted = f"{width}x{height} {image_format.name} {fps} fps"
            there = ", ".join(sorted(known))
            raise Refused("mode", f"has no {name.lower()} stream {wanted}; has {there}") from error

    def describe(self):
        """Facts of the opened device, and its factory calibration in the SDK's numbers."""
        info = self.device.get_device_info()
        depth = self.depth or self.ir
        extrinsic = depth.get_extrinsic_to(self.color)
        return {
            "serial": info.get_serial_number(),
            "name": info.get_name(),
            "firmware": info.get_firmware_version(),
            "usb": info.get_connection_type(),
            "calibration": {
                "color": lens(self.color),
                "depth": lens(depth),
                "rotation": [float(value) for value in extrinsic.rot.ravel()],
                "translation_mm": [float(value) for value in extrinsic.transform.ravel()],
            },
        }

    def start(self):
        """Stream: captures and IMU samples come on the SDK's threads."""
        sdk = self.sdk
        self.start_imu(
            "acc", sdk.OBSensorType.ACCEL_SENSOR,
            lambda profiles: profiles.get_accel_stream_profile(
                sdk.OBAccelFullScaleRange.ACCEL_FS_4g, sdk.OBGyroSampleRate.SAMPLE_RATE_500_HZ
            ),
        )  # fmt: skip
        self.start_imu(
            "gyro", sdk.OBSensorType.GYRO_SENSOR,
            lambda profiles: profiles.get_gyro_stream_profile(
                sdk.OBGyroFullScaleRange.FS_500dps, sdk.OBGyroSampleRate.SAMPLE_RATE_500_HZ
            ),
        )  # fmt: skip
        config = sdk.Config()
        for profile in (self.color, self.depth, self.ir):
            if profile is not None:
                config.enable_stream(profile)
        config.set_frame_aggregate_output_mode(sdk.OBFrameAggregateOutputMode.ANY_SITUATION)
        self.pipeline.enable_frame_sync()
        self.pipeline.start(config, self.take)

    def start_imu(self, name, sensor_type, choose):
        """Start one half of the IMU; a device without it delivers none."""
        samples = self.samples[name]

        def take(frame):
            frame = frame.as_accel_frame() if name == "acc" else frame.as_gyro_frame()
            value = frame.get_value()
            samples.append([self.time_us(frame), value.x, value.y, value.z])

        try:
            sensor = self.device.get_sensor(sensor_type)
            sensor.start(choose(sensor.get_stream_profile_list()), take)
        except self.sdk.OBError as error:
            sys.stderr.write(f"no {name} samples: {error}\n")
            return
        self.sensors.append(sensor)

    def take(self, frames):
        """Called by the SDK with every set of frames."""
        while self.captures.qsize() >= QUEUE_LENGTH:
            try:
                if self.captures.get_nowait() is None:
                    self.captures.put(None)
                    return
                self.num_dropped += 1
            except queue.Empty:
                break
        self.captures.put(frames)

    def time_us(self, frame):
        """The frame's stamp on the clock that was asked for."""
        return frame.get_global_timestamp_us() if self.is_global else frame.get_timestamp_us()

    def send(self, frames):
        """Hand a set of frames over, with the IMU samples so far."""
        parts, images = [], {}
        kinds = {"color": frames.get_color_frame(), "depth": frames.get_depth_frame(), "ir": frames.get_ir_frame()}
        for name, frame in kinds.items():
            if frame is None:
                continue
            data = memoryview(frame.get_data()).cast("B")
            images[name] = {
                "bytes": len(data),
                "width": frame.get_width(),
                "height": frame.get_height(),
                "time_us": self.time_us(frame),
            }
            if name == "depth":
                images[name]["scale"] = frame.as_depth_frame().get_depth_scale()
            parts.append(data)
        imu = {name: [samples.popleft() for _ in range(len(samples))] for name, samples in self.samples.items()}
        self.link.send("capture", {"images": images, "imu": imu, "num_dropped": self.num_dropped}, parts)

    def stop(self):
        """Stop the device; the process ends if it does not."""
        self.link.is_ending = True
        faulthandler.dump_traceback_later(STOP_S, exit=True)
        for sensor in self.sensors:
            sensor.stop()
        self.pipeline.stop()


def lens(profile):
    """Intrinsics of a video stream profile, pixels, and its distortion."""
    intrinsic, distortion = profile.get_intrinsic(), profile.get_distortion()
    numbers = {name: getattr(intrinsic, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    numbers["model"] = distortion.model.name
    names = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
    numbers.update({name: getattr(distortion, name) for name in names})
    return numbers


def stream(camera, commands):
    """Hand captures over until the parent stops us or is gone."""
    while commands.empty():
        try:
            frames = camera.captures.get(timeout=0.05)
        except queue.Empty:
            frames = ()
        if frames is None:
            raise Refused("lost", "the device was unplugged")
        if frames != ():
            camera.send(frames)


def serve(link, commands):
    """Carry out commands until there are no more."""
    sdk = load_sdk()
    link.send("hello", {"protocol": PROTOCOL, "sdk": sdk.get_version(), "package": getattr(sdk, "__version__", "")})
    camera = None
    while True:
        command = commands.get()
        if command is None:
            return
        if command["command"] == "list":
            link.send("devices", {"devices": list_devices(sdk, sdk.Context())})
        elif command["command"] == "open":
            camera = Camera(sdk, link, command["settings"])
            link.send("opened", camera.describe())
        elif command["command"] == "start" and camera is not None:
            camera.start()
            link.send("started")
            with contextlib.suppress(BrokenPipeError):  # the parent is gone: the device is stopped all the same
                stream(camera, commands)
            camera.stop()
            link.send("stopped")
            return
        else:
            return


def main():
    """Serve one parent; returns the exit status."""
    link = Link()
    stay_alive(link)
    try:
        serve(link, read_commands())
    except BrokenPipeError:
        return 0
    except Refused as refusal:
        link.send("error", {"kind": refusal.kind, "text": str(refusal)})
        return 1
    except Exception as error:
        if type(error).__name__ != "OBError":  # the class exists only where the SDK could be loaded
            raise
        link.send("error", {"kind": "sdk", "text": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # the SDK's threads must not keep the process
