"""What sphere fits change: the same takes solved without and with them.

    python benchmarks/calibration_spheres.py --trials 40

Takes without images (``calibration_world``). "Without" leaves the spheres' pixels among the depth pixels, as any other
surface; "with" takes them out and fits the spheres, to pixels and scanned points that err as everything else does.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
from calibration_honesty import parameter_error, squared_length
from calibration_world import World, WorldErrors, make_world, volume_points
from numpy.typing import NDArray
from scipy.stats import chi2

from anim_real.calibrate.evidence import predicted_target_mm, target_jacobian
from anim_real.calibrate.observations import Placement, ScanSpheres
from anim_real.calibrate.protocol import load_protocol
from anim_real.calibrate.solve.depth_bias import DepthPoints, RayImage
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import Solution, solve
from anim_real.calibrate.solve.start import start_states
from anim_real.calibrate.solve.state import DEPTH_LENS, NUM_SHARED, POSE
from anim_real.calibrate.spheres.fits import meet_sphere
from anim_real.calibrate.spheres.observe import fit_scan_spheres, observe_spheres, share_spheres
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_NO_RAYS = RayImage(rays=np.zeros((1, 1, 2)), by_lens=np.zeros((1, 1, 2, 3)))  # depth is associated already
_SURFACE_POINTS = 1500  # of a sphere on a scan
_POST_COSINE = 0.8
_FLYING_M = 0.003  # ring outside which a pixel mixes the sphere with what is behind


def with_spheres(world: World, seed: int, errors: WorldErrors | None = None) -> World:
    """The same take with its spheres observed, and their pixels gone from the other depth pixels."""
    errors = WorldErrors() if errors is None else errors
    rng = np.random.default_rng([seed, 5])
    placements = world.observations.placements
    images = RayImage.of(world.observations.depth)
    found = {p.index: _on_scan(world, world.poses[p.index], errors, rng) for p in placements}
    shared = share_spheres(found, {key: world.scanned.clouds[key] for key in found}, world.target)
    seen = tuple(
        replace(p, scan_spheres=shared[p.index], depth_m=_depth_image(world, p, images, errors, rng))
        for p in placements
    )
    start = start_states(world.observations)[0].T_depth_scan
    observed = observe_spheres(replace(world.observations, placements=seen), start, images)
    points = {
        p.index: _off_spheres(world.depth_points[p.index], p.scan_spheres, p.spheres.ids) for p in observed.placements
    }
    return replace(world, observations=observed, depth_points=points)


def _on_scan(world: World, pose: Rigid, errors: WorldErrors, rng: np.random.Generator) -> ScanSpheres:
    """The spheres as fitted to points of the bent and noisy scan."""
    points = []
    for sphere in world.target.spheres:
        outward = rng.normal(size=(_SURFACE_POINTS, 3))
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        outward = outward[outward[:, 1] > -_POST_COSINE]
        radius = sphere.radius_m + rng.normal(0, errors.surface_mm * 1e-3, len(outward))
        points.append(np.array(sphere.center) + outward * radius[:, None])
    return fit_scan_spheres(world.scanned.bend(pose.apply(np.concatenate(points))), world.target.spheres, pose)


def _depth_image(
    world: World, placement: Placement, images: RayImage, errors: WorldErrors, rng: np.random.Generator
) -> Array:
    """(h, w) measured depth of the spheres, with mixed pixels around them; NaN elsewhere."""
    rows, columns = np.mgrid[: world.depth.height, : world.depth.width]
    rays = world.depth.normalize(np.stack([columns, rows], -1).reshape(-1, 2).astype(np.float64))
    rays = np.concatenate([np.nan_to_num(rays), np.ones((len(rays), 1))], 1)
    measured = np.full(len(rays), np.nan)
    progress = placement.index / max(len(world.poses) - 1, 1)
    drawn = np.array([sphere.center for sphere in world.target.spheres])
    centers = world.truth.T_depth_scan.apply(world.poses[placement.index].apply(drawn))
    for number in np.argsort(-centers[:, 2]):  # the near ones hide the far ones
        sphere, center = world.target.spheres[number], centers[number]
        grown, _, _ = meet_sphere(rays, center, sphere.radius_m + _FLYING_M)
        near = np.flatnonzero(np.isfinite(grown))
        z, _, towards = meet_sphere(rays[near], center, sphere.radius_m)
        mixes = ~np.isfinite(z) | (np.abs(towards) / np.linalg.norm(rays[near], axis=1) < 0.25)
        z = np.where(mixes, center[2] + rng.uniform(-0.02, 1.0, len(z)), z)
        points = rays[near] * z[:, None]
        range_m = np.linalg.norm(points, axis=1)
        pixels = np.stack([near % world.depth.width, near // world.depth.width], 1).astype(np.float64)
        noise = rng.normal(0, errors.depth_mm * 1e-3, len(z)) + world.multipath[placement.index](points)
        far = rng.random(len(z)) < errors.depth_outliers
        noise[far] += rng.uniform(-0.08, 0.08, int(far.sum()))
        measured[near] = z + noise + world.bias(range_m, pixels, world.depth, progress) * z / range_m
    return measured.reshape(world.depth.height, world.depth.width)


def _off_spheres(points: DepthPoints, spheres: ScanSpheres, ids: NDArray[np.int64]) -> DepthPoints:
    """The depth pixels that show none of the spheres fitted."""
    used = np.isin(spheres.ids, ids)
    away = np.linalg.norm(points.anchors_scan[:, None] - spheres.centers[used], axis=2)
    keep = np.logical_not((away < spheres.radii_m[used] + _FLYING_M).any(1))
    return DepthPoints(
        factory_rays=points.factory_rays[keep],
        rays_by_lens=points.rays_by_lens[keep],
        z_measured=points.z_measured[keep],
        anchors_scan=points.anchors_scan[keep],
        normals_scan=points.normals_scan[keep],
    )


def trial(seed: int) -> dict[str, tuple[float, ...]]:
    """Scores of both variants, and how many spheres were fitted, of how many."""
    plain = make_world(seed)
    spheres = with_spheres(plain, seed)
    found = {name: _scores(world) for name, world in (("without", plain), ("with", spheres))}
    placements = spheres.observations.placements
    found["spheres"] = (
        float(sum(len(p.spheres) for p in placements)),
        float(len(placements) * len(plain.target.spheres)),
    )
    return found


def _solved(world: World) -> tuple[Solution, float]:
    """The solution and the processor time it took, seconds."""
    problem = Problem(world.observations, load_protocol("default")[0], depth_rays=_NO_RAYS)
    start = time.process_time()
    solution = solve(problem, start_states(world.observations)[0], associated=world.depth_points)
    return solution, time.process_time() - start


def _residual_spread(solution: Solution) -> float:
    """Standard deviation of the spheres' whitened residuals: 1 where they err as their covariances say."""
    residuals = [block.residual.ravel() for block in solution.blocks if block.kind == "sphere"]
    return float(np.std(np.concatenate(residuals))) if residuals else np.nan


