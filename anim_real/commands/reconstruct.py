"""Make a mesh from one RGB-D frame: of a data set (--data, --frame), or straight from a take (--take, --index, …)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anim_real.console import Console, Result
from anim_real.errors import ConfigError, DataError, NotFoundError
from anim_real.files import refuse_existing
from anim_real.flags import require_range

if TYPE_CHECKING:
    from anim_real.data.examples import PreparedFrame
    from anim_real.geometry.frames import Rigid


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to reconstruct and where to put it.

    Attributes:
        weights: weights folder.
        output: mesh file to write (.ply, .glb, .obj), metres.
        data: data set folder to take the frame from.
        frame: name of the frame in the data set (as inspect lists it), or its number in the split.
        split: split that a frame number counts in.
        take: take folder to take the frame from, instead of a data set.
        index: capture in the take's recording.
        size: side of the crop of the take's capture, pixels; as in build-shards for the data the weights learned from.
        sensor: sensor of the take; needed if the calibration has several.
        calibration: calibration file, for a take.
        rig: rig file or name, for a take.
        coordinates: scan puts the mesh where the scan of the frame lies; camera leaves it before the camera.
        resolution: cube root of the number of cells in the person's box.
        keep: largest keeps the largest connected part, all keeps everything.
    """

    weights: Path
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    data: Path | None = None
    frame: str = "0"
    split: Literal["train", "val", "test"] = "test"
    take: Path | None = None
    index: int = 0
    size: int = 512
    sensor: str | None = None
    calibration: Path | None = None
    rig: str | None = None
    coordinates: Literal["scan", "camera"] = "scan"
    resolution: int = 256
    keep: Literal["largest", "all"] = "largest"


def run(arguments: Arguments, console: Console) -> Result:
    """Reconstruct one frame and write the mesh."""
    if (arguments.data is None) == (arguments.take is None):
        raise ConfigError("give either --data or --take", where="reconstruct")
    refuse_existing(arguments.output)
    from anim_real.mesh import SUFFIXES, save_mesh

    if arguments.output.suffix.lower() not in SUFFIXES or arguments.output.suffix.lower() == ".stl":
        raise ConfigError(
            f"cannot write a mesh as {arguments.output.suffix!r}", where=arguments.output, fix="Use .ply, .glb or .obj"
        )
    from anim_real.model.anim import ANIM
    from anim_real.reconstruct import ReconstructSpec, reconstruct
    from anim_real.specs import parse

    spec = parse(ReconstructSpec, {"resolution": arguments.resolution, "keep": arguments.keep}, where="reconstruct")
    model = ANIM.from_pretrained(arguments.weights)
    size = model.spec.image_size
    frame, T_color_scan = _from_dataset(arguments, size) if arguments.take is None else _from_take(arguments, size)
    console.say(f"reconstructing from {len(frame.points_color)} depth points")
    made = reconstruct(model, frame, spec)
    mesh = made.mesh
    if arguments.coordinates == "scan":
        mesh = mesh.moved(T_color_scan.inverse().apply(mesh.vertices))
    save_mesh(arguments.output, mesh)
    record = {
        "coordinates": arguments.coordinates,
        "num_vertices": len(mesh.vertices),
        "num_faces": len(mesh.faces),
        "num_parts": made.num_parts,
        "cell_cm": made.cell_cm,
        "num_evaluations": made.num_evaluations,
        "num_dense": made.num_dense,
        "seconds": made.seconds,
    }
    line = (
        f"{len(mesh.faces)} faces, cells of {made.cell_cm:.2f} cm, {made.num_parts} parts, {made.seconds:.1f} s, "
        f"1/{made.num_dense / made.num_evaluations:.0f} of the dense evaluations"
    )
    return Result(path=arguments.output, record=record, lines=(line,))


def _from_dataset(arguments: Arguments, size: int) -> tuple[PreparedFrame, Rigid]:
    from anim_real.data.examples import prepare
    from anim_real.shards.read import open_dataset

    assert arguments.data is not None
    dataset = open_dataset(arguments.data)
    by_name = {key.name: key for key in dataset.frames()}
    key = by_name.get(arguments.frame)
    if key is None and arguments.frame.isdecimal():
        keys = dataset.frames(arguments.split)
        key = keys[int(arguments.frame)] if int(arguments.frame) < len(keys) else None
    if key is None:
        raise NotFoundError(
            f"no frame {arguments.frame!r}",
            where=arguments.data,
            fix=f"Known: {', '.join(list(by_name)[:3])}, …; or a number",
        )
    frame = dataset.frame(key)
    return prepare(frame.color, frame.depth_mm, frame.mask, frame.camera, size=size, where=key.name), frame.T_color_scan


def _from_take(arguments: Arguments, size: int) -> tuple[PreparedFrame, Rigid]:
    from anim_real.calibration import load_calibration
    from anim_real.capture.person_reader import PersonReader
    from anim_real.capture.recording.k4a_mkv import open_recording
    from anim_real.commands.jobs.take_pairs import require_device
    from anim_real.data.examples import prepare
    from anim_real.rig import load_rig
    from anim_real.take import load_take

    assert arguments.take is not None
    require_range("--size", arguments.size, 32, 4096)
    if arguments.calibration is None:
        raise ConfigError("a take needs --calibration", where="reconstruct")
    calibration = load_calibration(arguments.calibration)
    rig, _, digest = load_rig(arguments.rig or calibration.rig)
    if digest != calibration.rig_sha256:
        raise DataError(
            "the calibration was solved for another version of the rig",
            where=arguments.calibration,
            fix="Calibrate again",
        )
    sensors = sorted(calibration.sensors)
    name = arguments.sensor or sensors[0]
    if name not in sensors or (arguments.sensor is None and len(sensors) > 1):
        raise ConfigError("which sensor?", where="--sensor", fix=f"Known: {', '.join(sensors)}")
    sensor = calibration.sensors[name]
    with open_recording(load_take(arguments.take).recording(name)) as recording:
        if not 0 <= arguments.index < len(recording):
            raise NotFoundError(f"no capture {arguments.index}; there are {len(recording)}", where=arguments.take)
        require_device(recording, sensor)
        crop = PersonReader(recording, sensor, rig, arguments.take).crop(arguments.index, size=arguments.size)
    frame = prepare(
        crop.color, crop.depth_mm, crop.mask, crop.camera, size=size, where=f"{arguments.take} {arguments.index}"
    )
    return frame, sensor.T_color_scan.rigid()
