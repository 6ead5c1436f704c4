"""What stands before the images of a recording that we write: info, track entries, attachments and tags, as bytes.

Order, names and lengths are those of the Azure Kinect Sensor SDK (``record.cpp``, ``matroska_write.cpp``).
"""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta

from anim_real import __version__
from anim_real.capture.recording.ebml import (
    Ids,
    encode,
    encode_checked_master,
    encode_float,
    encode_int,
    encode_master,
    encode_string,
    encode_uint,
)
from anim_real.capture.recording.k4a_format import (
    CALIBRATION_NAME,
    COLOR_BITS,
    COLOR_SIZES,
    CUSTOM_TAG,
    DEPTH_SIZES,
    IMAGE_TRACKS,
    IMU_CODEC,
    TIMESTAMP_SCALE_NS,
    VIDEO_CODEC,
    RecordingConfig,
)
from anim_real.capture.recording.k4a_images import image_bytes

EPOCH = datetime(2001, 1, 1, tzinfo=UTC)  # Matroska counts dates from here
_VIDEO, _SUBTITLE = 1, 17


def track_names(config: RecordingConfig) -> tuple[str, ...]:
    """Names of the tracks a recording of this configuration has, in order."""
    names = [] if config.color_mode is None else ["COLOR"]
    if config.depth_mode is not None:
        names += ["IR"] if config.depth_mode == "PASSIVE_IR" else ["DEPTH", "IR"]
    if config.has_imu:
        names.append("IMU")
    return (*names, *(track.name for track in config.custom_tracks))


