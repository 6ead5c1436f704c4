"""Labelling a scan's face and hands with whatever source the user named, through the captures paired with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.files import inside, sha256_bytes, sha256_file
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.meshes.labelling import LabelView, polygon_labels, regions_from_views, regions_in_boxes
from anim_real.meshes.segmenters import open_segmenter, regions_of_labels
from anim_real.regions import LabelImagesSpec, RegionShapes, RegionSpec, SegmenterSpec, ShapesSpec
from anim_real.samples import Region
from anim_real.specs import load_json

_SHAPES_SCHEMA = "anim-real/region-shapes/1"


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionCapture:
    """A colour image of the scan: of a capture paired with it, or rendered.

    Attributes:
        sensor, kinect_index: its name.
        camera: of the image, its lens included.
        T_camera_scan: scan frame to camera frame.
        color: reads the image (H, W, 3) RGB; None if it is corrupt.
    """

    sensor: str
    kinect_index: int
    camera: Camera
    T_camera_scan: Rigid
    color: Callable[[], NDArray[np.uint8] | None]

    def view(self, labels: NDArray[np.uint8]) -> LabelView:
        """A label image of this capture with its camera."""
        return LabelView(labels=labels, camera=self.camera, T_camera_scan=self.T_camera_scan)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its colour image, pixels."""
        return self.camera.width, self.camera.height


def labelled(
    scan: Mesh, spec: RegionSpec | None, folder: Path, names: Mapping[str, object], captures: Iterable[RegionCapture]
) -> Mesh:
    """The scan with regions from the source, or with its own where ``spec`` is None or names them.

    Args:
        scan: raw scan; scan frame, metres.
        spec: the source.
        folder: where the source's files lie: the take, or a mesh file's folder.
        names: what the path of a file of shapes may be filled in with.
        captures: those paired with it.

    A capture or scan whose file is missing is not labelled; a scan without any label is packed and counted so.

    Raises:
        DataError: a file of the source is not what it should be.
        MissingDependencyError: the segmenter's library is not installed.
    """
    if spec is None or spec.source == "vertices":
        return scan
    if spec.shapes is not None:
        return _with_shapes(scan, shapes_file(spec.shapes, folder, names), captures)
    if spec.label_images is not None:
        views = [_labels_of_file(spec.label_images, folder, capture) for capture in captures]
    else:
        assert spec.segmenter is not None
        views = [_segmented(spec.segmenter, capture) for capture in captures]
    views = [view for view in views if view is not None]
    return replace(scan, regions=regions_from_views(scan, views)) if views else scan


def source_sha256(spec: RegionSpec | None, folder: Path) -> str:
    """Hash of the files a source reads for a take, so that a data set built from others is known as another."""
    if spec is None or spec.source == "vertices":
        return ""
    if spec.segmenter is not None:
        return sha256_file(spec.segmenter.model)
    template = spec.label_images.path if spec.label_images is not None else _shapes(spec).path
    root = folder / _fixed_part(template)
    files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else []
    names = "\n".join(f"{sha256_file(path)} {path.relative_to(folder).as_posix()}" for path in files)
    return sha256_bytes(names.encode())


def _shapes(spec: RegionSpec) -> ShapesSpec:
    assert spec.shapes is not None
    return spec.shapes


def _fixed_part(template: str) -> Path:
    """The folders of a path template before the first placeholder."""
    parts = []
    for part in Path(template).parts[:-1]:
        if "{" in part:
            break
        parts.append(part)
    return Path(*parts)


def shapes_file(spec: ShapesSpec, folder: Path, names: Mapping[str, object]) -> Path | None:
    """The file of shapes of one scan; None if there is none.

    Raises:
        DataError: its path has other placeholders than ``names``.
    """
    return _file(spec.path, folder, **names)


def _file(template: str, folder: Path, **names: object) -> Path | None:
    """The file of a path template in the take's folder; None if there is none."""
    try:
        name = template.format(**names)
    except (KeyError, IndexError, ValueError) as error:
        known = ", ".join(f"{{{name}}}" for name in names)
        raise DataError(
            f"path {template!r} cannot be filled in ({error})", where="regions", fix=f"Use {known}"
        ) from error
    path = inside(folder, name)
    return path if path.is_file() else None


def _labels_of_file(spec: LabelImagesSpec, folder: Path, capture: RegionCapture) -> LabelView | None:
    path = _file(spec.path, folder, sensor=capture.sensor, kinect_index=capture.kinect_index)
    if path is None:
        return None
    labels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2:
        raise DataError("is not a one-channel image of labels", where=path, fix="Write an 8 or 16 bit grey PNG")
    if labels.shape[::-1] != capture.size:
        raise DataError(f"is {labels.shape[::-1]} pixels, its colour image {capture.size}", where=path)
    return capture.view(regions_of_labels(labels, spec.region_of))


def _segmented(spec: SegmenterSpec, capture: RegionCapture) -> LabelView | None:
    color = capture.color()
    if color is None:
        return None
    return capture.view(regions_of_labels(open_segmenter(spec)(color), spec.region_of))


def _with_shapes(scan: Mesh, path: Path | None, captures: Iterable[RegionCapture]) -> Mesh:
    if path is None:
        return scan
    shapes = load_json(RegionShapes, path, schema=_SHAPES_SCHEMA)
    regions = regions_in_boxes(scan.vertices, shapes.boxes)
    drawn = {(polygon.sensor, polygon.kinect_index) for polygon in shapes.polygons}
    by_name = {(capture.sensor, capture.kinect_index): capture for capture in captures}
    if drawn - set(by_name):
        raise DataError(
            f"polygons name captures {sorted(drawn - set(by_name))} that are not paired with its scan",
            where=path,
            fix=f"Paired are {sorted(by_name)}" if by_name else "A mesh file alone has no captures: use boxes",
        )
    views = []
    for key in sorted(drawn):
        own = [polygon for polygon in shapes.polygons if (polygon.sensor, polygon.kinect_index) == key]
        views.append(by_name[key].view(polygon_labels(own, *by_name[key].size)))
    if views:
        seen = regions_from_views(scan, views)
        regions = np.where(regions == Region.OTHER, seen, regions).astype(np.uint8)
    return replace(scan, regions=regions)
