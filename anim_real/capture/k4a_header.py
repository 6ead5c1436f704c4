"""What stands before the images of a recording that we write: info, track entries and tags, as bytes."""

from __future__ import annotations

import hashlib
import struct

from anim_real import __version__
from anim_real.capture.ebml import Ids, encode, encode_float, encode_master, encode_string, encode_uint
from anim_real.capture.k4a_format import (
    CALIBRATION_NAME,
    COLOR_SIZES,
    DEPTH_SIZES,
    IMU_CODEC,
    TIMESTAMP_SCALE_NS,
    VIDEO_CODEC,
    RecordingConfig,
)


def track_names(config: RecordingConfig) -> tuple[str, ...]:
    """Names of the tracks a recording of this configuration has, in order."""
    names = [] if config.color_mode is None else ["COLOR"]
    if config.depth_mode is not None:
        names += ["IR"] if config.depth_mode == "PASSIVE_IR" else ["DEPTH", "IR"]
    return (*names, "IMU") if config.has_imu else tuple(names)


def element_uid(config: RecordingConfig, name: str) -> int:
    """A UID that is the same for the same device and track: writing twice gives the same bytes."""
    digest = hashlib.sha256(f"{config.serial}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 4 | 1


def encode_info(duration_us: float) -> bytes:
    """Payload of the Info element; its length does not depend on the duration."""
    return b"".join(
        (
            encode_uint(Ids.TIMESTAMP_SCALE, TIMESTAMP_SCALE_NS),
            encode_string(Ids.MUXING_APP, f"anim-real-{__version__}"),
            encode_string(Ids.WRITING_APP, f"anim-real-{__version__}"),
            encode_string(Ids.TITLE, "Azure Kinect"),
            encode_float(Ids.DURATION, duration_us),
        )
    )


def encode_track(config: RecordingConfig, name: str, number: int) -> bytes:
    """Bytes of one track entry; images carry a BITMAPINFOHEADER with their FourCC."""
    common = [
        encode_uint(Ids.TRACK_NUMBER, number),
        encode_uint(Ids.TRACK_UID, element_uid(config, name)),
        encode_uint(Ids.TRACK_TYPE, 17 if name == "IMU" else 1),
        encode_string(Ids.CODEC_ID, IMU_CODEC if name == "IMU" else VIDEO_CODEC),
        encode_string(Ids.TRACK_NAME, name),
    ]
    if name == "IMU":
        return encode_master(Ids.TRACK_ENTRY, *common)
    if name == "COLOR":
        (width, height), fourcc, bits, size = COLOR_SIZES[config.color_mode or ""], b"MJPG", 24, 0
    else:
        (width, height), fourcc, bits = DEPTH_SIZES[config.depth_mode or ""], b"b16g", 16
        size = 2 * width * height
    bitmap_header = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, bits, fourcc, size, 0, 0, 0, 0)
    return encode_master(
        Ids.TRACK_ENTRY,
        *common,
        encode(Ids.CODEC_PRIVATE, bitmap_header),
        encode_uint(Ids.DEFAULT_DURATION, 1_000_000_000 // config.fps),
        encode_master(Ids.VIDEO, encode_uint(Ids.PIXEL_WIDTH, width), encode_uint(Ids.PIXEL_HEIGHT, height)),
    )


def encode_tags(config: RecordingConfig, start_us: int) -> bytes:
    """Payload of the Tags element: modes by track, facts of the device, name of the calibration."""
    modes = {
        "COLOR": f"MJPG_{config.color_mode}",
        "DEPTH": str(config.depth_mode),
        "IR": "PASSIVE" if config.depth_mode == "PASSIVE_IR" else "ACTIVE",
        "IMU": "ON",
    }
    tags = []
    for name in track_names(config):
        uid = element_uid(config, name)
        target = encode_master(
            Ids.TARGETS, encode_string(Ids.TARGET_TYPE, "TRACK"), encode_uint(Ids.TAG_TRACK_UID, uid)
        )
        tags += [_tag(target, f"K4A_{name}_TRACK", str(uid)), _tag(target, f"K4A_{name}_MODE", modes[name])]
    whole = encode_master(Ids.TARGETS)
    facts = {
        "K4A_DEPTH_DELAY_NS": str(config.depth_delay_us * 1000),
        "K4A_WIRED_SYNC_MODE": config.sync_mode,
        "K4A_COLOR_FIRMWARE_VERSION": config.color_firmware,
        "K4A_DEPTH_FIRMWARE_VERSION": config.depth_firmware,
        "K4A_DEVICE_SERIAL_NUMBER": config.serial,
        "K4A_START_OFFSET_NS": str(start_us * 1000),
    }
    if config.sync_mode == "SUBORDINATE":
        facts["K4A_SUBORDINATE_DELAY_NS"] = str(config.subordinate_delay_us * 1000)
    tags += [_tag(whole, name, text) for name, text in facts.items()]
    attachment = encode_master(
        Ids.TARGETS,
        encode_string(Ids.TARGET_TYPE, "ATTACHMENT"),
        encode_uint(Ids.TAG_ATTACHMENT_UID, element_uid(config, CALIBRATION_NAME)),
    )
    return b"".join([*tags, _tag(attachment, "K4A_CALIBRATION_FILE", CALIBRATION_NAME)])


def _tag(target: bytes, name: str, text: str) -> bytes:
    simple = encode_master(Ids.SIMPLE_TAG, encode_string(Ids.TAG_NAME, name), encode_string(Ids.TAG_STRING, text))
    return encode_master(Ids.TAG, target, simple)
