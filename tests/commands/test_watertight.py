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
