"""A person made of capsules with an exact signed distance, seen by an exact camera: an in-memory data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.distances import sample_surface
from anim_real.geometry.frames import Rigid
from anim_real.geometry.grids import Lattice
from anim_real.mesh import WatertightMesh
from anim_real.meshes.marching import march
from anim_real.meshes.render import render_rgbd
from anim_real.samples import PointSamples

# (from, to, radius) in metres: y up, facing +z, the left arm raised so that left and right differ
LIMBS = (
    ((0.0, 0.95, 0.0), (0.0, 1.40, 0.0), 0.15),
    ((0.0, 1.62, 0.02), (0.0, 1.68, 0.02), 0.11),
    ((0.09, 0.08, 0.0), (0.09, 0.90, 0.0), 0.08),
    ((-0.09, 0.08, 0.0), (-0.09, 0.90, 0.0), 0.08),
    ((0.18, 1.40, 0.0), (0.55, 1.62, 0.05), 0.055),
    ((-0.18, 1.40, 0.0), (-0.30, 0.85, 0.06), 0.055),
)


def person_sdf(points: np.ndarray, girth: float = 1.0) -> np.ndarray:
    """Exact distance outside, a lower bound of the depth inside (capsules overlap)."""
    distances = []
    for start, end, radius in LIMBS:
        a, b = np.array(start), np.array(end)
        along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0.0, 1.0)
        distances.append(np.linalg.norm(points - a - along[:, None] * (b - a), axis=1) - radius * girth)
    return np.min(distances, axis=0)


@lru_cache(maxsize=4)
def person_mesh(girth: float = 1.0, cell_m: float = 0.02) -> WatertightMesh:
    lattice = Lattice.around([-0.5, -0.05, -0.3], [0.75, 1.9, 0.3], cell_m=cell_m, padding_cells=2)
    cells = np.stack(np.meshgrid(*(np.arange(n - 1) for n in lattice.shape), indexing="ij"), -1).reshape(-1, 3)
    keys = np.unique(lattice.keys(cells))
    corners = keys[:, None] + lattice.corner_offsets
    values = person_sdf(lattice.points(corners.ravel()), girth).reshape(-1, 8)
    vertices, faces = march(lattice, keys, values)
    return WatertightMesh(vertices=vertices, faces=faces)


def front_camera(size: int, *, is_orthographic: bool = False) -> Camera | OrthographicCamera:
    middle = (size - 1) / 2
    if is_orthographic:
        return OrthographicCamera(width=size, height=size, px_per_m=size / 2.048, cx=middle, cy=middle)
    return Camera(width=size, height=size, fx=size * 1.1, fy=size * 1.1, cx=middle, cy=middle)


def front_pose() -> Rigid:
    """T_color_scan of a camera 2.2 m before the person at waist height."""
    return Rigid.from_parts("color", "scan", np.diag([1.0, -1.0, -1.0]), [0.0, 0.9, 2.2])


@dataclass(frozen=True)
class Key:
    name: str


@dataclass(frozen=True)
class FakeFrame:
    key: Key
    color: np.ndarray
    depth_mm: np.ndarray
    mask: np.ndarray
    camera: Camera | OrthographicCamera
    T_color_scan: Rigid
    scan: str


@lru_cache(maxsize=8)
def fake_frame(size: int = 128, girth: float = 1.0, is_orthographic: bool = False) -> FakeFrame:
    camera, pose = front_camera(size, is_orthographic=is_orthographic), front_pose()
    seen = render_rgbd(person_mesh(girth), camera, pose)
    color = np.where(seen.mask[..., None], np.uint8([200, 120, 60]), np.uint8(30)).astype(np.uint8)
    return FakeFrame(
        key=Key(f"p{girth:g}"),
        color=color,
        depth_mm=seen.depth_mm,
        mask=seen.mask,
        camera=camera,
        T_color_scan=pose,
        scan=f"{girth:g}",
    )


@lru_cache(maxsize=4)
def pool(girth: float = 1.0, count: int = 12_000, seed: int = 3) -> PointSamples:
    rng = np.random.default_rng(seed)
    mesh = person_mesh(girth)
    points = sample_surface(mesh.vertices, mesh.faces, count, rng)[0]
    band = rng.choice(np.uint8([0, 0, 0, 1, 2]), count)
    points += rng.normal(size=points.shape) * np.where(band == 2, 0.0007, 0.05)[:, None]
    is_uniform = band == 1
    points[is_uniform] = rng.uniform([-0.6, 0.0, -0.4], [0.8, 1.9, 0.4], (int(is_uniform.sum()), 3))
    return PointSamples(
        points=points.astype(np.float32),
        sdf=person_sdf(points, girth).astype(np.float32),
        region=np.where(band == 2, np.uint8(1), np.uint8(0)).astype(np.uint8),
        invented=points[:, 1] < 0.1,  # the soles
        band=band.astype(np.uint8),
    )


class FakeSource:
    """The interface of a data set over a few frames of capsule people."""

    folder = Path("capsule-people")
    sha256 = "c" * 64

    def __init__(self, girths: tuple[float, ...] = (1.0,), size: int = 128) -> None:
        self._frames = {f"p{girth:g}": fake_frame(size, girth) for girth in girths}

    def frames(self, split: str | None = None) -> tuple[Key, ...]:
        return tuple(frame.key for frame in self._frames.values()) if split in (None, "train") else ()

    def frame(self, key: Key) -> FakeFrame:
        return self._frames[key.name]

    def num_samples(self, scan: str) -> int:
        return len(pool(float(scan)).points)

    def samples(self, scan: str, start: int = 0, count: int | None = None) -> PointSamples:
        whole = pool(float(scan))
        window = slice(start, None if count is None else start + count)
        names = ("points", "sdf", "region", "invented", "band")
        return replace(whole, **{name: getattr(whole, name)[window] for name in names})

    def mesh(self, scan: str) -> WatertightMesh:
        return person_mesh(float(scan))
