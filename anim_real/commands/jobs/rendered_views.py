"""The work on one mesh file: scale to metres, label, close, render clean RGB-D from all sides, draw labelled points.

The stored ``scan`` frame has the file's own axes, in metres. The camera stands level with the middle of
the mesh, 2 m from its vertical axis, upright, and turns around it. Depth comes from the closed mesh
(labels and depth agree); colour from the file's own surface where that is what is seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anim_real.commands.jobs.mesh_regions import with_regions
from anim_real.commands.jobs.scan_units import scan_unit, stable_rng
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh, load_mesh
from anim_real.meshes.render import render_rgbd, upright
from anim_real.meshes.watertight import WatertightResult, make_watertight
from anim_real.regions import RegionSpec
from anim_real.rig import METRES_PER_UNIT, Unit
from anim_real.shards.images import encode_jpeg
from anim_real.shards.plan import Outcome
from anim_real.shards.schema import ColorStorage, ItemFailure
from anim_real.shards.write import FrameRow

Axis = Literal["+x", "-x", "+y", "-y", "+z", "-z"]
Projection = Literal["perspective", "orthographic"]
SENSOR = "render"
CAMERA_DISTANCE_M = 2.0
WINDOW_M = 2.048  # what an orthographic image shows (ANIM: +-102.4 cm)
_FILL = 0.92  # share of a perspective image's half width that the widest view takes
_NEAREST_M = 0.3
_SIZES_M = (0.05, 3.0)  # a hand .. a person with raised arms
_SAME_SURFACE_CELLS = 2.0
_LABEL_VIEWS, _LABEL_PX = 12, 512  # pictures for a segmenter, however many views are packed


@dataclass(frozen=True, kw_only=True)
class RenderTask:
    """Everything about one mesh that the work needs."""

    path: Path
    take: str
    metres_per_unit: float
    up: Axis
    num_views: int
    size: int
    projection: Projection
    resolution: int
    num_points: int
    color: ColorStorage
    seed: int
    regions: RegionSpec | None = None

    def record(self) -> dict[str, Any]:
        """JSON-ready form of all but the file; the place of a model on this machine stays out of it."""
        regions = None if self.regions is None else self.regions.portable()
        options = asdict(replace(self, regions=None)) | {"regions": regions}
        return {name: value for name, value in options.items() if name not in ("path", "take")}


def file_scale(mesh: Mesh, *, unit: Unit, up: Axis, height_m: float | None, where: object) -> float:
    """Metres per unit of the file: by its unit, or so that the mesh becomes ``height_m`` tall.

    Raises:
        DataError: the result has no size that a scanned person, head or limb can have.
    """
    tall = float(np.ptp(mesh.vertices @ up_vector(up)))
    if height_m is not None and tall <= 0:
        raise DataError(f"is flat along {up}", where=where, fix="Choose another --up")
    scale = METRES_PER_UNIT[unit] if height_m is None else height_m / tall
    extent = scale * float(np.ptp(mesh.vertices, axis=0).max())
    if not _SIZES_M[0] <= extent <= _SIZES_M[1]:
        raise DataError(
            f"would be {extent:.4g} m large; expected {_SIZES_M[0]} to {_SIZES_M[1]} m",
            where=where,
            fix="Set --unit m, dm, cm, mm or inch; or --height for a mesh without scale",
        )
    return scale


def render_outcome(task: RenderTask) -> Outcome:
    """Close, render and sample one mesh; what goes wrong is the outcome's failure."""
    try:
        mesh = _labelled(load_mesh(task.path).scaled(task.metres_per_unit), task)
        result = make_watertight(mesh, resolution=task.resolution)
        poses = view_poses(result.mesh.vertices, task.up, task.num_views)
        camera = view_camera(result.mesh.vertices, poses, task.size, task.projection)
        frames = tuple(_frame(task, mesh, result, camera, poses[view], view) for view in range(task.num_views))
        rng = stable_rng("samples", task.seed, task.take, 0)
        unit = scan_unit(result, scan_index=0, frames=frames, num_points=task.num_points, rng=rng)
    except DataError as error:
        reason = str(error) if str(task.path) in str(error) else f"{task.path}: {error}"
        return Outcome(take=task.take, unit=None, failures=(ItemFailure(take=task.take, item="scan 0", reason=reason),))
    return Outcome(take=task.take, unit=unit)


