"""Regions of mesh files without captures, as ``render`` packs them: from the same sources as those of scans.

A segmenter looks at pictures of the file's own colours, taken from all around; boxes are in metres and the file's axes;
label images and polygons belong to captures and have no place here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anim_real.commands.jobs.region_labels import RegionCapture, labelled, shapes_file
from anim_real.errors import ConfigError
from anim_real.files import sha256_file
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.mesh import Mesh
from anim_real.meshes.render import render_rgbd
from anim_real.meshes.segmenters import open_segmenter
from anim_real.regions import RegionSpec

_SENSOR = "render"


def check_regions(spec: RegionSpec | None, meshes: Sequence[Path]) -> None:
    """Refuse, before any work, a source that cannot label mesh files.

    Raises:
        ConfigError: label images, or one file of shapes for several meshes.
        NotFoundError: no such model.
        MissingDependencyError: the segmenter's library is not installed.
        DataError: the model is none, or the path of the shapes has unknown placeholders.
    """
    if spec is None:
        return
    if spec.label_images is not None:
        raise ConfigError(
            "label images belong to captures, and rendered views have none",
            where="--regions",
            fix='Use source "segmenter" (it looks at the rendered colour), "shapes" with boxes, or "vertices"',
        )
    if spec.segmenter is not None:
        open_segmenter(spec.segmenter)
    if spec.shapes is not None:
        files = [shapes_file(spec.shapes, path.parent, names_of(path)) for path in meshes]
        found = [path for path in files if path is not None]
        if len(set(found)) < len(found):
            raise ConfigError(
                f"shapes.path {spec.shapes.path!r} is one file for several meshes",
                where="--regions",
                fix="Put {mesh} into it, which is the stem of the mesh's file name",
            )


def names_of(path: Path) -> dict[str, object]:
    """What the path of a mesh's file of shapes may be filled in with."""
    return {"mesh": path.stem, "scan_index": 0}


def regions_sha256(spec: RegionSpec | None, path: Path) -> str:
    """Hash of what the source reads for one mesh file; empty where there is nothing."""
    if spec is None or spec.source == "vertices":
        return ""
    if spec.segmenter is not None:
        return sha256_file(spec.segmenter.model)
    assert spec.shapes is not None
    file = shapes_file(spec.shapes, path.parent, names_of(path))
    return "" if file is None else sha256_file(file)


def with_regions(mesh: Mesh, spec: RegionSpec | None, path: Path, camera: Camera, poses: Sequence[Rigid]) -> Mesh:
    """The mesh of a file, in metres, with regions from a source.

    Args:
        mesh: in the file's axes; one without colours shows a segmenter nothing and is not labelled by it.
        spec: the source.
        path: of the file; files of shapes lie in its folder.
        camera: of the pictures that a segmenter gets.
        poses: where it stands, ``T_camera_scan``.
    """
    captures: list[RegionCapture] = []
    if spec is not None and spec.segmenter is not None and (mesh.colors is not None or mesh.texture is not None):
        captures = [_picture(mesh, camera, pose, index) for index, pose in enumerate(poses)]
    return labelled(mesh, spec, path.parent, names_of(path), captures)


def _picture(mesh: Mesh, camera: Camera, pose: Rigid, index: int) -> RegionCapture:
    def color() -> NDArray[np.uint8]:
        return render_rgbd(mesh, camera, pose).color

    return RegionCapture(sensor=_SENSOR, kinect_index=index, camera=camera, T_camera_scan=pose, color=color)
