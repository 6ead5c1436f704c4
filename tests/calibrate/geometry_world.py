"""Depth images and scans of objects without markers, with the truth: another object, room and pose for every seed.

The room stands in the depth camera's frame; the scan frame is turned and shifted at random against it. What the
camera adds is richer than what the estimator models: noise that grows with range and incidence, flying pixels,
drop-outs, a bias of offset, slope, a cyclic part and a pattern over the image; the scanner adds noise. ``REAL_ERRORS``
adds a scanner that bends space, a local depth error at every placement, and a factory that errs in both cameras and
between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import trimesh
from scipy import ndimage
from scipy.spatial.transform import Rotation

from anim_real.calibrate.observations import CornerPairs, Placement, ScanSurface, SensorObservations
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.geometry.raycast import RayScene

DEPTH_LENS = np.array([5.2, 3.4, -4e-5, 6e-5, 0.17, 5.5, 5.1, 0.88])
DEPTH = Camera(width=640, height=576, fx=504.2, fy=504.3, cx=321.7, cy=330.2, distortion=DEPTH_LENS, max_radius=1.74)
SMALL = Camera(width=320, height=288, fx=252.1, fy=252.15, cx=160.6, cy=164.85, distortion=DEPTH_LENS, max_radius=1.74)
COLOR = Camera(width=1280, height=720, fx=608.0, fy=607.6, cx=638.4, cy=366.1)
T_COLOR_DEPTH = Rigid.from_rotvec("color", "depth", [-0.1, 0.003, 0.001], [-0.032, -0.002, 0.004])
FLOOR_Y, WALL_Z = 1.0, 3.4


@dataclass(frozen=True, kw_only=True)
class DepthErrors:
    """What the camera and scanner add; ``NO_ERRORS`` has none."""

    noise_m: float = 0.0012  # of a mean over a burst, at 2 m
    drop: float = 0.05
    flying: bool = True
    offset_m: float = 0.010
    slope: float = 0.001
    wiggle_m: float = 0.001
    pattern_m: float = 0.0004
    scan_m: float = 0.0003
    bend_m: float = 0.0
    local_m: float = 0.0
    factory: float = 0.0  # times what the default protocol expects of the factory


REAL_ERRORS = DepthErrors(bend_m=0.0002, local_m=0.002, factory=1.0)
NO_ERRORS = DepthErrors(noise_m=0, drop=0, flying=False, offset_m=0, slope=0, wiggle_m=0, pattern_m=0, scan_m=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class GeometryWorld:
    """Observations with the factory's cameras, where the scanner really is, and the true cameras."""

    observations: SensorObservations
    T_depth_scan: Rigid
    T_depth_volume: Rigid
    T_color_depth: Rigid
    color: Camera
    depth: Camera

    def error(self, T_depth_scan: Rigid) -> tuple[float, float]:
        """Error in the middle of the volume (mm) and of the turn (degrees)."""
        middle = self.T_depth_scan.inverse().apply(self.T_depth_volume.translation - [0, 1.0, 0])
        shift = T_depth_scan.apply(middle) - self.T_depth_scan.apply(middle)
        turn = (T_depth_scan @ self.T_depth_scan.inverse()).rotvec
        return float(np.linalg.norm(shift) * 1e3), float(np.degrees(np.linalg.norm(turn)))

    def person_scan(self) -> np.ndarray:
        """Points of 0.8 x 2 x 0.8 m that stand on the middle of the floor, frame scan."""
        x, y, z = np.meshgrid(np.linspace(-0.4, 0.4, 5), np.linspace(-2, 0, 9), np.linspace(-0.4, 0.4, 5))
        T_scan_volume = self.T_depth_scan.inverse() @ self.T_depth_volume
        return T_scan_volume.apply(np.stack([x, y, z], -1).reshape(-1, 3))

    def person_mm(self, T_depth_scan: Rigid) -> float:
        """Mean error over a person-sized volume."""
        points = self.person_scan()
        moved = T_depth_scan.apply(points) - self.T_depth_scan.apply(points)
        return float(np.linalg.norm(moved, axis=1).mean() * 1e3)


def lumpy_object(rng: np.random.Generator) -> trimesh.Trimesh:
    """Something 40 to 60 cm large: a body with four to seven boxes, balls, cones and rods that stick out of it."""
    parts = []
    for number in range(int(rng.integers(5, 9))):
        size = rng.uniform(0.06, 0.16) if number else rng.uniform(0.14, 0.2)
        kind = int(rng.integers(4))
        if kind == 0:
            part = trimesh.creation.box(size * rng.uniform(0.6, 1.6, 3))
        elif kind == 1:
            part = trimesh.creation.icosphere(subdivisions=3, radius=0.6 * size)
        elif kind == 2:
            part = trimesh.creation.cone(0.6 * size, 2.0 * size, sections=24)
        else:
            part = trimesh.creation.cylinder(0.3 * size, 2.2 * size, sections=24)
        part.apply_transform(_random_turn(rng))
        direction = rng.normal(size=3)
        part.apply_translation(0.17 * direction / np.linalg.norm(direction) if number else np.zeros(3))
        parts.append(part)
    joined = trimesh.util.concatenate(parts)
    joined.apply_scale(rng.uniform(0.4, 0.6) / np.linalg.norm(np.ptp(joined.vertices, axis=0)) * 1.2)
    joined.apply_translation(-joined.bounds.mean(0))
    return joined


