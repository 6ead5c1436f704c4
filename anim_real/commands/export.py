"""Write a recording as images, coloured points and intrinsics, or a calibration target as printable files.

A recording (MKV): points are PLY with normals, in metres in the colour camera's frame. Frames are counted
from 0; without --frames every complete capture is a candidate, and --every thins them.

A target (a name in calibration/targets, or its TOML): true-size SVG and PDF of its faces to print, its mesh
with texture, and the positions of its corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from anim_real.console import Console, Result
from anim_real.errors import AnimRealError, ConfigError, DataError
from anim_real.files import atomic_folder, refuse_existing, write_json

_TEXTURE_PX = 4096


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to export.

    Attributes:
        source: an Azure Kinect recording (MKV), or the name or TOML of a calibration target.
        output: folder to write; must not exist.
        frames: indices of captures of a recording; all complete ones by default.
        every: of the candidates take every n-th.
    """

    source: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    frames: tuple[int, ...] = ()
    every: int = 1


def run(arguments: Arguments, console: Console) -> Result:
    """Export a recording or a target, whichever the source is."""
    from anim_real import resources

    is_target = arguments.source.suffix == ".toml" or str(arguments.source) in resources.names("calibration/targets")
    if is_target and not (arguments.source.is_file() and arguments.source.suffix != ".toml"):
        return _export_target(arguments)
    return _export_recording(arguments, console)


def _export_target(arguments: Arguments) -> Result:
    """Write the target's printable faces, mesh and corner positions (target frame, metres)."""
    from anim_real.calibrate.boards import corner_positions
    from anim_real.calibrate.printing import write_printables
    from anim_real.calibrate.targets import load_target, target_mesh
    from anim_real.mesh import save_mesh

    target = load_target(str(arguments.source))
    ids, points = corner_positions(target)
    with atomic_folder(arguments.output) as folder:
        printed = write_printables(target, folder)
        save_mesh(folder / f"{target.name}.glb", target_mesh(target, _TEXTURE_PX))
        corners = {str(number): point for number, point in zip(ids.tolist(), points.tolist(), strict=True)}
        write_json(folder / "corners.json", {"target": target.name, "unit": "m", "corners": corners})
    files = [path.name for path in printed] + [f"{target.name}.glb", "corners.json"]
    return Result(
        path=arguments.output,
        record={"target": target.name, "num_corners": len(ids), "files": files},
        lines=(f"{len(ids)} corners on {len(target.boards)} boards; print the PDF at 100 % and check its bar", *files),
    )


def _export_recording(arguments: Arguments, console: Console) -> Result:
    """Export the chosen captures; a capture that cannot be exported is listed and the rest is written."""
    from anim_real.capture.export import export_capture, write_intrinsics
    from anim_real.capture.k4a_mkv import open_recording

    if arguments.every < 1:
        raise ConfigError(f"--every {arguments.every} is not a positive number", where="export")
    refuse_existing(arguments.output)
    exported: list[dict[str, Any]] = []
    failures: list[str] = []
    with open_recording(arguments.source) as recording:
        complete = [int(i) for i in recording.stamps().is_complete.nonzero()[0]]
        chosen = (list(arguments.frames) or complete)[:: arguments.every]
        if not chosen:
            raise DataError(
                "no capture has both colour and depth", where=arguments.source, fix="Name captures with --frames"
            )
        with atomic_folder(arguments.output) as folder:
            write_intrinsics(recording, folder / "intrinsics.json")
            for index in console.progress(chosen, "export"):
                try:
                    exported.append(export_capture(recording, index, folder))
                except AnimRealError as error:
                    failures.append(f"capture {index}: {error}")
            if not exported:
                raise DataError(f"nothing could be exported: {failures[0]}", where=arguments.source)
    num_points = sum(entry.get("num_points", 0) for entry in exported)
    return Result(
        path=arguments.output,
        record={"recording": str(arguments.source), "captures": exported},
        lines=(f"{len(exported)} captures, {num_points:,} points (metres, colour camera frame)",),
        failures=tuple(failures),
    )
