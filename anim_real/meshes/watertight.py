"""From a raw scan to a closed mesh, in the scan's own frame and unit (metres in this project).

Mend (``inspect``), close (``closing``), carry colours and regions over (``regions``), and report.
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
from anim_real.meshes.surface import barycentric

Array = NDArray[np.float64]
MAX_INVENTED_SHARE = 0.4
_RESOLUTIONS = (8, 4096)
_INVENTED_CELLS = 1.5  # farther from the scan than this is invented
_TORN_EDGES = 0.2  # open edges per face; usual scans have fewer than 0.06
_PREVIEW_RESOLUTION = 64
_RIM_CELLS = 0.05  # vertices off the scan but nearer to it than this do not lie over a hole


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
    scan: Mesh, *, resolution: int = 256, max_invented_share: float = MAX_INVENTED_SHARE
) -> WatertightResult:
    """Close a raw scan.

    Args:
        scan: as the scanner gave it, in metres.
        resolution: lattice cells along the longest side of its bounding box.
        max_invented_share: refuse when more of the surface is invented.

    Raises:
        DataError: nothing is enclosed, or the surface does not close near the scan.
        RefusedError: too much of the surface would be invented.
    """
    if not _RESOLUTIONS[0] <= resolution <= _RESOLUTIONS[1]:
        raise DataError(f"resolution {resolution} is outside {_RESOLUTIONS[0]}..{_RESOLUTIONS[1]}", where="watertight")
    started = time.perf_counter()
    mended = mend(scan)
    if _is_torn(mended) and resolution > 2 * _PREVIEW_RESOLUTION:
        _check_invented(_previewed_share(mended), max_invented_share)
    closing = close_scan(mended, resolution)
    nearest = _nearest(closing)
    mesh = _dressed(scan, closing, nearest)
    invented = _invented(closing, nearest)
    is_patch = invented > 0.0
    report = measure(closing, mesh, invented)
    _check_invented(report.invented_share, max_invented_share)
    return WatertightResult(
        mesh=mesh,
        invented=nearest.distance > _INVENTED_CELLS * closing.cell_m,
        is_patch=is_patch,
        scan=closing.scan,
        labels=_label_surface(closing, mesh, is_patch),
        report=replace(report, seconds=time.perf_counter() - started),
    )


def _is_torn(scan: MendedScan) -> bool:
    """Whether a scan may be a soup of triangles, which takes minutes to close finely and is then mostly invented."""
    return scan.inspection.open_edges > _TORN_EDGES * len(scan.faces)


def _previewed_share(scan: MendedScan) -> float:
    """About which share of the surface would be invented, from a coarse one."""
    closing = close_scan(scan, _PREVIEW_RESOLUTION)
    areas = Mesh(vertices=closing.outer.vertices, faces=closing.outer.faces).face_areas
    return float(np.average(_invented(closing, _nearest(closing)), weights=areas))


def _invented(closing: Closing, nearest: Closest) -> Array:
    """(F,) share of the surface's faces that is not on the scan: of their corners, those over holes.

    Its mean over the surface does not depend on the cell size, so a coarse surface tells it too.
    """
    over_hole = nearest.distance > _RIM_CELLS * closing.cell_m
    return np.asarray(over_hole[closing.outer.faces].mean(1))


def _check_invented(share: float, limit: float) -> None:
    """Refuse a surface of which more than ``limit`` is invented."""
    if share > limit:
        raise RefusedError(
            f"{share:.0%} of the surface would be invented (limit {limit:.0%})",
            where="mesh",
            fix="Scan again with more coverage, or raise the limit knowingly",
        )


def _nearest(closing: Closing) -> Closest:
    """Nearest scan points of the surface's vertices; ``face`` counts in the mended scan."""
    face, point = closing.vertex_face.copy(), closing.outer.vertices.copy()
    distance = np.zeros(len(face))
    over_hole = np.flatnonzero(face < 0)
    found = closing.surface.closest(point[over_hole])
    face[over_hole] = closing.bounding.source[found.face]
    point[over_hole], distance[over_hole] = found.point, found.distance
    return Closest(distance=distance, point=point, face=face)


def _dressed(scan: Mesh, closing: Closing, nearest: Closest) -> WatertightMesh:
    """The closed mesh with colours and regions of the nearest points of the raw scan."""
    colors = regions = None
    if scan.colors is not None or scan.texture is not None or scan.regions is not None:
        raw_face = closing.scan.source_face[nearest.face]
        weights = barycentric(scan.vertices[scan.faces[raw_face]], nearest.point)
        colors, regions = colors_at(scan, raw_face, weights), regions_at(scan, raw_face, weights)
    return WatertightMesh(vertices=closing.outer.vertices, faces=closing.outer.faces, colors=colors, regions=regions)


def _label_surface(closing: Closing, mesh: WatertightMesh, is_patch: NDArray[np.bool_]) -> LabelSurface:
    """The scan's outer faces together with the faces that closed its holes."""
    scanned = closing.bounding
    patches = mesh.faces[is_patch] + len(scanned.vertices)
    return LabelSurface(
        vertices=np.concatenate([scanned.vertices, mesh.vertices]),
        faces=np.concatenate([scanned.faces, patches]),
        is_patch=np.repeat([False, True], [len(scanned.faces), len(patches)]),
    )
