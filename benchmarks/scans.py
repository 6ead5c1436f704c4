"""Watertighting and labelling of scans against libigl and Open3D, side by side in one run.

    python benchmarks/scans.py                     a procedural figure with holes, 80k faces
    python benchmarks/scans.py SCAN --unit mm      a scan of your own
    python benchmarks/scans.py --subdivisions 8    330k faces

Prints process CPU seconds (all threads) and wall seconds, medians over ``--repeats``, and ratios. The dense
reference evaluates every lattice point, so it is run at ``--dense-resolution`` and takes long.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import igl
import numpy as np

from anim_real.geometry.distances import SurfaceDistance, sample_surface
from anim_real.mesh import Mesh, closedness_problem, load_mesh
from anim_real.meshes.inspect import mend
from anim_real.meshes.sample import ScanField
from anim_real.meshes.watertight import WatertightResult, make_watertight
from anim_real.rig import METRES_PER_UNIT

NUM_LABELS = 48_000
SIGMA_M = 0.005


@dataclass(frozen=True)
class Timed:
    """Median process CPU and wall seconds of a call, and its last answer."""

    cpu: float
    wall: float
    answer: object


def timed(call: Callable[[], object], repeats: int) -> Timed:
    """Median times of ``repeats`` calls."""
    cpu, wall, answer = [], [], None
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        answer = call()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return Timed(statistics.median(cpu), statistics.median(wall), answer)


def figure(subdivisions: int, rng: np.random.Generator) -> Mesh:
    """A rippled upright figure, 1.7 m tall, with ten round holes of 3 to 6 cm."""
    vertices, faces = igl.icosahedron()
    for _ in range(subdivisions):
        vertices, faces = igl.upsample(vertices, faces)
        vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    waves = rng.normal(0, 9.0, (24, 3))
    ripple = np.cos(vertices @ waves.T + rng.uniform(0, 6.3, 24)).sum(1)
    vertices = vertices * (1 + 0.012 * ripple[:, None]) * (0.25, 0.85, 0.18)
    center = vertices[faces].mean(1)
    keep = np.ones(len(faces), dtype=bool)
    for _ in range(10):
        keep &= np.linalg.norm(center - center[rng.integers(len(faces))], axis=1) > rng.uniform(0.03, 0.06)
    return Mesh(vertices=vertices, faces=faces[keep])


def dense_libigl(scan: Mesh, resolution: int) -> Mesh:
    """Signed distance on the dense grid, then marching cubes: what the narrow band replaces."""
    low, high = scan.vertices.min(0), scan.vertices.max(0)
    cell = float((high - low).max()) / resolution
    shape = np.ceil((high - low) / cell).astype(int) + 7
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape[::-1]), indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
    points = np.ascontiguousarray(low + cell * (index - 3))
    field = igl.signed_distance(points, scan.vertices, scan.faces, igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER)[0]
    vertices, faces, _ = igl.marching_cubes(field, points, *shape.tolist(), 0.0)
    return Mesh(vertices=vertices, faces=faces)


def poisson(scan: Mesh, resolution: int) -> Mesh:
    """Open3D's screened Poisson reconstruction at the depth that matches ``resolution``."""
    import open3d as o3d

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(scan.vertices))
    cloud.normals = o3d.utility.Vector3dVector(scan.vertex_normals())
    depth = int(np.ceil(np.log2(resolution)))
    mesh, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth)
    return Mesh(vertices=np.asarray(mesh.vertices), faces=np.asarray(mesh.triangles))


def error_mm(scan: Mesh, mesh: Mesh, rng: np.random.Generator) -> str:
    """Mean and 99th percentile of distances from points on the scan to ``mesh``."""
    points, _ = sample_surface(scan.vertices, scan.faces, 50_000, rng)
    gap = 1e3 * SurfaceDistance(mesh.vertices, mesh.faces).closest(points).distance
    return f"mean {gap.mean():.3f} p99 {np.quantile(gap, 0.99):.3f} mm"


