"""Azure Kinect recordings (MKV): reading them lazily, salvaging damaged ones; and the way to write them.

Opening a recording walks its clusters without reading a single image. Images are read and decoded
when a capture is asked for, in any order and from any thread. Times are device microseconds,
centre of exposure. The factory calibration is passed on as bytes (``k4a_calibration`` reads it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from anim_real.capture.ebml import is_intact, read_at
from anim_real.capture.k4a_format import (
    CALIBRATION_NAME,
    COLOR_FORMATS,
    DEPTH_SIZES,
    IMU_SAMPLE,
    RecordingConfig,
    RecordingInfo,
)
from anim_real.capture.k4a_images import decode_16_bit, decode_color
from anim_real.capture.k4a_writer import RecordingWriter
from anim_real.capture.mkv_index import Frame, MkvIndex, Track, read_index
from anim_real.errors import DataError, NotFoundError
from anim_real.files import require_file
from anim_real.take import RgbdFrame

__all__ = [
    "CaptureStamps",
    "ImuSamples",
    "Recording",
    "RecordingConfig",
    "RecordingInfo",
    "RecordingWriter",
    "open_recording",
]

_IMU_DTYPE = np.dtype([("acc_ns", "<u8"), ("acc", "<f4", 3), ("gyro_ns", "<u8"), ("gyro", "<f4", 3)])
_IMAGE_TRACKS = ("COLOR", "DEPTH", "IR")


@dataclass(frozen=True, kw_only=True, eq=False)
class CaptureStamps:
    """Device times of every capture, without decoding; -1 where the capture lacks the image.

    Attributes:
        index: (N,) int64 position in the recording.
        color_time_us, depth_time_us, ir_time_us: (N,) int64 microseconds, centre of exposure.
    """

    index: NDArray[np.int64]
    color_time_us: NDArray[np.int64]
    depth_time_us: NDArray[np.int64]
    ir_time_us: NDArray[np.int64]

    @property
    def time_us(self) -> NDArray[np.int64]:
        """(N,) the capture's time: depth's, else IR's, else colour's."""
        infrared = np.where(self.depth_time_us >= 0, self.depth_time_us, self.ir_time_us)
        return np.where(infrared >= 0, infrared, self.color_time_us)

    @property
    def is_complete(self) -> NDArray[np.bool_]:
        """(N,) whether the capture has both colour and depth."""
        return (self.color_time_us >= 0) & (self.depth_time_us >= 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImuSamples:
    """IMU samples: device times (N,) int64 µs, acceleration (N, 3) m/s² and rotation rate (N, 3) rad/s, float32."""

    acc_time_us: NDArray[np.int64]
    acc: NDArray[np.float32]
    gyro_time_us: NDArray[np.int64]
    gyro: NDArray[np.float32]


class _Capture(NamedTuple):
    """The frames of one capture; a missing part is None."""

    color: Frame | None
    depth: Frame | None
    ir: Frame | None


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
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = require_file(path, "recording").open("rb")
        try:
            self._index = read_index(self._stream.fileno(), path.stat().st_size, path)
            self._color_format = _check_tracks(self._index, path)
            self._start_us, start_source = self._start_offset()
            delay_us = int(self._index.tags.get("K4A_DEPTH_DELAY_NS") or 0) // 1000
            self._captures = _grouped(self._index, delay_us)
            if not self._captures:
                raise DataError("holds no image", where=path, fix="Record it again")
            self.info = self._describe(start_source, delay_us)
        except BaseException as error:
            self._stream.close()
            if isinstance(error, ValueError):
                raise DataError(f"a tag is not a number ({error})", where=path) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._captures)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    @property
    def calibration_json(self) -> bytes:
        """The factory calibration attached to the recording; ``NotFoundError`` if there is none."""
        place = self._calibration_place()
        if place is None:
            raise NotFoundError("has no factory calibration attached", where=self.path, fix="Copy it from the device")
        return self._read(Frame(0, *place)).rstrip(b"\0")

    def captures(self, *, decode_color: bool = True) -> Iterator[RgbdFrame]:
        """Yield every capture in time order, incomplete ones too; without colour when ``decode_color`` is off."""
        for index in range(len(self._captures)):
            yield self.capture(index, decode_color=decode_color)

    def capture(self, index: int, *, decode_color: bool = True) -> RgbdFrame:
        """Read and decode one capture. An image that is corrupt is None although its stamp is given.

        Raises:
            NotFoundError: there is no capture of that index.
        """
        if not 0 <= index < len(self._captures):
            raise NotFoundError(f"no capture {index}; there are {len(self._captures)}", where=self.path)
        color, depth, ir = self._captures[index]
        return RgbdFrame(
            index=index,
            color=self._decode_color(color) if decode_color else None,
            depth_mm=self._decode_16_bit(depth, "DEPTH"),
            ir=self._decode_16_bit(ir, "IR"),
            color_time_us=self._time_us(color),
            depth_time_us=self._time_us(depth or ir),
        )

    def color_payload(self, index: int) -> bytes | None:
        """The colour image of a capture as the device encoded it (a JPEG in most recordings), or None."""
        color = self._captures[index].color
        return None if color is None else self._read(color)

    def stamps(self) -> CaptureStamps:
        """Times of every capture, without reading images."""
        times = np.array(
            [[-1 if frame is None else self._time_us(frame) for frame in capture] for capture in self._captures],
            dtype=np.int64,
        )
        return CaptureStamps(
            index=np.arange(len(times)), color_time_us=times[:, 0], depth_time_us=times[:, 1], ir_time_us=times[:, 2]
        )

    def imu(self) -> ImuSamples:
        """Every IMU sample, timed by its own payload (demuxers give wrong times to laced samples)."""
        frames = [frame for frame in self._index.track_frames("IMU") if frame.size == IMU_SAMPLE.size]
        table = np.frombuffer(b"".join(self._read(frame) for frame in frames), dtype=_IMU_DTYPE)
        return ImuSamples(
            acc_time_us=(table["acc_ns"] // 1000).astype(np.int64),
            acc=table["acc"].copy(),
            gyro_time_us=(table["gyro_ns"] // 1000).astype(np.int64),
            gyro=table["gyro"].copy(),
        )

    def num_bad_clusters(self) -> int:
        """Count clusters whose checksum does not fit: their bytes changed since. Reads the whole file."""
        return sum(not is_intact(self._read(Frame(0, *place))) for place in self._index.clusters)

    def _read(self, frame: Frame) -> bytes:
        return read_at(self._stream.fileno(), frame.offset, frame.size)

    def _time_us(self, frame: Frame | None) -> int | None:
        return None if frame is None else frame.time_ns // 1000 + self._start_us

    def _start_offset(self) -> tuple[int, str]:
        """Device time of the segment's start, and where it was found."""
        text = self._index.tags.get("K4A_START_OFFSET_NS")
        imu = self._index.track_frames("IMU")
        is_doubtful = text is None or (int(text) == 0 and self._index.damage.is_unfinished)
        if is_doubtful and imu:  # an unfinished file: its first IMU block carries device time in its payload
            acc_ns = IMU_SAMPLE.unpack(self._read(imu[0]))[0]
            return (acc_ns - imu[0].time_ns) // 1000, "imu"
        return (0, "missing") if text is None else (int(text) // 1000, "tag")

    def _calibration_place(self) -> tuple[int, int] | None:
        name = self._index.tags.get("K4A_CALIBRATION_FILE", CALIBRATION_NAME)
        return self._index.attachments.get(name) or self._index.attachments.get(CALIBRATION_NAME)

    def _decode_color(self, frame: Frame | None) -> NDArray[np.uint8] | None:
        if frame is None:
            return None
        track = self._index.tracks["COLOR"]
        return decode_color(self._read(frame), self._color_format or "", track.width, track.height)

    def _decode_16_bit(self, frame: Frame | None, name: str) -> NDArray[np.uint16] | None:
        if frame is None:
            return None
        track = self._index.tracks[name]
        return decode_16_bit(self._read(frame), track.width, track.height)

    def _describe(self, start_source: str, delay_us: int) -> RecordingInfo:
        index, tags, damage = self._index, self._index.tags, self._index.damage
        color, depth = index.tracks.get("COLOR"), index.tracks.get("DEPTH") or index.tracks.get("IR")
        stamps = self.stamps()
        fps = _fps(color, depth)
        steps = np.rint(np.diff(stamps.time_us) * fps / 1e6).astype(int)
        last_ns = max(frame.time_ns for frames in index.frames.values() for frame in frames)
        return RecordingInfo(
            serial=tags.get("K4A_DEVICE_SERIAL_NUMBER", ""),
            color_firmware=tags.get("K4A_COLOR_FIRMWARE_VERSION", ""),
            depth_firmware=tags.get("K4A_DEPTH_FIRMWARE_VERSION", ""),
            color_mode=None if color is None else _color_mode(tags, color),
            color_format=self._color_format,
            color_size=None if color is None else (color.width, color.height),
            depth_mode=None if depth is None else _depth_mode(tags, depth),
            depth_size=None if depth is None else (depth.width, depth.height),
            fps=fps,
            sync_mode=tags.get("K4A_WIRED_SYNC_MODE", "STANDALONE"),
            depth_delay_us=delay_us,
            subordinate_delay_us=int(tags.get("K4A_SUBORDINATE_DELAY_NS") or 0) // 1000,
            start_offset_us=self._start_us,
            start_offset_source=start_source,
            length_us=last_ns // 1000,
            track_names=tuple(index.tracks),
            num_captures=len(self._captures),
            num_incomplete=int((~stamps.is_complete).sum()),
            num_dropped=int(np.maximum(steps - 1, 0).sum()),
            num_imu_samples=len(index.track_frames("IMU")),
            has_calibration=self._calibration_place() is not None,
            missing_bytes=damage.missing_bytes,
            skipped_bytes=damage.skipped_bytes,
            num_cut_frames=damage.num_cut_frames,
            is_unfinished=damage.is_unfinished,
        )


def _check_tracks(index: MkvIndex, path: Path) -> str | None:
    """Refuse what is not a k4a recording; return the colour format."""
    if not any(name in index.tracks for name in _IMAGE_TRACKS):
        raise DataError(
            f"is Matroska but not an Azure Kinect recording (tracks: {', '.join(index.tracks)})", where=path,
            fix="Give a file of k4arecorder, OrbbecViewer or simulate",
        )  # fmt: skip
    for name in _IMAGE_TRACKS:
        track = index.tracks.get(name)
        if track is not None and (track.width < 1 or track.height < 1 or track.period_ns < 1):
            raise DataError(f"track {name} states no image size or rate", where=path)
    if "COLOR" not in index.tracks:
        return None
    fourcc = index.tracks["COLOR"].codec_private[16:20].decode("ascii", errors="replace")
    if fourcc not in COLOR_FORMATS:
        raise DataError(
            f"colour format {fourcc!r} is not supported", where=path, fix=f"Record {', '.join(COLOR_FORMATS)}"
        )
    return fourcc


def _grouped(index: MkvIndex, depth_delay_us: int) -> list[_Capture]:
    """Group images into captures: those within half a frame period of the earliest, once the depth delay is removed."""
    queue: list[tuple[int, int, Frame]] = []
    for position, name in enumerate(_IMAGE_TRACKS):
        delay_ns = 0 if name == "COLOR" else depth_delay_us * 1000
        queue += [(frame.time_ns - delay_ns, position, frame) for frame in index.track_frames(name)]
    queue.sort()
    half_ns = max(index.tracks[name].period_ns for name in _IMAGE_TRACKS if name in index.tracks) / 2
    captures: list[_Capture] = []
    parts: dict[int, Frame] = {}
    begin_ns = 0
    for time_ns, position, frame in queue:
        if parts and (position in parts or time_ns - begin_ns >= half_ns):
            captures.append(_Capture(parts.get(0), parts.get(1), parts.get(2)))
            parts = {}
        if not parts:
            begin_ns = time_ns
        parts[position] = frame
    if parts:
        captures.append(_Capture(parts.get(0), parts.get(1), parts.get(2)))
    return captures


def _fps(color: Track | None, depth: Track | None) -> int:
    period_ns = max(track.period_ns for track in (color, depth) if track is not None)
    return round(1e9 / period_ns)


def _color_mode(tags: dict[str, str], track: Track) -> str:
    return tags.get("K4A_COLOR_MODE", "").rpartition("_")[2] or f"{track.height}P"


def _depth_mode(tags: dict[str, str], track: Track) -> str | None:
    stated = tags.get("K4A_DEPTH_MODE")
    if stated is None and "PASSIVE" in tags.get("K4A_IR_MODE", ""):
        return "PASSIVE_IR"
    by_size = {size: mode for mode, size in reversed(DEPTH_SIZES.items())}
    return stated or by_size.get((track.width, track.height))
