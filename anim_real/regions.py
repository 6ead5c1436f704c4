"""Where a scan's regions (face, hands) come from; written by people as TOML, given to build-shards and render.

One source per file::

    schema = "anim-real/regions/1"
    source = "label_images"

    [label_images]                                # a parser's PNG per capture, in the take's folder
    path = "labels-{sensor}/{kinect_index:06d}.png"
    face = [2, 13]                                # values of the image that mean face
    hand = [14, 15]

Without such a file the labels of the scan's own vertices are used (glTF attribute ``_REGION``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from anim_real.samples import Region
from anim_real.specs import Spec, load_toml

SourceName = Literal["vertices", "label_images", "segmenter", "shapes"]


class _Mapping(Spec):
    """Which values of a label image are face and hands; every other value is neither."""

    face: tuple[int, ...] = ()
    hand: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> _Mapping:
        if not self.face and not self.hand:
            raise ValueError("neither face nor hand names a label value")
        both = sorted(set(self.face) & set(self.hand))
        if both:
            raise ValueError(f"label values {both} are face and hand at once")
        return self

    @property
    def region_of(self) -> dict[int, Region]:
        """Label value -> region."""
        return dict.fromkeys(self.face, Region.FACE) | dict.fromkeys(self.hand, Region.HAND)


class LabelImagesSpec(_Mapping):
    """PNGs of labels (8 or 16 bit, one channel), each of the size of the sensor's colour image.

    Attributes:
        path: file in the take's folder; ``{sensor}`` and ``{kinect_index}`` are filled in.
    """

    path: str = "labels-{sensor}/{kinect_index:06d}.png"


class SegmenterSpec(_Mapping):
    """A network that labels the colour images.

    Attributes:
        kind: ``onnx`` (any model with one image input) or ``mediapipe`` (an image segmenter of MediaPipe Tasks).
        model: the model's file, relative to this file.
        mean, std: subtracted from and divided into RGB values of 0..1 (ONNX).
    """

    kind: Literal["onnx", "mediapipe"]
    model: Path
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @model_validator(mode="after")
    def _divides(self) -> SegmenterSpec:
        if min(self.std) <= 0:
            raise ValueError("std must be greater than 0")
        return self


class ShapesSpec(Spec):
    """Boxes in the scan's frame and polygons in colour images, drawn by people: a JSON file per scan.

    Attributes:
        path: file in the take's folder, or beside a mesh file that is rendered; ``{scan_index}`` is filled in, there
            also ``{mesh}``, the stem of its name.
    """

    path: str = "regions/{scan_index:06d}.json"


class Box(Spec):
    """An oriented box in the scan's frame, metres.

    Attributes:
        rotvec: its rotation as an axis times an angle in radians.
    """

    region: Literal["face", "hand"]
    center: tuple[float, float, float]
    half_size: tuple[float, float, float]
    rotvec: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Polygon(Spec):
    """A polygon in the colour image of a capture, pixels (integer centres)."""

    region: Literal["face", "hand"]
    sensor: str
    kinect_index: int = Field(ge=0)
    points_px: tuple[tuple[float, float], ...] = Field(min_length=3)


class RegionShapes(Spec):
    """Content of a shapes file."""

    schema_: Literal["anim-real/region-shapes/1"] = Field(alias="schema")
    boxes: tuple[Box, ...] = ()
    polygons: tuple[Polygon, ...] = ()


class RegionSpec(Spec):
    """One source of regions, and its settings."""

    schema_: Literal["anim-real/regions/1"] = Field(alias="schema")
    source: SourceName
    label_images: LabelImagesSpec | None = None
    segmenter: SegmenterSpec | None = None
    shapes: ShapesSpec | None = None

    @model_validator(mode="after")
    def _one_source(self) -> RegionSpec:
        tables = {name: getattr(self, name) for name in ("label_images", "segmenter", "shapes")}
        given = [name for name, table in tables.items() if table is not None]
        needed = [] if self.source == "vertices" else [self.source]
        if given != needed:
            raise ValueError(f"source {self.source!r} goes with {needed or 'no table'}, found {given or 'none'}")
        return self

    def portable(self) -> dict[str, Any]:
        """JSON-ready form for the record of a data set: a model by its name alone, its content by its hash."""
        document = self.model_dump(mode="json", by_alias=True)
        if self.segmenter is not None:
            document["segmenter"]["model"] = self.segmenter.model.name
        return document


def load_regions(path: Path) -> RegionSpec:
    """Read a regions file; a model's path becomes absolute.

    Raises:
        NotFoundError: no such file.
        ConfigError: not TOML, an unknown key, a value out of range, or not exactly one source.
    """
    spec = load_toml(RegionSpec, path)
    if spec.segmenter is None:
        return spec
    model = (path.parent / spec.segmenter.model).resolve()
    return spec.model_copy(update={"segmenter": spec.segmenter.model_copy(update={"model": model})})
