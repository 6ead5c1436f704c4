"""Writing true Azure Kinect recordings (MKV) without any SDK.

The layout is the SDK's: SeekHead, Info, Tracks, Attachments, Tags, clusters of at most 32 ms with
their checksums, Cues; microsecond time scale; depth and IR as big-endian 16 bit. Same input, same bytes.
"""

from __future__ import annotations

import struct
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.capture.ebml import (
    Ids,
    encode,
    encode_checked_master,
    encode_id,
    encode_master,
    encode_size,
    encode_string,
    encode_uint,
    encode_void,
)
from anim_real.capture.k4a_format import (
    CALIBRATION_NAME,
    CLUSTER_US,
    DEPTH_SIZES,
    IMU_SAMPLE,
    RecordingConfig,
)
from anim_real.capture.k4a_header import element_uid, encode_info, encode_tags, encode_track, track_names
from anim_real.errors import DataError
from anim_real.files import atomic_path

_REORDER_US = 1_000_000  # blocks wait this long for earlier ones
_SEEK_HEAD_BYTES = 160
_CUE_US = 1_000_000
_LACED_SAMPLES = 8
_KEYFRAME, _FIXED_LACING = 0x80, 0x04


class _Block(NamedTuple):
    """A frame that waits to be written; ``time_us`` is device time."""

    time_us: int
    track: int
    payload: bytes


