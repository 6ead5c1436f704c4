"""One sensor of a recording: its camera is read in a thread of its own and written in another.

Between the two stands a bounded queue. A live device cannot wait: what finds the queue full is counted as an
overrun, with its stamp. A recording that is played waits instead. After ``start`` every call to the camera but
``close`` comes from the reading thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from anim_real.capture.recorder.depth_stability import DepthStability
from anim_real.capture.recorder.stream_health import Finding, StreamFigures, StreamHealth, stamp_of
from anim_real.capture.recorder.stream_writer import Item, StreamWriter, WriteCounts, open_recording_writer
from anim_real.capture.recorder.trigger_health import Stamp
from anim_real.capture.recording.k4a_format import RecordingConfig
from anim_real.depth_camera import CableState, CameraInfo, DepthCamera, LiveCapture
from anim_real.errors import AnimRealError, MissingDependencyError
from anim_real.rig import SensorSpec

_POLL_S = 0.2
_CABLE_S = 0.5
_HANG_S = 10.0  # a camera whose read does not come back by then is left behind
_PLUG = {True: "was plugged in", False: "was pulled", None: "cannot be told any more"}

State = Literal["waiting", "streaming", "ended", "lost", "failed"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """A camera to record, opened and not yet started.

    Attributes:
        sensor: its entry in the rig.
        camera: the opened camera.
        path: recording to write.
        is_live: whether captures that are not taken in time are gone; False for a recording that is played.
    """

    sensor: SensorSpec
    camera: DepthCamera
    path: Path
    is_live: bool = True

    @property
    def config(self) -> RecordingConfig:
        """What the recording states about the device."""
        sensor, info = self.sensor, self.camera.info
        return RecordingConfig(
            serial=info.serial,
            color_mode=sensor.color_mode,
            color_format=sensor.color_format,
            depth_mode=sensor.depth_mode,
            fps=sensor.fps,
            sync_mode=sensor.sync_mode,
            depth_delay_us=sensor.depth_delay_us,
            subordinate_delay_us=sensor.subordinate_delay_us,
            color_firmware=info.color_firmware,
            depth_firmware=info.depth_firmware,
        )


@dataclass(frozen=True, kw_only=True)
class SensorStatus:
    """How a sensor stands.

    Attributes:
        sensor, info: what it is.
        state: ``waiting`` for its first capture, ``streaming``, ``ended``, ``lost`` (the device) or ``failed`` (the
            file).
        figures, counts, num_queued: what came and what became of it.
        cables: its sync cables now.
        error: why it was lost or failed.
        depth_mm, drift_mm_per_min: depth of the middle and its drift, while nothing is written.
    """

    sensor: SensorSpec
    info: CameraInfo
    state: State
    figures: StreamFigures
    counts: WriteCounts
    num_queued: int
    cables: CableState
    error: AnimRealError | None
    depth_mm: float | None
    drift_mm_per_min: float | None


class SensorStream:
    """One camera and its reading thread. Made, started, begun and finished by the main thread."""

    def __init__(self, feed: Feed, clock: Callable[[], float] = time.monotonic) -> None:
        self.feed = feed
        self._clock = clock
        self._lock = threading.Lock()
        self._health = StreamHealth(feed.sensor, clock())
        self._stability = DepthStability()
        self._findings: list[Finding] = []
        self._stamps: list[Stamp] = []
        opened = partial(open_recording_writer, feed.path, feed.config, feed.camera.calibration_json)
        self._writer = StreamWriter(feed.sensor, feed.path, opened, self._tell)
        self._is_stopping = threading.Event()
        self._state: State = "waiting"
        self._cables, self._cables_at_s = feed.camera.cable_state(), clock()
        self._error: AnimRealError | None = None
        self._crash: Exception | None = None
        self._reader = threading.Thread(target=self._read, name=f"read {feed.sensor.id}", daemon=True)

    def start(self) -> None:
        """Start the camera and read it, without writing yet.

        Raises:
            MissingDependencyError: the device refuses.
        """
        self.feed.camera.start()
        self._reader.start()

    def begin(self) -> None:
        """Write what comes from now on; the figures start anew."""
        with self._lock:
            self._health = StreamHealth(self.feed.sensor, self._clock())
            self._findings.clear()
            self._stamps.clear()
            if self._state == "streaming":
                self._state = "waiting"
            self._writer.begin()

    def request_stop(self, *, discard: bool = False) -> None:
        """Ask the threads to end, the writing one without what is queued if ``discard``; returns at once."""
        self._is_stopping.set()
        if discard:
            self._writer.discard()

    def finish(self) -> None:
        """End both threads; the file is closed when this returns."""
        self._is_stopping.set()
        if self._reader.ident is not None:
            self._reader.join(_HANG_S)
            if self._reader.is_alive():
                self._lose(MissingDependencyError(f"sensor {self.feed.sensor.id!r} does not answer any more"))
        self._writer.put(None)
        self._writer.finish()

    @property
    def is_stuck(self) -> bool:
        """Whether the camera never came back from a read; it cannot be closed then."""
        return self._reader.is_alive()

    @property
    def crash(self) -> Exception | None:
        """An error of this program in one of the threads."""
        return self._crash or self._writer.crash

    def take_news(self) -> tuple[list[Finding], list[Stamp]]:
        """What was found and which depth stamps came since the last call."""
        with self._lock:
            news = self._findings, self._stamps
            self._findings, self._stamps = [], []
        return news

    def status(self) -> SensorStatus:
        """The figures now."""
        with self._lock:
            return SensorStatus(
                sensor=self.feed.sensor,
                info=self.feed.camera.info,
                state="failed" if self._writer.error is not None else self._state,
                figures=self._health.figures(self._clock()),
                counts=replace(self._writer.counts),
                num_queued=self._writer.num_queued,
                cables=self._cables,
                error=self._writer.error or self._error,
                depth_mm=self._stability.depth_mm,
                drift_mm_per_min=self._stability.drift_mm_per_min,
            )

    def _read(self) -> None:
        """Body of the reading thread."""
        try:
            while not self._is_stopping.is_set() and not self._writer.is_over:
                if not self._read_once():
                    break
        except AnimRealError as error:
            self._lose(error)
        except OSError as error:
            self._lose(MissingDependencyError(f"sensor {self.feed.sensor.id!r} is gone ({error})"))
        except Exception as error:  # noqa: BLE001 - raised again by the main thread
            self._crash = error
        finally:
            self._writer.put(None)

    def _read_once(self) -> bool:
        """Wait for a capture and pass it on; False at the end of the stream."""
        camera = self.feed.camera
        is_over = False
        try:
            capture = camera.read(_POLL_S)
            is_over = capture is None
        except TimeoutError:
            capture = None
            with self._lock:
                self._findings += self._health.idle(self._clock())
        now_s = self._clock()
        item = Item(capture=capture, imu=camera.read_imu())
        is_recorded = self._note(capture, now_s)
        if is_recorded and (item.capture is not None or item.imu):
            (self._writer.offer if self.feed.is_live else self._writer.put)(item)
        self._watch_cables(now_s)
        if is_over:
            self._state = "ended"
            self._tell("ended", "the stream ended")
        return not is_over

    def _note(self, capture: LiveCapture | None, now_s: float) -> bool:
        """Take a capture into the figures; return whether it is to be recorded, so that both count the same."""
        with self._lock:
            is_recorded = self._writer.is_begun
            if capture is None:
                return is_recorded
            stamp_us = stamp_of(capture, self.feed.sensor)
            self._findings += self._health.observe(capture, now_s)
            if capture.depth_time_us is not None and stamp_us is not None:
                self._stamps.append((stamp_us, now_s))
            if capture.depth_mm is not None and not is_recorded:
                self._stability.observe(capture.depth_mm, now_s)
            self._state = "streaming"
        return is_recorded

    def _watch_cables(self, now_s: float) -> None:
        if now_s - self._cables_at_s < _CABLE_S:
            return
        self._cables_at_s = now_s
        before, self._cables = self._cables, self.feed.camera.cable_state()
        for plug, was, is_now in (
            ("sync-in", before.sync_in, self._cables.sync_in),
            ("sync-out", before.sync_out, self._cables.sync_out),
        ):
            if was is not is_now:
                with self._lock:
                    last_us = self._health.figures(now_s).last_us
                self._tell("cable", f"the {plug} cable {_PLUG[is_now]}", last_us)

    def _lose(self, error: AnimRealError) -> None:
        self._error, self._state = error, "lost"
        self._tell("lost", str(error))

    def _tell(self, kind: str, text: str, device_us: int | None = None) -> None:
        found = Finding(sensor=self.feed.sensor.id, kind=kind, at_s=self._clock(), device_us=device_us, text=text)
        with self._lock:
            self._findings.append(found)
