"""Watertighting and labelling of scans against libigl and Open3D, side by side in one run.

    python benchmarks/scans.py                              a procedural figure with holes, 40k and 200k faces
    python benchmarks/scans.py --faces 200000 --dense       also the dense libigl field at 256 (a minute per run)
    python benchmarks/scans.py --faces 200000 --cube        and on all 256^3 points of a cube (minutes)
    python benchmarks/scans.py --studio 1 --dense           the same for a scan of the virtual studio, 110k faces
    python benchmarks/scans.py --faces 1000000 --skip-poisson  one million faces
    python benchmarks/scans.py --files FOLDER_OR_MESH ...   files of your own, scaled to 1.6 m
    python benchmarks/scans.py --many 200                   faulty raw scans, counted
    python benchmarks/scans.py --peak 1000000               peak memory of one closing at 512
    python benchmarks/scans.py --flags 9 14                 labels whose sign rests on hole filling, of studio scans
    python benchmarks/scans.py --marching                   extraction alone, against dense marching cubes

Times are process CPU seconds (all threads) and wall seconds, least and median of ``--repeats`` interleaved runs.
Errors are distances from points on the scan (evenly by area) to the closed mesh, in mm. For files they are split by
what lies on both sides of the point: a closed surface leaves out what has inside, or outside, on both.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import igl
import numpy as np

from anim_real.errors import AnimRealError
from anim_real.geometry.distances import SurfaceDistance, sample_surface
from anim_real.geometry.grids import Lattice
from anim_real.mesh import SUFFIXES, Mesh, closedness_problem, load_mesh
from anim_real.meshes.inspect import mend
from anim_real.meshes.marching import march
from anim_real.meshes.sample import ScanField, sample_pool
from anim_real.meshes.signs import ScanSides
from anim_real.meshes.watertight import WatertightResult, make_watertight
from anim_real.meshes.winding import INSIDE, WindingNumber

ROOT = Path(__file__).resolve().parent.parent
NUM_LABELS = 48_000
SIGMA_M = 0.005
STUDIO_SEED = 9  # arms spread
NUM_POOL = 100_000
WRONG_M = 0.002
FILE_SIZE_M = 1.6  # a cell of 3.1 mm at 512
AWAY_M = 0.02  # from all rims
NUM_FILE_POINTS = 20_000
SIDE_STEP = 1e-6  # of the extent, off the surface
ASTRAY_CELLS = 0.1  # of points nearer to the mesh than this nobody asks why
THIN_CELLS = (0.1, 0.25, 0.5, 0.75, 1.0)  # where a point's normal meets the other side again


@dataclass
class Timed:
    """CPU and wall seconds of the runs of a call, and its last answer."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    answer: Any = None

    def run(self, call: Callable[[], object]) -> None:
        """Run once more."""
        start = time.process_time(), time.perf_counter()
        self.answer = call()
        self.cpu.append(time.process_time() - start[0])
        self.wall.append(time.perf_counter() - start[1])

    def __str__(self) -> str:
        cpu, wall = statistics.median(self.cpu), statistics.median(self.wall)
        return f"CPU {min(self.cpu):6.2f} / {cpu:6.2f} s, wall {min(self.wall):6.2f} / {wall:6.2f} s"


def interleaved(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, Timed]:
    """Run all calls in turn, ``repeats`` times."""
    runs = {name: Timed() for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            runs[name].run(call)
    return runs


def ratio(ours: Timed, theirs: Timed) -> str:
    """Theirs over ours: least CPU, median CPU, least wall."""
    least, wall = min(theirs.cpu) / min(ours.cpu), min(theirs.wall) / min(ours.wall)
    return f"{least:.1f}x (median {statistics.median(theirs.cpu) / statistics.median(ours.cpu):.1f}x, wall {wall:.1f}x)"


def geodesic(frequency: int) -> Mesh:
    """A unit sphere of 20 frequency^2 faces."""
    corners, sides = igl.icosahedron()
    i, j = np.meshgrid(np.arange(frequency + 1), np.arange(frequency + 1), indexing="ij")
    number = np.full((frequency + 2, frequency + 2), -1)
    number[i[i + j <= frequency], j[i + j <= frequency]] = np.arange((i + j <= frequency).sum())
    along = np.stack([i, j], -1)[i + j <= frequency] / frequency
    up, down = (i + j < frequency), (i + j < frequency - 1)
    faces = np.concatenate(
        [
            np.stack([number[i, j], number[i + 1, j], number[i, j + 1]], -1)[up],
            np.stack([number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]], -1)[down],
        ]
    )
    weights = np.concatenate([1 - along.sum(1, keepdims=True), along], 1)
    vertices = (weights @ corners[sides]).reshape(-1, 3)
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    _, first, place = np.unique(np.rint(vertices * 1e7).astype(int), axis=0, return_index=True, return_inverse=True)
    offsets = len(along) * np.arange(len(sides))[:, None, None]
    mesh = Mesh(vertices=vertices[first], faces=place.ravel()[(faces + offsets).reshape(-1, 3)])
    return mesh if mesh.volume > 0 else replace(mesh, faces=mesh.faces[:, ::-1])


