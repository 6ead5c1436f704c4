"""The virtual Kinect: exact without noise, then noisy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import trimesh

from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.studio.kinect import VirtualKinect
from anim_real.studio.noise import DepthError
from anim_real.studio.scene import make_scene
from anim_real.studio.tracing import Surface

COLOR_LENS = np.array([0.34, -2.48, -1.2e-4, -1.5e-4, 1.45, 0.22, -2.29, 1.37])
DEPTH_LENS = np.array([0.55, -0.02, 3e-5, -7.5e-5, -0.0026, 0.89, 0.088, -0.0138])
COLOR = Camera(width=320, height=180, fx=153.0, fy=153.2, cx=160.3, cy=91.2, distortion=COLOR_LENS)
DEPTH = Camera(width=160, height=144, fx=125.9, fy=126.0, cx=81.2, cy=83.0, distortion=DEPTH_LENS)
NO_ERROR = DepthError(
    offset_m=0.0, slope=0.0, wiggle_m=0.0, wiggle_period_m=1.0, wiggle_phase=0.0, pattern_m=np.zeros((144, 160))
)
BALL_AT = Rigid.from_parts("world", "ball", np.eye(3), [0.1, 1.0, 0.0])


@pytest.fixture(scope="module")
def kinect() -> VirtualKinect:
    return VirtualKinect(
        color=COLOR,
        depth=DEPTH,
        T_color_world=Rigid.from_parts("color", "world", np.diag([1.0, -1.0, -1.0]), [0.0, 1.1, 2.3]),
        T_color_depth=Rigid.from_rotvec("color", "depth", [-0.085, 0.002, 0.001], [-0.032, -0.002, 0.004]),
        error=NO_ERROR,
        scene=make_scene(1.0, np.random.default_rng(3)),
    )


def ball(radius: float = 0.4, shade: int = 200) -> Surface:
    sphere = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    colors = np.full((len(sphere.vertices), 3), shade, np.uint8)
    mesh = Mesh(vertices=sphere.vertices, faces=sphere.faces, colors=colors)
    return Surface(mesh=mesh, ir_albedo=np.full(len(sphere.vertices), 0.6))


def test_ball_is_seen_at_its_analytic_depth(kinect: VirtualKinect):
    truth = kinect.see_depth(ball(), BALL_AT)
    center = kinect.T_depth_world.apply(BALL_AT.translation)
    rays = np.concatenate([DEPTH.rays(), np.ones((144, 160, 1))], -1)
    along, square = rays @ center, (rays**2).sum(-1)
    inside = along**2 - square * (center @ center - 0.4**2)
    with np.errstate(invalid="ignore"):
        expected = (along - np.sqrt(inside)) / square
        away = np.sqrt(center @ center - along**2 / square) < 0.34  # away from the silhouette
    assert away.sum() > 500
    assert np.abs(truth.z[away] - expected[away]).max() < 0.0005  # the icosphere's facets: 0.1 mm, float32
    assert truth.ambiguity[away].max() < 0.04  # nothing there that the device would reject


def test_infrared_averages_over_its_pixels(kinect: VirtualKinect):
    """A chessboard of 3 px squares: its mean reflectance stays, and the edges are no longer all or nothing."""
    size = 0.5
    print_26 = np.kron(np.indices((26, 26)).sum(0) % 2, np.ones((20, 20))) * 255
    mesh = Mesh(
        vertices=np.array([(-size, -size, 0.0), (size, -size, 0.0), (size, size, 0.0), (-size, size, 0.0)]),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        uv=np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]),
        texture=np.repeat(print_26[..., None], 3, 2).astype(np.uint8),
    )
    pose = Rigid.from_parts("world", "plate", np.eye(3), [0.0, 1.1, 0.3])
    single, mean = (kinect.see_depth(Surface(mesh=mesh), pose, num_samples=num) for num in (1, 4))
    u, v = np.rint(DEPTH.project(kinect.T_depth_world.apply(pose.translation))).astype(int)
    inner = slice(v - 20, v + 20), slice(u - 20, u + 20)
    assert np.array_equal(single.z, mean.z)
    assert single.amplitude[inner].mean() == pytest.approx(mean.amplitude[inner].mean(), rel=0.02)
    assert mean.amplitude[inner].std() < 0.95 * single.amplitude[inner].std()


def test_silhouette_pixels_fly_between_ball_and_wall(kinect: VirtualKinect):
    truth = kinect.see_depth(ball(), BALL_AT)
    near, far = 1.8, kinect.T_depth_world.apply([0.0, 1.0, -1.45])[2]
    flying = (truth.ambiguity > 0.5) & (truth.z > near + 0.6) & (truth.z < far - 0.3)
    assert 10 < flying.sum() < 300
    center = DEPTH.project(kinect.T_depth_world.apply(BALL_AT.translation))
    rows, columns = np.nonzero(flying)
    radius = np.hypot(columns - center[0], rows - center[1])
    assert np.ptp(radius) < 6.0  # all of them around the outline, nowhere else


def test_amplitude_falls_with_range_and_ends_at_the_hexagon(kinect: VirtualKinect):
    near = kinect.see_depth(ball(), BALL_AT)
    farther = Rigid.from_parts("world", "ball", np.eye(3), [0.1, 1.0, -0.5])
    far = kinect.see_depth(ball(), farther)
    u, v = np.rint(DEPTH.project(kinect.T_depth_world.apply(BALL_AT.translation))).astype(int)
    ratio = near.amplitude[v, u] / far.amplitude[v, u]
    assert ratio == pytest.approx((far.z[v, u] / near.z[v, u]) ** 2, rel=0.05)
    assert not near.amplitude[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_color_shows_the_ball_where_it_projects(kinect: VirtualKinect):
    empty = kinect.see_color(ball(0.001), Rigid.from_parts("world", "ball", np.eye(3), [0.0, 1.0, 9.0]))
    shown = kinect.see_color(ball(0.05, shade=255), BALL_AT)
    v, u = np.nonzero(shown.z < empty.z - 0.5)
    changed = np.abs(shown.color - empty.color).sum(-1) > 1.0
    expected = COLOR.project(kinect.T_color_world.apply(BALL_AT.translation))
    assert np.abs([u.mean() - expected[0], v.mean() - expected[1]]).max() < 0.3  # a disc of 50 pixels
    assert np.hypot(*(np.argwhere(changed)[:, ::-1] - expected).T).max() < 6.0
    assert changed.sum() > 30


def test_led_lights_its_own_pixels(kinect: VirtualKinect, rng: np.random.Generator):
    truth = kinect.see_color(ball(), BALL_AT)
    u, v = np.rint(kinect.led_pixel()).astype(int)
    images = {}
    for level in (0.0, 0.5, 1.0):
        jpeg = kinect.expose_color(truth, level, rng)
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.shape == (180, 320, 3)
        images[level] = image.astype(float)
    assert images[1.0][v, u, 1] - images[0.0][v, u, 1] > 120
    assert images[0.5][v, u, 1] == pytest.approx((images[0.0][v, u, 1] + images[1.0][v, u, 1]) / 2, abs=25)
    elsewhere = np.abs(images[1.0] - images[0.0])
    elsewhere[v - 12 : v + 13, u - 12 : u + 13] = 0
    assert elsewhere.mean() < 4.0  # two frames' noise


def test_exposure_is_noisy_about_the_truth(kinect: VirtualKinect, rng: np.random.Generator):
    truth = kinect.see_depth(ball(), BALL_AT)
    depth_mm, ir = kinect.expose_depth(truth, rng)
    assert depth_mm.dtype == ir.dtype == np.uint16
    sure = (truth.ambiguity == 0) & (depth_mm > 0)
    residual = depth_mm[sure] - truth.z[sure] * 1000.0
    assert abs(np.median(residual)) < 0.2
    assert 0.5 < residual.std() < 4.0
    assert (depth_mm[truth.amplitude == 0] == 0).all()
    assert ir[truth.amplitude > 0.1].min() > 600
