"""An ONNX model written byte by byte: a 1x1 convolution from RGB to scores, so that no ONNX library is needed."""

from __future__ import annotations

import numpy as np


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_number(1, size) for size in values.shape)
    return dims + _number(2, 1) + _bytes(8, name.encode()) + _bytes(9, values.astype("<f4").tobytes())


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, size)) for size in shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, dims)))


def color_classifier(weights: np.ndarray, bias: np.ndarray, height: int, width: int) -> bytes:
    """A model (1, 3, h, w) -> (1, classes, h, w): scores are ``weights`` (classes, 3) times RGB plus ``bias``."""
    classes = len(bias)
    node = _bytes(1, b"image") + _bytes(1, b"w") + _bytes(1, b"b") + _bytes(2, b"scores") + _bytes(4, b"Conv")
    graph = (
        _bytes(1, node)
        + _bytes(2, b"classifier")
        + _bytes(5, _tensor("w", np.asarray(weights, float).reshape(classes, 3, 1, 1)))
        + _bytes(5, _tensor("b", np.asarray(bias, float)))
        + _bytes(11, _value("image", (1, 3, height, width)))
        + _bytes(12, _value("scores", (1, classes, height, width)))
    )
    opset = _bytes(1, b"") + _number(2, 13)
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, opset)
