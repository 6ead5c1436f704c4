from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import DataError, NotFoundError
from anim_real.mesh import Mesh, WatertightMesh, closedness_problem, load_mesh, save_mesh

TETRA_VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
TETRA_FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


@pytest.fixture
def tetra():
    return Mesh(vertices=TETRA_VERTICES, faces=TETRA_FACES)


def test_volume_and_areas(tetra):
    assert tetra.volume == pytest.approx(1 / 6)
    assert tetra.moved(tetra.vertices + np.array([5.0, -3.0, 8.0])).volume == pytest.approx(1 / 6)
    assert tetra.scaled(2.0).volume == pytest.approx(8 / 6)
    assert tetra.face_areas == pytest.approx([0.5, 0.5, np.sqrt(3) / 2, 0.5])


def test_vertex_normals_point_outwards(tetra):
    normals = tetra.vertex_normals()
    assert np.allclose(np.linalg.norm(normals, axis=1), 1.0)
    assert (np.einsum("ij,ij->i", normals, tetra.vertices - tetra.vertices.mean(0)) > 0).all()


def test_a_vertex_without_a_face_has_no_normal():
    mesh = Mesh(vertices=np.concatenate([TETRA_VERTICES, [[9.0, 9, 9]]]), faces=TETRA_FACES)
    assert (mesh.vertex_normals()[4] == 0).all()


def test_a_tetrahedron_is_watertight():
    assert WatertightMesh(vertices=TETRA_VERTICES, faces=TETRA_FACES).volume > 0


@pytest.mark.parametrize(
    ("faces", "problem"),
    [
        (TETRA_FACES[:3], "3 edges are open"),
        (TETRA_FACES[:, ::-1], "inside out"),
        (np.concatenate([TETRA_FACES[:3], TETRA_FACES[3:, ::-1]]), "same orientation"),
        (np.concatenate([TETRA_FACES, TETRA_FACES[:1]]), "same orientation"),
        (np.concatenate([TETRA_FACES, [[0, 0, 1]]]), "repeats a vertex"),
        (np.concatenate([TETRA_FACES, TETRA_FACES[:1], TETRA_FACES[:1, ::-1]]), "same orientation"),
    ],
    ids=["open", "inverted", "flipped", "doubled", "degenerate", "fin"],
)
def test_what_is_not_watertight_is_said(faces, problem):
    message = closedness_problem(Mesh(vertices=TETRA_VERTICES, faces=faces))
    assert message is not None
    assert problem in message
    with pytest.raises(DataError, match="not watertight"):
        WatertightMesh(vertices=TETRA_VERTICES, faces=faces)


def test_several_closed_components_are_watertight():
    two = np.concatenate([TETRA_FACES, TETRA_FACES + 4])
    assert closedness_problem(Mesh(vertices=np.concatenate([TETRA_VERTICES, TETRA_VERTICES + 2]), faces=two)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"vertices": np.zeros((0, 3))},
        {"faces": np.zeros((0, 3), dtype=int)},
        {"vertices": TETRA_VERTICES[:, :2]},
        {"faces": TETRA_FACES + 1},
        {"faces": TETRA_FACES - 1},
        {"vertices": np.where(TETRA_VERTICES == 1, np.nan, 0)},
        {"vertices": np.where(TETRA_VERTICES == 1, np.inf, 0)},
        {"colors": np.zeros((3, 3), dtype=np.uint8)},
        {"regions": np.zeros(5, dtype=np.uint8)},
    ],
)
def test_impossible_meshes_are_refused(wrong):
    with pytest.raises(DataError):
        Mesh(**{"vertices": TETRA_VERTICES, "faces": TETRA_FACES, **wrong})


def decorated() -> Mesh:
    return Mesh(
        vertices=TETRA_VERTICES * 0.37 + 0.1,
        faces=TETRA_FACES,
        colors=np.array([[255, 0, 0], [0, 128, 0], [3, 5, 250], [9, 9, 9]], dtype=np.uint8),
        regions=np.array([0, 1, 2, 1], dtype=np.uint8),
    )


@pytest.mark.parametrize("suffix", [".ply", ".glb", ".obj"])
def test_saved_meshes_come_back(tmp_path, suffix):
    mesh, path = decorated(), tmp_path / f"mesh{suffix}"
    save_mesh(path, mesh)
    back = load_mesh(path)
    assert np.array_equal(back.faces, mesh.faces)
    assert np.allclose(back.vertices, mesh.vertices, atol=1e-7)
    assert closedness_problem(back) is None
    if suffix != ".obj":
        assert back.colors is not None
        assert np.array_equal(back.colors, mesh.colors)
    if suffix == ".glb":
        assert back.regions is not None
        assert np.array_equal(back.regions, mesh.regions)
    assert {p.suffix for p in tmp_path.iterdir()} == {suffix}, "no partial file is left"


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_textures_come_back_the_right_way_up(tmp_path, suffix):
    texture = np.random.default_rng(1).integers(0, 255, (8, 16, 3)).astype(np.uint8)
    uv = np.array([[0.1, 0.2], [0.9, 0.2], [0.1, 0.7], [0.6, 0.5]])
    path = tmp_path / f"mesh{suffix}"
    save_mesh(path, Mesh(vertices=TETRA_VERTICES, faces=TETRA_FACES, uv=uv, texture=texture))
    back = load_mesh(path)
    assert back.uv is not None
    assert np.allclose(back.uv, uv, atol=1e-6)
    assert np.array_equal(back.texture, texture)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("missing.ply", None, NotFoundError),
        ("mesh.fbx", b"x", DataError),
        ("garbage.ply", b"not a mesh at all", DataError),
        ("garbage.glb", b"glTF\x02\x00", DataError),
        ("empty.obj", b"", DataError),
        ("points.obj", b"v 0 0 0\nv 1 0 0\n", DataError),
        ("nan.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", DataError),
    ],
)
def test_unreadable_files_are_refused_with_their_name(tmp_path, name, content, error):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=name.replace(".", r"\.")):
        load_mesh(path)


def test_a_mesh_reads_no_file_outside_its_folder(tmp_path):
    (tmp_path / "secret.mtl").write_text("newmtl m\nKd 1 0 0\n")
    folder = tmp_path / "scan"
    folder.mkdir()
    (folder / "mesh.obj").write_text("mtllib ../secret.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    try:
        mesh = load_mesh(folder / "mesh.obj")
    except DataError as error:
        assert "leaves its folder" in str(error)
    else:
        assert mesh.colors is None or not (mesh.colors == (255, 0, 0)).all()


def test_polygons_are_cut_into_triangles(tmp_path):
    (tmp_path / "quad.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n")
    assert load_mesh(tmp_path / "quad.obj").face_areas.sum() == pytest.approx(1.0)


def test_unknown_formats_are_not_written(tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        save_mesh(tmp_path / "mesh.fbx", decorated())
    assert not list(tmp_path.iterdir())
