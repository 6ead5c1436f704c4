"""Face and hands of a scan from images and boxes, against shapes whose regions are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.meshes.labelling import LabelView, polygon_labels, regions_from_views, regions_in_boxes
from anim_real.regions import Box, Polygon
from anim_real.samples import Region

from .shapes import capsule, joined, near, sphere

CAMERA = Camera(width=640, height=576, fx=500.0, fy=500.0, cx=320.0, cy=288.0, distortion=np.array([0.06, -0.02]))
DISTANCE_M = 2.0
CAP_M = 0.25  # the sphere's surface above this height is the face
EDGE_M = 0.02  # five pixels of the label image, which has ragged borders


def view_from(yaw_deg: float, region_at, radius: float = 0.5) -> LabelView:
    """A camera 2 m from the origin; ``region_at`` gives the region of points (N, 3) of a sphere, found by its rays."""
    yaw = np.deg2rad(yaw_deg)
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    rotation = np.diag([1.0, -1.0, -1.0]) @ turn
    T_camera_scan = Rigid.from_parts("color", "scan", rotation, [0, 0, DISTANCE_M])
    rays = np.concatenate([CAMERA.rays(), np.ones((CAMERA.height, CAMERA.width, 1))], -1)
    eye = T_camera_scan.inverse().translation
    along = T_camera_scan.inverse().rotate(rays / np.linalg.norm(rays, axis=-1, keepdims=True))
    middle = -(along @ eye)
    root = middle**2 - (eye @ eye - radius**2)
    hit = eye + along * (middle - np.sqrt(np.maximum(root, 0.0)))[..., None]
    labels = np.where(root > 0, region_at(hit.reshape(-1, 3)).reshape(root.shape), 0).astype(np.uint8)
    return LabelView(labels=labels, camera=CAMERA, T_camera_scan=T_camera_scan)


def cap(points):
    return np.where(points[:, 1] > CAP_M, Region.FACE, Region.OTHER)


def test_two_views_label_what_they_see_and_nothing_else():
    ball = sphere(0.5, 5)
    regions = regions_from_views(ball, [view_from(0.0, cap), view_from(60.0, cap)])
    y = ball.vertices[:, 1]
    facing = np.max([ball.vertices @ direction for direction in ((0, 0, 1), (np.sqrt(0.75), 0, 0.5))], axis=0) / 0.5
    seen = facing > 0.5  # well before the horizon of one of the two
    assert seen.sum() > 1000
    assert (regions[seen & (y > CAP_M + EDGE_M)] == Region.FACE).all()
    assert (regions[seen & (y < CAP_M - EDGE_M)] == Region.OTHER).all()
    assert (regions[facing < -0.2] == Region.OTHER).all()  # farther than the filling reaches


def test_the_back_of_a_thin_part_takes_the_label_of_its_front():
    finger = capsule(0.008, 0.05)
    view = view_from(0.0, cap)
    view = LabelView(
        labels=np.full_like(view.labels, Region.HAND), camera=view.camera, T_camera_scan=view.T_camera_scan
    )
    assert (regions_from_views(finger, [view]) == Region.HAND).all()


def test_what_stands_in_front_keeps_its_label_for_itself():
    """A small ball before a large one, labelled as a hand: nothing behind it becomes a hand."""
    body, hand = sphere(0.5, 5), sphere(0.06, 4, center=(0.0, 0.0, 0.9))
    both = joined(body, hand)
    blank = view_from(0.0, lambda points: np.zeros(len(points)))
    pixels = np.stack(np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height)), -1)
    center = CAMERA.project(blank.T_camera_scan.apply(np.array([0.0, 0.0, 0.9])))
    labels = np.where(np.linalg.norm(pixels - center, axis=-1) < 500 * 0.06 / 1.1, Region.HAND, 0).astype(np.uint8)
    regions = regions_from_views(both, [LabelView(labels=labels, camera=CAMERA, T_camera_scan=blank.T_camera_scan)])
    assert (regions[: len(body.vertices)] == Region.OTHER).all()
    assert (regions[len(body.vertices) :][hand.vertices[:, 2] > 0.92] == Region.HAND).all()


def test_the_inner_wall_seen_through_a_hole_is_not_labelled():
    ball = sphere(0.5, 5)
    holed = type(ball)(vertices=ball.vertices, faces=ball.faces[~near(ball, (0, 0, 0.5), 0.2)])
    everything = view_from(0.0, lambda points: np.full(len(points), Region.FACE))
    regions = regions_from_views(holed, [everything])
    assert (regions[ball.vertices[:, 2] < -0.2] == Region.OTHER).all()
    used = np.zeros(len(ball.vertices), bool)
    used[holed.faces.ravel()] = True
    assert (regions[used & (ball.vertices[:, 2] > 0.3)] == Region.FACE).all()


def test_no_view_no_label():
    assert (regions_from_views(sphere(0.5, 3), []) == Region.OTHER).all()


def test_boxes_hold_what_lies_in_them(rng):
    points = rng.uniform(-1, 1, (5000, 3))
    tilted = Box(region="hand", center=(0.2, 0.1, -0.3), half_size=(0.5, 0.1, 0.2), rotvec=(0.0, 0.0, np.pi / 6))
    regions = regions_in_boxes(points, [tilted])
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    x, y, z = (points - (0.2, 0.1, -0.3)).T
    is_in = (abs(c * x + s * y) <= 0.5) & (abs(-s * x + c * y) <= 0.1) & (abs(z) <= 0.2)
    assert 50 < is_in.sum() < 500
    assert np.array_equal(regions == Region.HAND, is_in)
    first = Box(region="face", center=(0, 0, 0), half_size=(2, 2, 2))
    assert (regions_in_boxes(points, [first, tilted]) == Region.FACE).all()


def test_a_polygon_is_drawn_where_it_was_clicked():
    polygon = Polygon(region="face", sensor="k0", kinect_index=0, points_px=((10, 10), (30, 10), (30, 40), (10, 40)))
    labels = polygon_labels([polygon], 64, 48)
    assert labels.shape == (48, 64)
    expected = np.zeros((48, 64))
    expected[10:41, 10:31] = Region.FACE
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize("count", [2, 3])
def test_votes_decide_between_views(count):
    """One view calls the ball a hand, the others a face: the majority wins where all see it alike."""
    ball = sphere(0.5, 4)
    face = view_from(0.0, lambda points: np.full(len(points), Region.FACE))
    hand = view_from(0.0, lambda points: np.full(len(points), Region.HAND))
    regions = regions_from_views(ball, [hand, *[face] * count])
    assert (regions[ball.vertices[:, 2] > 0.3] == Region.FACE).all()
