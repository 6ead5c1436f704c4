"""From a raw scan to a closed mesh, in the scan's own frame and unit (metres in this project).

Mend (``inspect``), close (``closing``), draw vertices onto the scan where the scan exists, carry colours
and regions over (``regions``), and report.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError, RefusedError
from anim_real.geometry.distances import Closest
from anim_real.mesh import Mesh, WatertightMesh
from anim_real.meshes.closing import Closing, close_scan
from anim_real.meshes.inspect import MendedScan, mend
from anim_real.meshes.regions import colors_at, regions_at
from anim_real.meshes.report import WatertightReport, measure
from anim_real.meshes.surface import barycentric, draw_to_scan

Array = NDArray[np.float64]
MAX_INVENTED_SHARE = 0.4
_RESOLUTIONS = (8, 4096)
_INVENTED_CELLS = 1.5  # farther from the scan than this is invented
_REACH_CELLS = 0.9  # vertices farther from the scan are not drawn to it
_RIM_CELLS = 0.05  # vertices whose nearest point is on a rim, farther off than this, lie over a hole
_RIM_WEIGHT = 1e-3  # barycentric weight below which a nearest point lies on the opposite edge
_MIN_FACING = 0.2  # cosine between a vertex's normal and the scan's there


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelSurface:
    """What signed distances are measured to: the scan's outer faces and the patches over its holes.

    Attributes:
        vertices: (V, 3) positions.
        faces: (F, 3) int64.
        is_patch: (F,) which faces are invented.
    """

    vertices: Array
    faces: NDArray[np.int64]
    is_patch: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class WatertightResult:
    """A watertight mesh with its evidence.

    Attributes:
        mesh: closed mesh; with vertex colours and regions where the scan has them.
        invented: (V,) bool: the vertex is farther than 1.5 cells from the scan.
        is_patch: (F,) bool: the face closed a hole.
        scan: the mended scan; its winding number is the sign of labels.
        labels: the surface that labels measure distances to.
        report: what was done.
    """

    mesh: WatertightMesh
    invented: NDArray[np.bool_]
    is_patch: NDArray[np.bool_]
    scan: MendedScan
    labels: LabelSurface
    report: WatertightReport


def make_watertight(
    scan: Mesh, *, resolution: int = 256, max_invented_share: float = MAX_INVENTED_SHARE, has_snapping: bool = True
) -> WatertightResult:
    """Close a raw scan.

    Args:
        scan: as the scanner gave it, in metres.
        resolution: lattice cells along the longest side of its bounding box.
        max_invented_share: refuse when more of the surface is invented.
        has_snapping: draw vertices onto the scan.

    Raises:
        DataError: nothing is enclosed, or the surface does not close near the scan.
        RefusedError: too much of the surface would be invented.
    """
    if not _RESOLUTIONS[0] <= resolution <= _RESOLUTIONS[1]:
        raise DataError(f"resolution {resolution} is outside {_RESOLUTIONS[0]}..{_RESOLUTIONS[1]}", where="watertight")
    started = time.perf_counter()
    closing = close_scan(mend(scan), resolution)
    closest = closing.surface.closest(closing.outer.vertices)
    normals, is_rim = _scan_side(closing, closest)
    is_beyond = is_rim & (closest.distance > _RIM_CELLS * closing.cell_m)
    is_beyond |= closest.distance > _REACH_CELLS * closing.cell_m
    vertices = closing.outer.vertices
    if has_snapping:
        may_move = ~is_beyond & _faces_alike(closing, normals)
        vertices = draw_to_scan(vertices, closing.outer.faces, closest, may_move, closing.cell_m)
    mesh = _dressed(scan, closing, vertices, closest)
    is_patch = np.asarray(is_beyond[mesh.faces].any(1))
    report = measure(closing, mesh, is_patch)
    if report.invented_share > max_invented_share:
        raise RefusedError(
            f"{report.invented_share:.0%} of the surface would be invented (limit {max_invented_share:.0%})",
            where="mesh",
            fix="Scan again with more coverage, or raise the limit knowingly",
        )
    return WatertightResult(
        mesh=mesh,
        invented=closest.distance > _INVENTED_CELLS * closing.cell_m,
        is_patch=is_patch,
        scan=closing.scan,
        labels=_label_surface(closing, mesh, is_patch),
        report=replace(report, seconds=time.perf_counter() - started),
    )


def _scan_side(closing: Closing, closest: Closest) -> tuple[Array, NDArray[np.bool_]]:
    """Unit normals (P, 3) of the scan at nearest points, and which of these lie on a rim of the scan."""
    face = closing.outer_faces[closest.face]
    triangles = closing.scan.vertices[closing.scan.faces[face]]
    weights = barycentric(triangles, closest.point)
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    return normal, np.asarray((closing.scan.is_rim[face] & (weights < _RIM_WEIGHT)).any(1))


def _faces_alike(closing: Closing, normals: Array) -> NDArray[np.bool_]:
    """(V,) whether the extracted surface faces where the scan does: not drawn to the far side of a thin part."""
    own = Mesh(vertices=closing.outer.vertices, faces=closing.outer.faces).vertex_normals()
    return np.einsum("ij,ij->i", normals, own) > _MIN_FACING


def _dressed(scan: Mesh, closing: Closing, vertices: Array, closest: Closest) -> WatertightMesh:
    """The closed mesh with colours and regions of the nearest points of the raw scan."""
    raw_face = closing.scan.source_face[closing.outer_faces[closest.face]]
    weights = barycentric(scan.vertices[scan.faces[raw_face]], closest.point)
    return WatertightMesh(
        vertices=vertices,
        faces=closing.outer.faces,
        colors=colors_at(scan, raw_face, weights),
        regions=regions_at(scan, raw_face, weights),
    )


def _label_surface(closing: Closing, mesh: WatertightMesh, is_patch: NDArray[np.bool_]) -> LabelSurface:
    """The scan's outer faces together with the faces that closed its holes."""
    scanned = closing.scan.faces[closing.outer_faces]
    patches = mesh.faces[is_patch] + len(closing.scan.vertices)
    return LabelSurface(
        vertices=np.concatenate([closing.scan.vertices, mesh.vertices]),
        faces=np.concatenate([scanned, patches]),
        is_patch=np.repeat([False, True], [len(scanned), len(patches)]),
    )