def make_world(
    seed: int,
    body: trimesh.Trimesh,
    *,
    num: int = 8,
    errors: DepthErrors | None = None,
    camera: Camera = DEPTH,
    scan_floor: bool = False,
    moves: bool = True,
    turns: bool = True,
    poses: list[np.ndarray] | None = None,
) -> GeometryWorld:
    """Draw ``num`` placements of a body; ``moves`` off leaves it at one place, ``turns`` off turned the same.

    ``poses`` are given placements instead, (4, 4) from the body to the room.
    """
    errors = DepthErrors() if errors is None else errors
    rng = np.random.default_rng([seed, 11])
    look = Rotation.from_rotvec(rng.normal(0, 0.08, 3)).as_matrix()
    T_depth_room = Rigid.from_parts("depth", "room", look, rng.normal(0, 0.05, 3))
    room = trimesh.util.concatenate(
        [
            _panel((8, 0.02, 8), (0, FLOOR_Y + 0.01, 3)),
            _panel((8, 6, 0.02), (0, 0, WALL_Z)),
            _panel((0.02, 6, 8), (-1.9, 0, 3)),
        ]
    )
    scanner = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    T_scan_room = Rigid.from_parts("scan", "room", scanner, rng.uniform(-2, 2, 3))
    radius = float(np.linalg.norm(body.vertices, axis=1).max())
    bias = _Bias(errors, camera, rng)
    extra = np.random.default_rng([seed, 12])  # the draws above stay what they were without these errors
    device = _device(errors, camera, extra)
    bend = _Bend(errors, extra)
    placements = []
    place, turn = np.array([0.0, 0.2, 1.9]), _random_turn(rng)
    for index in range(num if poses is None else len(poses)):
        if index == 0 or moves:
            place = rng.uniform((-0.5, -0.6, 1.5), (0.5, FLOOR_Y - radius - 0.02, 2.5))
        turn = _random_turn(rng) if turns else turn
        if poses is not None:
            place, turn = poses[index][:3, 3], np.block([[poses[index][:3, :3], np.zeros((3, 1))], [0, 0, 0, 1]])
        vertices = trimesh.transform_points(body.vertices, turn) + place
        depth_m = _seen(T_depth_room, vertices, body.faces, room, device.depth, errors, bias, rng)
        if errors.local_m:
            depth_m = depth_m + _local(T_depth_room.apply(vertices), device.depth, errors, extra)
        normals = trimesh.Trimesh(vertices, body.faces, process=False).vertex_normals
        scanned = vertices + normals * rng.normal(0, max(errors.scan_m, 1e-12), (len(vertices), 1))
        faces = body.faces
        if scan_floor:
            patch = _panel((2.4, 0.002, 2.4), (0.0, FLOOR_Y, 2.0))
            faces = np.concatenate([faces, patch.faces + len(scanned)])
            scanned = np.concatenate([scanned, patch.vertices])
        placements.append(
            Placement(
                index=index,
                scan_frame=10 * index,
                surface=ScanSurface.of(bend(T_scan_room.apply(scanned)), np.asarray(faces, np.int64)),
                color=CornerPairs.empty(),
                ir=CornerPairs.empty(),
                depth_m=depth_m,
            )
        )
    return GeometryWorld(
        observations=SensorObservations(
            sensor="k0", color=COLOR, depth=camera, T_color_depth=T_COLOR_DEPTH, placements=tuple(placements)
        ),
        T_depth_scan=T_depth_room @ T_scan_room.inverse(),
        T_depth_volume=T_depth_room @ Rigid.from_parts("room", "volume", np.eye(3), [0, FLOOR_Y, 2.0]),
        T_color_depth=device.T_color_depth,
        color=device.color,
        depth=device.depth,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Device:
    """The true cameras."""

    color: Camera
    depth: Camera
    T_color_depth: Rigid


def _device(errors: DepthErrors, camera: Camera, rng: np.random.Generator) -> _Device:
    """As far from the factory as the default protocol's priors say, at 1280 and 640 pixels."""
    if not errors.factory:
        return _Device(color=COLOR, depth=camera, T_color_depth=T_COLOR_DEPTH)
    size = errors.factory
    turn, shift = rng.normal(0, np.radians(0.3) * size, 3), rng.normal(0, 0.003 * size, 3)
    focal = 1.0 + rng.normal(0, 0.003 * size)
    depth_focal = 1.0 + rng.normal(0, 0.0003 * size)
    center, depth_center = rng.normal(0, 2.0 * size, 2), rng.normal(0, 0.15 * size, 2) * camera.width / 640
    return _Device(
        color=replace(
            COLOR,
            fx=COLOR.fx * focal,
            fy=COLOR.fy * (focal + rng.normal(0, 0.001 * size)),
            cx=COLOR.cx + center[0],
            cy=COLOR.cy + center[1],
        ),
        depth=replace(
            camera,
            fx=camera.fx * depth_focal,
            fy=camera.fy * depth_focal,
            cx=camera.cx + depth_center[0],
            cy=camera.cy + depth_center[1],
        ),
        T_color_depth=Rigid.from_rotvec("color", "color", turn, shift) @ T_COLOR_DEPTH,
    )


class _Bend:
    """A smooth displacement of space: waves 0.8 to 2.5 m long."""

    def __init__(self, errors: DepthErrors, rng: np.random.Generator) -> None:
        directions = rng.normal(size=(8, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        self.waves = directions * (2 * np.pi / rng.uniform(0.8, 2.5, 8))[:, None]
        self.phases = rng.uniform(0, 2 * np.pi, 8)
        amplitudes = rng.normal(size=(8, 3))
        self.amplitudes = amplitudes * errors.bend_m / np.sqrt((amplitudes**2).sum() / 2)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return points + np.cos(points @ self.waves.T + self.phases) @ self.amplitudes


def _local(vertices_depth: np.ndarray, camera: Camera, errors: DepthErrors, rng: np.random.Generator) -> np.ndarray:
    """(h, w) depth error about one point of the object, as several paths of the light make it."""
    middle = vertices_depth[rng.integers(len(vertices_depth))]
    v, u = np.meshgrid(np.arange(camera.height), np.arange(camera.width), indexing="ij")
    at = camera.project(middle[None])[0]
    away = np.hypot(u - at[0], v - at[1]) / camera.fx * middle[2]
    return errors.local_m * rng.uniform() * np.exp(-0.5 * (away / 0.1) ** 2)


class _Bias:
    """Systematic error along z, by range and place in the image."""

    def __init__(self, errors: DepthErrors, camera: Camera, rng: np.random.Generator) -> None:
        sign = rng.choice((-1.0, 1.0))
        self.offset, self.slope = sign * errors.offset_m * rng.uniform(0.3, 1.0), errors.slope * rng.normal()
        self.wiggle, self.period, self.phase = errors.wiggle_m, rng.uniform(0.6, 1.0), rng.uniform(0, 6.28)
        v, u = np.meshgrid(np.linspace(-1, 1, camera.height), np.linspace(-1, 1, camera.width), indexing="ij")
        self.pattern = errors.pattern_m * np.tensordot(rng.normal(size=3), np.stack([u, v, u * v]), 1)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        cyclic = self.wiggle * np.sin(2 * np.pi * z / self.period + self.phase)
        return z + self.offset + self.slope * z + cyclic + self.pattern


def _seen(T_depth_room, vertices, faces, room, camera, errors, bias, rng) -> np.ndarray:
    """(h, w) depth image in metres of the body in the room."""
    rays = _rays(camera is SMALL) if camera in (DEPTH, SMALL) else camera.rays()
    valid = np.isfinite(rays).all(-1)
    scene = RayScene(
        T_depth_room.apply(np.concatenate([vertices, room.vertices])),
        np.concatenate([faces, room.faces + len(vertices)]),
    )
    directions = np.nan_to_num(np.concatenate([rays, np.ones((*rays.shape[:2], 1))], -1))
    z = scene.cast(np.zeros(3), directions.reshape(-1, 3)).distance.reshape(rays.shape[:2])
    z = np.where(valid & np.isfinite(z) & (z < 3.86), z, np.nan)
    filled = np.nan_to_num(z, nan=4.0)
    low, high = ndimage.minimum_filter(filled, 3), ndimage.maximum_filter(filled, 3)
    if errors.flying:
        mix = np.where(high - low > 0.03 * filled, rng.uniform(0, 1, z.shape), np.nan)
        z = np.where(np.isfinite(mix) & (rng.random(z.shape) < 0.6), low + mix * (high - low), z)
    z = bias(z) if errors.offset_m else z
    slope = (ndimage.sobel(filled, 0) ** 2 + ndimage.sobel(filled, 1) ** 2) ** 0.5 / 8 * camera.fx / filled
    sigma = errors.noise_m * (filled / 2.0) * np.minimum(1.0 + 0.3 * slope, 4.0)
    z = z + sigma * rng.standard_normal(z.shape)
    lost = (rng.random(z.shape) < errors.drop) | (slope * errors.drop > 0.4)
    return np.where(lost, np.nan, z)


@cache
def _rays(is_small: bool) -> np.ndarray:
    return (SMALL if is_small else DEPTH).rays()


def _random_turn(rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    return matrix


def _panel(size: tuple, middle: tuple) -> trimesh.Trimesh:
    panel = trimesh.creation.box(size)
    panel.apply_translation(middle)
    return panel
