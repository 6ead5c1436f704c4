from __future__ import annotations

import json

import numpy as np
import pytest

from anim_real.commands.watertight import Arguments, run
from anim_real.console import Console
from anim_real.errors import ConfigError, DataError, NotFoundError, RefusedError
from anim_real.mesh import Mesh, WatertightMesh, load_mesh, save_mesh


def ball(radius: float) -> Mesh:
    import igl

    vertices, faces = igl.icosahedron()
    for _ in range(4):
        vertices, faces = igl.upsample(vertices, faces)
        vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    mesh = Mesh(vertices=vertices * radius, faces=faces)
    return mesh if mesh.volume > 0 else Mesh(vertices=mesh.vertices, faces=mesh.faces[:, ::-1])


@pytest.fixture
def scan_path(tmp_path):
    """A ball of 0.5 m with a hole, in millimetres."""
    mesh = ball(500.0)
    colors = np.full((len(mesh.vertices), 3), 77, dtype=np.uint8)
    open_mesh = Mesh(vertices=mesh.vertices, faces=mesh.faces[mesh.corners.mean(1)[:, 1] < 450], colors=colors)
    save_mesh(tmp_path / "scan.ply", open_mesh)
    return tmp_path / "scan.ply"


def close(scan_path, **options):
    options = {"unit": "mm", "resolution": 48, "output": scan_path.with_name("closed.ply"), **options}
    return run(Arguments(scan=scan_path, **options), Console(quiet=True))


def test_it_writes_a_closed_mesh_in_metres_and_a_report(scan_path):
    report_path = scan_path.with_name("report.json")
    result = close(scan_path, report=report_path)
    assert result.path == scan_path.with_name("closed.ply")
    mesh = load_mesh(result.path)
    assert WatertightMesh(vertices=mesh.vertices, faces=mesh.faces).volume == pytest.approx(
        4 / 3 * np.pi * 0.5**3, rel=0.03
    )
    assert mesh.colors is not None
    assert (mesh.colors == 77).all()
    record = json.loads(report_path.read_text())
    assert record == json.loads(json.dumps(result.record))
    assert record["num_holes"] == 1
    assert record["cell_m"] == pytest.approx(1.0 / 48, rel=0.02)


def test_the_page_shows_the_hole_where_it_is(scan_path, monkeypatch):
    """The ball is open at its top: seen from above, all of the cap is painted; the page lists one hole there."""
    from anim_real.commands.jobs import watertight_page

    pictures = []
    painted = watertight_page.picture_view
    monkeypatch.setattr(
        watertight_page, "picture_view", lambda *given, **more: pictures.append(painted(*given, **more)) or pictures[-1]
    )
    page = scan_path.with_name("page.html")
    result = close(scan_path, report=page, up="-z")  # the first picture then looks along -y, at the cap
    text = page.read_text()
    assert "<th>hole</th>" in text and text.count("data:image") == 3
    hole = result.record["holes"][0]
    assert hole["center_m"][1] == pytest.approx(0.455, abs=0.02)
    assert f"{round(hole['area_m2'] * 1e4, 2):.4g}" in text
    image, depth = pictures[0].image.astype(int), pictures[0].depth_m
    rows, columns = np.indices(depth.shape)
    radius = np.hypot(rows - 319.5, columns - 319.5) / pictures[0].camera.px_per_m
    is_orange = image[..., 0] > image[..., 2] + 40
    cap = np.sqrt(0.5**2 - 0.45**2)  # the hole's rim
    assert is_orange[radius < cap - 0.02].mean() > 0.97
    assert is_orange[(radius > cap + 0.03)].mean() < 0.001


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"unit": "m"}, DataError, "--unit"),
        ({"resolution": 3}, ConfigError, "resolution"),
        ({"max_invented": 0.001}, RefusedError, "invented"),
        ({"max_invented": 2.0}, ConfigError, "max-invented"),
    ],
)
def test_what_cannot_be_done_is_refused_and_writes_nothing(scan_path, options, error, words):
    with pytest.raises(error, match=words):
        close(scan_path, **options)
    assert [path.name for path in scan_path.parent.iterdir()] == ["scan.ply"]


def test_files_that_are_not_there_or_would_be_overwritten(scan_path, tmp_path):
    with pytest.raises(NotFoundError):
        close(tmp_path / "missing.ply")
    with pytest.raises(ConfigError, match="exists"):
        close(scan_path, output=scan_path)
    with pytest.raises(ConfigError, match="cannot write"):
        close(scan_path, output=tmp_path / "closed.txt")
    with pytest.raises(ConfigError, match="JSON"):
        close(scan_path, report=tmp_path / "report.txt")


def test_the_scan_is_named_in_the_message(scan_path):
    flat = scan_path.with_name("flat.obj")
    flat.write_text("v 0 0 0\nv 1000 0 0\nv 0 1000 0\nf 1 2 3\n")
    with pytest.raises(DataError, match=r"flat\.obj"):
        close(flat)


