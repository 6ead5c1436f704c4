"""A virtual multi-view scanner: what it reconstructs of a surface, with the faults that raw scans have.

A vertex exists when two cameras see it; everything else is a hole (self-occlusion, soles on the
floor, dark hair). On top: 0.3 mm noise, flipped patches, duplicate vertices, floating pieces.
All in the world frame (metres, y up); the caller moves the result to the scan frame and unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.raycast import RayScene
from anim_real.mesh import Mesh

Array = NDArray[np.float64]
_CAMERA_RINGS = ((12, 0.45), (12, 1.3), (8, 2.3))  # number of cameras, height in metres
_MIN_VIEWS = 2
_MIN_COSINE = 0.17  # 80 degrees: flatter views do not match
_LIFT_M = 0.0015  # visibility is tested from just above the surface
_DARK_ALBEDO = 0.13


@dataclass(frozen=True, kw_only=True)
class ScanFaults:
    """How rough raw scans are.

    Attributes:
        noise_m: standard deviation of a vertex along its normal.
        num_pieces: floating pieces.
        num_flipped: patches whose faces are turned over.
        num_duplicated: patches whose faces each got vertices of their own.
        patch_radius_m: radius of those patches.
        dark_hole_share: share of dark hair-like surface that fails.
        texture_px: longer side of the texture that the scanner's software writes.
    """

    noise_m: float = 0.0003
    num_pieces: int = 3
    num_flipped: int = 2
    num_duplicated: int = 3
    patch_radius_m: float = 0.035
    dark_hole_share: float = 0.15
    texture_px: int = 1024


TARGET_FAULTS = ScanFaults(num_pieces=0, num_flipped=0, num_duplicated=0, dark_hole_share=0.0, texture_px=4096)


def scanner_cameras(radius_m: float) -> Array:
    """(C, 3) centres of the scanner's cameras, world frame: rings around the volume."""
    rings = []
    for order, (num, height) in enumerate(_CAMERA_RINGS):
        angle = 2.0 * np.pi * (np.arange(num) + 0.5 * order) / num
        reach = radius_m + 1.4
        rings.append(np.stack([np.sin(angle) * reach, np.full(num, height), np.cos(angle) * reach], 1))
    return np.concatenate(rings)


def visible_vertices(mesh: Mesh, cameras: Array) -> NDArray[np.bool_]:
    """(V,) which vertices at least two cameras see, with the floor (y = 0) in the way of what stands on it."""
    normals = mesh.vertex_normals()
    origins = mesh.vertices + _LIFT_M * normals
    scene = RayScene(mesh.vertices, mesh.faces)
    towards = cameras[None] - origins[:, None]
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    is_facing = (np.einsum("vcd,vd->vc", towards, normals) > _MIN_COSINE) & (origins[:, 1] > 0.002)[:, None]
    vertex, camera = np.nonzero(is_facing)
    is_blocked = scene.occluded(origins[vertex], cameras[camera])
    views = np.bincount(vertex[~is_blocked], minlength=len(origins))
    return views >= _MIN_VIEWS


def raw_scan(
    mesh: Mesh, cameras: Array, faults: ScanFaults, rng: np.random.Generator, *, ir_albedo: Array | None = None
) -> Mesh:
    """Return the holed, noisy scan of a surface, with texture and regions.

    Args:
        mesh: the true surface, world frame, metres.
        cameras: (C, 3) the scanner's camera centres.
        faults: how rough the scan is.
        rng: random numbers.
        ir_albedo: (V,) albedo of the surface; very dark parts above 1.2 m (hair) fail in patches.
    """
    kept = visible_vertices(mesh, cameras)
    if ir_albedo is not None and faults.dark_hole_share > 0:
        kept &= ~_failed_hair(mesh, ir_albedo, faults.dark_hole_share, rng)
    scan = _restrict(mesh, np.logical_and.reduce(kept[mesh.faces], axis=1))
    offset = rng.normal(0.0, faults.noise_m, len(scan.vertices))
    scan = scan.moved(scan.vertices + offset[:, None] * scan.vertex_normals())
    for _ in range(faults.num_flipped):
        scan = _flip_patch(scan, faults.patch_radius_m, rng)
    for _ in range(faults.num_duplicated):
        scan = _duplicate_patch(scan, faults.patch_radius_m, rng)
    for _ in range(faults.num_pieces):
        scan = _add_piece(scan, rng)
    return replace(scan, texture=_limited(scan.texture, faults.texture_px))


