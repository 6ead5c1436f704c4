"""Cameras of a solved calibration or an imported list, written in the formats of other tools with a page about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anim_real.calibration import Calibration, load_calibration
from anim_real.errors import DataError
from anim_real.files import atomic_folder, read_json, write_text
from anim_real.interchange.camera_list import SCHEMA, calibration_cameras
from anim_real.interchange.formats import FORMATS, LIST, read_cameras, write_cameras
from anim_real.interchange.posed import PosedCamera, common_reference
from anim_real.interchange.radtan import LensFit

PAGE = "README.txt"


@dataclass(frozen=True, kw_only=True)
class CameraFiles:
    """What was written.

    Attributes:
        cameras: their names.
        reference: frame of the poses.
        locations: file or folder by format.
        fits: of lenses that a format could not hold, by format and camera.
        failures: formats that could not hold the cameras, one sentence each.
    """

    cameras: tuple[str, ...]
    reference: str
    locations: dict[str, str]
    fits: dict[str, dict[str, LensFit]]
    failures: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        residuals = {
            name: {camera: {"rms_px": fit.rms_px, "max_px": fit.max_px} for camera, fit in fits.items()}
            for name, fits in self.fits.items()
        }
        return {
            "cameras": list(self.cameras),
            "reference": self.reference,
            "files": self.locations,
            "lens_residuals": residuals,
        }

    def residual_lines(self) -> list[str]:
        """One line per approximated lens."""
        return [
            f"{name}: {camera} has the nearest lens of four coefficients, {fit.rms_px:.2f} px rms and "
            f"{fit.max_px:.1f} px at most from its own"
            for name, fits in self.fits.items()
            for camera, fit in fits.items()
            if fit.max_px > 0
        ]


def export_cameras(source: Path, output: Path, formats: Sequence[str]) -> CameraFiles:
    """Write the cameras of ``source`` into the folder ``output``, one file or folder per format, and ``README.txt``.

    Args:
        source: a calibration or a camera list (JSON).
        output: must not exist.
        formats: names of ``FORMATS``.

    Raises:
        RefusedError: the calibration was refused.
        DataError: no format can hold the cameras; one that cannot is listed as a failure.
        ConfigError: the output exists.
    """
    cameras, calibration = _load(source)
    locations: dict[str, str] = {}
    fits: dict[str, dict[str, LensFit]] = {}
    failures: list[str] = []
    with atomic_folder(output) as folder:
        for name in formats:
            try:
                fits[name] = write_cameras(name, folder, cameras)
                locations[name] = FORMATS[name].location
            except DataError as error:
                failures.append(f"{name}: {error}")
        if not locations:
            raise DataError(f"no format can hold these cameras: {failures[0]}", where=source)
        written = CameraFiles(
            cameras=tuple(posed.name for posed in cameras),
            reference=common_reference(cameras),
            locations=locations,
            fits=fits,
            failures=tuple(failures),
        )
        write_text(folder / PAGE, _page(written, calibration))
    return written


def _load(source: Path) -> tuple[tuple[PosedCamera, ...], Calibration | None]:
    table = read_json(source)
    if isinstance(table, dict) and table.get("schema") == SCHEMA:
        return read_cameras(source, LIST), None
    calibration = load_calibration(source)
    return calibration_cameras(calibration), calibration


def _page(written: CameraFiles, calibration: Calibration | None) -> str:
    lines = [
        f"Cameras: {', '.join(written.cameras)}.",
        f"Reference frame of the poses: {written.reference}.",
        "Camera axes: x right, y down, z forward. Lengths are metres, intrinsics are pixels.",
        "T_a_b maps points of frame b to frame a: p_a = T_a_b p_b.",
        "",
    ]
    for name, location in written.locations.items():
        lines.append(f"{location}: {FORMATS[name].conventions}")
    lines += [*(f"  {line}" for line in written.residual_lines()), ""]
    lines += [f"Not written: {failure}" for failure in written.failures]
    if calibration is not None:
        lines.append(
            "No format holds the depth bias. Correct depth before use: z' = (z_measured - offset) / (1 + slope), then"
            " z = z' - curve(z' s) / s, s = the length of the pixel's ray at z = 1; linear between knots, zero beyond."
        )
        for name, sensor in calibration.sensors.items():
            bias = sensor.depth_bias
            lines.append(f"  {name}: offset {bias.offset_m:+.6f} m, slope {bias.slope:+.6f}")
            lines += [f"    curve at {at:.3f} m: {error:+.6f} m (± {sigma:.6f})" for at, error, sigma in bias.curve]
    return "\n".join([*lines, ""])
