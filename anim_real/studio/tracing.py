"""Looking at surfaces through a camera with full lens distortion: ray tables, first hits, what is there.

Everything here is in the camera's frame (OpenCV axes, metres); depth is along z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.geometry.raycast import RayScene
from anim_real.mesh import Mesh

F32 = NDArray[np.float32]
_LIGHT = np.array([0.25, 0.8, 0.55]) / np.linalg.norm([0.25, 0.8, 0.55])  # world: above, from the camera's side
_AMBIENT = 0.55


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """A textured surface with its infrared albedo, in some frame.

    Attributes:
        mesh: geometry with texture + uv, or vertex colours.
        ir_albedo: (V,) infrared albedo 0..1; None = derived from the visible luminance (print in carbon black).
    """

    mesh: Mesh
    ir_albedo: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class Window:
    """Pixels ``left <= u < right``, ``top <= v < bottom``."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


class RayTable:
    """Ray directions (z = 1) of every pixel of a camera, with their change per pixel.

    Attributes:
        camera: the camera.
        directions: (H, W, 3) float32, zero where the lens model is invalid.
        length: (H, W) float64 length of the direction: range per unit of z.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        rays = camera.rays()
        valid = np.asarray(np.isfinite(rays).all(axis=-1))
        self._du = np.nan_to_num(np.gradient(rays, axis=1)).astype(np.float32)
        self._dv = np.nan_to_num(np.gradient(rays, axis=0)).astype(np.float32)
        flat = np.where(valid[..., None], rays, 0.0)
        self.directions = np.concatenate([flat, valid[..., None]], -1).astype(np.float32)
        self.length = np.sqrt((flat**2).sum(-1) + 1.0)

    def at(self, window: Window, offset: tuple[float, float] = (0.0, 0.0)) -> F32:
        """(h, w, 3) directions of a window, moved by a part of a pixel (first order in the lens)."""
        rows = window.slices
        directions = self.directions[rows].copy()
        directions[..., :2] += offset[0] * self._du[rows] + offset[1] * self._dv[rows]
        return directions

    def at_pixels(self, pixels: tuple[NDArray[np.int64], NDArray[np.int64]], offset: tuple[float, float]) -> F32:
        """(N, 3) directions of single pixels (rows, columns), moved by a part of a pixel."""
        directions = self.directions[pixels].copy()
        directions[..., :2] += offset[0] * self._du[pixels] + offset[1] * self._dv[pixels]
        return directions

    def window_of(self, points: NDArray[np.float64], margin: int = 4) -> Window | None:
        """Bounding window of camera points (N, 3); None when they lie outside the image."""
        pixels = self.camera.project(points)
        pixels = pixels[np.isfinite(pixels).all(-1)]
        if len(pixels) == 0:
            return None
        low = np.maximum(np.floor(pixels.min(0)).astype(int) - margin, 0)
        high = np.minimum(np.ceil(pixels.max(0)).astype(int) + margin + 1, (self.camera.width, self.camera.height))
        if (high <= low).any():
            return None
        return Window(left=int(low[0]), top=int(low[1]), right=int(high[0]), bottom=int(high[1]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What N rays met.

    Attributes:
        z: (N,) float32 depth, inf = nothing.
        color: (N, 3) float32 shaded colour 0..255, or None if it was not asked for.
        ir: (N,) float32 IR albedo times cosine of incidence, or None if it was not asked for.
    """

    z: F32
    color: F32 | None
    ir: F32 | None


class Sight:
    """A surface as seen by one camera: moved to its frame and prepared for rays."""

    def __init__(self, surface: Surface, T_camera_surface: Rigid, light_camera: NDArray[np.float64]) -> None:
        self.surface = surface
        self.mesh = surface.mesh.moved(T_camera_surface.apply(surface.mesh.vertices))
        self._scene = RayScene(self.mesh.vertices, self.mesh.faces)
        self._normals = self.mesh.vertex_normals().astype(np.float32)
        self._light = light_camera.astype(np.float32)

    def look(self, directions: F32, *, color: bool = False, ir: bool = False) -> Seen:
        """Cast rays (N, 3) from the camera's centre."""
        hits = self._scene.cast(np.zeros(3), directions)
        found = np.flatnonzero(hits.is_hit & (directions[:, 2] > 0))
        z = np.full(len(directions), np.inf, dtype=np.float32)
        z[found] = hits.distance[found]
        corners = self.mesh.faces[hits.face[found]]
        weights = hits.barycentric[found].astype(np.float32)
        normals = np.einsum("nk,nkd->nd", weights, self._normals[corners])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        rays = directions[found]
        cosine = np.abs(np.einsum("nd,nd->n", normals, rays)) / np.linalg.norm(rays, axis=1)
        paint = self._paint(corners, weights) if color or self.surface.ir_albedo is None else None
        shaded = reflected = None
        if color:
            assert paint is not None
            light = _AMBIENT + (1.0 - _AMBIENT) * np.maximum(normals @ self._light, 0.0)
            shaded = np.zeros((len(directions), 3), dtype=np.float32)
            shaded[found] = paint * light[:, None]
        if ir:
            reflected = np.zeros(len(directions), dtype=np.float32)
            reflected[found] = self._albedo(corners, weights, paint) * cosine
        return Seen(z=z, color=shaded, ir=reflected)

    def _albedo(self, corners: NDArray[np.int64], weights: F32, paint: F32 | None) -> F32:
        if self.surface.ir_albedo is not None:
            return np.einsum("nk,nk->n", weights, self.surface.ir_albedo.astype(np.float32)[corners])
        assert paint is not None
        return 0.08 + 0.62 * paint.mean(1) / 255.0

    def _paint(self, corners: NDArray[np.int64], weights: F32) -> F32:
        """(N, 3) texture (bilinear) or vertex colour at the hits."""
        mesh = self.mesh
        if mesh.texture is not None and mesh.uv is not None:
            uv = np.einsum("nk,nkd->nd", weights, mesh.uv.astype(np.float32)[corners])
            return sample_texture(mesh.texture, uv)
        if mesh.colors is not None:
            return np.einsum("nk,nkd->nd", weights, mesh.colors.astype(np.float32)[corners])
        return np.full((len(corners), 3), 170.0, dtype=np.float32)


def light_in(T_camera_world: Rigid) -> NDArray[np.float64]:
    """Direction to the studio light in a camera's frame."""
    return T_camera_world.rotate(_LIGHT)


def sample_texture(texture: NDArray[np.uint8], uv: F32) -> F32:
    """(N, 3) bilinear samples of a texture (H, W, 3) at uv (N, 2), v up, edges clamped."""
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1.0 - uv[:, 1]) * height - 0.5, 0, height - 1)
    left, top = np.minimum(x.astype(np.int64), width - 2), np.minimum(y.astype(np.int64), height - 2)
    fx, fy = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
    upper = texture[top, left] * (1 - fx) + texture[top, left + 1] * fx
    lower = texture[top + 1, left] * (1 - fx) + texture[top + 1, left + 1] * fx
    return (upper * (1 - fy) + lower * fy).astype(np.float32)
