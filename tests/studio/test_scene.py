"""Where things stand in the virtual studio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anim_real.mesh import Mesh
from anim_real.rig import RigSpec, load_rig
from anim_real.studio.scene import make_scene, reduced_texture, scan_pose, sensor_pose, target_poses
from anim_real.studio.tracing import Surface


def rig_with(up: str, center: tuple[float, float, float]) -> RigSpec:
    rig, _, _ = load_rig(str(Path(__file__).parents[2] / "rigs" / "virtual.toml"))
    table = rig.model_dump(by_alias=True)
    table["scanner"]["up"], table["volume"]["center"] = up, center
    return RigSpec.model_validate(table)


@pytest.mark.parametrize("up", ["+x", "-x", "+y", "-y", "+z", "-z"])
def test_scan_frame_has_the_rigs_up_and_centre(up: str, rng: np.random.Generator):
    rig = rig_with(up, (0.5, -0.25, 1.0))
    pose = scan_pose(rig, rng)
    assert pose.rotate([0.0, 1.0, 0.0]) == pytest.approx(rig.scanner.up_vector, abs=1e-12)
    assert pose.apply(np.zeros(3)) == pytest.approx([0.5, -0.25, 1.0])
    head = pose.apply([[0.3, 1.7, -0.2]])
    assert rig.volume.contains(head, rig.scanner.up_vector).all()


def test_sensor_looks_at_the_volume_upright(rng: np.random.Generator):
    for order in range(3):
        pose = sensor_pose(order, 1.0, rng)
        middle = pose.apply([0.0, 1.0, 0.0])
        assert 2.1 < middle[2] < 2.5
        assert np.abs(middle[:2]).max() < 0.1
        assert pose.rotate([0.0, 1.0, 0.0])[1] < -0.99  # y is down in a camera


def test_placements_spread_over_the_volume(rng: np.random.Generator):
    center = np.array([0.0, 0.35, 0.0])
    middles = np.stack([pose.apply(center) for pose in target_poses(8, 1.0, center, rng)])
    assert np.hypot(middles[:, 0], middles[:, 2]).max() < 0.7
    assert (np.ptp(middles, axis=0) > (0.7, 0.45, 0.7)).all()
    distances = np.linalg.norm(middles[:, None] - middles[None], axis=-1) + 9 * np.eye(8)
    assert distances.min() > 0.2


def test_wall_is_reached_in_part(rng: np.random.Generator):
    scene = make_scene(1.0, rng)
    wall = scene.surfaces[1].mesh.vertices
    pose = sensor_pose(0, 1.0, rng)
    across = np.linspace(wall[0], wall[1], 100) * (1, 0, 1) + (0, 1.0, 0)
    z = pose.apply(across[np.abs(across[:, 0]) < 2.0])[:, 2]
    assert z.min() < 3.86 < z.max()


def test_texture_shrinks_to_what_the_pixels_can_show():
    corners = np.array([(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0)])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    texture = np.zeros((1000, 1000, 3), np.uint8)
    surface = Surface(mesh=Mesh(vertices=corners, faces=faces, uv=corners[:, :2], texture=texture))
    reduced = reduced_texture(surface, pixels_per_m=300.0).mesh.texture
    assert reduced is not None and reduced.shape == (480, 480, 3)  # 1.6 texels per pixel
    assert reduced_texture(surface, pixels_per_m=900.0) is surface