def figure(num_faces: int, rng: np.random.Generator) -> tuple[Mesh, Mesh]:
    """A rippled upright figure, 1.7 m tall: with ten round holes of 3 to 6 cm, and whole."""
    ball = geodesic(round(np.sqrt(num_faces / 20)))
    waves = rng.normal(0, 9.0, (24, 3))
    ripple = np.cos(ball.vertices @ waves.T + rng.uniform(0, 6.3, 24)).sum(1)
    whole = ball.moved(ball.vertices * (1 + 0.012 * ripple[:, None]) * (0.25, 0.85, 0.18))
    center = whole.corners.mean(1)
    keep = np.ones(len(center), dtype=bool)
    for _ in range(10):
        keep &= np.linalg.norm(center - center[rng.integers(len(center))], axis=1) > rng.uniform(0.03, 0.06)
    return Mesh(vertices=whole.vertices, faces=whole.faces[keep]), whole


def dense_libigl(scan: Mesh, resolution: int, *, is_cube: bool) -> Mesh:
    """Signed distance on the dense grid in one call, then marching cubes: what the narrow band replaces.

    Either on the points of the scan's own box, at the cell size of ours and three cells around it, or on all
    ``resolution`` ^ 3 points of a cube around the scan, as networks are evaluated (their cell is 3 % larger).
    """
    low, high = scan.vertices.min(0), scan.vertices.max(0)
    if is_cube:
        cell, shape = float((high - low).max()) / (resolution - 7), np.full(3, resolution)
        low = (low + high - (resolution - 7) * cell) / 2
    else:
        cell = float((high - low).max()) / resolution
        shape = np.ceil((high - low) / cell).astype(int) + 7
    z, y, x = (low[axis] + cell * (np.arange(shape[axis]) - 3) for axis in (2, 1, 0))
    points = np.empty((*shape[::-1], 3))
    points[..., 0], points[..., 1], points[..., 2] = x, y[:, None], z[:, None, None]
    points = points.reshape(-1, 3)
    values = igl.signed_distance(points, scan.vertices, scan.faces, igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER)[0]
    vertices, faces, _ = igl.marching_cubes(values, points, *shape.tolist(), 0.0)
    return Mesh(vertices=vertices, faces=faces)


def poisson(scan: Mesh, resolution: int) -> Mesh:
    """Open3D's screened Poisson reconstruction at the depth that matches ``resolution``."""
    import open3d as o3d

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(scan.vertices))
    cloud.normals = o3d.utility.Vector3dVector(scan.vertex_normals())
    depth = int(np.ceil(np.log2(resolution)))
    mesh, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth)
    return Mesh(vertices=np.asarray(mesh.vertices), faces=np.asarray(mesh.triangles))


def errors_mm(vertices: np.ndarray, faces: np.ndarray, mesh: Mesh) -> str:
    """Mean and 99th percentile of distances from points on a surface to ``mesh``."""
    points, _ = sample_surface(vertices, faces, 100_000, np.random.default_rng(0))
    gap = 1e3 * SurfaceDistance(mesh.vertices, mesh.faces).closest(points).distance
    return f"mean {gap.mean():.4f} p99 {np.quantile(gap, 0.99):.3f} mm"


