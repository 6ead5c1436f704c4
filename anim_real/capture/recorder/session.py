"""Recording several cameras at once; a sensor that fails closes its own file, and the others go on."""

from __future__ import annotations

from collections.abc import Sequence

from anim_real.capture.recorder.sensor_stream import Feed, SensorStream
from anim_real.capture.recorder.wired_sync import starting_order


class Recorder:
    """All sensors of a rig.

    Args:
        feeds: the sensors, in the rig's order.
    """

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.streams = [SensorStream(feed) for feed in feeds]

    def start(self) -> None:
        """Start the cameras one after another, subordinates before their master; see ``SensorStream.start``."""
        streams = {stream.feed.sensor.id: stream for stream in self.streams}
        for sensor in starting_order([stream.feed.sensor for stream in self.streams]):
            streams[sensor.id].start()

    def begin(self) -> None:
        """Write from now on."""
        for stream in self.streams:
            stream.begin()

    def finish(self, *, discard: bool = False) -> None:
        """Stop all, write out what is queued (or not), close files and cameras. Safe to call twice."""
        for stream in self.streams:
            stream.request_stop(discard=discard)
        for stream in self.streams:
            stream.finish()
        for stream in self.streams:
            if not stream.is_stuck:
                stream.feed.camera.close()

    def raise_crash(self) -> None:
        """Raise what no sensor should raise: an error of this program in one of its threads."""
        for stream in self.streams:
            if stream.crash is not None:
                raise stream.crash
