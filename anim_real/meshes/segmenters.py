"""Networks that label a person's face and hands in a colour image; the model is a file the user gives.

Their libraries are optional and imported when a model is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError, MissingDependencyError
from anim_real.files import require_file
from anim_real.regions import SegmenterSpec
from anim_real.samples import Region

Segmenter = Callable[[NDArray[np.uint8]], NDArray[np.int64]]  # (H, W, 3) RGB -> (H, W) label values
_DYNAMIC_SIDE = 512  # input side in pixels of models that take any size


def regions_of_labels(labels: NDArray, region_of: dict[int, Region]) -> NDArray[np.uint8]:
    """(H, W) uint8 ``Region`` of an image of label values; values without a region are OTHER."""
    regions = np.full(labels.shape, Region.OTHER, dtype=np.uint8)
    for value, region in region_of.items():
        regions[labels == value] = region
    return regions


def open_segmenter(spec: SegmenterSpec) -> Segmenter:
    """Load a model, once per process.

    Raises:
        NotFoundError: no such model file.
        MissingDependencyError: its library is not installed.
        DataError: it is not a model of that kind, or not one from image to labels.
    """
    return _opened(spec.kind, require_file(spec.model, "segmentation model"), spec.mean, spec.std)


@lru_cache(maxsize=2)
def _opened(kind: str, path: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> Segmenter:
    if kind == "mediapipe":
        return _open_mediapipe(path)
    return _open_onnx(path, np.array(mean, np.float32), np.array(std, np.float32))


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is not installed", where="segmenter", fix=f"pip install 'anim-real[{extra}]'"
        ) from error


def _open_onnx(path: Path, mean: NDArray[np.float32], std: NDArray[np.float32]) -> Segmenter:
    """A model with one image input (1, 3, h, w) or (1, h, w, 3) float32 and scores or labels as first output."""
    runtime = _library("onnxruntime", "segment")
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(f"is not an ONNX model ({error})", where=path) from error
    if len(session.get_inputs()) != 1:
        raise DataError(f"has {len(session.get_inputs())} inputs; one image is needed", where=path)
    entry = session.get_inputs()[0]
    is_planar, height, width = _input_layout(entry.shape, path)

    def segment(color: NDArray[np.uint8]) -> NDArray[np.int64]:
        small = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
        values = ((small.astype(np.float32) / 255.0 - mean) / std)[None]
        batch = np.ascontiguousarray(values.transpose(0, 3, 1, 2) if is_planar else values)
        scores = np.asarray(session.run(None, {entry.name: batch})[0])
        return _resized(_labels(scores, path), color.shape[:2])

    return segment


def _input_layout(shape: list[Any], path: Path) -> tuple[bool, int, int]:
    """Whether channels come first, and the height and width the model wants."""
    sides = [side if isinstance(side, int) else 0 for side in shape]
    if len(sides) != 4 or 3 not in (sides[1], sides[3]):
        raise DataError(f"its input has shape {shape}, not (1, 3, h, w) or (1, h, w, 3)", where=path)
    is_planar = sides[1] == 3
    height, width = (sides[2], sides[3]) if is_planar else (sides[1], sides[2])
    return is_planar, height or _DYNAMIC_SIDE, width or _DYNAMIC_SIDE


def _labels(output: NDArray, path: Path) -> NDArray[np.int64]:
    """(h, w) labels of (1, classes, h, w) or (1, h, w, classes) scores, or of (1, h, w) labels."""
    squeezed = output[0] if output.shape[:1] == (1,) else output
    if squeezed.ndim == 3 and 1 in (squeezed.shape[0], squeezed.shape[2]):
        squeezed = squeezed.squeeze(0 if squeezed.shape[0] == 1 else 2)
    if squeezed.ndim == 2:
        return np.rint(squeezed).astype(np.int64)
    if squeezed.ndim != 3:
        raise DataError(f"its output has shape {output.shape}, not scores or labels of an image", where=path)
    return squeezed.argmax(0 if squeezed.shape[0] < squeezed.shape[2] else 2).astype(np.int64)


def _resized(labels: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Labels in the image's size, the nearest label each."""
    resized = cv2.resize(labels.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized).astype(np.int64)


def _open_mediapipe(path: Path) -> Segmenter:
    """An image segmenter of MediaPipe Tasks with a category mask, such as the multi-class selfie segmenter."""
    mediapipe = _library("mediapipe", "mediapipe")
    vision = import_module("mediapipe.tasks.python.vision")
    base = import_module("mediapipe.tasks.python").BaseOptions(model_asset_path=str(path))
    options = vision.ImageSegmenterOptions(base_options=base, output_category_mask=True, output_confidence_masks=False)
    try:
        segmenter = vision.ImageSegmenter.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"is not a segmentation model of MediaPipe ({error})", where=path) from error

    def segment(color: NDArray[np.uint8]) -> NDArray[np.int64]:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(color))
        mask = np.asarray(segmenter.segment(image).category_mask.numpy_view()).squeeze()
        return _resized(mask.astype(np.int64), color.shape[:2])

    return segment
