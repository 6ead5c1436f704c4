"""A calibration take without images: a true rig, its placements, and what sensor and scanner would report of them.

One draw costs milliseconds, so hundreds of takes can be solved. What is wrong with a take is richer than what the
estimator models: a cyclic depth error over range and a low-frequency pattern over the image, a depth offset that
drifts as the device warms up, a local offset on part of the object (multipath), a scanner that bends space smoothly,
noisy and wrong corners, depth outliers, factory errors in every camera and between them. Frame ``scan`` is y up
with the volume on the origin; metres and pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.rigid_shape import CornerCloud, share_shape
from anim_real.calibrate.boards.target import Target, corner_positions
from anim_real.calibrate.boards.targets import load_target, target_mesh
from anim_real.calibrate.evidence import person_points
from anim_real.calibrate.observations import CornerPairs, Placement, ScanSurface, SensorObservations
from anim_real.calibrate.solve.depth_bias import DepthPoints
from anim_real.calibrate.solve.intrinsics import rays_by_lens
from anim_real.calibrate.solve.state import State
from anim_real.calibration import DepthBias
from anim_real.capture.k4a_calibration import parse_calibration
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.studio.bend import Bend
from anim_real.studio.factory import FactoryErrors, device_factory, shipped_factory, true_device
from anim_real.studio.scene import sensor_pose, target_poses

Array = NDArray[np.float64]
UP = np.array([0.0, 1.0, 0.0])
VOLUME_RADIUS_M = 1.0
COLOR_MODE = "1536P"
_GATE_M = 0.02  # depth farther off than this is never associated with the object
_MIN_COSINE = 0.4


@dataclass(frozen=True, kw_only=True)
class WorldErrors:
    """What is wrong with a take: standard deviations unless said otherwise.

    Attributes:
        color_px, ir_px: corner noise.
        wrong_corners: share of the corners that are up to 30 px off.
        scan_corner_mm: noise of a corner on the scan, per axis; both cameras share it.
        scanner_mm: root mean square length of the scanner's smooth distortion of space.
        surface_mm: noise of the scanned surface along its normal.
        depth_mm: noise of a depth pixel (mean of a burst).
        depth_outliers: share of depth pixels that are up to 80 mm off.
        wiggle_mm, pattern_mm: cyclic error over range (amplitude) and pattern over the image.
        warm_up_mm: depth drift from the first to the last placement.
        multipath_mm: largest local depth offset on part of the object.
        factory: factor on the factory's errors.
    """

    color_px: float = 0.10
    ir_px: float = 0.12
    wrong_corners: float = 0.05
    scan_corner_mm: float = 0.20
    scanner_mm: float = 0.20
    surface_mm: float = 0.30
    depth_mm: float = 0.6
    depth_outliers: float = 0.30
    wiggle_mm: float = 1.0
    pattern_mm: float = 0.4
    warm_up_mm: float = 0.5
    multipath_mm: float = 2.0
    factory: float = 1.0


NO_ERRORS = WorldErrors(**dict.fromkeys(WorldErrors.__dataclass_fields__, 0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """One take.

    Attributes:
        observations: what the estimator gets, with the factory's cameras.
        depth_points: depth pixels on the object by placement, as association would give them.
        corner_depth: (N,) depth measured at every IR corner by placement, metres.
        multipath: the local depth offset at every placement.
        truth: the true transforms.
        color, depth: the true cameras.
        bias: the true depth error.
        target: the target.
        poses: true ``T_scan_target`` of every placement.
        scanned: what the scanner made of every placement; another sensor of the rig sees the same.
    """

    observations: SensorObservations
    depth_points: dict[int, DepthPoints]
    corner_depth: dict[int, Array]
    multipath: dict[int, Multipath]
    truth: State
    color: Camera
    depth: Camera
    bias: DepthBiasTruth
    target: Target
    poses: list[Rigid]
    scanned: Scanned

    def target_error_mm(self, state: State) -> Array:
        """(N,) how far a depth pixel of known depth is put from where it belongs, over the person-sized volume."""
        points_depth = self.truth.T_depth_scan.apply(volume_points())
        return self._error_mm(state, points_depth, points_depth[:, 2])

    def chain_error_mm(self, state: State, bias: DepthBias) -> Array:
        """The same for depth as measured: with the device's systematic error, less what the calibration corrects."""
        points_depth = self.truth.T_depth_scan.apply(volume_points())
        range_m, z = np.linalg.norm(points_depth, axis=1), points_depth[:, 2]
        measured = z + self.bias(range_m, self.depth.project(points_depth), self.depth, 0.5) * z / range_m
        return self._error_mm(state, points_depth, bias.correct(measured, range_m / z))

    def depth_pose_error_mm(self, state: State) -> Array:
        """(N,) error of the depth camera's pose alone; its lens, solved with it, undoes a part."""
        points = volume_points()
        return np.linalg.norm(state.T_depth_scan.apply(points) - self.truth.T_depth_scan.apply(points), axis=1) * 1e3

    def placed(self, state: State) -> Array:
        """(N, 3) where a depth pixel of known depth is put, over the person-sized volume; frame scan."""
        points_depth = self.truth.T_depth_scan.apply(volume_points())
        return self._placed(state, points_depth, points_depth[:, 2])

    def _error_mm(self, state: State, points_depth: Array, z: Array) -> Array:
        return np.linalg.norm(self._placed(state, points_depth, z) - volume_points(), axis=1) * 1e3

    def _placed(self, state: State, points_depth: Array, z: Array) -> Array:
        rays = state.depth_camera(self.observations.depth).normalize(self.depth.project(points_depth))
        placed = np.concatenate([rays, np.ones((len(rays), 1))], 1) * z[:, None]
        return state.T_depth_scan.inverse().apply(placed)

    def pose_error_mm(self, state: State) -> Array:
        """(N,) error of the colour camera's pose over the person-sized volume."""
        points = volume_points()
        return np.linalg.norm(state.T_color_scan.apply(points) - self.truth.T_color_scan.apply(points), axis=1) * 1e3

    def color_error_px(self, state: State) -> Array:
        """(N,) error of the volume's points in the colour image."""
        points = volume_points()
        camera = state.color_camera(self.observations.color)
        return np.linalg.norm(
            camera.project(state.T_color_scan.apply(points))
            - self.color.project(self.truth.T_color_scan.apply(points)),
            axis=1,
        )


