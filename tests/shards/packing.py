"""Small exact data sets: spheres whose signed distance is known in closed form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import trimesh

from anim_real.geometry.cameras import Camera, OrthographicCamera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import WatertightMesh
from anim_real.samples import PointSamples
from anim_real.shards.images import encode_jpeg
from anim_real.shards.pack import pack_dataset
from anim_real.shards.plan import BuildPlan, Outcome, Remainder, TakePlan
from anim_real.shards.schema import ItemFailure, ShardHeader, TakeConsent
from anim_real.shards.write import FrameRow, ScanUnit

SIZE = 48
RADIUS_M = 0.4


def header(**changes: object) -> ShardHeader:
    """A header that fits ``unit``."""
    values: dict = {
        "subject": "s01",
        "take": "s01-walk",
        "part": 0,
        "is_last_part": True,
        "size": SIZE,
        "color": "jpeg",
        "sensors": ("k0", "k1"),
        "units": {},
        "input_key": "key",
        "num_scans_done": 1,
        "failures": (),
        "provenance": {},
    }
    return ShardHeader(**{**values, **changes})


def color_image(seed: int) -> np.ndarray:
    """A smooth picture: JPEG keeps it within a few grey levels."""
    row = np.linspace(0, 200, SIZE) + seed % 40
    return np.stack([np.tile(row, (SIZE, 1)), np.tile(row, (SIZE, 1)).T, np.full((SIZE, SIZE), 90.0)], -1).astype(
        np.uint8
    )


def frame(seed: int, *, is_raw: bool = False, is_orthographic: bool = False) -> FrameRow:
    """A frame of random depth."""
    rng = np.random.default_rng(seed)
    color = color_image(seed)
    camera: Camera | OrthographicCamera = Camera(width=SIZE, height=SIZE, fx=60.0 + seed, fy=61.0, cx=23.0, cy=24.5)
    if is_orthographic:
        camera = OrthographicCamera(width=SIZE, height=SIZE, px_per_m=20.0, cx=23.5, cy=23.5)
    depth = rng.integers(1, 4000, (SIZE, SIZE)).astype(np.uint16)
    mask = rng.random((SIZE, SIZE)) < 0.5
    return FrameRow(
        color=color if is_raw else encode_jpeg(color),
        depth_mm=np.where(mask, depth, 0).astype(np.uint16),
        mask=mask,
        camera=camera,
        T_color_scan=Rigid.from_rotvec("color", "scan", [0.1, 0.2, 0.01 * seed], [0.0, 0.1, 2.0]),
        sensor="k1" if seed % 2 else "k0",
        kinect_index=100 + seed,
        kinect_time_us=33333 * seed,
        scan_time_us=10**12 + seed,
        dt_us=float(seed) - 0.5,
        depth_coverage=0.9,
    )


def sphere() -> WatertightMesh:
    """A sphere of ``RADIUS_M`` about the origin."""
    ball = trimesh.creation.icosphere(subdivisions=4, radius=RADIUS_M)
    return WatertightMesh(vertices=ball.vertices, faces=ball.faces)


def unit(scan_index: int, *, num_frames: int = 2, num_points: int = 3000, **frame_options: bool) -> ScanUnit:
    """A sphere with its exact labels."""
    rng = np.random.default_rng(scan_index)
    points = rng.uniform(-0.8, 0.8, (num_points, 3)).astype(np.float32)
    sdf = (np.linalg.norm(points.astype(np.float64), axis=1) - RADIUS_M).astype(np.float32)
    samples = PointSamples(
        points=points,
        sdf=sdf,
        region=rng.integers(0, 3, num_points).astype(np.uint8),
        invented=rng.random(num_points) < 0.1,
        band=rng.integers(0, 3, num_points).astype(np.uint8),
    )
    mesh = sphere()
    return ScanUnit(
        scan_index=scan_index,
        mesh=mesh,
        invented=mesh.vertices[:, 1] < -0.39,
        samples=samples,
        frames=tuple(frame(10 * scan_index + k, **frame_options) for k in range(num_frames)),
        cell_m=0.01,
        fit_m=0.0005,
        invented_share=0.01,
    )


def take_plan(take: str = "s01-walk", num_scans: int = 3, key: str = "key") -> TakePlan:
    """A take of spheres; the subject is the part before the dash."""
    subject = take.partition("-")[0]
    consent = TakeConsent(take=take, subject=subject, action="stand", licence="CC0-1.0")
    return TakePlan(
        take=take, subject=subject, sensors=("k0", "k1"), num_scans=num_scans, input_key=key, consent=consent
    )


def build_plan(*takes: TakePlan, key: str = "build") -> BuildPlan:
    """Takes of one data set; the first subject is the test split."""
    subjects = list(dict.fromkeys(take.subject for take in takes))
    return BuildPlan(
        name="spheres",
        kind="pairs",
        size=SIZE,
        color="jpeg",
        splits={"train": tuple(subjects[1:]), "test": tuple(subjects[:1])},
        takes=takes,
        build_key=key,
        provenance={"manifest_sha256": "0" * 64},
    )


class Source:
    """Gives the outcomes of every remaining scan and remembers which were asked for."""

    def __init__(self, broken: tuple[tuple[str, int], ...] = (), stop_after: int | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self._broken = broken
        self._stop_after = stop_after

    def __call__(self, left: list[Remainder]) -> Iterable[Outcome]:
        """Scan k of a take has index 2 k."""
        return self._stream(left)

    def _stream(self, left: list[Remainder]) -> Iterator[Outcome]:
        for remainder in left:
            take = remainder.plan.take
            for number in range(remainder.num_done, remainder.plan.num_scans):
                if self._stop_after is not None and len(self.asked) >= self._stop_after:
                    raise KeyboardInterrupt
                self.asked.append((take, number))
                if (take, number) in self._broken:
                    failure = ItemFailure(take=take, item=f"scan {2 * number}", reason="is broken")
                    yield Outcome(take=take, unit=None, failures=(failure,))
                else:
                    yield Outcome(take=take, unit=unit(2 * number))


def packed(folder: Path, *takes: TakePlan) -> Path:
    """A finished data set in ``folder``."""
    pack_dataset(folder, build_plan(*(takes or (take_plan(), take_plan("s02-turn")))), Source())
    return folder


def only_shard(folder: Path) -> Path:
    """The first shard of a data set."""
    return sorted((folder / "shards").iterdir())[0]
