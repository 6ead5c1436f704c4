"""What the sync cables of a rig must look like: roles, delays, plugs and the order of starting.

Rules of the Azure Kinect: at most one master; subordinates are started before it; each needs a signal on its
sync-in; depth cameras that light the same scene fire at least 160 µs apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from anim_real.capture.live.live_modes import check_modes
from anim_real.capture.recorder.trigger_health import exposure_delay_us
from anim_real.depth_camera import CableState
from anim_real.errors import ConfigError, MissingDependencyError
from anim_real.rig import RigSpec, SensorSpec

TOF_SPACING_US = 160
_DEVICE_FPS = (5, 15, 30)


def starting_order(sensors: Sequence[SensorSpec]) -> list[SensorSpec]:
    """Subordinates, which then wait for pulses, before all others; the master last."""
    rank = {"SUBORDINATE": 0, "STANDALONE": 1, "MASTER": 2}
    return sorted(sensors, key=lambda sensor: rank[sensor.sync_mode])


def check_roles(rig: RigSpec) -> tuple[str, ...]:
    """Check roles, rates and delays of a rig before any device is touched.

    Returns:
        Remarks: what is allowed but seldom meant.

    Raises:
        ConfigError: the sensors cannot run together as the rig says.
    """
    where = f"rig {rig.name}"
    masters = [sensor for sensor in rig.sensors if sensor.sync_mode == "MASTER"]
    subordinates = [sensor for sensor in rig.sensors if sensor.sync_mode == "SUBORDINATE"]
    if len(masters) > 1:
        names = ", ".join(sensor.id for sensor in masters)
        raise ConfigError(f"has several masters ({names})", where=where, fix="Make all but one SUBORDINATE")
    if subordinates and not masters and rig.trigger is None:
        raise ConfigError(
            f"sensor {subordinates[0].id!r} is SUBORDINATE, but nothing triggers it", where=where,
            fix='Make one sensor MASTER, or describe the trigger box in [trigger]',
        )  # fmt: skip
    _check_rates(masters + subordinates, rig if not masters and subordinates else None, where)
    for sensor in rig.sensors:
        check_modes(sensor)
    return (*_role_remarks(rig, masters, subordinates), *spacing_remarks(masters + subordinates))


def _check_rates(linked: Sequence[SensorSpec], triggered: RigSpec | None, where: str) -> None:
    rates = {sensor.id: sensor.fps for sensor in linked}
    if len(set(rates.values())) > 1:
        raise ConfigError(f"sensors on one sync cable run at several rates {rates}", where=where, fix="Set one fps")
    if triggered is None or triggered.trigger is None:
        return
    fps = triggered.trigger.fps
    if fps not in _DEVICE_FPS or fps != linked[0].fps:
        raise ConfigError(
            f"the trigger runs at {fps:g} Hz, sensor {linked[0].id!r} at {linked[0].fps} fps", where=where,
            fix="Trigger at exactly the sensors' rate: 5, 15 or 30 Hz",
        )  # fmt: skip


def _role_remarks(rig: RigSpec, masters: Sequence[SensorSpec], subordinates: Sequence[SensorSpec]) -> tuple[str, ...]:
    remarks = []
    if masters and not subordinates and len(rig.sensors) > 1:
        remarks.append(f"{masters[0].id} is MASTER, but no sensor follows it")
    if masters and rig.trigger is not None:
        remarks.append(f"{masters[0].id} is MASTER and follows no trigger box: feed the scanner from its sync-out")
    alone = [sensor.id for sensor in rig.sensors if sensor.sync_mode == "STANDALONE"]
    if alone and len(rig.sensors) > 1:
        remarks.append(f"{', '.join(alone)} run freely: their depth light disturbs the others at times")
    return tuple(remarks)


def spacing_remarks(linked: Sequence[SensorSpec]) -> tuple[str, ...]:
    """One remark for every two depth cameras that fire less than 160 µs apart."""
    lit = [sensor for sensor in linked if sensor.depth_mode != "PASSIVE_IR"]
    remarks = []
    for first, second in combinations(lit, 2):
        period_us = 1e6 / first.fps
        apart_us = (exposure_delay_us(second) - exposure_delay_us(first)) % period_us
        apart_us = min(apart_us, period_us - apart_us)
        if apart_us < TOF_SPACING_US:
            remarks.append(
                f"depth of {first.id} and {second.id} fires {apart_us:.0f} µs apart and needs {TOF_SPACING_US}:"
                " set subordinate_delay_us or depth_delay_us"
            )
    return tuple(remarks)


def check_cables(sensors: Sequence[SensorSpec], cables: Mapping[str, CableState]) -> tuple[str, ...]:
    """Compare the plugs of opened devices with their roles.

    Args:
        sensors: the rig's.
        cables: state by sensor id.

    Returns:
        Remarks, where a device does not tell or a cable is plugged in for nothing.

    Raises:
        MissingDependencyError: a cable that the role needs is not plugged in.
    """
    has_subordinates = any(sensor.sync_mode == "SUBORDINATE" for sensor in sensors)
    remarks = []
    for sensor in sensors:
        state = cables[sensor.id]
        needed = {"SUBORDINATE": ("sync-in", state.sync_in), "MASTER": ("sync-out", state.sync_out)}.get(
            sensor.sync_mode
        )
        if needed is None:
            if state.sync_in:
                remarks.append(f"{sensor.id} is STANDALONE, the cable on its sync-in does nothing")
            continue
        plug, is_plugged = needed
        if plug == "sync-out" and not has_subordinates:
            continue
        if is_plugged is None:
            remarks.append(f"{sensor.id} does not tell whether its {plug} cable is plugged in")
        elif not is_plugged:
            raise MissingDependencyError(
                f"sensor {sensor.id!r} is {sensor.sync_mode}, but no cable is in its {plug}",
                fix="Plug it in, or correct sync_mode in the rig",
            )
    return tuple(remarks)
