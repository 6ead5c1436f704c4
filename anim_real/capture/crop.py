"""The person in a capture: which depth pixels are theirs, their points, and a square picture of them.

The rig's volume (an upright cylinder in the scan frame) says where the performer is, and what else the
rig names (``person_mask``) must agree; everything else is background. The depth bias is removed first.
The crop is a pinhole camera with the colour camera's own position and axes: its frame is still ``color``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import SensorCalibration
from anim_real.capture.alignment import depth_to_color
from anim_real.capture.filters import flying_pixels
from anim_real.capture.person_mask import PersonSources
from anim_real.capture.rectify import rectify, rectify_mask
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import unproject
from anim_real.rig import RigSpec
from anim_real.take import RgbdFrame

_MIN_AREA_M2 = 0.02  # less visible surface than a head's is nobody
_BRIDGE_M = 0.10  # parts of a person this close in the image belong together (dark clothes leave gaps)
_MARGIN = 0.10  # of the person's extent, on every side: hair often gives no depth
_TRIM_PERCENT = 0.1  # stray points that must not widen the crop
_VOLUME_ONLY = PersonSources()
_INCOMPLETE = "Choose a complete capture, such as the next one; inspect counts the incomplete ones"


@dataclass(frozen=True, kw_only=True, eq=False)
class PersonCrop:
    """A square, undistorted picture of the person.

    Attributes:
        color: (S, S, 3) uint8 RGB, background included; black outside the sensor's image.
        depth_mm: (S, S) uint16 millimetres along the crop camera's z, bias removed; 0 = none or not the person.
        mask: (S, S) bool, the person; covers enclosed pixels without depth too.
        camera: pinhole camera of the three images; its frame is the sensor's ``color`` frame.
    """

    color: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    mask: NDArray[np.bool_]
    camera: Camera


@dataclass(frozen=True, kw_only=True, eq=False)
class PersonDepth:
    """The person in the depth image.

    Attributes:
        depth_mm: (h, w) float64 millimetres with the bias removed, 0 = none; background included.
        is_person: (h, w) bool.
        points_depth: (N, 3) the person's points in the depth camera's frame, metres.
    """

    depth_mm: NDArray[np.float64]
    is_person: NDArray[np.bool_]
    points_depth: NDArray[np.float64]


def person_crop(
    frame: RgbdFrame, sensor: SensorCalibration, rig: RigSpec, *, size: int, sources: PersonSources = _VOLUME_ONLY
) -> PersonCrop:
    """Cut the person out of a complete capture.

    Args:
        frame: a capture with colour and depth.
        sensor: its sensor's calibration.
        rig: gives the volume and the direction up.
        size: S, pixels.
        sources: what else tells the person; see ``person_mask``.

    Raises:
        NotFoundError: the capture's mask file is missing.
        DataError: colour or depth is missing or of another mode, or nobody is in the volume.
    """
    where = f"capture {frame.index}"
    if frame.color is None:
        raise DataError("has no colour image", where=where, fix=_INCOMPLETE)
    color_camera = sensor.color.camera()
    if frame.color.shape[:2] != (color_camera.height, color_camera.width):
        raise DataError(f"colour image is {frame.color.shape[:2]}, calibrated is mode {sensor.color.mode}", where=where)
    person = find_person(frame, sensor, rig, sources)
    T_color_depth = sensor.T_color_depth.rigid()
    camera = crop_camera(T_color_depth.apply(person.points_depth), size)
    depth_camera = sensor.depth.camera()
    everything = depth_to_color(person.depth_mm, depth_camera, camera, T_color_depth)
    alone = depth_to_color(np.where(person.is_person, person.depth_mm, 0.0), depth_camera, camera, T_color_depth)
    is_visible = (alone > 0) & (alone == everything)
    color, is_inside = rectify(frame.color, color_camera, camera)
    mask = _filled(is_visible, everything > 0) & is_inside
    drawn = sources.color_mask(frame.index, color_camera)
    if drawn is not None:
        mask &= rectify_mask(drawn, color_camera, camera)
        is_visible &= mask
    return PersonCrop(color=color, depth_mm=np.where(is_visible, alone, 0).astype(np.uint16), mask=mask, camera=camera)


def depth_points_scan(
    frame: RgbdFrame, sensor: SensorCalibration, rig: RigSpec, sources: PersonSources = _VOLUME_ONLY
) -> NDArray[np.float64]:
    """The person's depth points (N, 3) in the scan frame, metres, bias removed.

    Raises:
        NotFoundError: the capture's mask file is missing.
        DataError: depth is missing or of another mode, or nobody is in the volume.
    """
    T_scan_depth = sensor.T_color_scan.rigid().inverse() @ sensor.T_color_depth.rigid()
    return T_scan_depth.apply(find_person(frame, sensor, rig, sources).points_depth)


def find_person(
    frame: RgbdFrame, sensor: SensorCalibration, rig: RigSpec, sources: PersonSources = _VOLUME_ONLY
) -> PersonDepth:
    """Find the person's depth pixels: in the volume, allowed by all sources, in one piece, no flying pixels.

    Raises:
        NotFoundError: the capture's mask file is missing.
        DataError: depth is missing or of another mode, or nobody is in the volume.
    """
    where = f"capture {frame.index}"
    if frame.depth_mm is None:
        raise DataError("has no depth image", where=where, fix=_INCOMPLETE)
    camera = sensor.depth.camera()
    if frame.depth_mm.shape != (camera.height, camera.width):
        raise DataError(f"depth image is {frame.depth_mm.shape}, calibrated is mode {sensor.depth.mode}", where=where)
    z = sensor.true_depth(frame.depth_mm)
    points_depth = unproject(frame.depth_mm, camera, z)
    T_scan_depth = sensor.T_color_scan.rigid().inverse() @ sensor.T_color_depth.rigid()
    is_inside = rig.volume.contains(T_scan_depth.apply(points_depth), rig.scanner.up_vector)
    is_inside &= sources.select(frame, z, sensor) & ~flying_pixels(z)
    is_person = _largest_piece(is_inside, z, camera)
    area_m2 = float((z[is_person] ** 2).sum()) / (camera.fx * camera.fy)
    if area_m2 < _MIN_AREA_M2:
        raise DataError(
            f"nobody is in the rig's volume ({area_m2 * 1e4:.0f} cm² of surface seen)",
            where=where,
            fix="Check the calibration, the rig's volume (center, radius_m, height_m) and what [person] names",
        )
    return PersonDepth(depth_mm=z * 1e3, is_person=is_person, points_depth=points_depth[is_person])


def crop_camera(points_color: NDArray[np.float64], size: int) -> Camera:
    """Pinhole camera of ``size`` pixels square that holds points (N, 3) of the colour frame, with a margin."""
    slopes = points_color[:, :2] / points_color[:, 2:]
    low, high = np.percentile(slopes, (_TRIM_PERCENT, 100.0 - _TRIM_PERCENT), axis=0)
    center = (low + high) / 2.0
    focal = size / ((high - low).max() * (1.0 + 2.0 * _MARGIN))
    middle = (size - 1) / 2.0
    return Camera(
        width=size, height=size, fx=focal, fy=focal, cx=middle - focal * center[0], cy=middle - focal * center[1]
    )


def _largest_piece(is_inside: NDArray[np.bool_], z: NDArray[np.float64], camera: Camera) -> NDArray[np.bool_]:
    """The largest connected part, gaps of up to ``_BRIDGE_M`` bridged."""
    if not is_inside.any():
        return is_inside
    radius_px = max(1, round(_BRIDGE_M / 2.0 * camera.fx / float(np.median(z[is_inside]))))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    grown = cv2.dilate(is_inside.astype(np.uint8), disc)
    _, labels = cv2.connectedComponents(grown)
    sizes = np.bincount(labels[is_inside])
    sizes[0] = 0
    return is_inside & (labels == sizes.argmax())


def _filled(is_person: NDArray[np.bool_], has_depth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes without any depth; a hole that shows background is a real opening."""
    num_labels, found = cv2.connectedComponents((~is_person).astype(np.uint8), connectivity=4)
    labels = np.asarray(found, dtype=np.int64)
    is_open = np.zeros(num_labels, bool)
    is_open[0] = True  # label 0 is the person
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        is_open[edge] = True
    is_open[labels[has_depth & ~is_person]] = True
    return is_person | ~is_open[labels]
