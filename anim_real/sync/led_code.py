"""The LED's code as a function of generator time, exact under any exposure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.rig import LedSpec
from anim_real.sync.pulses import MAX_DRIFT_PPM, Rate

Array = NDArray[np.float64]
PER_BIT = 8  # grid points per bit of a first search
TYPICAL_EXPOSURE_US = 8000.0


class LedCode:
    """The code's exact integral over generator time."""

    def __init__(self, led: LedSpec) -> None:
        self.bits = np.array([int(bit) for bit in led.code], dtype=np.float64)
        if self.bits.min() == self.bits.max():
            raise DataError("the LED code never changes", where="led.code")
        self.bit_us = float(led.bit_us)
        self.loop_us = self.bit_us * len(self.bits)
        three = np.tile(self.bits, 3)  # one turn to either side, so that an exposure may reach over the loop's ends
        self._bits = np.append(three, 0.0)
        self._sums = np.concatenate([[0.0], np.cumsum(three)])

    def level(self, time_us: Array, exposure_us: float) -> Array:
        """Mean of the code over exposures (shorter than a turn) centred at ``time_us``, µs of generator time."""
        center = np.mod(time_us, self.loop_us) / self.bit_us + len(self.bits)
        half = exposure_us / 2.0 / self.bit_us
        return (self._integral(center + half) - self._integral(center - half)) / (2.0 * half)

    def _integral(self, position: Array) -> Array:
        """Integral of three turns of the code from 0 to ``position``, in bits."""
        whole = position.astype(np.int64)
        return self._sums[whole] + self._bits[whole] * (position - whole)


def rates_to_try(code: LedCode, span_us: float, rate: Rate | None) -> Array:
    """Rates (ppm) worth trying: steps that move the ends of the record by 1/8 bit."""
    if rate is not None:
        return np.array([rate.drift_ppm])
    step = code.bit_us / PER_BIT / (span_us / 2.0) * 1e6
    count = int(np.ceil(MAX_DRIFT_PPM / step))
    return np.linspace(-MAX_DRIFT_PPM, MAX_DRIFT_PPM, 2 * count + 1)
