"""What an Azure Kinect adds to the truth: depth noise, drop-outs, bias, the illuminated hexagon, image noise.

Figures come from SENSOR.md, "Noise": 0.6/0.9/1.8 mm at 0.8/1.5/3 m for good reflectors, random error
at most 17 mm, systematic error below 11 mm + 0.1 % of the range, all for NFOV_UNBINNED; ranges of the
modes are the hardware specification's, their noise factors are plausible choices, not measurements.
Amplitude is IR albedo x cosine of incidence / range² (metres), so 0.6 seen head-on at 1 m gives 0.6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.geometry.cameras import Camera
from anim_real.rig import DepthMode

Array = NDArray[np.float64]
Image = NDArray[np.float32]
_SIGMA_Z_M = (0.3, 0.8, 1.5, 3.0, 4.5)
_SIGMA_MM = (0.45, 0.6, 0.9, 1.8, 3.2)
_GOOD_ALBEDO = 0.7  # the reflector that the figures above were measured on, head-on
_MAX_SIGMA_MM = 6.0  # so that 17 mm is about three standard deviations
_MIN_AMPLITUDE = 0.0075  # below: no return. Albedo 0.04 head-on at 2.3 m, or 0.3 at 80 degrees at 2.6 m
_SATURATION = 3.0  # above: the sensor saturates
_RANGE_M = {
    "NFOV_2X2BINNED": (0.5, 5.46),
    "NFOV_UNBINNED": (0.5, 3.86),
    "WFOV_2X2BINNED": (0.25, 2.88),
    "WFOV_UNBINNED": (0.25, 2.21),
    "PASSIVE_IR": (0.0, 0.0),  # no light of its own, hence no depth
}
_NOISE_FACTOR = {"NFOV_2X2BINNED": 0.7, "WFOV_2X2BINNED": 1.3, "WFOV_UNBINNED": 2.0}  # of NFOV_UNBINNED's
_IR_PER_AMPLITUDE = 9_000.0  # raw counts; a white shirt at 2 m reads about 1,500
_IR_NOISE = 12.0
_HEXAGON = (0.694, -0.09, 0.557, 0.597)  # half width and row of the side corners in focal lengths; slopes above, below


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthError:
    """Systematic depth error of one device, as a smooth function of range and place in the image.

    Attributes:
        offset_m, slope: the affine part: ``offset_m + slope * range``.
        wiggle_m, wiggle_period_m, wiggle_phase: amplitude, period (range) and phase of the cyclic error.
        pattern_m: (h, w) low-frequency error over the image, metres.
    """

    offset_m: float
    slope: float
    wiggle_m: float
    wiggle_period_m: float
    wiggle_phase: float
    pattern_m: Array

    def of_range(self, range_m: ArrayLike) -> Array:
        """Error in metres at ranges in metres, without the image pattern."""
        range_m = np.asarray(range_m, dtype=np.float64)
        cyclic = np.sin(2.0 * np.pi * range_m / self.wiggle_period_m + self.wiggle_phase)
        return self.offset_m + self.slope * range_m + self.wiggle_m * cyclic


def make_depth_error(height: int, width: int, rng: np.random.Generator) -> DepthError:
    """Draw a device's systematic depth error: a few mm, a slope, about 1 mm of wiggle, about 0.4 mm of pattern."""
    v, u = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    basis = np.stack([u, v, u * v, u * u - 1 / 3, v * v - 1 / 3])
    pattern = np.tensordot(rng.normal(0.0, 1.0, 5), basis, 1)
    return DepthError(
        offset_m=float(rng.choice((-1.0, 1.0)) * rng.uniform(0.002, 0.005)),
        slope=float(rng.uniform(-0.0015, 0.0015)),
        wiggle_m=float(rng.uniform(0.0007, 0.0012)),
        wiggle_period_m=float(rng.uniform(0.6, 1.0)),
        wiggle_phase=float(rng.uniform(0.0, 2.0 * np.pi)),
        pattern_m=pattern * (0.0004 / pattern.std()),
    )


def illuminated(camera: Camera, mode: DepthMode = "NFOV_UNBINNED") -> NDArray[np.bool_]:
    """(h, w) mask of what the illuminator of a mode lights.

    NFOV: a hexagon, measured on the real recording's IR image. WFOV and PASSIVE_IR: all that the lens sees.
    """
    if not mode.startswith("NFOV"):
        return np.ones((camera.height, camera.width), dtype=bool)
    half, row, above, below = _HEXAGON
    v, u = np.meshgrid(np.arange(camera.height) - camera.cy, np.arange(camera.width) - camera.cx, indexing="ij")
    down = v - row * camera.fy
    return np.abs(u) < half * camera.fx - np.where(down < 0, -above, below) * down


