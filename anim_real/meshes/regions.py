"""Carrying a scan's colours and regions over to other surface points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.mesh import Mesh

Array = NDArray[np.float64]


def sample_texture(texture: NDArray[np.uint8], uv: Array) -> NDArray[np.uint8]:
    """Bilinear colours (P, 3) of a texture (H, W, 3) at uv (P, 2).

    v points up, uv (0, 0) is the lower left corner of the image and (1, 1) the upper right one
    (texel centres lie at half-integers, as in OpenGL and glTF); outside, the texture repeats, but its
    edges never mix with the opposite ones.
    """
    height, width = texture.shape[:2]
    uv = np.where((uv < 0.0) | (uv > 1.0), uv - np.floor(uv), uv)
    x = uv[:, 0] * width - 0.5
    y = (1.0 - uv[:, 1]) * height - 0.5
    left, top = np.floor(x), np.floor(y)
    along, down = (x - left)[:, None], (y - top)[:, None]
    columns = np.clip(np.stack([left, left + 1], 1).astype(np.int64), 0, width - 1)
    rows = np.clip(np.stack([top, top + 1], 1).astype(np.int64), 0, height - 1)
    upper = texture[rows[:, 0], columns[:, 0]] * (1 - along) + texture[rows[:, 0], columns[:, 1]] * along
    lower = texture[rows[:, 1], columns[:, 0]] * (1 - along) + texture[rows[:, 1], columns[:, 1]] * along
    return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)


def colors_at(mesh: Mesh, face: NDArray[np.int64], weights: Array) -> NDArray[np.uint8] | None:
    """(P, 3) colours at barycentric ``weights`` (P, 3) on faces (P,); None if the mesh has no colours.

    The texture wins over vertex colours.
    """
    corners = mesh.faces[face]
    if mesh.uv is not None and mesh.texture is not None:
        return sample_texture(mesh.texture, np.einsum("pk,pkd->pd", weights, mesh.uv[corners]))
    if mesh.colors is not None:
        return np.rint(np.einsum("pk,pkd->pd", weights, mesh.colors[corners].astype(np.float64))).astype(np.uint8)
    return None


def regions_at(mesh: Mesh, face: NDArray[np.int64], weights: Array) -> NDArray[np.uint8] | None:
    """(P,) region of the nearest corner; None if the mesh has no regions."""
    if mesh.regions is None:
        return None
    nearest = np.take_along_axis(mesh.faces[face], weights.argmax(1)[:, None], 1)[:, 0]
    return mesh.regions[nearest].astype(np.uint8)
