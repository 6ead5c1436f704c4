"""Regions (face, hands) of a raw scan's vertices, from images that see it and boxes around it.

Images vote for the vertices they see; what no image sees takes the label of seen surface close by, so that
the back of a hand is hand and the back of a head is not face. Scan frame, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.geometry.raycast import RayScene
from anim_real.mesh import Mesh
from anim_real.regions import Box, Polygon
from anim_real.samples import Region

Array = NDArray[np.float64]
_SEEN_MARGIN_M = 2e-3  # what lies this close before a vertex is its own surface
_MIN_FACING = 0.15  # cosine between normal and view: flatter, a pixel smears over several vertices
_FILL_M = 0.03  # unseen surface takes the label of seen surface this close: a hand is thinner
_BORDER_PX = 3  # labels must agree in a window of this size: outlines of label images are ragged


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelView:
    """A label image and its camera.

    Attributes:
        labels: (H, W) uint8 ``Region``.
        camera: of the image, its lens included.
        T_camera_scan: scan frame to camera frame.
    """

    labels: NDArray[np.uint8]
    camera: Camera
    T_camera_scan: Rigid


def regions_from_views(mesh: Mesh, views: Sequence[LabelView]) -> NDArray[np.uint8]:
    """(V,) ``Region`` of a scan's vertices, by the votes of the views that see them.

    A view votes with the cosine between its ray and the surface, where it sees the vertex, the vertex faces it
    and the labels around its pixel agree.
    """
    votes = np.zeros((len(mesh.vertices), len(Region)))
    scene = RayScene(mesh.vertices, mesh.faces)
    normals = mesh.vertex_normals()
    for view in views:
        seen, weight, pixel = _seen(mesh, normals, scene, view)
        label, is_sure = _agreed(view.labels, pixel)
        np.add.at(votes, (seen[is_sure], label[is_sure]), weight[is_sure])
    return _filled(mesh.vertices, votes)


def regions_in_boxes(vertices: Array, boxes: Sequence[Box]) -> NDArray[np.uint8]:
    """(V,) ``Region`` of vertices (V, 3): that of the first box that holds them, else OTHER."""
    regions = np.full(len(vertices), Region.OTHER, dtype=np.uint8)
    for box in reversed(boxes):
        T_scan_box = Rigid.from_rotvec("scan", "box", box.rotvec, box.center)
        local = T_scan_box.inverse().apply(vertices)
        regions[(np.abs(local) <= np.array(box.half_size)).all(1)] = Region[box.region.upper()]
    return regions


def polygon_labels(polygons: Sequence[Polygon], width: int, height: int) -> NDArray[np.uint8]:
    """(height, width) uint8 ``Region`` image of polygons; the first one wins."""
    labels = np.full((height, width), Region.OTHER, dtype=np.uint8)
    for polygon in reversed(polygons):
        corners = np.rint(np.array(polygon.points_px)).astype(np.int32)
        cv2.fillPoly(labels, [corners], int(Region[polygon.region.upper()]))
    return labels


def _seen(
    mesh: Mesh, normals: Array, scene: RayScene, view: LabelView
) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
    """Vertices the view sees: their indices, the cosine of view and normal, and their pixels (column, row)."""
    eye = view.T_camera_scan.inverse().translation
    ray = eye - mesh.vertices
    facing = np.einsum("vk,vk->v", ray, normals) / np.maximum(np.linalg.norm(ray, axis=1), 1e-12)
    uv = view.camera.project(view.T_camera_scan.apply(mesh.vertices))
    height, width = view.labels.shape
    with np.errstate(invalid="ignore"):
        is_inside = ((uv > -0.5) & (uv < (width - 0.5, height - 0.5))).all(1) & (facing > _MIN_FACING)
    candidates = np.flatnonzero(is_inside)
    targets = mesh.vertices[candidates]
    is_hidden = scene.occluded(np.broadcast_to(eye, targets.shape), targets, _SEEN_MARGIN_M)
    seen = candidates[~is_hidden]
    return seen, facing[seen], np.rint(uv[seen]).astype(np.int64)


def _agreed(labels: NDArray[np.uint8], pixel: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Labels (P,) at pixels (P, 2), and whether the window around each agrees."""
    window = np.ones((_BORDER_PX, _BORDER_PX), np.uint8)
    is_uniform = cv2.erode(labels, window) == cv2.dilate(labels, window)
    return labels[pixel[:, 1], pixel[:, 0]], np.asarray(is_uniform)[pixel[:, 1], pixel[:, 0]]


def _filled(vertices: Array, votes: Array) -> NDArray[np.uint8]:
    """Winners of the votes (V, R); a vertex without any takes that of the nearest voted vertex close by."""
    from scipy.spatial import cKDTree

    regions = votes.argmax(1).astype(np.uint8)
    has_vote = votes.any(1)
    regions[~has_vote] = Region.OTHER
    if has_vote.any() and not has_vote.all():
        distance, nearest = cKDTree(vertices[has_vote]).query(vertices[~has_vote], distance_upper_bound=_FILL_M)
        found = np.isfinite(distance)
        unseen = np.flatnonzero(~has_vote)[found]
        regions[unseen] = regions[has_vote][nearest[found]]
    return regions
