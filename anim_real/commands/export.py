"""Write frames of a recording as images, coloured points (PLY with normals) and intrinsics.

Points are in metres in the colour camera's frame. Frames are counted from 0; without --frames
every complete capture is a candidate, and --every thins them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from anim_real.console import Console, Result
from anim_real.errors import AnimRealError, ConfigError, DataError
from anim_real.files import atomic_folder, refuse_existing


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to export.

    Attributes:
        recording: an Azure Kinect recording (MKV).
        output: folder to write; must not exist.
        frames: indices of captures; all complete ones by default.
        every: of the candidates take every n-th.
    """

    recording: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    frames: tuple[int, ...] = ()
    every: int = 1


def run(arguments: Arguments, console: Console) -> Result:
    """Export the chosen captures; a capture that cannot be exported is listed and the rest is written."""
    from anim_real.capture.export import export_capture, write_intrinsics
    from anim_real.capture.k4a_mkv import open_recording

    if arguments.every < 1:
        raise ConfigError(f"--every {arguments.every} is not a positive number", where="export")
    refuse_existing(arguments.output)
    exported: list[dict[str, Any]] = []
    failures: list[str] = []
    with open_recording(arguments.recording) as recording:
        complete = [int(i) for i in recording.stamps().is_complete.nonzero()[0]]
        chosen = (list(arguments.frames) or complete)[:: arguments.every]
        if not chosen:
            raise DataError(
                "no capture has both colour and depth", where=arguments.recording, fix="Name captures with --frames"
            )
        with atomic_folder(arguments.output) as folder:
            write_intrinsics(recording, folder / "intrinsics.json")
            for index in console.progress(chosen, "export"):
                try:
                    exported.append(export_capture(recording, index, folder))
                except AnimRealError as error:
                    failures.append(f"capture {index}: {error}")
            if not exported:
                raise DataError(f"nothing could be exported: {failures[0]}", where=arguments.recording)
    num_points = sum(entry.get("num_points", 0) for entry in exported)
    return Result(
        path=arguments.output,
        record={"recording": str(arguments.recording), "captures": exported},
        lines=(f"{len(exported)} captures, {num_points:,} points (metres, colour camera frame)",),
        failures=tuple(failures),
    )
