"""Observations with known truth, straight from geometry: no images, no recordings.

Small for speed: depth is that of NFOV_2X2BINNED (320 x 288), and ``FAST`` is the default protocol with a third of
the depth pixels; they count for as many independent samples as in the default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from anim_real.calibrate.boards.target import Target, corner_positions
from anim_real.calibrate.boards.targets import load_target, target_mesh
from anim_real.calibrate.observations import CornerPairs, Placement, ScanSurface, SensorObservations
from anim_real.calibrate.protocol import ProtocolSpec, load_protocol
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh

LENS = np.array([0.45, -2.6, 0.0006, -0.0002, 1.5, 0.33, -2.4, 1.4])  # as a real colour camera's, k4a's rational model
DEPTH_LENS = np.array([5.2, 3.4, -4e-5, 6e-5, 0.17, 5.5, 5.1, 0.88])


_DEFAULT: ProtocolSpec = load_protocol("default")[0]
FAST: ProtocolSpec = _DEFAULT.model_copy(update={"solver": _DEFAULT.solver.model_copy(update={"depth_points": 500})})


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Standard deviations of what is wrong with a take."""

    corner_px: float = 0.0
    scan_mm: float = 0.0
    depth_mm: float = 0.0
    ripple_mm: float = 0.0
    wrong_corners: float = 0.0
    depth_outliers: float = 0.0
    factory: float = 0.0


