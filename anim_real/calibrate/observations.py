"""What was seen of the target at every placement: the solver's input, free of files and images' formats.

Frames ``color``, ``depth`` (cameras) and ``scan``; metres; pixels with integer centres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.geometry.raycast import RayScene

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanSurface:
    """The scanned object of one placement: triangles in the scan frame, prepared for rays.

    Attributes:
        vertices: (V, 3) metres.
        faces: (F, 3).
        scene: the same triangles for ray casting.
    """

    vertices: Array
    faces: NDArray[np.int64]
    scene: RayScene

    @classmethod
    def of(cls, vertices: Array, faces: NDArray[np.int64]) -> ScanSurface:
        """Prepare triangles."""
        return cls(vertices=vertices, faces=faces, scene=RayScene(vertices, faces))


@dataclass(frozen=True, kw_only=True, eq=False)
class CornerPairs:
    """Corners seen by a camera and on the scan.

    Attributes:
        ids: (N,) corner ids of the target.
        points_scan: (N, 3) positions on the scan, metres.
        pixels: (N, 2) positions in the image.
    """

    ids: NDArray[np.int64]
    points_scan: Array
    pixels: Array

    def __post_init__(self) -> None:
        if not (len(self.ids) == len(self.points_scan) == len(self.pixels)):
            raise DataError("ids, points and pixels differ in length", where="corner pairs")
        if not (np.isfinite(self.points_scan).all() and np.isfinite(self.pixels).all()):
            raise DataError("a corner is not finite", where="corner pairs")

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls) -> CornerPairs:
        """No corner at all."""
        return cls(ids=np.zeros(0, np.int64), points_scan=np.zeros((0, 3)), pixels=np.zeros((0, 2)))

    @classmethod
    def join(
        cls, scan_ids: NDArray[np.int64], points_scan: Array, image_ids: NDArray[np.int64], pixels: Array
    ) -> CornerPairs:
        """Pair by id; what only one side saw is left out."""
        ids, on_scan, in_image = np.intersect1d(scan_ids, image_ids, return_indices=True)
        return cls(ids=ids, points_scan=points_scan[on_scan], pixels=pixels[in_image])


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """One placement of the target.

    Attributes:
        index: its number in the take.
        scan_frame: frame index of its scan.
        surface: the scan.
        color, ir: corners seen by both cameras of the sensor.
        depth_m: (h, w) measured depth along z in metres, mean over the static captures; NaN = none.
    """

    index: int
    scan_frame: int
    surface: ScanSurface
    color: CornerPairs
    ir: CornerPairs
    depth_m: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class SensorObservations:
    """Everything seen by one sensor, with the factory's idea of it.

    Attributes:
        sensor: id of the sensor.
        color, depth: factory cameras in the modes recorded.
        T_color_depth: factory transform.
        placements: at least one.
    """

    sensor: str
    color: Camera
    depth: Camera
    T_color_depth: Rigid
    placements: tuple[Placement, ...]

    def __post_init__(self) -> None:
        if not self.placements:
            raise DataError(
                "no placement of the target was seen",
                where=f"sensor {self.sensor}",
                fix="Record the target at 8 or more places",
            )
        for placement in self.placements:
            if placement.depth_m.shape != (self.depth.height, self.depth.width):
                raise DataError(f"depth image is {placement.depth_m.shape}", where=f"placement {placement.index}")

    @property
    def num_corners(self) -> int:
        """Corners of both cameras over all placements."""
        return sum(len(placement.color) + len(placement.ir) for placement in self.placements)

    def without(self, index: int) -> SensorObservations:
        """All placements but ``index``."""
        return replace(self, placements=tuple(placement for placement in self.placements if placement.index != index))

    def only(self, index: int) -> SensorObservations:
        """Placement ``index`` alone."""
        return replace(self, placements=tuple(placement for placement in self.placements if placement.index == index))
