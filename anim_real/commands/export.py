"""Write a recording as images, points and cameras, a calibration as other tools' files, or a target to print.

A recording (MKV): points are PLY with normals, in metres in the colour camera's frame (of a capture without
colour, in the depth camera's); the cameras are written as JSON, OpenCV YAML, COLMAP text and Open3D JSON. Frames
are counted from 0. Without --frames every complete capture is a candidate, or every capture if none is complete
(a recording of depth, IR or colour alone); --start and --end narrow them, --every thins them.

A calibration or a list of imported cameras (JSON): the colour and depth camera of every sensor in the formats of
--formats, poses from the scan's frame, with README.txt about frames, directions and what each format loses.

A target (a name in calibration/targets, or its TOML): true-size SVG and PDF of its faces to print, its mesh
with texture, and the positions of its corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from anim_real.console import Console, Result
from anim_real.errors import AnimRealError, ConfigError, DataError
from anim_real.files import atomic_folder, refuse_existing, write_bytes, write_json
from anim_real.flags import require_range

if TYPE_CHECKING:
    from anim_real.capture.recording.k4a_mkv import Recording

CameraFormat = Literal["opencv", "colmap", "open3d", "kalibr", "multical", "easymocap"]
_FORMATS: tuple[CameraFormat, ...] = ("opencv", "colmap", "open3d", "kalibr", "multical", "easymocap")
_TEXTURE_PX = 4096
_SPOKEN = {"color": "colour", "depth": "depth"}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to export.

    Attributes:
        source: an Azure Kinect recording (MKV), a calibration or camera list (JSON), or the name or TOML of a target.
        output: folder to write; must not exist.
        frames: indices of captures of a recording; all complete ones by default.
        start: leave out captures before this time, in seconds since the first capture.
        end: leave out captures from this time on, in seconds since the first capture.
        every: of the candidates take every n-th.
        rectified: also write colour and depth images without lens distortion, aligned pixel by pixel; their
            camera is rectified.open3d.json.
        formats: of a calibration or camera list, the formats to write.
    """

    source: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    frames: tuple[int, ...] = ()
    start: float | None = None
    end: float | None = None
    every: int = 1
    rectified: bool = False
    formats: tuple[CameraFormat, ...] = _FORMATS


def run(arguments: Arguments, console: Console) -> Result:
    """Export a recording, cameras or a target, whichever the source is."""
    from anim_real import resources

    if arguments.source.suffix.lower() == ".json":
        return _export_cameras(arguments)
    is_target = arguments.source.suffix == ".toml" or str(arguments.source) in resources.names("calibration/targets")
    if is_target and not (arguments.source.is_file() and arguments.source.suffix != ".toml"):
        return _export_target(arguments)
    return _export_recording(arguments, console)


def _export_cameras(arguments: Arguments) -> Result:
    """Write the cameras of a calibration or list; a format that cannot hold them is a failure."""
    from anim_real.commands.jobs.camera_files import PAGE, export_cameras

    if not arguments.formats:
        raise ConfigError("names no format", where="--formats", fix=f"Known: {', '.join(_FORMATS)}")
    written = export_cameras(arguments.source, arguments.output, tuple(dict.fromkeys(arguments.formats)))
    return Result(
        path=arguments.output,
        record=written.record(),
        lines=(
            f"{len(written.cameras)} cameras, poses from {written.reference}: {', '.join(written.cameras)}",
            *written.residual_lines(),
            f"{', '.join(written.locations.values())}; {PAGE} tells their conventions",
        ),
        failures=written.failures,
    )


