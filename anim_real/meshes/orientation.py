"""Turning patches of a scan that face the wrong way.

First every patch is made consistent across its manifold edges, keeping the orientation of most of its
area; then each patch as a whole is judged. A large patch, or a nearly closed one, is right when it goes around
a positive volume (by its own winding number where it is too flat to tell). Another is right when the winding
number of the large ones falls across it from back to front, as it does in the hole that the patch fills;
where they say nothing (a garment around a body) the patch is judged by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.meshes.connectivity import EdgeTable, compact, linked
from anim_real.meshes.rims import close_with_cones
from anim_real.meshes.surface import piece_volumes
from anim_real.meshes.winding import WindingNumber

Array = NDArray[np.float64]
_LARGE_AREA_SHARE = 0.2
_JUDGED_AREA_SHARE = 1e-5  # smaller patches are left as they are
_MAX_PROBES = 256  # faces of a patch that are asked
_STEP_SHARE = 0.25  # probes stand this share of the patch's size off the surface
_FLAT_VOLUME = 0.01  # of area^1.5, which is 0.094 for a sphere; patches that enclose less are judged by winding
_NEARLY_CLOSED = 0.3  # a patch whose rims need less of its area to be closed is judged by itself
_DOUBT = 0.05  # winding differences below this say nothing


def patches_to_turn(vertices: Array, faces: NDArray[np.int64], edges: EdgeTable) -> tuple[NDArray[np.bool_], int]:
    """Which faces (F,) to turn so that all face outwards, and in how many patches such faces lie."""
    num_patches, patch = linked(edges.pairs, len(faces))
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    area = np.linalg.norm(normals, axis=1)
    patch_area = np.bincount(patch, area, num_patches).astype(np.float64)
    turned = np.zeros(len(faces), dtype=bool)
    if not edges.agrees.all():
        import igl

        consistent, _ = igl.bfs_orient(faces)
        turned = _parity(faces) != _parity(np.asarray(consistent))
        turned ^= (np.bincount(patch[turned], area[turned], num_patches) > patch_area / 2)[patch]
    oriented = np.where(turned[:, None], faces[:, ::-1], faces)
    normals = np.where(turned[:, None], -normals, normals)
    turned ^= _wrong_patches(vertices, oriented, patch, normals, patch_area)[patch]
    return turned, len(np.unique(patch[turned]))


def _parity(faces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(F,) whether the corners are an odd permutation of their sorted order."""
    a, b, c = faces.T
    return ((a > b).astype(int) + (b > c) + (a > c)) % 2 == 1


def _wrong_patches(
    vertices: Array, faces: NDArray[np.int64], patch: NDArray[np.int64], normals: Array, patch_area: Array
) -> NDArray[np.bool_]:
    """(N,) which patches face inwards as a whole."""
    wrong = np.zeros(len(patch_area), dtype=bool)
    order = np.argsort(patch, kind="stable")
    bounds = np.searchsorted(patch[order], np.arange(len(patch_area) + 1))
    share = patch_area / patch_area.sum()
    large = set(np.flatnonzero(share >= min(_LARGE_AREA_SHARE, float(share.max()))).tolist())
    settled = []
    for which in sorted(large):
        rows = order[bounds[which] : bounds[which + 1]]
        wrong[which] = _faces_in(vertices, faces[rows], normals[rows])
        settled.append(faces[rows][:, ::-1] if wrong[which] else faces[rows])
    small = [which for which in np.flatnonzero(share >= _JUDGED_AREA_SHARE).tolist() if which not in large]
    rest: WindingNumber | None = None
    for which in small:
        rows = order[bounds[which] : bounds[which + 1]]
        volume, openness = _enclosed(vertices, faces[rows], normals[rows])
        if openness < _NEARLY_CLOSED and abs(volume) > _FLAT_VOLUME:
            wrong[which] = volume < 0
            continue
        rest = rest or WindingNumber(vertices, np.concatenate(settled))
        score = _drop(rest, vertices, faces[rows], normals[rows])
        wrong[which] = score < 0 if abs(score) > _DOUBT else _faces_in(vertices, faces[rows], normals[rows])
    return wrong


def _faces_in(vertices: Array, faces: NDArray[np.int64], normals: Array) -> bool:
    """Whether a patch by itself faces inwards: by the volume it encloses, or its winding number where it is flat."""
    volume, _ = _enclosed(vertices, faces, normals)
    if abs(volume) > _FLAT_VOLUME:
        return volume < 0
    return _self_score(vertices, faces, normals) < -_DOUBT


def _enclosed(vertices: Array, faces: NDArray[np.int64], normals: Array) -> tuple[float, float]:
    """Volume within a patch and the cones over its rims, in its area^1.5, and the cones' area, in its own."""
    if len(faces) > len(vertices) // 8:
        used, local = compact(faces, len(vertices))
    else:
        used, local = np.unique(faces, return_inverse=True)
    rims = close_with_cones(vertices[used] - vertices[used[0]], local.reshape(-1, 3))
    closed = np.concatenate([local.reshape(-1, 3), rims.cones])
    volume = piece_volumes(rims.vertices, closed, np.zeros(len(closed), np.int64), 1)[0]
    area = float(np.linalg.norm(normals, axis=1).sum())
    return float(volume) / area**1.5, float(rims.area.sum()) / area


def _self_score(vertices: Array, faces: NDArray[np.int64], normals: Array) -> float:
    """Mean of a patch's own winding number over both its sides: near 0.5 when it faces out, -0.5 when in."""
    front, back = _probes(vertices, faces, normals, 1e-3)
    return float(WindingNumber(vertices, faces).at(np.concatenate([front, back])).mean())


def _drop(rest: WindingNumber, vertices: Array, faces: NDArray[np.int64], normals: Array) -> float:
    """How much the winding number of the other patches falls from this patch's back to its front."""
    front, back = _probes(vertices, faces, normals, _STEP_SHARE)
    return float(rest.at(back).mean() - rest.at(front).mean())


def _probes(vertices: Array, faces: NDArray[np.int64], normals: Array, step_share: float) -> tuple[Array, Array]:
    """Points in front of and behind a patch, evenly by area."""
    area = np.linalg.norm(normals, axis=1)
    total = np.cumsum(area)
    count = min(_MAX_PROBES, 4 * len(faces))
    rows = np.searchsorted(total, (np.arange(count) + 0.5) / count * total[-1])
    center = vertices[faces[rows]].mean(1)
    step = step_share * np.sqrt(total[-1]) * normals[rows] / np.maximum(area[rows, None], 1e-300)
    return center + step, center - step