def depth_sigma_mm(z_m: ArrayLike, amplitude: ArrayLike) -> Array:
    """Standard deviation of depth in millimetres at depth ``z_m`` (metres) and amplitude."""
    z_m = np.asarray(z_m, dtype=np.float64)
    good = _GOOD_ALBEDO / np.maximum(z_m, 0.1) ** 2
    loss = good / np.maximum(np.asarray(amplitude, dtype=np.float64), 1e-6)
    return np.minimum(np.interp(z_m, _SIGMA_Z_M, _SIGMA_MM) * np.maximum(loss, 0.8) ** 0.75, _MAX_SIGMA_MM)


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthOdds:
    """What the depth readings of every pixel are drawn from.

    Attributes:
        mean_mm, sigma_mm: (h, w) mean and standard deviation.
        low, high: (h, w) a reading is a return where a draw from [0, 1) lies in [low, high); else it is 0.
    """

    mean_mm: Array
    sigma_mm: Array
    low: Array
    high: Array


def depth_odds(
    z_m: Image,
    range_per_z: Array,
    amplitude: Image,
    ambiguity_m: Image,
    error: DepthError,
    mode: DepthMode = "NFOV_UNBINNED",
    scene_error_m: Array | float = 0.0,
) -> DepthOdds:
    """Odds of what the device reports.

    Args:
        z_m: (h, w) true depth along z, metres; inf where nothing was hit.
        range_per_z: (h, w) length of the ray at z = 1.
        amplitude: (h, w) returned amplitude; 0 where nothing is lit.
        ambiguity_m: (h, w) spread of depths inside the pixel's footprint; wide ones are often rejected.
        error: the systematic error.
        mode: depth mode, which sets range and noise.
        scene_error_m: (h, w) error along the ray that the scene causes, metres (``multipath``).
    """
    z_safe = np.where(np.isfinite(z_m), z_m, 10.0)
    range_m = z_safe * range_per_z
    biased = z_safe + (error.of_range(range_m) + error.pattern_m + scene_error_m) / range_per_z
    nearest, farthest = _RANGE_M[mode]
    possible = (range_m > nearest) & (z_safe < farthest) & (amplitude < _SATURATION)
    return DepthOdds(
        mean_mm=biased * 1000.0,
        sigma_mm=depth_sigma_mm(z_safe, amplitude) * _NOISE_FACTOR.get(mode, 1.0),
        low=np.where(ambiguity_m > 0.04, 0.5 + ambiguity_m.clip(0.0, 0.25), 0.0),
        high=np.where(possible, (np.asarray(amplitude, np.float64) / _MIN_AMPLITUDE - 0.8) / 0.4, 0.0).clip(0.0, 1.0),
    )


def measured_depth_mm(odds: DepthOdds, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Draw one depth image: (h, w) uint16 millimetres, 0 = no return."""
    noise = rng.standard_normal(odds.mean_mm.shape, dtype=np.float32)
    chance = rng.random(odds.mean_mm.shape, dtype=np.float32)
    depth_mm = np.rint(odds.mean_mm + odds.sigma_mm * noise)
    return np.where((odds.low <= chance) & (chance < odds.high), depth_mm, 0.0).astype(np.uint16)


def ir_odds(amplitude: Image) -> tuple[Array, Array]:
    """(h, w) mean and standard deviation of raw IR counts of amplitudes: read and shot noise."""
    counts = _IR_PER_AMPLITUDE * np.asarray(amplitude, np.float64)
    return counts, np.sqrt(_IR_NOISE**2 * 0.25 + 0.8 * counts)


def measured_ir(amplitude: Image, rng: np.random.Generator) -> NDArray[np.uint16]:
    """(h, w) raw IR counts of amplitudes, with read and shot noise."""
    counts, sigma = ir_odds(amplitude)
    noise = rng.standard_normal(amplitude.shape, dtype=np.float32)
    return np.clip(np.rint(counts + noise * sigma), 0, 65535).astype(np.uint16)


def noisy_color(color: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add sensor noise to (H, W, 3) values 0..255 and quantise: about 1.5 levels in the dark, 2.5 in the light."""
    luma = rng.standard_normal(color.shape[:2], dtype=np.float32)[..., None]
    sigma = 1.2 + 0.008 * color
    tint = np.roll(luma, (7, 13), (0, 1)) * np.array([0.6, -0.3, 0.5], dtype=np.float32)
    return np.clip(color + sigma * (luma + tint) + 0.5, 0, 255).astype(np.uint8)
