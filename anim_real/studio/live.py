"""The virtual studio as live cameras: a rig whose sensors stream a still scene in real time.

All cameras share one clock: captures come when the wall clock says so, whether or not anyone reads. A
camera keeps the last few captures that were not read; older ones are lost, as in the real device. The scene
(a mannequin by default) is traced when a camera is opened; a capture then costs a few milliseconds.
For the same seed the devices are those of the studio's takes. Roles and modes are checked elsewhere
(``wired_sync.check_roles``).
"""

from __future__ import annotations

from anim_real.studio.faults import Faults
from anim_real.studio.live_camera import QUEUE_CAPTURES, CaptureEvent, VirtualCamera
from anim_real.studio.live_stage import Stage

__all__ = ["QUEUE_CAPTURES", "CaptureEvent", "Faults", "VirtualCamera", "VirtualRig"]


class VirtualRig(Stage):
    """A rig's sensors in one virtual studio, on one clock; arguments: see ``Stage``."""

    def open(self, sensor_id: str) -> VirtualCamera:
        """Open one of the rig's sensors; KeyError if it has none of that name."""
        return VirtualCamera(self, sensor_id)
