"""How well a pose explains the depth images: what the scans must look like from the camera, against what it saw.

A scanned surface in front of the measured depth contradicts the pose, for the sensor looked through it; one behind it
is hidden, and says little. Frames ``scan`` and ``depth``, metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.markerless.clouds import ObjectView
from anim_real.calibrate.observations import ScanSurface
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_MIN_MEASURED = 0.3  # share of the predicted pixels that must have been measured to count fully
_MIN_PIXELS = 12
_HIDDEN_COST = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    directions: Array
    depth_m: Array
    surface: ScanSurface


class Views:
    """Every ``stride``-th pixel of the depth images of some placements; ``rays`` (h, w, 2) are those of all pixels."""

    def __init__(self, rays: Array, views: list[ObjectView], stride: int) -> None:
        grid = slice(stride // 2, None, stride), slice(stride // 2, None, stride)
        rays = rays[grid]
        valid = np.isfinite(rays).all(-1)
        directions = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], -1)[valid]
        self._views = [
            _View(directions=directions, depth_m=view.depth_m[grid][valid], surface=view.surface) for view in views
        ]

    def score(self, T_depth_scan: Rigid, tolerance_m: float, first: int | None = None) -> float:
        """-1 to 1: share of the scans' visible pixels that agree, less those that contradict.

        Args:
            T_depth_scan: the pose.
            tolerance_m: depths nearer to each other agree.
            first: take the mean over so many placements only.
        """
        T_scan_depth = T_depth_scan.inverse()
        return float(np.mean([_score(view, T_scan_depth, tolerance_m) for view in self._views[:first]]))


def _score(view: _View, T_scan_depth: Rigid, tolerance_m: float) -> float:
    directions, measured = view.directions, view.depth_m
    z = view.surface.scene.cast(T_scan_depth.translation, T_scan_depth.rotate(directions)).distance
    is_hit = np.isfinite(z) & (z > 0.2)
    if is_hit.sum() < _MIN_PIXELS:
        return 0.0
    error = measured[is_hit] - z[is_hit]
    error = error[np.isfinite(error)]
    agrees = (np.abs(error) < tolerance_m).sum()
    seen_through = (error >= tolerance_m).sum()
    hidden = (error <= -tolerance_m).sum()
    total = max(len(error), _MIN_MEASURED * int(is_hit.sum()))
    return float((agrees - seen_through - _HIDDEN_COST * hidden) / total)
