"""Opening cameras and listing what is connected: a backend is chosen by name and imported only then.

No SDK is imported here. ``auto`` takes, for an Azure Kinect, pyk4a; for a Femto Bolt, pyk4a if it runs on
Orbbec's k4a library, else Orbbec's own SDK in a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anim_real.depth_camera import CameraInfo, DepthCamera
from anim_real.errors import ConfigError, MissingDependencyError
from anim_real.rig import SensorSpec

if TYPE_CHECKING:
    from anim_real.studio.live import VirtualRig

BACKENDS = ("auto", "pyk4a", "orbbec", "mkv", "virtual")
_WITH_DEVICES = ("pyk4a", "orbbec")


def open_camera(
    spec: SensorSpec,
    *,
    backend: str,
    source: Path | None = None,
    is_paced: bool = True,
    python: Path | None = None,
    clock: Literal["device", "global"] = "device",
    virtual_rig: VirtualRig | None = None,
) -> DepthCamera:
    """Open the camera of ``spec``; it streams once ``start`` is called.

    Args:
        spec: the configuration; ``serial`` chooses among several devices.
        backend: one of ``BACKENDS``.
        source: the recording that the ``mkv`` backend plays; the others take none.
        is_paced: ``mkv`` plays in real time by its stamps; else as fast as it is read.
        python: ``orbbec``: interpreter that has pyorbbecsdk; by default ``ANIM_REAL_ORBBEC_PYTHON``.
        clock: ``orbbec``: stamps of the device's clock, or fitted to the host's.
        virtual_rig: ``virtual``: the studio, one for all its cameras.

    Raises:
        ConfigError: no such backend, a recording missing or given where none is played, a mode the device lacks.
        NotFoundError: no recording there.
        MissingDependencyError: the SDK or the device is not there; several are and no serial says which.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"no backend {backend!r}", where="--backend", fix=f"Known: {', '.join(BACKENDS)}")
    if (source is not None) != (backend == "mkv"):
        raise ConfigError(
            "the mkv backend plays a recording: name one" if source is None else f"{backend} plays no recording",
            where=f"sensor {spec.id}", fix="Give a recording together with the mkv backend, and only with it",
        )  # fmt: skip
    if backend == "auto":
        backend = _backend_for(spec)
    if backend == "mkv":
        from anim_real.capture.live.playback import MkvCamera

        assert source is not None
        return MkvCamera(spec, source, is_paced=is_paced)
    if backend == "pyk4a":
        from anim_real.capture.live.pyk4a_camera import Pyk4aCamera

        return Pyk4aCamera(spec)
    if backend == "orbbec":
        from anim_real.capture.live.orbbec_camera import OrbbecCamera

        return OrbbecCamera(spec, python=python, clock=clock)
    if virtual_rig is None:
        raise ConfigError("the virtual backend needs the studio that its cameras stand in", where=f"sensor {spec.id}")
    return virtual_rig.open(spec.id)


def survey_cameras(
    backend: str, *, python: Path | None = None
) -> tuple[list[CameraInfo], dict[str, MissingDependencyError]]:
    """The cameras that are connected now, and why a backend could not be asked.

    Args:
        backend: ``pyk4a``, ``orbbec``, or ``auto`` for both.
        python: interpreter that has pyorbbecsdk, see ``live.orbbec_camera``.

    Raises:
        ConfigError: no such backend, or one that has no devices (``mkv``, ``virtual``).
        MissingDependencyError: none of the backends asked is installed.
    """
    cameras: list[CameraInfo] = []
    missing: dict[str, MissingDependencyError] = {}
    asked = _asked(backend)
    for name in asked:
        try:
            cameras += _list_one(name, python)
        except MissingDependencyError as error:
            missing[name] = error
    if len(missing) == len(asked):
        what = "; ".join(error.what for error in missing.values())
        raise MissingDependencyError(what, fix=" | ".join(f"{name}: {error.fix}" for name, error in missing.items()))
    return cameras, missing


def _asked(backend: str) -> tuple[str, ...]:
    if backend not in ("auto", *_WITH_DEVICES):
        raise ConfigError(
            f"backend {backend!r} has no devices to list", where="--backend",
            fix=f"Known: auto, {', '.join(_WITH_DEVICES)}",
        )  # fmt: skip
    return _WITH_DEVICES if backend == "auto" else (backend,)


def _list_one(backend: str, python: Path | None) -> list[CameraInfo]:
    if backend == "pyk4a":
        from anim_real.capture.live.pyk4a_camera import list_pyk4a

        return list_pyk4a()
    from anim_real.capture.live.orbbec_camera import list_orbbec

    return list_orbbec(python=python)


def _backend_for(spec: SensorSpec) -> str:
    """The backend of a model: pyk4a for an Azure Kinect; for a Femto Bolt if its libk4a is Orbbec's."""
    if spec.model == "azure-kinect":
        return "pyk4a"
    from anim_real.capture.live.pyk4a_camera import pyk4a_maker

    try:
        return "pyk4a" if pyk4a_maker() == "Orbbec" else "orbbec"
    except MissingDependencyError:
        return "orbbec"
