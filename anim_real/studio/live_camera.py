"""One live camera of the virtual studio: what comes when, and what is lost on the way."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from anim_real.depth_camera import CableState, CameraInfo, DepthCamera, ImuSample, LiveCapture
from anim_real.errors import MissingDependencyError
from anim_real.studio.devices import IMU_PERIOD_US, imu_samples, stream
from anim_real.studio.faults import Faults
from anim_real.studio.live_images import LiveDepth, live_colors, live_depth
from anim_real.studio.live_stage import Stage
from anim_real.studio.live_timing import BoxTriggered, Exposures, FreeRunning, MasterTriggered, Unplugged
from anim_real.studio.recording import COLOR_EXPOSURE_US

QUEUE_CAPTURES = 3
_READOUT_US = 25_000.0  # from the centre of exposure to a capture that can be read
_POLL_S = 0.005
_IMU_BUFFER_US = 2e6
_NO_FAULTS = Faults()
_TAG_COLOR, _TAG_CAPTURE, _TAG_DROP, _TAG_IMU = 21, 22, 23, 24

Fate = Literal["delivered", "dropped", "overrun"]


class CaptureEvent(NamedTuple):
    """What became of one exposure: its index, its device stamps (None = that part is missing), and how it ended."""

    index: int
    fate: Fate
    color_time_us: int | None
    depth_time_us: int | None


class VirtualCamera(DepthCamera):
    """One sensor of a ``live.VirtualRig``; ``events`` lists what became of every exposure so far.

    Attributes:
        stage: what it shares with the rig's other cameras.
        spec: its configuration.
        events: in the order of exposures.
    """

    def __init__(self, stage: Stage, sensor_id: str) -> None:
        self.stage, self.spec = stage, stage.rig.sensor(sensor_id)
        self.events: list[CaptureEvent] = []
        self._is_closed = False
        self._exposures: Exposures | None = None
        self._next, self._next_imu = 0, 0
        self._device = stage.studio.devices[sensor_id]
        self._order = [sensor.id for sensor in stage.rig.sensors].index(sensor_id)
        self._faults = stage.faults.get(sensor_id, _NO_FAULTS)
        self.info = CameraInfo(
            backend="virtual",
            serial=self._device.serial,
            model=self.spec.model,
            color_firmware="1.6.110",
            depth_firmware="1.6.79",
            library="studio",
            cables=self.cable_state(),
        )
        self.calibration_json = self._device.factory_json
        camera = stage.parse(self.calibration_json).camera("color", self.spec.color_mode)
        self._color_size = camera.width, camera.height
        self._views: dict[bool, tuple[LiveDepth, LiveDepth, tuple[bytes, ...]]] = {}
        self._view(is_pushed=False)

    def start(self) -> None:
        """Start streaming; a subordinate waits for pulses."""
        if self._is_closed:
            raise MissingDependencyError("the virtual camera is closed", where=f"sensor {self.spec.id}")
        now_us = self.stage.now_us
        self._next_imu = int(np.ceil(now_us / IMU_PERIOD_US))
        self._exposures = self._plan(now_us)

    def read(self, timeout_s: float) -> LiveCapture | None:
        """Wait for the next capture; None once closed."""
        if self._exposures is None:
            raise MissingDependencyError("the virtual camera is not started", where=f"sensor {self.spec.id}")
        deadline_us = self.stage.now_us + timeout_s * 1e6
        while not self._is_closed:
            now_us = self.stage.now_us
            self._check_present()
            due_us = self._due_us(self._next)
            if due_us is not None and due_us <= now_us:
                index = self._oldest_kept(now_us)
                self._next = index + 1
                capture = self._deliver(index)
                if capture is not None:
                    return capture
                continue
            if now_us >= deadline_us:
                raise TimeoutError(f"no capture of sensor {self.spec.id} within {timeout_s:g} s")
            until_us = now_us + _POLL_S * 1e6 if due_us is None else due_us
            self.stage.sleep(max(min(until_us, deadline_us) - now_us, 1.0) * 1e-6)
        return None

    def read_imu(self) -> list[ImuSample]:
        """Samples since the last call, of the last 2 s at most; none before the start."""
        if self._exposures is None or self._is_closed:
            return []
        now_us = self.stage.now_us
        last = int(now_us / IMU_PERIOD_US)
        first = max(self._next_imu, last - int(_IMU_BUFFER_US / IMU_PERIOD_US))
        self._next_imu = max(last, first)
        rng = stream(self.stage.studio.seed, _TAG_IMU, self._order, first)
        times, acc, gyro = imu_samples(self._device, first * IMU_PERIOD_US, (last - 0.5) * IMU_PERIOD_US, rng)
        return [
            ImuSample(stamp, tuple(a), stamp, tuple(g))
            for stamp, a, g in zip(times.tolist(), acc.tolist(), gyro.tolist(), strict=True)
        ]

    def cable_state(self) -> CableState:
        """Plugs by the sensor's role; a subordinate's input is out once its cable was pulled."""
        others = [sensor.sync_mode for sensor in self.stage.rig.sensors if sensor.id != self.spec.id]
        return CableState(
            sync_in=self.spec.sync_mode == "SUBORDINATE" and not self._is_past(self._faults.unplug_s),
            sync_out=self.spec.sync_mode == "MASTER" and "SUBORDINATE" in others,
        )

    def close(self) -> None:
        """Stop; a master's pulses end."""
        if self.spec.sync_mode == "MASTER" and self._exposures is not None and not self._is_closed:
            self.stage.pulses.stop_us = self.stage.now_us
        self._is_closed = True

    def _plan(self, now_us: float) -> Exposures:
        spec, stage, trigger = self.spec, self.stage, self.stage.rig.trigger
        period_us = 1e6 / spec.fps / (1.0 + self._device.clock.drift_ppm * 1e-6)
        free = FreeRunning(start_us=now_us, period_us=period_us)
        if spec.sync_mode == "MASTER":
            stage.pulses.exposures, stage.pulses.stop_us = free, np.inf
        if spec.sync_mode != "SUBORDINATE":
            return free
        triggered: Exposures = MasterTriggered(start_us=now_us, delay_us=spec.subordinate_delay_us, pulses=stage.pulses)
        if trigger is not None and all(sensor.sync_mode != "MASTER" for sensor in stage.rig.sensors):
            triggered = BoxTriggered(
                start_us=now_us,
                period_us=1e6 / trigger.fps,
                jitter_us=trigger.jitter_us,
                delay_us=spec.subordinate_delay_us,
                seed=stage.studio.seed,
            )
        if self._faults.unplug_s is None:
            return triggered
        return Unplugged(triggered=triggered, after_us=self._faults.unplug_s * 1e6, period_us=period_us)

    def _due_us(self, index: int) -> float | None:
        assert self._exposures is not None
        time_us = self._exposures.time_us(index)
        return None if time_us is None else time_us + max(self.spec.depth_delay_us, 0) + _READOUT_US

    def _oldest_kept(self, now_us: float) -> int:
        """Index of the oldest capture that is still in the queue; those before it are lost and noted."""
        index = self._next
        while (due_us := self._due_us(index + QUEUE_CAPTURES)) is not None and due_us <= now_us:
            self._note(index, "dropped" if self._is_dropped(index) else "overrun", None, None)
            index += 1
        return index

    def _deliver(self, index: int) -> LiveCapture | None:
        """Make a capture; None if it is one that gets lost."""
        assert self._exposures is not None
        color_us = self._exposures.time_us(index)
        assert color_us is not None
        if self._is_dropped(index):
            self._note(index, "dropped", None, None)
            return None
        clock, faults = self._device.clock, self._faults
        depth_us = color_us + self.spec.depth_delay_us
        color_stamp = None if index in faults.no_color else int(clock.read(color_us))
        depth_stamp = None if index in faults.no_depth else int(clock.read(depth_us))
        if color_stamp is None and depth_stamp is None:
            self._note(index, "dropped", None, None)
            return None
        still, lit, colors = self._view(is_pushed=self.stage.is_pushed(depth_us))
        depth_mm = ir = None
        if depth_stamp is not None:
            rng = stream(self.stage.studio.seed, _TAG_CAPTURE, self._order, index)
            depth_mm, ir = (lit if self.stage.is_lit(depth_us) else still).draw(self.stage.table, rng)
        self._note(index, "delivered", color_stamp, depth_stamp)
        return LiveCapture(
            color=None if color_stamp is None else colors[index % len(colors)],
            depth_mm=None if self.spec.depth_mode == "PASSIVE_IR" else depth_mm,
            ir=ir,
            color_time_us=color_stamp,
            depth_time_us=depth_stamp,
            color_exposure_us=None if color_stamp is None else int(COLOR_EXPOSURE_US),
        )

    def _view(self, *, is_pushed: bool) -> tuple[LiveDepth, LiveDepth, tuple[bytes, ...]]:
        """Depth with the projector off, with it on, and colour images; traced when first needed."""
        if is_pushed not in self._views:
            pose = self.stage.surface_pose(is_pushed)
            depth = live_depth(self._device, self.stage.surface, pose)
            rng = stream(self.stage.studio.seed, _TAG_COLOR, self._order, int(is_pushed))
            colors = live_colors(self._device, self.stage.surface, pose, self._color_size, rng)
            depth.draw(self.stage.table, rng)  # compiles, so that the first capture is not late
            self._views[is_pushed] = depth, depth.lit(self._faults), colors
        return self._views[is_pushed]

    def _is_dropped(self, index: int) -> bool:
        if index in self._faults.drop:
            return True
        share = self._faults.drop_share
        return share > 0 and stream(self.stage.studio.seed, _TAG_DROP, self._order, index).random() < share

    def _is_past(self, after_s: float | None) -> bool:
        """Whether so many seconds have passed since the first exposure."""
        first_us = None if self._exposures is None else self._exposures.time_us(0)
        return after_s is not None and first_us is not None and self.stage.now_us >= first_us + after_s * 1e6

    def _check_present(self) -> None:
        if self._is_past(self._faults.lose_s):
            raise MissingDependencyError(
                "the device is gone", where=f"sensor {self.spec.id} ({self.info.serial})",
                fix="Check its USB cable and power, then start again",
            )  # fmt: skip

    def _note(self, index: int, fate: Fate, color_us: int | None, depth_us: int | None) -> None:
        self.events.append(CaptureEvent(index, fate, color_us, depth_us))
