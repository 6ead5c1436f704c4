"""One HTML file with text, tables and pictures; no network, no script, opens anywhere."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.files import write_text

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
body { color: #1b1f24; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #d0d7de; }
table { border-collapse: collapse; margin: .8rem 0; }
th, td { border: 1px solid #d0d7de; padding: .25rem .6rem; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } th { background: #f6f8fa; }
figure { display: inline-block; margin: .4rem .6rem .4rem 0; vertical-align: top; max-width: 100%; }
figure img { max-width: 100%; border: 1px solid #d0d7de; }
figcaption { font-size: .85rem; color: #57606a; max-width: 60ch; }
.good { color: #1a7f37; } .bad { color: #cf222e; }
"""


class Report:
    """Collects sections in order; ``save`` writes them as one file."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Start a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table; numbers are right-aligned, booleans become yes/no."""
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns if any(columns))
        body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Add a two-column table of names and values."""
        self.table(("", ""), facts.items())

    def picture(self, image: ArrayLike, caption: str, *, width_px: int | None = None) -> None:
        """Add an (H, W) or (H, W, 3) uint8 image."""
        from PIL import Image

        stream = io.BytesIO()
        picture = Image.fromarray(np.asarray(image, dtype=np.uint8))
        is_large = picture.width * picture.height > 150_000
        picture.save(stream, format="JPEG" if is_large else "PNG", **({"quality": 88} if is_large else {}))
        self._embed(stream.getvalue(), "jpeg" if is_large else "png", caption, width_px)

    def chart(self, figure: Any, caption: str) -> None:
        """Add a matplotlib figure as SVG and close it."""
        import matplotlib.pyplot as plt

        stream = io.BytesIO()
        figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
        self._embed(stream.getvalue(), "svg+xml", caption, None)

    def save(self, path: Path) -> Path:
        """Write the report atomically; return its path."""
        body = "\n".join(self._parts)
        write_text(
            path,
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>'
            f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n",
        )
        return path

    def _embed(self, payload: bytes, kind: str, caption: str, width_px: int | None) -> None:
        width = "" if width_px is None else f' width="{width_px}"'
        encoded = base64.b64encode(payload).decode("ascii")
        self._parts.append(
            f'<figure><img alt="{html.escape(caption)}" src="data:image/{kind};base64,{encoded}"{width}>'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )


def histogram(values: ArrayLike, label: str, *, bins: int = 60) -> Any:
    """Matplotlib figure: histogram of finite values with median and 95th percentile of the magnitude."""
    plt = _pyplot()
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    figure, axes = plt.subplots(figsize=(4.6, 2.8))
    axes.hist(values, bins=bins, color="#4c78a8")
    if values.size:
        axes.set_title(
            f"median {np.median(values):.3g}, 95 % of |·| below {np.percentile(np.abs(values), 95):.3g}", fontsize=9
        )
    axes.set_xlabel(label)
    axes.set_ylabel("count")
    axes.locator_params(axis="x", nbins=6)
    return figure


def curves(series: Mapping[str, tuple[ArrayLike, ArrayLike]], x_label: str, y_label: str, *, log: bool = False) -> Any:
    """Matplotlib figure: one line per named (x, y) pair."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(6.0, 3.2))
    for name, (x, y) in series.items():
        axes.plot(np.asarray(x), np.asarray(y), label=name, linewidth=1.3)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def scatter(x: ArrayLike, y: ArrayLike, x_label: str, y_label: str) -> Any:
    """Matplotlib figure: one dot per (x, y)."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(6.0, 3.2))
    axes.plot(np.asarray(x), np.asarray(y), ".", markersize=3)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    return figure


def side_by_side(images: Sequence[NDArray[np.uint8]], *, gap_px: int = 4) -> NDArray[np.uint8]:
    """Place (H, W, 3) images of equal height in one row on white."""
    height = max(image.shape[0] for image in images)
    padded = []
    for image in images:
        canvas = np.full((height, image.shape[1] + gap_px, 3), 255, dtype=np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image
        padded.append(canvas)
    return np.concatenate(padded, axis=1)


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return f'<td class="{"good" if value else "bad"}">{"yes" if value else "no"}</td>'
    if isinstance(value, int | float | np.integer | np.floating):
        text = f"{value:,}" if isinstance(value, int | np.integer) else f"{value:.4g}"
        return f'<td class="number">{text}</td>'
    return f"<td>{html.escape('–' if value is None else str(value))}</td>"


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