def volume_points() -> Array:
    """(N, 3) grid over the person-sized volume, frame scan."""
    return person_points(np.zeros(3), UP)


def make_world(
    seed: int,
    errors: WorldErrors | None = None,
    *,
    num: int = 8,
    points_per_placement: int = 400,
    poses: list[Rigid] | None = None,
    rigid: bool = True,
    order: int = 0,
    scanned: Scanned | None = None,
) -> World:
    """Draw a take of one sensor: another device, another sensor pose, other placements for every seed.

    Args:
        seed: draws everything.
        errors: what is wrong; ``WorldErrors()`` by default.
        num: number of placements.
        points_per_placement: depth pixels drawn, before outliers are left out.
        poses: true ``T_scan_target``; drawn by default.
        rigid: whether scans share the corners of the rigid target, as the command does.
        order: number of the sensor in its rig; tells its place.
        scanned: the scans of ``poses`` where another sensor of the rig has them already; drawn by default.
    """
    errors = WorldErrors() if errors is None else errors
    rng = np.random.default_rng([seed, 4, order] if order else [seed, 4])
    factory_json = device_factory(shipped_factory(), "0", rng)
    usual = FactoryErrors()
    scaled = FactoryErrors(
        **{name: getattr(usual, name) * errors.factory for name in FactoryErrors.__dataclass_fields__}
    )
    factory = parse_calibration(factory_json, where="world")
    device = parse_calibration(true_device(factory_json, scaled, rng), where="world")
    pose = sensor_pose(order, VOLUME_RADIUS_M, rng)
    truth = State.factory(Rigid.from_parts("color", "scan", pose.rotation, pose.translation), device.T_color_depth)
    target, body = _target()
    if poses is None:
        drawn = target_poses(num, VOLUME_RADIUS_M, body.vertices.mean(0), rng)
        poses = [Rigid.from_parts("scan", "target", pose.rotation, pose.translation) for pose in drawn]
    maker = _Maker(
        errors=errors,
        rng=rng,
        truth=truth,
        color=device.camera("color", COLOR_MODE),
        depth=device.camera("depth", "NFOV_UNBINNED"),
        factory_depth=factory.camera("depth", "NFOV_UNBINNED"),
        bend=Bend.draw(errors.scanner_mm * 1e-3, rng) if scanned is None else scanned.bend,
        bias=DepthBiasTruth.draw(errors, rng),
        num_points=points_per_placement,
    )
    if scanned is None:
        scans = {index: maker.scanned(pose) for index, pose in enumerate(poses)}
        shared = share_shape(scans, *corner_positions(target)).clouds if rigid else scans
        scanned = Scanned(bend=maker.bend, clouds=dict(shared))
    made = [
        maker.placement(index, pose, scanned.clouds[index].points, index / max(len(poses) - 1, 1))
        for index, pose in enumerate(poses)
    ]
    observations = SensorObservations(
        sensor=f"k{order}",
        color=factory.camera("color", COLOR_MODE),
        depth=maker.factory_depth,
        T_color_depth=factory.T_color_depth,
        placements=tuple(placement for placement, _, _, _ in made),
    )
    return World(
        observations=observations,
        depth_points={placement.index: points for placement, points, _, _ in made},
        corner_depth={placement.index: depth for placement, _, depth, _ in made},
        multipath={placement.index: multipath for placement, _, _, multipath in made},
        truth=truth,
        color=maker.color,
        depth=maker.depth,
        bias=maker.bias,
        target=target,
        poses=poses,
        scanned=scanned,
    )


