"""A watertighted scan's page of a report: what was mended, closed and lost, and pictures of where."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.distances import SurfaceDistance, sample_surface
from anim_real.mesh import Mesh
from anim_real.meshes.render import PictureView, picture_view
from anim_real.meshes.report import WatertightReport
from anim_real.meshes.watertight import WatertightResult
from anim_real.report import Report, curves, side_by_side

_YAWS_DEG = (0.0, 90.0, 180.0, 270.0)
_PICTURE_PX = 640
_GAP_PX = 12
_LISTED_HOLES = 20
_SCANNED, _INVENTED = (200, 200, 196), (240, 120, 20)
_NUM_MEASURED = 20_000
_BEHIND_M = 0.03  # a hole's middle may lie this far behind the surface that is seen there


def add_watertight(report: Report, scan: Mesh, result: WatertightResult, up: NDArray[np.float64]) -> None:
    """Add the evidence of one scan.

    Args:
        report: where to.
        scan: as the scanner gave it, metres.
        result: what became of it.
        up: (3,) unit vector pointing up in the scan's frame.
    """
    found = result.report
    report.heading("What was done")
    _add_changes(report, found)
    report.heading("Where surface was invented")
    if found.num_holes:
        report.text(
            f"Orange closed a hole: {found.num_holes} places, {found.invented_area_m2 * 1e4:.1f} cm² "
            f"({found.invented_share:.2%} of the surface; a face at a hole's rim counts by its corners over the hole). "
            "Numbers are the rows of the table."
        )
    else:
        report.text("Nowhere: the scan had no holes.")
    painted, holes = _painted(result), [np.array(hole.center_m) for hole in found.holes[:_LISTED_HOLES]]
    views = [picture_view(painted, yaw, _PICTURE_PX, up) for yaw in _YAWS_DEG]
    report.picture(_in_a_row([_numbered(view, holes) for view in views]), "closed scan from four sides")
    raw = [picture_view(scan, yaw, _PICTURE_PX, up).image for yaw in _YAWS_DEG]
    report.picture(_in_a_row(raw), "raw scan from the same sides")
    if holes:
        _add_holes(report, found)

    report.heading("How near the closed mesh is to the scan")
    _add_distances(report, result)


def _add_changes(report: Report, found: WatertightReport) -> None:
    """The scan, what was mended, and the closed mesh."""
    scan = found.inspection
    rows = [
        ("vertices", scan.num_vertices, found.num_vertices),
        ("faces", scan.num_faces, found.num_faces),
        ("pieces", scan.num_pieces + scan.dropped_pieces, found.num_components),
        ("open edges", scan.open_edges, 0),
        ("edges of more than two faces", scan.nonmanifold_edges, 0),
        ("longest side, m", scan.extent, None),
        ("area, m²", None, found.area_m2),
        ("volume, litres", None, found.volume_m3 * 1e3),
        ("genus", None, found.genus),
    ]
    report.table(("", "scan", "closed mesh"), rows)
    changes = [
        ("vertices merged", scan.merged_vertices),
        ("faces without area dropped", scan.degenerate_faces),
        ("repeated faces dropped", scan.duplicate_faces),
        (f"faces turned, in {scan.flipped_patches} patches", scan.flipped_faces),
        (f"floating pieces dropped, {scan.dropped_area_share:.2%} of the area", scan.dropped_pieces),
        ("faces that lie inside, under others", found.buried_faces),
        ("small separate parts of the closed surface dropped", found.dropped_components),
        ("hollows filled", found.dropped_cavities),
    ]
    report.table(("mended", "count"), [row for row in changes if row[1]] or [("nothing", 0)])
    report.text(
        f"{found.resolution} cells of {found.cell_m * 1e3:.2f} mm along the longest side, {found.seconds:.1f} s."
    )


def _add_distances(report: Report, result: WatertightResult) -> None:
    """Both ways, with what is left out, and how the distances are spread."""
    found = result.report
    rows = [
        (name, *(round(value * 1e3, 4) for value in (way.mean_m, way.p99_m, way.max_m)), left_out)
        for name, way, left_out in (
            ("scan to mesh", found.scan_to_mesh, f"{found.buried_share:.1%} of the scan, which bounds no inside"),
            ("mesh to scan", found.mesh_to_scan, "invented surface"),
        )
    ]
    report.table(("", "mean, mm", "99 % below, mm", "max, mm", "left out"), rows)
    distances = np.sort(_distances_mm(result))
    farther = 100.0 * (1.0 - np.arange(len(distances)) / len(distances))
    report.chart(
        curves({"scan to mesh": (distances, farther)}, "distance, mm", "% of the scan farther away", log=True),
        f"{_NUM_MEASURED:,} points drawn evenly on the scan's outer surface; cell {found.cell_m * 1e3:.2f} mm",
    )


def _add_holes(report: Report, found: WatertightReport) -> None:
    rows = [
        (number, round(hole.area_m2 * 1e4, 2), *(round(value, 3) + 0.0 for value in hole.center_m))
        for number, hole in enumerate(found.holes[:_LISTED_HOLES], start=1)
    ]
    report.table(("hole", "area, cm²", "x, m", "y, m", "z, m"), rows)
    if found.num_holes > len(rows):
        report.text(f"{found.num_holes - len(rows)} smaller ones are not listed.")


def _painted(result: WatertightResult) -> Mesh:
    """The closed mesh with every face in the colour of where it came from."""
    mesh = result.mesh
    colors = np.where(result.is_patch[:, None], _INVENTED, _SCANNED).astype(np.uint8)
    faces = np.arange(3 * len(mesh.faces)).reshape(-1, 3)
    return Mesh(vertices=mesh.corners.reshape(-1, 3), faces=faces, colors=np.repeat(colors, 3, axis=0))


def _numbered(view: PictureView, holes: list[NDArray[np.float64]]) -> NDArray[np.uint8]:
    """The picture with the number of every hole that is seen in it."""
    image = view.image.copy()
    for number, center in enumerate(holes, start=1):
        point = view.T_view_mesh.apply(center)
        column, row = np.rint(view.camera.project(point)).astype(int).tolist()
        if not (0 <= row < image.shape[0] and 0 <= column < image.shape[1]):
            continue
        if point[2] < view.depth_m[row, column] + _BEHIND_M:  # NaN, where nothing is seen, compares false
            place = (column + 4, row - 4)
            for color, thickness in (((255, 255, 255), 4), ((20, 40, 150), 1)):
                cv2.circle(image, (column, row), 2, color, thickness, cv2.LINE_AA)
                cv2.putText(image, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thickness, cv2.LINE_AA)
    return image


def _in_a_row(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one subject side by side, without the white that all of them have at their sides."""
    is_used = np.any([(image < 255).any((0, 2)) for image in images], axis=0)
    first, last = np.flatnonzero(is_used)[[0, -1]]
    margin = max(0, min(int(first), len(is_used) - 1 - int(last)) - _GAP_PX)
    return side_by_side([image[:, margin : len(is_used) - margin] for image in images])


def _distances_mm(result: WatertightResult) -> NDArray[np.float64]:
    """Distances in mm of points drawn on the scan's outer surface to the closed mesh."""
    labels = result.labels
    faces = labels.faces[~labels.is_patch]
    points, _ = sample_surface(labels.vertices, faces, _NUM_MEASURED, np.random.default_rng(0))
    return SurfaceDistance(result.mesh.vertices, result.mesh.faces).closest(points).distance * 1e3
