"""Files that nobody on this project made: each is closed with a report, or refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import DataError, RefusedError
from anim_real.mesh import load_mesh
from anim_real.meshes.watertight import make_watertight

CLOSABLE = (
    "human_man.obj",
    "boot.obj",
    "LeePerrySmith.glb",
    "makehuman_base.obj",
    "male_generic.obj",
    "male_worksuit01.obj",
    "female_casualsuit02.obj",
)
DEFECTIVE_BUT_CLOSABLE = ("busted.STL", "featuretype.STL", "fuze.obj", "not_convex.obj", "wallhole.obj")


def closed(path, resolution=96):
    result = make_watertight(load_mesh(path), resolution=resolution)
    report = result.report
    assert report.mesh_to_scan.mean_m < 0.1 * report.cell_m
    # the constructor proved that it is closed; no face may be degenerate in float32 files either
    assert result.mesh.face_areas.min() > 1e-5 * report.cell_m**2
    return result


@pytest.mark.parametrize("name", CLOSABLE)
def test_scans_bodies_and_garments_are_closed(shared_data, name):
    result = closed(shared_data / "meshes" / name)
    assert result.report.scan_to_mesh.mean_m < 0.15 * result.report.cell_m
    if name != "makehuman_base.obj":  # holds helper shapes beside the body
        assert result.report.num_components == 1


@pytest.mark.parametrize("name", DEFECTIVE_BUT_CLOSABLE)
def test_defective_files_are_mended(shared_data, name):
    result = closed(shared_data / "meshes" / "defective" / name, 64)
    found = result.report.inspection
    # walls that two solids share, or that cancel each other, bound nothing and do not count as lost
    assert result.report.scan_to_mesh.mean_m < 0.1 * result.report.cell_m
    if name.endswith(".STL"):
        assert found.merged_vertices > 0, "STL files repeat every vertex"
    if name == "wallhole.obj":
        assert found.degenerate_faces > 0
    is_walled = name in ("wallhole.obj", "not_convex.obj")
    assert (result.report.buried_share > 0.01) == is_walled


def test_a_soup_is_refused_because_most_would_be_invented(shared_data):
    with pytest.raises(RefusedError, match="invented"):
        make_watertight(load_mesh(shared_data / "meshes" / "defective" / "soup.stl"), resolution=32)


def test_a_file_without_faces_is_refused(shared_data):
    with pytest.raises(DataError, match="no faces"):
        load_mesh(shared_data / "meshes" / "defective" / "points_emptyface.ply")


def test_a_body_is_closed_without_losing_its_volume(shared_data):
    """The exact volume of the closed body by its own triangles is the oracle."""
    body = load_mesh(shared_data / "meshes" / "human_man.obj")
    result = make_watertight(body, resolution=256)
    assert result.mesh.volume == pytest.approx(body.volume, rel=3e-3)
    assert result.report.mesh_to_scan.mean_m < 0.2e-3
    assert result.report.num_holes == 0
    assert not result.invented.any()


def test_a_body_with_holes_keeps_its_inside(shared_data, rng):
    from anim_real.mesh import Mesh
    from anim_real.meshes.winding import INSIDE, WindingNumber

    body = load_mesh(shared_data / "meshes" / "human_man.obj")
    centers = body.corners.mean(1)
    keep = np.ones(len(centers), dtype=bool)
    for _ in range(8):
        keep &= np.linalg.norm(centers - centers[rng.integers(len(centers))], axis=1) > 0.03
    result = make_watertight(Mesh(vertices=body.vertices, faces=body.faces[keep]), resolution=128)
    low, high = body.vertices.min(0), body.vertices.max(0)
    points = rng.uniform(low, high, (40_000, 3))
    truth = WindingNumber(body.vertices, body.faces).at(points) > INSIDE
    ours = WindingNumber(result.mesh.vertices, result.mesh.faces).at(points) > INSIDE
    # thin fingers and the caps over holes of 3 cm: well below 1 % of the body's points
    assert (truth != ours).sum() < 0.02 * truth.sum()