def make_rig(seed: int, errors: WorldErrors | None = None, *, num_sensors: int = 2, rigid: bool = True) -> list[World]:
    """Draw a take of several sensors, 40 degrees apart: each with its own device and noise, all with the same scans."""
    first = make_world(seed, errors, rigid=rigid)
    return [first] + [
        make_world(seed, errors, poses=first.poses, order=order, scanned=first.scanned)
        for order in range(1, num_sensors)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scanned:
    """What the scanner made of a take: how it bends space, and the corners on every scan."""

    bend: Bend
    clouds: dict[int, CornerCloud]


@dataclass(frozen=True, kw_only=True, eq=False)
class Multipath:
    """A local depth offset on part of the object: middle (3,) in frame depth, size there, metres."""

    center: Array
    size_m: float

    def __call__(self, points: Array) -> Array:
        """(N,) offset along z at points (N, 3)."""
        return self.size_m * np.exp(-0.5 * ((points - self.center) ** 2).sum(1) / 0.10**2)


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthBiasTruth:
    """A device's systematic depth error along the ray: affine, cyclic in range, smooth over the image, warming up."""

    offset_m: float
    slope: float
    wiggle_m: float
    period_m: float
    phase: float
    pattern: Array
    warm_up_m: float

    @classmethod
    def draw(cls, errors: WorldErrors, rng: np.random.Generator) -> DepthBiasTruth:
        """Of the size that the virtual studio has."""
        return cls(
            offset_m=errors.factory * float(rng.choice((-1.0, 1.0)) * rng.uniform(0.002, 0.005)),
            slope=errors.factory * float(rng.uniform(-0.0015, 0.0015)),
            wiggle_m=errors.wiggle_mm * 1e-3 * float(rng.uniform(0.7, 1.2)),
            period_m=float(rng.uniform(0.6, 1.0)),
            phase=float(rng.uniform(0, 2 * np.pi)),
            pattern=rng.normal(0.0, errors.pattern_mm * 1e-3 / 1.15, 5),  # the basis below has this spread
            warm_up_m=errors.warm_up_mm * 1e-3 * float(rng.normal()),
        )

    def __call__(self, range_m: Array, pixels: Array, camera: Camera, progress: float) -> Array:
        """Error (N,) in metres along the ray; ``progress`` 0 to 1 through the take."""
        u, v = (2 * pixels / (camera.width, camera.height) - 1).T
        pattern = np.stack([u, v, u * v, u * u - 1 / 3, v * v - 1 / 3]).T @ self.pattern
        cyclic = self.wiggle_m * np.sin(2 * np.pi * range_m / self.period_m + self.phase)
        warming = self.warm_up_m * (1 - np.exp(-3 * progress))
        return self.offset_m + self.slope * range_m + cyclic + pattern + warming


@dataclass(frozen=True, kw_only=True, eq=False)
class _Maker:
    """Draws placements of one take."""

    errors: WorldErrors
    rng: np.random.Generator
    truth: State
    color: Camera
    depth: Camera
    factory_depth: Camera
    bend: Bend
    bias: DepthBiasTruth
    num_points: int

    def scanned(self, pose: Rigid) -> CornerCloud:
        """All corners on the scan."""
        ids, corners = corner_positions(_target()[0])
        noise = self.rng.normal(0, self.errors.scan_corner_mm * 1e-3, corners.shape)
        return CornerCloud(ids=ids, points=self.bend(pose.apply(corners)) + noise)

    def placement(
        self, index: int, pose: Rigid, on_scan: Array, progress: float
    ) -> tuple[Placement, DepthPoints, Array, Multipath]:
        target, body = _target()
        ids, corners_target = corner_positions(target)
        corners = pose.apply(corners_target)
        normals = pose.rotate(
            np.concatenate([np.tile(b.T_target_board.rotation[:, 2], (b.spec.num_corners, 1)) for b in target.boards])
        )
        views = [
            self._corners(ids, corners, normals, on_scan, camera, transform, noise)
            for camera, transform, noise in (
                (self.color, self.truth.T_color_scan, self.errors.color_px),
                (self.depth, self.truth.T_depth_scan, self.errors.ir_px),
            )
        ]
        points, multipath = self._depth_points(pose, body, progress)
        placement = Placement(
            index=index,
            scan_frame=index,
            surface=ScanSurface.of(self.bend(pose.apply(body.vertices)), body.faces),
            color=views[0],
            ir=views[1],
            depth_m=np.broadcast_to(np.nan, (self.depth.height, self.depth.width)),
        )
        return placement, points, self._corner_depth(corners[np.searchsorted(ids, views[1].ids)], progress), multipath

    def _corner_depth(self, corners: Array, progress: float) -> Array:
        """(N,) depth measured at corners (N, 3) of the scan frame."""
        points = self.truth.T_depth_scan.apply(corners)
        range_m = np.linalg.norm(points, axis=1)
        error = self.bias(range_m, self.depth.project(points), self.depth, progress) * points[:, 2] / range_m
        return points[:, 2] + error + self.rng.normal(0, self.errors.depth_mm * 1e-3, len(points))

    def _corners(
        self,
        ids: NDArray[np.int64],
        corners: Array,
        normals: Array,
        on_scan: Array,
        camera: Camera,
        T: Rigid,
        noise: float,
    ) -> CornerPairs:
        points = T.apply(corners)
        cosine = -np.einsum("ni,ni->n", points, T.rotate(normals)) / np.linalg.norm(points, axis=1)
        pixels = camera.project(points)
        with np.errstate(invalid="ignore"):
            inside = (pixels > 4).all(1) & (pixels < (camera.width - 5, camera.height - 5)).all(1)
        seen = (cosine > 0.35) & inside & (self.rng.random(len(ids)) > 0.03)
        pixels = pixels[seen] + self.rng.normal(0, noise, (int(seen.sum()), 2))
        wrong = self.rng.random(len(pixels)) < self.errors.wrong_corners
        pixels[wrong] += self.rng.uniform(-30, 30, (int(wrong.sum()), 2))
        return CornerPairs(ids=ids[seen], points_scan=on_scan[seen], pixels=pixels)

    def _depth_points(self, pose: Rigid, body: Mesh, progress: float) -> tuple[DepthPoints, Multipath]:
        rng, errors, T_depth_scan = self.rng, self.errors, self.truth.T_depth_scan
        corners = T_depth_scan.apply(pose.apply(body.vertices))[body.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(normals, axis=1)
        cosine = -np.einsum("fi,fi->f", normals, corners.mean(1)) / (area * np.linalg.norm(corners.mean(1), axis=1))
        weight = np.where(cosine > _MIN_COSINE, area * cosine, 0.0)
        face = rng.choice(len(weight), self.num_points, p=weight / weight.sum())
        mix = rng.dirichlet(np.ones(3), self.num_points)
        points = np.einsum("nk,nki->ni", mix, corners[face])
        pixels = self.depth.project(points)
        with np.errstate(invalid="ignore"):
            valid = (pixels > 2).all(1) & (pixels < (self.depth.width - 3, self.depth.height - 3)).all(1)
        points, pixels, face = points[valid], pixels[valid], face[valid]
        range_m = np.linalg.norm(points, axis=1)
        error = self.bias(range_m, pixels, self.depth, progress) * points[:, 2] / range_m
        noise = rng.normal(0, errors.depth_mm * 1e-3, len(points))
        center = points[rng.integers(len(points))]
        multipath = Multipath(center=center, size_m=rng.uniform(0, errors.multipath_mm * 1e-3))
        noise += multipath(points)
        far = rng.random(len(points)) < errors.depth_outliers
        noise[far] += rng.uniform(-0.08, 0.08, int(far.sum()))
        keep = np.abs(noise) < _GATE_M
        points, pixels, face = points[keep], pixels[keep], face[keep]
        on_scan = T_depth_scan.inverse().apply(points)
        unit = T_depth_scan.inverse().rotate(normals[face] / area[face][:, None])
        anchors = self.bend(on_scan) + unit * rng.normal(0, errors.surface_mm * 1e-3, len(points))[:, None]
        rays = self.factory_depth.normalize(pixels)
        return DepthPoints(
            factory_rays=np.concatenate([rays, np.ones((len(rays), 1))], 1),
            rays_by_lens=rays_by_lens(self.factory_depth, rays),
            z_measured=points[:, 2] + error[keep] + noise[keep],
            anchors_scan=anchors,
            normals_scan=unit,
        ), multipath


@cache
def _target() -> tuple[Target, Mesh]:
    target = load_target("prism")
    return target, target_mesh(target, 256, edge_m=0.06)
