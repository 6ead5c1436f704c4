"""The writing side of one sensor: a bounded queue and the thread that empties it into a recording.

Nothing is dropped in silence: every capture offered is written or counted under the reason why not.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from anim_real.capture.recorder.disk_space import capture_size
from anim_real.capture.recorder.stream_health import stamp_of
from anim_real.capture.recording.k4a_format import RecordingConfig
from anim_real.capture.recording.k4a_writer import RecordingWriter
from anim_real.depth_camera import ImuSample, LiveCapture
from anim_real.errors import AnimRealError, DataError, from_os_error
from anim_real.rig import SensorSpec

_SET_BACK_US = 1_000_000
_WAIT_S = 0.2
_QUEUE_BYTES = 256e6
_QUEUE_LEAST, _QUEUE_MOST = 8, 120

Tell = Callable[[str, str, int | None], None]  # kind, sentence, device time in µs


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """What a camera delivered at one reading."""

    capture: LiveCapture | None
    imu: list[ImuSample]


@dataclass(kw_only=True)
class WriteCounts:
    """What became of what was delivered.

    Attributes:
        num_written: captures in the file.
        num_overrun: captures that came while the queue was full.
        num_corrupt: colour images that are no JPEG; the rest of their captures was written.
        num_refused: captures that do not fit the recording (an image of another size, no stamp).
        num_late: images that came more than a second after what follows them.
        num_discarded: captures left in the queue when recording was broken off.
        num_imu_written, num_imu_lost: IMU samples.
    """

    num_written: int = 0
    num_overrun: int = 0
    num_corrupt: int = 0
    num_refused: int = 0
    num_late: int = 0
    num_discarded: int = 0
    num_imu_written: int = 0
    num_imu_lost: int = 0


class StreamWriter:
    """Writes one recording in a thread of its own, from ``begin`` to ``finish``.

    Args:
        sensor: its entry in the rig.
        path: the recording.
        open_writer: opens it, when the first capture has come.
        tell: called, from either thread, with what happens to captures.

    Attributes:
        counts: what became of the captures so far.
        error: why writing ended early.
        crash: an error of this program.
    """

    def __init__(self, sensor: SensorSpec, path: Path, open_writer: Callable[[], RecordingWriter], tell: Tell) -> None:
        self.counts = WriteCounts()
        self.error: AnimRealError | None = None
        self.crash: Exception | None = None
        self._sensor, self._path, self._open_writer, self._tell = sensor, path, open_writer, tell
        self._queue: queue.Queue[Item | None] = queue.Queue(_queue_length(sensor))
        self._is_begun, self._is_over = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._is_discarding = False
        self._latest_us: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"write {sensor.id}", daemon=True)

    @property
    def is_begun(self) -> bool:
        """Whether captures are taken."""
        return self._is_begun.is_set()

    @property
    def is_over(self) -> bool:
        """Whether the thread has ended: nothing is written any more."""
        return self._is_over.is_set()

    @property
    def num_queued(self) -> int:
        """Items waiting now."""
        return self._queue.qsize()

    def begin(self) -> None:
        """Take captures from now on."""
        self._is_begun.set()
        self._thread.start()

    def offer(self, item: Item) -> None:
        """Queue an item; if the queue is full, count its captures as overrun."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._lose_imu(item)
            if item.capture is not None:
                self.counts.num_overrun += 1
                stamp_us = stamp_of(item.capture, self._sensor)
                self._tell("overrun", "the disk is too slow: a capture was not written", stamp_us)

    def put(self, item: Item | None) -> None:
        """Queue an item, waiting for room; None ends the recording."""
        while self.is_begun and not self.is_over:
            with suppress(queue.Full):
                self._queue.put(item, timeout=_WAIT_S)
                return

    def discard(self) -> None:
        """Write nothing more: from now on what is queued is only counted."""
        self._is_discarding = True

    def finish(self) -> None:
        """Wait until what is queued is written, or discarded, and the file is closed. ``put(None)`` comes before."""
        if self.is_begun:
            self._thread.join()

    def _run(self) -> None:
        try:
            item = self._first_item()
            if item is not None:
                with self._open_writer() as writer:
                    while item is not None:
                        self._write(writer, item)
                        item = self._queue.get()
        except AnimRealError as error:
            self.error = error
        except OSError as error:
            self.error, self.crash = (known, None) if (known := from_os_error(error)) else (None, error)
        except Exception as error:  # noqa: BLE001 - raised again by the main thread
            self.crash = error
        finally:
            self._is_over.set()
            self._count_rest()
            if self.counts.num_written == 0:
                self._path.unlink(missing_ok=True)  # a recording without image is none
            if self.error is not None:
                self._tell("failed", str(self.error), None)

    def _first_item(self) -> Item | None:
        """The first item with a capture; IMU samples that come alone before it are not recorded."""
        while (item := self._queue.get()) is not None and item.capture is None:
            self._lose_imu(item)
        return item

    def _write(self, writer: RecordingWriter, item: Item) -> None:
        if self._is_discarding:
            self._count_discarded(item)
            return
        for sample in item.imu:
            writer.write_imu(*sample)
        self.counts.num_imu_written += len(item.imu)
        if item.capture is not None:
            self._write_capture(writer, item.capture)
        self.counts.num_late = writer.num_late

    def _write_capture(self, writer: RecordingWriter, capture: LiveCapture) -> None:
        stamp_us = stamp_of(capture, self._sensor)
        self._refuse_set_back(stamp_us)
        color = capture.color
        if color is not None and self._sensor.color_format == "MJPG" and not color.startswith(b"\xff\xd8"):
            color = None
            self.counts.num_corrupt += 1
            self._tell("corrupt", "a colour image is no JPEG and was left out", stamp_us)
            if capture.depth_mm is None and capture.ir is None:
                return
        try:
            writer.write_capture(color, capture.depth_mm, capture.ir, capture.color_time_us, capture.depth_time_us)
        except DataError as error:
            self.counts.num_refused += 1
            self._tell("refused", f"a capture was not written: {error.what}", stamp_us)
        else:
            self.counts.num_written += 1

    def _refuse_set_back(self, stamp_us: int | None) -> None:
        """A recording cannot go on once the device's clock starts anew: every later stamp would come too late."""
        if stamp_us is None:
            return
        if self._latest_us is not None and stamp_us < self._latest_us - _SET_BACK_US:
            raise DataError(
                f"the device clock was set back by {(self._latest_us - stamp_us) / 1e6:.3f} s", where=self._path,
                fix="The recording ends there; record again, and start subordinates before their master",
            )  # fmt: skip
        self._latest_us = stamp_us if self._latest_us is None else max(self._latest_us, stamp_us)

    def _count_rest(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._count_discarded(self._queue.get_nowait())

    def _count_discarded(self, item: Item | None) -> None:
        if item is not None:
            self.counts.num_discarded += item.capture is not None
            self._lose_imu(item)

    def _lose_imu(self, item: Item) -> None:
        with self._lock:  # the only count that both threads raise
            self.counts.num_imu_lost += len(item.imu)


def open_recording_writer(path: Path, config: RecordingConfig, calibration_json: bytes) -> RecordingWriter:
    """A writer that keeps what has come when it is broken off, dated now."""
    return RecordingWriter(path, config, calibration_json, date=datetime.now(UTC), keep_on_error=True)


def _queue_length(sensor: SensorSpec) -> int:
    """Items that a quarter of a gigabyte holds, within limits: four seconds at 30 fps in the small modes."""
    return min(_QUEUE_MOST, max(_QUEUE_LEAST, int(_QUEUE_BYTES / capture_size(sensor))))