def show(name: str, run: Timed, scan: Mesh, reference: Timed | None, rng: np.random.Generator) -> None:
    """Print one row."""
    mesh = run.answer.mesh if isinstance(run.answer, WatertightResult) else run.answer
    assert isinstance(mesh, Mesh)
    ratio = "" if reference is None else f" | {run.cpu / reference.cpu:6.1f}x our CPU"
    problem = closedness_problem(mesh)
    state = "closed" if problem is None else f"NOT closed: {problem}"
    print(f"{name:24} {run.cpu:7.2f} s CPU {run.wall:7.2f} s wall | {error_mm(scan, mesh, rng)} | {state}{ratio}")


def compare_closing(scan: Mesh, repeats: int, dense_resolution: int, rng: np.random.Generator) -> None:
    """Closing at several resolutions, against dense libigl and Poisson."""
    clean = mend(scan)
    mended = Mesh(vertices=clean.vertices, faces=clean.faces)
    for resolution in dict.fromkeys((dense_resolution, 256, 512)):
        ours = timed(lambda r=resolution: make_watertight(scan, resolution=r), repeats)
        show(f"ours {resolution}", ours, mended, None, rng)
        show(f"poisson {resolution}", timed(lambda r=resolution: poisson(mended, r), 1), mended, ours, rng)
        if resolution == dense_resolution:
            show(
                f"dense libigl {resolution}", timed(lambda r=resolution: dense_libigl(mended, r), 1), mended, ours, rng
            )


def compare_labels(scan: Mesh, repeats: int, rng: np.random.Generator) -> None:
    """Signed distances: time against libigl, signs against exact winding numbers, error on the scan."""
    result = make_watertight(scan, resolution=256)
    mended = result.scan
    surface, _ = sample_surface(mended.vertices, mended.faces, NUM_LABELS, rng)
    points = surface + rng.normal(0, SIGMA_M, surface.shape)
    ours = timed(lambda: ScanField(result).signed_distance(points).sdf, repeats)
    kind = igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
    theirs = timed(lambda: igl.signed_distance(points, mended.vertices, mended.faces, kind)[0], repeats)
    exact = igl.winding_number(mended.vertices, mended.faces, points[:4000]) if len(mended.faces) < 4e5 else None
    print(
        f"{NUM_LABELS} labels: ours {ours.cpu:.2f} s CPU, libigl {theirs.cpu:.2f} s CPU: {theirs.cpu / ours.cpu:.1f}x"
    )
    print(f"signs that differ from libigl's: {int(((ours.answer < 0) != (theirs.answer < 0)).sum())}")  # type: ignore[operator]
    if exact is not None:
        clear = np.abs(exact - 0.5) > 0.01
        wrong = ((ours.answer[:4000] < 0) != (exact > 0.5)) & clear  # type: ignore[index]
        print(f"signs against exact winding numbers, |w - 0.5| > 0.01: {int(wrong.sum())} of {int(clear.sum())} differ")
    on_surface = 1e3 * np.abs(ScanField(result).signed_distance(surface).sdf).mean()
    print(f"labels of points on the scanned surface: mean {on_surface:.4f} mm")


def main() -> None:
    """Run the comparisons and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", nargs="?", type=Path, help="mesh file; default: a procedural figure")
    parser.add_argument("--unit", choices=METRES_PER_UNIT, default="m")
    parser.add_argument("--subdivisions", type=int, default=6, help="6: 80k faces, 7: 330k")
    parser.add_argument("--dense-resolution", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    if arguments.scan is None:
        scan = figure(arguments.subdivisions, rng)
    else:
        scan = load_mesh(arguments.scan).scaled(METRES_PER_UNIT[arguments.unit])
    make_watertight(scan, resolution=32)  # imports and first-use costs
    print(f"scan: {len(scan.faces)} faces")
    compare_closing(scan, arguments.repeats, arguments.dense_resolution, rng)
    compare_labels(scan, arguments.repeats, rng)


if __name__ == "__main__":
    main()
