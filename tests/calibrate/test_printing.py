"""Printed faces: true size, and readable by the detector once rasterised from the vectors."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from anim_real.calibrate.boards.detect import CornerDetector
from anim_real.calibrate.boards.patterns import rectangles, side_pattern
from anim_real.calibrate.boards.printing import side_svg, write_printables
from anim_real.calibrate.boards.targets import load_target


def test_rectangles_drawn_at_2_px_per_mm_show_all_corners_at_their_places():
    target = load_target("prism")
    image = np.full((1520, 600), 255, np.uint8)
    for x, y, width, height in rectangles(side_pattern(target, 2)) * 2000:
        image[round(y) : round(y + height), round(x) : round(x + width)] = 0
    found = CornerDetector(target).detect(image)
    board = target.boards[2]
    assert found.ids.tolist() == board.corner_ids.tolist()
    local = board.corners_board() * 1e3  # x right, y up from the centre of a 300 x 760 mm side
    expected = np.stack([local[:, 0] + 150, 380 - local[:, 1]], 1) * 2 - 0.5
    assert np.abs(found.pixels - expected).max() < 0.6


def test_svg_has_the_true_size_and_the_black_area():
    target = load_target("prism")
    root = ElementTree.fromstring(side_svg(target, 0))
    assert root.get("width") == "330mm"
    assert root.get("height") == "790mm"
    drawn = root.findall("{http://www.w3.org/2000/svg}path")[0].get("d")
    outlines = [np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", part), float) for part in drawn.split("z")[:-1]]
    areas = [np.ptp(outline, 0).prod() for outline in outlines]  # rectangles
    pattern = side_pattern(target, 0)
    expected = (pattern.is_black * np.outer(np.diff(pattern.y_edges), np.diff(pattern.x_edges))).sum() * 1e6
    assert sum(areas) == pytest.approx(expected, rel=1e-4)
    assert expected > 12 * 90 * 90  # the black squares alone


def test_files_are_written_for_every_board(tmp_path):
    written = write_printables(load_target("board"), tmp_path)
    assert [path.name for path in written] == ["board-side-0.svg", "board.pdf"]
    payload = written[1].read_bytes()
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", payload)
    assert box is not None
    assert [float(value) for value in box.groups()] == pytest.approx([710 / 25.4 * 72, 890 / 25.4 * 72], abs=0.1)