@pytest.mark.parametrize(("unit", "metres"), [("m", 1.0), ("dm", 0.1), ("cm", 0.01), ("mm", 0.001), ("inch", 0.0254)])
def test_every_unit_becomes_metres_and_a_wrong_one_is_named(tmp_path, unit, metres):
    path = tmp_path / "scan.ply"
    save_mesh(path, ball(0.85 / metres))
    result = close(path, unit=unit)
    mesh = load_mesh(result.path)
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx(np.full(3, 1.7), rel=1e-3)
    if metres < 0.1:
        with pytest.raises(DataError, match=rf"Check --unit: '{unit}' \(1\.[67] m\)"):
            close(path, unit="m", output=tmp_path / "other.ply")


def test_labels_and_texture_come_along(tmp_path):
    """Each in the file that can keep it; the texture's colours become those of vertices."""
    mesh = ball(0.5)
    is_face = mesh.vertices[:, 1] > 0.2
    uv = np.stack([np.full(len(mesh.vertices), 0.5), mesh.vertices[:, 1] + 0.5], 1)
    texture = np.zeros((100, 4, 3), np.uint8)
    texture[:50], texture[50:] = (200, 10, 10), (10, 10, 200)
    regions = np.where(is_face, 1, 0).astype(np.uint8)
    textured = Mesh(vertices=mesh.vertices, faces=mesh.faces, uv=uv, texture=texture, regions=regions)
    save_mesh(tmp_path / "scan.glb", textured)
    closed = load_mesh(close(tmp_path / "scan.glb", unit="m", output=tmp_path / "closed.glb").path)
    height = closed.vertices[:, 1]
    assert closed.regions is not None and closed.colors is not None
    assert (closed.regions[height > 0.25] == 1).all() and (closed.regions[height < 0.15] == 0).all()
    assert (closed.colors[height > 0.03] == (200, 10, 10)).all()
    assert (closed.colors[height < -0.03] == (10, 10, 200)).all()


def test_a_report_is_not_written_over_another(scan_path, tmp_path):
    for name in ("page.html", "report.json"):
        there = tmp_path / name
        there.write_text("mine")
        with pytest.raises(ConfigError, match="Choose another --report"):
            close(scan_path, report=there)
        assert there.read_text() == "mine"
    with pytest.raises(ConfigError, match="Choose another --report"):
        close(scan_path, report=scan_path / "page.html")
    assert not (tmp_path / "closed.ply").exists()


def test_the_page_says_what_was_mended_and_left_out(tmp_path):
    """Two balls that overlap, each vertex of one repeated: numbers of the page are those of the record."""
    one, other = ball(0.5), ball(0.5)
    corners = other.corners.reshape(-1, 3) + np.array([0.5, 0.0, 0.0])
    vertices = np.concatenate([one.vertices, corners])
    faces = np.concatenate([one.faces, len(one.vertices) + np.arange(len(corners)).reshape(-1, 3)])
    save_mesh(tmp_path / "scan.ply", Mesh(vertices=vertices, faces=faces))
    result = close(tmp_path / "scan.ply", unit="m", report=tmp_path / "page.html")
    page, found = (tmp_path / "page.html").read_text(), result.record
    assert found["inspection"]["merged_vertices"] == len(corners) - len(other.vertices)
    assert f'<td>vertices merged</td><td class="number">{len(corners) - len(other.vertices):,}</td>' in page
    # each ball hides a cap of height 0.25 of the other, a quarter of its area
    assert found["buried_share"] == pytest.approx(0.25, abs=0.01)
    assert f"{found['buried_share']:.1%} of the scan, which bounds no inside" in page
    assert "Nowhere: the scan had no holes." in page
    assert f'<td>genus</td><td>–</td><td class="number">{found["genus"]}</td>' in page


def test_the_finest_lattice_still_closes(tmp_path):
    """1024 cells along a slender body with an open end: 400k faces, closed and manifold as its reader proves."""
    mesh = ball(0.5)
    slender = Mesh(vertices=mesh.vertices * (0.12, 1.0, 0.12), faces=mesh.faces[mesh.corners.mean(1)[:, 1] < 0.4])
    save_mesh(tmp_path / "scan.ply", slender)
    result = close(tmp_path / "scan.ply", unit="m", resolution=1024)
    closed = load_mesh(result.path)
    assert WatertightMesh(vertices=closed.vertices, faces=closed.faces).volume > 0
    assert len(closed.faces) > 300_000
    assert (result.record["genus"], result.record["num_components"], result.record["num_holes"]) == (0, 1, 1)
    assert result.record["scan_to_mesh"]["p99_m"] < 0.2 * result.record["cell_m"]
    above = closed.vertices[:, 1] > 0.41
    assert not above.any(), "the cover of the open end is flat, not drawn to the scan's far side"
