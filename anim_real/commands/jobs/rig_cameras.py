"""Opening all cameras of a rig with one backend."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anim_real.commands.jobs.cameras import open_camera
from anim_real.depth_camera import DepthCamera
from anim_real.errors import ConfigError
from anim_real.rig import RigSpec, SensorSpec

if TYPE_CHECKING:
    from anim_real.studio.live import VirtualRig


def check_serials(backend: str, rig: RigSpec) -> None:
    """Raise ``ConfigError`` if several real devices could not be told apart by their serials."""
    silent = [sensor.id for sensor in rig.sensors if sensor.serial is None]
    if silent and len(rig.sensors) > 1 and backend not in ("mkv", "virtual"):
        raise ConfigError(
            f"sensors {', '.join(silent)} have no serial", where=f"rig {rig.name}",
            fix="Several devices need it: anim-real devices lists them",
        )  # fmt: skip


def open_rig(
    rig: RigSpec,
    opened: ExitStack,
    *,
    backend: str,
    source: Path | None = None,
    orbbec_python: Path | None = None,
    orbbec_clock: Literal["device", "global"] = "device",
    faults: Sequence[str] = (),
    seed: int = 0,
) -> list[DepthCamera]:
    """Open every sensor's camera, in the rig's order; each is closed with ``opened``.

    Args:
        rig: the rig.
        opened: closes the cameras.
        backend: one of ``cameras.BACKENDS``.
        source: of ``mkv``: a recording, or a folder with ``kinect-<sensor id>.mkv`` for each sensor.
        orbbec_python: of ``orbbec``: interpreter that has pyorbbecsdk.
        orbbec_clock: of ``orbbec``: see ``cameras.open_camera``.
        faults: of ``virtual``: ``<sensor id>:<key>=<value>,…``, see ``studio.faults``.
        seed: of ``virtual``.

    Raises:
        ConfigError: an argument that the backend does not take, or two sensors that are one device.
        AnimRealError: what ``open_camera`` raises.
    """
    if faults and backend != "virtual":
        raise ConfigError("only the virtual backend has faults", where="--fault", fix="Add --backend virtual")
    studio = _virtual_rig(rig, faults, seed) if backend == "virtual" else None
    cameras = [
        opened.enter_context(
            open_camera(
                sensor,
                backend=backend,
                source=_source_of(source, rig, sensor),
                python=orbbec_python,
                clock=orbbec_clock,
                virtual_rig=studio,
            )
        )
        for sensor in rig.sensors
    ]
    serials = [camera.info.serial for camera in cameras]
    if len(set(serials)) < len(serials):
        raise ConfigError(
            f"two sensors are one device ({', '.join(serials)})", where=f"rig {rig.name}", fix="Correct the serials"
        )
    return cameras


def _virtual_rig(rig: RigSpec, faults: Sequence[str], seed: int) -> VirtualRig:
    from anim_real.capture.k4a_calibration import parse_calibration
    from anim_real.studio.faults import Faults
    from anim_real.studio.live import VirtualRig

    by_sensor = {}
    for text in faults:
        name, colon, rest = text.partition(":")
        if not colon:
            raise ConfigError(f"{text!r} names no sensor", where="--fault", fix="Write k1:unplug_s=2")
        by_sensor[name] = Faults.parse(rest)
    return VirtualRig(rig, parse_calibration, seed=seed, faults=by_sensor)


def _source_of(source: Path | None, rig: RigSpec, sensor: SensorSpec) -> Path | None:
    if source is None or not source.is_dir():
        if source is not None and len(rig.sensors) > 1:
            raise ConfigError(
                f"is one recording, the rig has {len(rig.sensors)} sensors", where=source,
                fix="Name a folder with kinect-<sensor id>.mkv for each",
            )  # fmt: skip
        return source
    return source / f"kinect-{sensor.id}.mkv"