def _labelled(mesh: Mesh, task: RenderTask) -> Mesh:
    """The mesh with regions from the task's source."""
    if task.regions is None:
        return mesh
    poses = view_poses(mesh.vertices, task.up, _LABEL_VIEWS)
    camera = view_camera(mesh.vertices, poses, _LABEL_PX, "perspective")
    assert isinstance(camera, Camera)
    return with_regions(mesh, task.regions, task.path, camera, poses)


def view_poses(vertices: NDArray[np.float64], up: Axis, num_views: int) -> list[Rigid]:
    """``T_color_scan`` of views spread evenly around the vertical axis; the first looks at the front (+z for +y up)."""
    to_upright = upright(up_vector(up))
    standing = vertices @ to_upright.T
    center = (standing.min(0) + standing.max(0)) / 2
    poses = []
    for yaw in np.arange(num_views) * (2 * np.pi / num_views):
        turn = np.array([[np.cos(yaw), 0.0, -np.sin(yaw)], [0.0, 1.0, 0.0], [np.sin(yaw), 0.0, np.cos(yaw)]])
        level = np.diag([1.0, -1.0, -1.0]) @ turn  # y up, facing us along +z -> OpenCV axes
        translation = np.array([0.0, 0.0, CAMERA_DISTANCE_M]) - level @ center
        poses.append(Rigid.from_parts("color", "scan", level @ to_upright, translation))
    return poses


def view_camera(
    vertices: NDArray[np.float64], poses: list[Rigid], size: int, projection: Projection
) -> Camera | OrthographicCamera:
    """One camera for all views: perspective filled by the widest view, or the fixed orthographic window.

    Raises:
        DataError: the mesh comes too near to the camera or leaves the window.
    """
    seen = np.stack([pose.apply(vertices) for pose in poses])
    nearest = float(seen[..., 2].min())
    if nearest < _NEAREST_M:
        raise DataError(f"comes to {nearest:.2f} m of the camera", fix="Check --unit, or scale it with --height")
    middle = (size - 1) / 2
    if projection == "perspective":
        widest = float(np.abs(seen[..., :2] / seen[..., 2:]).max())
        focal = _FILL * size / 2 / widest
        return Camera(width=size, height=size, fx=focal, fy=focal, cx=middle, cy=middle)
    reach = float(np.abs(seen[..., :2]).max())
    if reach > WINDOW_M / 2:
        raise DataError(f"reaches {reach:.2f} m, the image shows {WINDOW_M / 2:.3f} m", fix="Scale it with --height")
    return OrthographicCamera(width=size, height=size, px_per_m=size / WINDOW_M, cx=middle, cy=middle)


def _frame(
    task: RenderTask, mesh: Mesh, result: WatertightResult, camera: Camera | OrthographicCamera, pose: Rigid, view: int
) -> FrameRow:
    closed, raw = render_rgbd(result.mesh, camera, pose), render_rgbd(mesh, camera, pose)
    is_own = raw.mask & (np.abs(raw.depth_m - closed.depth_m) < _SAME_SURFACE_CELLS * result.report.cell_m)
    color = np.where(is_own[..., None], raw.color, closed.color)
    color[~closed.mask] = 0
    return FrameRow(
        color=encode_jpeg(color) if task.color == "jpeg" else color,
        depth_mm=closed.depth_mm,
        mask=closed.mask,
        camera=camera,
        T_color_scan=pose,
        sensor=SENSOR,
        kinect_index=view,
    )


def up_vector(up: Axis) -> NDArray[np.float64]:
    """(3,) unit vector of the axis that points up."""
    vector = np.zeros(3)
    vector["xyz".index(up[1])] = -1.0 if up[0] == "-" else 1.0
    return vector
