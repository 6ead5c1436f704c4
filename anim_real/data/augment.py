"""Augmentation that keeps image, camera, depth and labels consistent; each change is exact.

``flip`` mirrors the scene, ``scale`` makes person and distance larger together (the image stays),
``shift`` moves the crop by whole pixels, ``brightness`` changes colour only. Rotating a person needs
another image and is left to rendering.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from anim_real.data.examples import Example, PreparedFrame
from anim_real.geometry.cameras import OrthographicCamera
from anim_real.specs import Spec

_MIRROR = np.array([-1.0, 1.0, 1.0], dtype=np.float32)


class AugmentSpec(Spec):
    """How much to change; all off by default."""

    flip: bool = False
    scale: float = Field(default=0.0, ge=0, lt=0.5, description="largest relative change of size")
    shift_px: int = Field(default=0, ge=0, description="largest move of the crop, pixels of the network's image")
    brightness: float = Field(default=0.0, ge=0, lt=1, description="largest relative change of each colour channel")


def augment(example: Example, spec: AugmentSpec, rng: np.random.Generator) -> Example:
    """Return a changed example; the same generator state gives the same change."""
    should_flip = spec.flip and rng.random() < 0.5
    factor = 1.0 + rng.uniform(-spec.scale, spec.scale)
    shift = rng.integers(-spec.shift_px, spec.shift_px + 1, 2)
    gains = 1.0 + rng.uniform(-spec.brightness, spec.brightness, 3)
    if should_flip:
        example = flip(example)
    if spec.scale:
        example = rescale(example, factor)
    if spec.shift_px:
        example = replace(example, frame=shifted(example.frame, int(shift[0]), int(shift[1])))
    if spec.brightness:
        brighter = np.clip(example.frame.color * gains, 0, 255).astype(np.uint8)
        example = replace(example, frame=replace(example.frame, color=brighter))
    return example


def flip(example: Example) -> Example:
    """Mirror the scene left to right."""
    frame = example.frame
    mirrored = replace(
        frame,
        color=frame.color[:, ::-1].copy(),
        normals=frame.normals[:, ::-1] * _MIRROR,
        relative_depth=frame.relative_depth[:, ::-1].copy(),
        is_person=frame.is_person[:, ::-1].copy(),
        points_color=frame.points_color * _MIRROR,
        center=frame.center * _MIRROR,
        camera=frame.camera.flip(),
    )
    return replace(
        example, frame=mirrored, points=example.points * _MIRROR, depth_points=example.depth_points * _MIRROR
    )


def rescale(example: Example, factor: float) -> Example:
    """Make the scene ``factor`` times as large about the camera; a perspective image does not change."""
    frame = example.frame
    camera = frame.camera
    if isinstance(camera, OrthographicCamera):
        camera = replace(camera, px_per_m=camera.px_per_m / factor)
    factor32 = np.float32(factor)
    larger = replace(
        frame,
        relative_depth=frame.relative_depth * factor32,
        points_color=frame.points_color * factor32,
        center=frame.center * factor,
        camera=camera,
    )
    return replace(
        example,
        frame=larger,
        points=example.points * factor32,
        sdf=example.sdf * factor32,
        depth_points=example.depth_points * factor32,
        depth_sdf=example.depth_sdf * factor32,
    )


def shifted(frame: PreparedFrame, right: int, down: int) -> PreparedFrame:
    """Move the crop so that its content goes ``right`` and ``down`` pixels; what enters is empty."""
    return replace(
        frame,
        color=_moved(frame.color, right, down),
        normals=_moved(frame.normals, right, down),
        relative_depth=_moved(frame.relative_depth, right, down),
        is_person=_moved(frame.is_person, right, down),
        camera=frame.camera.crop(-right, -down, frame.camera.width, frame.camera.height),
    )


def _moved(image: NDArray, right: int, down: int) -> NDArray:
    height, width = image.shape[:2]
    moved = np.zeros_like(image)
    target = (slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0)))
    source = (slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0)))
    moved[target] = image[source]
    return moved
