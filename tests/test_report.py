"""The HTML report: one file, self-contained, escaped."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from anim_real.report import Report, curves, histogram, side_by_side


def test_the_report_is_one_file_without_network(tmp_path: Path, rng: np.random.Generator) -> None:
    report = Report("A & <b>")
    report.heading("Table")
    report.table(("name", "value"), [("x<y", 1.23456), ("ok", True), ("none", None)])
    report.picture(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8), "noise")
    report.chart(histogram(rng.normal(size=500), "mm"), "residuals")
    report.chart(curves({"loss": ([1, 2, 3], [3.0, 2.0, 1.0])}, "step", "loss", log=True), "loss")
    text = report.save(tmp_path / "report.html").read_text()
    assert "A &amp; &lt;b&gt;" in text
    assert "x&lt;y" in text
    assert ">1.235<" in text
    assert 'class="good">yes' in text
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', text)
    assert len(sources) == 3
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in text


def test_pictures_survive_the_embedding(tmp_path: Path, rng: np.random.Generator) -> None:
    image = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    report = Report("t")
    report.picture(image, "x")
    text = report.save(tmp_path / "r.html").read_text()
    payload = re.search(r"base64,([^\"]+)", text)
    assert payload is not None
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(payload.group(1)))))
    np.testing.assert_array_equal(decoded, image)


def test_side_by_side_pads_to_the_tallest() -> None:
    row = side_by_side([np.zeros((4, 3, 3), np.uint8), np.zeros((6, 5, 3), np.uint8)], gap_px=2)
    assert row.shape == (6, 12, 3)
    assert (row[4:, :3] == 255).all()
