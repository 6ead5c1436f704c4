"""Printable faces of a target, at true size: SVG and PDF, one page per side, with a 100 mm bar to check the print.

Units in the files are millimetres (SVG) and points (PDF).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards import Pattern, Target, side_frame, side_pattern
from anim_real.files import atomic_path, write_text

_MARGIN_MM = 15.0
_BAR_MM = 100.0
_POINTS_PER_MM = 72.0 / 25.4


def write_printables(target: Target, folder: Path) -> list[Path]:
    """Write ``<target>-side-<k>.svg`` for every board and ``<target>.pdf`` with all of them; return the files."""
    sides = sorted(board.spec.side for board in target.boards)
    written = []
    for side in sides:
        path = folder / f"{target.name}-side-{side}.svg"
        write_text(path, side_svg(target, side))
        written.append(path)
    path = folder / f"{target.name}.pdf"
    with atomic_path(path) as partial:
        _write_pdf(target, sides, partial)
    return [*written, path]


def side_svg(target: Target, side: int) -> str:
    """SVG text of one side at true size, with cutting line, label and bar."""
    _, (width_m, height_m) = side_frame(target.spec, side)
    width, height = width_m * 1e3, height_m * 1e3
    page_width, page_height = width + 2 * _MARGIN_MM, height + 2 * _MARGIN_MM
    path = "".join(
        f"M{_mm(x)} {_mm(y)}h{_mm(w)}v{_mm(h)}h{_mm(-w)}z" for x, y, w, h in rectangles_mm(side_pattern(target, side))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_mm(page_width)}mm" height="{_mm(page_height)}mm" '
        f'viewBox="{_mm(-_MARGIN_MM)} {_mm(-_MARGIN_MM)} {_mm(page_width)} {_mm(page_height)}">\n'
        f'<rect width="{_mm(width)}" height="{_mm(height)}" fill="white" stroke="#999" stroke-width="0.1"/>\n'
        f'<path d="{path}" fill="black" shape-rendering="crispEdges"/>\n'
        f'<path d="M0 {_mm(height + 5)}h{_mm(_BAR_MM)}" stroke="black" stroke-width="0.5"/>\n'
        f'<text x="{_mm(_BAR_MM + 3)}" y="{_mm(height + 6.5)}" font-size="4" font-family="sans-serif">'
        f"{_label(target, side)}</text>\n"
        "</svg>\n"
    )


def rectangles_mm(pattern: Pattern) -> NDArray[np.float64]:
    """(N, 4) x, y, width, height of the black areas in millimetres; runs of black cells in a row are one rectangle."""
    boxes = []
    for row, cells in enumerate(pattern.is_black):
        edges = np.flatnonzero(np.diff(np.r_[False, cells, False].astype(int)))
        top, bottom = pattern.y_edges[row], pattern.y_edges[row + 1]
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            left, right = pattern.x_edges[start], pattern.x_edges[stop]
            boxes.append((left, top, right - left, bottom - top))
    return np.array(boxes, dtype=np.float64).reshape(-1, 4) * 1e3


def _write_pdf(target: Target, sides: list[int], path: Path) -> None:
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    with PdfPages(path, metadata={"CreationDate": None, "Title": f"calibration target {target.name}"}) as pages:
        for side in sides:
            _, (width_m, height_m) = side_frame(target.spec, side)
            width, height = width_m * 1e3 + 2 * _MARGIN_MM, height_m * 1e3 + 2 * _MARGIN_MM
            figure = Figure(figsize=(width / 25.4, height / 25.4))
            axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
            axes.set_axis_off()
            axes.set_xlim(-_MARGIN_MM, width - _MARGIN_MM)
            axes.set_ylim(height - _MARGIN_MM, -_MARGIN_MM)
            x, y, w, h = rectangles_mm(side_pattern(target, side)).T
            corners = np.stack(
                [np.stack([x, y], 1), np.stack([x + w, y], 1), np.stack([x + w, y + h], 1), np.stack([x, y + h], 1)], 1
            )
            axes.add_collection(
                PolyCollection(list(corners), facecolors="black", edgecolors="none", antialiaseds=False)
            )
            bottom = height - 2 * _MARGIN_MM
            axes.plot(
                [0, width - 2 * _MARGIN_MM] * 2,
                [0, 0, bottom, bottom],
                linestyle="none",
                marker="+",
                color="#999",
                markersize=4,
            )
            axes.plot([0, _BAR_MM], [bottom + 5, bottom + 5], color="black", linewidth=0.5 * _POINTS_PER_MM)
            axes.text(_BAR_MM + 3, bottom + 6.5, _label(target, side), fontsize=4 * _POINTS_PER_MM * 0.7)
            pages.savefig(figure)


def _label(target: Target, side: int) -> str:
    board = next(board.spec for board in target.boards if board.spec.side == side)
    return f"{target.name}, side {side}: squares {board.square_m * 1e3:g} mm; the bar is {_BAR_MM:g} mm"


def _mm(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