def compare_closing(scan: Mesh, arguments: argparse.Namespace) -> None:
    """Closing at several resolutions, against dense libigl and Poisson."""
    clean = mend(scan)
    mended = Mesh(vertices=clean.vertices, faces=clean.faces)
    for resolution in arguments.resolutions:
        calls: dict[str, Callable[[], object]] = {"ours": lambda r=resolution: make_watertight(scan, resolution=r)}
        if not arguments.skip_poisson and resolution <= 512:
            calls["poisson"] = lambda r=resolution: poisson(mended, r)
        runs = interleaved(calls, arguments.repeats)
        if resolution == 256:
            dense = {"dense, box": False} if arguments.dense else {}
            dense |= {"dense, cube": True} if arguments.cube else {}
            runs |= interleaved({name: partial(dense_libigl, mended, 256, is_cube=at) for name, at in dense.items()}, 1)
        for name, run in runs.items():
            mesh = run.answer.mesh if isinstance(run.answer, WatertightResult) else run.answer
            problem = closedness_problem(mesh)
            state = "closed" if problem is None else f"NOT closed: {problem}"
            against = "" if name == "ours" else f" | {ratio(runs['ours'], run)}"
            gap = errors_mm(mended.vertices, mended.faces, mesh)
            print(f"  {name:13}{resolution:5} {run} | {gap} | {state}{against}")


def compare_sides(scan: Mesh) -> None:
    """How often the winding number is asked, and whether the counted sides are those of a full evaluation."""
    mended = mend(scan)
    low, high = mended.vertices.min(0) + 1e-3, mended.vertices.max(0) + 1e-3
    lattice = Lattice.around(low, high, cell_m=float((high - low).max()) / 512, padding_cells=8)
    sides = ScanSides(lattice, mended)
    keys = np.unique(sides.crossed_cells()[:, None] + lattice.corner_offsets)
    runs = interleaved(
        {
            "counted": lambda: ScanSides(lattice, mended).winding_at(keys),
            "asked": lambda: mended.winding.at(lattice.points(keys), is_sorted=True),
        },
        2,
    )
    ours, full = runs["counted"].answer, runs["asked"].answer
    sides.winding_at(keys)
    rows = np.flatnonzero((ours > INSIDE) != (full > INSIDE))
    exact = np.asarray(igl.winding_number(mended.vertices, mended.faces, lattice.points(keys[rows])))
    wrong = ((ours[rows] > INSIDE) != (exact > INSIDE)) & (np.abs(exact - INSIDE) > 0.01)
    print(
        f"  sides of {len(keys)} points at 512: asked {sides.num_asked} "
        f"({len(keys) / max(sides.num_asked, 1):.1f}x fewer), {ratio(runs['counted'], runs['asked'])} less time; "
        f"{len(rows)} differ from libigl's tree, "
        f"{int(wrong.sum())} from the exact number"
    )


