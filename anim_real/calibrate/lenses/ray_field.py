"""How two cameras differ in what matters: the directions of their pixels, after the best rotation of one to the other.

A rotation of the whole field is the pose's business, so it is taken out and told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera

Array = NDArray[np.float64]
_GRID = (64, 48)


@dataclass(frozen=True, kw_only=True, eq=False)
class RayFieldDifference:
    """Directions of one camera against another's, on a grid of the image.

    Attributes:
        pixels: (R, C, 2) the grid.
        angle_mrad: (R, C) angle between the rays, NaN where a camera has none or nothing was compared.
        shift_px: (R, C, 2) where the reference images the other camera's ray, minus the pixel.
        rotation_deg: angle of the rotation taken out.
    """

    pixels: Array
    angle_mrad: Array
    shift_px: Array
    rotation_deg: float

    def summary(self) -> dict[str, float]:
        """Root mean square and largest difference."""
        angle = self.angle_mrad[np.isfinite(self.angle_mrad)]
        shift = np.linalg.norm(self.shift_px, axis=-1)
        shift = shift[np.isfinite(shift)]
        return {
            "rms_mrad": float(np.sqrt((angle**2).mean())),
            "max_mrad": float(angle.max()),
            "rms_px": float(np.sqrt((shift**2).mean())),
            "max_px": float(shift.max()),
            "rotation_deg": self.rotation_deg,
        }


def ray_difference(camera: Camera, reference: Camera, *, cells: NDArray[np.bool_] | None = None) -> RayFieldDifference:
    """Compare the rays of ``camera`` with those of ``reference``.

    Args:
        camera: a camera.
        reference: another of the same image size.
        cells: (R, C) parts of the image to compare, e.g. where corners were seen; all by default.

    Raises:
        DataError: different image sizes, or no pixel that both cameras have a ray for.
    """
    if (camera.width, camera.height) != (reference.width, reference.height):
        raise DataError(
            f"images of {camera.width}x{camera.height} and {reference.width}x{reference.height} cannot be compared",
            where="ray field",
            fix="Use the factory camera of the same mode",
        )
    columns, rows = _GRID
    x = (np.arange(columns) + 0.5) * camera.width / columns - 0.5
    y = (np.arange(rows) + 0.5) * camera.height / rows - 0.5
    pixels = np.stack(np.meshgrid(x, y), -1)
    first, second = _directions(camera, pixels), _directions(reference, pixels)
    valid = np.isfinite(first[..., 0]) & np.isfinite(second[..., 0])
    if cells is not None:
        own = (pixels + 0.5) / (camera.width, camera.height) * cells.shape[::-1]
        column, row = np.floor(own).astype(int).clip(0, np.array(cells.shape[::-1]) - 1).transpose(2, 0, 1)
        valid &= cells[row, column]
    if valid.sum() < 3:
        raise DataError("the cameras have no rays in common", where="ray field")
    left, _, right = np.linalg.svd(second[valid].T @ first[valid])  # Wahba's problem (Kabsch 1976)
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    turned = first @ rotation.T
    chord = np.linalg.norm(turned - second, axis=-1)
    angle = np.where(valid, 2e3 * np.arcsin(np.clip(chord / 2, 0, 1)), np.nan)
    shift = np.where(valid[..., None], reference.project(turned) - pixels, np.nan)
    turn = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
    return RayFieldDifference(pixels=pixels, angle_mrad=angle, shift_px=shift, rotation_deg=float(turn))


def _directions(camera: Camera, pixels: Array) -> Array:
    rays = np.concatenate([camera.normalize(pixels), np.ones((*pixels.shape[:-1], 1))], -1)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)
