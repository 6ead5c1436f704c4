"""Colour images as the device codes them: MJPG, NV12, YUY2 or BGRA."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.rig import ColorFormat

_JPEG_QUALITY = 92
# BT.601, video range: rows Y, U, V of RGB 0..255
_YUV_OF_RGB = np.array([[65.738, 129.057, 25.064], [-37.945, -74.494, 112.439], [112.439, -94.154, -18.285]]) / 256.0
_YUV_ZERO = np.array([16.0, 128.0, 128.0])


def encode_color(image: NDArray[np.uint8], color_format: ColorFormat) -> bytes:
    """Code an (H, W, 3) RGB image of even height and width; MJPG is 4:2:2, as the device's."""
    if color_format == "MJPG":
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
        is_done, encoded = cv2.imencode(".jpg", image[..., ::-1], options)
        assert is_done
        return encoded.tobytes()
    if color_format == "BGRA":
        return cv2.cvtColor(image, cv2.COLOR_RGB2BGRA).tobytes()
    yuv = image.astype(np.float32) @ _YUV_OF_RGB.T.astype(np.float32) + _YUV_ZERO.astype(np.float32)
    luma = _rounded(yuv[..., 0])
    chroma = (yuv[:, ::2, 1:] + yuv[:, 1::2, 1:]) / 2
    if color_format == "YUY2":
        packed = np.empty((*luma.shape, 2), np.uint8)
        packed[..., 0], packed[..., 1] = luma, _rounded(chroma).reshape(luma.shape)
        return packed.tobytes()
    return luma.tobytes() + _rounded((chroma[::2] + chroma[1::2]) / 2).tobytes()


def _rounded(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
