"""The object as points: its part of a scan and its part of a depth image, without markers and without a pose.

Frames ``scan`` and ``depth``, metres. What stays where it is from placement to placement, and planes larger than any
object (floor, walls), are background. Matching the two clouds is left to ``markerless.start``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anim_real.calibrate.markerless.segments import clusters, extent, off_planes
from anim_real.calibrate.observations import Placement, ScanSurface, SensorObservations
from anim_real.errors import RefusedError

Array = NDArray[np.float64]
VOXEL_M = 0.012
_NORMAL_RADIUS_M = 0.03  # smooths 2 mm of depth noise, keeps shapes of some centimetres
_MIN_OBJECT_M, _MAX_OBJECT_M = 0.15, 1.6  # a mix-up of mm and m lies far outside
_MOVED_M = 0.03  # nearer than the farthest surface ever seen at the pixel: something stood there
_EDGE_SHARE = 0.03  # a depth step within 3x3 pixels beyond this share of z makes flying pixels
_FAR_M = 4.5
_MIN_POINTS = 150
_MAX_CLUSTERS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """Points on a surface.

    Attributes:
        points: (N, 3) metres.
        normals: (N, 3) unit, pointing outwards (towards the camera where it is seen).
    """

    points: Array
    normals: Array

    def __len__(self) -> int:
        return len(self.points)

    def subset(self, chosen: NDArray[Any]) -> Cloud:
        """Some of the points."""
        return Cloud(points=self.points[chosen], normals=self.normals[chosen])

    def thinned(self, cell_m: float) -> Cloud:
        """The same surface with one point, and the mean normal, per cell; as it is where cells are no larger."""
        if cell_m <= VOXEL_M:
            return self
        import open3d as o3d

        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(self.points))
        cloud.normals = o3d.utility.Vector3dVector(self.normals)
        cloud = cloud.voxel_down_sample(cell_m)
        normals = np.array(cloud.normals)
        return Cloud(
            points=np.array(cloud.points),
            normals=normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectView:
    """The object at one placement, as scanned and as seen.

    Attributes:
        index: number of the placement.
        surface: the triangles of the object, without floor and walls, frame scan.
        scan: the whole object, frame scan.
        depth_m: (h, w) the depth image of the placement.
        seen: the part that the depth camera sees, frame depth; perhaps with other things of its size.
        main: (3,) middle of what is most likely the object, frame depth.
    """

    index: int
    surface: ScanSurface
    scan: Cloud
    depth_m: Array
    seen: Cloud
    main: Array

    @property
    def center(self) -> Array:
        """(3,) middle of the scanned object."""
        return self.scan.points.mean(0)

    @property
    def size_m(self) -> float:
        """Length of the diagonal of the scanned object's oriented box."""
        return extent(self.scan.points)


def object_views(observations: SensorObservations, rays: Array) -> list[ObjectView]:
    """Find the object in every scan and depth image; placements at which it is not seen are left out.

    ``rays`` (h, w, 2) are x/z, y/z of every pixel of the depth camera.

    Raises:
        RefusedError: an object of impossible size, or none that is seen in any depth image.
    """
    farthest = _farthest([placement.depth_m for placement in observations.placements])
    views = []
    for placement in observations.placements:
        where = f"placement {placement.index} (scan frame {placement.scan_frame})"
        scan, surface = scanned_object(placement.surface, where=where)
        things = seen_clusters(placement, rays, farthest, extent(scan.points))
        if things:
            seen = Cloud(
                points=np.concatenate([thing.points for thing in things]),
                normals=np.concatenate([thing.normals for thing in things]),
            )
            view = ObjectView(
                index=placement.index,
                surface=surface,
                scan=scan,
                depth_m=placement.depth_m,
                seen=seen,
                main=np.median(things[0].points, axis=0),
            )
            views.append(view)
    if not views:
        raise RefusedError(
            "nothing of the scanned object's size stands out in the depth images",
            where=f"sensor {observations.sensor}",
            fix="Put the object 1 to 3 m before the sensor, 10 cm or more from walls, and move it between placements",
        )
    return views


