"""A scanner's systematic error: a smooth bend of its space, as its own calibration leaves it. Any frame, metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_NUM_WAVES = 8
_WAVELENGTH_M = (0.8, 2.5)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bend:
    """A displacement of space, ``cos(waves p + phases) amplitudes``.

    Attributes:
        waves: (K, 3) rad/m.
        phases: (K,) rad.
        amplitudes: (K, 3) metres.
    """

    waves: Array
    phases: Array
    amplitudes: Array

    @classmethod
    def draw(cls, rms_m: float, rng: np.random.Generator) -> Bend:
        """Draw a bend whose displacement has the root mean square length ``rms_m``."""
        directions = rng.normal(size=(_NUM_WAVES, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        waves = directions * (2 * np.pi / rng.uniform(*_WAVELENGTH_M, _NUM_WAVES))[:, None]
        amplitudes = rng.normal(size=(_NUM_WAVES, 3))
        amplitudes *= rms_m / np.sqrt((amplitudes**2).sum() / 2)
        return cls(waves=waves, phases=rng.uniform(0, 2 * np.pi, _NUM_WAVES), amplitudes=amplitudes)

    def __call__(self, points: Array) -> Array:
        """Displace points (N, 3)."""
        return points + np.cos(points @ self.waves.T + self.phases) @ self.amplitudes
