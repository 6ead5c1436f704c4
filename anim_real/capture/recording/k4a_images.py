"""Decoding the images of a recording; one that is cut short, of a wrong size or undecodable gives None.

A wrong bit inside a JPEG need not show when it is decoded; the checksums of the file's clusters do
(``Recording.num_bad_clusters``).
Colour in NV12 and YUY2 is BT.601 of limited range, as the SDK's conversion (libyuv) and OpenCV's take it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEPTH_FORMATS = ("b16g", "YUY2")  # big-endian; the earliest recordings: little-endian under a colour format's name
_JPEG_TAIL_BYTES = 64  # some encoders pad behind the end marker
_JPEG_SPARE_BYTES = 1 << 16
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame; the others are tables


def image_bytes(image_format: str, width: int, height: int) -> int:
    """Bytes of an uncompressed image; 0 for MJPG, whose length varies."""
    bits = {"MJPG": 0, "NV12": 12, "YUY2": 16, "BGRA": 32, "b16g": 16}[image_format]
    return width * height * bits // 8


def max_image_bytes(image_format: str, width: int, height: int) -> int:
    """No image of this format is longer: what is, is damage and must not be read into memory."""
    return image_bytes(image_format, width, height) or 4 * width * height + _JPEG_SPARE_BYTES


def decode_color(payload: bytes, color_format: str, width: int, height: int) -> NDArray[np.uint8] | None:
    """Decode a colour image of format MJPG, NV12, YUY2 or BGRA to (H, W, 3) RGB; None if it is corrupt."""
    import cv2

    raw = np.frombuffer(payload, np.uint8)
    if color_format == "MJPG":
        if b"\xff\xd9" not in payload[-_JPEG_TAIL_BYTES:]:
            return None  # cut short: OpenCV would deliver it half grey
        if jpeg_size(payload) != (width, height):
            return None  # before decoding: a damaged header may announce gigabytes
        return _decoded_jpeg(raw, (height, width, 3))
    rows, channels, code = {
        "NV12": (height * 3 // 2, 1, cv2.COLOR_YUV2RGB_NV12),
        "YUY2": (height, 2, cv2.COLOR_YUV2RGB_YUY2),
        "BGRA": (height, 4, cv2.COLOR_BGRA2RGB),
    }[color_format]
    if raw.size != rows * width * channels:
        return None
    shape = (rows, width) if channels == 1 else (rows, width, channels)
    return cv2.cvtColor(raw.reshape(shape), code).astype(np.uint8, copy=False)


def decode_16_bit(payload: bytes, width: int, height: int, image_format: str = "b16g") -> NDArray[np.uint16] | None:
    """Decode a depth or IR image to (H, W) uint16; None if it has another size.

    Format ``b16g`` is big-endian. The earliest recordings say ``YUY2`` and are little-endian (the SDK's
    ``convert_block_to_image`` reads them so).
    """
    if len(payload) != 2 * width * height:
        return None
    order = ">u2" if image_format == "b16g" else "<u2"
    return np.frombuffer(payload, order).astype(np.uint16).reshape(height, width)


def jpeg_size(payload: bytes) -> tuple[int, int] | None:
    """(width, height) that the header of a JPEG image states; None if it has none (ITU T.81, annex B)."""
    if payload[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(payload) and payload[at] == 0xFF:
        marker = payload[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _FRAME_MARKERS:
            return int.from_bytes(payload[at + 7 : at + 9], "big"), int.from_bytes(payload[at + 5 : at + 7], "big")
        else:
            at += 2 + max(2, int.from_bytes(payload[at + 2 : at + 4], "big"))
    return None


def _decoded_jpeg(raw: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    import cv2

    is_direct = hasattr(cv2, "IMREAD_COLOR_RGB")  # OpenCV 4.11: no pass over the image to swap its channels
    try:
        image = cv2.imdecode(raw, cv2.IMREAD_COLOR_RGB if is_direct else cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if image is None or image.shape != shape:
        return None
    return (image if is_direct else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).astype(np.uint8, copy=False)
