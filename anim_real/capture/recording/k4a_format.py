"""What an Azure Kinect recording consists of: its modes, image sizes, track layout and IMU samples.

Shared by the reader and the writer. Source: the Azure Kinect Sensor SDK's record format
(docs/record-file-format.md) and its ``matroska_common.h``.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from anim_real.errors import ConfigError
from anim_real.rig import ColorFormat, ColorMode, DepthMode, SyncMode

COLOR_SIZES: dict[str, tuple[int, int]] = {
    "720P": (1280, 720),
    "1080P": (1920, 1080),
    "1440P": (2560, 1440),
    "1536P": (2048, 1536),
    "2160P": (3840, 2160),
    "3072P": (4096, 3072),
}
DEPTH_SIZES: dict[str, tuple[int, int]] = {
    "NFOV_2X2BINNED": (320, 288),
    "NFOV_UNBINNED": (640, 576),
    "WFOV_2X2BINNED": (512, 512),
    "WFOV_UNBINNED": (1024, 1024),
    "PASSIVE_IR": (1024, 1024),
}
COLOR_FORMATS = ("MJPG", "NV12", "YUY2", "BGRA")
COLOR_BITS = {"MJPG": 24, "NV12": 12, "YUY2": 16, "BGRA": 32}  # bits per pixel, as the track's header states them
IMAGE_TRACKS = ("COLOR", "DEPTH", "IR")
TIMESTAMP_SCALE_NS = 1000
CLUSTER_US = 32_000  # longest cluster; a block's time within it is a signed 16-bit number
IMU_SAMPLE = struct.Struct("<Q3fQ3f")  # accelerometer time ns, m/s², gyro time ns, rad/s
CALIBRATION_NAME = "calibration.json"
VIDEO_CODEC = "V_MS/VFW/FOURCC"
IMU_CODEC = "S_K4A/IMU"
CUSTOM_TAG = "K4A_CUSTOM_TRACK_"  # and the track's name


@dataclass(frozen=True, kw_only=True)
class CustomTrack:
    """A track of our own data, such as a trigger log; what it holds is up to its codec.

    Attributes:
        name: capital letters, digits, ``-`` and ``_``; not the name of a camera's track.
        codec_id: Matroska codec; ``S_K4A/<name>`` by default, as the SDK's examples have it.
        codec_private: what a decoder needs to know.
    """

    name: str
    codec_id: str = ""
    codec_private: bytes = b""

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Z0-9_-]+", self.name) or self.name in (*IMAGE_TRACKS, "IMU"):
            raise ConfigError(
                f"{self.name!r} cannot name a custom track", where="recording",
                fix="Use capital letters, digits, - and _; COLOR, DEPTH, IR and IMU are taken",
            )  # fmt: skip
        if not self.codec_id:
            object.__setattr__(self, "codec_id", f"S_K4A/{self.name}")


@dataclass(frozen=True, kw_only=True)
class RecordingConfig:
    """Settings of the device that a recording states.

    Attributes:
        serial: the device's serial number.
        color_mode: resolution name, or None without a colour track.
        color_format: how colour images are coded; NV12 and YUY2 exist at 720P only.
        depth_mode: depth mode, or None without depth and IR tracks; ``PASSIVE_IR`` has an IR track only.
        fps: 5, 15 or 30 frames per second.
        sync_mode: role on the sync cable.
        depth_delay_us: depth exposure after colour exposure; may be negative.
        subordinate_delay_us: delay of a subordinate behind its master.
        color_firmware, depth_firmware: firmware versions.
        has_imu: whether the recording has an IMU track.
        custom_tracks: tracks of our own data.
    """

    serial: str
    color_mode: ColorMode | None = "720P"
    color_format: ColorFormat = "MJPG"
    depth_mode: DepthMode | None = "NFOV_UNBINNED"
    fps: int = 30
    sync_mode: SyncMode = "STANDALONE"
    depth_delay_us: int = 0
    subordinate_delay_us: int = 0
    color_firmware: str = "1.6.110"
    depth_firmware: str = "1.6.79"
    has_imu: bool = True
    custom_tracks: tuple[CustomTrack, ...] = ()

    def __post_init__(self) -> None:
        if self.fps not in (5, 15, 30):
            raise ConfigError(f"{self.fps} fps is not a rate of the device", where="recording", fix="Use 5, 15 or 30")
        if self.color_mode is None and self.depth_mode is None:
            raise ConfigError("a recording needs colour or depth", where="recording")
        if self.color_mode not in (None, *COLOR_SIZES) or self.depth_mode not in (None, *DEPTH_SIZES):
            raise ConfigError(f"no modes {self.color_mode!r}, {self.depth_mode!r}", where="recording")
        if self.fps == 30 and (self.color_mode == "3072P" or self.depth_mode == "WFOV_UNBINNED"):
            raise ConfigError("3072P and WFOV_UNBINNED run at 15 fps at most", where="recording", fix="Use 5 or 15 fps")
        if self.color_format not in COLOR_FORMATS:
            raise ConfigError(f"no colour format {self.color_format!r}", where="recording", fix="Use MJPG or BGRA")
        if self.color_format in ("NV12", "YUY2") and self.color_mode not in (None, "720P"):
            raise ConfigError(
                f"the device has no {self.color_format} at {self.color_mode}, only at 720P", where="recording",
                fix="Use 720P, or the format MJPG or BGRA",
            )  # fmt: skip
        if abs(self.depth_delay_us) > self.period_us or not 0 <= self.subordinate_delay_us <= self.period_us:
            raise ConfigError("a delay is longer than a frame period, or negative", where="recording")
        names = [track.name for track in self.custom_tracks]
        if len(set(names)) != len(names):
            raise ConfigError(f"custom tracks repeat: {names}", where="recording")

    @property
    def period_us(self) -> float:
        """Frame period in microseconds."""
        return 1e6 / self.fps
