"""Which track of a recording is what, and what its tags say.

It is the SDK's ``parse_recording_config``, for files in any state. Tracks are found by the UID that a
tag names, else by their name. What is missing or nonsense takes its default and is told; only what
cannot be a k4a recording is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from anim_real.capture.recording.k4a_captures import CaptureStamps, ImageTable
from anim_real.capture.recording.k4a_format import CALIBRATION_NAME, COLOR_FORMATS, DEPTH_SIZES
from anim_real.capture.recording.k4a_images import DEPTH_FORMATS, image_bytes
from anim_real.capture.recording.k4a_info import RecordingInfo
from anim_real.capture.recording.mkv_blocks import FrameTable
from anim_real.capture.recording.mkv_index import MkvIndex
from anim_real.capture.recording.mkv_metadata import SUBTITLE_TRACK, Attachment, Track
from anim_real.errors import DataError

ImageName = Literal["COLOR", "DEPTH", "IR"]
IMAGE_NAMES: tuple[ImageName, ImageName, ImageName] = ("COLOR", "DEPTH", "IR")
MAX_OFFSET_US = 1 << 60
_MAX_SIDE_PX = 16384
_MAX_DELAY_US = 1_000_000
_RATES = range(1, 121)  # frames per second that a frame period may stand for
_DEVICE_RATES = (5, 15, 25, 30)  # 25: Orbbec only
_JUMP_US = 60_000_000
_SYNC_MODES = ("STANDALONE", "MASTER", "SUBORDINATE")


@dataclass(frozen=True, kw_only=True, eq=False)
class K4aTracks:
    """The tracks by what they are, and the numbers that their tags give.

    Attributes:
        color, depth, ir, imu: None where the recording has none.
        custom: the other tracks.
        calibration: the attached factory calibration, or None.
        period_ns: frame period.
        depth_delay_us, subordinate_delay_us: delays of the depth exposure and of a subordinate.
        start_offset_us: device time of the segment's start; None if not stated.
        sync_mode: role on the sync cable.
        bad_tags: tags that should hold something else; their default was taken.
    """

    color: Track | None
    depth: Track | None
    ir: Track | None
    imu: Track | None
    custom: tuple[Track, ...]
    calibration: Attachment | None
    period_ns: int
    depth_delay_us: int
    subordinate_delay_us: int
    start_offset_us: int | None
    sync_mode: str
    bad_tags: tuple[str, ...]

    def image(self, name: ImageName) -> Track | None:
        """The track of colour, depth or IR images."""
        return {"COLOR": self.color, "DEPTH": self.depth, "IR": self.ir}[name]

    def image_format(self, name: ImageName) -> str:
        """FourCC of a track's images."""
        track = self.image(name)
        return (track.fourcc if track is not None else "") or ("MJPG" if name == "COLOR" else "b16g")


def find_tracks(index: MkvIndex, path: Path) -> K4aTracks:
    """Tell the tracks apart and read the tags' numbers.

    Raises:
        DataError: it is not a k4a recording, or its images have an impossible size or format.
    """
    color, depth = (index.track(name, f"K4A_{name}_TRACK") for name in ("COLOR", "DEPTH"))
    ir = index.track("IR", "K4A_IR_TRACK") or index.track("DEPTH_IR")  # the name in the earliest recordings
    imu = index.track("IMU", "K4A_IMU_TRACK")
    if imu is not None and imu.kind not in (0, SUBTITLE_TRACK):
        imu = None  # the SDK takes it for a custom track then
    images = {"COLOR": color, "DEPTH": depth, "IR": ir}
    _check_images(images, index, path)
    numbers = _Numbers(index)
    mode = index.tag("K4A_WIRED_SYNC_MODE")
    sync_mode = "STANDALONE" if mode is None else mode.text
    if sync_mode not in _SYNC_MODES:
        numbers.bad.append("K4A_WIRED_SYNC_MODE")
        sync_mode = "STANDALONE"
    found = [track for track in (*images.values(), imu) if track is not None]
    delay_us = numbers.get("K4A_DEPTH_DELAY_NS", -_MAX_DELAY_US, _MAX_DELAY_US) or 0
    return K4aTracks(
        color=color,
        depth=depth,
        ir=ir,
        imu=imu,
        custom=tuple(track for track in index.tracks if track not in found),
        calibration=_calibration(index),
        period_ns=_period_ns([track for track in images.values() if track is not None], index),
        depth_delay_us=delay_us,
        subordinate_delay_us=numbers.get("K4A_SUBORDINATE_DELAY_NS", 0, _MAX_DELAY_US) or 0,
        start_offset_us=numbers.get("K4A_START_OFFSET_NS", 0, MAX_OFFSET_US),
        sync_mode=sync_mode,
        bad_tags=tuple(numbers.bad),
    )