def element_uid(config: RecordingConfig, name: str) -> int:
    """A UID of 60 bits that is the same for the same device and track: writing twice gives the same bytes."""
    digest = hashlib.sha256(f"{config.serial}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 4 | 1 << 59  # the top bit: every UID takes eight bytes


def encode_info(duration_us: float, date: datetime) -> bytes:
    """The Info element; its length depends neither on the duration nor on the date."""
    nanoseconds = (date - EPOCH) // timedelta(microseconds=1) * 1000
    return encode_master(
        Ids.INFO,
        encode_uint(Ids.TIMESTAMP_SCALE, TIMESTAMP_SCALE_NS),
        encode_string(Ids.MUXING_APP, f"anim-real-{__version__}"),
        encode_string(Ids.WRITING_APP, f"anim-real-{__version__}"),
        encode_int(Ids.DATE_UTC, nanoseconds),
        encode_string(Ids.TITLE, "Azure Kinect"),
        encode_float(Ids.DURATION, duration_us),
    )


def encode_tracks(config: RecordingConfig) -> bytes:
    """The Tracks element."""
    entries = [_track_entry(config, name, number) for number, name in enumerate(track_names(config), start=1)]
    return encode_master(Ids.TRACKS, *entries)


def _track_entry(config: RecordingConfig, name: str, number: int) -> bytes:
    """One track; images carry a BITMAPINFOHEADER with their FourCC."""
    is_image = name in IMAGE_TRACKS
    custom = {track.name: track for track in config.custom_tracks}.get(name)
    codec_id = custom.codec_id if custom else VIDEO_CODEC if is_image else IMU_CODEC
    common = [
        encode_uint(Ids.TRACK_NUMBER, number),
        encode_uint(Ids.TRACK_UID, element_uid(config, name)),
        encode_uint(Ids.TRACK_TYPE, _VIDEO if is_image else _SUBTITLE),
        encode_string(Ids.CODEC_ID, codec_id),
        encode_string(Ids.TRACK_NAME, name),
    ]
    if not is_image:
        private = [encode(Ids.CODEC_PRIVATE, custom.codec_private)] if custom and custom.codec_private else []
        return encode_master(Ids.TRACK_ENTRY, *common, *private)
    if name == "COLOR":
        (width, height), fourcc = COLOR_SIZES[config.color_mode or ""], config.color_format
        bits = COLOR_BITS[fourcc]
    else:
        (width, height), fourcc, bits = DEPTH_SIZES[config.depth_mode or ""], "b16g", 16
    size = image_bytes(fourcc, width, height)
    bitmap_header = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, bits, fourcc.encode(), size, 0, 0, 0, 0)
    return encode_master(
        Ids.TRACK_ENTRY,
        *common,
        encode(Ids.CODEC_PRIVATE, bitmap_header),
        encode_uint(Ids.DEFAULT_DURATION, 1_000_000_000 // config.fps),
        encode_master(Ids.VIDEO, encode_uint(Ids.PIXEL_WIDTH, width), encode_uint(Ids.PIXEL_HEIGHT, height)),
    )


def encode_attachments(config: RecordingConfig, calibration_json: bytes) -> bytes:
    """The Attachments element: the factory calibration."""
    attached = encode_master(
        Ids.ATTACHED_FILE,
        encode_string(Ids.FILE_NAME, CALIBRATION_NAME),
        encode_string(Ids.FILE_MEDIA_TYPE, "application/octet-stream"),
        encode(Ids.FILE_DATA, calibration_json),
        encode_uint(Ids.FILE_UID, element_uid(config, CALIBRATION_NAME)),
    )
    return encode_master(Ids.ATTACHMENTS, attached)


def encode_tags(config: RecordingConfig, start_us: int) -> bytes:
    """The Tags element: modes by track, facts of the device, name of the calibration, device time of the start."""
    names = track_names(config)
    tags = []
    if "COLOR" in names:
        tags += _track_tags(config, "COLOR", f"{config.color_format}_{config.color_mode}")
    if "DEPTH" in names:
        tags += _track_tags(config, "DEPTH", str(config.depth_mode))
    elif "IR" in names:
        tags.append(_fact("K4A_DEPTH_MODE", "PASSIVE_IR"))  # stated although there is no such track
    if "IR" in names:
        tags += _track_tags(config, "IR", "ACTIVE" if "DEPTH" in names else "PASSIVE")
    if "COLOR" in names and "IR" in names:
        tags.append(_fact("K4A_DEPTH_DELAY_NS", str(config.depth_delay_us * 1000)))
    tags.append(_fact("K4A_WIRED_SYNC_MODE", config.sync_mode))
    if config.sync_mode == "SUBORDINATE":
        tags.append(_fact("K4A_SUBORDINATE_DELAY_NS", str(config.subordinate_delay_us * 1000)))
    tags += [
        _fact("K4A_COLOR_FIRMWARE_VERSION", config.color_firmware),
        _fact("K4A_DEPTH_FIRMWARE_VERSION", config.depth_firmware),
        _fact("K4A_DEVICE_SERIAL_NUMBER", config.serial),
    ]
    attachment = _target("ATTACHMENT", Ids.TAG_ATTACHMENT_UID, element_uid(config, CALIBRATION_NAME))
    tags.append(_tag(attachment, "K4A_CALIBRATION_FILE", CALIBRATION_NAME))
    if config.has_imu:
        tags += _track_tags(config, "IMU", "ON")
    for track in config.custom_tracks:
        uid = element_uid(config, track.name)
        tags.append(_tag(_target("TRACK", Ids.TAG_TRACK_UID, uid), f"{CUSTOM_TAG}{track.name}", str(uid)))
    return encode_checked_master(Ids.TAGS, *tags, encode_start_tag(start_us))


def encode_start_tag(start_us: int) -> bytes:
    """The last tag. The SDK leaves room behind the tags and writes this one into it when the first image has come."""
    return _fact("K4A_START_OFFSET_NS", str(start_us * 1000))


def _track_tags(config: RecordingConfig, name: str, mode: str) -> list[bytes]:
    uid = element_uid(config, name)
    target = _target("TRACK", Ids.TAG_TRACK_UID, uid)
    return [_tag(target, f"K4A_{name}_TRACK", str(uid)), _tag(target, f"K4A_{name}_MODE", mode)]


def _fact(name: str, text: str) -> bytes:
    return _tag(encode_master(Ids.TARGETS), name, text)


def _target(kind: str, identifier: int, uid: int) -> bytes:
    return encode_master(Ids.TARGETS, encode_string(Ids.TARGET_TYPE, kind), encode_uint(identifier, uid))


def _tag(target: bytes, name: str, text: str) -> bytes:
    simple = encode_master(Ids.SIMPLE_TAG, encode_string(Ids.TAG_NAME, name), encode_string(Ids.TAG_STRING, text))
    return encode_master(Ids.TAG, target, simple)
