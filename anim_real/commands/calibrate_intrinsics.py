"""Solve a camera's focal length, centre and lens from images of a board alone, and compare with the factory's.

Reads a folder of images of one camera, or a recording (colour and infrared). Images that are too few or too alike
are refused with what to add. The cameras are written as JSON, and with --yaml as OpenCV reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anim_real.console import Console, Result
from anim_real.errors import ConfigError, DataError, RefusedError
from anim_real.files import refuse_existing, write_json

if TYPE_CHECKING:
    from anim_real.calibrate.boards.target import Target
    from anim_real.commands.jobs.board_images import BoardImages
    from anim_real.commands.jobs.intrinsics_page import SolvedIntrinsics
    from anim_real.geometry.cameras import Camera

_SCHEMA = "anim-real/intrinsics/1"
_MIN_CORNERS = 8
_ENLARGE = {"color": 1, "ir": 3}  # infrared images are small


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Arguments of ``calibrate-intrinsics``.

    Attributes:
        source: folder of images of one camera, or a recording (MKV).
        output: JSON to write.
        target: name or path of the target; its boards are flat views.
        stream: which images of a recording.
        lens: simple (k1 k2), brown (k1 k2 p1 p2 k3), rational (with k4 k5 k6), or what the residuals ask for.
        factory: OpenCV YAML with the camera to compare with; a recording's own calibration by default.
        max_views: use at most so many views, those that differ most.
        yaml: OpenCV YAML to write as well.
        report: HTML page to write as well: residuals, coverage, difference to the factory.
    """

    source: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    target: str = "board"
    stream: Literal["both", "color", "ir"] = "both"
    lens: Literal["auto", "simple", "brown", "rational"] = "auto"
    factory: Path | None = None
    max_views: int = 40
    yaml: Path | None = None
    report: Path | None = None


def run(arguments: Arguments, console: Console) -> Result:
    """Solve every stream; one that is refused is a failure, all of them refused is exit 4."""
    from anim_real.calibrate.boards.targets import load_target
    from anim_real.commands.jobs.board_images import board_images

    for path, endings in ((arguments.output, (".json",)), (arguments.yaml, (".yml", ".yaml")),
                          (arguments.report, (".html",))):  # fmt: skip
        if path is not None:
            if path.suffix.lower() not in endings:
                raise ConfigError(f"its name must end in {endings[0]}", where=path, fix="Choose another name")
            refuse_existing(path)
    if arguments.max_views < 6:
        raise ConfigError(f"--max-views {arguments.max_views} is too few", where="intrinsics", fix="Give 6 or more")
    target = load_target(arguments.target)
    given = None if arguments.factory is None else _factory(arguments.factory)
    solved: list[SolvedIntrinsics] = []
    failures: list[str] = []
    series = board_images(arguments.source, arguments.stream)
    if arguments.yaml is not None and len(series) > 1:
        raise ConfigError(
            "cameras with unknown poses do not share a file", where=arguments.yaml, fix="Choose one with --stream"
        )
    for images in series:
        try:
            solved.append(_solve(images, target, given or images.factory, arguments, console))
        except (RefusedError, DataError) as error:
            if len(series) == 1:
                raise type(error)(error.what, where=arguments.source, fix=error.fix) from error
            failures.append(f"{images.stream}: {error}")
    if not solved:
        raise RefusedError("no camera could be solved", where=arguments.source, fix=failures[0])
    record = {
        "schema": _SCHEMA,
        "source": arguments.source.name,
        "target": target.name,
        "cameras": {item.stream: item.record() for item in solved},
        "failures": failures,
    }
    write_json(arguments.output, record)
    if arguments.yaml is not None:
        _write_yaml(arguments.yaml, solved)
    if arguments.report is not None:
        from anim_real.commands.jobs.intrinsics_page import intrinsics_page

        intrinsics_page(solved, target.name).save(arguments.report)
    lines = tuple(line for item in solved for line in item.lines())
    return Result(path=arguments.output, record=record, lines=lines, failures=tuple(failures))


def _solve(
    images: BoardImages, target: Target, factory: Camera | None, arguments: Arguments, console: Console
) -> SolvedIntrinsics:
    """Detect, solve and compare one stream."""
    from anim_real.calibrate.boards.detect import CornerDetector, polarity_remark
    from anim_real.calibrate.lenses.intrinsics import solve_intrinsics
    from anim_real.calibrate.lenses.ray_field import ray_difference
    from anim_real.calibrate.lenses.views import board_views
    from anim_real.commands.jobs.intrinsics_page import SolvedIntrinsics

    detector = CornerDetector(target)
    views, seen, sample = [], [], None
    size: tuple[int, int] | None = None
    for image in console.progress(images, f"{images.stream}: boards", images.count):
        shape = (image.grey.shape[1], image.grey.shape[0])
        if size not in (None, shape):
            raise DataError(
                f"{image.name} is {shape[0]}x{shape[1]}, the images before it {size[0]}x{size[1]}",
                where=images.source, fix="One folder holds the images of one camera in one mode",
            )  # fmt: skip
        size = shape
        corners = detector.detect(image.grey, enlarge=_ENLARGE[images.stream])
        seen.append(corners.inverted)
        found = board_views(image.name, corners, target, min_corners=_MIN_CORNERS)
        if found and sample is None:
            sample = (image.grey, corners.pixels)
        views += found
    assert size is not None
    result = solve_intrinsics(views, size, lens=arguments.lens, max_views=arguments.max_views)
    difference = None if factory is None else ray_difference(result.camera, factory, cells=result.coverage > 0)
    return SolvedIntrinsics(
        stream=images.stream,
        num_images=len(seen),
        result=result,
        factory=factory,
        difference=difference,
        remark=polarity_remark(target, seen),
        sample=sample,
    )


def _factory(path: Path) -> Camera:
    from anim_real.interchange.opencv_yaml import read_opencv_yaml

    cameras = read_opencv_yaml(path)
    if len(cameras) != 1:
        raise ConfigError(f"holds {len(cameras)} cameras", where=path, fix="Give a file with the one to compare with")
    return cameras[0].camera


def _write_yaml(path: Path, solved: list[SolvedIntrinsics]) -> None:
    from anim_real.geometry.frames import Rigid
    from anim_real.interchange.opencv_yaml import write_opencv_yaml
    from anim_real.interchange.posed import PosedCamera

    item = solved[0]
    pose = Rigid.identity(item.stream, "reference")
    write_opencv_yaml(path, [PosedCamera(name=item.stream, camera=item.result.camera, T_camera_reference=pose)])
