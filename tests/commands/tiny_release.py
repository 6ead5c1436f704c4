"""A release that can be packed in seconds: capsule-shaped people, exact cameras, true MKV and GLB files."""

from __future__ import annotations

import datetime
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import trimesh

from anim_real.calibration import (
    Calibration,
    CameraModel,
    ClockMap,
    DepthBias,
    RigidModel,
    SensorCalibration,
    save_calibration,
)
from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter
from anim_real.files import sha256_file
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.manifest import FRAME_COLUMNS, Manifest, ManifestTake, save_manifest
from anim_real.mesh import Mesh, save_mesh
from anim_real.meshes.render import render_rgbd
from anim_real.rig import load_rig
from anim_real.take import ConsentSpec

COLOR = Camera(width=1280, height=720, fx=610.0, fy=611.0, cx=640.0, cy=362.0, distortion=np.array([0.05, -0.02]))
DEPTH = Camera(width=640, height=576, fx=504.0, fy=504.0, cx=320.0, cy=288.0)
T_COLOR_SCAN = Rigid.from_parts("color", "scan", np.diag([1.0, -1.0, -1.0]), [0.0, 1.0, 2.3])
T_COLOR_DEPTH = Rigid.from_rotvec("color", "depth", [0.05, 0.0, 0.0], [-0.032, 0.0, 0.004])
BIAS = DepthBias(offset_m=0.004, slope=0.001)
RADIUS_M, LENGTH_M, CENTER_M = 0.2, 1.2, 0.9
CLOCK = ClockMap(
    src="kinect:k0",
    dst="scanner",
    origin_us=0,
    offset_us=1e9,
    drift_ppm=0.0,
    residual_us=10.0,
    num_observations=9,
    method="triggers",
)


def person(sway_m: float) -> Mesh:
    """A closed upright capsule, 1.6 m tall, whose upper end is its face; metres, y up."""
    capsule = trimesh.creation.capsule(height=LENGTH_M, radius=RADIUS_M, count=(64, 64))
    x, y, z = capsule.vertices.T  # its axis is z
    vertices = np.stack(
        [x + sway_m, z + CENTER_M - (capsule.vertices[:, 2].max() + capsule.vertices[:, 2].min()) / 2, -y], 1
    )
    return Mesh(
        vertices=vertices,
        faces=capsule.faces,
        colors=np.full((len(vertices), 3), (200, 120, 40), dtype=np.uint8),
        regions=(vertices[:, 1] > 1.4).astype(np.uint8),
    )


def write_release(root: Path, *, num_scans: int = 3) -> Path:
    """Two subjects, one take each, calibration and manifest below ``root``; return the manifest's path."""
    _, _, rig_sha256 = load_rig("virtual")
    calibration = save_calibration(root / "calibration.json", _calibration(rig_sha256))
    takes, rows = [], []
    for subject in ("s01", "s02"):
        take = f"{subject}-sway"
        rows += _write_take(root / "takes" / take, take, subject, num_scans)
        takes.append(_manifest_take(root, take, subject, num_scans))
    manifest = Manifest(
        name="tiny",
        rig="virtual",
        rig_sha256=rig_sha256,
        calibration="calibration.json",
        calibration_sha256=sha256_file(calibration),
        takes=tuple(takes),
        splits={"train": ("s02",), "val": (), "test": ("s01",)},
        num_pairs=sum(row["verdict"] == "pair" for row in rows),
        num_excluded=sum(row["verdict"] == "excluded" for row in rows),
        frames_sha256="",
        tool_version="0",
        created="2024-06-17T00:00:00+00:00",
    )
    table = pd.DataFrame(rows, columns=list(FRAME_COLUMNS)).astype(FRAME_COLUMNS)
    save_manifest(root / "tiny.json", manifest, table)
    return root / "tiny.json"


