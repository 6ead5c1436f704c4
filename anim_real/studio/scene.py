"""What stands in the studio, and where: floor, back wall, LED, sensors, scanner, performer, target.

World frame: metres, y up, origin on the floor at the centre of the volume, the first sensor on the
+z side. The scan frame is the world turned about the vertical to the scanner's own axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.rig import RigSpec
from anim_real.studio.tracing import Surface

Array = NDArray[np.float64]
UP = np.array([0.0, 1.0, 0.0])
LED_RADIUS_M = 0.045
_FLOOR_HALF_M = 6.0
_TEXELS_PER_PIXEL = 1.6  # finer textures are reduced first: four samples a pixel must not alias them


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """The empty studio.

    Attributes:
        surfaces: floor, wall and LED stand, world frame.
        led: (3,) centre of the LED's ball, world frame, metres.
    """

    surfaces: tuple[Surface, ...]
    led: Array


def make_scene(radius_m: float, rng: np.random.Generator) -> Scene:
    """Build floor, a wall that the depth camera reaches only in part, and the LED on its stand."""
    square = np.array([(-1.0, 0.0, 1.0), (1.0, 0.0, 1.0), (1.0, 0.0, -1.0), (-1.0, 0.0, -1.0)])
    floor = _quad(_FLOOR_HALF_M * square, _planks(rng), 0.35)
    distance = radius_m + 0.45
    slant = Rotation.from_euler("y", rng.uniform(5.0, 8.0) * rng.choice((-1.0, 1.0)), degrees=True).as_matrix()
    outline = np.array([(-6.0, 0.0, 0.0), (6.0, 0.0, 0.0), (6.0, 3.6, 0.0), (-6.0, 3.6, 0.0)]) @ slant.T
    wall = _quad(outline - (0.0, 0.0, distance), _plaster(rng), 0.6)
    led = np.array([-(radius_m + 0.15), 1.75, -0.55 * radius_m])
    return Scene(surfaces=(floor, wall, _stand(led)), led=led)


def scan_pose(rig: RigSpec, rng: np.random.Generator) -> Rigid:
    """``T_scan_world``: the scanner's own axes (its up, any heading), the volume's centre where the rig puts it."""
    up = rig.scanner.up_vector
    helper = np.roll(up, 1)
    level = np.stack([np.cross(up, helper), up, helper], 1)  # columns: where world x, y, z go
    level[:, 0] *= np.sign(np.linalg.det(level))
    heading = Rotation.from_rotvec(UP * rng.uniform(0.0, 2.0 * np.pi)).as_matrix()
    return Rigid.from_parts("scan", "world", level @ heading, np.array(rig.volume.center))


def sensor_pose(order: int, radius_m: float, rng: np.random.Generator) -> Rigid:
    """``T_color_world`` of the sensor number ``order``: on an arc in front, aimed at the middle of the volume."""
    angle = np.radians(40.0) * order * (-1) ** order + rng.uniform(-0.05, 0.05)
    reach = radius_m + 1.3 + rng.uniform(-0.03, 0.05)
    position = np.array([np.sin(angle) * reach, 1.12 + rng.uniform(-0.05, 0.05), np.cos(angle) * reach])
    aim = np.array([0.0, 0.98, 0.0]) + rng.uniform(-0.02, 0.02, 3)
    roll = Rotation.from_rotvec([0.0, 0.0, rng.uniform(-0.02, 0.02)]).as_matrix()
    forward = (aim - position) / np.linalg.norm(aim - position)
    right = np.cross(forward, UP)
    right /= np.linalg.norm(right)
    rotation = roll @ np.stack([right, np.cross(forward, right), forward])
    return Rigid.from_parts("color", "world", rotation, -rotation @ position)


def performer_pose(rng: np.random.Generator) -> Rigid:
    """``T_world_body``: somewhere near the middle, roughly facing the first sensor."""
    return Rigid.from_rotvec(
        "world", "body", UP * rng.uniform(-0.6, 0.6), [rng.uniform(-0.12, 0.12), 0.0, rng.uniform(-0.15, 0.1)]
    )


def target_poses(num: int, radius_m: float, center_target: ArrayLike, rng: np.random.Generator) -> list[Rigid]:
    """``T_world_target`` of placements spread over a person's volume: left/right, near/far, low/high, turned, tilted.

    Args:
        num: how many placements.
        radius_m: radius of the volume.
        center_target: (3,) middle of the target in its own frame (y up).
        rng: random numbers.
    """
    center_target = np.asarray(center_target, dtype=np.float64)
    poses = []
    for index in range(num):
        angle = 2.0 * np.pi * (index + rng.uniform(-0.15, 0.15)) / num
        reach = radius_m * (0.58 if index % 2 else 0.42) + rng.uniform(-0.05, 0.05)
        height = (0.8, 1.35, 0.95, 1.2, 0.85)[index % 5] + rng.uniform(-0.06, 0.06)
        center = np.array([np.sin(angle) * reach, height, np.cos(angle) * reach])
        turn = Rotation.from_rotvec(UP * rng.uniform(-np.pi, np.pi))
        tilt = Rotation.from_euler("xz", rng.uniform(-18.0, 18.0, 2), degrees=True)
        rotation = (tilt * turn).as_matrix()
        poses.append(Rigid.from_parts("world", "target", rotation, center - rotation @ center_target))
    return poses


def reduced_texture(surface: Surface, pixels_per_m: float) -> Surface:
    """Shrink a texture that is much finer than the pixels it will be seen with, as a lens would."""
    mesh = surface.mesh
    if mesh.texture is None or mesh.uv is None:
        return surface
    height, width = mesh.texture.shape[:2]
    edges = (mesh.uv * (width, height))[mesh.faces]
    first, second = edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]
    texels = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum() / 2
    texels_per_m = np.sqrt(texels / mesh.face_areas.sum())
    factor = _TEXELS_PER_PIXEL * pixels_per_m / max(texels_per_m, 1e-9)
    if factor >= 1.0:
        return surface
    size = (max(2, round(width * factor)), max(2, round(height * factor)))
    texture = np.asarray(cv2.resize(mesh.texture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return Surface(
        mesh=Mesh(vertices=mesh.vertices, faces=mesh.faces, uv=mesh.uv, texture=texture, regions=mesh.regions),
        ir_albedo=surface.ir_albedo,
    )


def _quad(corners: ArrayLike, texture: NDArray[np.uint8], ir_albedo: float) -> Surface:
    mesh = Mesh(
        vertices=np.asarray(corners, dtype=np.float64),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        uv=np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]),
        texture=texture,
    )
    return Surface(mesh=mesh, ir_albedo=np.full(4, ir_albedo))


def _stand(led: Array) -> Surface:
    """Thin dark box from the floor to just below the LED."""
    signs = np.array([(x, y, z) for y in (0.0, 1.0) for x, z in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    vertices = led * (1.0, 0.0, 1.0) + signs * (0.012, led[1] - LED_RADIUS_M, 0.012)
    ring = [(i, (i + 1) % 4) for i in range(4)]
    sides = [face for i, j in ring for face in ((i, 4 + i, 4 + j), (i, 4 + j, j))]
    faces = np.array([*sides, (4, 6, 5), (4, 7, 6)])
    mesh = Mesh(vertices=vertices, faces=faces, colors=np.full((8, 3), 45, np.uint8))
    return Surface(mesh=mesh, ir_albedo=np.full(8, 0.1))


def _planks(rng: np.random.Generator) -> NDArray[np.uint8]:
    size, num_planks = 1024, 64
    tone = rng.normal(0.0, 9.0, num_planks)[(np.arange(size) * num_planks // size)]
    grain = cv2.GaussianBlur(rng.normal(0.0, 1.0, (size, size)), (0, 0), sigmaX=1.2, sigmaY=14.0)
    joint = np.where(np.arange(size) * num_planks % size < num_planks, -35.0, 0.0)
    return _tinted(np.array([139.0, 113.0, 88.0]), (tone + joint)[None, :] + grain / grain.std() * 5.0)


def _plaster(rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = cv2.resize(rng.normal(0.0, 5.0, (8, 16)), (1024, 512), interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(rng.normal(0.0, 1.0, (512, 1024)), (0, 0), sigmaX=1.5)
    return _tinted(np.array([150.0, 158.0, 164.0]), coarse + fine / fine.std() * 2.5)


def _tinted(base: Array, shade: Array) -> NDArray[np.uint8]:
    return np.clip(base + shade[..., None], 0, 255).astype(np.uint8)