def compare_labels(scan: Mesh, whole: Mesh, repeats: int) -> None:
    """Signed distances: time against libigl, signs, distances, error on the scan."""
    result = make_watertight(scan, resolution=512)
    mended, rng = result.scan, np.random.default_rng(1)
    surface, _ = sample_surface(mended.vertices, mended.faces, NUM_LABELS, rng)
    points = surface + rng.normal(0, SIGMA_M, surface.shape)
    kind = igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
    runs = interleaved(
        {
            "fresh": lambda: ScanField(replace(result, scan=replace(mended))).signed_distance(points),
            "reused": lambda: ScanField(result).signed_distance(points),
            "libigl": lambda: igl.signed_distance(points, mended.vertices, mended.faces, kind)[0],
        },
        repeats,
    )
    ours, theirs = runs["reused"].answer.sdf, runs["libigl"].answer
    print(f"  {NUM_LABELS} labels: libigl {runs['libigl']}; ours, all trees built: {runs['fresh']}")
    reused = ratio(runs["reused"], runs["libigl"])
    print(f"    {ratio(runs['fresh'], runs['libigl'])}; with closing's tree reused {reused}")
    few = slice(None, None, 6)
    exact = np.asarray(igl.winding_number(mended.vertices, mended.faces, points[few]))
    clear = np.abs(exact - INSIDE) > 0.01
    squared = igl.point_mesh_squared_distance(points[few], result.labels.vertices, result.labels.faces)[0]
    print(
        f"    signs unlike libigl's: {int(((ours < 0) != (theirs < 0)).sum())}; "
        f"unlike the exact winding number's where |w - 0.5| > 0.01: "
        f"{int((((ours[few] < 0) != (exact > INSIDE)) & clear).sum())} of {int(clear.sum())}; "
        f"distances within {np.abs(np.abs(ours[few]) - np.sqrt(squared)).max():.1e} m of libigl's in double"
    )
    truth = WindingNumber(whole.vertices, whole.faces).at(points) > INSIDE
    rims = mended.vertices[mended.faces[mended.is_rim.any(1)].ravel()]
    away = np.linalg.norm(points[:, None] - rims[:: max(1, len(rims) // 400)], axis=2).min(1) > AWAY_M
    on_scan = 1e3 * np.abs(ScanField(result).signed_distance(surface).sdf)
    print(
        f"    labels on the scanned surface: mean {on_scan.mean():.5f} mm; wrong signs {100 * AWAY_M:.0f} cm away from "
        f"holes: {100 * ((ours < 0) != truth)[away].mean():.3f} % of {int(away.sum())}"
    )


def close_files(paths: list[Path]) -> None:
    """Real files, scaled to one size."""
    for path in (p for given in paths for p in (sorted(given.iterdir()) if given.is_dir() else [given])):
        if path.suffix.lower() not in SUFFIXES:
            continue
        run = Timed()
        try:
            scan = load_mesh(path)
            scan = scan.scaled(FILE_SIZE_M / np.ptp(scan.vertices[scan.faces].reshape(-1, 3), axis=0).max())
            run.run(lambda s=scan: make_watertight(s, resolution=512))
        except AnimRealError as error:
            print(f"  {path.name:24} refused: {error}")
            continue
        result, found = run.answer, run.answer.report.inspection
        print(
            f"  {path.name:24} {len(scan.faces):6} faces, {run.cpu[0]:5.2f} s CPU | to the scan "
            f"{result.report.mesh_to_scan} | {result.report.num_holes} holes, "
            f"{100 * result.report.invented_share:.1f} % invented, {found.num_pieces} pieces, {state_of(result)}"
        )
        print_from_scan(result)


def print_from_scan(result: WatertightResult) -> None:
    """Distances from points on a mended scan to the closed mesh, by what lies on both sides of each point.

    The sides are exact winding numbers, which know nothing of our mesh or lattice. A closed outer surface rightly keeps
    away from what has inside on both sides (teeth, a body under clothes) and from what has it on neither.
    """
    scan, cell = result.scan, result.report.cell_m
    points, face = sample_surface(scan.vertices, scan.faces, NUM_FILE_POINTS, np.random.default_rng(0))
    corners = scan.vertices[scan.faces[face]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)

    def is_inside(rows: np.ndarray, step: float) -> np.ndarray:
        return np.asarray(igl.winding_number(scan.vertices, scan.faces, points[rows] + step * normal[rows])) > INSIDE

    every = np.arange(len(points))
    front, back = (
        is_inside(every, SIDE_STEP * scan.inspection.extent),
        is_inside(every, -SIDE_STEP * scan.inspection.extent),
    )
    gap = 1e3 * SurfaceDistance(result.mesh.vertices, result.mesh.faces).closest(points).distance
    bounds = ~front & back
    astray = np.flatnonzero(bounds & (gap > 1e3 * ASTRAY_CELLS * cell))
    is_thin = np.zeros(len(points), dtype=bool)
    for share in THIN_CELLS:
        is_thin[astray] |= is_inside(astray, share * cell) | ~is_inside(astray, -share * cell)
    for name, rows in (
        ("all points of the scan", every >= 0),
        ("inside on both sides", front & back),
        ("outside on both sides", ~front & ~back),
        ("bounding the inside", bounds),
        ("  less what is thinner than a cell", bounds & ~is_thin),
    ):
        if rows.any():
            figures = f"mean {gap[rows].mean():.4f} p99 {np.quantile(gap[rows], 0.99):.3f} max {gap[rows].max():.2f} mm"
            print(f"    {name:36} {100 * rows.mean():6.2f} % | {figures}")


def state_of(result: WatertightResult) -> str:
    """What is wrong with a result, by independent checks; "sound" if nothing."""
    problem = closedness_problem(result.mesh)
    if problem is None and not np.asarray(igl.is_vertex_manifold(result.mesh.faces)).all():
        problem = "a vertex is not manifold"
    if problem is None and result.mesh.face_areas.min() < 1e-6 * result.report.cell_m**2:
        problem = "a face has no area"
    return problem or "sound"


def many(count: int, resolution: int) -> None:
    """Raw scans with about half of all faults each: procedural shapes, and every fifth from the virtual studio."""
    sys.path.insert(0, str(ROOT))
    from tests.meshes.raw_scans import raw_scan

    states: Counter[str] = Counter()
    missed, missed_studio, gaps, start = [], [], [], time.perf_counter()
    for seed in range(count):
        studio = seed % 5 == 4
        if studio:
            scan, body = studio_scan(seed)
            solids: tuple[Mesh, ...] = (body,)
        else:
            scan, solids = raw_scan(seed).scan, raw_scan(seed).solids
        try:
            result = make_watertight(scan, resolution=resolution)
        except AnimRealError as error:
            states[f"refused: {error}"] += 1
            continue
        states[state_of(result)] += 1
        gaps.append(result.report.mesh_to_scan.mean_m / result.report.cell_m)
        (missed_studio if studio else missed).append(missed_share(result.mesh, solids))
    print(f"  {count} raw scans at {resolution}, {time.perf_counter() - start:.0f} s: {dict(states)}")
    print(f"  mean distance to the scan, cells: median {np.median(gaps):.3f}, worst {max(gaps):.3f}")
    for name, shares in (("procedural solids", missed), ("studio's performers", missed_studio)):
        if shares:
            lost = f"median {np.median(shares):.2%}, worst {max(shares):.2%}"
            print(f"  inside of the {name} that was lost, at {resolution} cells: {lost}")


def missed_share(mesh: Mesh, solids: tuple[Mesh, ...]) -> float:
    """Share of the solids' inside that a mesh leaves outside, at random points."""
    points = np.random.default_rng(0).uniform(mesh.vertices.min(0), mesh.vertices.max(0), (6000, 3))
    truth = np.zeros(len(points), dtype=bool)
    for solid in solids:
        truth |= WindingNumber(solid.vertices, solid.faces).at(points) > INSIDE
    ours = WindingNumber(mesh.vertices, mesh.faces).at(points) > INSIDE
    return float((truth & ~ours).sum() / truth.sum())


def studio_scan(seed: int) -> tuple[Mesh, Mesh]:
    """A raw scan of the virtual studio, a dressed performer seen by its scanner, and the closed performer."""
    from anim_real.studio.bodies import ACTIONS, make_performer
    from anim_real.studio.scanner import ScanFaults, raw_scan, scanner_cameras

    performer = make_performer(seed)
    rng = np.random.default_rng(seed)
    body = performer.pose(sorted(ACTIONS)[seed % len(ACTIONS)], float(rng.uniform(0, 3)))
    return raw_scan(body, scanner_cameras(1.0), ScanFaults(), rng, ir_albedo=performer.ir_albedo), body


def rate_flags(seeds: list[int]) -> None:
    """Labels of studio scans whose sign is wrong, and how many of them the pool flags as invented.

    The closed performer is the truth, its skirt a shell of cloth around air: closing the scan fills that air.
    """
    for seed in seeds:
        scan, body = studio_scan(seed)
        result = make_watertight(scan, resolution=256)
        pool = sample_pool(result, num_points=NUM_POOL, rng=np.random.default_rng(seed))
        points = pool.points.astype(float)
        truth = WindingNumber(body.vertices, body.faces)
        is_wrong = (pool.sdf < 0) != (truth.at(points) > INSIDE)
        is_wrong &= SurfaceDistance(body.vertices, body.faces).closest(points).distance > WRONG_M
        flagged = pool.invented[is_wrong].mean() if is_wrong.any() else 1.0
        print(
            f"  studio {seed}: {result.report.invented_share:.1%} of the surface invented; of {NUM_POOL} labels "
            f"{is_wrong.mean():.2%} have the wrong sign more than {1e3 * WRONG_M:.0f} mm from the surface; "
            f"{flagged:.1%} of these are flagged; {(pool.invented & ~is_wrong).mean():.2%} are flagged although right"
        )


def subdivided(mesh: Mesh) -> Mesh:
    """Every face cut in four, whatever its edges share (libigl's ``upsample`` tears faces at non-manifold edges)."""
    faces, count = mesh.faces, len(mesh.vertices)
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], -1).reshape(-1, 2), axis=1)
    pairs, place = np.unique(edges[:, 0] * count + edges[:, 1], return_inverse=True)
    middles = mesh.vertices[np.stack([pairs // count, pairs % count], 1)].mean(1)
    (a, b, c), (ab, bc, ca) = faces.T, count + place.reshape(-1, 3).T
    corners = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return Mesh(
        vertices=np.concatenate([mesh.vertices, middles]),
        faces=np.concatenate([np.stack(corner, 1) for corner in corners]),
    )


def compare_marching(repeats: int) -> None:
    """Extraction alone: sparse cells against the dense field."""
    import open3d as o3d

    for size in (128, 256):
        axis = np.linspace(-1, 1, size)
        x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
        values = np.sqrt(x**2 + y**2 + z**2) - 0.8 + 0.03 * np.sin(9 * x) * np.sin(8 * y) * np.sin(7 * z)
        values[values == 0] = 1e-9
        lattice = Lattice(origin=np.full(3, -1.0), cell_m=2 / (size - 1), shape=(size, size, size))
        inside = values < 0
        corner = [
            inside[i : size - 1 + i, j : size - 1 + j, k : size - 1 + k] for k in (0, 1) for j in (0, 1) for i in (0, 1)
        ]
        mixed = np.argwhere(np.any(corner, axis=0) & ~np.all(corner, axis=0))
        cells = lattice.keys(mixed)
        local = np.stack([values[tuple((mixed + np.array([c & 1, c >> 1 & 1, c >> 2 & 1])).T)] for c in range(8)], 1)
        points = np.stack([x, y, z], -1).transpose(2, 1, 0, 3).reshape(-1, 3)
        flat = np.ascontiguousarray(values.transpose(2, 1, 0)).ravel()
        volume = o3d.core.Tensor(np.ascontiguousarray(values.transpose(2, 1, 0), dtype=np.float32))
        runs = interleaved(
            {
                "ours, sparse": lambda a=(lattice, cells, local): march(*a),
                "Open3D flying edges": lambda v=volume: o3d.t.geometry.TriangleMesh.create_isosurfaces(v, [0.0]),
                "libigl": lambda a=(flat, points, size): igl.marching_cubes(a[0], a[1], a[2], a[2], a[2], 0.0),
            },
            repeats,
        )
        for name, run in runs.items():
            print(f"  {name:20} {size}^3, {len(cells)} mixed cells: {run} | {ratio(runs['ours, sparse'], run)}")


def peak_memory(num_faces: int) -> None:
    """Peak resident memory of this process for one closing at 512; the mesh and the imports are part of it."""
    scan, _ = figure(num_faces, np.random.default_rng(0))
    make_watertight(figure(2000, np.random.default_rng(0))[0], resolution=32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    run = Timed()
    run.run(lambda: make_watertight(scan, resolution=512).report)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  {len(scan.faces)} faces at 512: peak {peak:.2f} GiB, {before:.2f} GiB of it before closing began; {run}")


def main() -> None:
    """Run the comparisons and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, nargs="*", default=[40_000, 200_000], help="sizes of the figure")
    parser.add_argument("--resolutions", type=int, nargs="*", default=[256, 512])
    parser.add_argument("--studio", type=int, help="how often to subdivide a studio scan of 27k faces")
    parser.add_argument("--dense", action="store_true", help="run the dense libigl field at 256, in the scan's box")
    parser.add_argument("--cube", action="store_true", help="run it on 256^3 points: minutes, and 2.5 GB of memory")
    parser.add_argument("--skip-poisson", action="store_true")
    parser.add_argument("--files", type=Path, nargs="*", default=[])
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--many-resolution", type=int, default=128)
    parser.add_argument("--peak", type=int, default=0, help="number of faces")
    parser.add_argument("--flags", type=int, nargs="*", default=[], help="seeds of studio scans; 9 wears a skirt")
    parser.add_argument("--marching", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.peak:
        peak_memory(arguments.peak)
        return
    make_watertight(figure(5000, np.random.default_rng(0))[0], resolution=32)  # imports and first-use costs
    if arguments.many:
        many(arguments.many, arguments.many_resolution)
    elif arguments.files:
        close_files(arguments.files)
    elif arguments.flags:
        rate_flags(arguments.flags)
    elif arguments.marching:
        compare_marching(arguments.repeats)
    elif arguments.studio is not None:
        scan, _ = studio_scan(STUDIO_SEED)
        for _ in range(arguments.studio):
            scan = subdivided(scan)
        print(f"studio scan of {len(scan.faces)} faces")
        compare_closing(scan, arguments)
        compare_sides(scan)
    else:
        for num_faces in arguments.faces:
            scan, whole = figure(num_faces, np.random.default_rng(arguments.seed))
            print(f"figure of {len(scan.faces)} faces")
            compare_closing(scan, arguments)
            compare_sides(scan)
            compare_labels(scan, whole, arguments.repeats)


if __name__ == "__main__":
    main()
