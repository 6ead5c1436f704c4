"""Looking at a raw scan, and mending what needs no new surface.

Merged are vertices at one place; dropped are degenerate and repeated faces and small pieces that float
away from the rest; turned are patches that face the wrong way. Every change is counted. Holes stay: closing
them is the field's job (``watertight``). Units do not matter here, except for the remark on human size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.distances import SurfaceDistance
from anim_real.geometry.edges import unmatched
from anim_real.geometry.grids import KeyTable, bounding_box
from anim_real.geometry.triangles import area_vectors
from anim_real.mesh import Mesh
from anim_real.meshes.connectivity import EdgeTable, compact, face_pieces
from anim_real.meshes.orientation import patches_to_turn
from anim_real.meshes.rims import Rims, close_with_cones
from anim_real.meshes.scan_winding import ScanWinding

Array = NDArray[np.float64]
_MERGE_BITS = 21  # positions are merged on a grid of extent / 2^21: 1 micrometre for a person
_FLAT_SHARE = 1e-14  # faces below this share of the squared extent have no area in float32
_PIECE_AREA_SHARE = 0.003  # larger pieces are never dropped: 60 cm2 of a person, less than half a hand
_PIECE_GAP_SHARE = 0.005  # pieces nearer to the rest than this share of the extent (1 cm for a person) are kept


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found in a scan and changed; counts unless said otherwise.

    Attributes:
        num_vertices, num_faces: of the scan as given.
        merged_vertices: vertices that shared their place with another, or had no face.
        degenerate_faces: faces without area, dropped.
        duplicate_faces: faces repeated (in either orientation), dropped.
        flipped_faces: faces that were turned, in ``flipped_patches`` patches.
        flipped_patches: connected patches (or parts of them) that were turned.
        dropped_pieces: floating pieces removed.
        dropped_area_share: their share of the scan's area.
        num_pieces: connected pieces that are left.
        open_edges, nonmanifold_edges: edges of one face, and of more than two, that are left.
        boundary_loops: connected rims that the open edges form.
        extent: longest side of the bounding box, in the mesh's unit (metres in this project).
    """

    num_vertices: int
    num_faces: int
    merged_vertices: int
    degenerate_faces: int
    duplicate_faces: int
    flipped_faces: int
    flipped_patches: int
    dropped_pieces: int
    dropped_area_share: float
    num_pieces: int
    open_edges: int
    nonmanifold_edges: int
    boundary_loops: int
    extent: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MendedScan:
    """A scan without the faults that need no new surface.

    Attributes:
        vertices: (V, 3) positions, each place once.
        faces: (F, 3) int64 consistently oriented where the scan lets it be.
        source_face: (F,) face of the raw scan that each face came from.
        is_rim: (F, 3) bool: the edge opposite to corner k belongs to no other face.
        boundary: (R, 2) directed edges of the faces that no opposite edge cancels.
        inspection: what was changed.
    """

    vertices: Array
    faces: NDArray[np.int64]
    source_face: NDArray[np.int64]
    is_rim: NDArray[np.bool_]
    boundary: NDArray[np.int64]
    inspection: Inspection

    @cached_property
    def winding(self) -> ScanWinding:
        """Winding-number queries of the faces; what they need is built when first asked for."""
        return ScanWinding(self.vertices, self.faces, self.rims)

    @cached_property
    def rims(self) -> Rims:
        """The rims of the faces, and the cones that would close them."""
        return close_with_cones(self.vertices, self.boundary)


