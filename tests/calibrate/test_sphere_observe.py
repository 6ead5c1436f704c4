"""The target's spheres from scans and depth images to residuals and first poses; refused where they are not theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anim_real.calibrate.boards.rigid_shape import CornerCloud
from anim_real.calibrate.boards.target import Target, make_target
from anim_real.calibrate.observations import CornerPairs, ScanSpheres, SpherePairs
from anim_real.calibrate.sensor import sensor_calibration, solve_sensor
from anim_real.calibrate.solve.depth_bias import RayImage
from anim_real.calibrate.solve.intrinsics import rays_by_lens
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.solver import solve
from anim_real.calibrate.solve.start import start_states
from anim_real.calibrate.solve.state import NUM_SHARED, State
from anim_real.calibrate.spheres.evidence import radius_remark, sphere_errors_m, sphere_record
from anim_real.calibrate.spheres.fits import fit_range_sphere, meet_sphere
from anim_real.calibrate.spheres.observe import find_scan_spheres, observe_spheres, share_spheres
from anim_real.calibrate.spheres.residuals import sphere_block
from anim_real.errors import DataError
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh

from .synthetic import FAST, Errors, Studio, make_studio

RADIUS = 0.07


def scanned(studio: Studio, target: Target | None = None, *, corners: bool = True) -> Studio:
    """The studio with the spheres of every scan, found by its corners or without."""
    placements = []
    for placement in studio.observations.placements:
        mesh = Mesh(vertices=placement.surface.vertices, faces=placement.surface.faces)
        seen = placement.color if corners else CornerPairs.empty()
        found = find_scan_spheres(mesh, target or studio.target, seen.ids, seen.points_scan)
        placements.append(replace(placement, scan_spheres=found))
    return replace(studio, observations=replace(studio.observations, placements=tuple(placements)))


def truth(studio: Studio) -> Rigid:
    return studio.T_color_depth.inverse() @ studio.T_color_scan


def unmarked(studio: Studio) -> Studio:
    bare = tuple(
        replace(placement, color=CornerPairs.empty(), ir=CornerPairs.empty())
        for placement in studio.observations.placements
    )
    return replace(studio, observations=replace(studio.observations, placements=bare))


@pytest.fixture(scope="module")
def noisy() -> Studio:
    return scanned(make_studio(40, Errors(corner_px=0.1, depth_mm=1.0, depth_outliers=0.1, factory=1.0), num=4))


@pytest.fixture(scope="module")
def exact() -> Studio:
    return scanned(make_studio(41, Errors(), num=3))


def test_a_scan_has_its_spheres_with_and_without_corners(exact):
    blind = scanned(exact, corners=False)
    for first, second in zip(exact.observations.placements, blind.observations.placements, strict=True):
        assert first.scan_spheres.ids.tolist() == second.scan_spheres.ids.tolist() == [0, 1, 2]
        assert np.abs(first.scan_spheres.centers - second.scan_spheres.centers).max() < 1e-9
        vertices = first.surface.vertices
        for center in first.scan_spheres.centers:
            away = np.linalg.norm(vertices - center, axis=1)
            assert (np.abs(away - RADIUS) < 1e-9).sum() > 2000  # every vertex of an icosphere, and none of its post


def test_spheres_in_depth_lie_where_the_truth_says(exact):
    observed = observe_spheres(exact.observations, truth(exact), RayImage.of(exact.observations.depth))
    assert observed.num_spheres >= 7  # one may hide behind another
    for placement in observed.placements:
        expected = truth(exact).apply(placement.spheres.centers_scan)
        assert np.abs(placement.spheres.centers_depth - expected).max() < 0.15e-3  # faces lie 0.07 mm inside
        assert all(abs(fit.radius_error_m) < 0.3e-3 for fit in placement.spheres.fits)


def test_pixels_of_spheres_are_nobody_elses(noisy):
    problem = Problem(noisy.observations, FAST)
    state = State.factory(noisy.T_color_scan, noisy.observations.T_color_depth)
    before = problem.associate(state, 0.1)
    problem = problem.part(observe_spheres(noisy.observations, truth(noisy), problem.depth_rays))
    after = problem.associate(state, 0.1)
    counts = []
    for placement in problem.observations.placements:
        assert np.isnan(placement.depth_off_spheres_m[placement.spheres.pixels]).all()
        for associated in (before, after):
            away = associated[placement.index].anchors_scan[:, None] - placement.spheres.centers_scan
            counts.append(int((np.linalg.norm(away, axis=2) < RADIUS + 1e-6).sum()))
    assert sum(counts[::2]) > 10
    assert sum(counts[1::2]) == 0


def test_without_spheres_nothing_changes(noisy):
    plain = noisy.observations
    bare = replace(plain, placements=tuple(replace(p, scan_spheres=ScanSpheres.empty()) for p in plain.placements))
    assert observe_spheres(bare, truth(noisy), RayImage.of(plain.depth)) is bare
    far = Rigid.from_rotvec("depth", "depth", [0, 0, 0], [0.3, 0, 0]) @ truth(noisy)
    lost = observe_spheres(plain, far, RayImage.of(plain.depth))
    assert lost.num_spheres == 0
    for placement in lost.placements:
        assert set(placement.spheres.refused) == {0, 1, 2}
        assert placement.depth_off_spheres_m is placement.depth_m


def test_derivatives_equal_differences(noisy):
    problem = Problem(noisy.observations, FAST)
    problem = problem.part(observe_spheres(noisy.observations, truth(noisy), problem.depth_rays))
    rng = np.random.default_rng(0)
    step0 = rng.normal(0, 1e-3, problem.num_parameters)
    step0[NUM_SHARED:] *= 0.01
    start = State.factory(noisy.T_color_scan, noisy.observations.T_color_depth)
    state = start.moved(step0, problem.placements)
    points = problem.associate(start, 0.1)
    blocks = [block for block in problem.blocks(state, points) if block.kind == "sphere"]
    assert blocks
    for column in range(problem.num_parameters):
        step = np.zeros(problem.num_parameters)
        step[column] = 1e-5
        ahead, behind = (
            [b for b in problem.blocks(state.moved(sign * step, problem.placements), points) if b.kind == "sphere"]
            for sign in (1, -1)
        )
        for block, plus, minus in zip(blocks, ahead, behind, strict=True):
            dense = np.zeros((*block.residual.shape, problem.num_parameters))
            dense[..., problem.columns(block.placement)] = block.jacobian
            numeric = -(plus.residual - minus.residual) / 2e-5
            scale = max(np.abs(dense[..., column]).max(), np.abs(dense[..., :6]).max() * 1e-3)
            assert np.abs(numeric - dense[..., column]).max() < 1e-6 * scale, column


def test_the_true_state_explains_biased_pixels_of_a_bent_lens():
    """Pixels made with offset, slope, ripple and another lens, fitted with the factory's: no residual at the truth."""
    studio = make_studio(42, Errors(), num=1)
    factory = studio.observations.depth
    state = replace(
        State.factory(studio.T_color_scan, studio.T_color_depth),
        offset_m=0.004,
        slope=-0.0015,
        depth_lens=np.array([3e-4, 0.15, -0.1]),
        local={0: np.r_[1e-3, 5e-4, -4e-4, 3e-4, np.zeros(6)]},
    )
    rows, columns = np.mgrid[: factory.height, : factory.width]
    pixels = np.stack([columns, rows], -1).reshape(-1, 2).astype(np.float64)
    rays = factory.normalize(pixels)
    true_rays = state.depth_camera(factory).normalize(pixels)
    rays, true_rays = (np.concatenate([np.nan_to_num(r), np.ones((len(r), 1))], 1) for r in (rays, true_rays))
    centers = np.array([[0.1, 0.2, 1.6], [-0.3, 0.1, 2.4]])
    origin, fits = np.array([-0.1, 0.1, 2.0]), []
    for center in centers:
        z, _, _ = meet_sphere(true_rays, center, RADIUS)
        measured = z
        for _ in range(20):  # the ripple is counted where the camera sees the pixel
            seen = rays * measured[:, None]
            ripple = np.c_[np.ones(len(z)), (seen - origin) / 0.2] @ state.local_of(0)[:4]
            measured = z * (1 + state.slope) + state.offset_m + ripple
        fit = fit_range_sphere(rays, rays_by_lens(factory, rays[:, :2]), measured, RADIUS, center)
        assert fit is not None
        fits.append(fit)
    pairs = SpherePairs(
        ids=np.arange(2),
        centers_scan=state.T_depth_scan.inverse().apply(centers),
        fits=tuple(fits),
        covariances=np.zeros((2, 3, 3)),
        scan_radius_errors_m=np.zeros(2),
    )
    block = sphere_block(0, pairs, np.zeros(3), origin, state, floor_m=1e-3)
    assert np.abs(pairs.centers_depth - centers).max() > 2e-3  # it is the model that explains them
    assert np.abs(block.residual).max() < 0.02  # millimetres, by the floor; second order of the errors