def scanned_object(surface: ScanSurface, *, where: str) -> tuple[Cloud, ScanSurface]:
    """Points 12 mm apart on the largest thing of a scan that is not floor, and its triangles.

    Raises:
        RefusedError: there is none, or its size is not that of an object in metres.
    """
    corners = surface.vertices[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1) / 2.0
    reach = float(np.linalg.norm(np.ptp(surface.vertices, axis=0)))
    if not _MIN_OBJECT_M < reach < 10.0 * _MAX_OBJECT_M or area.sum() <= 0:
        raise RefusedError(
            f"the scan measures {reach:.3g} m",
            where=where,
            fix=f"The object may measure {_MIN_OBJECT_M} to {_MAX_OBJECT_M} m: check the scanner's unit in the rig",
        )
    rng = np.random.default_rng(0)  # the same scan gives the same points
    number = int(np.clip(6.0 * area.sum() / VOXEL_M**2, 2_000, 200_000))
    face = rng.choice(len(area), number, p=area / area.sum())
    points = np.einsum("nk,nki->ni", rng.dirichlet(np.ones(3), number), corners[face])
    outwards = normals[face] / np.maximum(2.0 * area[face], 1e-30)[:, None]
    kept = off_planes(points)
    groups = clusters(points[kept])
    if not groups:
        raise RefusedError(
            "the scan holds floor or wall, but no object",
            where=where,
            fix="Use an object with shapes of some centimetres in all directions, not a flat one",
        )
    chosen = kept[groups[0]]
    size = extent(points[chosen])
    if not _MIN_OBJECT_M < size < _MAX_OBJECT_M:
        raise RefusedError(
            f"the object of the scan measures {size:.3g} m",
            where=where,
            fix=f"It may measure {_MIN_OBJECT_M} to {_MAX_OBJECT_M} m: check the scanner's unit in the rig",
        )
    cloud = _thinned(points[chosen], outwards[chosen])
    return cloud, _part(surface, np.unique(face[chosen]), cloud)


def seen_clusters(placement: Placement, rays: Array, farthest: Array | None, size_m: float) -> list[Cloud]:
    """Things of a depth image that could be an object of a size, the likeliest first.

    Args:
        placement: its depth image.
        rays: (h, w, 2) x/z, y/z of every pixel.
        farthest: (h, w) the farthest depth over all placements; None with one placement.
        size_m: diagonal of the object.
    """
    z = placement.depth_m
    valid = np.isfinite(z) & np.isfinite(rays).all(-1) & (z < _FAR_M) & ~_flying(z)
    moved = valid & (z < farthest - _MOVED_M) if farthest is not None else np.zeros_like(valid)
    moved = np.asarray(ndimage.binary_opening(moved, np.ones((3, 3))), bool)
    is_moved = moved.sum() >= _MIN_POINTS
    chosen = moved if is_moved else valid
    points = np.concatenate([rays, np.ones((*z.shape, 1))], -1)[chosen] * z[chosen][:, None]
    if len(points) < _MIN_POINTS:
        return []
    cloud = _thinned(points, -points)
    if not is_moved:
        cloud = cloud.subset(off_planes(cloud.points))
    found = []
    for members in clusters(cloud.points):
        if len(members) >= _MIN_POINTS // 2 and 0.25 * size_m < extent(cloud.points[members]) < 1.25 * size_m:
            found.append(cloud.subset(members))
    return found[:_MAX_CLUSTERS]


def _part(surface: ScanSurface, sampled: NDArray[np.int64], cloud: Cloud) -> ScanSurface:
    """The triangles of a scan on which points of a part lie, and those too small to have any that are on it too."""
    from scipy.spatial import cKDTree

    corners = surface.vertices[surface.faces]
    is_part = np.zeros(len(corners), bool)
    is_part[sampled] = True
    is_small = np.ptp(corners, axis=1).max(1) < VOXEL_M
    is_part[is_small] |= cKDTree(cloud.points).query(corners[is_small].mean(1))[0] < 1.5 * VOXEL_M
    used, faces = np.unique(surface.faces[is_part], return_inverse=True)
    return ScanSurface.of(surface.vertices[used], faces.reshape(-1, 3))


def _farthest(depths: list[Array]) -> Array | None:
    """(h, w) farthest depth of every pixel; None with fewer than two images, inf where nothing was ever seen."""
    if len(depths) < 2:
        return None
    stack = np.stack(depths)
    return np.where(np.isfinite(stack), stack, -np.inf).max(0)


def _flying(z: Array) -> NDArray[np.bool_]:
    filled = np.where(np.isfinite(z), z, 0.0)
    low = np.where(np.isfinite(z), z, 100.0)
    return ndimage.maximum_filter(filled, 3) - ndimage.minimum_filter(low, 3) > _EDGE_SHARE * np.maximum(filled, 0.1)


def _thinned(points: Array, outwards: Array) -> Cloud:
    """Points a voxel apart with normals of their neighbourhood on the side of ``outwards``."""
    import open3d as o3d

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    cloud.normals = o3d.utility.Vector3dVector(outwards)
    cloud = cloud.voxel_down_sample(VOXEL_M)
    sides = np.array(cloud.normals)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(_NORMAL_RADIUS_M, 60))
    normals = np.array(cloud.normals)
    normals *= np.where(np.einsum("ni,ni->n", normals, sides) < 0, -1.0, 1.0)[:, None]
    return Cloud(points=np.array(cloud.points), normals=normals)
