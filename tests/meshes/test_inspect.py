from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import DataError
from anim_real.mesh import Mesh, closedness_problem
from anim_real.meshes.inspect import mend

from .shapes import box, inverted, joined, near, punched, sphere, split_vertices, turned


def remade(mended):
    return Mesh(vertices=mended.vertices, faces=mended.faces)


def test_a_good_mesh_is_left_alone():
    mesh = sphere(subdivisions=3)
    mended = mend(mesh)
    found = mended.inspection
    assert closedness_problem(remade(mended)) is None
    assert remade(mended).volume == pytest.approx(mesh.volume, rel=1e-12)
    changes = (
        found.merged_vertices,
        found.degenerate_faces,
        found.duplicate_faces,
        found.flipped_faces,
        found.dropped_pieces,
    )
    assert changes == (0, 0, 0, 0, 0)
    assert (found.open_edges, found.nonmanifold_edges, found.boundary_loops, found.num_pieces) == (0, 0, 0, 1)


def test_a_soup_of_triangles_is_joined():
    mesh = sphere(subdivisions=3)
    soup = split_vertices(mesh, np.arange(len(mesh.faces)))
    mended = mend(soup)
    assert closedness_problem(remade(mended)) is None
    assert mended.inspection.merged_vertices == len(soup.vertices) - len(mesh.vertices)


def test_bad_faces_are_counted_and_dropped():
    mesh = sphere(subdivisions=2)
    first, second = mesh.faces[0], mesh.faces[1]
    middle = mesh.vertices[first[:2]].mean(0)
    bad = Mesh(
        vertices=np.concatenate([mesh.vertices, middle[None]]),
        faces=np.concatenate(
            [
                mesh.faces,
                [[first[0], first[0], first[1]]],
                [[first[0], len(mesh.vertices), first[1]]],
                [first[[1, 2, 0]]],
                [second[::-1]],
            ]
        ),
    )
    mended = mend(bad)
    assert mended.inspection.degenerate_faces == 2
    assert mended.inspection.duplicate_faces == 2
    assert closedness_problem(remade(mended)) is None


def test_source_faces_point_into_the_raw_scan(rng):
    mesh = sphere(subdivisions=3)
    raw = split_vertices(turned(mesh, near(mesh, (0.5, 0, 0), 0.2)), np.flatnonzero(rng.random(len(mesh.faces)) < 0.3))
    mended = mend(raw)
    ours = mended.vertices[mended.faces].mean(1)
    assert np.allclose(ours, raw.corners[mended.source_face].mean(1), atol=1e-9)


def test_flipped_patches_are_turned_back():
    mesh = sphere(subdivisions=4)
    rows = near(mesh, (0.5, 0, 0), 0.15) | near(mesh, (0, -0.5, 0), 0.1)
    mended = mend(turned(mesh, rows))
    assert mended.inspection.flipped_faces == rows.sum()
    assert closedness_problem(remade(mended)) is None


def test_a_flipped_island_in_a_hole_is_turned_back():
    """The island touches nothing; its own winding number cannot tell, the field of the rest can."""
    mesh = sphere(subdivisions=4)
    island, gap = near(mesh, (0, 0, 0.5), 0.15), near(mesh, (0, 0, 0.5), 0.2)
    raw = Mesh(vertices=mesh.vertices, faces=turned(mesh, island).faces[island | ~gap])
    mended = mend(raw)
    assert mended.inspection.flipped_patches == 1
    assert mended.inspection.flipped_faces == island.sum()
    outward = np.einsum("ij,ij->i", remade(mended).vertex_normals(), mended.vertices)
    assert (outward > 0).all()


def test_an_island_that_is_right_stays():
    mesh = sphere(subdivisions=4)
    raw = Mesh(vertices=mesh.vertices, faces=mesh.faces[near(mesh, (0, 0, 0.5), 0.15) | ~near(mesh, (0, 0, 0.5), 0.2)])
    assert mend(raw).inspection.flipped_faces == 0


def test_an_inverted_mesh_is_turned(rng):
    for mesh in (sphere(subdivisions=3), punched(sphere(subdivisions=4), rng, 4, 0.15)):
        mended = mend(inverted(mesh))
        assert mended.inspection.flipped_faces == len(mesh.faces)
        outward = np.einsum("ij,ij->i", remade(mended).vertex_normals(), mended.vertices)
        assert (outward > 0).all()


def test_an_inverted_garment_around_a_body_is_turned():
    body = box((-0.2, -0.8, -0.2), (0.2, 0.8, 0.2))
    tube = sphere(0.45, 4)
    tube = Mesh(vertices=tube.vertices, faces=tube.faces[np.abs(tube.corners.mean(1)[:, 1]) < 0.3])
    assert mend(joined(body, inverted(tube))).inspection.flipped_faces == len(tube.faces)
    assert mend(joined(body, tube)).inspection.flipped_faces == 0


def test_crumbs_are_dropped_and_near_or_large_pieces_kept():
    mesh = sphere(subdivisions=4)
    crumb, touching = sphere(0.01, 1, (0.7, 0, 0)), sphere(0.01, 1, (0.505, 0, 0))
    head = sphere(0.1, 3, (0, 0.8, 0))
    found = mend(joined(mesh, crumb, touching, head)).inspection
    assert (found.dropped_pieces, found.num_pieces) == (1, 3)
    area = [piece.face_areas.sum() for piece in (mesh, crumb, touching, head)]
    assert found.dropped_area_share == pytest.approx(area[1] / sum(area))


def test_rims_are_known(rng):
    mesh = sphere(subdivisions=4)
    raw = Mesh(vertices=mesh.vertices, faces=mesh.faces[~near(mesh, (0.5, 0, 0), 0.1) & ~near(mesh, (-0.5, 0, 0), 0.1)])
    mended = mend(raw)
    assert mended.inspection.boundary_loops == 2
    assert mended.is_rim.sum() == mended.inspection.open_edges > 0
    face, corner = np.nonzero(mended.is_rim)
    ends = np.stack([mended.faces[face, (corner + 1) % 3], mended.faces[face, (corner + 2) % 3]], 1)
    assert (np.abs(np.abs(mended.vertices[ends][..., 0]) - 0.5) < 0.02).all()


def test_unused_vertices_do_not_count_for_the_extent():
    mesh = sphere(subdivisions=2)
    stray = Mesh(vertices=np.concatenate([mesh.vertices, [[50.0, 0, 0]]]), faces=mesh.faces)
    mended = mend(stray)
    assert mended.inspection.extent == pytest.approx(1.0, abs=1e-9)
    assert mended.inspection.merged_vertices == 1


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_nothing_with_an_area_is_refused(scale):
    line = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0.0]]) * scale
    with pytest.raises(DataError):
        mend(Mesh(vertices=line, faces=np.array([[0, 1, 2]])))


@pytest.mark.parametrize("is_turned", [False, True])
def test_a_closed_piece_beside_a_large_one_is_judged_by_itself(is_turned):
    """Its near side looks at the large piece, whose winding number rises there: that must not turn it over."""
    trunk, head = box((-0.2, 0.0, -0.2), (0.2, 1.0, 0.2)), sphere(0.15, 3, (0.0, 1.2, 0.0))
    mended = mend(joined(trunk, inverted(head) if is_turned else head))
    assert mended.inspection.flipped_faces == (len(head.faces) if is_turned else 0)
    assert remade(mended).volume == pytest.approx(trunk.volume + head.volume)
