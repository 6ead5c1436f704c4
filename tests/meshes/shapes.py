"""Shapes with known signed distance, and the faults of raw scans put into them."""

from __future__ import annotations

import numpy as np

from anim_real.mesh import Mesh


def sphere(radius: float = 0.5, subdivisions: int = 4, center=(0.0, 0.0, 0.0)) -> Mesh:
    import igl

    vertices, faces = igl.icosahedron()
    for _ in range(subdivisions):
        vertices, faces = igl.upsample(vertices, faces)
        vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    mesh = Mesh(vertices=vertices * radius + np.asarray(center), faces=faces)
    return mesh if mesh.volume > 0 else inverted(mesh)


def torus(major: float = 0.5, minor: float = 0.15, around: int = 160, across: int = 60) -> Mesh:
    u, v = np.meshgrid(np.arange(around), np.arange(across), indexing="ij")
    a, b = 2 * np.pi * u / around, 2 * np.pi * v / across
    reach = major + minor * np.cos(b)
    vertices = np.stack([reach * np.cos(a), minor * np.sin(b), reach * np.sin(a)], -1).reshape(-1, 3)
    corner = u * across + v
    right, up = (u + 1) % around * across + v, u * across + (v + 1) % across
    far = (u + 1) % around * across + (v + 1) % across
    faces = np.concatenate([np.stack([corner, up, right], -1), np.stack([right, up, far], -1)]).reshape(-1, 3)
    mesh = Mesh(vertices=vertices, faces=faces)
    return mesh if mesh.volume > 0 else inverted(mesh)


def capsule(radius: float = 0.15, half_length: float = 0.4) -> Mesh:
    ball = sphere(radius, 5)
    shift = np.where(ball.vertices[:, 1] >= 0, half_length, -half_length)
    return ball.moved(ball.vertices + np.stack([0 * shift, shift, 0 * shift], 1))


def bell(radius: float = 0.15, length: float = 0.7, around: int = 96) -> Mesh:
    """A tube about y, open below at y = 0, straight up to ``length`` and round above it; faces look outwards."""
    rise = np.linspace(0.0, np.pi / 2, 25)[1:]
    straight = np.linspace(0.0, length, 60)
    reach = np.concatenate([np.full(len(straight), radius), radius * np.cos(rise)])
    height = np.concatenate([straight, length + radius * np.sin(rise)])
    turn = 2 * np.pi * np.arange(around) / around
    vertices = np.stack(
        [np.outer(reach, np.sin(turn)), np.repeat(height[:, None], around, 1), np.outer(reach, np.cos(turn))], -1
    )
    row, column = np.meshgrid(np.arange(len(reach) - 1), np.arange(around), indexing="ij")
    low, beside = row * around + column, row * around + (column + 1) % around
    faces = np.concatenate(
        [np.stack([low, beside, low + around], -1), np.stack([beside, beside + around, low + around], -1)]
    )
    return Mesh(vertices=vertices.reshape(-1, 3), faces=faces.reshape(-1, 3))


def box(low, high) -> Mesh:
    corner = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)])
    vertices = np.where(corner == 1, np.asarray(high, dtype=float), np.asarray(low, dtype=float))
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return Mesh(vertices=vertices, faces=np.array(faces))


def sphere_sdf(points, radius=0.5):
    return np.linalg.norm(points, axis=1) - radius


def torus_sdf(points, major=0.5, minor=0.15):
    return np.hypot(np.hypot(points[:, 0], points[:, 2]) - major, points[:, 1]) - minor


def capsule_sdf(points, radius=0.15, half_length=0.4):
    along = np.clip(points[:, 1], -half_length, half_length)
    return np.linalg.norm(points - np.stack([0 * along, along, 0 * along], 1), axis=1) - radius


def inverted(mesh: Mesh) -> Mesh:
    return Mesh(vertices=mesh.vertices, faces=mesh.faces[:, ::-1])


def joined(*meshes: Mesh) -> Mesh:
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate([mesh.faces + start for mesh, start in zip(meshes, offsets[:-1], strict=True)]),
    )


def near(mesh: Mesh, center, radius: float) -> np.ndarray:
    return np.linalg.norm(mesh.corners.mean(1) - np.asarray(center), axis=1) < radius


def punched(mesh: Mesh, rng: np.random.Generator, count: int, radius: float) -> Mesh:
    keep = np.ones(len(mesh.faces), dtype=bool)
    for _ in range(count):
        keep &= ~near(mesh, mesh.corners.mean(1)[rng.integers(len(mesh.faces))], radius)
    return Mesh(vertices=mesh.vertices, faces=mesh.faces[keep])


def split_vertices(mesh: Mesh, rows: np.ndarray) -> Mesh:
    """Give the chosen faces vertices of their own."""
    faces = mesh.faces.copy()
    extra = mesh.vertices[faces[rows]].reshape(-1, 3)
    faces[rows] = len(mesh.vertices) + np.arange(len(extra)).reshape(-1, 3)
    return Mesh(vertices=np.concatenate([mesh.vertices, extra]), faces=faces)


def turned(mesh: Mesh, rows: np.ndarray) -> Mesh:
    return Mesh(vertices=mesh.vertices, faces=np.where(rows[:, None], mesh.faces[:, ::-1], mesh.faces))
