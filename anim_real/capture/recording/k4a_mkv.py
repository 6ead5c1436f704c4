"""Azure Kinect recordings (MKV): reading them lazily, salvaging damaged ones; and the way to write them.

Opening a recording walks its headers without reading a single image. Images are read and decoded
when a capture is asked for, in any order and from any thread; going through a take of any length
needs the memory of one capture. Times are device microseconds, centre of exposure. The factory
calibration is passed on as bytes (``k4a_calibration`` reads it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from anim_real.capture.recording.ebml import is_intact, read_at
from anim_real.capture.recording.k4a_captures import CaptureStamps, ImageTable, group_captures
from anim_real.capture.recording.k4a_format import IMU_SAMPLE, CustomTrack, RecordingConfig
from anim_real.capture.recording.k4a_images import decode_16_bit, decode_color, max_image_bytes
from anim_real.capture.recording.k4a_info import RecordingInfo
from anim_real.capture.recording.k4a_tracks import IMAGE_NAMES, MAX_OFFSET_US, K4aTracks, describe, find_tracks
from anim_real.capture.recording.k4a_writer import RecordingWriter
from anim_real.capture.recording.mkv_blocks import FrameTable
from anim_real.capture.recording.mkv_index import read_index
from anim_real.capture.recording.mkv_metadata import Track
from anim_real.errors import DataError, NotFoundError
from anim_real.files import require_file
from anim_real.take import RgbdFrame

__all__ = [
    "CaptureStamps",
    "CustomTrack",
    "ImuSamples",
    "Recording",
    "RecordingConfig",
    "RecordingInfo",
    "RecordingWriter",
    "open_recording",
]

_IMU_DTYPE = np.dtype([("acc_ns", "<u8"), ("acc", "<f4", 3), ("gyro_ns", "<u8"), ("gyro", "<f4", 3)])
_MAX_IMU_BYTES = 1 << 20  # of one block: more is damage
_MAX_CUSTOM_BYTES = 1 << 28
_MAX_CALIBRATION_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True, eq=False)
class ImuSamples:
    """IMU samples: device times (N,) int64 µs, acceleration (N, 3) m/s² and rotation rate (N, 3) rad/s, float32."""

    acc_time_us: NDArray[np.int64]
    acc: NDArray[np.float32]
    gyro_time_us: NDArray[np.int64]
    gyro: NDArray[np.float32]


def open_recording(path: Path) -> Recording:
    """Open a recording and index it.

    Raises:
        NotFoundError: no such file.
        DataError: it is not a k4a recording, or holds no image.
    """
    return Recording(path)


class Recording:
    """An opened recording. Close it, or use it as a context manager.

    Attributes:
        path: the file.
        info: what it states and holds, see ``RecordingInfo``.
        tags: every tag's name and text; of tags with one name the first, as the SDK takes it.
        custom_tracks: name -> entry of every track that is not the cameras' or the IMU's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = require_file(path, "recording").open("rb")
        try:
            self._index = read_index(self._stream.fileno(), path.stat().st_size, path)
            self._tracks: K4aTracks = find_tracks(self._index, path)
            self._start_us, start_source = self._start_offset()
            tables = tuple(ImageTable.of(self._index.track_frames(self._tracks.image(name))) for name in IMAGE_NAMES)
            self._tables: tuple[ImageTable, ImageTable, ImageTable] = (tables[0], tables[1], tables[2])
            self._rows = group_captures(self._tables, self._tracks.depth_delay_us * 1000, self._tracks.period_ns)
            if not len(self._rows):
                raise DataError("holds no image", where=path, fix="Record it again")
            self.tags = {tag.name: tag.text for tag in reversed(self._index.tags)}
            self.custom_tracks: dict[str, Track] = {track.name: track for track in self._tracks.custom}
            self.info = describe(self._index, self._tracks, self._tables, self.stamps(), self._start_us, start_source)
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    @property
    def calibration_json(self) -> bytes:
        """The factory calibration attached to the recording; ``NotFoundError`` if there is none."""
        attached = self._tracks.calibration
        if attached is None:
            raise NotFoundError("has no factory calibration attached", where=self.path, fix="Copy it from the device")
        return self._read(attached.offset, min(attached.size, _MAX_CALIBRATION_BYTES)).rstrip(b"\0")

    def captures(self, *, start: int = 0, stop: int | None = None, decode_color: bool = True) -> Iterator[RgbdFrame]:
        """Yield captures in time order, incomplete ones too.

        Args:
            start: the first index, as in a slice.
            stop: the one behind the last; the end by default.
            decode_color: off leaves the colour image unread.
        """
        for index in range(*slice(start, stop).indices(len(self))):
            yield self.capture(index, decode_color=decode_color)

    def capture(self, index: int, *, decode_color: bool = True) -> RgbdFrame:
        """Read and decode one capture. An image that is corrupt is None although its stamp is given.

        Raises:
            NotFoundError: there is no capture of that index.
        """
        if not 0 <= index < len(self):
            raise NotFoundError(f"no capture {index}; there are {len(self)}", where=self.path)
        color_us, depth_us, ir_us = (self._time_us(index, position) for position in range(3))
        return RgbdFrame(
            index=index,
            color=self._color(index) if decode_color else None,
            depth_mm=self._image_16_bit(index, 1),
            ir=self._image_16_bit(index, 2),
            color_time_us=color_us,
            depth_time_us=ir_us if depth_us is None else depth_us,
        )

    def index_at(self, time_us: int, *, how: Literal["nearest", "at or after"] = "nearest") -> int:
        """Index of the capture at a device time, found without reading any image.

        Raises:
            NotFoundError: every capture is before ``time_us``, asked for one at or after it.
        """
        times = self.stamps().time_us
        if how == "nearest":
            return int(np.abs(times - time_us).argmin())
        later = np.flatnonzero(times >= time_us)
        if not len(later):
            raise NotFoundError(f"no capture at or after {time_us} µs; the last is at {times.max()}", where=self.path)
        return int(later[0])

    def seek(self, time_us: int, *, decode_color: bool = True) -> Iterator[RgbdFrame]:
        """Yield captures from the first one at or after a device time on; none if all are before."""
        if (self.stamps().time_us >= time_us).any():
            yield from self.captures(start=self.index_at(time_us, how="at or after"), decode_color=decode_color)

    def color_payload(self, index: int) -> bytes | None:
        """The colour image of a capture as the device encoded it (a JPEG in most recordings), or None."""
        return self._payload(index, 0)

    def stamps(self) -> CaptureStamps:
        """Times of every capture, without reading images."""
        times = [
            np.where(rows >= 0, np.append(table.blocks.time_ns, 0)[rows] // 1000 + self._start_us, -1)
            for table, rows in zip(self._tables, self._rows.T, strict=True)
        ]
        return CaptureStamps(
            index=np.arange(len(self)), color_time_us=times[0], depth_time_us=times[1], ir_time_us=times[2]
        )

    def imu(self) -> ImuSamples:
        """Every IMU sample, timed by its own payload (demuxers give wrong times to laced samples)."""
        blocks = self._index.track_frames(self._tracks.imu)
        is_whole = (blocks.size == IMU_SAMPLE.size) & (blocks.count <= _MAX_IMU_BYTES // IMU_SAMPLE.size)
        places = zip(blocks.offset[is_whole].tolist(), blocks.count[is_whole].tolist(), strict=True)
        payloads = (self._read(offset, count * IMU_SAMPLE.size) for offset, count in places)
        table = np.frombuffer(b"".join(p for p in payloads if len(p) % IMU_SAMPLE.size == 0), dtype=_IMU_DTYPE)
        return ImuSamples(
            acc_time_us=(table["acc_ns"] // 1000).astype(np.int64),
            acc=table["acc"].copy(),
            gyro_time_us=(table["gyro_ns"] // 1000).astype(np.int64),
            gyro=table["gyro"].copy(),
        )

    def custom_frames(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Yield (device time in µs, bytes) of a custom track, such as a trigger log, in file order.

        Raises:
            NotFoundError: there is no custom track of that name.
        """
        for time_ns, offset, size in self._custom_blocks(name).frames():
            if size > _MAX_CUSTOM_BYTES:
                raise DataError(f"a frame of track {name} announces {size} bytes: it is damaged", where=self.path)
            yield time_ns // 1000 + self._start_us, self._read(offset, size)

    def num_custom_frames(self, name: str) -> int:
        """Frames of a custom track; ``NotFoundError`` if there is no track of that name."""
        return self._custom_blocks(name).num_frames

    def num_bad_clusters(self) -> int:
        """Count clusters whose checksum does not fit: their bytes changed since. Reads the whole file."""
        return sum(not is_intact(self._stream.fileno(), *place) for place in self._index.clusters)

    def _custom_blocks(self, name: str) -> FrameTable:
        if name not in self.custom_tracks:
            known = ", ".join(self.custom_tracks) or "none"
            raise NotFoundError(f"no custom track {name!r}; there are: {known}", where=self.path)
        return self._index.track_frames(self.custom_tracks[name])

    def _read(self, offset: int, size: int) -> bytes:
        return read_at(self._stream.fileno(), offset, size)

    def _payload(self, index: int, position: int) -> bytes | None:
        """The bytes of a capture's image in track ``position``; None if it has none, or an impossible size."""
        row = int(self._rows[index, position])
        track = self._tracks.image(IMAGE_NAMES[position])
        if row < 0 or track is None:
            return None
        blocks = self._tables[position].blocks
        size = int(blocks.size[row])
        if size > max_image_bytes(self._tracks.image_format(IMAGE_NAMES[position]), track.width, track.height):
            return None
        return self._read(int(blocks.offset[row]), size)

    def _time_us(self, index: int, position: int) -> int | None:
        row = int(self._rows[index, position])
        return None if row < 0 else int(self._tables[position].blocks.time_ns[row]) // 1000 + self._start_us

    def _color(self, index: int) -> NDArray[np.uint8] | None:
        payload, track = self._payload(index, 0), self._tracks.color
        if payload is None or track is None:
            return None
        return decode_color(payload, self._tracks.image_format("COLOR"), track.width, track.height)

    def _image_16_bit(self, index: int, position: int) -> NDArray[np.uint16] | None:
        name = IMAGE_NAMES[position]
        payload, track = self._payload(index, position), self._tracks.image(name)
        if payload is None or track is None:
            return None
        return decode_16_bit(payload, track.width, track.height, self._tracks.image_format(name))

    def _start_offset(self) -> tuple[int, str]:
        """Device time of the segment's start, and where it was found."""
        start_us = self._tracks.start_offset_us
        if start_us is not None and (start_us or not self._index.damage.is_unfinished):
            return start_us, "tag"
        imu = self._index.track_frames(self._tracks.imu)
        first = np.flatnonzero(imu.size == IMU_SAMPLE.size)[:1]
        if len(first):  # an unfinished file: its first IMU block carries device time in its payload
            payload = self._read(int(imu.offset[first[0]]), IMU_SAMPLE.size)
            if len(payload) == IMU_SAMPLE.size:
                acc_ns = IMU_SAMPLE.unpack(payload)[0]
                start_us = (acc_ns - int(imu.time_ns[first[0]])) // 1000
                if 0 <= start_us < MAX_OFFSET_US:
                    return start_us, "imu"
        return 0, "missing"