class _Numbers:
    """Tags that hold nanoseconds; those that do not, or impossible ones, are remembered."""

    def __init__(self, index: MkvIndex) -> None:
        self._index = index
        self.bad: list[str] = []

    def get(self, name: str, lowest_us: int, highest_us: int) -> int | None:
        """The tag in microseconds; None if it is missing or bad."""
        tag = self._index.tag(name)
        if tag is None:
            return None
        text = tag.text.strip()
        digits = text.removeprefix("-")
        value_us = int(text) // 1000 if digits.isascii() and digits.isdecimal() and len(digits) < 30 else None
        if value_us is None or not lowest_us <= value_us <= highest_us:
            self.bad.append(name)
            return None
        return value_us


def _check_images(images: dict[str, Track | None], index: MkvIndex, path: Path) -> None:
    """Refuse what is no k4a recording, or has images nobody can decode."""
    if not any(images.values()):
        names = ", ".join(track.name for track in index.tracks)
        raise DataError(
            f"is Matroska but not an Azure Kinect recording (tracks: {names[:200]!r})", where=path,
            fix="Give a file of k4arecorder, OrbbecViewer or simulate",
        )  # fmt: skip
    for name, track in images.items():
        if track is None:
            continue
        if not (0 < track.width <= _MAX_SIDE_PX and 0 < track.height <= _MAX_SIDE_PX):
            raise DataError(
                f"track {name} states images of {track.width}x{track.height} pixels: it is damaged", where=path,
                fix="Record it again",
            )  # fmt: skip
        known = COLOR_FORMATS if name == "COLOR" else DEPTH_FORMATS
        if track.fourcc and track.fourcc not in known:
            raise DataError(
                f"image format {track.fourcc!r} of track {name} is not supported", where=path,
                fix=f"Record {', '.join(known)}",
            )  # fmt: skip


def _calibration(index: MkvIndex) -> Attachment | None:
    """The attachment that the tag points to by its UID or names, else ``calibration.json``."""
    tag = index.tag("K4A_CALIBRATION_FILE")
    for attached in index.attachments:
        if tag is not None and tag.attachment_uid and attached.uid == tag.attachment_uid:
            return attached
    names = [CALIBRATION_NAME] if tag is None else [tag.text, CALIBRATION_NAME]
    return next((attached for name in names for attached in index.attachments if attached.name == name), None)


def _period_ns(tracks: list[Track], index: MkvIndex) -> int:
    """Frame period: what the tracks state, else the device's rate nearest to what the stamps show."""
    stated = [track.period_ns for track in tracks if track.period_ns and round(1e9 / track.period_ns) in _RATES]
    if stated:
        return max(stated)
    steps = np.concatenate([np.diff(np.unique(index.track_frames(track).time_ns)) for track in tracks])
    step_ns = float(np.median(steps)) if len(steps) else 1e9 / _DEVICE_RATES[-1]
    return round(1e9 / min(_DEVICE_RATES, key=lambda rate: abs(1e9 / rate - step_ns)))