def test_a_solve_with_spheres_finds_the_pose(noisy):
    start = start_states(noisy.observations)[0]
    problem = Problem(noisy.observations, FAST)
    problem = problem.part(observe_spheres(noisy.observations, start.T_depth_scan, problem.depth_rays))
    assert problem.observations.num_spheres >= 8
    solution = solve(problem, start)
    assert noisy.depth_error_mm(solution.state.T_depth_scan) < 1.5
    kept = [kept for block, kept in zip(solution.blocks, solution.inliers, strict=True) if block.kind == "sphere"]
    assert np.concatenate(kept).mean() > 0.9
    assert solution.rms("sphere") < 3.0
    entries = [entry for index in problem.placements for entry in sphere_record(problem, solution, index)]
    assert len(entries) == 3 * 4  # every sphere of every placement, used or not
    errors = [entry.error_mm for entry in entries if entry.used]
    assert len(errors) >= 8 and 0.0 < np.median(errors) < 1.0
    assert all(bool(entry.reason) != entry.used for entry in entries)
    block = next(block for block in solution.blocks if block.kind == "sphere")
    assert np.abs(sphere_errors_m(problem, block)).max() < 3e-3


def test_radii_that_differ_together_are_remarked(exact):
    found = {p.index: p.scan_spheres for p in exact.observations.placements}
    assert radius_remark(found) is None
    grown = {key: replace(one, radius_errors_m=one.radius_errors_m + 0.5e-3) for key, one in found.items()}
    assert "0.50 mm (0.7 %) larger" in (radius_remark(grown) or "")
    assert radius_remark({}) is None