def _export_target(arguments: Arguments) -> Result:
    """Write the target's printable faces, mesh, solid, corner positions (target frame, metres) and assembly page."""
    from anim_real.calibrate.boards.printing import write_printables
    from anim_real.calibrate.boards.solid import target_stl
    from anim_real.calibrate.boards.target import corner_positions
    from anim_real.calibrate.boards.targets import load_target, target_mesh
    from anim_real.commands.jobs.target_page import assembly_page
    from anim_real.mesh import save_mesh
    from anim_real.resources import find
    from anim_real.target import is_geometry_target

    if is_geometry_target(str(arguments.source)):
        raise ConfigError(
            "is known by its shape alone: there is nothing to print",
            where=find("calibration/targets", str(arguments.source)),
            fix="Scan the object itself, or name a target with boards",
        )
    target = load_target(str(arguments.source))
    ids, points = corner_positions(target)
    with atomic_folder(arguments.output) as folder:
        printed = write_printables(target, folder)
        save_mesh(folder / f"{target.name}.glb", target_mesh(target, _TEXTURE_PX))
        write_bytes(folder / f"{target.name}.stl", target_stl(target))
        assembly_page(target).save(folder / "assembly.html")
        corners = {str(number): point for number, point in zip(ids.tolist(), points.tolist(), strict=True)}
        write_json(folder / "corners.json", {"target": target.name, "unit": "m", "corners": corners})
    files = [path.name for path in printed] + [
        f"{target.name}.glb",
        f"{target.name}.stl",
        "corners.json",
        "assembly.html",
    ]
    return Result(
        path=arguments.output,
        record={"target": target.name, "num_corners": len(ids), "files": files},
        lines=(f"{len(ids)} corners on {len(target.boards)} boards; print the PDF at 100 % and check its bar", *files),
    )


def _export_recording(arguments: Arguments, console: Console) -> Result:
    """Export the chosen captures; a capture that cannot be exported is listed and the rest is written."""
    from anim_real.capture.export import device_cameras, export_capture, write_cameras
    from anim_real.capture.recording.k4a_mkv import open_recording

    if arguments.every < 1:
        raise ConfigError(f"--every {arguments.every} is not a positive number", where="export")
    for flag, seconds in (("--start", arguments.start), ("--end", arguments.end)):
        if seconds is not None:
            require_range(flag, seconds, 0.0, unit="s")
    if set(arguments.formats) != set(_FORMATS):
        raise ConfigError(
            "a recording's cameras are written as JSON, OpenCV YAML, COLMAP and Open3D JSON", where="--formats",
            fix="Leave it out",
        )  # fmt: skip
    if arguments.frames and (arguments.start is not None or arguments.end is not None):
        raise ConfigError("--frames names captures, --start and --end choose them", where="export", fix="Give one")
    refuse_existing(arguments.output)
    exported: list[dict[str, Any]] = []
    failures: list[str] = []
    with open_recording(arguments.source) as recording:
        chosen = (list(dict.fromkeys(arguments.frames)) or _candidates(recording, arguments))[:: arguments.every]
        cameras = device_cameras(recording)
        with atomic_folder(arguments.output) as folder:
            shared = write_cameras(recording, cameras, folder)
            for index in console.progress(chosen, "export"):
                try:
                    exported.append(export_capture(recording, cameras, index, folder, rectified=arguments.rectified))
                except AnimRealError as error:
                    failures.append(f"capture {index}: {error}")
            if not exported:
                raise DataError(f"nothing could be exported: {failures[0]}", where=arguments.source)
    num_points = sum(entry.get("num_points", 0) for entry in exported)
    num_incomplete = sum(not entry["is_complete"] for entry in exported)
    frames = sorted({_SPOKEN[entry["points_frame"]] for entry in exported if "points_frame" in entry})
    of_points = (
        f", {num_points:,} points (metres, frame of the {' or '.join(frames)} camera)" if frames else ", no points"
    )
    return Result(
        path=arguments.output,
        record={"recording": str(arguments.source), "cameras": shared, "captures": exported},
        lines=(
            f"{len(exported)} {'capture' if len(exported) == 1 else 'captures'} "
            f"({num_incomplete} without colour or depth){of_points}",
        ),
        failures=tuple(failures),
    )


def _candidates(recording: Recording, arguments: Arguments) -> list[int]:
    """Complete captures, or all if none is complete, in the range of time; ``DataError`` if none is left."""
    stamps = recording.stamps()
    is_chosen = stamps.is_complete if stamps.is_complete.any() else stamps.time_us >= 0
    elapsed_s = (stamps.time_us - stamps.time_us[0]) * 1e-6
    if arguments.start is not None:
        is_chosen = is_chosen & (elapsed_s >= arguments.start)
    if arguments.end is not None:
        is_chosen = is_chosen & (elapsed_s < arguments.end)
    if not is_chosen.any():
        raise DataError(
            f"no capture lies in this range; the recording lasts {elapsed_s[-1]:.2f} s", where=arguments.source,
            fix="Change --start and --end",
        )  # fmt: skip
    return [int(index) for index in is_chosen.nonzero()[0]]
