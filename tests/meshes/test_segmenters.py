"""Segmentation models: a real ONNX model run by the real runtime; MediaPipe faked at its own interface."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from anim_real.errors import DataError, MissingDependencyError, NotFoundError
from anim_real.meshes.segmenters import _opened, open_segmenter, regions_of_labels
from anim_real.regions import SegmenterSpec
from anim_real.samples import Region

from .onnx_model import color_classifier

WEIGHTS, BIAS = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0]]), np.array([5.0, 0.0, 0.0])  # dark, red, green


@pytest.fixture(autouse=True)
def _fresh():
    _opened.cache_clear()


def spec(path: Path, kind: str = "onnx", **more) -> SegmenterSpec:
    return SegmenterSpec.model_validate({"kind": kind, "model": path, "face": (1,), "hand": (2,), **more})


def picture() -> np.ndarray:
    """96 x 128: black, with a red and a green block."""
    image = np.zeros((96, 128, 3), np.uint8)
    image[16:48, 16:64, 0] = 250
    image[48:80, 64:112, 1] = 250
    return image


def test_an_onnx_model_labels_the_picture(tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra 'segment' is not installed")
    path = tmp_path / "classifier.onnx"
    path.write_bytes(color_classifier(WEIGHTS, BIAS, 48, 64))
    chosen = spec(path)
    regions = regions_of_labels(open_segmenter(chosen)(picture()), chosen.region_of)
    expected = np.zeros((96, 128), np.uint8)
    expected[16:48, 16:64], expected[48:80, 64:112] = Region.FACE, Region.HAND
    assert np.array_equal(regions, expected)


def test_mean_and_std_are_applied(tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra 'segment' is not installed")
    path = tmp_path / "classifier.onnx"
    path.write_bytes(color_classifier(WEIGHTS, BIAS, 48, 64))
    darkened = spec(path, mean=(0.9, 0.0, 0.0))  # red of 250 / 255 - 0.9 = 0.08 scores 0.8, less than dark's 5
    regions = regions_of_labels(open_segmenter(darkened)(picture()), darkened.region_of)
    assert not (regions == Region.FACE).any()
    assert (regions == Region.HAND).sum() == 32 * 48


def test_what_is_no_model_is_refused(tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra 'segment' is not installed")
    with pytest.raises(NotFoundError, match="no such segmentation model"):
        open_segmenter(spec(tmp_path / "none.onnx"))
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(DataError, match="is not an ONNX model"):
        open_segmenter(spec(tmp_path / "text.onnx"))


@pytest.mark.parametrize(("kind", "library", "extra"), [("onnx", "onnxruntime", "segment"), ("mediapipe",) * 3])
def test_a_missing_library_names_its_extra(tmp_path, monkeypatch, kind, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / "model").write_bytes(b"x")
    with pytest.raises(MissingDependencyError) as caught:
        open_segmenter(spec(tmp_path / "model", kind))
    assert caught.value.fix == f"pip install 'anim-real[{extra}]'"


@dataclass
class FakeOptions:
    """ImageSegmenterOptions of MediaPipe 1.2."""

    base_options: object
    output_confidence_masks: bool = True
    output_category_mask: bool = False


class FakeSegmenter:
    """Calls red pixels class 1; gives a mask only if the options ask for one, as the real one does."""

    def __init__(self, options: FakeOptions) -> None:
        self.options = options

    @classmethod
    def create_from_options(cls, options: FakeOptions) -> FakeSegmenter:
        if Path(options.base_options.model_asset_path).read_bytes() != b"TFL3":
            raise ValueError("The model is not a valid Flatbuffer buffer")
        return cls(options)

    def segment(self, image) -> SimpleNamespace:
        assert image.image_format == 1 and image.data.flags.c_contiguous
        mask = (image.data[..., 0] > 100).astype(np.uint8)
        view = SimpleNamespace(numpy_view=lambda: mask)
        return SimpleNamespace(category_mask=view if self.options.output_category_mask else None)


@pytest.fixture
def mediapipe(monkeypatch):
    root, python, vision = ModuleType("mediapipe"), ModuleType("mediapipe.tasks.python"), ModuleType("vision")
    root.Image = lambda image_format, data: SimpleNamespace(image_format=image_format, data=data)
    root.ImageFormat = SimpleNamespace(SRGB=1)
    python.BaseOptions = lambda model_asset_path: SimpleNamespace(model_asset_path=model_asset_path)
    vision.ImageSegmenter, vision.ImageSegmenterOptions = FakeSegmenter, FakeOptions
    monkeypatch.setitem(sys.modules, "mediapipe", root)
    monkeypatch.setitem(sys.modules, "mediapipe.tasks", ModuleType("mediapipe.tasks"))
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", python)
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python.vision", vision)


def test_mediapipe_labels_the_picture(mediapipe, tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"TFL3")
    labels = open_segmenter(spec(tmp_path / "m.tflite", "mediapipe"))(picture())
    assert np.array_equal(labels == 1, picture()[..., 0] > 0)


def test_mediapipe_refuses_what_is_no_model(mediapipe, tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is not a segmentation model of MediaPipe"):
        open_segmenter(spec(tmp_path / "m.tflite", "mediapipe"))
