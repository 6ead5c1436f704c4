"""A small world of clocks with known truth, written apart from the virtual studio: the oracle of these tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anim_real.rig import LedSpec
from anim_real.sync.clocks import Stamps
from anim_real.sync.led import LedSamples

PERIOD_US = 1e6 / 30.0


def lfsr_code(order: int, taps: tuple[int, int]) -> str:
    """Maximum-length sequence of 2**order - 1 bits."""
    state, bits = [1] * order, []
    for _ in range(2**order - 1):
        bits.append(state[-1])
        state = [state[taps[0] - 1] ^ state[taps[1] - 1], *state[:-1]]
    return "".join(map(str, bits))


LED = LedSpec(code=lfsr_code(7, (7, 6)), bit_us=47_300)


@dataclass(frozen=True, kw_only=True)
class World:
    """Two clocks against true time (µs): ``reading = offset + (1 + ppm * 1e-6) * true``."""

    rng: np.random.Generator
    device_offset: float
    device_ppm: float
    scanner_offset: float
    scanner_ppm: float
    latency_us: float
    jitter_us: float = 30.0
    drop: float = 0.3
    led_start: float = 0.0
    led: LedSpec = field(default_factory=lambda: LED)

    def device(self, true_us: NDArray[np.float64]) -> NDArray[np.float64]:
        """Device reading at true times."""
        return self.device_offset + (1.0 + self.device_ppm * 1e-6) * true_us

    def scanner(self, true_us: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scanner reading at true times."""
        return self.scanner_offset + (1.0 + self.scanner_ppm * 1e-6) * true_us

    @property
    def drift_ppm(self) -> float:
        """True rate of the scanner clock against the device clock."""
        return ((1.0 + self.scanner_ppm * 1e-6) / (1.0 + self.device_ppm * 1e-6) - 1.0) * 1e6

    def to_scanner(self, device_us: NDArray[np.float64]) -> NDArray[np.float64]:
        """True map of device readings to scanner readings."""
        return self.scanner((device_us - self.device_offset) / (1.0 + self.device_ppm * 1e-6))

    def record(self, start_us: float, num: int) -> Recorded:
        """Both systems follow ``num`` pulses; the device drops frames."""
        pulses = start_us + np.arange(num) * PERIOD_US + self.rng.normal(0.0, self.jitter_us, num)
        kept = np.flatnonzero(self.rng.random(num) >= self.drop)
        exposed = pulses[kept] + self.latency_us
        return Recorded(
            stamps=Stamps(
                device_us=np.rint(self.device(exposed)).astype(np.int64),
                scanner_us=np.rint(self.scanner(pulses)).astype(np.int64),
                device_period_us=PERIOD_US,
                scanner_period_us=PERIOD_US,
                is_triggered=True,
            ),
            pulse_us=pulses,
            exposed_us=exposed,
            kept=kept,
        )

    def led_levels(self, true_us: NDArray[np.float64], exposure_us: float, noise: float) -> NDArray[np.float64]:
        """Brightness by brute force: the mean of 64 instants of each exposure."""
        instants = true_us[:, None] + exposure_us * ((np.arange(64) + 0.5) / 64 - 0.5)
        bit = np.floor((instants - self.led_start) / self.led.bit_us).astype(int) % len(self.led.code)
        lit = np.array([int(b) for b in self.led.code])[bit].mean(1)
        return lit + self.rng.normal(0.0, noise, len(true_us))

    def led_pair(self, recorded: Recorded, noise: float = 0.03) -> tuple[LedSamples, LedSamples]:
        """The LED as the device (8 ms) and the scanner (4 ms) see it."""
        device = LedSamples(
            time_us=recorded.stamps.device_us, level=40.0 + 150.0 * self.led_levels(recorded.exposed_us, 8000.0, noise)
        )
        scanner = LedSamples(
            time_us=recorded.stamps.scanner_us, level=self.led_levels(recorded.pulse_us, 4000.0, noise)
        )
        return device, scanner


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """One take of the world: stamps, and the true times behind them."""

    stamps: Stamps
    pulse_us: NDArray[np.float64]
    exposed_us: NDArray[np.float64]
    kept: NDArray[np.int64]


def make_world(seed: int, *, led: LedSpec = LED, drop: float = 0.3, jitter_us: float = 30.0) -> World:
    """Draw a world: arbitrary offsets, up to 389 ppm, latency of 2-7 frames and a rest within 2 ms."""
    rng = np.random.default_rng(seed)
    return World(
        rng=rng,
        device_offset=rng.uniform(0.0, 3e9),
        device_ppm=rng.choice([-389.0, 389.0]),
        scanner_offset=rng.uniform(0.0, 3e11),
        scanner_ppm=rng.uniform(-50.0, 50.0),
        latency_us=rng.integers(2, 8) * PERIOD_US + rng.uniform(-2000.0, 2000.0),
        jitter_us=jitter_us,
        drop=drop,
        led_start=rng.uniform(0.0, 1e7),
        led=led,
    )
