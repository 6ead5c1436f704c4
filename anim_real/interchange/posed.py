"""The cameras that all formats share: a name, intrinsics, and a pose in a common reference frame.

Axes are OpenCV's (x right, y down, z forward), metres, integer pixel centres. What a format means by
its numbers is crossed in that format's module.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedCamera:
    """One camera of a set.

    Attributes:
        name: letters, digits and ``_ - .``. It is also the name of its frame.
        camera: intrinsics.
        T_camera_reference: reference frame to camera frame; ``dst`` is ``name``, ``src`` is named alike.
    """

    name: str
    camera: Camera
    T_camera_reference: Rigid

    def __post_init__(self) -> None:
        for name, what in ((self.name, "camera"), (self.T_camera_reference.src, "reference frame")):
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
                raise DataError(f"{name[:40]!r} cannot name a {what}", where=what, fix="Use letters, digits and _ - .")
        if self.T_camera_reference.dst != self.name:
            raise DataError(f"its pose leads to {self.T_camera_reference.dst!r}", where=f"camera {self.name}")


def common_reference(cameras: Sequence[PosedCamera]) -> str:
    """Name of the frame that all poses start from.

    Raises:
        DataError: there is no camera, two share a name, or their poses start from different frames.
    """
    names = [posed.name for posed in cameras]
    references = sorted({posed.T_camera_reference.src for posed in cameras})
    if not names or len(set(names)) != len(names) or len(references) != 1:
        raise DataError(f"cameras {names} with poses from {references} are no set", where="cameras")
    return references[0]
