"""Two cameras of a rig as a Kinect has them, and points that both see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.interchange.posed import PosedCamera

RATIONAL = np.array([0.54794, -0.020971, 2.06e-5, -7.21e-5, -0.002652, 0.889679, 0.08613, -0.013910])
RADTAN = np.array([0.09, -0.05, 1.1e-3, -7.0e-4])
BROWN = np.array([0.09, -0.05, 1.1e-3, -7.0e-4, 0.012])
COLOR = PosedCamera(
    name="k0-color",
    camera=Camera(width=1280, height=720, fx=612.31, fy=612.54, cx=639.72, cy=366.81, distortion=BROWN),
    T_camera_reference=Rigid.from_rotvec("k0-color", "scan", [2.9, 0.1, -0.2], [0.1, 1.0, 2.3]),
)
DEPTH = PosedCamera(
    name="k0-depth",
    camera=Camera(width=640, height=576, fx=503.9, fy=504.1, cx=321.4, cy=336.8, distortion=RATIONAL),
    T_camera_reference=Rigid.from_rotvec("k0-depth", "scan", [2.95, 0.15, -0.22], [1 / 30, 0.99, 2.31]),
)
RIG = (COLOR, DEPTH)
POINTS = np.array([[0.1, 1.2, 0.05], [-0.4, 0.8, -0.2], [0.3, 0.2, 0.1], [0.0, 1.6, 0.0], [-0.2, 1.0, 0.3]])  # scan


def with_lens(posed: PosedCamera, lens: np.ndarray) -> PosedCamera:
    return replace(posed, camera=replace(posed.camera, distortion=lens))


def pixels(posed: PosedCamera) -> np.ndarray:
    """Where a camera sees ``POINTS``, by our own geometry; all of them inside its lens."""
    found = posed.camera.project(posed.T_camera_reference.apply(POINTS))
    assert np.isfinite(found).all()
    return found
