"""The closed surface of a mended scan: sides on the narrow band, crossings as vertices, outer components.

The surface separates the lattice points with winding number above 0.5 from the others. Where a lattice edge
between them crosses the scan, the vertex is that crossing, exactly; over holes it is where the winding number
is 0.5. So vertices stay on their lattice edges, nothing folds over, and no distance is needed. Creases get
vertices of their own (``creases``). Inner shells, such as a body under clothes, lie where w > 0.5 on both sides and
vanish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.distances import SurfaceDistance
from anim_real.geometry.grids import Lattice, bounding_box
from anim_real.geometry.triangles import cut_fine
from anim_real.meshes.band import NOTHING_INSIDE, Band, grow_band
from anim_real.meshes.creases import sharpen
from anim_real.meshes.inspect import MendedScan
from anim_real.meshes.marching import CrossedEdges, crossed_edges
from anim_real.meshes.outer_scan import OuterScan, outer_scan
from anim_real.meshes.signs import ScanSides
from anim_real.meshes.surface import Outer, outer_components
from anim_real.meshes.winding import INSIDE

Array = NDArray[np.float64]
_MIN_VOLUME_SHARE = 1e-3  # smaller separate components are debris
_PADDING_SHARE = 0.5  # of the resolution, around the box; unused cells cost nothing
_OFFSET_CELLS = (0.137, 0.219, 0.331)  # keeps lattice planes off the box's sides, where flat parts would lie in them
_MIN_SHARE = 0.005  # keeps vertices off lattice points, so that no face degenerates
_NUM_PIECES = 20_000  # of the scan, about, that its report is measured at
_PIECE_CELLS = 1.6


@dataclass(frozen=True, kw_only=True, eq=False)
class Closing:
    """A scan and the closed surface around it.

    Attributes:
        scan: the mended scan.
        cell_m: edge length of the lattice's cells.
        resolution: cells along the scan's longest side.
        bounding: the part of the scan that bounds its inside.
        surface: nearest-point queries on that.
        outer: the extracted surface: vertices on the scan, or over its holes.
        vertex_face: (V,) face of ``scan`` that each vertex lies on; -1 over holes.
        pieces: (T, 3, 3) small triangles of the outer scan faces, evenly taken, for evaluation.
        num_evaluations: winding numbers asked on the lattice.
    """

    scan: MendedScan
    cell_m: float
    resolution: int
    bounding: OuterScan
    surface: SurfaceDistance
    outer: Outer
    vertex_face: NDArray[np.int64]
    pieces: Array
    num_evaluations: int


def close_scan(scan: MendedScan, resolution: int) -> Closing:
    """Extract the closed outer surface of a mended scan.

    Raises:
        DataError: nothing is enclosed, or the surface does not close near the scan.
    """
    cell_m = scan.inspection.extent / resolution
    offset = cell_m * np.array(_OFFSET_CELLS)
    low, high = bounding_box(scan.vertices)
    lattice = Lattice.around(
        low + offset,
        high + offset,
        cell_m=cell_m,
        padding_cells=8 + round(_PADDING_SHARE * resolution),
    )
    sides = ScanSides(lattice, scan)
    rims = scan.vertices[scan.faces[scan.is_rim.any(1)].ravel()]
    seeds = np.concatenate([sides.crossed_cells(), lattice.cells_of(rims)])
    band = grow_band(lattice, seeds, sides.winding_at, INSIDE)
    edges = crossed_edges(band.pattern, band.corners, len(band.keys))
    bounding = outer_scan(scan, lattice, sides.crossings, band)
    surface = SurfaceDistance(bounding.vertices, bounding.faces)
    vertices, vertex_face = _vertices(lattice, band, edges, sides)
    vertices, faces, source = sharpen(
        lattice.points(band.cells),
        cell_m,
        band.pattern,
        edges,
        vertices,
        _normals(scan.vertices, scan.faces, vertex_face),
        surface,
    )
    outer = outer_components(vertices, faces, _MIN_VOLUME_SHARE)
    if outer.num_components == 0:
        raise DataError("encloses nothing", where="mesh", fix=NOTHING_INSIDE)
    return Closing(
        scan=scan,
        cell_m=cell_m,
        resolution=resolution,
        bounding=bounding,
        surface=surface,
        outer=outer,
        vertex_face=vertex_face[source[outer.source]],
        pieces=_pieces(bounding, cell_m),
        num_evaluations=sides.num_asked,
    )


def _vertices(lattice: Lattice, band: Band, edges: CrossedEdges, sides: ScanSides) -> tuple[Array, NDArray[np.int64]]:
    """Position (E, 3) of the vertex on every crossed edge, and the (E,) scan face it lies on or -1."""
    low, ends = band.keys[edges.ends[:, 0]], band.winding[edges.ends]
    share, face = sides.scan_on(low, edges.axis, ends)
    vertices = lattice.points(low)
    over_hole = np.flatnonzero(face < 0)
    if len(over_hole):
        along = edges.axis[over_hole]
        share[over_hole] = _level_share(sides, low[over_hole], along, ends[over_hole])
    vertices[np.arange(len(low)), edges.axis] += lattice.cell_m * np.clip(share, _MIN_SHARE, 1.0 - _MIN_SHARE)
    return vertices, face


def _level_share(sides: ScanSides, low: NDArray[np.int64], axis: NDArray[np.int8], ends: Array) -> Array:
    """Where (N,) on edges the winding number is 0.5, given its values (N, 2) at their ends: two secant steps."""
    excess = ends - INSIDE
    share = excess[:, 0] / (excess[:, 0] - excess[:, 1])
    between = sides.winding_on(low, axis, share) - INSIDE
    is_beyond = (between > 0) == (excess[:, 0] > 0)  # the level lies on the far side of the first guess
    near = np.where(is_beyond, between, excess[:, 0])
    far = np.where(is_beyond, excess[:, 1], between)
    first, last = np.where(is_beyond, share, 0.0), np.where(is_beyond, 1.0, share)
    return first + (last - first) * near / np.where(near == far, 1.0, near - far)


def _pieces(bounding: OuterScan, cell_m: float) -> Array:
    """Every n-th outer face, cut to about the size of cells."""
    corners = bounding.vertices[bounding.faces[:: max(1, len(bounding.faces) // _NUM_PIECES)]]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    return cut_fine(corners, max(_PIECE_CELLS * cell_m, 2.0 * float(np.sqrt(area / _NUM_PIECES))))


@numba.njit(cache=True)
def _normals(vertices: Array, faces: NDArray[np.int64], rows: NDArray[np.int64]) -> Array:
    """(R, 3) unit normals of faces ``rows`` (R,), zero where a row is -1."""
    normals = np.zeros((len(rows), 3))
    for i in range(len(rows)):
        if rows[i] < 0:
            continue
        a, b, c = faces[rows[i], 0], faces[rows[i], 1], faces[rows[i], 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = np.sqrt(x * x + y * y + z * z)
        normals[i, 0], normals[i, 1], normals[i, 2] = x / length, y / length, z / length
    return normals