def _limited(texture: NDArray[np.uint8] | None, longest_px: int) -> NDArray[np.uint8] | None:
    if texture is None or max(texture.shape[:2]) <= longest_px:
        return texture
    factor = longest_px / max(texture.shape[:2])
    size = (round(texture.shape[1] * factor), round(texture.shape[0] * factor))
    return np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _failed_hair(mesh: Mesh, ir_albedo: Array, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Patches of dark surface at head height where matching fails: a smooth random field above a level."""
    dark = (ir_albedo < _DARK_ALBEDO) & (mesh.vertices[:, 1] > 1.2)
    if not dark.any():
        return dark
    waves = rng.normal(0.0, 45.0, (12, 3))  # radians per metre: patches of a few centimetres
    field = np.cos(mesh.vertices @ waves.T + rng.uniform(0, 2 * np.pi, 12)).sum(1)
    return dark & (field > np.quantile(field[dark], 1.0 - share))


def _restrict(mesh: Mesh, keep_faces: NDArray[np.bool_]) -> Mesh:
    used, faces = np.unique(mesh.faces[keep_faces], return_inverse=True)
    return _rows(mesh, used, faces.reshape(-1, 3))


def _rows(mesh: Mesh, vertex: NDArray[np.int64], faces: NDArray[np.int64]) -> Mesh:
    """Mesh of the chosen (possibly repeated) vertices with new faces."""

    def taken(values: NDArray | None) -> NDArray | None:
        return None if values is None else values[vertex]

    return Mesh(
        vertices=mesh.vertices[vertex],
        faces=faces,
        colors=taken(mesh.colors),
        regions=taken(mesh.regions),
        uv=taken(mesh.uv),
        texture=mesh.texture,
    )


def _patch(mesh: Mesh, radius_m: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    centers = mesh.corners.mean(1)
    return np.linalg.norm(centers - centers[rng.integers(len(centers))], axis=1) < radius_m


def _flip_patch(mesh: Mesh, radius_m: float, rng: np.random.Generator) -> Mesh:
    patch = _patch(mesh, radius_m, rng)
    return replace(mesh, faces=np.where(patch[:, None], mesh.faces[:, ::-1], mesh.faces))


def _duplicate_patch(mesh: Mesh, radius_m: float, rng: np.random.Generator) -> Mesh:
    patch = np.flatnonzero(_patch(mesh, radius_m, rng))
    num = len(mesh.vertices)
    faces = mesh.faces.copy()
    vertex = np.concatenate([np.arange(num), faces[patch].ravel()])
    faces[patch] = num + np.arange(3 * len(patch)).reshape(-1, 3)
    return _rows(mesh, vertex, faces)


def _add_piece(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Copy a small patch, shrink it to a crumb of 1-2 cm and let it float 8-25 cm off the surface."""
    chosen = np.flatnonzero(_patch(mesh, rng.uniform(0.02, 0.04), rng))
    used, faces = np.unique(mesh.faces[chosen], return_inverse=True)
    center = mesh.vertices[used].mean(0)
    direction = rng.normal(size=3)
    direction[1] = abs(direction[1])
    direction /= np.linalg.norm(direction)
    crumb = center + direction * rng.uniform(0.08, 0.25) + (mesh.vertices[used] - center) * rng.uniform(0.3, 0.6)
    num = len(mesh.vertices)
    grown = _rows(
        mesh, np.concatenate([np.arange(num), used]), np.concatenate([mesh.faces, num + faces.reshape(-1, 3)])
    )
    vertices = grown.vertices.copy()
    vertices[num:] = crumb
    return grown.moved(vertices)
