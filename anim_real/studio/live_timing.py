"""When the cameras of a live virtual rig expose: free running, by their master's pulses, or by a trigger box.

Studio time in microseconds (float) as everywhere in the studio. A subordinate that was not yet started at
its master's first pulse never joins in; one whose cable is pulled runs on by its own clock.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from anim_real.studio.devices import stream

_READY_US = 150_000.0  # from start to the first exposure of a camera that sets the pace
_TAG_JITTER = 31


class Exposures(ABC):
    """The times of a camera's exposures, counted from 0."""

    @abstractmethod
    def time_us(self, index: int) -> float | None:
        """Centre of exposure ``index``; None while (or if ever) no pulse causes it."""


@dataclass(frozen=True, kw_only=True)
class FreeRunning(Exposures):
    """A camera that sets its own pace: it begins a little after its start and stops when it is closed."""

    start_us: float
    period_us: float

    def time_us(self, index: int) -> float:
        """Centre of exposure ``index``."""
        return self.start_us + _READY_US + index * self.period_us


@dataclass(frozen=True, kw_only=True)
class BoxTriggered(Exposures):
    """A camera on a trigger box whose pulses, with jitter, run all the time."""

    start_us: float
    period_us: float
    jitter_us: float
    delay_us: float
    seed: int

    def time_us(self, index: int) -> float:
        """Centre of exposure ``index``."""
        pulse = math.ceil((self.start_us + _READY_US) / self.period_us) + index
        jitter = stream(self.seed, _TAG_JITTER, pulse).normal(0.0, self.jitter_us)
        return pulse * self.period_us + float(jitter) + self.delay_us


@dataclass(kw_only=True)
class Pulses:
    """What the master sends down the cable: its own exposures, from its start to its stop."""

    exposures: FreeRunning | None = None
    stop_us: float = math.inf


@dataclass(frozen=True, kw_only=True)
class MasterTriggered(Exposures):
    """A camera that exposes ``delay_us`` after each pulse of its master, if it was waiting at the first."""

    start_us: float
    delay_us: float
    pulses: Pulses

    def time_us(self, index: int) -> float | None:
        """Centre of exposure ``index``; None without a pulse."""
        master = self.pulses.exposures
        if master is None or master.time_us(0) < self.start_us or master.time_us(index) > self.pulses.stop_us:
            return None
        return master.time_us(index) + self.delay_us


@dataclass(frozen=True, kw_only=True)
class Unplugged(Exposures):
    """A triggered camera whose cable is pulled: from then on it exposes once in a period of its own clock."""

    triggered: Exposures
    after_us: float
    period_us: float

    def time_us(self, index: int) -> float | None:
        """Centre of exposure ``index``."""
        first_us = self.triggered.time_us(0)
        if first_us is None:
            return None
        triggered_us = self.triggered.time_us(index)
        pulled_us = first_us + self.after_us
        if triggered_us is not None and triggered_us <= pulled_us:
            return triggered_us
        last = min(index, int(self.after_us / self.period_us) + 1)
        while (last_us := self.triggered.time_us(last)) is None or last_us > pulled_us:
            last -= 1
        return last_us + (index - last) * self.period_us
