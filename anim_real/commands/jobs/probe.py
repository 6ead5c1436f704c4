"""Probing how the scanner's projector disturbs the depth cameras: off, on, off, in front of a still scene.

A person switches the projector when asked; the virtual studio switches its own. Writes a page and its figures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import SensorCalibration, load_calibration
from anim_real.capture.depth_statistics import DepthStatistics, first_reference
from anim_real.capture.interference import Interference, assess
from anim_real.capture.interference_limits import InterferenceLimits
from anim_real.capture.recorder.wired_sync import starting_order
from anim_real.console import Console, Result
from anim_real.depth_camera import DepthCamera, LiveCapture
from anim_real.errors import ConfigError, MissingDependencyError, RefusedError
from anim_real.files import atomic_folder, refuse_existing, write_json
from anim_real.geometry.depth import unproject
from anim_real.rig import RigSpec
from anim_real.studio.live import VirtualCamera

SCHEMA = "anim-real/probe/1"
_NUM_REFERENCE = 5
_SETTLE_S = 1.0  # captures that were under way when the projector was switched
_HAND_S = 5.0  # to switch it by hand when nobody confirms
_FIRST_S, _READ_S = 10.0, 2.0
_MAX_WITHOUT_DEPTH = 60

Switch = Callable[[bool], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Probed:
    """One sensor's findings.

    Attributes:
        sensor: its id.
        found: verdict, figures and maps.
        reference_mm: (h, w) depth without the projector, 0 = none.
        region: (h, w) pixels that counted.
        is_calibrated: whether the region is the rig's volume; else it is the whole image.
    """

    sensor: str
    found: Interference
    reference_mm: NDArray[np.float32]
    region: NDArray[np.bool_]
    is_calibrated: bool


def run_probe(
    rig: RigSpec,
    cameras: Mapping[str, DepthCamera],
    output: Path,
    *,
    console: Console,
    seconds: float = 5.0,
    calibration: Path | None = None,
    is_confirmed: bool = False,
    limits: InterferenceLimits | None = None,
) -> Result:
    """Measure every camera and write ``output/probe.html`` and ``output/probe.json``.

    Args:
        rig: the rig.
        cameras: opened, not yet started, by sensor id.
        output: folder to write; must not exist.
        console: where the person is told what to do.
        seconds: length of each of the three stretches.
        calibration: solved calibration: only what lies in the rig's volume counts then.
        is_confirmed: nobody presses Enter; each switch is announced and 5 s are given.
        limits: what is tolerated.

    Raises:
        ConfigError: a camera gives no depth, nobody can press Enter, or the calibration is not of these sensors.
        MissingDependencyError: a camera delivers nothing, or is lost.
        RefusedError: a camera is disturbed, or the measurement does not tell; the files are written.
    """
    limits = limits or InterferenceLimits()
    refuse_existing(output)
    _check(rig, cameras, seconds, limits)
    switch = _switch_of(cameras, console, is_confirmed)
    solved = {} if calibration is None else _solved(calibration, cameras)
    for sensor in starting_order(rig.sensors):
        cameras[sensor.id].start()
    stretches, references = _measure(rig, cameras, switch, seconds, console)
    probed = []
    for name in cameras:
        region = _region(rig, references[name], solved.get(name))
        before, lit, after = stretches[name]
        found = assess(before, lit, after, region, limits)
        probed.append(
            Probed(sensor=name, found=found, reference_mm=references[name], region=region, is_calibrated=name in solved)
        )
    return _write(rig, probed, limits, seconds, output)


def _measure(
    rig: RigSpec, cameras: Mapping[str, DepthCamera], switch: Switch, seconds: float, console: Console
) -> tuple[dict[str, list[DepthStatistics]], dict[str, NDArray[np.float32]]]:
    fps = {sensor.id: sensor.fps for sensor in rig.sensors}
    for name, camera in cameras.items():
        _next_depth(name, camera, _FIRST_S)
    switch(False)
    _skip(cameras, fps, _SETTLE_S)
    references = {
        name: first_reference([_depth(_next_depth(name, camera)) for _ in range(_NUM_REFERENCE)])
        for name, camera in cameras.items()
    }
    stretches: dict[str, list[DepthStatistics]] = {name: [] for name in cameras}
    for step, is_on in enumerate((False, True, False)):
        if step > 0:  # it is off already
            switch(is_on)
            _skip(cameras, fps, _SETTLE_S)
        console.say(f"measuring {seconds:g} s with the projector {'on' if is_on else 'off'}")
        for name in cameras:
            stretches[name].append(DepthStatistics(references[name], round(seconds * fps[name])))
        while not all(of_one[-1].is_full for of_one in stretches.values()):
            for name, camera in cameras.items():
                if not stretches[name][-1].is_full:
                    capture = _next_depth(name, camera)
                    stretches[name][-1].add(_depth(capture), capture.ir)
    return stretches, references


def _depth(capture: LiveCapture) -> NDArray[np.uint16]:
    assert capture.depth_mm is not None
    return capture.depth_mm


def _next_depth(name: str, camera: DepthCamera, timeout_s: float = _READ_S) -> LiveCapture:
    """The next capture that has depth."""
    for _ in range(_MAX_WITHOUT_DEPTH):
        try:
            capture = camera.read(timeout_s)
        except TimeoutError as error:
            raise MissingDependencyError(
                f"no capture within {timeout_s:g} s", where=f"sensor {name}",
                fix="Check the sync cable, the master and the trigger",
            ) from error  # fmt: skip
        if capture is None:
            raise ConfigError(
                "the recording ended before all stretches were measured", where=f"sensor {name}",
                fix="Probe a live camera",
            )  # fmt: skip
        if capture.depth_mm is not None:
            return capture
    raise MissingDependencyError(
        f"{_MAX_WITHOUT_DEPTH} captures in a row have no depth", where=f"sensor {name}",
        fix="Unplug the camera and plug it in again",
    )  # fmt: skip


def _skip(cameras: Mapping[str, DepthCamera], fps: Mapping[str, int], seconds: float) -> None:
    for _ in range(round(seconds * max(fps.values()))):
        for name, camera in cameras.items():
            _next_depth(name, camera)


def _switch_of(cameras: Mapping[str, DepthCamera], console: Console, is_confirmed: bool) -> Switch:
    """How the projector is switched: by the studio, by a person who confirms, or by one who is given time."""
    virtual = next((camera for camera in cameras.values() if isinstance(camera, VirtualCamera)), None)
    if virtual is not None:
        return virtual.stage.switch_projector
    if not is_confirmed and not sys.stdin.isatty():
        raise ConfigError(
            "nobody can press Enter here", where="--probe-scanner", fix="Run it in a terminal, or give --yes"
        )

    def switch(is_on: bool) -> None:
        text = f"Switch the scanner's projector {'ON' if is_on else 'OFF'} and leave the scene still"
        if is_confirmed:
            console.say(f"{text}: {_HAND_S:g} s")
            time.sleep(_HAND_S)
        else:
            sys.stderr.write(f"{text}, then press Enter ")
            sys.stderr.flush()
            sys.stdin.readline()

    return switch


def _check(rig: RigSpec, cameras: Mapping[str, DepthCamera], seconds: float, limits: InterferenceLimits) -> None:
    for sensor in rig.sensors:
        if sensor.depth_mode == "PASSIVE_IR":
            raise ConfigError(
                "PASSIVE_IR gives no depth to disturb", where=f"sensor {sensor.id}", fix="Set another depth_mode"
            )
        if seconds * sensor.fps < limits.min_captures:
            raise ConfigError(
                f"{seconds:g} s at {sensor.fps} fps are fewer than {limits.min_captures} captures",
                where=f"sensor {sensor.id}", fix=f"Probe for {limits.min_captures / sensor.fps:g} s or more",
            )  # fmt: skip
    missing = {sensor.id for sensor in rig.sensors} ^ set(cameras)
    if missing:
        raise ConfigError(f"cameras and sensors differ: {', '.join(sorted(missing))}", where=f"rig {rig.name}")


def _solved(path: Path, cameras: Mapping[str, DepthCamera]) -> dict[str, SensorCalibration]:
    sensors = load_calibration(path).sensors
    for name, camera in cameras.items():
        if name not in sensors:
            raise ConfigError(f"does not hold sensor {name!r}", where=path, fix="Give the calibration of this rig")
        if sensors[name].serial not in (None, camera.info.serial):
            raise ConfigError(
                f"sensor {name!r} was {sensors[name].serial}, this one is {camera.info.serial}", where=path,
                fix="Give the calibration of these devices",
            )  # fmt: skip
    return sensors


def _region(rig: RigSpec, reference_mm: NDArray[np.float32], solved: SensorCalibration | None) -> NDArray[np.bool_]:
    """(h, w) pixels whose depth lies in the rig's volume; all of them where nothing is calibrated."""
    if solved is None:
        return np.ones(reference_mm.shape, dtype=bool)
    z = solved.true_depth(reference_mm)
    points_depth = unproject(reference_mm, solved.depth.camera(), z)
    T_scan_depth = solved.T_color_scan.rigid().inverse() @ solved.T_color_depth.rigid()
    return rig.volume.contains(T_scan_depth.apply(points_depth), rig.scanner.up_vector)


