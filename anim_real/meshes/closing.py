"""The closed surface of a mended scan: field on the narrow band, zero surface, outer components.

The field is (0.5 - w)·d, saturated so that it is plain signed distance where the scan alone decides: zero
exactly on the scan and, over holes, where w = 0.5. (Compare libigl's (1 - 2w)·d: right for remeshing,
wrong as a label.) Inner shells, such as a body under clothes, lie where w > 0.5 on both sides and vanish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.distances import SurfaceDistance
from anim_real.geometry.grids import Lattice, unique_keys
from anim_real.meshes.band import NOTHING_INSIDE, Band, grow_band
from anim_real.meshes.inspect import MendedScan
from anim_real.meshes.marching import march
from anim_real.meshes.surface import Outer, cut_fine, outer_components
from anim_real.meshes.winding import DECIDED, INSIDE, WindingNumber

Array = NDArray[np.float64]
_MIN_VOLUME_SHARE = 1e-3  # smaller separate components are debris
_PADDING_SHARE = 0.5  # of the resolution, around the box; unused cells cost nothing
_SEED_SPACING_CELLS = 1.6  # triangles are cut finer than this to find most of the cells they pass through
_MIN_FIELD_CELLS = 0.02  # keeps vertices off lattice points, so that no face degenerates
_OVERLAP = 1.3  # winding numbers above this mean that shells overlap


@dataclass(frozen=True, kw_only=True, eq=False)
class Closing:
    """A scan and the closed surface around it.

    Attributes:
        scan: the mended scan.
        cell_m: edge length of the lattice's cells.
        resolution: cells along the scan's longest side.
        outer_faces: (O,) the scan's faces that have inside on one side only.
        surface: nearest-point queries on those; its face f is ``outer_faces[f]``.
        outer: the extracted surface, vertices within a cell of the scan or over its holes.
        pieces: (T, 3, 3) the outer scan faces cut to the size of cells, for evaluation.
        num_evaluations: winding numbers evaluated on the lattice.
    """

    scan: MendedScan
    cell_m: float
    resolution: int
    outer_faces: NDArray[np.int64]
    surface: SurfaceDistance
    outer: Outer
    pieces: Array
    num_evaluations: int


def close_scan(scan: MendedScan, resolution: int) -> Closing:
    """Extract the closed outer surface of a mended scan.

    Raises:
        DataError: nothing is enclosed, or the surface does not close near the scan.
    """
    cell_m = scan.inspection.extent / resolution
    low, high = scan.vertices.min(0), scan.vertices.max(0)
    padding = 8 + round(_PADDING_SHARE * resolution)
    lattice = Lattice.around(low, high, cell_m=cell_m, padding_cells=padding)
    pieces, source = cut_fine(scan.vertices, scan.faces, _SEED_SPACING_CELLS * cell_m)
    seeds = unique_keys(lattice.cells_of(np.concatenate([scan.vertices, pieces.mean(1)])))
    winding = WindingNumber(scan.vertices, scan.faces)
    band = grow_band(lattice, seeds, lambda keys: winding.near_levels(lattice.points(keys), is_sorted=True), INSIDE)
    is_outer = _outer_faces(scan, winding, band, cell_m)
    surface = SurfaceDistance(scan.vertices, scan.faces[is_outer])
    return Closing(
        scan=scan,
        cell_m=cell_m,
        resolution=resolution,
        outer_faces=np.flatnonzero(is_outer),
        surface=surface,
        outer=_extract(lattice, band, surface),
        pieces=pieces[is_outer[source]],
        num_evaluations=band.num_evaluations,
    )


def _extract(lattice: Lattice, band: Band, surface: SurfaceDistance) -> Outer:
    """The outer zero surface of the field on the band."""
    distance = surface.closest(lattice.points(band.keys)).distance
    share = np.minimum(np.abs(band.winding - INSIDE) / DECIDED, 1.0)  # 1 where the scan alone decides
    field = np.maximum(share * distance, _MIN_FIELD_CELLS * lattice.cell_m)
    vertices, faces = march(lattice, band.cells, np.where(band.winding > INSIDE, -field, field)[band.corners])
    outer = outer_components(vertices, faces, _MIN_VOLUME_SHARE)
    if outer.num_components == 0:
        raise DataError("encloses nothing", where="mesh", fix=NOTHING_INSIDE)
    return outer


def _outer_faces(scan: MendedScan, winding: WindingNumber, band: Band, cell_m: float) -> NDArray[np.bool_]:
    """(F,) faces with inside on one side only; all of them unless the band met overlapping shells."""
    if band.peak < _OVERLAP:
        return np.ones(len(scan.faces), dtype=bool)
    corners = scan.vertices[scan.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1)
    step = np.minimum(1e-3 * np.sqrt(length), 1e-2 * cell_m)
    points = corners.mean(1) + normal * (step / np.maximum(length, 1e-300))[:, None]
    front = winding.near_levels(points, (INSIDE, INSIDE - 1.0))
    is_outer = (front <= INSIDE) & (front > INSIDE - 1.0)
    return is_outer if is_outer.any() else np.ones(len(scan.faces), dtype=bool)
