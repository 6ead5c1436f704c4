"""What an Azure Kinect recording consists of: its modes, image sizes, track layout and IMU samples.

Shared by the reader and the writer. Source: the Azure Kinect Sensor SDK's record format
(docs/record-file-format.md) and its ``matroska_common.h``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from anim_real.errors import ConfigError
from anim_real.rig import ColorMode, DepthMode, SyncMode

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
TIMESTAMP_SCALE_NS = 1000
CLUSTER_US = 32_000  # longest cluster; a block's time within it is a signed 16-bit number
IMU_SAMPLE = struct.Struct("<Q3fQ3f")  # accelerometer time ns, m/s², gyro time ns, rad/s
CALIBRATION_NAME = "calibration.json"
VIDEO_CODEC = "V_MS/VFW/FOURCC"
IMU_CODEC = "S_K4A/IMU"


@dataclass(frozen=True, kw_only=True)
class RecordingConfig:
    """Settings of the device that a recording states.

    Attributes:
        serial: the device's serial number.
        color_mode: resolution name, or None without a colour track.
        depth_mode: depth mode, or None without depth and IR tracks; ``PASSIVE_IR`` has an IR track only.
        fps: 5, 15 or 30 frames per second.
        sync_mode: role on the sync cable.
        depth_delay_us: depth exposure after colour exposure; may be negative.
        subordinate_delay_us: delay of a subordinate behind its master.
        color_firmware, depth_firmware: firmware versions.
        has_imu: whether the recording has an IMU track.
    """

    serial: str
    color_mode: ColorMode | None = "720P"
    depth_mode: DepthMode | None = "NFOV_UNBINNED"
    fps: int = 30
    sync_mode: SyncMode = "STANDALONE"
    depth_delay_us: int = 0
    subordinate_delay_us: int = 0
    color_firmware: str = "1.6.110"
    depth_firmware: str = "1.6.79"
    has_imu: bool = True

    def __post_init__(self) -> None:
        if self.fps not in (5, 15, 30):
            raise ConfigError(f"{self.fps} fps is not a rate of the device", where="recording", fix="Use 5, 15 or 30")
        if self.color_mode is None and self.depth_mode is None:
            raise ConfigError("a recording needs colour or depth", where="recording")
        if self.color_mode not in (None, *COLOR_SIZES) or self.depth_mode not in (None, *DEPTH_SIZES):
            raise ConfigError(f"no modes {self.color_mode!r}, {self.depth_mode!r}", where="recording")
        if self.color_mode == "3072P" and self.fps == 30:
            raise ConfigError("3072P runs at 15 fps at most", where="recording")

    @property
    def period_us(self) -> float:
        """Frame period in microseconds."""
        return 1e6 / self.fps


@dataclass(frozen=True, kw_only=True)
class RecordingInfo:
    """What a recording states about itself, and what was found in it.

    Attributes:
        serial, color_firmware, depth_firmware: of the device; empty if not stated.
        color_mode, color_format, color_size: ``720P``, ``MJPG``, (width, height) pixels; None without colour.
        depth_mode, depth_size: None without depth and IR.
        fps: frames per second, from the tracks' frame period.
        sync_mode, depth_delay_us, subordinate_delay_us: how the device was triggered.
        start_offset_us: device time of the segment's start.
        start_offset_source: ``tag``; ``imu`` if the tag was lost and the IMU's payload gave it; ``missing``.
        length_us: time of the last block since the segment's start.
        track_names: names of the tracks, in file order.
        num_captures: captures, complete or not.
        num_incomplete: captures that lack colour or depth.
        num_dropped: captures the device skipped, by the gaps in the stamps.
        num_imu_samples: IMU samples.
        has_calibration: whether the factory calibration is attached.
        missing_bytes, skipped_bytes, num_cut_frames, is_unfinished: damage, see ``mkv_index.Damage``.
    """

    serial: str
    color_firmware: str
    depth_firmware: str
    color_mode: str | None
    color_format: str | None
    color_size: tuple[int, int] | None
    depth_mode: str | None
    depth_size: tuple[int, int] | None
    fps: int
    sync_mode: str
    depth_delay_us: int
    subordinate_delay_us: int
    start_offset_us: int
    start_offset_source: str
    length_us: int
    track_names: tuple[str, ...]
    num_captures: int
    num_incomplete: int
    num_dropped: int
    num_imu_samples: int
    has_calibration: bool
    missing_bytes: int
    skipped_bytes: int
    num_cut_frames: int
    is_unfinished: bool

    @property
    def is_damaged(self) -> bool:
        """Whether the file was cut short, never closed, or holds unreadable bytes."""
        return bool(self.missing_bytes or self.skipped_bytes or self.num_cut_frames or self.is_unfinished)
