"""What ``calibrate-intrinsics`` tells of a camera: as a record, as lines, and as a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.lenses.intrinsics import BoardIntrinsics
from anim_real.calibrate.lenses.ray_field import RayFieldDifference
from anim_real.geometry.cameras import Camera
from anim_real.report import Report, histogram

Array = NDArray[np.float64]
_NUM_WORST = 3
_LENS_NAMES = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


@dataclass(frozen=True, kw_only=True, eq=False)
class SolvedIntrinsics:
    """One solved camera.

    Attributes:
        stream: color or ir.
        num_images: images read.
        result: the camera and its evidence.
        factory: what it is compared with.
        difference: its ray field against the factory's where corners were seen.
        remark: that boards are printed the other way than declared.
        sample: a grey image and the corners (N, 2) found in it.
    """

    stream: str
    num_images: int
    result: BoardIntrinsics
    factory: Camera | None
    difference: RayFieldDifference | None
    remark: str | None
    sample: tuple[NDArray[np.uint8], Array] | None

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        result = self.result
        return {
            "camera": camera_record(result.camera),
            "lens": result.lens,
            "std": result.std,
            "rms_px": result.rms_px,
            "held_out_rms_px": result.held_out_rms_px if np.isfinite(result.held_out_rms_px) else None,
            "num_images": self.num_images,
            "views": [
                {"name": fit.view.name, "corners": len(fit.view.ids), "rms_px": fit.rms_px, "tilt_deg": fit.tilt_deg,
                 "distance_m": float(np.linalg.norm(fit.translation))}
                for fit in result.views
            ],
            "left_out": [{"name": name, "reason": reason} for name, reason in result.left_out],
            "corners_left_out": result.num_corners_left_out,
            "coverage": result.coverage.tolist(),
            "covered_share": result.covered_share,
            "normal_spread_deg": result.normal_spread_deg,
            "factory": None if self.factory is None else camera_record(self.factory),
            "against_factory": None if self.difference is None else self.difference.summary(),
            "remark": self.remark,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For people."""
        result, camera = self.result, self.result.camera
        held_out = f"{result.held_out_rms_px:.3f} px" if np.isfinite(result.held_out_rms_px) else "not measurable"
        lines = [
            f"{self.stream}: {len(result.views)} views of {self.num_images} images, {len(result.left_out)} left out, "
            f"lens {result.lens}",
            f"{self.stream}: f {camera.fx:.2f} ± {result.std['fx']:.2f}, {camera.fy:.2f} ± {result.std['fy']:.2f} px; "
            f"centre {camera.cx:.2f} ± {result.std['cx']:.2f}, {camera.cy:.2f} ± {result.std['cy']:.2f} px",
            f"{self.stream}: residual {result.rms_px:.3f} px, of held-out views {held_out}; "
            f"corners in {result.covered_share:.0%} of the image",
            f"{self.stream}: {_per_view(result)}",
        ]
        if self.difference is not None:
            told = self.difference.summary()
            lines.append(
                f"{self.stream}: against the factory {told['rms_mrad']:.2f} mrad = {told['rms_px']:.2f} px rms, "
                f"{told['max_px']:.2f} px at most, after a rotation of {told['rotation_deg']:.3f} degrees"
            )
        return lines if self.remark is None else [*lines, f"{self.stream}: {self.remark}"]


def _per_view(result: BoardIntrinsics) -> str:
    """The residuals of single views, in a line: all of them are in the record and on the page."""
    ordered = sorted(result.views, key=lambda fit: -fit.rms_px)
    worst = ", ".join(f"{fit.view.name} {fit.rms_px:.3f}" for fit in ordered[:_NUM_WORST])
    middle = float(np.median([fit.rms_px for fit in ordered]))
    return f"per view {ordered[-1].rms_px:.3f} to {ordered[0].rms_px:.3f} px, median {middle:.3f}; largest {worst}"


def camera_record(camera: Camera) -> dict[str, Any]:
    """Intrinsics as JSON: px, integer pixel centres."""
    return {
        "width": camera.width,
        "height": camera.height,
        "fx": camera.fx,
        "fy": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "distortion": dict(zip(_LENS_NAMES, camera.distortion.tolist(), strict=True)),
    }


def intrinsics_page(solved: list[SolvedIntrinsics], target: str) -> Report:
    """The page of one run."""
    report = Report(f"Intrinsics from images of target {target}")
    for item in solved:
        _add(report, item)
    return report


def _add(report: Report, item: SolvedIntrinsics) -> None:
    result = item.result
    report.heading(f"{item.stream}: {len(result.views)} views, lens {result.lens}")
    for line in item.lines():
        report.text(line)
    camera = result.camera
    values = dict(zip(("fx", "fy", "cx", "cy"), (camera.fx, camera.fy, camera.cx, camera.cy), strict=True))
    values |= dict(zip(_LENS_NAMES, camera.distortion.tolist(), strict=True))
    factory = item.factory
    of_factory = {} if factory is None else {k: getattr(factory, k) for k in ("fx", "fy", "cx", "cy")}
    if factory is not None:
        of_factory |= dict(zip(_LENS_NAMES, factory.distortion.tolist(), strict=True))
    report.table(
        ("parameter", "value", "std", "factory"),
        [(name, value, result.std.get(name), of_factory.get(name)) for name, value in values.items()],
    )
    if item.sample is not None:
        report.picture(_overlay(*item.sample), "corners found in one of the images")
    report.chart(_coverage_chart(item), "where corners were seen, and their residuals 20 times enlarged")
    residuals = np.concatenate([fit.residuals for fit in result.views])
    report.chart(histogram(np.linalg.norm(residuals, axis=1), "residual, px"), "all corners used")
    if item.difference is not None:
        report.chart(_difference_chart(item.difference), "ray field against the factory's, rotation taken out, px")
    report.table(
        ("view", "corners", "rms px", "tilt deg", "distance m"),
        [(f.view.name, len(f.view.ids), f.rms_px, f.tilt_deg, float(np.linalg.norm(f.translation)))
         for f in result.views],
    )  # fmt: skip
    report.table(("left out", "why"), result.left_out)


def _overlay(grey: NDArray[np.uint8], pixels: Array) -> NDArray[np.uint8]:
    import cv2

    shown = np.ascontiguousarray(np.repeat(grey[..., None], 3, 2))
    for x, y in np.rint(pixels).astype(int).tolist():
        cv2.drawMarker(shown, (x, y), (220, 30, 30), cv2.MARKER_CROSS, max(5, grey.shape[1] // 100), 1)
    return shown


def _coverage_chart(item: SolvedIntrinsics) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.0, 4.2))
    camera = item.result.camera
    for fit in item.result.views:
        axes.quiver(
            *fit.view.pixels.T, *(fit.residuals.T * 20), angles="xy", scale_units="xy", scale=1, width=0.002,
            color="#4c78a8",
        )  # fmt: skip
    axes.set_xlim(-0.5, camera.width - 0.5)
    axes.set_ylim(camera.height - 0.5, -0.5)
    axes.set_aspect("equal")
    return figure


def _difference_chart(difference: RayFieldDifference) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.0, 4.2))
    shown = axes.pcolormesh(
        difference.pixels[..., 0], difference.pixels[..., 1], np.linalg.norm(difference.shift_px, axis=-1),
        shading="nearest", cmap="viridis",
    )  # fmt: skip
    axes.invert_yaxis()
    axes.set_aspect("equal")
    figure.colorbar(shown, ax=axes, label="px")
    return figure