def describe(
    index: MkvIndex,
    tracks: K4aTracks,
    tables: tuple[ImageTable, ImageTable, ImageTable],
    stamps: CaptureStamps,
    start_us: int,
    start_source: str,
) -> RecordingInfo:
    """What the recording states and holds."""
    color, depth = tracks.color, tracks.depth or tracks.ir
    text = {tag.name: tag.text for tag in reversed(index.tags)}
    damage = index.damage
    fps = round(1e9 / tracks.period_ns)
    gaps_us = np.diff(np.sort(stamps.time_us))
    is_jump = gaps_us > _JUMP_US
    steps = np.rint(gaps_us[~is_jump] * (fps / 1e6)).astype(int)
    present = [times for name, times in _times(stamps).items() if tracks.image(name) is not None]
    return RecordingInfo(
        serial=text.get("K4A_DEVICE_SERIAL_NUMBER", ""),
        color_firmware=text.get("K4A_COLOR_FIRMWARE_VERSION", ""),
        depth_firmware=text.get("K4A_DEPTH_FIRMWARE_VERSION", ""),
        writing_app=index.writing_app,
        color_mode=None if color is None else f"{color.height}P",
        color_format=None if color is None else tracks.image_format("COLOR"),
        color_size=None if color is None else (color.width, color.height),
        depth_mode=None if depth is None else _depth_mode(text, depth),
        depth_size=None if depth is None else (depth.width, depth.height),
        fps=fps,
        sync_mode=tracks.sync_mode,
        depth_delay_us=tracks.depth_delay_us,
        subordinate_delay_us=tracks.subordinate_delay_us,
        start_offset_us=start_us,
        start_offset_source=start_source,
        length_us=max(table.end_ns for table in index.frames.values()) // 1000,
        track_names=tuple(track.name for track in index.tracks),
        custom_track_names=tuple(track.name for track in tracks.custom),
        num_captures=len(stamps.index),
        num_incomplete=int((np.array(present) < 0).any(axis=0).sum()),
        num_dropped=int(np.maximum(steps - 1, 0).sum()),
        num_jumps=int(is_jump.sum()),
        num_backwards=sum(table.num_backwards for table in tables),
        num_duplicates=sum(table.num_duplicates for table in tables),
        num_wrong_size=sum(_num_wrong_size(index, tracks, name) for name in IMAGE_NAMES),
        num_imu_samples=index.track_frames(tracks.imu).num_frames,
        has_calibration=tracks.calibration is not None,
        bad_tags=tracks.bad_tags,
        missing_bytes=damage.missing_bytes,
        skipped_bytes=damage.skipped_bytes,
        num_cut_frames=damage.num_cut_frames,
        num_stray_frames=damage.num_stray_frames,
        is_unfinished=damage.is_unfinished,
        lost_metadata=damage.lost_metadata,
    )


def _times(stamps: CaptureStamps) -> dict[ImageName, np.ndarray]:
    return {"COLOR": stamps.color_time_us, "DEPTH": stamps.depth_time_us, "IR": stamps.ir_time_us}


def _num_wrong_size(index: MkvIndex, tracks: K4aTracks, name: ImageName) -> int:
    """Uncompressed images whose size tells that they are damaged; and laced blocks, which images never are."""
    track = tracks.image(name)
    if track is None:
        return 0
    blocks: FrameTable = index.track_frames(track)
    expected = image_bytes(tracks.image_format(name), track.width, track.height)
    is_wrong = (blocks.count != 1) | ((blocks.size != expected) & bool(expected))
    return int(blocks.count[is_wrong].sum())


def _depth_mode(text: dict[str, str], track: Track) -> str | None:
    """The mode that the tag states if the image size agrees (the earliest recordings write a small x), else by size."""
    size = (track.width, track.height)
    stated = text.get("K4A_DEPTH_MODE", "").replace("2x2", "2X2")
    if DEPTH_SIZES.get(stated) == size:
        return stated
    if "PASSIVE" in text.get("K4A_IR_MODE", "") and DEPTH_SIZES["PASSIVE_IR"] == size:
        return "PASSIVE_IR"
    return {known: mode for mode, known in reversed(DEPTH_SIZES.items())}.get(size)
