"""List the depth cameras that are connected: serial number, model, firmware, library, sync cables, USB speed.

A backend whose SDK is not installed is listed with the reason; exit code 5 only if no backend could be asked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from anim_real.commands.jobs.cameras import survey_cameras
from anim_real.console import Console, Result
from anim_real.depth_camera import CameraInfo

_JACK = {True: "plugged in", False: "empty", None: "unknown"}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Flags of ``devices``."""

    backend: Literal["auto", "pyk4a", "orbbec"] = "auto"
    """Whom to ask: pyk4a (libk4a, Microsoft's or Orbbec's), orbbec (Orbbec's SDK), or both."""

    orbbec_python: Path | None = None
    """Interpreter that has pyorbbecsdk; by default the one that ANIM_REAL_ORBBEC_PYTHON names."""


def run(arguments: Arguments, _console: Console) -> Result:
    """Ask the backends and show what they found; errors are those of ``jobs.cameras.survey_cameras``."""
    cameras, missing = survey_cameras(arguments.backend, python=arguments.orbbec_python)
    lines = [line for camera in cameras for line in _lines(camera)] or ["no camera is connected"]
    lines += [f"{name} was not asked: {error}" for name, error in missing.items()]
    record = {
        "devices": [asdict(camera) for camera in cameras],
        "missing": {name: str(error) for name, error in missing.items()},
    }
    return Result(record=record, lines=tuple(lines))


def _lines(camera: CameraInfo) -> list[str]:
    firmware = [f"{part} {text}" for part, text in _firmware(camera).items() if text]
    facts = {
        "library": camera.library,
        "firmware": ", ".join(firmware) or "unknown",
        "usb": camera.usb or "unknown",
        "sync": f"in {_JACK[camera.cables.sync_in]}, out {_JACK[camera.cables.sync_out]}",
        "problem": camera.problem,
    }
    head = f"{camera.serial or '(serial unknown)'}  {camera.model}  [{camera.backend}]"
    return [head, *(f"  {name:<9}{text}" for name, text in facts.items() if text)]


def _firmware(camera: CameraInfo) -> dict[str, str]:
    return {"colour": camera.color_firmware, "depth": camera.depth_firmware}
