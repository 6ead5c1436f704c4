"""Recordings put together byte by byte, of layouts that the writer never makes; nothing of the writer is used."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from anim_real.capture.recording.ebml import (
    Ids,
    encode,
    encode_checked_master,
    encode_id,
    encode_master,
    encode_size,
    encode_string,
    encode_uint,
)

IMU = struct.Struct("<Q3fQ3f")
HEAD = encode_master(
    Ids.EBML, encode_string(Ids.DOC_TYPE, "matroska"), encode_uint(Ids.DOC_TYPE_VERSION, 2),
    encode_uint(Ids.DOC_TYPE_READ_VERSION, 2),
)  # fmt: skip
INFO = encode_master(
    Ids.INFO, encode_uint(Ids.TIMESTAMP_SCALE, 1000), encode_string(Ids.WRITING_APP, "k4arecord-1.4.1")
)


@dataclass(frozen=True, kw_only=True)
class TrackBytes:
    """A track to write: what its entry says."""

    number: int
    name: str
    uid: int = 0
    kind: int = 1
    codec_id: str = "V_MS/VFW/FOURCC"
    fourcc: str = ""
    private: bytes = b""
    size: tuple[int, int] = (0, 0)
    fps: int = 0

    def encode(self) -> bytes:
        """The track entry."""
        private = self.private
        if self.fourcc:
            header = struct.pack("<IiiHH4sIiiII", 40, *self.size, 1, 16, self.fourcc.encode(), 0, 0, 0, 0, 0)
            private = header
        parts = [
            encode_uint(Ids.TRACK_NUMBER, self.number), encode_uint(Ids.TRACK_UID, self.uid or self.number * 1000 + 7),
            encode_uint(Ids.TRACK_TYPE, self.kind), encode_string(Ids.CODEC_ID, self.codec_id),
            encode_string(Ids.TRACK_NAME, self.name),
        ]  # fmt: skip
        if private:
            parts.append(encode(Ids.CODEC_PRIVATE, private))
        if self.fps:
            parts.append(encode_uint(Ids.DEFAULT_DURATION, 1_000_000_000 // self.fps))
        if self.size != (0, 0):
            sides = encode_uint(Ids.PIXEL_WIDTH, self.size[0]), encode_uint(Ids.PIXEL_HEIGHT, self.size[1])
            parts.append(encode_master(Ids.VIDEO, *sides))
        return encode_master(Ids.TRACK_ENTRY, *parts)


COLOR = TrackBytes(number=1, name="COLOR", fourcc="BGRA", size=(8, 6), fps=30)
DEPTH = TrackBytes(number=2, name="DEPTH", fourcc="b16g", size=(4, 4), fps=30)
IR = TrackBytes(number=3, name="IR", fourcc="b16g", size=(4, 4), fps=30)
INERTIAL = TrackBytes(number=4, name="IMU", kind=17, codec_id="S_K4A/IMU")
TRACKS = (COLOR, DEPTH, IR, INERTIAL)


def tag(name: str, text: str, *, track_uid: int = 0) -> bytes:
    """One tag, of the whole file or of a track."""
    targets = []
    if track_uid:
        targets = [encode_string(Ids.TARGET_TYPE, "TRACK"), encode_uint(Ids.TAG_TRACK_UID, track_uid)]
    simple = encode_master(Ids.SIMPLE_TAG, encode_string(Ids.TAG_NAME, name), encode_string(Ids.TAG_STRING, text))
    return encode_master(Ids.TAG, encode_master(Ids.TARGETS, *targets), simple)


def block(track: int, ticks: int, payload: bytes) -> bytes:
    """A simple block of one frame."""
    return encode(Ids.SIMPLE_BLOCK, encode_size(track) + struct.pack(">hB", ticks, 0x80) + payload)


def laced(track: int, ticks: int, payloads: list[bytes], duration: int) -> bytes:
    """A block group of frames of one size, with its duration."""
    head = encode_size(track) + struct.pack(">hBB", ticks, 0x04, len(payloads) - 1)
    return encode_master(
        Ids.BLOCK_GROUP, encode(Ids.BLOCK, head + b"".join(payloads)), encode_uint(Ids.BLOCK_DURATION, duration)
    )


def cluster(time: int, *blocks: bytes) -> bytes:
    """A cluster with its checksum."""
    return encode_checked_master(Ids.CLUSTER, encode_uint(Ids.TIMESTAMP, time), *blocks)


@dataclass(frozen=True, kw_only=True)
class RecordingBytes:
    """The parts of a recording; ``encode`` puts them together, and ``seek_head`` points to the metadata."""

    tracks: tuple[TrackBytes, ...] = TRACKS
    tags: dict[str, str] = field(default_factory=lambda: {"K4A_START_OFFSET_NS": "1000000000"})
    more_tags: bytes = b""
    info: bytes = INFO
    attachments: dict[str, bytes] = field(default_factory=dict)
    clusters: tuple[bytes, ...] = ()
    has_seek_head: bool = False
    is_closed: bool = True

    def encode(self) -> bytes:
        """The whole file."""
        tags = b"".join(tag(name, text) for name, text in self.tags.items()) + self.more_tags
        parts = {
            Ids.INFO: self.info,
            Ids.TRACKS: encode_master(Ids.TRACKS, *(track.encode() for track in self.tracks)),
            Ids.ATTACHMENTS: encode_master(
                Ids.ATTACHMENTS,
                *(
                    encode_master(
                        Ids.ATTACHED_FILE, encode_string(Ids.FILE_NAME, name), encode(Ids.FILE_DATA, content),
                        encode_uint(Ids.FILE_UID, 77 + number),
                    )
                    for number, (name, content) in enumerate(self.attachments.items())
                ),
            ),
            Ids.TAGS: encode_master(Ids.TAGS, tags),
        }  # fmt: skip
        head = self._seek_head(parts) if self.has_seek_head else b""
        content = head + b"".join(parts.values()) + b"".join(self.clusters)
        return HEAD + encode_id(Ids.SEGMENT) + encode_size(len(content) if self.is_closed else None, 8) + content

    def _seek_head(self, parts: dict[int, bytes]) -> bytes:
        def encoded(start: int) -> bytes:
            seeks, offset = [], start
            for identifier, part in parts.items():
                place = encode(Ids.SEEK_ID, encode_id(identifier)), encode_uint(Ids.SEEK_POSITION, offset, 4)
                seeks.append(encode_master(Ids.SEEK, *place))
                offset += len(part)
            return encode_master(Ids.SEEK_HEAD, *seeks)

        return encoded(len(encoded(0)))


def color_image(index: int) -> np.ndarray:
    """A (6, 8, 4) BGRA image that differs for every index."""
    return ((np.arange(192).reshape(6, 8, 4) * 7 + index * 31) % 256).astype(np.uint8)


def depth_image(index: int) -> np.ndarray:
    """A (4, 4) depth image with both bytes of every pixel in use."""
    return ((np.arange(16).reshape(4, 4) * 4099 + index * 257 + 500) % 65536).astype(np.uint16)


def capture_cluster(index: int, time: int, *, imu: int = 2) -> bytes:
    """A cluster that holds one capture and a lace of IMU samples; ``time`` in µs since the start."""
    depth = depth_image(index).astype(">u2").tobytes()
    infrared = depth_image(index + 100).astype(">u2").tobytes()
    samples = [IMU.pack(*_sample(1_000_000 + time + number * 600)) for number in range(imu)]
    blocks = [block(1, 37, color_image(index).tobytes()), block(2, 0, depth), block(3, 0, infrared)]
    return cluster(time, *([laced(4, 0, samples, (imu - 1) * 600 + 1)] if samples else []), *blocks)


def small_recording(num_captures: int = 8, *, period_us: int = 33_333) -> RecordingBytes:
    """A recording of tiny images: 8x6 BGRA colour, 4x4 depth and IR, IMU; device time starts at one second."""
    return RecordingBytes(
        tags={
            "K4A_DEVICE_SERIAL_NUMBER": "000123456789", "K4A_START_OFFSET_NS": "1000000000",
            "K4A_DEPTH_DELAY_NS": "0", "K4A_WIRED_SYNC_MODE": "STANDALONE",
        },
        attachments={"calibration.json": b'{"made":"for a test"}'},
        clusters=tuple(capture_cluster(index, index * period_us) for index in range(num_captures)),
        has_seek_head=True,
    )  # fmt: skip


def _sample(time_us: int) -> tuple[float, ...]:
    return (time_us * 1000, 0.5, -0.25, -9.75, time_us * 1000 + 11_000, 0.125, 0.0, -0.125)
