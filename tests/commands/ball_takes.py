"""Takes of a ball that swings before a pinhole camera: small, exact, and written without the virtual studio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from anim_real import __version__
from anim_real.calibration import (
    Calibration,
    CameraModel,
    ClockMap,
    DepthBias,
    GateVerdict,
    RigidModel,
    SensorCalibration,
    save_calibration,
)
from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh, save_mesh
from anim_real.rig import load_rig

PERIOD_US = 1e6 / 30.0
RADIUS_M = 0.45
DEPTH = Camera(width=320, height=288, fx=252.0, fy=252.0, cx=159.5, cy=143.5)
COLOR = Camera(width=1280, height=720, fx=610.0, fy=610.0, cx=639.5, cy=359.5)
T_COLOR_SCAN = Rigid.from_parts("color", "scan", np.diag([1.0, -1.0, -1.0]), [0.0, 1.0, 2.2])
DEVICE_OFFSET_US, DEVICE_PPM = 70e6, 250.0
SCANNER_OFFSET_US, SCANNER_PPM = 9e9, -30.0
LAG, REST_US = 3, 700.0  # pulses from trigger to exposure of the device; the scanner exposes on the pulse
SERIAL = "000123456789"
_JPEG = cv2.imencode(".jpg", np.zeros((720, 1280, 3), np.uint8))[1].tobytes()

CONSENT = '[consent]\nscope = ["research"]\nlicence = "CC0-1.0"\ndate = 2026-01-01\n'


def device_us(true_us: np.ndarray) -> np.ndarray:
    return np.rint(DEVICE_OFFSET_US + (1 + DEVICE_PPM * 1e-6) * true_us).astype(np.int64)


def scanner_us(true_us: np.ndarray) -> np.ndarray:
    return np.rint(SCANNER_OFFSET_US + (1 + SCANNER_PPM * 1e-6) * true_us).astype(np.int64)


def ball_center(true_us: float) -> np.ndarray:
    """Scan frame, metres: up to 0.9 m/s, 31 mm per frame."""
    return np.array([0.3 * np.sin(2 * np.pi * 0.5 * true_us * 1e-6), 1.0, 0.0])


def ball_mesh(center: np.ndarray, rows: int = 40) -> Mesh:
    polar, turn = np.meshgrid(np.linspace(0.02, np.pi - 0.02, rows), np.linspace(0, 2 * np.pi, 2 * rows), indexing="ij")
    unit = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1).reshape(-1, 3)
    index = np.arange(rows * 2 * rows).reshape(rows, 2 * rows)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return Mesh(
        vertices=center + RADIUS_M * unit, faces=np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    )


def ball_depth(center_scan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(288, 320) uint16 mm: the nearer intersection of every ray with the ball, 2 mm of noise."""
    center = T_COLOR_SCAN.apply(center_scan)
    u, v = np.meshgrid(np.arange(DEPTH.width), np.arange(DEPTH.height))
    rays = np.stack([(u - DEPTH.cx) / DEPTH.fx, (v - DEPTH.cy) / DEPTH.fy, np.ones(u.shape)], -1)
    along, square = rays @ center, (rays**2).sum(-1)
    root = along**2 - square * (center @ center - RADIUS_M**2)
    z = np.where(root > 0, (along - np.sqrt(np.maximum(root, 0))) / square, 0.0)
    noisy = np.where(z > 0, z * 1000 + rng.normal(0, 2.0, z.shape), 0.0)
    return np.rint(noisy).astype(np.uint16)


