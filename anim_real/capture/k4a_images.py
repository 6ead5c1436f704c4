"""Decoding the images of a recording; a corrupt image gives None, never a half picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_JPEG_TAIL_BYTES = 64  # some encoders pad behind the end marker


def decode_color(payload: bytes, color_format: str, width: int, height: int) -> NDArray[np.uint8] | None:
    """Decode a colour image of format MJPG, NV12, YUY2 or BGRA to (H, W, 3) RGB; None if it is corrupt."""
    raw = np.frombuffer(payload, np.uint8)
    if color_format == "MJPG":
        if b"\xff\xd9" not in payload[-_JPEG_TAIL_BYTES:]:
            return None  # cut short: OpenCV would deliver it half grey
        image = cv2.imdecode(raw, cv2.IMREAD_COLOR)
        if image is None or image.shape != (height, width, 3):
            return None
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    rows, channels, code = {
        "NV12": (height * 3 // 2, 1, cv2.COLOR_YUV2RGB_NV12),
        "YUY2": (height, 2, cv2.COLOR_YUV2RGB_YUY2),
        "BGRA": (height, 4, cv2.COLOR_BGRA2RGB),
    }[color_format]
    if raw.size != rows * width * channels:
        return None
    shape = (rows, width) if channels == 1 else (rows, width, channels)
    return cv2.cvtColor(raw.reshape(shape), code).astype(np.uint8, copy=False)


def decode_16_bit(payload: bytes, width: int, height: int) -> NDArray[np.uint16] | None:
    """Decode a depth or IR image (``b16g``: big-endian 16 bit) to (H, W) uint16; None if it has another size."""
    if len(payload) != 2 * width * height:
        return None
    return np.frombuffer(payload, ">u2").astype(np.uint16).reshape(height, width)
