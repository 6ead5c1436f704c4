"""``inspect`` and ``export`` through the command line: output, JSON and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from capture.recordings import depth_image, factory_calibration, write_recording

from anim_real.cli import main
from anim_real.mesh import Mesh, save_mesh

TIMES_US = [900_000 + index * 33_333 for index in range(5)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("rec") / "kinect-k0.mkv", TIMES_US, without_depth=(2,))


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_recording_is_described(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "inspect", str(recording))
    assert code == 0
    for text in (
        "000123456789",
        "NFOV_2X2BINNED 320x288",
        "720P 1280x720 MJPG",
        "5, of them 1 incomplete",
        "60 samples",
    ):
        assert text in out
    assert "DAMAGED" not in out


def test_json_holds_the_same_figures(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "inspect", str(recording), "--json", "--decode")
    table = json.loads(out)
    assert code == 0
    assert (table["kind"], table["num_captures"], table["num_incomplete"]) == ("recording", 5, 1)
    assert (table["first_time_us"], table["last_time_us"]) == (TIMES_US[0], TIMES_US[-1])
    assert (table["num_corrupt_color"], table["num_corrupt_depth"]) == (0, 0)
    expected = np.mean([(depth_image(index) > 0).mean() for index in (0, 1, 3, 4)])
    assert table["depth_coverage"] == pytest.approx(expected)


def test_a_cut_recording_tells_its_damage(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.mkv"
    content = recording.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    code, out, _ = said(capsys, "inspect", str(path))
    assert code == 0
    assert "DAMAGED" in out
    assert f"{len(content) - len(content) // 2} bytes missing" in out


def test_other_kinds_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    triangle = Mesh(vertices=np.eye(3) * 1800.0, faces=np.array([[0, 1, 2]]))
    save_mesh(tmp_path / "scan.ply", triangle)
    (tmp_path / "factory.json").write_bytes(factory_calibration().to_json())
    (tmp_path / "timestamps.csv").write_text("frame_index,time_us\n0,10\n1,20\n")
    cv2.imwrite(str(tmp_path / "depth.png"), depth_image(1))
    (tmp_path / "notes.toml").write_text('schema = "x/y/1"\nvalue = 3\n')
    expected = {
        "scan.ply": ("mesh", "not watertight: 3 edges are open"),
        "factory.json": ("record", "device 000123456789"),
        "timestamps.csv": ("table", "2 rows; columns frame_index, time_us"),
        "depth.png": ("image", "320x288 uint16"),
        "notes.toml": ("specification", "value = 3"),
    }
    for name, (kind, text) in expected.items():
        code, out, _ = said(capsys, "inspect", str(tmp_path / name))
        assert code == 0, name
        assert out.startswith(f"{kind}: ")
        assert text in out


def test_a_shipped_rig_is_validated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = Path(__file__).resolve().parents[2] / "rigs" / "virtual.toml"
    code, out, _ = said(capsys, "inspect", str(rig), "--json")
    assert code == 0
    assert json.loads(out)["content"]["name"] == "virtual"
    broken = tmp_path / "rig.toml"
    broken.write_text(rig.read_text().replace("radius_m", "radius_mm"))
    code, _, err = said(capsys, "inspect", str(broken))
    assert code == 2
    assert "radius_mm" in err


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("nothing.mkv", None, 10, "no such file"),
        ("empty.mkv", b"", 4, "is empty"),
        ("text.mkv", b"hello", 4, "not a Matroska"),
        ("nan.json", b'{"CalibrationInformation": NaN}', 4, "not valid JSON"),
        ("list.json", b"[1]", 4, "no JSON object"),
        ("broken.toml", b"a = [", 2, "not valid TOML"),
        ("empty.csv", b"", 4, "CSV"),
        ("broken.ply", b"ply\nformat ascii 1.0\nend_header\n", 4, ""),
        ("broken.png", b"\x89PNG", 4, "not a readable image"),
        ("broken.safetensors", b"\xff" * 40, 4, "not a safetensors"),
        ("foreign.safetensors", b'\x0f\0\0\0\0\0\0\0{"a": {"b": 3}}', 4, "damaged header"),
        ("other.json", b'{"schema": "anim-real/calibration/9"}', 12, "calibration/9"),
        ("half.json", b'{"schema": "anim-real/calibration/1"}', 4, "is missing"),
        ("film.avi", b"RIFF", 4, "not known"),
    ],
)
def test_bad_files_end_in_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, code: int, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found, out, err = said(capsys, "inspect", str(tmp_path / name))
    assert found == code
    assert out == ""
    assert message in err
    assert err.startswith("anim-real: ")
    assert err.count("\n") == 1


def test_runs_and_checkpoints_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = b'{"w": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}}'
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n')
    checkpoint = tmp_path / "checkpoints" / "step-2"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(48))
    (checkpoint / "state.json").write_text('{"schema": "anim-real/checkpoint/1", "step": 2}')
    code, out, _ = said(capsys, "inspect", str(tmp_path), "--json")
    assert (code, json.loads(out)["last"]) == (0, {"step": 2, "loss": 1.5})
    code, out, _ = said(capsys, "inspect", str(checkpoint), "--json")
    table = json.loads(out)
    assert (code, table["kind"], table["num_tensors"], table["num_parameters"]) == (0, "checkpoint", 1, 12)
    (tmp_path / "metrics.jsonl").write_text("{bad\n")
    assert said(capsys, "inspect", str(tmp_path))[0] == 4


def test_a_folder_of_no_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "inspect", str(tmp_path))
    assert code == 4
    assert "take.toml" in err


def test_a_captures_files_are_exported(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    code, out, _ = said(capsys, "export", str(recording), "-o", str(folder), "--frames", "1", "2")
    assert code == 0
    assert out.splitlines()[-1] == str(folder)
    depth = cv2.imread(str(folder / "frame-000001.depth.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(depth, depth_image(1))
    infrared = cv2.imread(str(folder / "frame-000001.ir.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(infrared, depth_image(501))
    assert (folder / "frame-000002.color.jpg").is_file()
    assert not (folder / "frame-000002.depth.png").exists()
    table = json.loads((folder / "intrinsics.json").read_text())
    expected = factory_calibration().camera("color", "720P")
    assert (table["color"]["fx"], table["color"]["cy"]) == (expected.fx, expected.cy)
    assert table["T_color_depth"]["dst"] == "color"


def test_the_real_frame_becomes_coloured_points_with_normals(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open3d = pytest.importorskip("open3d")
    folder = tmp_path / "out"
    code, out, _ = said(
        capsys, "export", str(shared_data / "k4a-recording" / "recording.mkv"), "-o", str(folder), "--json"
    )
    assert code == 0
    (capture,) = json.loads(out)["captures"]
    cloud = open3d.io.read_point_cloud(str(folder / "frame-000000.points.ply"))
    points, normals = np.asarray(cloud.points), np.asarray(cloud.normals)
    assert len(points) == capture["num_points"] > 500_000
    assert cloud.has_colors()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
    assert ((points * normals).sum(1) < 1e-6).all()  # towards the camera
    aligned = cv2.imread(str(folder / "frame-000000.aligned.png"), cv2.IMREAD_UNCHANGED)
    assert aligned.shape == (720, 1280)
    assert np.isin(np.rint(points[:, 2] * 1e3).astype(int), aligned).all()  # metres in the cloud, mm in the image


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--frames", "99"], 4, "no capture 99"),
        (["--every", "0"], 2, "not a positive"),
    ],
)
def test_export_refuses_and_leaves_nothing(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    found, _, err = said(capsys, "export", str(recording), "-o", str(tmp_path / "out"), *arguments)
    assert found == code
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_export_lists_captures_that_fail_and_does_the_rest(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = said(capsys, "export", str(recording), "-o", str(tmp_path / "out"), "--frames", "0", "99")
    assert code == 3
    assert "no capture 99" in err
    assert (tmp_path / "out" / "frame-000000.depth.png").is_file()


def test_export_does_not_overwrite(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    code, _, err = said(capsys, "export", str(recording), "-o", str(tmp_path / "out"))
    assert code == 2
    assert "exists" in err
