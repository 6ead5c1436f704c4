"""How to build a target: what goes where, seen from above, and what to measure afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from anim_real.calibrate.boards.patterns import side_pattern
from anim_real.calibrate.boards.printing import page_mm
from anim_real.calibrate.boards.target import Target, side_frame
from anim_real.calibrate.boards.target_texture import draw_pattern
from anim_real.report import Report
from anim_real.target import BannerSpec, BoardSpec, MarkerSpec, PrismBody

_PICTURE_PX = 220


def assembly_page(target: Target) -> Report:
    """The page that goes with the printed sides."""
    report = Report(f"Building target {target.name}")
    report.text(target.spec.description)
    report.heading("Body")
    report.facts(_body_facts(target))
    parts, matter = "body", ""
    if target.spheres:
        parts, matter = "body, posts and spheres", ", and the spheres' centres for the fit"
    report.text(
        f"The STL holds the {parts} in millimetres with z up. Only its flat sides matter for the boards{matter}; "
        "matt white paint serves every sensor, gloss serves none."
    )
    spheres = " and spheres (s)" if target.spheres else ""
    report.chart(_seen_from_above(target), f"seen from above: sides{spheres}; the arrow leaves side 0, the front")
    report.heading("Sides")
    width, height = page_mm(target, target.boards[0].spec.side)
    report.text(
        f"Print {target.name}.pdf at 100 % (its pages measure {width:g} x {height:g} mm; a printer may cut their white "
        "margins), check the 100 mm bar with a ruler, cut along the crosses at the corners, and glue each sheet flat, "
        "upright, centred on its side. Sides are counted counter-clockwise seen from above."
    )
    report.table(("side", "what", "marker ids", "must measure, mm"), _side_rows(target))
    for side in sorted({board.spec.side for board in target.boards}):
        _, (width, height) = side_frame(target.spec, side)
        size = (_PICTURE_PX, round(_PICTURE_PX * height / width))
        report.picture(draw_pattern(side_pattern(target, side), *size), f"side {side}")
    if target.spheres:
        report.heading("Spheres")
        report.table(
            ("sphere", "x m", "y (up) m", "z m", "radius m", "post radius m"),
            [(k, *sphere.center, sphere.radius_m, sphere.post_radius_m) for k, sphere in enumerate(target.spheres)],
        )
    report.heading("Afterwards")
    report.text(
        "Measure the printed sizes of the table with a calliper. If they differ from the drawing by more than "
        "0.2 %, write the measured size into a copy of the target's TOML; its positions on the body need not be "
        "exact, for they are measured on the scan."
    )
    return report


def _body_facts(target: Target) -> dict[str, Any]:
    body = target.spec.body
    if isinstance(body, PrismBody):
        return {"prism": f"{body.sides} sides", "side, m": body.side_m, "height, m": body.height_m}
    return {"plate": "", "width, m": body.width_m, "height, m": body.height_m, "thickness, m": body.thickness_m}


def _side_rows(target: Target) -> list[tuple[Any, ...]]:
    rows = []
    for board in target.boards:
        match board.spec:
            case BoardSpec() as spec:
                what = f"ChArUco, {spec.columns} x {spec.rows} squares" + (", white on black" if spec.inverted else "")
                across, down = (count * spec.square_m * 1e3 for count in (spec.columns, spec.rows))
                size = f"squares {spec.square_m * 1e3:g}; all of them {across:g} x {down:g}"
            case MarkerSpec() as spec:
                what, size = f"marker of {target.spec.dictionary}", f"{spec.marker_m * 1e3:g}"
            case BannerSpec() as spec:
                what, size = "LiveScan3D banner", f"{spec.width_m * 1e3:g} x {spec.height_m * 1e3:g}"
        ids = board.spec.marker_ids
        rows.append((board.spec.side, what, str(ids[0]) if len(ids) == 1 else f"{ids[0]} to {ids[-1]}", size))
    return sorted(rows, key=lambda row: row[0])


def _seen_from_above(target: Target) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.2, 4.2))
    sides = [side_frame(target.spec, side) for side in range(target.spec.body.num_sides)]
    reach = max(float(np.hypot(*pose.translation[[0, 2]]) + width) for pose, (width, _) in sides)
    for side, (pose, (width, _)) in enumerate(sides):
        ends = pose.apply(np.array([[-width / 2, 0, 0], [width / 2, 0, 0]]))
        axes.plot(ends[:, 0], ends[:, 2], color="black")
        out, middle = pose.rotation[[0, 2], 2], ends.mean(0)[[0, 2]]
        label_x, label_z = middle + 0.07 * reach * out
        axes.text(label_x, label_z, str(side), ha="center", va="center")
        if side == 0:
            (x, z), (along_x, along_z) = middle + 0.14 * reach * out, 0.16 * reach * out
            width_m = 0.008 * reach
            axes.arrow(x, z, along_x, along_z, width=width_m, color="#cf222e", length_includes_head=True)
    for index, sphere in enumerate(target.spheres):
        axes.add_patch(plt.Circle((sphere.center[0], sphere.center[2]), sphere.radius_m, color="#9ab"))
        axes.text(sphere.center[0], sphere.center[2], f"s{index}", ha="center", va="center", fontsize=8)
    axes.set_aspect("equal")
    axes.margins(0.18)
    axes.invert_yaxis()  # +z, where side 0 looks, is down
    axes.set_xlabel("x, m")
    axes.set_ylabel("z, m")
    return figure
