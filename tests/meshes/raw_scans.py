"""Simulated raw scans with many faults at once, each with the clean solid it came from. A seed gives one scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from anim_real.mesh import Mesh

from .shapes import bell, inverted, joined, near, punched, sphere, split_vertices, torus, turned

UNITS = {"m": 1.0, "cm": 100.0, "mm": 1000.0, "inch": 1 / 0.0254}


@dataclass(frozen=True)
class RawScan:
    """A scan, what was done to it, and its truth: a point is inside where any of ``solids`` winds around it."""

    scan: Mesh
    solids: tuple[Mesh, ...]
    faults: tuple[str, ...]
    unit: str


def rippled(rng: np.random.Generator) -> tuple[Mesh, tuple[Mesh, ...]]:
    """One upright rippled body."""
    ball = sphere(1.0, 5)
    waves = rng.normal(0, 7.0, (16, 3))
    ripple = np.cos(ball.vertices @ waves.T + rng.uniform(0, 6.3, 16)).sum(1)
    body = ball.moved(ball.vertices * (1 + 0.015 * ripple[:, None]) * (0.25, 0.85, 0.18))
    return body, (body,)


def limb(start, end, radius: float, subdivisions: int = 4) -> Mesh:
    """A closed capsule from start to end."""
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    ball = sphere(radius, subdivisions)
    axis = (end - start) / np.linalg.norm(end - start)
    return ball.moved(ball.vertices + np.where((ball.vertices @ axis >= 0)[:, None], end, start))


def puppet(rng: np.random.Generator) -> tuple[Mesh, tuple[Mesh, ...]]:
    """Overlapping shells: trunk, head, arms and legs that pass through each other."""
    hand = [np.array([side * rng.uniform(0.3, 0.6), rng.uniform(0.7, 1.5), rng.uniform(-0.3, 0.3)]) for side in (-1, 1)]
    parts = (
        limb((0, 0.9, 0), (0, 1.3, 0.02), 0.16),
        limb((0, 1.58, 0), (0, 1.64, 0.02), 0.1),
        limb((-0.12, 1.35, 0), hand[0], 0.05),
        limb((0.12, 1.35, 0), hand[1], 0.05),
        limb((-0.09, 0.9, 0), (-0.15, 0.1, rng.uniform(-0.2, 0.2)), 0.08),
        limb((0.09, 0.9, 0), (0.15, 0.1, rng.uniform(-0.2, 0.2)), 0.08),
    )
    return joined(*parts), parts


def dressed(rng: np.random.Generator) -> tuple[Mesh, tuple[Mesh, ...]]:
    """A body under an open garment: nested shells, one of them a tube."""
    body = sphere(1.0, 4)
    body = body.moved(body.vertices * (0.2, 0.85, 0.15))
    cloth = sphere(1.0, 5)
    cloth = cloth.moved(cloth.vertices * (0.24, 0.87, 0.19))
    height = cloth.corners.mean(1)[:, 1]
    tube = Mesh(vertices=cloth.vertices, faces=cloth.faces[(height > -0.3) & (height < rng.uniform(0.4, 0.6))])
    return joined(body, tube), (body,)


def ring(rng: np.random.Generator) -> tuple[Mesh, tuple[Mesh, ...]]:
    """A body of genus 1."""
    whole = torus(0.5, rng.uniform(0.08, 0.25))
    return whole, (whole,)


def skirted(rng: np.random.Generator) -> tuple[Mesh, tuple[Mesh, ...]]:
    """A bell, open below, around two legs."""
    legs = tuple(limb((side * 0.07, 0.3, 0), (side * 0.07, -0.4, 0), 0.05) for side in (-1, 1))
    return joined(bell(rng.uniform(0.18, 0.25)), *legs), legs


def holes(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    return punched(mesh, rng, int(rng.integers(1, 12)), rng.uniform(0.02, 0.07))


def large_hole(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    return punched(mesh, rng, 1, rng.uniform(0.1, 0.16))


def flipped_patches(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    rows = np.zeros(len(mesh.faces), dtype=bool)
    for _ in range(3):
        rows |= near(mesh, mesh.corners.mean(1)[rng.integers(len(mesh.faces))], 0.05)
    return turned(mesh, rows)


def speckled(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Single faces turned over at random."""
    return turned(mesh, rng.random(len(mesh.faces)) < 0.01)


