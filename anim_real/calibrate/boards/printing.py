"""Printable faces of a target, at true size: SVG and PDF, one page per side, with a 100 mm bar to check the print.

Units in the files are millimetres (SVG) and points (PDF).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.patterns import Pattern, rectangles, side_pattern
from anim_real.calibrate.boards.target import Target, side_frame
from anim_real.files import atomic_path, write_text
from anim_real.target import BannerSpec, BoardSpec, MarkerSpec

_MARGIN_MM = 15.0
_BAR_MM = 100.0
_POINTS_PER_MM = 72.0 / 25.4


def write_printables(target: Target, folder: Path) -> list[Path]:
    """Write ``<target>-side-<k>.svg`` for every board and ``<target>.pdf`` with all of them; return the files."""
    sides = sorted({board.spec.side for board in target.boards})
    written = []
    for side in sides:
        path = folder / f"{target.name}-side-{side}.svg"
        write_text(path, side_svg(target, side))
        written.append(path)
    path = folder / f"{target.name}.pdf"
    with atomic_path(path) as partial:
        _write_pdf(target, sides, partial)
    return [*written, path]


def page_mm(target: Target, side: int) -> tuple[float, float]:
    """Width and height of the page that a side is printed on."""
    _, (width_m, height_m) = side_frame(target.spec, side)
    return width_m * 1e3 + 2 * _MARGIN_MM, height_m * 1e3 + 2 * _MARGIN_MM


def side_svg(target: Target, side: int) -> str:
    """SVG text of one side at true size, with cutting line, label and bar."""
    _, (width_m, height_m) = side_frame(target.spec, side)
    width, height = width_m * 1e3, height_m * 1e3
    page_width, page_height = page_mm(target, side)
    path = "".join(
        "M" + "L".join(f"{_mm(x)} {_mm(y)}" for x, y in outline) + "z"
        for outline in black_mm(side_pattern(target, side))
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


def black_mm(pattern: Pattern) -> list[NDArray[np.float64]]:
    """Outlines (K, 2) of the black areas in millimetres: rectangles, then triangles."""
    boxes = rectangles(pattern) * 1e3
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    return [box[:2] + unit * box[2:] for box in boxes] + list(pattern.triangles * 1e3)


def _write_pdf(target: Target, sides: list[int], path: Path) -> None:
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    with PdfPages(path, metadata={"CreationDate": None, "Title": f"calibration target {target.name}"}) as pages:
        for side in sides:
            width, height = page_mm(target, side)
            figure = Figure(figsize=(width / 25.4, height / 25.4))
            axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
            axes.set_axis_off()
            axes.set_xlim(-_MARGIN_MM, width - _MARGIN_MM)
            axes.set_ylim(height - _MARGIN_MM, -_MARGIN_MM)
            outlines = black_mm(side_pattern(target, side))
            axes.add_collection(PolyCollection(outlines, facecolors="black", edgecolors="none", antialiaseds=False))
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
    match board:
        case BoardSpec():
            what = f"squares {board.square_m * 1e3:g} mm"
        case MarkerSpec():
            what = f"markers {board.marker_m * 1e3:g} mm"
        case BannerSpec():
            what = f"black shape {board.width_m * 1e3:g} x {board.height_m * 1e3:g} mm"
    return f"{target.name}, side {side}: {what}; the bar is {_BAR_MM:g} mm"


def _mm(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
