"""What goes wrong with a live virtual camera, on request: lost frames, a pulled cable, a projector that disturbs.

Indices count a camera's captures from 0; times are seconds of studio time after its first exposure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from anim_real.errors import ConfigError
from anim_real.rig import RigSpec


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Faults of one camera; none by default.

    Attributes:
        drop: captures that never arrive.
        drop_share: share 0..1 of further captures that never arrive, drawn at random.
        no_color, no_depth: captures that arrive without colour; without depth and IR.
        unplug_s: when a subordinate's sync cable is pulled; it runs on by its own clock.
        lose_s: when the device disappears from its port.
        lit_bias_mm: what the scanner's projector adds to depth while it is on. All its effects are full at the
            middle of the depth image and fall off smoothly to its corners (``live_images.projector_effect``).
        lit_noise_factor: multiplies the standard deviation of depth, 1 or more.
        lit_dropout_share: share 0..1 of returns that it costs.
        lit_ir_counts: what it adds to IR.
    """

    drop: tuple[int, ...] = ()
    drop_share: float = 0.0
    no_color: tuple[int, ...] = ()
    no_depth: tuple[int, ...] = ()
    unplug_s: float | None = None
    lose_s: float | None = None
    lit_bias_mm: float = 0.0
    lit_noise_factor: float = 1.0
    lit_dropout_share: float = 0.0
    lit_ir_counts: float = 0.0

    def __post_init__(self) -> None:
        for key, low, high in (
            ("drop_share", 0.0, 1.0),
            ("lit_bias_mm", -1000.0, 1000.0),
            ("lit_noise_factor", 1.0, 100.0),
            ("lit_dropout_share", 0.0, 1.0),
            ("lit_ir_counts", 0.0, 65535.0),
        ):
            if not low <= getattr(self, key) <= high:
                raise ConfigError(f"{key} {getattr(self, key)} is not in {low:g}..{high:g}", where="faults")
        for key in ("unplug_s", "lose_s"):
            value = getattr(self, key)
            if value is not None and not 0.0 <= value < math.inf:
                raise ConfigError(f"{key} {value} is no time after the first exposure", where="faults")
        for key in ("drop", "no_color", "no_depth"):
            if min(getattr(self, key), default=0) < 0:
                raise ConfigError(f"{key} {min(getattr(self, key))} is no capture: they count from 0", where="faults")

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read ``key=value,key=value``; several captures are joined by ``+``: ``drop=3+7,unplug_s=2.5``.

        Raises:
            ConfigError: no such fault, or a value that is no number.
        """
        readers: dict[str, Callable[[str], object]] = {
            field.name: _indices if field.name in ("drop", "no_color", "no_depth") else float for field in fields(cls)
        }
        values: dict[str, object] = {}
        for part in filter(None, text.split(",")):
            key, _, value = part.partition("=")
            if key not in readers:
                raise ConfigError(f"no fault {key!r}", where="faults", fix=f"Known: {', '.join(readers)}")
            try:
                values[key] = readers[key](value)
            except ValueError as error:
                raise ConfigError(f"{value!r} is no value of {key}", where="faults", fix="Give numbers") from error
        return cls(**values)  # type: ignore[arg-type]


def check_faults(rig: RigSpec, faults: Mapping[str, Faults]) -> None:
    """Raise ``ConfigError`` if the rig has no such sensor, or the sensor no cable that could be pulled."""
    sensors = {sensor.id: sensor for sensor in rig.sensors}
    for sensor_id, fault in faults.items():
        if sensor_id not in sensors:
            raise ConfigError(f"no sensor {sensor_id!r}", where="faults", fix=f"The rig has {', '.join(sensors)}")
        if fault.unplug_s is not None and sensors[sensor_id].sync_mode != "SUBORDINATE":
            raise ConfigError(f"sensor {sensor_id!r} is no subordinate: it has no cable to pull", where="faults")


def _indices(text: str) -> tuple[int, ...]:
    return tuple(int(value) for value in text.split("+"))
