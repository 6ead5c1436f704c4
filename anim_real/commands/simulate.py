"""Write takes of the virtual studio in the raw formats of a real rig, with their truth beside them.

Output: <out>/takes/<take>/ (recordings, scans, tables: what a rig writes) and <out>/truth/<take>/.
One calibration take comes first, then one take per subject. Same seed, same bytes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anim_real.console import Console, Result
from anim_real.flags import require_range, require_seed

if TYPE_CHECKING:
    from anim_real.mesh import Mesh
    from anim_real.studio.devices import Device, Studio
    from anim_real.studio.recording import CaptureWriter
    from anim_real.studio.tables import TakeName
    from anim_real.studio.truth import TakeTruth

_BURST = 12  # captures per placement of the target: enough for the noise, and together for the LED's code
_FIRST_US = 20e6
_PAUSE_US = 90e6  # between takes
_TAKE_ORDER = ("walk", "stretch", "jacket", "turn", "jog", "stand")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Arguments of ``anim-real simulate``.

    Attributes:
        output: folder to write (must not exist).
        rig: name or path of the rig.
        subjects: number of subjects, one take each.
        frames: scanner frames per subject's take.
        placements: places of the target in the calibration take.
        calibration_only: write the calibration take alone.
        scanner_error_mm: by how much the scanner bends space, root mean square; 0 for a perfect one.
        multipath_mm: largest local depth error by light that takes other ways; 0 for none.
        factory: calibration.json to draw devices around; the package's synthetic one by default.
        seed: the run's seed.
        dry_run: say what would be written, and write nothing.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    rig: str = "virtual"
    subjects: int = 3
    frames: int = 14
    placements: int = 8
    calibration_only: bool = False
    scanner_error_mm: float = 0.2
    multipath_mm: float = 2.0
    factory: Path | None = None
    seed: int = 0
    dry_run: bool = False


def run(arguments: Arguments, console: Console) -> Result:
    """Set up the studio, record every take, publish the folder when all is done."""
    from anim_real.calibrate.boards.targets import load_target, target_mesh
    from anim_real.capture.k4a_calibration import parse_calibration
    from anim_real.files import atomic_folder, refuse_existing, require_file
    from anim_real.rig import load_rig
    from anim_real.studio.devices import StudioErrors, make_studio
    from anim_real.studio.factory import shipped_factory

    _check(arguments)
    refuse_existing(arguments.output)
    rig, _, _ = load_rig(arguments.rig)
    factory = (
        shipped_factory()
        if arguments.factory is None
        else require_file(arguments.factory, "factory calibration").read_bytes()
    )
    parse_calibration(factory, where=arguments.factory or "the package's calibration.json")
    names = _take_names(arguments)
    if any(name.kind == "subject" for name in names):
        import anim_real.studio.bodies  # noqa: F401 - a missing package is said before anything is written
    if arguments.dry_run:
        takes = [name.take_id for name in names]
        return Result(record={"takes": takes}, lines=(f"would record {', '.join(takes)} into {arguments.output}",))
    errors = StudioErrors(scanner_m=arguments.scanner_error_mm * 1e-3, multipath_m=arguments.multipath_mm * 1e-3)
    studio = make_studio(rig, factory, parse_calibration, arguments.seed, errors=errors)
    target = target_mesh(load_target(rig.target), 2048)
    records = []
    with atomic_folder(arguments.output) as folder:
        for name in console.progress(names, "takes"):
            truth = _record(studio, name, target, arguments, folder)
            records.append(_summary(truth))
    takes = ", ".join(f"{record['take']} ({record['scans']} scans)" for record in records)
    return Result(
        path=arguments.output,
        record={"seed": arguments.seed, "rig": rig.name, "takes": records},
        lines=(f"recorded {takes}",),
    )


def _record(studio: Studio, name: TakeName, target: Mesh, arguments: Arguments, folder: Path) -> TakeTruth:
    from anim_real.studio.simulate import record_calibration, record_performance

    if name.kind == "calibration":
        return record_calibration(
            studio,
            name,
            target,
            start_us=_FIRST_US,
            num_placements=arguments.placements,
            burst=_BURST,
            output=folder,
            open_writer=_open_writer,
        )
    from anim_real.studio.bodies import make_performer

    return record_performance(
        studio,
        name,
        make_performer(arguments.seed * 1000 + name.number),
        start_us=_FIRST_US + name.number * _PAUSE_US,
        num_frames=arguments.frames,
        output=folder,
        open_writer=_open_writer,
    )


def _open_writer(path: Path, device: Device) -> AbstractContextManager[CaptureWriter]:
    from anim_real.capture.recording.k4a_format import RecordingConfig
    from anim_real.capture.recording.k4a_writer import RecordingWriter

    spec = device.spec
    config = RecordingConfig(
        serial=device.serial,
        color_mode=spec.color_mode,
        color_format=spec.color_format,
        depth_mode=spec.depth_mode,
        fps=spec.fps,
        sync_mode=spec.sync_mode,
        depth_delay_us=spec.depth_delay_us,
        subordinate_delay_us=spec.subordinate_delay_us,
    )
    return RecordingWriter(path, config, device.factory_json)


def _take_names(arguments: Arguments) -> list[TakeName]:
    from anim_real.studio.tables import TakeName

    names = [TakeName(take_id="calibration", number=0, kind="calibration", subject="target", action="")]
    if not arguments.calibration_only:
        for number in range(1, arguments.subjects + 1):
            action = _TAKE_ORDER[(number - 1) % len(_TAKE_ORDER)]
            subject = f"s{number:02d}"
            names.append(
                TakeName(take_id=f"{subject}-{action}", number=number, kind="subject", subject=subject, action=action)
            )
    return names


def _check(arguments: Arguments) -> None:
    require_range("--subjects", arguments.subjects, 0, 999)
    require_range("--frames", arguments.frames, 2, 100_000)
    require_range("--placements", arguments.placements, 1, 1000)
    require_range("--scanner-error-mm", arguments.scanner_error_mm, 0, 50)
    require_range("--multipath-mm", arguments.multipath_mm, 0, 50)
    require_seed(arguments.seed)


def _summary(truth: TakeTruth) -> dict[str, Any]:
    return {
        "take": truth.take_id,
        "subject": truth.subject,
        "action": truth.action,
        "scans": len(truth.scan_frames),
        "sensors": {
            key: {
                "captures": len(sensor.captures),
                "dropped": len(sensor.dropped_pulses),
                "incomplete": len(sensor.incomplete),
            }
            for key, sensor in truth.sensors.items()
        },
    }
