"""Colour and mask as bytes: JPEG and bit packing, exactly repeatable."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.shards.schema import JPEG_QUALITY


def encode_jpeg(color: NDArray[np.uint8]) -> bytes:
    """Encode (S, S, 3) RGB as JPEG of quality 95 without chroma subsampling."""
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *sampling]
    is_encoded, payload = cv2.imencode(".jpg", np.ascontiguousarray(color[..., ::-1]), flags)
    assert is_encoded
    return payload.tobytes()


def decode_jpeg(payload: NDArray[np.uint8], size: int, *, where: object) -> NDArray[np.uint8]:
    """Decode to (size, size, 3) RGB; the header is checked first, so that no huge image is ever allocated.

    Raises:
        DataError: not a JPEG, of another size, or truncated.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(payload.tobytes()), formats=("JPEG",)) as header:
            found = header.size
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise DataError(f"is not a JPEG ({error})", where=where) from error
    if found != (size, size):
        raise DataError(f"JPEG is {found[0]}x{found[1]}, not {size}x{size}", where=where)
    image = cv2.imdecode(payload, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape != (size, size, 3):
        raise DataError("JPEG cannot be decoded", where=where)
    return image.astype(np.uint8, copy=False)


def pack_mask(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(S, S) bool to (S, ceil(S / 8)) bytes, first pixel in the highest bit."""
    return np.packbits(mask, axis=1)


def unpack_mask(packed: NDArray[np.uint8], size: int) -> NDArray[np.bool_]:
    """Invert ``pack_mask``."""
    return np.unpackbits(packed, axis=1, count=size).view(np.bool_)
