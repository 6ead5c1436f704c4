"""Pose from an object's shape alone: exact, noisy, and refused. The oracle is the world's own pose."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from anim_real.calibrate.markerless.clouds import object_views
from anim_real.calibrate.markerless.fit import Fitter
from anim_real.calibrate.markerless.hypotheses import aligned, spread_rotations
from anim_real.calibrate.markerless.observe import observe_geometry
from anim_real.calibrate.markerless.solve import solve_geometry
from anim_real.calibrate.markerless.start import find_geometry_start
from anim_real.calibrate.markerless.views import Views
from anim_real.calibrate.observations import ScanSurface, SensorObservations
from anim_real.calibrate.protocol import load_protocol
from anim_real.errors import DataError, RefusedError
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from tests.calibrate.geometry_world import DEPTH, NO_ERRORS, SMALL, GeometryWorld, lumpy_object, make_world

CUBE = trimesh.creation.box((0.3, 0.3, 0.3))


def lumpy_world(seed: int, **changes) -> GeometryWorld:
    return make_world(seed, lumpy_object(np.random.default_rng(seed)), **{"camera": SMALL, **changes})


def rescanned(observations: SensorObservations, change) -> SensorObservations:
    """The same depth images with other scans."""
    placements = [
        replace(placement, surface=ScanSurface.of(*change(placement.surface))) for placement in observations.placements
    ]
    return replace(observations, placements=tuple(placements))


def test_an_exact_pose_is_found_from_nothing_and_again() -> None:
    world = lumpy_world(1, num=2, errors=NO_ERRORS)
    start = find_geometry_start(world.observations)
    shift_mm, turn_deg = world.error(start.T_depth_scan)
    assert shift_mm < 1.0
    assert turn_deg < 0.05
    assert start.score > 0.97
    assert start.runner_up < 0.7
    again = find_geometry_start(world.observations)
    assert np.array_equal(again.T_depth_scan.matrix, start.T_depth_scan.matrix)


def test_one_placement_of_a_salient_object_gives_a_pose_but_no_calibration() -> None:
    world = lumpy_world(2, num=1)
    shift_mm, turn_deg = world.error(find_geometry_start(world.observations).T_depth_scan)
    assert shift_mm < 20.0
    assert turn_deg < 1.0
    with pytest.raises(RefusedError, match="one placement only"):
        solve_geometry(world.observations, load_protocol("default")[0])


def test_noise_bias_and_a_scanned_floor_end_below_two_millimetres() -> None:
    world = lumpy_world(4, num=4, scan_floor=True, camera=DEPTH)
    protocol = load_protocol("default")[0]
    solved = solve_geometry(world.observations, protocol)
    assert world.person_mm(solved.start.T_depth_scan) < 15.0
    assert world.person_mm(solved.solution.state.T_depth_scan) < 2.0
    assert solved.solution.state.T_color_depth.matrix == pytest.approx(world.observations.T_color_depth.matrix)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (trimesh.creation.icosphere(subdivisions=4, radius=0.2), "leaves a motion open"),
        (trimesh.creation.cylinder(0.12, 0.45, sections=64), "leaves a motion open"),
        (trimesh.creation.box((0.3, 0.42, 0.2)), "two different poses"),
        (CUBE, "two different poses"),
    ],
    ids=["sphere", "cylinder", "box", "cube"],
)
def test_a_symmetric_object_at_one_place_is_refused(body: trimesh.Trimesh, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        find_geometry_start(make_world(3, body, num=1, camera=SMALL).observations)


def test_a_flat_object_is_refused() -> None:
    board = trimesh.creation.box((0.5, 0.4, 0.01))
    with pytest.raises(RefusedError, match=r"leaves a motion open|two different poses"):
        find_geometry_start(make_world(6, board, num=1, camera=SMALL).observations)


def test_cubes_at_spread_places_are_told_apart_by_their_places() -> None:
    world = make_world(5, CUBE, num=4, camera=SMALL)
    shift_mm, turn_deg = world.error(find_geometry_start(world.observations).T_depth_scan)
    assert shift_mm < 15.0
    assert turn_deg < 1.0


def test_a_mirrored_scan_is_refused() -> None:
    world = lumpy_world(7, num=3)
    mirrored = rescanned(world.observations, lambda scan: (scan.vertices * [-1, 1, 1], scan.faces[:, ::-1]))
    with pytest.raises(RefusedError, match="no pose lays the scans"):
        find_geometry_start(mirrored)


@pytest.mark.parametrize("factor", [1000.0, 0.001], ids=["mm as m", "m as mm"])
def test_a_scan_in_another_unit_is_refused(factor: float) -> None:
    world = lumpy_world(7, num=1)
    scaled = rescanned(world.observations, lambda scan: (scan.vertices * factor, scan.faces))
    with pytest.raises(RefusedError, match=r"the scan measures .* m") as refused:
        find_geometry_start(scaled)
    assert "unit" in str(refused.value)


def test_scans_of_something_else_are_refused() -> None:
    world, other = lumpy_world(8, num=3), lumpy_world(9, num=3)
    pairs = zip(world.observations.placements, other.observations.placements, strict=True)
    mixed = tuple(replace(mine, surface=theirs.surface) for mine, theirs in pairs)
    with pytest.raises(RefusedError, match="no pose lays the scans"):
        find_geometry_start(replace(world.observations, placements=mixed))


def test_an_empty_room_is_refused() -> None:
    world = lumpy_world(10, num=1)
    placement = world.observations.placements[0]
    empty = replace(placement, depth_m=np.full_like(placement.depth_m, 2.5))
    with pytest.raises(RefusedError, match="nothing of the scanned object's size"):
        find_geometry_start(replace(world.observations, placements=(empty,)))


def test_a_scan_before_the_measured_depth_contradicts_the_pose() -> None:
    world = lumpy_world(11, num=1, errors=NO_ERRORS)
    rays = world.observations.depth.rays()
    views = Views(rays, object_views(world.observations, rays), 4)
    nearer = Rigid.from_parts("depth", "depth", np.eye(3), [0, 0, -0.3]) @ world.T_depth_scan
    behind = Rigid.from_parts("depth", "depth", np.eye(3), [0, 0, 0.3]) @ world.T_depth_scan
    assert views.score(world.T_depth_scan, 0.01) > 0.98
    assert views.score(nearer, 0.01) < -0.9
    assert -0.6 < views.score(behind, 0.01) < -0.3


def test_a_sphere_is_held_by_its_place_alone() -> None:
    world = make_world(12, trimesh.creation.icosphere(subdivisions=4, radius=0.2), num=1, camera=SMALL)
    views = object_views(world.observations, world.observations.depth.rays())
    fit = Fitter(views).fit(world.T_depth_scan)
    assert fit is not None
    held = np.linalg.eigvalsh(fit.information)
    assert (held[:3] < 1e-3).all()  # three turns are open
    assert (held[3:] > 0.05).all()


def test_alignment_recovers_a_pose_and_never_mirrors() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 3))
    truth = Rigid.from_parts("depth", "scan", Rotation.random(random_state=1).as_matrix(), [1.0, 2.0, 3.0])
    assert aligned(points, truth.apply(points)).matrix == pytest.approx(truth.matrix, abs=1e-12)
    flat = points * [1, 1, 0]
    assert np.linalg.det(aligned(flat, flat * [-1, 1, 1]).rotation) == pytest.approx(1.0)


def test_rotations_leave_no_turn_far_from_all() -> None:
    grid = Rotation.concatenate(spread_rotations(600))
    asked = Rotation.random(200, random_state=2)
    nearest = [float((grid * turn.inv()).magnitude().min()) for turn in asked]
    assert np.degrees(max(nearest)) < 30.0


def test_captures_with_motion_are_left_out_and_the_median_is_taken() -> None:
    still = np.full((40, 50), 2000, np.uint16)
    moving = still.copy()
    moving[:10, :10] = 1500
    mesh = Mesh(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    captures = [still, still + np.uint16(4), still + np.uint16(2), moving]
    placement, kept = observe_geometry(3, 30, mesh, captures)
    assert kept == (0, 1, 2)
    assert placement.depth_m == pytest.approx(np.full((40, 50), 2.002))
    assert (placement.index, placement.scan_frame, len(placement.color), len(placement.ir)) == (3, 30, 0, 0)
    with pytest.raises(DataError, match="no capture with depth"):
        observe_geometry(0, 0, mesh, [])
