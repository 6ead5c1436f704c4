"""Read cameras of another tool into a camera list (JSON) with our conventions, which export turns into any format.

Reads OpenCV YAML, a COLMAP text model (folder), Open3D JSON (file or folder), a Kalibr camera chain, multical's
calibration.json, EasyMocap's intri.yml and extri.yml (folder), and camera lists. The format is found by content.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from anim_real.console import Console, Result
from anim_real.errors import ConfigError
from anim_real.files import refuse_existing


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to import.

    Attributes:
        source: file or folder of another tool.
        output: camera list (JSON) to write; must not exist.
        format: the source's format.
        size: width and height in pixels of EasyMocap's cameras that have none.
    """

    source: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    format: Literal["auto", "opencv", "colmap", "open3d", "kalibr", "multical", "easymocap"] = "auto"
    size: tuple[int, int] | None = None


def run(arguments: Arguments, _console: Console) -> Result:
    """Read, check and write."""
    from anim_real.files import sha256_file
    from anim_real.interchange.camera_list import CameraSource, save_cameras
    from anim_real.interchange.formats import detect_format, files_of, read_cameras
    from anim_real.interchange.posed import common_reference

    if arguments.output.suffix.lower() != ".json":
        raise ConfigError("its name must end in .json", where=arguments.output, fix="Choose another name")
    refuse_existing(arguments.output)
    name = detect_format(arguments.source) if arguments.format == "auto" else arguments.format
    if arguments.size is not None and name != "easymocap":
        raise ConfigError(f"{name} tells the size of its images", where="--size", fix="Leave it out")
    cameras = read_cameras(arguments.source, name, size=arguments.size)
    files = files_of(arguments.source, name)
    source = CameraSource(
        format=name, path=arguments.source.name, sha256={file.name: sha256_file(file) for file in files}
    )
    save_cameras(arguments.output, cameras, source)
    reference = common_reference(cameras)
    return Result(
        path=arguments.output,
        record={"format": name, "reference": reference, "cameras": [posed.name for posed in cameras]},
        lines=(f"{len(cameras)} cameras of {name}, poses from {reference}: {', '.join(c.name for c in cameras)}",),
    )
