"""Colour images as another camera at the same place sees them: undistorted, cropped, scaled."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.cameras import Camera


def rectify(image: NDArray[np.uint8], camera: Camera, target: Camera) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Look at an image through a pinhole camera; averaged where it shrinks.

    Args:
        image: (H, W, 3) uint8.
        camera: its camera.
        target: camera of the result, at the same place with the same axes, without lens distortion.

    Returns:
        (h, w, 3) uint8, black outside the image, and (h, w) bool, where the image covers the result.
    """
    shrink = max(1, int(np.ceil(camera.fx / target.fx)))
    fine = target.scale(shrink)
    map_x, map_y = cv2.initUndistortRectifyMap(
        camera.matrix, camera.distortion, np.eye(3), fine.matrix, (fine.width, fine.height), cv2.CV_32FC1
    )
    found = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    is_inside = (map_x > -0.5) & (map_x < camera.width - 0.5) & (map_y > -0.5) & (map_y < camera.height - 0.5)
    if shrink > 1:
        found = cv2.resize(found, (target.width, target.height), interpolation=cv2.INTER_AREA)
        is_inside = is_inside.reshape(target.height, shrink, target.width, shrink).all((1, 3))
    is_inside = np.asarray(is_inside) & _has_ray(camera, target)
    return np.where(is_inside[..., None], found, 0).astype(np.uint8), is_inside


def rectify_mask(mask: NDArray[np.bool_], camera: Camera, target: Camera) -> NDArray[np.bool_]:
    """The same for a mask (H, W) bool: the value of the nearest pixel, False outside."""
    map_x, map_y = cv2.initUndistortRectifyMap(
        camera.matrix, camera.distortion, np.eye(3), target.matrix, (target.width, target.height), cv2.CV_32FC1
    )
    found = cv2.remap(mask.astype(np.uint8), map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return (np.asarray(found) > 0) & _has_ray(camera, target)


def _has_ray(camera: Camera, target: Camera) -> NDArray[np.bool_]:
    """(h, w) bool: which pixels of the target look within the lens's valid radius; beyond, OpenCV would wrap around."""
    radius = np.hypot(*np.moveaxis(target.rays(), -1, 0))
    return radius <= camera.valid_radius
