"""Record a take from the cameras of a rig: k4a recordings, take.toml and record.json.

Checks space, roles, cables and delays first; starts subordinates before their master; shows frame rates, drops and
trigger health. Ctrl-C stops in good order (exit 0), a second one breaks off (130), SIGTERM stops (143). Whatever
ends it, what was written is closed and readable. --probe-scanner measures how the scanner disturbs depth instead.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from anim_real.console import Console, Result
from anim_real.errors import ConfigError
from anim_real.flags import require_range, require_seed
from anim_real.take import PSEUDONYM, ConsentScope

if TYPE_CHECKING:
    from contextlib import ExitStack

    from anim_real.capture.recorder.sensor_stream import Feed
    from anim_real.commands.jobs.live_recording import Outcome
    from anim_real.rig import RigSpec
    from anim_real.studio.faults import Faults
    from anim_real.take import TakeSpec

Backend = Literal["auto", "pyk4a", "orbbec", "mkv", "virtual"]
_UNNAMED = "unnamed"
_PROBE_S = 5.0
_LONGEST_S = 864_000.0


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Arguments of ``anim-real record``.

    Attributes:
        output: take folder to write (must not exist).
        rig: name or path of the rig.
        backend: library behind the cameras; auto chooses by their model.
        source: of the mkv backend, a recording, or a folder with one kinect-<sensor id>.mkv per sensor.
        orbbec_python: interpreter that has pyorbbecsdk; by default the one that ANIM_REAL_ORBBEC_PYTHON names.
        orbbec_clock: stamps of the device's own clock, or fitted to the host's by Orbbec's SDK.
        duration: seconds to record, from the first capture; until Ctrl-C by default. Of a probe, of each stretch.
        warm_up: seconds to stream before writing, while the drift of depth is shown.
        take: id of the take; the output folder's name by default.
        kind: subject or calibration.
        subject: pseudonym of the person, never a name.
        action: what is done.
        consent: what the person agreed to: research, commercial, publication, internal.
        licence: licence that goes with the consent.
        consent_date: when consent was given (YYYY-MM-DD); today by default.
        probe_scanner: record nothing; measure how the scanner's projector disturbs depth, and write a page about it.
        calibration: of a probe, the solved calibration: only what lies in the rig's volume counts then.
        yes: of a probe, nobody presses Enter: five seconds are given to switch the projector.
        fault: of the virtual backend, faults of a sensor, such as k1:unplug_s=2,drop=3+7; may be repeated.
        seed: of the virtual backend.
        dry_run: check, say what would be recorded, and start nothing.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    rig: str
    backend: Backend = "auto"
    source: Path | None = None
    orbbec_python: Path | None = None
    orbbec_clock: Literal["device", "global"] = "device"
    duration: float | None = None
    warm_up: float = 0.0
    take: str | None = None
    kind: Literal["subject", "calibration"] = "subject"
    subject: str | None = None
    action: str = ""
    consent: tuple[ConsentScope, ...] = ()
    licence: str | None = None
    consent_date: str | None = None
    probe_scanner: bool = False
    calibration: Path | None = None
    yes: bool = False
    fault: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    seed: int = 0
    dry_run: bool = False


def run(arguments: Arguments, console: Console) -> Result:
    """Check everything that can be checked, open the cameras, record."""
    from contextlib import ExitStack

    from anim_real.capture.recorder.disk_space import check_space
    from anim_real.capture.recorder.wired_sync import check_roles
    from anim_real.commands.jobs.rig_cameras import check_serials, check_source, read_faults
    from anim_real.files import refuse_existing
    from anim_real.rig import load_rig

    _check(arguments)
    rig, _, rig_sha256 = load_rig(arguments.rig)
    refuse_existing(arguments.output)
    take = None if arguments.probe_scanner else _take_spec(arguments, rig)
    faults = read_faults(arguments.backend, rig, arguments.fault)
    check_serials(arguments.backend, rig)
    check_source(arguments.backend, rig, arguments.source)
    remarks = check_roles(rig)
    if take is None:
        return _probe(arguments, rig, faults, remarks, console)
    remarks = (*remarks, *check_space(arguments.output, rig.sensors, arguments.duration))
    if take.subject == _UNNAMED:
        remarks = (*remarks, "the subject is 'unnamed': correct it in take.toml before ingest, or give --subject")
    for remark in remarks:
        console.say(remark)
    if arguments.dry_run:
        sensors = ", ".join(f"{sensor.id} ({sensor.sync_mode})" for sensor in rig.sensors)
        return Result(
            record={"take": take.model_dump(mode="json", by_alias=True), "remarks": list(remarks)},
            lines=(f"would record {sensors} into {arguments.output}",),
        )
    with ExitStack() as opened:
        feeds = _open(arguments, rig, faults, opened)
        return _record(arguments, take, rig_sha256, feeds, remarks, console)


def _probe(
    arguments: Arguments, rig: RigSpec, faults: dict[str, Faults], remarks: tuple[str, ...], console: Console
) -> Result:
    from contextlib import ExitStack

    from anim_real.commands.jobs.probe import run_probe

    for remark in remarks:
        console.say(remark)
    if arguments.dry_run:
        return Result(record={"remarks": list(remarks)}, lines=(f"would probe into {arguments.output}",))
    with ExitStack() as opened:
        cameras = {feed.sensor.id: feed.camera for feed in _open(arguments, rig, faults, opened)}
        return run_probe(
            rig,
            cameras,
            arguments.output,
            console=console,
            seconds=_PROBE_S if arguments.duration is None else arguments.duration,
            calibration=arguments.calibration,
            is_confirmed=arguments.yes,
        )


def _record(
    arguments: Arguments,
    take: TakeSpec,
    rig_sha256: str,
    feeds: list[Feed],
    remarks: tuple[str, ...],
    console: Console,
) -> Result:
    from anim_real.commands.jobs.live_course import Plan
    from anim_real.commands.jobs.live_recording import record_take
    from anim_real.commands.jobs.live_status import LiveStatus
    from anim_real.commands.jobs.stop_signals import StopSignals

    found = _device_remarks(arguments, feeds) if feeds[0].is_live else ()
    for remark in found:
        console.say(remark)
    plan = Plan(
        folder=arguments.output,
        take=take,
        rig_sha256=rig_sha256,
        duration_s=arguments.duration,
        warm_up_s=arguments.warm_up,
        remarks=(*remarks, *found),
    )
    stop = StopSignals()
    try:
        with stop, LiveStatus(console) as shows:
            outcome = record_take(feeds, plan, shows, stop)
    finally:
        if stop.received == signal.SIGTERM:
            if arguments.output.exists():
                console.say(f"recorded into {arguments.output}")
            signal.raise_signal(signal.SIGTERM)  # now that all is closed, to whoever handles it
    return _result(outcome, arguments.output)


def _device_remarks(arguments: Arguments, feeds: list[Feed]) -> tuple[str, ...]:
    """What the opened devices tell: cables that the roles need (else an error), and whether depth may still drift."""
    from anim_real.capture.recorder.depth_stability import WARM_UP_MIN
    from anim_real.capture.recorder.wired_sync import check_cables

    cables = {feed.sensor.id: feed.camera.cable_state() for feed in feeds}
    remarks = check_cables([feed.sensor for feed in feeds], cables)
    real = [feed.sensor.id for feed in feeds if feed.camera.info.backend != "virtual"]
    if real and arguments.warm_up < WARM_UP_MIN * 60:
        text = f"depth of {', '.join(real)} drifts until it has streamed for {WARM_UP_MIN:.0f} min: see --warm-up"
        remarks = (*remarks, text)
    return remarks


def _result(outcome: Outcome, folder: Path) -> Result:
    from anim_real.commands.jobs.record_lines import record_lines

    log = outcome.log
    return Result(
        path=folder,
        record=log.model_dump(mode="json", by_alias=True),
        lines=record_lines(log),
        failures=outcome.failures,
    )


def _open(arguments: Arguments, rig: RigSpec, faults: dict[str, Faults], opened: ExitStack) -> list[Feed]:
    """Open every camera of the rig; each is closed with ``opened``."""
    from anim_real.capture.recorder.sensor_stream import Feed
    from anim_real.commands.jobs.rig_cameras import open_rig

    cameras = open_rig(
        rig,
        opened,
        backend=arguments.backend,
        source=arguments.source,
        orbbec_python=arguments.orbbec_python,
        orbbec_clock=arguments.orbbec_clock,
        faults=faults,
        seed=arguments.seed,
    )
    is_live = arguments.backend != "mkv"
    return [
        Feed(sensor=sensor, camera=camera, path=arguments.output / f"kinect-{sensor.id}.mkv", is_live=is_live)
        for sensor, camera in zip(rig.sensors, cameras, strict=True)
    ]


def _take_spec(arguments: Arguments, rig: RigSpec) -> TakeSpec:
    """What take.toml will say; ``ConfigError`` names the flag that cannot be."""
    import datetime

    from anim_real.specs import parse
    from anim_real.take import TakeSpec

    _check_ids(arguments)
    is_calibration = arguments.kind == "calibration"
    table: dict[str, Any] = {
        "schema": "anim-real/take/1",
        "take_id": arguments.output.resolve().name if arguments.take is None else arguments.take,
        "kind": arguments.kind,
        "subject": arguments.subject or ("target" if is_calibration else _UNNAMED),
        "action": arguments.action,
        "rig": rig.name,
        "date": datetime.datetime.now().astimezone().date(),
        "target": rig.target if is_calibration else None,
    }
    if arguments.consent:
        date = arguments.consent_date or table["date"]
        table["consent"] = {"scope": arguments.consent, "licence": arguments.licence, "date": date}
    return parse(TakeSpec, table, where="record, --take, --subject and --consent")


def _check(arguments: Arguments) -> None:
    if arguments.duration is not None:
        require_range("--duration", arguments.duration, 0.1, _LONGEST_S, unit="s")
    require_range("--warm-up", arguments.warm_up, 0.0, _LONGEST_S, unit="s")
    require_seed(arguments.seed)
    if not arguments.probe_scanner and (arguments.yes or arguments.calibration is not None):
        raise ConfigError("--yes and --calibration belong to --probe-scanner", where="record", fix="Leave them out")
    if arguments.probe_scanner and (arguments.take or arguments.subject or arguments.consent or arguments.warm_up):
        raise ConfigError(
            "a probe writes no take: --take, --subject, --consent and --warm-up do nothing", where="--probe-scanner",
            fix="Leave them out, and let the cameras warm up first",
        )  # fmt: skip
    if arguments.consent and not arguments.licence:
        raise ConfigError("consent needs a licence", where="--consent", fix="Give --licence, such as CC-BY-4.0")
    if not arguments.consent and (arguments.licence or arguments.consent_date):
        raise ConfigError("a licence and a date without consent", where="--licence", fix="Give --consent research …")


def _check_ids(arguments: Arguments) -> None:
    """Raise ``ConfigError`` if the take or the subject cannot be called so."""
    take = arguments.output.resolve().name if arguments.take is None else arguments.take
    ids = {"--take": take, "--subject": arguments.subject or _UNNAMED}
    for flag, value in ids.items():
        if not re.fullmatch(PSEUDONYM, value):
            is_default = flag == "--take" and arguments.take is None
            raise ConfigError(
                f"the folder's name {value!r} cannot be the take's id" if is_default else f"{value!r} cannot be an id",
                where=flag, fix="Give lower-case letters, digits and hyphens, such as s01-walk",
            )  # fmt: skip