def _calibration(rig_sha256: str) -> Calibration:
    sensor = SensorCalibration(
        sensor="k0",
        serial="000000000000",
        color=CameraModel.of(COLOR, "720P"),
        depth=CameraModel.of(DEPTH, "NFOV_UNBINNED"),
        T_color_depth=RigidModel.of(T_COLOR_DEPTH),
        T_color_scan=RigidModel.of(T_COLOR_SCAN),
        covariance=tuple(tuple(row) for row in (np.eye(6) * 1e-8).tolist()),
        depth_bias=BIAS,
        placements=(),
        predicted_person_mm=0.1,
    )
    return Calibration(
        rig="virtual",
        rig_sha256=rig_sha256,
        target="prism",
        protocol="default",
        take_id="calibration",
        sensors={"k0": sensor},
        gates=(),
        inputs_sha256={},
        tool_version="0",
        created="2024-06-17T00:00:00+00:00",
    )


def _write_take(folder: Path, take: str, subject: str, num_scans: int) -> list[dict]:
    """One capture per scan, and one capture without a scan that stays excluded."""
    folder.mkdir(parents=True)
    (folder / "take.toml").write_text(
        f'schema = "anim-real/take/1"\ntake_id = "{take}"\nkind = "subject"\nsubject = "{subject}"\n'
        'action = "sway"\nrig = "virtual"\n[consent]\nscope = ["research"]\nlicence = "CC0-1.0"\ndate = 2024-06-17\n'
    )
    stamps = "".join(f"{index},{10**9 + 33333 * index}\n" for index in range(num_scans))
    (folder / "scans").mkdir()
    (folder / "scans" / "timestamps.csv").write_text("frame_index,time_us\n" + stamps)
    rows = []
    with RecordingWriter(
        folder / "kinect-k0.mkv", RecordingConfig(serial="000000000000", has_imu=False), b"{}"
    ) as writer:
        for index in range(num_scans + 1):
            mesh = person(0.02 * index)
            color, depth_mm = _capture(mesh)
            writer.write_capture(color, depth_mm, depth_mm, 33333 * index, 33333 * index)
            if index < num_scans:
                save_mesh(folder / "scans" / f"frame-{index:06d}.glb", mesh.scaled(1000.0))
            rows.append(_row(take, subject, index, is_pair=index < num_scans))
    return rows


def _capture(mesh: Mesh) -> tuple[bytes, np.ndarray]:
    """JPEG with a grey background, and biased depth in whole millimetres."""
    seen = render_rgbd(mesh, COLOR, T_COLOR_SCAN)
    image = np.where(seen.mask[..., None], seen.color, 90).astype(np.uint8)
    T_depth_scan = T_COLOR_DEPTH.inverse() @ T_COLOR_SCAN
    depth_m = BIAS.apply(render_rgbd(mesh, DEPTH, T_depth_scan).depth_m)
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes(), np.rint(depth_m * 1000).astype(np.uint16)


def _row(take: str, subject: str, index: int, *, is_pair: bool) -> dict:
    return {
        "take": take,
        "subject": subject,
        "sensor": "k0",
        "kinect_index": index,
        "scan_index": index if is_pair else None,
        "kinect_time_us": 33333 * index,
        "scan_time_us": 10**9 + 33333 * index if is_pair else None,
        "dt_us": 0.5 if is_pair else None,
        "depth_coverage": 0.95 if is_pair else None,
        "depth_to_scan_mm": 1.0 if is_pair else None,
        "depth_bias_mm": 0.1 if is_pair else None,
        "verdict": "pair" if is_pair else "excluded",
        "reason": None if is_pair else "no scan within tolerance",
    }


def _manifest_take(root: Path, take: str, subject: str, num_scans: int) -> ManifestTake:
    folder = root / "takes" / take
    return ManifestTake(
        take_id=take,
        folder=f"takes/{take}",
        subject=subject,
        action="sway",
        consent=ConsentSpec(scope=("research",), licence="CC0-1.0", date=datetime.date(2024, 6, 17)),
        files_sha256={
            path.relative_to(folder).as_posix(): sha256_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
        clocks={"k0": CLOCK},
        best_offset_frames={"k0": 0},
        num_captures={"k0": num_scans + 1},
        num_incomplete={"k0": 0},
        num_dropped={"k0": 0},
        num_scans=num_scans,
        num_pairs=num_scans,
    )