def inside_out(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    return inverted(mesh)


def duplicate_vertices(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    return split_vertices(mesh, np.flatnonzero(rng.random(len(mesh.faces)) < rng.choice([0.1, 0.5, 1.0])))


def repeated_faces(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    again = mesh.faces[rng.random(len(mesh.faces)) < 0.02]
    return Mesh(vertices=mesh.vertices, faces=np.concatenate([mesh.faces, again, again[:, [2, 1, 0]]]))


def degenerate_faces(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    some = mesh.faces[rng.integers(0, len(mesh.faces), 40)]
    return Mesh(vertices=mesh.vertices, faces=np.concatenate([mesh.faces, some[:, [0, 0, 1]], some[:, [1, 2, 1]]]))


def floating_pieces(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    place = mesh.vertices[rng.integers(0, len(mesh.vertices), 4)]
    direction = rng.normal(size=(4, 3))
    place = place + 0.15 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    crumbs = [punched(sphere(rng.uniform(0.004, 0.012), 2, center), rng, 1, 0.006) for center in place]
    return joined(mesh, *crumbs)


def t_junctions(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Faces cut at the middle of an edge that their neighbour keeps whole; some middles stand a little off."""
    rows = np.flatnonzero(rng.random(len(mesh.faces)) < 0.03)
    a, b, c = mesh.faces[rows].T
    middle = (mesh.vertices[a] + mesh.vertices[b]) / 2 + rng.choice([0.0, 2e-4], (len(rows), 1)) * rng.normal(
        size=(len(rows), 3)
    )
    new = len(mesh.vertices) + np.arange(len(rows))
    kept = np.delete(mesh.faces, rows, axis=0)
    halves = [np.stack([a, new, c], 1), np.stack([new, b, c], 1)]
    return Mesh(vertices=np.concatenate([mesh.vertices, middle]), faces=np.concatenate([kept, *halves]))


def self_intersections(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Vertices pushed through the surface by more than a face's size."""
    rows = rng.random(len(mesh.vertices)) < 0.005
    return mesh.moved(mesh.vertices + rows[:, None] * rng.normal(0, 0.02, mesh.vertices.shape))


def fins(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Faces that stand on an edge which two others share already."""
    rows = rng.integers(0, len(mesh.faces), 15)
    tips = mesh.corners[rows].mean(1) * 1.03
    extra = np.stack([mesh.faces[rows, 0], mesh.faces[rows, 1], len(mesh.vertices) + np.arange(15)], 1)
    return Mesh(vertices=np.concatenate([mesh.vertices, tips]), faces=np.concatenate([mesh.faces, extra]))


def noise(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    return mesh.moved(mesh.vertices + rng.normal(0, 5e-4, mesh.vertices.shape))


def stray_vertices(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    return Mesh(vertices=np.concatenate([mesh.vertices, rng.normal(0, 20.0, (50, 3))]), faces=mesh.faces)


SHAPES = (rippled, puppet, dressed, ring, skirted)
FAULTS: tuple[Callable[[Mesh, np.random.Generator], Mesh], ...] = (
    holes,
    large_hole,
    noise,
    self_intersections,
    t_junctions,
    fins,
    floating_pieces,
    flipped_patches,
    speckled,
    inside_out,
    repeated_faces,
    degenerate_faces,
    duplicate_vertices,
    stray_vertices,
)


def raw_scan(seed: int) -> RawScan:
    """Shape ``seed % 5`` with about half of all faults, in some unit, turned and moved anywhere."""
    rng = np.random.default_rng([seed, 5])
    mesh, solids = SHAPES[seed % len(SHAPES)](rng)
    chosen = [fault for fault in FAULTS if rng.random() < 0.5]
    for fault in chosen:
        mesh = fault(mesh, rng)
    unit = str(rng.choice(list(UNITS)))
    turn, shift = Rotation.random(rng=rng).as_matrix(), rng.uniform(-3, 3, 3)

    def placed(part: Mesh) -> Mesh:
        return part.moved(UNITS[unit] * (part.vertices @ turn.T + shift))

    return RawScan(
        scan=placed(mesh),
        solids=tuple(placed(solid) for solid in solids),
        faults=tuple(fault.__name__ for fault in chosen),
        unit=unit,
    )
