"""Whether a sensor has warmed up: how the depth of a view that stands still drifts."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

WARM_UP_MIN = 45.0
"""Minutes until an Azure Kinect's depth is stable: 40 to 50, Tölgyessy et al., Sensors 21(2):413, 2021."""
_EVERY_S, _LEAST_S, _SPAN_S = 0.5, 10.0, 60.0
_BAND_MM = 50.0  # about the median; what lies beyond is another surface


class DepthStability:
    """Follows the mean depth of the middle of the image, in millimetres."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()

    def observe(self, depth_mm: NDArray[np.uint16], at_s: float) -> None:
        """Take a depth image (h, w), 0 = no return, unless one was taken less than half a second ago."""
        if self._points and at_s - self._points[-1][0] < _EVERY_S:
            return
        height, width = depth_mm.shape
        middle = depth_mm[height // 4 : height - height // 4, width // 4 : width - width // 4]
        valid = middle[middle > 0].astype(np.float64)
        if len(valid):
            near = valid[np.abs(valid - np.median(valid)) <= _BAND_MM]
            self._points.append((at_s, float(near.mean())))
        while self._points and at_s - self._points[0][0] > _SPAN_S:
            self._points.popleft()

    @property
    def depth_mm(self) -> float | None:
        """The last value; None before there is one."""
        return self._points[-1][1] if self._points else None

    @property
    def drift_mm_per_min(self) -> float | None:
        """Slope over the last minute by least squares; None before ten seconds."""
        points = np.array(self._points)
        if len(points) < 3 or points[-1, 0] - points[0, 0] < _LEAST_S:
            return None
        return float(np.polyfit(points[:, 0] - points[0, 0], points[:, 1], 1)[0] * 60.0)
