"""Rendering meshes by ray casting: RGB-D with normals for any camera, and pictures for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.frames import Rigid
from anim_real.geometry.raycast import RayScene
from anim_real.mesh import Mesh
from anim_real.meshes.regions import colors_at

Array = NDArray[np.float64]
_GRAY = 180  # colour of meshes that have none
_LIGHT = np.array([0.35, 0.45, 0.82])  # in view axes: from the upper right, in front
_FILL = 1.08  # margin around the mesh in pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendering:
    """What a camera sees of a mesh; all images (H, W, ...).

    Attributes:
        color: (H, W, 3) uint8 RGB, unlit; 0 where nothing is seen.
        depth_m: (H, W) float64 z along the optical axis in metres; 0 where nothing is seen.
        normals: (H, W, 3) float64 unit normals in the camera frame (OpenCV axes: what faces the camera
            has negative z); 0 where nothing is seen.
        mask: (H, W) bool: something is seen.
        face: (H, W) int64 face that is seen, -1 = none.
    """

    color: NDArray[np.uint8]
    depth_m: Array
    normals: Array
    mask: NDArray[np.bool_]
    face: NDArray[np.int64]

    @property
    def depth_mm(self) -> NDArray[np.uint16]:
        """(H, W) uint16 depth in whole millimetres, 0 = none or beyond 65.5 m."""
        millimetres = np.rint(self.depth_m * 1000.0)
        return np.where(millimetres <= np.iinfo(np.uint16).max, millimetres, 0).astype(np.uint16)


def render_rgbd(
    mesh: Mesh, camera: Camera | OrthographicCamera, T_camera_mesh: Rigid, *, has_smooth_normals: bool = True
) -> Rendering:
    """Cast one ray through every pixel centre.

    Args:
        mesh: in its own frame, metres; texture or vertex colours are used where there are any.
        camera: perspective (with its lens) or orthographic.
        T_camera_mesh: from the mesh's frame to the camera's.
        has_smooth_normals: interpolate vertex normals; else each face has its own.
    """
    vertices = T_camera_mesh.apply(mesh.vertices)
    origins, directions, is_valid = _rays(camera, float(vertices[:, 2].min()))
    hits = RayScene(vertices, mesh.faces).cast(origins[is_valid], directions[is_valid])
    seen = hits.is_hit
    face, weights = hits.face[seen], hits.barycentric[seen]
    shape = (camera.height, camera.width)
    mask = np.zeros(shape, dtype=bool)
    mask[is_valid] = seen
    color, normals = np.zeros((*shape, 3), dtype=np.uint8), np.zeros((*shape, 3))
    depth, face_image = np.zeros(shape), np.full(shape, -1, dtype=np.int64)
    found = colors_at(mesh, face, weights)
    color[mask] = _GRAY if found is None else found
    # z of the hit from its triangle in float64: Embree's ray parameter is float32
    depth[mask] = np.einsum("pk,pk->p", weights, vertices[mesh.faces[face], 2])
    normals[mask] = T_camera_mesh.rotate(_normals(mesh, face, weights, has_smooth_normals))
    face_image[mask] = face
    return Rendering(color=color, depth_m=depth, normals=normals, mask=mask, face=face_image)


def normal_maps(
    mesh: Mesh,
    *,
    yaws_deg: Sequence[float] = (0.0, 90.0, 180.0, 270.0),
    size: int = 512,
    center: ArrayLike,
    half_extent_m: float,
) -> tuple[Array, NDArray[np.bool_]]:
    """Orthographic normal maps around the y axis, as the Normal metric needs them.

    The mesh frame has y up. Yaw 0 looks along -z (a person who faces +z is seen from the front); yaw 90
    shows what faces +x. Normals are in *view* axes: x right, y up, z towards the viewer.

    Args:
        mesh: in metres (or any unit that ``center`` and ``half_extent_m`` share).
        yaws_deg: N views.
        size: pixels per side.
        center: (3,) what the image centre shows.
        half_extent_m: half of the side that the image shows.

    Returns:
        (N, size, size, 3) smooth unit normals, 0 where nothing is seen, and (N, size, size) masks.
    """
    camera = _view_camera(size, half_extent_m)
    views = [render_rgbd(mesh, camera, _view(yaw, center)) for yaw in yaws_deg]
    normals = np.stack([view.normals for view in views]) * (1.0, -1.0, -1.0)
    return normals, np.stack([view.mask for view in views])


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureView:
    """A picture of a mesh and how it was taken.

    Attributes:
        image: (S, S, 3) uint8 RGB on white.
        depth_m: (S, S) float64 z in the view frame, NaN where nothing is seen.
        camera: parallel projection of the view frame.
        T_view_mesh: mesh frame to view frame (OpenCV axes).
    """

    image: NDArray[np.uint8]
    depth_m: Array
    camera: OrthographicCamera
    T_view_mesh: Rigid


def picture_view(
    mesh: Mesh, yaw_deg: float, size: int, up: ArrayLike = (0.0, 1.0, 0.0), *, has_colors: bool = True
) -> PictureView:
    """Picture a mesh whose ``up`` axis (3,) points up, filling the image; see ``normal_maps`` for the yaw."""
    T_upright_mesh = Rigid.from_parts("mesh", "mesh", upright(up), np.zeros(3))
    corners = T_upright_mesh.apply(mesh.vertices)
    low, high = corners.min(0), corners.max(0)
    camera = _view_camera(size, _FILL * float((high - low).max()) / 2)
    T_view_mesh = _view(yaw_deg, (low + high) / 2) @ T_upright_mesh
    view = render_rgbd(mesh, camera, T_view_mesh, has_smooth_normals=False)
    light = _LIGHT / np.linalg.norm(_LIGHT)
    lit = 0.3 + 0.7 * np.clip(np.abs((view.normals * (1.0, -1.0, -1.0)) @ light), 0.0, 1.0)
    base = view.color if has_colors else np.full_like(view.color, _GRAY)
    picture = np.full((size, size, 3), 255, dtype=np.uint8)
    picture[view.mask] = np.clip(np.rint(base * lit[..., None]), 0, 255).astype(np.uint8)[view.mask]
    depth_m = np.where(view.mask, view.depth_m, np.nan)
    return PictureView(image=picture, depth_m=depth_m, camera=camera, T_view_mesh=T_view_mesh)


def shaded(mesh: Mesh, yaw_deg: float, size: int, *, has_colors: bool = True) -> NDArray[np.uint8]:
    """(size, size, 3) RGB picture of a mesh whose y axis points up, filling the image, on white."""
    return picture_view(mesh, yaw_deg, size, has_colors=has_colors).image


def upright(up: ArrayLike) -> Array:
    """(3, 3) shortest rotation that takes the unit vector ``up`` (3,) to +y; -y turns about x."""
    source, target = np.asarray(up, dtype=np.float64), np.array([0.0, 1.0, 0.0])
    if source @ target < -1.0 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    x, y, z = np.cross(source, target)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + source @ target)


def _view_camera(size: int, half_extent_m: float) -> OrthographicCamera:
    middle = (size - 1) / 2
    return OrthographicCamera(width=size, height=size, px_per_m=size / (2 * half_extent_m), cx=middle, cy=middle)


def _view(yaw_deg: float, center: ArrayLike) -> Rigid:
    """T_view_mesh: OpenCV axes looking at ``center`` from the side that ``yaw_deg`` names."""
    yaw = np.deg2rad(yaw_deg)
    turn = np.array([[np.cos(yaw), 0.0, -np.sin(yaw)], [0.0, 1.0, 0.0], [np.sin(yaw), 0.0, np.cos(yaw)]])
    rotation = np.diag([1.0, -1.0, -1.0]) @ turn
    return Rigid.from_parts("view", "mesh", rotation, -rotation @ np.asarray(center, dtype=np.float64))


def _rays(camera: Camera | OrthographicCamera, nearest_z: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Origins and directions (H, W, 3) in the camera frame, and which pixels have a ray."""
    if isinstance(camera, OrthographicCamera):
        pixels = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), -1)
        origins = camera.unproject(pixels, np.full(pixels.shape[:2], nearest_z - 1.0))
        directions = np.broadcast_to(np.array([0.0, 0.0, 1.0]), origins.shape)
        return origins, directions, np.ones(pixels.shape[:2], dtype=bool)
    plane = camera.rays()
    directions = np.concatenate([plane, np.ones((*plane.shape[:2], 1))], -1)
    return np.zeros_like(directions), directions, np.asarray(np.isfinite(plane).all(-1))


def _normals(mesh: Mesh, face: NDArray[np.int64], weights: Array, is_smooth: bool) -> Array:
    """(P, 3) unit normals in the mesh's frame."""
    if is_smooth:
        normals = np.einsum("pk,pkd->pd", weights, mesh.vertex_normals()[mesh.faces[face]])
    else:
        a, b, c = np.moveaxis(mesh.corners[face], 1, 0)
        normals = np.cross(b - a, c - a)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
