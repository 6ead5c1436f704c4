"""Targets: geometry against plain trigonometry, the printed pattern against OpenCV's detector."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from anim_real.calibrate.boards.detect import CornerDetector
from anim_real.calibrate.boards.target import corner_positions, opencv_board
from anim_real.calibrate.boards.targets import load_target, target_mesh
from anim_real.errors import ConfigError, NotFoundError
from anim_real.mesh import Mesh, closedness_problem
from anim_real.target import TargetSpec, load_geometry_target


@pytest.mark.parametrize("name", ["prism", "board", "cube"])
def test_every_component_is_closed_once_welded(name):
    mesh = target_mesh(load_target(name), 512)
    unique, inverse = np.unique(np.round(mesh.vertices, 7), axis=0, return_inverse=True)
    assert closedness_problem(Mesh(vertices=unique, faces=inverse.reshape(-1)[mesh.faces])) is None


def test_volume_is_that_of_prism_and_spheres():
    mesh = target_mesh(load_target("prism"), 512)
    body = 1.5 * np.sqrt(3) * 0.30**2 * 0.76
    spheres = 3 * 4 / 3 * np.pi * 0.07**3
    assert mesh.volume == pytest.approx(body + spheres, rel=0.005)  # posts add 0.2 %, faceting takes 0.1 %


def test_corners_lie_on_the_sides_and_are_squares_apart():
    target = load_target("prism")
    ids, points = corner_positions(target)
    assert ids.tolist() == list(range(6 * 14))
    assert np.unique(np.round(np.linalg.norm(points[:14, [0, 2]], axis=1), 6)).size >= 1
    assert points[:14, 2] == pytest.approx(0.30 * np.sqrt(3) / 2)  # side 0 faces +z at the hexagon's apothem
    assert points[1] - points[0] == pytest.approx([0.09, 0, 0])  # row by row, to the viewer's right
    assert points[2] - points[0] == pytest.approx([0, -0.09, 0])  # then downwards


def test_texture_shows_every_corner_where_the_mesh_has_it():
    """Detect in the texture image and lift by uv: another way than ray casting."""
    target = load_target("prism")
    mesh = target_mesh(target, 2048)
    found = CornerDetector(target).detect(mesh.texture)
    assert len(found) == 84
    height, width = mesh.texture.shape[:2]
    uv = np.stack([(found.pixels[:, 0] + 0.5) / width, 1 - (found.pixels[:, 1] + 0.5) / height], 1)
    _, points = corner_positions(target)
    texel_m = 0.75e-3
    for corner, position in zip(uv, points[found.ids], strict=True):
        triangles = mesh.uv[mesh.faces]
        a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
        e1, e2, d = b - a, c - a, corner - a
        det = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
        det[det == 0] = np.nan
        s = (d[:, 0] * e2[:, 1] - d[:, 1] * e2[:, 0]) / det
        t = (e1[:, 0] * d[:, 1] - e1[:, 1] * d[:, 0]) / det
        face = int(np.flatnonzero((s >= -1e-6) & (t >= -1e-6) & (s + t <= 1 + 1e-6))[0])
        v = mesh.vertices[mesh.faces[face]]
        lifted = v[0] + s[face] * (v[1] - v[0]) + t[face] * (v[2] - v[0])
        assert np.linalg.norm(lifted - position) < 0.5 * texel_m


def test_pattern_equals_opencvs_own_board():
    target = load_target("board")
    board = target.boards[0]
    px = 630
    image = opencv_board(board.spec, target.dictionary).generateImage((px, px * 9 // 7))
    mesh_texture = target_mesh(target, 2048).texture[..., 0]
    own = CornerDetector(target).detect(mesh_texture)
    theirs = CornerDetector(target).detect(np.pad(image, 40, constant_values=255))
    assert own.ids.tolist() == theirs.ids.tolist() == list(range(48))
    homography, _ = cv2.findHomography(theirs.pixels, own.pixels)
    mapped = cv2.perspectiveTransform(theirs.pixels[None], homography)[0]
    assert np.abs(mapped - own.pixels).max() < 0.3  # px of the finer image


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"first_marker": 0}, "marker ids"),
        ({"side": 7}, "side 7"),
        ({"marker_m": 0.1}, "marker_m"),
        ({"columns": 4}, "does not fit"),
        ({"squares": 4}, "squares"),
    ],
)
def test_impossible_boards_are_refused(tmp_path, change, word):
    import tomllib

    from anim_real.resources import find

    table = tomllib.loads(find("calibration/targets", "prism").read_text())
    table["boards"][1] |= change
    with pytest.raises(ValueError, match=word):
        TargetSpec.model_validate(table)


def test_unknown_target_lists_the_known():
    with pytest.raises(NotFoundError, match="prism"):
        load_target("pyramid")


def test_a_name_that_is_not_the_files_is_refused(tmp_path):
    from anim_real.resources import find

    path = tmp_path / "other.toml"
    path.write_text(find("calibration/targets", "board").read_text())
    with pytest.raises(ConfigError, match="other"):
        load_target(str(path))


def test_the_solid_is_the_targets_in_millimetres_with_z_up(tmp_path):
    import trimesh

    from anim_real.calibrate.boards.solid import target_stl

    path = tmp_path / "prism.stl"
    path.write_bytes(target_stl(load_target("prism")))
    solid = trimesh.load(path)
    assert isinstance(solid, trimesh.Trimesh)  # which welds by position
    assert solid.is_watertight and solid.is_winding_consistent
    assert solid.volume == pytest.approx((1.5 * np.sqrt(3) * 300**2 * 760) + 4 * np.pi * 70**3, rel=0.01)
    low, high = solid.bounds
    assert low[2] == pytest.approx(0, abs=1e-3) and high[2] == pytest.approx(980 + 70, abs=0.2)
    assert low[1] == pytest.approx(-300 * np.sqrt(3) / 2, abs=0.01)  # side 0 looks to the front, -y


def test_the_livescan_cube_is_as_large_as_its_published_solid(shared_data):
    import trimesh

    solid = trimesh.load(shared_data / "calibration-cube" / "Calibration_Cube_4Sided_A4.stl")
    assert isinstance(solid, trimesh.Trimesh)
    body = load_target("cube").spec.body
    assert [body.width_m * 1e3] * 2 + [body.height_m * 1e3] == pytest.approx(np.ptp(solid.bounds, 0), abs=0.6)


@pytest.mark.parametrize(
    ("boards", "word"),
    [
        ([{"kind": "banner", "side": 0, "first_marker": 16, "width_m": 0.1, "height_m": 0.14}], "first_marker"),
        ([{"kind": "marker", "side": 0, "first_marker": 1, "marker_m": 0.9}], "does not fit"),
        ([{"kind": "marker", "side": 0, "first_marker": 1, "marker_m": 0.1, "center": [0.3, 0]}], "does not fit"),
        ([{"kind": "marker", "side": 0, "first_marker": k, "marker_m": 0.1} for k in (1, 2)], "overlap"),
        ([{"kind": "marker", "side": k, "first_marker": 1, "marker_m": 0.1} for k in (0, 1)], "used by another"),
        ([{"kind": "circle", "side": 0}], "circle"),
    ],
)
def test_impossible_markers_and_banners_are_refused(boards, word):
    body = {"kind": "plate", "width_m": 0.4, "height_m": 0.5, "thickness_m": 0.01}
    with pytest.raises(ValueError, match=word):
        TargetSpec.model_validate({"schema": "anim-real/target/1", "name": "a", "body": body, "boards": boards})


def test_a_target_known_by_its_shape_has_its_own_loader(tmp_path):
    path = tmp_path / "vase.toml"
    path.write_text('schema = "anim-real/geometry-target/1"\nname = "vase"\n')
    spec, found = load_geometry_target(str(path))
    assert (spec.name, found) == ("vase", path)
    with pytest.raises(ConfigError, match="no boards"):
        load_target(str(path))
