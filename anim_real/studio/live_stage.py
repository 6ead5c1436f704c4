"""What the live cameras of one virtual studio share: clock, pulses, the scene, the projector, random numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from anim_real.geometry.frames import Rigid
from anim_real.rig import RigSpec
from anim_real.studio.devices import ParseCalibration, equip_studio, stream
from anim_real.studio.factory import shipped_factory
from anim_real.studio.faults import Faults, check_faults
from anim_real.studio.live_images import MAX_COLOR_WIDTH, make_noise_table
from anim_real.studio.live_timing import Pulses
from anim_real.studio.mannequin import mannequin
from anim_real.studio.tracing import Surface

_PUSH_M = (0.015, 0.0, 0.0)
_TAG_TABLE = 20


class Stage:
    """What the cameras of one virtual rig share; see ``live.VirtualRig``.

    Args:
        rig: any rig.
        parse: reader of k4a calibrations.
        seed: run seed.
        faults: by sensor id.
        surface: what stands in the volume's middle (metres, y up, on y = 0); the mannequin by default.
        clock, sleep: seconds; the wall clock's by default.
    """

    def __init__(
        self,
        rig: RigSpec,
        parse: ParseCalibration,
        *,
        seed: int = 0,
        faults: Mapping[str, Faults] | None = None,
        surface: Surface | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rig, self.faults = rig, dict(faults or {})
        check_faults(rig, self.faults)
        self.studio = equip_studio(rig, shipped_factory(), parse, seed, max_color_width=MAX_COLOR_WIDTH)
        self.surface = surface or mannequin()
        self.pulses = Pulses()
        self.sleep = sleep
        self.parse, self._clock, self._epoch_s = parse, clock, clock()
        self._switches: list[tuple[float, bool]] = []
        self._pushed_us = np.inf
        self.table = make_noise_table(
            max(device.kinect.depth.width * device.kinect.depth.height for device in self.studio.devices.values()),
            stream(seed, _TAG_TABLE),
        )

    @property
    def now_us(self) -> float:
        """Studio time."""
        return (self._clock() - self._epoch_s) * 1e6

    def switch_projector(self, is_on: bool) -> None:
        """Switch the scanner's projector on or off, from now on."""
        self._switches.append((self.now_us, is_on))

    def push(self) -> None:
        """Push what stands in the volume 15 mm aside, from now on."""
        self._pushed_us = self.now_us

    def is_lit(self, time_us: float) -> bool:
        """Whether the projector is on at a studio time."""
        past = [is_on for at_us, is_on in self._switches if at_us <= time_us]
        return bool(past and past[-1])

    def is_pushed(self, time_us: float) -> bool:
        """Whether the scene was pushed before a studio time."""
        return time_us >= self._pushed_us

    def surface_pose(self, is_pushed: bool) -> Rigid:
        """``T_world_surface``."""
        return Rigid.from_parts("world", "body", np.eye(3), _PUSH_M if is_pushed else (0.0, 0.0, 0.0))
