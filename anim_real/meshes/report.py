"""What watertighting found, closed and lost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.distances import SurfaceDistance
from anim_real.mesh import Mesh, WatertightMesh
from anim_real.meshes.closing import Closing
from anim_real.meshes.connectivity import compact, face_pieces
from anim_real.meshes.inspect import Inspection

Array = NDArray[np.float64]
_MAX_LISTED_HOLES = 64
_MAX_MEASURED = 20_000
_NAMED_SHARE = 5e-4  # of the scan: shown as 0.1 %


@dataclass(frozen=True, kw_only=True)
class DistanceSummary:
    """Mean, 99th percentile and largest of many distances, in metres."""

    mean_m: float
    p99_m: float
    max_m: float

    def __str__(self) -> str:
        return f"mean {self.mean_m * 1e3:.3f}, p99 {self.p99_m * 1e3:.3f}, max {self.max_m * 1e3:.3f} mm"

    @classmethod
    def of(cls, distances: Array, weights: Array) -> DistanceSummary:
        """Summarise distances (N,) that stand for ``weights`` (N,) of area each; zeros when there are none."""
        if len(distances) == 0:
            return cls(mean_m=0.0, p99_m=0.0, max_m=0.0)
        order = np.argsort(distances)
        share = np.cumsum(weights[order]) / weights.sum()
        rank = min(int(np.searchsorted(share, 0.99)), len(order) - 1)
        return cls(
            mean_m=float(np.average(distances, weights=weights)),
            p99_m=float(distances[order[rank]]),
            max_m=float(distances[order[-1]]),
        )


@dataclass(frozen=True, kw_only=True)
class Hole:
    """One connected patch of invented surface.

    Attributes:
        area_m2: its area.
        center_m: its centroid, in the scan's frame.
    """

    area_m2: float
    center_m: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class WatertightReport:
    """The evidence that comes with a watertight mesh; metres, seconds, scan frame.

    Attributes:
        inspection: what was mended before.
        cell_m: edge length of the lattice cells; ``resolution`` of them span the scan's longest side.
        num_holes: patches of invented surface; the largest are listed in ``holes``.
        invented_area_m2: their whole area, ``invented_share`` of the surface; a face that one of its corners ties
            to the scan counts by its other corners.
        dropped_components: small separate closed pieces removed after meshing.
        dropped_cavities: inner walls removed.
        buried_faces: faces of the scan that lie wholly inside the result (a body under clothes).
        buried_share: share of the mended scan's area that bounds no inside, parts of faces counted: layers under
            others, walls between solids, faces that cancel each other.
        scan_to_mesh: distances to the result from the rest of the scan, which bounds its inside.
        mesh_to_scan: distances from the result to the scan, invented surface excluded.
        volume_m3, area_m2: of the result.
        num_components, euler, genus: of the result; genus summed over the components.
        winding_evaluations: winding numbers asked for the lattice.
        seconds: wall time.
    """

    inspection: Inspection
    resolution: int
    cell_m: float
    num_holes: int
    holes: tuple[Hole, ...]
    invented_area_m2: float
    invented_share: float
    dropped_components: int
    dropped_cavities: int
    buried_faces: int
    buried_share: float
    scan_to_mesh: DistanceSummary
    mesh_to_scan: DistanceSummary
    volume_m3: float
    area_m2: float
    num_vertices: int
    num_faces: int
    num_components: int
    euler: int
    genus: int
    winding_evaluations: int
    seconds: float

    def record(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    def lines(self) -> tuple[str, ...]:
        """The report for people."""
        found = self.inspection
        return (
            f"scan: {found.num_vertices} vertices, {found.num_faces} faces, {found.extent:.3f} m long, "
            f"{found.num_pieces} pieces, {found.open_edges} open and {found.nonmanifold_edges} non-manifold edges",
            f"mended: {found.merged_vertices} vertices merged, {found.degenerate_faces} degenerate and "
            f"{found.duplicate_faces} repeated faces dropped, {found.flipped_faces} faces in {found.flipped_patches} "
            f"patches turned, {found.dropped_pieces} floating pieces dropped",
            f"holes: {self.num_holes} closed, {self.invented_area_m2 * 1e4:.1f} cm2 invented "
            f"({100 * self.invented_share:.2f} % of the surface)",
            f"scan to mesh: {self.scan_to_mesh}; cell {self.cell_m * 1e3:.2f} mm{self._left_out()}",
            f"mesh to scan, invented surface left out: {self.mesh_to_scan}",
            f"result: {self.num_vertices} vertices, {self.num_faces} faces, closed, {self.num_components} components, "
            f"genus {self.genus}, volume {self.volume_m3 * 1e3:.3f} l, in {self.seconds:.2f} s",
        )

    def _left_out(self) -> str:
        """What the distances from the scan are not taken from."""
        if self.buried_share < _NAMED_SHARE:
            return ""
        return f"; left out: {self.buried_share:.1%} of the scan, which bounds no inside (layers under others)"


def measure(closing: Closing, mesh: WatertightMesh, invented: Array) -> WatertightReport:
    """Compare a finished mesh with its scan; ``invented`` (F,) is the share of each face. ``seconds`` is left 0.

    Distances are taken at the middles of small triangles, weighted by their area.
    """
    areas, is_patch = mesh.face_areas, invented > 0.0
    holes = list_holes(mesh, areas * invented, is_patch)
    invented_area = float(areas @ invented)
    own = _thinned(np.flatnonzero(~is_patch))
    pieces = closing.pieces[_thinned(np.arange(len(closing.pieces)))]
    piece_areas = np.linalg.norm(np.cross(pieces[:, 1] - pieces[:, 0], pieces[:, 2] - pieces[:, 0]), axis=1)
    to_mesh = SurfaceDistance(mesh.vertices, mesh.faces).closest(pieces.mean(1)).distance
    to_scan = closing.surface.closest(mesh.vertices[mesh.faces[own]].mean(1)).distance
    scan = closing.scan
    euler = len(mesh.vertices) - len(mesh.faces) // 2
    return WatertightReport(
        inspection=scan.inspection,
        resolution=closing.resolution,
        cell_m=closing.cell_m,
        num_holes=len(holes),
        holes=holes[:_MAX_LISTED_HOLES],
        invented_area_m2=invented_area,
        invented_share=invented_area / float(areas.sum()),
        dropped_components=closing.outer.dropped_components,
        dropped_cavities=closing.outer.dropped_cavities,
        buried_share=_buried_share(closing),
        buried_faces=len(scan.faces) - len(compact(closing.bounding.source, len(scan.faces))[0]),
        scan_to_mesh=DistanceSummary.of(to_mesh, piece_areas),
        mesh_to_scan=DistanceSummary.of(to_scan, areas[own]),
        volume_m3=mesh.volume,
        area_m2=float(areas.sum()),
        num_vertices=len(mesh.vertices),
        num_faces=len(mesh.faces),
        num_components=closing.outer.num_components,
        euler=euler,
        genus=closing.outer.num_components - euler // 2,
        winding_evaluations=closing.num_evaluations,
        seconds=0.0,
    )


def list_holes(mesh: WatertightMesh, areas: Array, is_patch: NDArray[np.bool_]) -> tuple[Hole, ...]:
    """Connected patches of invented faces, largest first; invented ``areas`` and ``is_patch`` are per face (F,)."""
    if not is_patch.any():
        return ()
    faces, areas = mesh.faces[is_patch], areas[is_patch]
    count, piece = face_pieces(faces, len(mesh.vertices))
    total = np.bincount(piece, areas, count)
    middle = mesh.vertices[faces].mean(1)
    center = np.stack([np.bincount(piece, areas * middle[:, k], count) for k in range(3)], 1)
    center /= np.maximum(total, 1e-300)[:, None]
    order = np.argsort(-total, kind="stable").tolist()
    return tuple(Hole(area_m2=float(total[k]), center_m=tuple(center[k].tolist())) for k in order)


def _buried_share(closing: Closing) -> float:
    """Share of the scan's area that does not bound its inside."""
    scan, bounding = closing.scan, closing.bounding
    if bounding.faces is scan.faces:
        return 0.0
    outer, whole = (Mesh(vertices=part.vertices, faces=part.faces).face_areas.sum() for part in (bounding, scan))
    return float(max(1.0 - outer / whole, 0.0))


def _thinned(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every n-th row, so that at most ``_MAX_MEASURED`` are left."""
    return rows[:: max(1, -(-len(rows) // _MAX_MEASURED))]
