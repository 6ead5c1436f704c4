"""Images of a still scene at the rate of a camera: traced once, then only noise.

Depth and IR are drawn anew for every capture, from a table of normal and uniform numbers that is read at
random places: a pixel's readings are independent, which statistics over time rely on. Colour repeats a few
noisy images, coded when the camera is opened, and is traced at no more than ``MAX_COLOR_WIDTH``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.frames import Rigid
from anim_real.studio.color_images import encode_color
from anim_real.studio.devices import Device
from anim_real.studio.faults import Faults
from anim_real.studio.noise import ir_odds, noisy_color
from anim_real.studio.tracing import Surface

F32 = NDArray[np.float32]
MAX_COLOR_WIDTH = 1280
_TABLE_SIZE = 1 << 21  # starting places; two of 300 captures share one in 2 % of the cases
_NUM_COLOR_IMAGES = 6  # of 720P; fewer of larger modes
_PIXELS_720P = 1280 * 720


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseTable:
    """Random numbers to read at random places: ``normal`` and ``uniform``, flat, float32."""

    normal: F32
    uniform: F32


def make_noise_table(max_pixels: int, rng: np.random.Generator) -> NoiseTable:
    """Draw a table for images of up to ``max_pixels``."""
    size = _TABLE_SIZE + max_pixels
    return NoiseTable(normal=rng.standard_normal(size, dtype=np.float32), uniform=rng.random(size, dtype=np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveDepth:
    """Odds of depth and IR, flat float32 of ``shape``: see ``noise.DepthOdds``; IR as mean and standard deviation."""

    shape: tuple[int, int]
    mean_mm: F32
    sigma_mm: F32
    low: F32
    high: F32
    ir_mean: F32
    ir_sigma: F32

    def draw(self, table: NoiseTable, rng: np.random.Generator) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Draw one depth image (mm, 0 = no return) and one IR image."""
        depth_mm, ir = np.empty(self.shape, np.uint16), np.empty(self.shape, np.uint16)
        starts = rng.integers(0, _TABLE_SIZE, 3)
        _draw(
            self.mean_mm, self.sigma_mm, self.low, self.high, self.ir_mean, self.ir_sigma, table.normal, table.uniform,
            int(starts[0]), int(starts[1]), int(starts[2]), depth_mm.ravel(), ir.ravel(),
        )  # fmt: skip
        return depth_mm, ir

    def lit(self, faults: Faults) -> LiveDepth:
        """The same scene while the scanner's projector is on."""
        height, width = self.shape
        v, u = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
        effect = projector_effect(v, u).astype(np.float32).ravel()
        return replace(
            self,
            mean_mm=self.mean_mm + faults.lit_bias_mm * effect,
            sigma_mm=self.sigma_mm * (1.0 + (faults.lit_noise_factor - 1.0) * effect),
            high=self.low + np.maximum(self.high - self.low, 0.0) * (1.0 - faults.lit_dropout_share * effect),
            ir_mean=self.ir_mean + faults.lit_ir_counts * effect,
            ir_sigma=np.sqrt(self.ir_sigma**2 + faults.lit_ir_counts * effect),
        )


def projector_effect(v: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the projector's effect, 1 at the middle to 0.1 at the corners; coordinates run -1..1 over the image."""
    return np.power(10.0, -(u * u + v * v) / 2.0)


def live_depth(device: Device, surface: Surface, T_world_surface: Rigid) -> LiveDepth:
    """Trace the still scene through the depth camera."""
    truth = device.kinect.see_depth(surface, T_world_surface)
    odds = device.kinect.odds(truth)
    ir_mean, ir_sigma = ir_odds(truth.amplitude)
    flat = [
        np.ascontiguousarray(image, np.float32).ravel()
        for image in (odds.mean_mm, odds.sigma_mm, odds.low, odds.high, ir_mean, ir_sigma)
    ]
    return LiveDepth(
        shape=truth.z.shape, mean_mm=flat[0], sigma_mm=flat[1], low=flat[2], high=flat[3], ir_mean=flat[4],
        ir_sigma=flat[5],
    )  # fmt: skip


def live_colors(
    device: Device, surface: Surface, T_world_surface: Rigid, size: tuple[int, int], rng: np.random.Generator
) -> tuple[bytes, ...]:
    """Noisy colour images of the still scene, (width, height) ``size``, coded in the sensor's format."""
    kinect = device.kinect
    image = kinect.with_led(kinect.see_color(surface, T_world_surface, num_samples=2), 0.0)
    if image.shape[1::-1] != size:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.float32)
    num = int(np.clip(_NUM_COLOR_IMAGES * _PIXELS_720P / (size[0] * size[1]), 2, _NUM_COLOR_IMAGES))
    return tuple(encode_color(noisy_color(image, rng), device.spec.color_format) for _ in range(num))


@numba.njit(cache=True, nogil=True)
def _draw(
    mean: F32, sigma: F32, low: F32, high: F32, ir_mean: F32, ir_sigma: F32, normal: F32, uniform: F32,
    first: int, second: int, third: int, depth: NDArray[np.uint16], ir: NDArray[np.uint16],
) -> None:  # fmt: skip
    for i in range(mean.size):
        chance = uniform[second + i]
        value = np.rint(mean[i] + sigma[i] * normal[first + i])
        depth[i] = np.uint16(value) if low[i] <= chance < high[i] and 0.0 < value < 65536.0 else np.uint16(0)
        counts = np.rint(ir_mean[i] + ir_sigma[i] * normal[third + i])
        ir[i] = np.uint16(min(max(counts, 0.0), 65535.0))
