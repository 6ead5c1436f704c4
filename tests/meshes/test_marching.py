from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.grids import Lattice
from anim_real.mesh import Mesh, WatertightMesh, closedness_problem
from anim_real.meshes.marching import case_table, march


def dense(field: np.ndarray, cell_m: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """March over every cell of a field indexed [x, y, z]."""
    lattice = Lattice(origin=np.zeros(3), cell_m=cell_m, shape=field.shape)
    index = np.stack(np.meshgrid(*(np.arange(n - 1) for n in field.shape), indexing="ij"), -1).reshape(-1, 3)
    cells = lattice.keys(index)
    flat = field.transpose(2, 1, 0).ravel()
    return march(lattice, cells, flat[cells[:, None] + lattice.corner_offsets])


@pytest.mark.parametrize("seed", range(4))
def test_random_signs_give_a_closed_manifold(seed):
    import igl

    field = np.random.default_rng(seed).normal(size=(14, 13, 12))
    field = np.sign(field) * np.maximum(np.abs(field), 1e-3)
    field[[0, -1]] = field[:, [0, -1]] = field[:, :, [0, -1]] = 1.0
    vertices, faces = dense(field)
    assert closedness_problem(Mesh(vertices=vertices, faces=faces)) is None
    assert igl.is_vertex_manifold(faces).all()
    assert Mesh(vertices=vertices, faces=faces).face_areas.min() > 0


def test_every_pattern_inside_a_block_is_closed():
    for pattern in range(1, 256):
        field = np.ones((4, 4, 4))
        for corner in range(8):
            if pattern >> corner & 1:
                field[1 + (corner & 1), 1 + (corner >> 1 & 1), 1 + (corner >> 2 & 1)] = -1.0
        vertices, faces = dense(field)
        mesh = WatertightMesh(vertices=vertices, faces=faces)
        # one vertex per crossed lattice edge, each in the middle of its edge
        crossed = sum((np.diff(np.sign(field), axis=axis) != 0).sum() for axis in range(3))
        assert len(mesh.vertices) == crossed, pattern
        assert np.allclose(np.sort(np.abs(mesh.vertices - np.rint(mesh.vertices)), axis=1), [0, 0, 0.5]), pattern


def test_a_plane_field_is_met_exactly():
    x = np.arange(6.0)
    field = np.broadcast_to((x - 2.3)[:, None, None], (6, 5, 5)).copy()
    vertices, _ = dense(field)
    assert np.allclose(vertices[:, 0], 2.3)


def test_sphere_has_its_volume_and_topology():
    grid = np.stack(np.meshgrid(*(np.arange(41.0),) * 3, indexing="ij"), -1) * 0.05 - 1.0
    radius = 0.7317
    vertices, faces = dense(np.linalg.norm(grid, axis=-1) - radius, 0.05)
    mesh = WatertightMesh(vertices=vertices - 1.0, faces=faces)
    # a chord mesh of edge h loses about 3/8 (h/r)^2 of the volume: 0.2 % here
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=4e-3)
    assert len(vertices) - len(faces) // 2 == 2
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - radius).max() < 0.05**2 / radius


def test_the_table_covers_all_patterns():
    table = case_table()
    assert len(table.start) == 257
    assert table.start[1] == 0, "nothing outside"
    assert table.start[256] == table.start[255], "nothing inside"
    assert (np.diff(table.start)[1:255] >= 1).all()
