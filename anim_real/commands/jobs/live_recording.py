"""The course of a live recording: start, warm up, write until something ends it, close in good order.

The take folder is there from the first written capture's moment on: ``take.toml`` says at once what it is, so
that a recording that is killed is a take too, and gets its last word when all files are closed.
"""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGTERM

from anim_real import __version__
from anim_real.capture.recorder.depth_stability import WARM_UP_MIN
from anim_real.capture.recorder.disk_space import data_rate, free_bytes
from anim_real.capture.recorder.record_log import RecordLog, StoppedBy, event_logs, sensor_log
from anim_real.capture.recorder.sensor_stream import Feed, SensorStatus
from anim_real.capture.recorder.session import Recorder
from anim_real.capture.recorder.trigger_health import TriggerWatch
from anim_real.commands.jobs.live_course import Course, Plan
from anim_real.commands.jobs.live_remarks import failure_of, length_s, note_of, remarks_on
from anim_real.commands.jobs.live_status import LiveStatus
from anim_real.commands.jobs.stop_signals import StopSignals
from anim_real.errors import AnimRealError, ConfigError, MissingDependencyError, NoSpaceError, no_space
from anim_real.files import write_json, write_text
from anim_real.take import take_toml

_TICK_S = 0.2
_FIRST_CAPTURE_S = 60.0  # a recording of a set length gives up when nothing at all has come by then
_RESERVE_BYTES = 1 << 20  # given back at the end, so that a full disk still takes the small files
_LEAST_FREE_BYTES, _LEAST_FREE_S = 16 << 20, 2.0
_DRIFT_MM_PER_MIN = 0.1  # more than 1 mm in a ten-minute take
_UNFINISHED = "the recording was never closed"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it: the log, and a sentence for every sensor that failed."""

    log: RecordLog
    failures: tuple[str, ...]


def record_take(feeds: Sequence[Feed], plan: Plan, shows: LiveStatus, stop: StopSignals) -> Outcome:
    """Record; the cameras are closed when this returns or raises, and so are the files.

    Args:
        feeds: the sensors, in the rig's order.
        plan: what to record.
        shows: where progress goes.
        stop: signals that ask to stop.

    Raises:
        MissingDependencyError: a device does not start, every device was lost, or no capture came.
        NoSpaceError: the disk is full; what was written is closed and readable.
        KeyboardInterrupt: stopped while warming up; or broken off by a second signal: what was written is readable.
    """
    course = Course(
        plan=plan,
        recorder=Recorder(feeds),
        watch=TriggerWatch([feed.sensor for feed in feeds]),
        shows=shows,
        stop=stop,
        remarks=list(plan.remarks),
    )
    try:
        if plan.warm_up_s > 0:
            course.recorder.start()
            if not _warm_up(course):
                raise KeyboardInterrupt  # nothing was recorded
        return _write(course, feeds)
    finally:
        course.recorder.finish(discard=True)


def _warm_up(course: Course) -> bool:
    """Stream without writing; False if it was stopped."""
    total_s, start_s = course.plan.warm_up_s, time.monotonic()
    statuses: list[SensorStatus] = []
    while (elapsed_s := time.monotonic() - start_s) < total_s:
        if course.stop.asked.wait(_TICK_S):
            return False
        statuses = course.tick("warming up", elapsed_s, total_s)
        course.recorder.raise_crash()
        _raise_lost(statuses)
    for status in statuses:
        drift = status.drift_mm_per_min
        if drift is not None and abs(drift) > _DRIFT_MM_PER_MIN:
            text = (
                f"depth of {status.sensor.id} still drifts by {drift:+.2f} mm/min; {WARM_UP_MIN:.0f} min make it stable"
            )
            course.remarks.append(text)
            course.shows.say(text)
    return True


def _raise_lost(statuses: Sequence[SensorStatus]) -> None:
    for status in statuses:
        if status.error is not None:
            raise status.error


def _write(course: Course, feeds: Sequence[Feed]) -> Outcome:
    """Write until something ends it; publish the small files whatever ended it."""
    folder = course.plan.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise ConfigError(
            "something else made it while the cameras started", where=folder, fix="Choose another -o"
        ) from error
    reserve = folder / ".reserve"
    stopped_by: StoppedBy = "broken off"
    outcome: Outcome | None = None
    try:
        reserve.write_bytes(bytes(_RESERVE_BYTES))
        write_text(folder / "take.toml", take_toml(course.plan.take.model_copy(update={"note": _UNFINISHED})))
        course.began_at = datetime.datetime.now(datetime.UTC)
        course.watch = TriggerWatch([feed.sensor for feed in feeds])
        course.findings.clear()
        course.began_s = time.monotonic()
        course.recorder.begin()
        if course.plan.warm_up_s <= 0:
            _start(course)  # after begin: the first captures are recorded
        stopped_by = _run(course)
        reserve.unlink()  # room to close the files on a full disk
        course.recorder.finish()
    finally:
        reserve.unlink(missing_ok=True)
        course.recorder.finish(discard=True)
        outcome = _publish(course, feeds, stopped_by)
    course.recorder.raise_crash()
    return _judged(course, outcome, stopped_by)


def _start(course: Course) -> None:
    """Start the cameras; if one refuses, nothing is left of what the others gave meanwhile."""
    try:
        course.recorder.start()
    except BaseException:
        course.recorder.finish(discard=True)
        for stream in course.recorder.streams:
            stream.feed.path.unlink(missing_ok=True)
        raise


def _run(course: Course) -> StoppedBy:
    """Wait for what ends the recording."""
    duration_s = course.plan.duration_s
    least_free = max(_LEAST_FREE_BYTES, _LEAST_FREE_S * data_rate([s.feed.sensor for s in course.recorder.streams]))
    while True:
        is_asked = course.stop.asked.wait(_TICK_S)
        now_s = time.monotonic()
        statuses = course.tick("recording", now_s - course.began_s, duration_s)
        arrivals = [status.figures.first_at_s for status in statuses if status.figures.first_at_s is not None]
        if is_asked:
            return "terminated" if course.stop.received == SIGTERM else "request"
        if any(stream.crash is not None for stream in course.recorder.streams):
            return "broken off"
        if any(isinstance(status.error, NoSpaceError) for status in statuses) or (
            free_bytes(course.plan.folder) < least_free
        ):
            return "full disk"
        if all(status.state in ("ended", "lost", "failed") for status in statuses):
            return "ended" if any(status.state == "ended" for status in statuses) else "lost"
        if duration_s is not None and arrivals and now_s - min(arrivals) >= duration_s:
            return "duration"
        if duration_s is not None and not arrivals and now_s - course.began_s >= max(_FIRST_CAPTURE_S, duration_s):
            return "no pulses"


def _publish(course: Course, feeds: Sequence[Feed], stopped_by: StoppedBy) -> Outcome:
    """Write record.json and the final take.toml; remove the folder if it holds no recording."""
    course.take_news(course.began_s)
    statuses = course.statuses()
    triggers = course.triggers()
    events, num_unlisted = event_logs(course.findings, course.began_s)
    spec = course.plan.take
    course.remarks += remarks_on(statuses)
    log = RecordLog(
        take_id=spec.take_id,
        rig=spec.rig,
        rig_sha256=course.plan.rig_sha256,
        tool_version=__version__,
        began_at=course.began_at,
        duration_s=round(max((length_s(status) for status in statuses), default=0.0), 3),
        warm_up_s=course.plan.warm_up_s,
        stopped_by=stopped_by,
        remarks=tuple(course.remarks),
        sensors={
            feed.sensor.id: sensor_log(status, feed.path, course.began_s, triggers[feed.sensor.id])
            for feed, status in zip(feeds, statuses, strict=True)
        },
        events=events,
        num_unlisted_events=num_unlisted,
    )
    failures = tuple(filter(None, (failure_of(status) for status in statuses)))
    if not any(sensor.file for sensor in log.sensors.values()):
        shutil.rmtree(course.plan.folder)
        return Outcome(log=log, failures=failures)
    with suppress(NoSpaceError):  # the recordings count more; the folder already has a take.toml
        write_text(
            course.plan.folder / "take.toml", take_toml(spec.model_copy(update={"note": note_of(log, failures)}))
        )
        write_json(course.plan.folder / "record.json", log.model_dump(mode="json", by_alias=True))
    return Outcome(log=log, failures=failures)


def _judged(course: Course, outcome: Outcome, stopped_by: StoppedBy) -> Outcome:
    """Return the outcome, or raise what the whole recording failed with."""
    sensors, folder = outcome.log.sensors, course.plan.folder
    kept = f"What came until then is in {folder}" if folder.exists() else "Nothing was written"
    if stopped_by == "full disk":
        raise NoSpaceError(no_space(folder).what, where=folder, fix=f"{kept}; free some space before the next take")
    if not folder.exists():
        raise MissingDependencyError(
            f"nothing was recorded: {'; '.join(outcome.failures)}", fix="Check the cameras, the cables and the trigger"
        )
    if stopped_by == "lost":
        raise _first_error(course.statuses(), kept)
    assert any(sensor.file for sensor in sensors.values())
    return outcome


def _first_error(statuses: Sequence[SensorStatus], kept: str) -> AnimRealError:
    error = next(status.error for status in statuses if status.error is not None)
    return type(error)(error.what, where=error.where, fix=f"{kept}. {error.fix or ''}".rstrip())
