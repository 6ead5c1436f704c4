"""Turning patches of a scan that face the wrong way.

First every patch is made consistent across its manifold edges, keeping the orientation of most of its
area; then each patch as a whole is judged. A large patch, or a nearly closed one, is right when it goes around
a positive volume (by its own winding number where it is too flat to tell). Another is right when the winding
number of the large ones falls across it from back to front, as it does in the hole that the patch fills;
where they say nothing (a garment around a body) the patch is judged by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.edges import unmatched
from anim_real.geometry.triangles import area_vectors, enclosed_volume
from anim_real.meshes.connectivity import EdgeTable, linked
from anim_real.meshes.rims import close_with_cones
from anim_real.meshes.winding import WindingNumber

Array = NDArray[np.float64]
_LARGE_AREA_SHARE = 0.2
_JUDGED_AREA_SHARE = 1e-5  # smaller patches are left as they are
_MAX_PROBES = 256  # faces of a patch that are asked
_STEP_SHARE = 0.25  # probes stand this share of the patch's size off the surface
_FLAT_VOLUME = 0.01  # of area^1.5, which is 0.094 for a sphere; patches that enclose less are judged by winding
_NEARLY_CLOSED = 0.3  # a patch whose rims need less of its area to be closed is judged by itself
_DOUBT = 0.05  # winding differences below this say nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class _Patch:
    """Faces (F, 3), their normals (F, 3) as long as they are large, and the directed edges (R, 2) they leave open."""

    vertices: Array
    faces: NDArray[np.int64]
    normals: Array
    rim: NDArray[np.int64]


def patches_to_turn(vertices: Array, faces: NDArray[np.int64], edges: EdgeTable) -> tuple[NDArray[np.bool_], int]:
    """Which faces (F,) to turn so that all face outwards, and in how many patches such faces lie."""
    num_patches, patch = linked(edges.pairs // 3, len(faces))
    normals, area = area_vectors(vertices, faces)
    patch_area = np.bincount(patch, area, num_patches).astype(np.float64)
    turned = np.zeros(len(faces), dtype=bool)
    oriented = faces
    if not edges.agrees.all():
        import igl

        consistent, _ = igl.bfs_orient(faces)
        turned = _parity(faces) != _parity(np.asarray(consistent))
        turned ^= (np.bincount(patch[turned], area[turned], num_patches) > patch_area / 2)[patch]
        oriented = np.where(turned[:, None], faces[:, ::-1], faces)
        normals = np.where(turned[:, None], -normals, normals)
    rim, rim_face = edges.unpaired(faces, turned)
    whole = _Patch(vertices=vertices, faces=oriented, normals=normals, rim=rim)
    turned ^= _wrong_patches(whole, patch, patch[rim_face], patch_area)[patch]
    return turned, len(np.unique(patch[turned]))


def _parity(faces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(F,) whether the corners are an odd permutation of their sorted order."""
    a, b, c = faces.T
    return ((a > b).astype(int) + (b > c) + (a > c)) % 2 == 1


def _wrong_patches(
    whole: _Patch, patch: NDArray[np.int64], rim_patch: NDArray[np.int64], patch_area: Array
) -> NDArray[np.bool_]:
    """(N,) which patches face inwards as a whole, given the patch of every face and of every edge of the rims."""
    wrong = np.zeros(len(patch_area), dtype=bool)
    of_faces, of_rims = _Groups(patch, len(patch_area)), _Groups(rim_patch, len(patch_area))

    def part(which: int) -> _Patch:
        rows = of_faces.rows(which)
        return _Patch(
            vertices=whole.vertices,
            faces=whole.faces[rows],
            normals=whole.normals[rows],
            rim=whole.rim[of_rims.rows(which)],
        )

    share = patch_area / patch_area.sum()
    large = set(np.flatnonzero(share >= min(_LARGE_AREA_SHARE, float(share.max()))).tolist())
    settled = []
    for which in sorted(large):
        piece = part(which)
        wrong[which] = _faces_in(piece)
        settled.append(piece.faces[:, ::-1] if wrong[which] else piece.faces)
    small = [which for which in np.flatnonzero(share >= _JUDGED_AREA_SHARE).tolist() if which not in large]
    rest: WindingNumber | None = None
    for which in small:
        piece = part(which)
        volume, openness = _enclosed(piece)
        if openness < _NEARLY_CLOSED and abs(volume) > _FLAT_VOLUME:
            wrong[which] = volume < 0
            continue
        rest = rest or WindingNumber(whole.vertices, np.concatenate(settled))
        score = _drop(rest, piece)
        wrong[which] = score < 0 if abs(score) > _DOUBT else _faces_in(piece)
    return wrong


class _Groups:
    """Rows by their label (N,), which is below ``count``."""

    def __init__(self, label: NDArray[np.int64], count: int) -> None:
        self._order = np.argsort(label, kind="stable")
        self._bounds = np.searchsorted(label[self._order], np.arange(count + 1))

    def rows(self, which: int) -> NDArray[np.int64]:
        """Rows with one label, rising."""
        return self._order[self._bounds[which] : self._bounds[which + 1]]


def _faces_in(patch: _Patch) -> bool:
    """Whether a patch by itself faces inwards: by the volume it encloses, or its winding number where it is flat."""
    volume, _ = _enclosed(patch)
    if abs(volume) > _FLAT_VOLUME:
        return volume < 0
    return _self_score(patch) < -_DOUBT


def _enclosed(patch: _Patch) -> tuple[float, float]:
    """Volume within a patch and the cones over its rims, in its area^1.5, and the cones' area, in its own."""
    used, local = np.unique(patch.rim, return_inverse=True)
    start, end = local.reshape(-1, 2).T
    about = patch.vertices[patch.faces[0, 0]]
    rims = close_with_cones(patch.vertices[used], unmatched(start, end, len(used)))
    volume = enclosed_volume(patch.vertices, patch.faces, about) + enclosed_volume(rims.vertices, rims.cones, about)
    area = float(np.linalg.norm(patch.normals, axis=1).sum())
    return volume / area**1.5, float(rims.area.sum()) / area


def _self_score(patch: _Patch) -> float:
    """Mean of a patch's own winding number over both its sides: near 0.5 when it faces out, -0.5 when in."""
    front, back = _probes(patch, 1e-3)
    return float(WindingNumber(patch.vertices, patch.faces).at(np.concatenate([front, back])).mean())


def _drop(rest: WindingNumber, patch: _Patch) -> float:
    """How much the winding number of the other patches falls from this patch's back to its front."""
    front, back = _probes(patch, _STEP_SHARE)
    return float(rest.at(back).mean() - rest.at(front).mean())


def _probes(patch: _Patch, step_share: float) -> tuple[Array, Array]:
    """Points in front of and behind a patch, evenly by area."""
    area = np.linalg.norm(patch.normals, axis=1)
    total = np.cumsum(area)
    count = min(_MAX_PROBES, 4 * len(patch.faces))
    rows = np.searchsorted(total, (np.arange(count) + 0.5) / count * total[-1])
    center = patch.vertices[patch.faces[rows]].mean(1)
    step = step_share * np.sqrt(total[-1]) * patch.normals[rows] / np.maximum(area[rows, None], 1e-300)
    return center + step, center - step
