"""Cameras as Kalibr's camera chain (``camchain.yaml``): pinhole cameras with radial-tangential lenses.

Intrinsics are ``[fu fv pu pv]`` in pixels with integer centres (the corner detectors are OpenCV's), distortion is
``[k1 k2 p1 p2]``, resolution ``[width height]``. ``T_cn_cnm1`` maps points of the previous camera of the chain to
this one, in metres; cam0 has none: its own frame is the chain's.

Kalibr knows neither names nor a reference frame that is no camera. They are added as keys that its readers pass
over: ``name`` per camera, and ``reference`` and ``T_cn_reference`` of cam0. ``lens_residual_px`` states what the
nearest lens of four coefficients misses (``radtan``).
Source: Kalibr, wiki page "yaml formats", ``ConfigReader.py`` and ``RadialTangentialDistortion.hpp``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anim_real.errors import DataError
from anim_real.files import write_text
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.interchange.documents import numbers, read_yaml, table_of, text_of, vector
from anim_real.interchange.opencv_model import camera_of
from anim_real.interchange.posed import PosedCamera, common_reference
from anim_real.interchange.radtan import LensFit, nearest_radtan

_LENSES = {"radtan": 4, "none": 0}  # distortion model: number of its coefficients
_HEADER = (
    "# Kalibr camera chain. Pixels, integer pixel centres; metres; T_cn_cnm1 maps points of the previous camera to\n"
    "# this one, T_cn_reference those of the frame named by reference. Distortion: k1 k2 p1 p2.\n"
)


def write_kalibr(path: Path, cameras: Sequence[PosedCamera]) -> dict[str, LensFit]:
    """Write cameras that share a reference frame; return the fit of each lens by the camera's name.

    Raises:
        DataError: they share none, or a lens has no near equal (see ``nearest_radtan``).
    """
    import yaml

    reference = common_reference(cameras)
    fits = {posed.name: nearest_radtan(posed.camera, name=posed.name) for posed in cameras}
    document: dict[str, Any] = {}
    previous: PosedCamera | None = None
    for number, posed in enumerate(cameras):
        fit = fits[posed.name]
        entry: dict[str, Any] = {
            "name": posed.name,
            "camera_model": "pinhole",
            "intrinsics": [float(value) for value in (fit.camera.fx, fit.camera.fy, fit.camera.cx, fit.camera.cy)],
            "distortion_model": "radtan",
            "distortion_coeffs": fit.camera.distortion[:4].tolist(),
            "resolution": [posed.camera.width, posed.camera.height],
            "rostopic": f"/{posed.name}/image_raw",
            "lens_residual_px": {"rms": fit.rms_px, "max": fit.max_px},
        }
        if previous is None:
            entry |= {"reference": reference, "T_cn_reference": posed.T_camera_reference.matrix.tolist()}
        else:
            step = posed.T_camera_reference @ previous.T_camera_reference.inverse()
            entry["T_cn_cnm1"] = step.matrix.tolist()
        document[f"cam{number}"] = entry
        previous = posed
    write_text(path, _HEADER + yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120))
    return fits


def read_kalibr(path: Path) -> tuple[PosedCamera, ...]:
    """Read a chain, of ours or of Kalibr's own; a chain without ``reference`` refers to the frame of cam0.

    Raises:
        NotFoundError: no such file.
        DataError: not a chain, a model other than pinhole with radtan or none, or a missing or impossible value.
    """
    chain = _chain(path)
    names = [text_of(table, "name", where=f"{path}, {key}", default=key) for key, table in chain.items()]
    reference = text_of(chain["cam0"], "reference", where=f"{path}, cam0", default=names[0])
    found: list[PosedCamera] = []
    for (key, table), name in zip(chain.items(), names, strict=True):
        where = f"{path}, {key}"
        if found:
            before = found[-1].T_camera_reference
            step = Rigid(dst=name, src=before.dst, matrix=numbers(table, "T_cn_cnm1", (4, 4), where=where))
            pose = step @ before
        elif "T_cn_reference" in table:
            pose = Rigid(dst=name, src=reference, matrix=numbers(table, "T_cn_reference", (4, 4), where=where))
        else:
            pose = Rigid.identity(name, reference)
        found.append(PosedCamera(name=name, camera=_camera(table, where), T_camera_reference=pose))
    common_reference(found)
    return tuple(found)


def _chain(path: Path) -> dict[str, dict[Any, Any]]:
    """cam0, cam1, … in the order of their numbers, none missing."""
    document = read_yaml(path)
    count = sum(1 for key in document if re.fullmatch(r"cam\d+", str(key)))
    keys = [f"cam{number}" for number in range(count)]
    if not count or any(key not in document for key in keys):
        raise DataError("is no camera chain: cam0, cam1, … without gaps", where=path, fix="Give Kalibr's camchain.yaml")
    return {key: table_of(document[key], where=f"{path}, {key}") for key in keys}


def _camera(table: dict[Any, Any], where: str) -> Camera:
    model, lens_model = (text_of(table, key, where=where) for key in ("camera_model", "distortion_model"))
    if model != "pinhole" or lens_model not in _LENSES:
        raise DataError(
            f"camera model {model[:40]!r} with lens {lens_model[:40]!r} is not supported", where=where,
            fix="Calibrate with pinhole-radtan",
        )  # fmt: skip
    lens = vector(table, "distortion_coeffs", where=where)
    if len(lens) != _LENSES[lens_model]:
        raise DataError(f"{lens_model} needs {_LENSES[lens_model]} coefficients, not {len(lens)}", where=where)
    fx, fy, cx, cy = numbers(table, "intrinsics", (4,), where=where)
    width, height = numbers(table, "resolution", (2,), where=where).tolist()
    return camera_of(np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]), lens, (width, height), where=where)
