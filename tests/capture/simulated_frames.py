"""Frames of the virtual Kinect in every depth mode: a ball in the empty studio, with the device's noise and gaps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import trimesh

from anim_real.capture.k4a_calibration import MODES, FactoryCalibration, parse_calibration
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.studio.factory import shipped_factory
from anim_real.studio.kinect import VirtualKinect
from anim_real.studio.noise import make_depth_error
from anim_real.studio.scene import make_scene
from anim_real.studio.tracing import Surface

DEPTH_MODES = tuple(mode for mode in MODES if mode.startswith(("NFOV", "WFOV")))
COLOR_MODES = tuple(mode for mode in MODES if mode.endswith("P"))
T_COLOR_WORLD = Rigid.from_parts("color", "world", np.diag([1.0, -1.0, -1.0]), [0.0, 1.1, 2.3])
_T_WORLD_BALL = Rigid.from_parts("world", "ball", np.eye(3), [0.1, 1.0, 1.2])  # 1.1 m off: in range of every mode


@lru_cache(maxsize=1)
def simulated_frame(depth_mode: str) -> tuple[FactoryCalibration, np.ndarray]:
    """The shipped device and its (h, w) uint16 depth image, in mm, of a ball in the studio."""
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=0.4)
    colors = np.full((len(sphere.vertices), 3), 180, np.uint8)
    ball = Surface(mesh=Mesh(vertices=sphere.vertices, faces=sphere.faces, colors=colors))
    return photograph(depth_mode, ball, _T_WORLD_BALL)


def photograph(depth_mode: str, surface: Surface, T_world_surface: Rigid) -> tuple[FactoryCalibration, np.ndarray]:
    """The shipped device and its depth image of a surface that stands in the studio (y up, floor at 0)."""
    factory = parse_calibration(shipped_factory())
    rng = np.random.default_rng(11)
    camera = factory.camera("depth", depth_mode)
    kinect = VirtualKinect(
        color=factory.camera("color", "720P").scale(0.05),
        depth=camera,
        T_color_world=T_COLOR_WORLD,
        T_color_depth=factory.T_color_depth,
        error=make_depth_error(camera.height, camera.width, rng),
        scene=make_scene(1.0, rng),
        mode=depth_mode,  # type: ignore[arg-type]
    )
    depth_mm, _ = kinect.expose_depth(kinect.see_depth(surface, T_world_surface), rng)
    return factory, depth_mm


def simulated_patches(depth_mode: str) -> tuple[FactoryCalibration, np.ndarray]:
    """The simulated frame with depth only in squares that cover a ninth of it, edges and corners of the image too."""
    factory, depth_mm = simulated_frame(depth_mode)
    rows, columns = (np.linspace(0, 11, size, endpoint=False).astype(int) for size in depth_mm.shape)
    is_kept = (rows[:, None] % 3 == columns % 3) & ((rows[:, None] + columns) % 3 == 0)
    return factory, np.where(is_kept, depth_mm, 0).astype(np.uint16)
