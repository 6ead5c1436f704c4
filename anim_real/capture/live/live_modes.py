"""What every live camera is asked before it is opened: whether its modes exist and its delays fit."""

from __future__ import annotations

from anim_real.errors import ConfigError
from anim_real.rig import SensorSpec

_MAX_15_FPS = {"depth_mode": ("WFOV_UNBINNED",), "color_mode": ("3072P",)}


def check_modes(spec: SensorSpec) -> None:
    """Refuse a configuration that the device cannot run.

    Source: ``k4a_device_start_cameras``' rules (k4a.c, validate_configuration) and the hardware's mode table.

    Raises:
        ConfigError: a mode too fast for the device, a colour format that a resolution lacks, an impossible delay.
    """
    where = f"sensor {spec.id}"
    for key, modes in _MAX_15_FPS.items():
        if getattr(spec, key) in modes and spec.fps == 30:
            raise ConfigError(f"{getattr(spec, key)} runs at 15 fps at most", where=where, fix="Set fps = 15")
    if spec.model == "azure-kinect" and spec.color_format in ("NV12", "YUY2") and spec.color_mode != "720P":
        raise ConfigError(
            f"{spec.color_format} exists at 720P only",
            where=where,
            fix="Set color_format = 'MJPG' or color_mode = '720P'",
        )
    period_us = 1_000_000 // spec.fps
    if abs(spec.depth_delay_us) > period_us:
        raise ConfigError(f"depth_delay_us {spec.depth_delay_us} is longer than a frame ({period_us} µs)", where=where)
    if spec.subordinate_delay_us and spec.sync_mode != "SUBORDINATE":
        raise ConfigError(
            f"subordinate_delay_us needs sync_mode SUBORDINATE, not {spec.sync_mode}", where=where, fix="Set it to 0"
        )
    if spec.subordinate_delay_us > period_us:
        raise ConfigError(
            f"subordinate_delay_us {spec.subordinate_delay_us} is longer than a frame ({period_us} µs)", where=where
        )
