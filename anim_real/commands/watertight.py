"""Close a raw scan: mend it, fill its holes where its winding number is 0.5, and say what was changed.

The result is closed, manifold and consistently oriented, in metres, with the scan's colours. A scan of
which too much would have to be invented is refused (exit 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anim_real.console import Console, Result
from anim_real.errors import ConfigError, DataError, RefusedError
from anim_real.files import refuse_existing, write_json
from anim_real.flags import require_range

if TYPE_CHECKING:
    from anim_real.mesh import Mesh
    from anim_real.meshes.watertight import WatertightResult

_SCHEMA = "anim-real/watertight-report/1"


@dataclass(frozen=True)
class Arguments:
    """Arguments of ``watertight``."""

    scan: tyro.conf.Positional[Path]
    """mesh file: OBJ, PLY, GLB or STL"""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """mesh to write: PLY, GLB or OBJ, in metres"""
    unit: Literal["m", "dm", "cm", "mm", "inch"] = "m"
    """what one unit of the file is"""
    resolution: int = 512
    """lattice cells along the longest side"""
    report: Path | None = None
    """page with pictures of what was closed (.html), or the figures alone (.json)"""
    up: Literal["+x", "-x", "+y", "-y", "+z", "-z"] = "+y"
    """the file's axis that points up, for the pictures"""
    max_invented: float = 0.4
    """refuse when a larger share of the surface is invented"""


def run(arguments: Arguments, console: Console) -> Result:
    """Close the scan and write it."""
    _check(arguments)
    from anim_real.capture.scanner import load_in_metres
    from anim_real.mesh import save_mesh
    from anim_real.meshes.watertight import make_watertight

    scan = load_in_metres(arguments.scan, arguments.unit, key="--unit")
    extent = float((scan.vertices.max(0) - scan.vertices.min(0)).max())
    console.say(
        f"closing {arguments.scan.name}: {len(scan.faces)} faces, {extent:.3f} m, resolution {arguments.resolution}"
    )
    try:
        result = make_watertight(scan, resolution=arguments.resolution, max_invented_share=arguments.max_invented)
    except RefusedError as error:
        fix = "Scan again with more coverage, or allow more with --max-invented"
        raise RefusedError(error.what, where=arguments.scan, fix=fix) from error
    except DataError as error:
        raise type(error)(error.what, where=arguments.scan, fix=error.fix) from error
    save_mesh(arguments.output, result.mesh)
    record = {"schema": _SCHEMA, "scan": arguments.scan.name, "unit": arguments.unit, **result.report.record()}
    if arguments.report is not None and arguments.report.suffix.lower() == ".json":
        write_json(arguments.report, record)
    elif arguments.report is not None:
        _write_page(arguments, scan, result)
    return Result(path=arguments.output, record=record, lines=result.report.lines())


def _write_page(arguments: Arguments, scan: Mesh, result: WatertightResult) -> None:
    from anim_real.commands.jobs.rendered_views import up_vector
    from anim_real.commands.jobs.watertight_page import add_watertight
    from anim_real.report import Report

    assert arguments.report is not None
    page = Report(f"{arguments.scan.name}, made watertight")
    add_watertight(page, scan, result, up_vector(arguments.up))
    page.save(arguments.report)


def _check(arguments: Arguments) -> None:
    require_range("--resolution", arguments.resolution, 16, 2048)
    require_range("--max-invented", arguments.max_invented, 0.0, 1.0)
    if arguments.output.suffix.lower() not in (".ply", ".glb", ".obj"):
        raise ConfigError(
            f"cannot write {arguments.output.suffix!r}", where=arguments.output, fix="Use .ply, .glb or .obj"
        )
    refuse_existing(arguments.output)
    if arguments.report is not None:
        if arguments.report.suffix.lower() not in (".json", ".html"):
            raise ConfigError(
                "the report is a page or JSON", where=arguments.report, fix="End its name in .html or .json"
            )
        refuse_existing(arguments.report, flag="--report")
