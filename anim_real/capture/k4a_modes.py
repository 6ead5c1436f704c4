"""The cameras of an Azure Kinect's modes, from what the factory measured.

The factory's intrinsics are normalised by the calibration image, with the origin at the image's corner; the camera
of a mode is that, binned and cropped, with integer pixel centres. Metric radius 0 means 1.7.
Sources: the SDK's ``mode_specific_calibration.c`` and ``intrinsic_transformation.c``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anim_real.geometry.cameras import Camera

_DEFAULT_RADIUS = 1.7  # the SDK's value where the JSON says 0

# mode: size of the binned calibration image, crop offset in it, size of the mode's image; pixels
MODES: dict[str, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "NFOV_2X2BINNED": ((512, 512), (96, 90), (320, 288)),
    "NFOV_UNBINNED": ((1024, 1024), (192, 180), (640, 576)),
    "WFOV_2X2BINNED": ((512, 512), (0, 0), (512, 512)),
    "WFOV_UNBINNED": ((1024, 1024), (0, 0), (1024, 1024)),
    "PASSIVE_IR": ((1024, 1024), (0, 0), (1024, 1024)),
    "720P": ((1280, 960), (0, 120), (1280, 720)),
    "1080P": ((1920, 1440), (0, 180), (1920, 1080)),
    "1440P": ((2560, 1920), (0, 240), (2560, 1440)),
    "1536P": ((2048, 1536), (0, 0), (2048, 1536)),
    "2160P": ((3840, 2880), (0, 360), (3840, 2160)),
    "3072P": ((4096, 3072), (0, 0), (4096, 3072)),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class FactoryCamera:
    """One camera as the factory measured it; independent of the mode.

    Attributes:
        cx, cy, fx, fy: normalised by the calibration image's width and height, origin at its corner.
        distortion: (8,) ``k1 k2 p1 p2 k3 k4 k5 k6`` (OpenCV's order, not the JSON's).
        metric_radius: largest valid undistorted radius; 0 stands for 1.7.
        width, height: calibration image in pixels.
        rotation: (3, 3), translation: (3,) metres; from the depth camera's frame to this camera's.
    """

    cx: float
    cy: float
    fx: float
    fy: float
    distortion: np.ndarray
    metric_radius: float
    width: int
    height: int
    rotation: np.ndarray
    translation: np.ndarray

    def pixel_camera(self, mode: str, *, check_radius: bool = True) -> Camera:
        """Camera of a mode; Orbbec's library leaves ``check_radius`` off."""
        (binned_x, binned_y), (left, top), (width, height) = MODES[mode]
        cy, fy = self.cy, self.fy
        if self.width * 9 // 16 == self.height:  # legacy 16:9 calibration of the 4:3 sensor
            cy, fy = (cy * 2304 + 384) / 3072, fy * 2304 / 3072
        radius = (self.metric_radius or _DEFAULT_RADIUS) if check_radius else np.inf
        return Camera(
            width=width,
            height=height,
            fx=self.fx * binned_x,
            fy=fy * binned_y,
            cx=self.cx * binned_x - left - 0.5,  # the half pixel: corner origin to pixel centres
            cy=cy * binned_y - top - 0.5,
            distortion=self.distortion,
            max_radius=radius,
        )
