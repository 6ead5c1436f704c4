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
from anim_real.report import Report, histogram, side_by_side

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
    for line in found.lines():
        report.text(line)
    report.heading("Where surface was invented")
    report.text(
        f"Orange closed a hole: {found.num_holes} places, {found.invented_area_m2 * 1e4:.1f} cm² "
        f"({found.invented_share:.2%} of the surface). Numbers are the rows of the table."
    )
    painted, holes = _painted(result), [np.array(hole.center_m) for hole in found.holes[:_LISTED_HOLES]]
    views = [picture_view(painted, yaw, _PICTURE_PX, up) for yaw in _YAWS_DEG]
    report.picture(_in_a_row([_numbered(view, holes) for view in views]), "closed scan from four sides")
    raw = [picture_view(scan, yaw, _PICTURE_PX, up).image for yaw in _YAWS_DEG]
    report.picture(_in_a_row(raw), "raw scan from the same sides")
    if holes:
        _add_holes(report, found)

    report.heading("How near the closed mesh is to the scan")
    report.facts({"scan to mesh": str(found.scan_to_mesh), "mesh to scan, holes excluded": str(found.mesh_to_scan)})
    report.chart(
        histogram(_distances_mm(result), "distance of the scan's outer surface to the closed mesh, mm"),
        f"{_NUM_MEASURED:,} points drawn evenly on the scan; cell {found.cell_m * 1e3:.2f} mm",
    )


def _add_holes(report: Report, found: WatertightReport) -> None:
    rows = [
        (number, round(hole.area_m2 * 1e4, 2), *(round(value, 3) for value in hole.center_m))
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