def write_calibration(path: Path, *, passed: bool = True, **changes: object) -> Path:
    """The calibration that these takes need; ``changes`` replace fields of its sensor."""
    _, _, sha256 = load_rig("virtual")
    origin = int(device_us(np.array(-60e6)))
    rate = (1 + SCANNER_PPM * 1e-6) / (1 + DEVICE_PPM * 1e-6)
    true_origin = (origin - DEVICE_OFFSET_US) / (1 + DEVICE_PPM * 1e-6)
    sensor = SensorCalibration(
        sensor="k0",
        serial=SERIAL,
        color=CameraModel.of(COLOR, "720P"),
        depth=CameraModel.of(DEPTH, "NFOV_2X2BINNED"),
        T_color_depth=RigidModel.of(Rigid.identity("color", "depth")),
        T_color_scan=RigidModel.of(T_COLOR_SCAN),
        covariance=tuple((0.0,) * 6 for _ in range(6)),
        depth_bias=DepthBias(),
        clock=ClockMap(
            src="kinect:k0",
            dst="scanner",
            origin_us=origin,
            offset_us=float(SCANNER_OFFSET_US + (1 + SCANNER_PPM * 1e-6) * true_origin - origin),
            drift_ppm=(rate - 1) * 1e6,
            residual_us=100.0,
            num_observations=100,
            lag_margin=80.0,
            method="led",
            offset_sigma_us=60.0,
            drift_sigma_ppm=0.2,
            latency_us=REST_US,
        ),
        placements=(),
        predicted_person_mm=0.5,
    ).model_copy(update=changes)
    gate = GateVerdict(name="held_out_mm", value=0.4, limit=1.5, unit="mm", passed=passed)
    calibration = Calibration(
        rig="virtual",
        rig_sha256=sha256,
        target="prism",
        protocol="default",
        take_id="calibration",
        sensors={"k0": sensor},
        gates=(gate,),
        inputs_sha256={},
        tool_version=__version__,
        created="2026-01-01T00:00:00+00:00",
    )
    return save_calibration(path, calibration)


@dataclass(frozen=True, kw_only=True)
class BallTake:
    """What is true of a written take: pairs (kinect index, scan index), dropped scan indices, incomplete captures."""

    folder: Path
    pairs: set[tuple[int, int]]
    dropped: set[int]
    incomplete: set[int]


def write_take(
    folder: Path,
    subject: str,
    *,
    start_us: float = 30e6,
    num: int = 12,
    unit: float = 1000.0,
    consent: bool = True,
    slip: int = 0,
    seed: int = 0,
    device_jump_us: float = 0.0,
) -> BallTake:
    """Write a take of ``num`` scans with one dropped and one incomplete capture; ``slip`` shows other frames' depth."""
    rng = np.random.default_rng(seed)
    pulses = start_us + np.arange(num + 2 * LAG + 2) * PERIOD_US + rng.normal(0, 30.0, num + 2 * LAG + 2)
    scans_true = pulses[LAG : LAG + num]
    (folder / "scans").mkdir(parents=True)
    consent_text = CONSENT if consent else ""
    (folder / "take.toml").write_text(
        f'schema = "anim-real/take/1"\ntake_id = "{folder.name}"\nkind = "subject"\nsubject = "{subject}"\n'
        f'action = "swing"\nrig = "virtual"\n{consent_text}'
    )
    rows = [f"{index},{time}" for index, time in enumerate(scanner_us(scans_true))]
    (folder / "scans" / "timestamps.csv").write_text("\n".join(["frame_index,time_us", *rows]) + "\n")
    logged = [f"{row},{round(time)}" for row, time in enumerate(pulses) if row != 5]
    (folder / "triggers.csv").write_text("\n".join(["pulse_index,time_us", *logged]) + "\n")
    for index, time in enumerate(scans_true):
        save_mesh(folder / "scans" / f"frame-{index:06d}.ply", ball_mesh(ball_center(time)).scaled(unit))
    config = RecordingConfig(
        serial=SERIAL, depth_mode="NFOV_2X2BINNED", color_mode="720P", fps=30, sync_mode="SUBORDINATE"
    )
    drop, incomplete = 4 + int(rng.integers(3)), 8
    pairs, lacking, index = set(), set(), 0
    with RecordingWriter(folder / "kinect-k0.mkv", config, b"{}") as writer:
        for frame in range(-1, num + 1):
            if frame == drop:
                continue
            true_us = pulses[frame + LAG] + REST_US  # triggered by the pulse LAG earlier, exposed now
            depth = ball_depth(ball_center(true_us + slip * PERIOD_US), rng)
            stamp = int(device_us(true_us)) + round(device_jump_us)
            has_depth = frame != incomplete
            writer.write_capture(_JPEG, depth if has_depth else None, depth if has_depth else None, stamp, stamp)
            if not has_depth:
                lacking.add(index)
            elif 0 <= frame < num:
                pairs.add((index, frame))
            index += 1
    return BallTake(folder=folder, pairs=pairs, dropped={drop}, incomplete=lacking)
