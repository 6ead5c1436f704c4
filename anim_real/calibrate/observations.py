"""What was seen of the target at every placement: the solver's input, free of files and images' formats.

Frames ``color``, ``depth`` (cameras) and ``scan``; metres; pixels with integer centres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.spheres.fits import RangeFit
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
class ScanSpheres:
    """Spheres of the target found on one scan.

    Attributes:
        ids: (S,) numbers of the target's spheres, ascending.
        centers: (S, 3) frame scan, metres.
        covariances: (S, 3, 3) of the centres.
        radii_m, radius_errors_m: (S,) the target's radius; the one found minus it.
        refused: spheres that were looked for, and why they do not count.
    """

    ids: NDArray[np.int64]
    centers: Array
    covariances: Array
    radii_m: Array
    radius_errors_m: Array
    refused: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls) -> ScanSpheres:
        """No sphere at all."""
        none = np.zeros(0)
        return cls(
            ids=np.zeros(0, np.int64),
            centers=np.zeros((0, 3)),
            covariances=np.zeros((0, 3, 3)),
            radii_m=none,
            radius_errors_m=none,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SpherePairs:
    """Spheres found both on the scan and in the depth image.

    Attributes:
        ids: (S,) numbers of the target's spheres, ascending.
        centers_scan: (S, 3) frame scan, metres.
        fits: their fits in the depth image; the depth bias and the factory's lens are still in them.
        covariances: (S, 3, 3) of the difference of both centres, frame depth.
        scan_radius_errors_m: (S,) radius found on the scan minus the target's.
        refused: spheres that were looked for, and why they do not count.
        pixels: (h, w) depth pixels that show a sphere: they tell of it alone. None = nowhere.
    """

    ids: NDArray[np.int64]
    centers_scan: Array
    fits: tuple[RangeFit, ...]
    covariances: Array
    scan_radius_errors_m: Array
    refused: Mapping[int, str] = field(default_factory=dict)
    pixels: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if not (len(self.ids) == len(self.centers_scan) == len(self.fits) == len(self.covariances)):
            raise DataError("ids, centres and fits differ in length", where="sphere pairs")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def centers_depth(self) -> Array:
        """(S, 3) as fitted, frame depth, metres."""
        return np.array([fit.center for fit in self.fits]).reshape(-1, 3)

    @classmethod
    def empty(cls, refused: Mapping[int, str] | None = None) -> SpherePairs:
        """No sphere at all."""
        return cls(
            ids=np.zeros(0, np.int64),
            centers_scan=np.zeros((0, 3)),
            fits=(),
            covariances=np.zeros((0, 3, 3)),
            scan_radius_errors_m=np.zeros(0),
            refused={} if refused is None else refused,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """One placement of the target.

    Attributes:
        index: its number in the take.
        scan_frame: frame index of its scan.
        surface: the scan.
        color, ir: corners seen by both cameras of the sensor.
        depth_m: (h, w) measured depth along z in metres, mean over the static captures; NaN = none.
        scan_spheres: spheres on the scan.
        spheres: those of them that the depth camera shows too; empty until a first pose is known.
    """

    index: int
    scan_frame: int
    surface: ScanSurface
    color: CornerPairs
    ir: CornerPairs
    depth_m: Array
    scan_spheres: ScanSpheres = field(default_factory=ScanSpheres.empty)
    spheres: SpherePairs = field(default_factory=SpherePairs.empty)

    @property
    def depth_off_spheres_m(self) -> Array:
        """(h, w) the measured depth without the pixels that show spheres."""
        pixels = self.spheres.pixels
        return self.depth_m if pixels is None else np.where(pixels, np.nan, self.depth_m)


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

    @property
    def num_spheres(self) -> int:
        """Sphere fits over all placements."""
        return sum(len(placement.spheres) for placement in self.placements)

    def without(self, index: int) -> SensorObservations:
        """All placements but ``index``."""
        return replace(self, placements=tuple(placement for placement in self.placements if placement.index != index))

    def only(self, index: int) -> SensorObservations:
        """Placement ``index`` alone."""
        return replace(self, placements=tuple(placement for placement in self.placements if placement.index == index))
