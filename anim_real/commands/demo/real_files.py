"""The spine on real files: a real recording decoded, aligned and exported; real meshes made watertight and packed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anim_real.commands import export, render
from anim_real.console import Console, Result
from anim_real.errors import AnimRealError, NotFoundError
from anim_real.files import read_json

RECORDING = Path("k4a-recording") / "recording.mkv"
FACTORY = Path("k4a-recording") / "pyk4a_calibration.json"
EXPECTED = Path("k4a-recording") / "expected.json"
MESHES = {  # name -> file, height in metres (the files carry no scale; the second is a head)
    "human_man": (Path("meshes") / "human_man.obj", 1.75),
    "LeePerrySmith": (Path("meshes") / "LeePerrySmith.glb", 0.30),
}


@dataclass(frozen=True, kw_only=True)
class RealFiles:
    """What the real files gave.

    Attributes:
        folder: where they lie.
        recording: facts of the recording beside the published ones: name -> (found, published).
        export: result of exporting it.
        shards: data set folder of each mesh.
        failures: what did not work, one sentence each.
    """

    folder: Path
    recording: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    export: Result | None = None
    shards: dict[str, Path] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    @property
    def num_wrong_facts(self) -> int:
        """How many facts of the recording differ from the published ones."""
        return sum(found != published for found, published in self.recording.values())


def find_folder(given: Path | None) -> Path | None:
    """The folder of real files: the one given, else $ANIM_REAL_SHARED, else ../shared/data; None if there is none.

    Raises:
        NotFoundError: a folder was named and is not there.
    """
    named = given or (Path(os.environ["ANIM_REAL_SHARED"]) if os.environ.get("ANIM_REAL_SHARED") else None)
    if named is not None:
        if not named.is_dir():
            raise NotFoundError("no such folder of real files", where=named, fix="Leave --real out to run without them")
        return named
    beside = Path("..") / "shared" / "data"
    return beside if beside.is_dir() else None


def run_real_files(folder: Path, output: Path, console: Console, *, seed: int) -> RealFiles:
    """Run the spine on the real files that exist in ``folder``; what fails is listed and the rest goes on."""
    failures: list[str] = []
    facts: dict[str, tuple[Any, Any]] = {}
    exported: Result | None = None
    if (folder / RECORDING).is_file():
        try:
            facts = recording_facts(folder)
            exported = export.run(export.Arguments(source=folder / RECORDING, output=output / "recording"), console)
            failures += exported.failures
        except AnimRealError as error:
            failures.append(str(error))
    shards: dict[str, Path] = {}
    for name, (relative, height_m) in MESHES.items():
        if (folder / relative).is_file():
            arguments = render.Arguments(
                meshes=(folder / relative,),
                output=output / "shards" / name,
                views=4,
                height=height_m,
                size=256,
                points=50_000,
                seed=seed,
                licence="see the files' own notice",
            )
            try:
                failures += render.run(arguments, console).failures
                shards[name] = arguments.output
            except AnimRealError as error:
                failures.append(str(error))
    return RealFiles(folder=folder, recording=facts, export=exported, shards=shards, failures=tuple(failures))


def recording_facts(folder: Path) -> dict[str, tuple[Any, Any]]:
    """Facts of the real recording as decoded here, beside the published ones."""
    from anim_real.capture.recording.k4a_mkv import open_recording

    published = read_json(folder / EXPECTED)["F_pyk4a_recording"]
    with open_recording(folder / RECORDING) as recording:
        info, capture, imu = recording.info, recording.capture(0), recording.imu()
        stamps = recording.stamps()
    times = published["timestamps_usec"]
    return {
        "captures": (info.num_captures, published["n_captures"]),
        "serial": (info.serial, published["serial"]),
        "fps": (info.fps, published["fps"]),
        "colour": (f"{info.color_format} {info.color_mode}", published["color"]),
        "depth mode": (info.depth_mode, published["depth_mode"]),
        "sync": (info.sync_mode, published["wired_sync"]),
        "start offset (µs)": (info.start_offset_us, published["start_timestamp_offset_usec"]),
        "length (µs)": (info.length_us, published["length_usec"]),
        "colour time (µs)": (capture.color_time_us, times["color"]),
        "depth time (µs)": (capture.depth_time_us, times["depth"]),
        "IR time (µs)": (int(stamps.ir_time_us[0]), times["ir"]),
        "first IMU time (µs)": (int(imu.acc_time_us[0]), published["first_imu_timestamp"]),
    }