def _scores(world: World) -> tuple[float, ...]:
    solution, seconds = _solved(world)
    state, points = solution.state, volume_points()
    error, covariance = parameter_error(world, state), solution.covariance[:NUM_SHARED, :NUM_SHARED]
    jacobian, part = target_jacobian(solution, points)
    corners = jacobian[[0, len(points) // 2, -1]].reshape(-1, jacobian.shape[2])
    target = world.target_error_mm(state)
    return (
        float(target.mean()),
        float(target.max()),
        predicted_target_mm(solution, points),
        float(squared_length(corners @ error[np.r_[0:12, DEPTH_LENS]], corners @ part @ corners.T, 6)),
        float(squared_length(error[POSE], covariance[POSE, POSE], 6)),
        float(world.pose_error_mm(state).mean()),
        float(world.color_error_px(state).mean()),
        _residual_spread(solution),
        seconds,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    flags = parser.parse_args()
    seeds = range(flags.first_seed, flags.first_seed + flags.trials)
    if flags.processes > 1:
        with get_context("spawn").Pool(flags.processes) as pool:
            answers = pool.map(trial, seeds)
    else:
        answers = [trial(seed) for seed in seeds]
    counted = np.sum([answer["spheres"] for answer in answers], axis=0)
    print(f"{flags.trials} trials, {counted[0]:.0f} of {counted[1]:.0f} spheres fitted")
    print(f"{'':10}{'target mm':>10}{'p95':>8}{'max':>8}{'predicted':>11}{'95 % holds':>12}{'pose':>8}", end="")
    print(f"{'pose mm':>9}{'px':>8}{'spread':>8}{'solve s':>9}")
    limit = chi2.ppf(0.95, 6)
    for name in ("without", "with"):
        table = np.array([answer[name] for answer in answers])
        mean, largest, predicted = table[:, 0].mean(), table[:, 1].max(), table[:, 2].mean()
        print(
            f"{name:10}{mean:>10.3f}{np.percentile(table[:, 0], 95):>8.3f}{largest:>8.3f}{predicted:>11.3f}"
            f"{100 * (table[:, 3] < limit).mean():>11.1f}%{100 * (table[:, 4] < limit).mean():>7.1f}%"
            f"{table[:, 5].mean():>9.3f}{table[:, 6].mean():>8.3f}{table[:, 7].mean():>8.2f}{table[:, 8].mean():>9.2f}"
        )
    gain = [answer["with"][0] - answer["without"][0] for answer in answers]
    error = np.std(gain) / np.sqrt(len(gain))
    print(f"target error with minus without: {np.mean(gain):+.4f} ± {error:.4f} mm")


if __name__ == "__main__":
    main()
