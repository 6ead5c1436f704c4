"""A virtual Azure Kinect: what its colour, depth and IR images of a scene are, before and after noise.

The studio's empty background is traced once per sensor; of each moment only the window around the
performer or target is traced again and composed by depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.rig import ColorFormat, DepthMode
from anim_real.studio.color_images import encode_color
from anim_real.studio.multipath import MultipathPatch, draw_patches, multipath_error
from anim_real.studio.noise import (
    DepthError,
    DepthOdds,
    depth_odds,
    illuminated,
    measured_depth_mm,
    measured_ir,
    noisy_color,
)
from anim_real.studio.scene import LED_RADIUS_M, Scene, reduced_texture
from anim_real.studio.tracing import F32, RayTable, Sight, Surface, Window, light_in

Array = NDArray[np.float64]
_EDGE_SHARE = 0.025  # depth steps above this share of z inside 3x3 pixels are edges
_FOOTPRINT_PX = ((-0.6, -0.3), (0.3, -0.6), (0.6, 0.3), (-0.3, 0.6))  # a depth pixel sees a little of its neighbours
_SAMPLES_PX = ((-0.25, -0.25), (0.25, -0.25), (0.25, 0.25), (-0.25, 0.25))
_SAMPLES_BY_NUMBER = {1: ((0.0, 0.0),), 2: _SAMPLES_PX[::2], 4: _SAMPLES_PX}
_LED_ON = np.array([120.0, 250.0, 140.0], dtype=np.float32)
_LED_OFF = np.array([40.0, 62.0, 44.0], dtype=np.float32)
_VOID_COLOR = 18.0
_AMBIENT_IR = 0.015  # amplitude of a white surface under the studio's own light (PASSIVE_IR)


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthTruth:
    """What the depth camera would see without noise.

    Attributes:
        z: (h, w) float32 depth in metres, mixed where a pixel straddles an edge; inf = nothing.
        amplitude: (h, w) float32 returned amplitude; 0 outside the lit hexagon.
        ambiguity: (h, w) float32 spread of depths within the pixel, metres.
        is_object: (h, w) which pixels show what stands in the studio.
        multipath: patches that measure too far.
    """

    z: F32
    amplitude: F32
    ambiguity: F32
    is_object: NDArray[np.bool_]
    multipath: tuple[MultipathPatch, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class ColorTruth:
    """What the colour camera would see without noise and LED: (H, W, 3) float32 0..255, and (H, W) depth."""

    color: F32
    z: F32


class VirtualKinect:
    """One device: its true cameras, place and depth error, and the empty studio as it sees it.

    Args:
        color, depth: true cameras.
        T_color_world, T_color_depth: true poses.
        error: systematic depth error.
        scene: the empty studio.
        mode: depth mode, that of ``depth``.
    """

    def __init__(
        self,
        *,
        color: Camera,
        depth: Camera,
        T_color_world: Rigid,
        T_color_depth: Rigid,
        error: DepthError,
        scene: Scene,
        mode: DepthMode = "NFOV_UNBINNED",
    ) -> None:
        self.color, self.depth, self.error = color, depth, error
        self.mode: DepthMode = mode
        self.T_color_world, self.T_color_depth = T_color_world, T_color_depth
        self.T_depth_world = T_color_depth.inverse() @ T_color_world
        self._color_rays, self._depth_rays = RayTable(color), RayTable(depth)
        self._lit = illuminated(depth, mode)
        self._led_color = T_color_world.apply(scene.led)
        self._empty_depth, self._empty_ir = self._background_depth(scene)
        self._empty_color = self._background_color(scene)

    def see_depth(self, surface: Surface, T_world_surface: Rigid, *, num_samples: int = 1) -> DepthTruth:
        """Trace a surface standing in the studio through the depth camera.

        Infrared is the mean of 1, 2 or 4 samples per pixel: one is enough where nothing is printed finely.
        """
        sight = self._sight(surface, self.T_depth_world @ T_world_surface, self.T_depth_world, self.depth)
        z, reflected = self._empty_depth.copy(), self._empty_ir.copy()
        window = self._depth_rays.window_of(sight.mesh.vertices)
        if window is not None:
            seen = sight.look(self._depth_rays.at(window).reshape(-1, 3), ir=True)
            assert seen.ir is not None
            _compose(z, window, seen.z, reflected, seen.ir)
            if num_samples > 1:
                reflected[window.slices] = self._mean_ir(sight, window, num_samples)
        is_object = z < self._empty_depth
        falloff = _AMBIENT_IR if self.mode == "PASSIVE_IR" else 1.0 / np.maximum(z * self._depth_rays.length, 0.2) ** 2
        amplitude = np.where(self._lit & np.isfinite(z), reflected * falloff, 0.0).astype(np.float32)
        ambiguity = np.zeros_like(z)
        if window is not None and self.mode != "PASSIVE_IR":
            self._mix_edges(sight, z, amplitude, ambiguity, window)
        return DepthTruth(z=z, amplitude=amplitude, ambiguity=ambiguity, is_object=is_object & (ambiguity == 0))

    def _mean_ir(self, sight: Sight, window: Window, num_samples: int) -> F32:
        """IR albedo times cosine in a window, mean over samples within each pixel."""
        behind, behind_ir = self._empty_depth[window.slices], self._empty_ir[window.slices]
        total = np.zeros(window.shape, np.float32)
        for offset in _SAMPLES_BY_NUMBER[num_samples]:
            seen = sight.look(self._depth_rays.at(window, offset).reshape(-1, 3), ir=True)
            assert seen.ir is not None
            front = seen.z.reshape(window.shape) < behind
            total += np.where(front, seen.ir.reshape(window.shape), behind_ir) / num_samples
        return total

    def with_multipath(self, truth: DepthTruth, largest_m: float, rng: np.random.Generator) -> DepthTruth:
        """The same scene with patches drawn that measure too far, by ``largest_m`` at most."""
        rays = self._depth_rays.directions
        return replace(truth, multipath=draw_patches(truth.z, truth.is_object, rays, largest_m, rng))

    def see_color(self, surface: Surface, T_world_surface: Rigid, *, num_samples: int = 4) -> ColorTruth:
        """Trace a surface through the colour camera with 1, 2 or 4 samples per pixel of its window."""
        sight = self._sight(surface, self.T_color_world @ T_world_surface, self.T_color_world, self.color)
        empty = self._empty_color
        window = self._color_rays.window_of(sight.mesh.vertices)
        if window is None:
            return empty
        rows = window.slices
        total = np.zeros((*window.shape, 3), dtype=np.float32)
        nearest = empty.z[rows].copy()
        samples = _SAMPLES_BY_NUMBER[num_samples]
        for offset in samples:
            seen = sight.look(self._color_rays.at(window, offset).reshape(-1, 3), color=True)
            assert seen.color is not None
            z = seen.z.reshape(window.shape)
            front = z < empty.z[rows]
            total += np.where(front[..., None], seen.color.reshape(total.shape), empty.color[rows])
            np.minimum(nearest, z, out=nearest)
        color, depth = empty.color.copy(), empty.z.copy()
        color[rows], depth[rows] = total / len(samples), nearest
        return ColorTruth(color=color, z=depth)

    def odds(self, truth: DepthTruth) -> DepthOdds:
        """What the depth readings of a scene are drawn from."""
        along_ray: Array | float = 0.0
        if truth.multipath:
            points = self._depth_rays.directions * np.where(np.isfinite(truth.z), truth.z, 0.0)[..., None]
            along_ray = multipath_error(points.astype(np.float64), truth.multipath)
        return depth_odds(
            truth.z, self._depth_rays.length, truth.amplitude, truth.ambiguity, self.error, self.mode, along_ray
        )  # fmt: skip

    def expose_depth(
        self, truth: DepthTruth, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Return depth (mm; all 0 in PASSIVE_IR) and IR images with the device's noise and bias."""
        depth_mm = measured_depth_mm(self.odds(truth), rng)
        return depth_mm, measured_ir(truth.amplitude, rng)

    def expose_color(
        self, truth: ColorTruth, led_level: float, rng: np.random.Generator, color_format: ColorFormat = "MJPG"
    ) -> bytes:
        """Return the colour image as the device codes it: LED at its level (0..1 of the exposure), sensor noise."""
        return encode_color(noisy_color(self.with_led(truth, led_level), rng), color_format)

    def led_pixel(self) -> Array:
        """(2,) where the LED is in the colour image."""
        return self.color.project(self._led_color)

    def with_led(self, truth: ColorTruth, level: float) -> F32:
        """(H, W, 3) the colour image with the LED at a level 0..1."""
        center, z = self.led_pixel(), self._led_color[2]
        radius = self.color.fx * LED_RADIUS_M / z
        reach = int(np.ceil(radius)) + 2
        if not np.isfinite(center).all():
            return truth.color
        low = np.maximum(np.rint(center).astype(int) - reach, 0)
        high = np.minimum(np.rint(center).astype(int) + reach + 1, (self.color.width, self.color.height))
        if (high <= low).any():
            return truth.color
        rows = slice(low[1], high[1]), slice(low[0], high[0])
        v, u = np.meshgrid(np.arange(low[1], high[1]), np.arange(low[0], high[0]), indexing="ij")
        share = np.clip(radius + 0.5 - np.hypot(u - center[0], v - center[1]), 0.0, 1.0) * (truth.z[rows] > z - 0.1)
        ball = _LED_OFF + level * (_LED_ON - _LED_OFF)
        image = truth.color.copy()
        image[rows] += share[..., None].astype(np.float32) * (ball - image[rows])
        return image

    def _sight(self, surface: Surface, T_camera_surface: Rigid, T_camera_world: Rigid, camera: Camera) -> Sight:
        distance = float(np.linalg.norm(T_camera_surface.apply(surface.mesh.vertices.mean(0))))
        return Sight(reduced_texture(surface, camera.fx / distance), T_camera_surface, light_in(T_camera_world))

    def _background_depth(self, scene: Scene) -> tuple[F32, F32]:
        whole = Window(left=0, top=0, right=self.depth.width, bottom=self.depth.height)
        z = np.full(whole.shape, np.inf, dtype=np.float32)
        reflected = np.zeros_like(z)
        for surface in scene.surfaces:
            sight = Sight(surface, self.T_depth_world, light_in(self.T_depth_world))
            seen = sight.look(self._depth_rays.at(whole).reshape(-1, 3), ir=True)
            assert seen.ir is not None
            _compose(z, whole, seen.z, reflected, seen.ir)
        return z, reflected

    def _background_color(self, scene: Scene) -> ColorTruth:
        whole = Window(left=0, top=0, right=self.color.width, bottom=self.color.height)
        total = np.zeros((*whole.shape, 3), dtype=np.float32)
        z = np.full(whole.shape, np.inf, dtype=np.float32)
        sights = [Sight(surface, self.T_color_world, light_in(self.T_color_world)) for surface in scene.surfaces]
        for offset in _SAMPLES_BY_NUMBER[2]:
            image = np.full_like(total, _VOID_COLOR)
            nearest = np.full_like(z, np.inf)
            directions = self._color_rays.at(whole, offset).reshape(-1, 3)
            for sight in sights:
                seen = sight.look(directions, color=True)
                assert seen.color is not None
                _compose(nearest, whole, seen.z, image, seen.color)
            total += image / 2
            np.minimum(z, nearest, out=z)
        return ColorTruth(color=total, z=z)

    def _mix_edges(self, sight: Sight, z: F32, amplitude: F32, ambiguity: F32, window: Window) -> None:
        """Flying pixels: a pixel on an edge returns the amplitude-weighted mean of what its footprint meets."""
        finite = np.where(np.isfinite(z), z, 20.0)
        step = cv2.dilate(finite, np.ones((3, 3))) - cv2.erode(finite, np.ones((3, 3)))
        inside = np.zeros(z.shape, dtype=bool)
        inside[window.slices] = True
        row, column = np.nonzero(inside & (step > _EDGE_SHARE * finite) & self._lit)
        rows = (row, column)
        if len(rows[0]) == 0:
            return
        behind, length = self._empty_depth[rows], self._depth_rays.length[rows]
        behind_ir = self._empty_ir[rows]
        depths, weights = [], []
        for offset in _FOOTPRINT_PX:
            seen = sight.look(self._depth_rays.at_pixels(rows, offset), ir=True)
            assert seen.ir is not None
            front = seen.z < behind
            depths.append(np.where(front, seen.z, behind))
            weights.append(np.where(front, seen.ir, behind_ir) / np.maximum(depths[-1] * length, 0.2) ** 2)
        stack, weight = np.stack(depths), np.stack(weights) + 1e-9
        near = np.where(np.isfinite(stack), stack, 20.0)
        z[rows] = (near * weight).sum(0) / weight.sum(0)
        amplitude[rows] = weight.mean(0)
        ambiguity[rows] = near.max(0) - near.min(0)


def _compose(z: F32, window: Window, seen_z: F32, values: F32, seen_values: F32) -> None:
    """Write what is nearer into the images, in place."""
    rows = window.slices
    front = (seen_z.reshape(window.shape)) < z[rows]
    z[rows][front] = seen_z.reshape(window.shape)[front]
    values[rows][front] = seen_values.reshape(*window.shape, *values.shape[2:])[front]