REALISTIC = Errors(
    corner_px=0.12, scan_mm=0.3, depth_mm=2.0, ripple_mm=1.0, wrong_corners=0.05, depth_outliers=0.3, factory=1.0
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Studio:
    """Observations and the truth behind them."""

    observations: SensorObservations
    target: Target
    T_color_scan: Rigid
    T_color_depth: Rigid
    color: Camera
    offset_m: float
    slope: float
    depth_rays: np.ndarray

    def person_error_mm(self, T_color_scan: Rigid) -> float:
        """Mean error over 0.8 x 2 x 0.8 m of the scan frame, y up, standing on the floor."""
        return float(
            np.linalg.norm(self.T_color_scan.apply(person_grid()) - T_color_scan.apply(person_grid()), axis=1).mean()
            * 1e3
        )

    def depth_error_mm(self, T_depth_scan: Rigid) -> float:
        """The same for the depth camera."""
        truth = self.T_color_depth.inverse() @ self.T_color_scan
        return float(
            np.linalg.norm(truth.apply(person_grid()) - T_depth_scan.apply(person_grid()), axis=1).mean() * 1e3
        )


def person_grid() -> np.ndarray:
    x, y, z = np.meshgrid(np.linspace(-0.4, 0.4, 5), np.linspace(0, 2, 9), np.linspace(-0.4, 0.4, 5))
    return np.stack([x, y, z], -1).reshape(-1, 3)


def spread_poses(rng: np.random.Generator, num: int) -> list[Rigid]:
    """Target poses over the volume: near and far, left and right, low and high, turned and tilted."""
    poses = []
    for index in range(num):
        x, z = (-0.35, 0.0, 0.35)[index % 3], (-0.4, 0.0, 0.4)[(index // 3 + index) % 3]
        y = (0.0, 0.5, 0.9)[(index * 2) % 3]
        turn = rng.normal(0, 0.15, 3) + np.array([0.0, rng.uniform(-np.pi, np.pi), 0.0])
        place = np.array([x, y, z]) + rng.normal(0, 0.05, 3)
        poses.append(Rigid.from_rotvec("scan", "target", turn, place))
    return poses


def make_studio(
    seed: int, errors: Errors, *, num: int = 8, poses: list[Rigid] | None = None, target_name: str = "prism"
) -> Studio:
    """A sensor 2.2 m before the volume's axis, 1 m high, and its observations."""
    rng = np.random.default_rng(seed)
    target, mesh = _target(target_name)
    color = Camera(width=1280, height=720, fx=608.0, fy=607.6, cx=638.4, cy=366.1, distortion=LENS, max_radius=1.7)
    depth = Camera(
        width=320, height=288, fx=252.1, fy=252.15, cx=160.6, cy=164.85, distortion=DEPTH_LENS, max_radius=1.74
    )
    look = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])  # camera x right, y down, z forward in a y-up scan frame
    T_color_scan = Rigid.from_parts("color", "scan", look, -look @ np.array([0.05, 1.0, 2.2]))
    T_color_scan = Rigid.from_rotvec("color", "color", rng.normal(0, 0.05, 3), rng.normal(0, 0.05, 3)) @ T_color_scan
    T_color_depth = Rigid.from_rotvec("color", "depth", [-0.1, 0.003, 0.001], [-0.032, -0.002, 0.004])
    truth_color, truth_T = color, T_color_depth
    offset, slope = 0.0, 0.0
    if errors.factory:
        k = errors.factory
        focal = 1 + k * rng.normal(0, 0.002)
        truth_color = replace(color, fx=color.fx * focal, fy=color.fy * (focal + k * rng.normal(0, 0.0005)))
        truth_color = replace(truth_color, cx=color.cx + k * rng.normal(0, 1.5), cy=color.cy + k * rng.normal(0, 1.5))
        truth_T = (
            Rigid.from_rotvec("color", "color", k * rng.normal(0, 0.004, 3), k * rng.normal(0, 0.002, 3))
            @ T_color_depth
        )
        offset, slope = k * rng.normal(0, 0.005), k * rng.normal(0, 0.002)
    poses = spread_poses(rng, num) if poses is None else poses
    studio = Studio(
        observations=SensorObservations(
            sensor="k0", color=color, depth=depth, T_color_depth=T_color_depth, placements=(_placeholder(depth),)
        ),
        target=target,
        T_color_scan=T_color_scan,
        T_color_depth=truth_T,
        color=truth_color,
        offset_m=offset,
        slope=slope,
        depth_rays=depth.rays(),
    )
    placements = tuple(_observe(studio, mesh, pose, index, errors, rng) for index, pose in enumerate(poses))
    return replace(studio, observations=replace(studio.observations, placements=placements))


def moved_scans(observations: SensorObservations, move: Callable[[np.ndarray, int], np.ndarray]) -> SensorObservations:
    """The same corners with those on the scans moved, ``move(points, placement)``; surfaces stay."""
    placements = tuple(
        replace(
            placement,
            color=replace(placement.color, points_scan=move(placement.color.points_scan, placement.index)),
            ir=replace(placement.ir, points_scan=move(placement.ir.points_scan, placement.index)),
        )
        for placement in observations.placements
    )
    return replace(observations, placements=placements)


@cache
def _target(name: str) -> tuple[Target, Mesh]:
    target = load_target(name)
    return target, target_mesh(target, 256)


def _placeholder(depth: Camera) -> Placement:
    triangle = ScanSurface.of(np.eye(3), np.array([[0, 1, 2]]))
    return Placement(
        index=0,
        scan_frame=0,
        surface=triangle,
        color=CornerPairs.empty(),
        ir=CornerPairs.empty(),
        depth_m=np.full((depth.height, depth.width), np.nan),
    )


def _observe(
    studio: Studio, mesh, T_scan_target: Rigid, index: int, errors: Errors, rng: np.random.Generator
) -> Placement:
    ids, corners_target = corner_positions(studio.target)
    normals_target = np.concatenate(
        [
            np.repeat(board.T_target_board.rotation[:, 2][None], board.spec.num_corners, 0)
            for board in studio.target.boards
        ]
    )
    corners = T_scan_target.apply(corners_target)
    surface = ScanSurface.of(T_scan_target.apply(mesh.vertices), mesh.faces)
    T_depth_scan = studio.T_color_depth.inverse() @ studio.T_color_scan
    depth_camera = studio.observations.depth

    def pairs(camera: Camera, pose: Rigid) -> CornerPairs:
        points, facing = pose.apply(corners), pose.rotate(T_scan_target.rotate(normals_target))
        cosine = -np.einsum("ni,ni->n", points, facing) / np.linalg.norm(points, axis=1)
        pixels = camera.project(points)
        seen = (cosine > 0.35) & (pixels > 3).all(1) & (pixels < (camera.width - 4, camera.height - 4)).all(1)
        pixels = pixels[seen] + rng.normal(0, errors.corner_px, (seen.sum(), 2)) if errors.corner_px else pixels[seen]
        wrong = rng.random(len(pixels)) < errors.wrong_corners
        pixels[wrong] += rng.uniform(-30, 30, (wrong.sum(), 2))
        on_scan = corners[seen] + (rng.normal(0, errors.scan_mm * 1e-3, (seen.sum(), 3)) if errors.scan_mm else 0.0)
        return CornerPairs(ids=ids[seen], points_scan=on_scan, pixels=pixels)

    return Placement(
        index=index,
        scan_frame=10 * index,
        surface=surface,
        color=pairs(studio.color, studio.T_color_scan),
        ir=pairs(depth_camera, T_depth_scan),
        depth_m=_depth(studio, surface, T_depth_scan, errors, rng),
    )


def _depth(
    studio: Studio, surface: ScanSurface, T_depth_scan: Rigid, errors: Errors, rng: np.random.Generator
) -> np.ndarray:
    """Depth by exact ray-plane intersection (float64) with the face that Embree names."""
    camera = studio.observations.depth
    rays = np.nan_to_num(studio.depth_rays.reshape(-1, 2))
    valid = np.isfinite(studio.depth_rays).all(-1).ravel()
    directions = np.concatenate([rays, np.ones((len(rays), 1))], 1)
    T_scan_depth = T_depth_scan.inverse()
    hits = surface.scene.cast(T_scan_depth.translation, T_scan_depth.rotate(directions))
    corner = T_depth_scan.apply(surface.vertices)[surface.faces[np.maximum(hits.face, 0)]]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.einsum("ni,ni->n", normal, corner[:, 0]) / np.einsum("ni,ni->n", normal, directions)
    z = np.where(hits.is_hit & valid, z, np.nan)
    measured = z * (1 + studio.slope) + studio.offset_m
    if errors.ripple_mm:
        measured += errors.ripple_mm * 1e-3 * np.sin(z / 0.11 + 1.0)
    if errors.depth_mm:
        measured += rng.normal(0, errors.depth_mm * 1e-3, len(z))
    far = rng.random(len(z)) < errors.depth_outliers
    measured[far] += rng.uniform(-0.08, 0.08, far.sum())
    return measured.reshape(camera.height, camera.width)
