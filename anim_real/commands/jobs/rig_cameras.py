"""Opening all cameras of a rig with one backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anim_real.commands.jobs.cameras import open_camera
from anim_real.depth_camera import DepthCamera
from anim_real.errors import ConfigError, NotFoundError
from anim_real.rig import RigSpec, SensorSpec

if TYPE_CHECKING:
    from anim_real.studio.faults import Faults
    from anim_real.studio.live import VirtualRig


def check_serials(backend: str, rig: RigSpec) -> None:
    """Raise ``ConfigError`` if several real devices could not be told apart by their serials."""
    silent = [sensor.id for sensor in rig.sensors if sensor.serial is None]
    if silent and len(rig.sensors) > 1 and backend not in ("mkv", "virtual"):
        raise ConfigError(
            f"sensors {', '.join(silent)} have no serial", where=f"rig {rig.name}",
            fix="Several devices need it: anim-real devices lists them",
        )  # fmt: skip


def check_source(backend: str, rig: RigSpec, source: Path | None) -> None:
    """Raise ``ConfigError`` unless ``mkv``, and only it, is given recordings; ``NotFoundError`` if one is not there."""
    if backend != "mkv":
        if source is not None:
            raise ConfigError(f"the {backend} backend plays no recording", where="--source", fix="Add --backend mkv")
        return
    if source is None:
        raise ConfigError(
            "the mkv backend plays recordings and none is named", where="--source",
            fix="Name a recording, or a folder with kinect-<sensor id>.mkv for each sensor",
        )  # fmt: skip
    if not source.exists():
        raise NotFoundError("no such file or folder", where=source, fix="Check --source")
    for sensor in rig.sensors:
        path = _source_of(source, rig, sensor)
        if path is not None and not path.is_file():
            raise NotFoundError(f"there is no recording of sensor {sensor.id}", where=path, fix="Check --source")


def read_faults(backend: str, rig: RigSpec, texts: Sequence[str]) -> dict[str, Faults]:
    """Faults by sensor id, of ``<sensor id>:<key>=<value>,…``; several texts of one sensor add up.

    Raises:
        ConfigError: not the ``virtual`` backend, no such sensor or fault, or a value that cannot be.
    """
    if not texts:
        return {}
    if backend != "virtual":
        raise ConfigError("only the virtual backend has faults", where="--fault", fix="Add --backend virtual")
    from anim_real.studio.faults import Faults, check_faults

    parts: dict[str, list[str]] = {}
    for text in texts:
        name, _, rest = text.partition(":")
        if not rest:
            raise ConfigError(f"{text!r} names no sensor and fault", where="--fault", fix="Write k1:unplug_s=2")
        parts.setdefault(name, []).append(rest)
    faults = {name: Faults.parse(",".join(rests)) for name, rests in parts.items()}
    check_faults(rig, faults)
    return faults


def open_rig(
    rig: RigSpec,
    opened: ExitStack,
    *,
    backend: str,
    source: Path | None = None,
    orbbec_python: Path | None = None,
    orbbec_clock: Literal["device", "global"] = "device",
    faults: Mapping[str, Faults] | None = None,
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
        faults: of ``virtual``: by sensor id, see ``read_faults``.
        seed: of ``virtual``.

    Raises:
        ConfigError: a recording that the backend does not take, or two sensors that are one device.
        AnimRealError: what ``open_camera`` raises.
    """
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


def _virtual_rig(rig: RigSpec, faults: Mapping[str, Faults] | None, seed: int) -> VirtualRig:
    from anim_real.capture.k4a_calibration import parse_calibration
    from anim_real.studio.live import VirtualRig

    return VirtualRig(rig, parse_calibration, seed=seed, faults=faults)


def _source_of(source: Path | None, rig: RigSpec, sensor: SensorSpec) -> Path | None:
    if source is None or not source.is_dir():
        if source is not None and len(rig.sensors) > 1:
            raise ConfigError(
                f"is one recording, the rig has {len(rig.sensors)} sensors", where=source,
                fix="Name a folder with kinect-<sensor id>.mkv for each",
            )  # fmt: skip
        return source
    return source / f"kinect-{sensor.id}.mkv"