def test_another_radius_is_refused_with_the_reason(exact):
    """The drawing says 66 mm where the spheres have 70."""
    spheres = tuple(s.model_copy(update={"radius_m": 0.066}) for s in exact.target.spheres)
    wrong = make_target(exact.target.spec.model_copy(update={"spheres": spheres}))
    for placement in scanned(exact, wrong).observations.placements:
        assert len(placement.scan_spheres) == 0
        assert all(
            "radius comes out as 70.0 mm instead of 66.0" in why for why in placement.scan_spheres.refused.values()
        )


def test_a_dented_sphere_is_refused_in_depth(exact):
    """Depth pixels of sphere 1 from a sphere 5 mm smaller, at the same centre."""
    rays = RayImage.of(exact.observations.depth)
    placement = observe_spheres(exact.observations, truth(exact), rays).placements[0]
    number = int(placement.spheres.ids[-1])
    center = placement.spheres.centers_depth[-1]
    flat = np.concatenate([rays.rays.reshape(-1, 2), np.ones((rays.rays[..., 0].size, 1))], 1)
    z = meet_sphere(flat, center, 0.065)[0].reshape(placement.depth_m.shape)
    whole = np.isfinite(meet_sphere(flat, center, 0.0705)[0]).reshape(z.shape)
    dented = replace(placement, depth_m=np.where(whole, z, placement.depth_m))
    observed = observe_spheres(replace(exact.observations, placements=(dented,)), truth(exact), rays)
    spheres = observed.placements[0].spheres
    assert number not in spheres.ids
    assert "in depth its radius comes out as 65" in spheres.refused[number]


def test_a_sphere_that_is_not_there_is_refused(exact):
    moved = exact.target.spheres[0].model_copy(update={"center": (0.0, 1.3, 0.0)})
    spec = exact.target.spec.model_copy(update={"spheres": (moved, *exact.target.spheres[1:])})
    for placement in scanned(exact, make_target(spec)).observations.placements:
        assert placement.scan_spheres.ids.tolist() == [1, 2]
        assert placement.scan_spheres.refused == {0: "on the scan too little of it is seen"}


def test_scans_share_their_spheres(exact):
    rng = np.random.default_rng(1)
    found, corners = {}, {}
    for placement in exact.observations.placements:
        own = placement.scan_spheres
        found[placement.index] = replace(own, centers=own.centers + rng.normal(0, 1e-3, own.centers.shape))
        corners[placement.index] = placement.color
    clouds = {key: CornerCloud(ids=pairs.ids, points=pairs.points_scan) for key, pairs in corners.items()}
    shared = share_spheres(found, clouds, exact.target)

    def error(spheres: dict[int, ScanSpheres]) -> float:
        true = {p.index: p.scan_spheres.centers for p in exact.observations.placements}
        return float(np.sqrt(np.mean([((spheres[key].centers - true[key]) ** 2).mean() for key in true])))

    assert error(shared) < 0.8 * error(found)


def test_spheres_give_a_start_where_no_marker_is_seen():
    errors = Errors(depth_mm=1.0, depth_outliers=0.02, factory=1.0)
    studio = unmarked(scanned(make_studio(43, errors, num=4), corners=False))
    states = start_states(studio.observations)
    assert studio.depth_error_mm(states[0].T_depth_scan) < 25.0  # depth bias and all
    solution = solve(Problem(studio.observations, FAST), states[0])
    assert studio.depth_error_mm(solution.state.T_depth_scan) < 15.0  # colour was never seen: its priors hold


def test_neither_markers_nor_spheres_is_told():
    studio = unmarked(make_studio(44, Errors(), num=2))
    with pytest.raises(DataError, match="only 0 corners"):
        start_states(studio.observations)


def test_a_take_whose_markers_nobody_saw_is_solved_and_refused_by_its_gates():
    """Spheres find the pose; that the colour camera was not observed is the gates' to say."""
    studio = unmarked(scanned(make_studio(43, Errors(depth_mm=1.0), num=4), corners=False))
    solved = solve_sensor(studio.observations, studio.target, FAST, floor_center=np.zeros(3), up=np.array([0, 1.0, 0]))
    assert studio.depth_error_mm(solved.solution.state.T_depth_scan) < 2.0
    assert solved.color_is_factory
    assert "color corners" in {gate.name for gate in solved.gates if not gate.passed}
    record = sensor_calibration(solved, serial=None, color_mode="720P", depth_mode="NFOV_2X2BINNED", clock=None)
    assert sum(sphere.used for placement in record.placements for sphere in placement.spheres) >= 8