def mend(scan: Mesh) -> MendedScan:
    """Merge, drop and turn; see the module.

    Raises:
        DataError: nothing with an area is left.
    """
    place, vertices, extent = _merge(scan)
    faces, source = place[scan.faces], np.arange(len(scan.faces))
    _, area = area_vectors(vertices, faces)
    solid = area > _FLAT_SHARE * extent**2
    num_solid = int(solid.sum())
    if num_solid == 0:
        raise DataError("has no face with an area", where="mesh", fix="The scan is empty, a line or a point")
    if num_solid < len(faces):
        faces, source, area = faces[solid], source[solid], area[solid]
    edges = EdgeTable.of(faces, len(vertices))
    if edges.has_twins:
        kept = _first_of_each(faces, len(vertices))
        faces, source, area = faces[kept], source[kept], area[kept]
    num_duplicates = num_solid - len(faces)
    piece, is_floating = _floating(vertices, faces, area, extent)
    dropped_share = 0.0
    if is_floating.any():
        dropped = is_floating[piece]
        dropped_share = float(area[dropped].sum() / area.sum())
        faces, source = faces[~dropped], source[~dropped]
    if num_duplicates or is_floating.any():
        edges = EdgeTable.of(faces, len(vertices))
    turned, num_patches = patches_to_turn(vertices, faces, edges)
    is_rim, num_loops = edges.is_rim(len(faces)), edges.num_loops(faces, len(vertices))
    boundary, _ = edges.unpaired(faces, turned)
    if turned.any():
        faces = np.where(turned[:, None], faces[:, ::-1], faces)
        is_rim = np.where(turned[:, None], is_rim[:, ::-1], is_rim)
    used, renumbered = compact(faces, len(vertices))
    start, end = np.searchsorted(used, boundary).T
    inspection = Inspection(
        num_vertices=len(scan.vertices),
        num_faces=len(scan.faces),
        merged_vertices=len(scan.vertices) - len(vertices),
        degenerate_faces=len(scan.faces) - num_solid,
        duplicate_faces=num_duplicates,
        flipped_faces=int(turned.sum()),
        flipped_patches=num_patches,
        dropped_pieces=int(is_floating.sum()),
        dropped_area_share=dropped_share,
        num_pieces=len(is_floating) - int(is_floating.sum()),
        open_edges=edges.num_open,
        nonmanifold_edges=edges.num_nonmanifold,
        boundary_loops=num_loops,
        extent=extent,
    )
    return MendedScan(
        vertices=vertices[used],
        faces=renumbered,
        source_face=source,
        is_rim=is_rim,
        boundary=unmatched(start, end, len(used)),
        inspection=inspection,
    )


def _merge(scan: Mesh) -> tuple[NDArray[np.int64], Array, float]:
    """New number of every vertex (unused ones get -1), the merged positions and the extent of the used ones."""
    used, _ = compact(scan.faces, len(scan.vertices))
    positions = scan.vertices if len(used) == len(scan.vertices) else scan.vertices[used]
    low, high = bounding_box(positions)
    extent = float((high - low).max())
    if extent == 0:
        raise DataError("has no extent: all faces lie in one point", where="mesh")
    steps = np.rint((positions - low) * ((2**_MERGE_BITS - 1) / extent)).astype(np.int64)
    places = KeyTable(len(used))
    number = places.add(steps[:, 0] << 2 * _MERGE_BITS | steps[:, 1] << _MERGE_BITS | steps[:, 2])
    if len(places) == len(scan.vertices):
        return number, positions, extent
    first = np.full(len(places), len(number))
    np.minimum.at(first, number, np.arange(len(number)))
    place = np.full(len(scan.vertices), -1, dtype=np.int64)
    place[used] = number
    return place, positions[first], extent


def _first_of_each(faces: NDArray[np.int64], num_vertices: int) -> NDArray[np.int64]:
    """Sorted indices of the first of each distinct face (N, 3), whatever the order of its corners."""
    low, middle, high = np.sort(faces, axis=1).T
    edges, pair = np.unique(low * num_vertices + middle, return_inverse=True)
    assert len(edges) * num_vertices < 2**63
    _, first = np.unique(pair * num_vertices + high, return_index=True)
    return np.sort(first)


def _floating(
    vertices: Array, faces: NDArray[np.int64], area: Array, extent: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Piece of every face, and which pieces are small and away from all large ones."""
    num_pieces, piece = face_pieces(faces, len(vertices))
    share = np.bincount(piece, area, num_pieces) / area.sum()
    is_small = share < _PIECE_AREA_SHARE
    if num_pieces == 1 or is_small.all() or not is_small.any():
        return piece, np.zeros(num_pieces, dtype=bool)
    small_faces = np.flatnonzero(is_small[piece])
    surface = SurfaceDistance(vertices, faces[~is_small[piece]])
    nearest = surface.closest(vertices[faces[small_faces]].reshape(-1, 3)).distance.reshape(-1, 3).min(1)
    gap = np.full(num_pieces, np.inf)
    np.minimum.at(gap, piece[small_faces], nearest)
    return piece, is_small & (gap > _PIECE_GAP_SHARE * extent)
