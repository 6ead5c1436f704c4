"""What a recording states about itself, and what was found in it."""

from __future__ import annotations

from dataclasses import dataclass

_EPOCH_US = 100_000_000_000_000  # three years of microseconds: no device runs so long, so its clock is the time of day
_ORBBEC_SERIAL = "CL"  # Femto Bolt, Mega: CL8..., CL2...; an Azure Kinect has twelve digits


@dataclass(frozen=True, kw_only=True)
class RecordingInfo:
    """What a recording states about itself, and what was found in it.

    Attributes:
        serial, color_firmware, depth_firmware: of the device; empty if not stated.
        writing_app: the program that wrote the file; empty if not stated.
        color_mode, color_format, color_size: ``720P``, ``MJPG``, (width, height) pixels; None without colour.
        depth_mode, depth_size: None without depth and IR.
        fps: frames per second, from the tracks' frame period.
        sync_mode, depth_delay_us, subordinate_delay_us: how the device was triggered.
        start_offset_us: device time of the segment's start.
        start_offset_source: ``tag``; ``imu`` if the tag was lost and the IMU's payload gave it; ``missing``.
        length_us: time of the last block since the segment's start.
        track_names: names of the tracks, in file order.
        custom_track_names: those that are not the cameras' or the IMU's.
        num_captures: captures, complete or not.
        num_incomplete: captures that lack an image of a track that the recording has.
        num_dropped: captures the device skipped, by the gaps in the stamps.
        num_jumps: gaps of more than a minute; they are not counted as dropped captures.
        num_backwards: images stamped earlier than the one before them in the file; captures are sorted by time.
        num_duplicates: images left out because their track has another one of the same stamp.
        num_wrong_size: uncompressed images of another size than the track's; they are delivered as None.
        num_imu_samples: IMU samples.
        has_calibration: whether the factory calibration is attached.
        bad_tags: names of tags that should hold a number and do not; their default was taken.
        missing_bytes, skipped_bytes, num_cut_frames, num_stray_frames, is_unfinished, lost_metadata: damage, see
            ``mkv_index.Damage``.
    """

    serial: str
    color_firmware: str
    depth_firmware: str
    writing_app: str
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
    custom_track_names: tuple[str, ...]
    num_captures: int
    num_incomplete: int
    num_dropped: int
    num_jumps: int
    num_backwards: int
    num_duplicates: int
    num_wrong_size: int
    num_imu_samples: int
    has_calibration: bool
    bad_tags: tuple[str, ...]
    missing_bytes: int
    skipped_bytes: int
    num_cut_frames: int
    num_stray_frames: int
    is_unfinished: bool
    lost_metadata: tuple[str, ...]

    @property
    def is_damaged(self) -> bool:
        """Whether the file was cut short, never closed, or holds unreadable bytes."""
        return any((
            self.missing_bytes, self.skipped_bytes, self.num_cut_frames, self.num_stray_frames, self.is_unfinished,
            self.lost_metadata, self.bad_tags, self.num_wrong_size,
        ))  # fmt: skip

    @property
    def is_orbbec(self) -> bool:
        """Whether an Orbbec device wrote it: by its serial number, or because it stamps with the time of day."""
        return self.serial.startswith(_ORBBEC_SERIAL) or self.start_offset_us > _EPOCH_US

    @property
    def check_radius(self) -> bool:
        """What ``FactoryCalibration.camera`` should be given: Orbbec's library does not check the metric radius."""
        return not self.is_orbbec
