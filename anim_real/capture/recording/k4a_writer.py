"""Writing true Azure Kinect recordings (MKV) without any SDK, from simulation or from a live camera.

The layout is the SDK's, element by element: SeekHead, Info, Tracks, Attachments, Tags, clusters of at most
32 ms with their checksums, Cues; microsecond time scale; depth and IR as big-endian 16 bit. Same input, same
bytes. Memory holds what waits for earlier blocks: one second, at most 256 MiB.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from anim_real.capture.recording.k4a_blocks import BlockQueue, Part, encode_blocks
from anim_real.capture.recording.k4a_format import COLOR_SIZES, DEPTH_SIZES, IMU_SAMPLE, RecordingConfig
from anim_real.capture.recording.k4a_header import (
    EPOCH,
    encode_attachments,
    encode_info,
    encode_start_tag,
    encode_tags,
    encode_tracks,
    track_names,
)
from anim_real.capture.recording.k4a_images import image_bytes
from anim_real.capture.recording.mkv_output import DiskSync, SegmentFile, kept_path
from anim_real.errors import FULL_DISK, DataError, NoSpaceError
from anim_real.files import atomic_path

Vector = Sequence[float] | NDArray[np.floating]


class RecordingWriter:
    """Writes one recording; use it as a context manager. The file appears when the block ends without error.

    Stamps are device time in microseconds, centre of exposure. Blocks may come up to one second out
    of order (less where more than 256 MiB would wait). The start offset is the earliest stamp.

    Args:
        path: the file.
        config: what the device was set to.
        calibration_json: the factory calibration, attached as it is.
        date: when it was recorded, time zone given; a fixed day unless given, so that the same input gives
            the same bytes.
        keep_on_error: for live cameras. The file grows under ``partial_path(path)``. An error or an interrupt
            inside the block still closes and publishes what has come; a full disk does so at the last whole
            cluster and raises ``NoSpaceError``; after a kill the partial file stays and can be read. Blocks
            that come too late are counted in ``num_late`` and left out, not refused. Nothing is overwritten.

    Attributes:
        num_late: blocks left out because what follows them was written already.
    """

    def __init__(
        self, path: Path, config: RecordingConfig, calibration_json: bytes, *,
        date: datetime = EPOCH, keep_on_error: bool = False,
    ) -> None:  # fmt: skip
        self.num_late = 0
        self._path = path
        self._config = config
        self._calibration = calibration_json
        self._date = date
        self._is_kept = keep_on_error
        self._numbers = {name: number for number, name in enumerate(track_names(config), start=1)}
        self._queue = BlockQueue()
        self._start_us: int | None = None
        self._last_us = 0
        self._full_disk: NoSpaceError | None = None
        self._stack = ExitStack()
        self._file: SegmentFile
        self._sync: DiskSync | None = None

    def __enter__(self) -> Self:
        stack = ExitStack()
        with stack:
            partial = stack.enter_context((kept_path if self._is_kept else atomic_path)(self._path))
            stream = stack.enter_context(partial.open("wb", buffering=0))
            self._partial = partial
            self._file = SegmentFile(stream)
            if self._is_kept:
                self._sync = DiskSync(stream.fileno())
                stack.callback(self._sync.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._full_disk is not None:
            return  # closed already
        with self._stack:  # publishes the file; otherwise removes it, or leaves the partial one, when an error passes
            if error is None:
                self._close()
            elif not self._is_kept:
                raise error
            elif self._queue or self._file.is_begun:
                self._file.drop_unfinished()
                self._close()
            else:
                self._partial.unlink()
        if self._full_disk is not None:
            raise self._full_disk

    def write_capture(
        self,
        color: bytes | None = None,
        depth_mm: NDArray[np.uint16] | None = None,
        ir: NDArray[np.uint16] | None = None,
        color_time_us: int | None = None,
        depth_time_us: int | None = None,
    ) -> None:
        """Write one capture; parts that the device dropped are None.

        Args:
            color: an image of the colour mode's size in the configuration's format: a JPEG, or raw bytes.
            depth_mm: (h, w) uint16 millimetres along z, 0 = no return.
            ir: (h, w) uint16.
            color_time_us: stamp of the colour image.
            depth_time_us: stamp of depth and IR.

        Raises:
            DataError: an image without stamp, of another size than the mode's, or of a track that is not there.
            NoSpaceError: the disk is full.
        """
        parts: list[tuple[str, Part, int | None]] = []
        if color is not None:
            parts.append(("COLOR", self._checked_color(color), color_time_us))
        for name, image in (("DEPTH", depth_mm), ("IR", ir)):
            if image is not None:
                parts.append((name, self._big_endian(name, image), depth_time_us))
        self._write(*parts)

    def write_imu(self, acc_time_us: int, acc: Vector, gyro_time_us: int, gyro: Vector) -> None:
        """Write one IMU sample: acceleration (3,) m/s² and rotation rate (3,) rad/s with their device times."""
        sample = IMU_SAMPLE.pack(int(acc_time_us) * 1000, *acc, int(gyro_time_us) * 1000, *gyro)
        self._write(("IMU", sample, acc_time_us))

    def write_custom(self, name: str, time_us: int, payload: bytes) -> None:
        """Write a block of the custom track called ``name``, at device time ``time_us``."""
        if name not in {track.name for track in self._config.custom_tracks}:
            raise DataError(f"this recording has no custom track {name}", where=self._path)
        self._write((name, bytes(payload), time_us))

    def _checked_color(self, color: bytes) -> bytes:
        config = self._config
        if config.color_format == "MJPG" and not color.startswith(b"\xff\xd8"):
            raise DataError("the colour image is not a JPEG", where=self._path)
        needed = image_bytes(config.color_format, *COLOR_SIZES[config.color_mode or "720P"])
        if needed and len(color) != needed:
            raise DataError(
                f"the colour image has {len(color)} bytes; {config.color_format} {config.color_mode} has {needed}",
                where=self._path,
            )
        return bytes(color)

    def _big_endian(self, name: str, image: NDArray[np.uint16]) -> memoryview:
        width, height = DEPTH_SIZES[self._config.depth_mode or "NFOV_UNBINNED"]
        if image.shape != (height, width) or image.dtype != np.uint16:
            raise DataError(
                f"{name} image is {image.dtype} {image.shape}, the mode needs uint16 {(height, width)}",
                where=self._path,
            )
        return image.astype(">u2", order="C").view(np.uint8).reshape(-1).data

    def _write(self, *parts: tuple[str, Part, int | None]) -> None:
        """Queue blocks of (track, payload, stamp), all or none, and write the clusters that are complete."""
        if self._full_disk is not None:
            raise self._full_disk
        for name, _, time_us in parts:
            if name not in self._numbers:
                raise DataError(f"this recording has no {name} track", where=self._path)
            if time_us is None or time_us < 0:
                raise DataError(f"a {name} block needs a stamp of 0 µs or later, got {time_us}", where=self._path)
            if time_us < self._queue.written_us and not self._is_kept:
                raise DataError(
                    f"{name} block at {time_us} µs comes more than a second late, or behind 256 MiB of later images",
                    where=self._path,
                )
        for name, payload, time_us in parts:
            assert time_us is not None
            if time_us < self._queue.written_us:
                self.num_late += 1
            else:
                self._queue.push(int(time_us), self._numbers[name], payload)
        self._flush()

    def _flush(self) -> None:
        """Write the clusters that no further block can belong to."""
        try:
            while self._queue.is_ready():
                self._write_cluster()
        except OSError as error:
            if not self._is_kept or error.errno not in FULL_DISK:
                raise
            with self._stack:
                self._file.drop_unfinished()
                self._close_full()
            assert self._full_disk is not None
            raise self._full_disk from error

    def _write_cluster(self) -> None:
        blocks = self._queue.next_cluster()
        start_us = self._begin(blocks[0].time_us)
        cue_us = next((block.time_us - start_us for block in blocks if block.track == 1), None)
        parts = encode_blocks(blocks, self._numbers.get("IMU"))
        self._file.write_cluster(blocks[0].time_us - start_us, parts, cue_us)
        self._last_us = blocks[-1].time_us
        self._queue.cluster_written()
        if self._sync is not None:
            self._sync.poke()

    def _begin(self, start_us: int) -> int:
        """Write the head, once; return the device time of the segment's start."""
        if self._start_us is None or not self._file.is_begun:
            self._start_us = start_us
            self._file.begin(
                encode_info(0.0, self._date),
                encode_tracks(self._config),
                encode_attachments(self._config, self._calibration),
                encode_tags(self._config, start_us),
                len(encode_start_tag(start_us)),
            )
        return self._start_us

    def _close(self) -> None:
        """Write everything that waits and close the file; a kept recording is also closed when the disk is full."""
        try:
            while self._queue:
                self._write_cluster()
            self._finish()
        except OSError as error:
            if not self._is_kept or error.errno not in FULL_DISK:
                raise
            self._file.drop_unfinished()
            self._close_full()

    def _close_full(self) -> None:
        """Close a kept recording on a full disk at the last whole cluster, and remember the error to raise."""
        if not self._file.is_begun:
            self._partial.unlink()
            what = "no space left on the device, not even for the head of the recording"
        else:
            self._finish()
            length_s = (self._last_us - (self._start_us or 0)) / 1e6
            what = f"no space left on the device; what came in the first {length_s:.1f} s was kept"
        self._full_disk = NoSpaceError(what, where=self._path, fix="Free some space before the next recording")

    def _finish(self) -> None:
        start_us = self._begin(0)
        self._file.finish(encode_info(float(max(0, self._last_us - start_us)), self._date))