def _write(rig: RigSpec, probed: list[Probed], limits: InterferenceLimits, seconds: float, output: Path) -> Result:
    from anim_real.commands.jobs.probe_page import probe_page

    record = {
        "schema": SCHEMA,
        "rig": rig.name,
        "seconds": seconds,
        "limits": vars(limits),
        "sensors": {item.sensor: {**item.found.record(), "in_volume": item.is_calibrated} for item in probed},
    }
    with atomic_folder(output) as folder:
        write_json(folder / "probe.json", record)
        probe_page(rig, probed, limits).save(folder / "probe.html")
    bad = [item for item in probed if item.found.verdict != "ok"]
    if bad:
        text = "; ".join(f"{item.sensor} {item.found.verdict}: {', '.join(item.found.reasons)}" for item in bad)
        raise RefusedError(text, where=f"rig {rig.name}", fix=f"See {output / 'probe.html'}")
    lines = tuple(
        f"{item.sensor}: {item.found.verdict}; bias {item.found.bias_mm:+.2f} ± {item.found.bias_se_mm:.2f} mm, "
        f"noise {item.found.noise_off_mm:.2f} to {item.found.noise_on_mm:.2f} mm, "
        f"drop-outs {item.found.dropout_off:.2%} to {item.found.dropout_on:.2%}"
        for item in probed
    )
    return Result(path=output, record=record, lines=lines)