class RecordingWriter:
    """Writes one recording; use it as a context manager. The file appears when the block ends without error.

    Stamps are device time in microseconds, centre of exposure. Blocks may come up to one second out
    of order. The start offset is the earliest stamp.
    """

    def __init__(self, path: Path, config: RecordingConfig, calibration_json: bytes) -> None:
        self._path = path
        self._config = config
        self._calibration = calibration_json
        self._numbers = {name: number for number, name in enumerate(track_names(config), start=1)}
        self._waiting: list[_Block] = []
        self._start_us: int | None = None
        self._latest_us = self._written_us = 0
        self._cues: list[tuple[int, int]] = []
        self._stack = ExitStack()
        self._stream: BinaryIO

    def __enter__(self) -> Self:
        partial = self._stack.enter_context(atomic_path(self._path))
        self._stream = self._stack.enter_context(partial.open("wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:  # publishes the file, or removes it when an error passes through
            if error is not None:
                raise error
            self._flush(everything=True)
            self._finish()
            self._stream.flush()

    def write_capture(
        self,
        color_jpeg: bytes | None = None,
        depth_mm: NDArray[np.uint16] | None = None,
        ir: NDArray[np.uint16] | None = None,
        color_time_us: int | None = None,
        depth_time_us: int | None = None,
    ) -> None:
        """Write one capture; parts that the device dropped are None.

        Args:
            color_jpeg: a JPEG image of the colour mode's size.
            depth_mm: (h, w) uint16 millimetres along z, 0 = no return.
            ir: (h, w) uint16.
            color_time_us: stamp of the colour image.
            depth_time_us: stamp of depth and IR.

        Raises:
            DataError: an image without stamp, of another size than the mode's, or of a track that is not there.
        """
        if color_jpeg is not None:
            if not color_jpeg.startswith(b"\xff\xd8"):
                raise DataError("the colour image is not a JPEG", where=self._path)
            self._push("COLOR", color_jpeg, color_time_us)
        for name, image in (("DEPTH", depth_mm), ("IR", ir)):
            if image is not None:
                self._push(name, self._encoded(name, image), depth_time_us)
        self._flush(everything=False)

    def write_imu(self, acc_time_us: int, acc: ArrayLike, gyro_time_us: int, gyro: ArrayLike) -> None:
        """Write one IMU sample: acceleration (3,) m/s² and rotation rate (3,) rad/s with their device times."""
        sample = IMU_SAMPLE.pack(
            int(acc_time_us) * 1000, *np.asarray(acc, float), int(gyro_time_us) * 1000, *np.asarray(gyro, float)
        )
        self._push("IMU", sample, acc_time_us)
        self._flush(everything=False)

    def _encoded(self, name: str, image: NDArray[np.uint16]) -> bytes:
        width, height = DEPTH_SIZES[self._config.depth_mode or "NFOV_UNBINNED"]
        if image.shape != (height, width) or image.dtype != np.uint16:
            raise DataError(
                f"{name} image is {image.dtype} {image.shape}, the mode needs uint16 {(height, width)}",
                where=self._path,
            )
        return image.astype(">u2").tobytes()

    def _push(self, name: str, payload: bytes, time_us: int | None) -> None:
        if name not in self._numbers:
            raise DataError(f"this recording has no {name} track", where=self._path)
        if time_us is None or time_us < 0:
            raise DataError(f"a {name} block needs a stamp of 0 µs or later, got {time_us}", where=self._path)
        if self._start_us is not None and time_us < self._written_us:
            raise DataError(f"{name} block at {time_us} µs comes more than a second late", where=self._path)
        self._waiting.append(_Block(int(time_us), self._numbers[name], payload))
        self._latest_us = max(self._latest_us, int(time_us))

    def _flush(self, *, everything: bool) -> None:
        """Write the clusters that no further block can belong to."""
        ready_us = self._latest_us + 1 if everything else self._latest_us - _REORDER_US
        if not everything and (not self._waiting or min(b.time_us for b in self._waiting) > ready_us - CLUSTER_US):
            return
        self._waiting.sort(key=lambda block: (block.time_us, block.track))
        if self._start_us is None:
            self._start_us = self._waiting[0].time_us if self._waiting else 0
            self._segment = self._write_header(self._start_us)
        while self._waiting and (everything or self._waiting[0].time_us <= ready_us - CLUSTER_US):
            end_us = self._waiting[0].time_us + CLUSTER_US
            cluster = [block for block in self._waiting if block.time_us < end_us]
            self._waiting = self._waiting[len(cluster) :]
            self._write_cluster(cluster, self._start_us)
            self._written_us = end_us

    def _write_cluster(self, blocks: list[_Block], start_us: int) -> None:
        base = blocks[0].time_us
        position = self._stream.tell() - self._segment
        if not self._cues or base - start_us - self._cues[-1][0] >= _CUE_US:
            self._cues.append((base - start_us, position))
        imu = self._numbers.get("IMU")
        parts = [encode_uint(Ids.TIMESTAMP, base - start_us)]
        samples = [block for block in blocks if block.track == imu]
        for at in range(0, len(samples), _LACED_SAMPLES):
            parts.append(_block_group(samples[at : at + _LACED_SAMPLES], base))
        for block in blocks:
            if block.track != imu:
                parts.append(encode(Ids.SIMPLE_BLOCK, _block_head(block, base, _KEYFRAME) + block.payload))
        self._stream.write(encode_checked_master(Ids.CLUSTER, *parts))

    def _write_header(self, start_us: int) -> int:
        """Write everything before the clusters; return the offset of the segment's content."""
        self._stream.write(
            encode_master(
                Ids.EBML,
                encode_uint(Ids.EBML_VERSION, 1),
                encode_uint(Ids.EBML_READ_VERSION, 1),
                encode_uint(Ids.EBML_MAX_ID_LENGTH, 4),
                encode_uint(Ids.EBML_MAX_SIZE_LENGTH, 8),
                encode_string(Ids.DOC_TYPE, "matroska"),
                encode_uint(Ids.DOC_TYPE_VERSION, 2),
                encode_uint(Ids.DOC_TYPE_READ_VERSION, 2),
            )
        )
        self._stream.write(encode_id(Ids.SEGMENT) + encode_size(None))
        segment = self._stream.tell()
        self._stream.write(encode_void(_SEEK_HEAD_BYTES))
        attached = encode_master(
            Ids.ATTACHED_FILE,
            encode_string(Ids.FILE_NAME, CALIBRATION_NAME),
            encode_string(Ids.FILE_MEDIA_TYPE, "application/octet-stream"),
            encode(Ids.FILE_DATA, self._calibration),
            encode_uint(Ids.FILE_UID, element_uid(self._config, CALIBRATION_NAME)),
        )
        self._positions: dict[int, int] = {}
        for identifier, payload in (
            (Ids.INFO, encode_info(0.0)),
            (Ids.TRACKS, b"".join(encode_track(self._config, name, number) for name, number in self._numbers.items())),
            (Ids.ATTACHMENTS, attached),
            (Ids.TAGS, encode_tags(self._config, start_us)),
        ):
            self._positions[identifier] = self._stream.tell() - segment
            self._stream.write(encode(identifier, payload))
        return segment

    def _finish(self) -> None:
        """Write the cues, then go back and close what only the end knows: index, duration, size."""
        assert self._start_us is not None
        self._positions[Ids.CUES] = self._stream.tell() - self._segment
        points = [
            encode_master(
                Ids.CUE_POINT,
                encode_uint(Ids.CUE_TIME, time),
                encode_master(
                    Ids.CUE_TRACK_POSITIONS,
                    encode_uint(Ids.CUE_TRACK, 1),
                    encode_uint(Ids.CUE_CLUSTER_POSITION, position),
                ),
            )
            for time, position in self._cues
        ]
        if points:
            self._stream.write(encode_master(Ids.CUES, *points))
        else:
            del self._positions[Ids.CUES]
        end = self._stream.tell()
        seeks = [
            encode_master(
                Ids.SEEK, encode(Ids.SEEK_ID, encode_id(identifier)), encode_uint(Ids.SEEK_POSITION, position)
            )
            for identifier, position in self._positions.items()
        ]
        seek_head = encode_master(Ids.SEEK_HEAD, *seeks)
        self._stream.seek(self._segment)
        self._stream.write(seek_head + encode_void(_SEEK_HEAD_BYTES - len(seek_head)))
        self._stream.seek(self._segment + self._positions[Ids.INFO])
        self._stream.write(encode(Ids.INFO, encode_info(float(max(0, self._latest_us - self._start_us)))))
        self._stream.seek(self._segment - 8)
        self._stream.write(encode_size(end - self._segment, 8))


def _block_head(block: _Block, base_us: int, flags: int) -> bytes:
    return encode_size(block.track) + struct.pack(">hB", block.time_us - base_us, flags)


def _block_group(samples: list[_Block], base_us: int) -> bytes:
    """IMU samples as one laced block, timed by its first sample."""
    is_laced = len(samples) > 1
    lace = bytes([len(samples) - 1]) if is_laced else b""
    head = _block_head(samples[0], base_us, _FIXED_LACING if is_laced else 0)
    return encode_master(
        Ids.BLOCK_GROUP,
        encode(Ids.BLOCK, head + lace + b"".join(sample.payload for sample in samples)),
        encode_uint(Ids.BLOCK_DURATION, samples[-1].time_us - samples[0].time_us + 1),
    )
