"""Who is the person in a depth image: range, background plate and mask files, beside the rig's volume.

Each source says for every depth pixel whether it may be the person; all that a rig names must agree.

A background plate comes from a recording of the empty studio by the same sensor in the same place.
Mask files come from any tool that segments people: ``masks-<sensor id>/000012.png`` in the take, one
per capture (its index in the recording, six digits), 8 bits of one channel, 0 = not the person, 255 =
the person, of the size of the depth or of the colour image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import SensorCalibration
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.errors import DataError
from anim_real.files import require_file, require_folder, sha256_file
from anim_real.geometry.cameras import Camera
from anim_real.geometry.depth import unproject
from anim_real.rig import BackgroundSpec, PersonSpec
from anim_real.take import RgbdFrame

_MAX_CAPTURES = 60  # of the empty studio, evenly over the recording: its median is then known to 0.16 sigma
_MIN_CAPTURES = 5
_MIN_SHARE = 0.5  # of the captures: a pixel with depth in fewer has none in the plate
_TO_SIGMA = np.sqrt(np.pi / 2)  # mean absolute deviation to standard deviation; whole mm are too coarse for its median
_NOTHING = PersonSpec()


@dataclass(frozen=True, kw_only=True, eq=False)
class BackgroundPlate:
    """The empty studio as one sensor sees it, raw depth (no bias removed).

    Attributes:
        depth_mm: (h, w) float32 median; 0 where most captures have no depth.
        sigma_mm: (h, w) float32 standard deviation of one capture, from the mean absolute deviation.
        num_captures: how many it was made from.
        serial: of the device, empty if the recording does not tell.
        sha256: of the recording.
    """

    depth_mm: NDArray[np.float32]
    sigma_mm: NDArray[np.float32]
    num_captures: int
    serial: str
    sha256: str

    def is_nearer(self, depth_mm: NDArray, spec: BackgroundSpec) -> NDArray[np.bool_]:
        """(h, w) bool: depth that lies before the plate by its limit, or where the plate has none.

        Args:
            depth_mm: (h, w) raw millimetres, 0 = none (never nearer).
            spec: the limit.
        """
        limit = self.depth_mm - spec.sigmas * self.sigma_mm - spec.margin_mm
        return (depth_mm > 0) & ((depth_mm < limit) | (self.depth_mm == 0))


@dataclass(frozen=True, kw_only=True, eq=False)
class PersonSources:
    """What one sensor of one take has to say about who is the person.

    Attributes:
        spec: what the rig asks for.
        plate: the empty studio, or None.
        masks: folder of mask files, or None.
        background_path: the recording that ``plate`` was made from.
    """

    spec: PersonSpec = _NOTHING
    plate: BackgroundPlate | None = None
    masks: Path | None = None
    background_path: Path | None = None

    def select(self, frame: RgbdFrame, z: NDArray[np.float64], sensor: SensorCalibration) -> NDArray[np.bool_]:
        """(h, w) bool: the depth pixels that every source allows.

        Args:
            frame: the capture, with depth.
            z: (h, w) metres with the bias removed, 0 = none.
            sensor: its sensor's calibration.

        Raises:
            NotFoundError: the capture has no mask file.
            DataError: plate or mask is of another size than the image, or the mask is no mask.
        """
        assert frame.depth_mm is not None
        allowed = z > 0
        if self.spec.near_m is not None:
            allowed &= z >= self.spec.near_m
        if self.spec.far_m is not None:
            allowed &= z <= self.spec.far_m
        if self.plate is not None:
            assert self.spec.background is not None
            if self.plate.depth_mm.shape != frame.depth_mm.shape:
                raise DataError(
                    f"shows {self.plate.depth_mm.shape}, the capture {frame.depth_mm.shape}",
                    where=self.background_path, fix="Record the empty studio in the take's depth mode",
                )  # fmt: skip
            allowed &= self.plate.is_nearer(frame.depth_mm, self.spec.background)
        if self.spec.masks == "depth":
            allowed &= self.mask(frame.index, sensor.depth.camera())
        elif self.spec.masks == "color":
            allowed &= _seen_in(self.mask(frame.index, sensor.color.camera()), z, sensor)
        return allowed

    def color_mask(self, index: int, camera: Camera) -> NDArray[np.bool_] | None:
        """(H, W) bool: the capture's mask if masks are drawn in colour, else None."""
        return self.mask(index, camera) if self.spec.masks == "color" else None

    def mask(self, index: int, camera: Camera) -> NDArray[np.bool_]:
        """(h, w) bool: the mask file of a capture, which must have the size of ``camera``'s image."""
        assert self.masks is not None
        return read_mask(self.masks / f"{index:06d}.png", (camera.height, camera.width))

    def record(self) -> dict[str, Any]:
        """What the person was told by, JSON-ready."""
        used: dict[str, Any] = {"volume": True, "near_m": self.spec.near_m, "far_m": self.spec.far_m}
        if self.plate is not None:
            assert self.spec.background is not None
            used["background"] = {
                "sha256": self.plate.sha256,
                "num_captures": self.plate.num_captures,
                "sigmas": self.spec.background.sigmas,
                "margin_mm": self.spec.background.margin_mm,
            }
        return used | {"masks": self.spec.masks}


def open_sources(spec: PersonSpec, sensor: SensorCalibration, take_folder: Path) -> PersonSources:
    """Find and read what a rig names as sources, for one sensor of a take.

    Raises:
        NotFoundError: the recording of the empty studio or the folder of masks is missing.
        DataError: the recording is none of depth, too short, or of another device.
    """
    sensor_id = sensor.sensor
    plate = background_path = masks = None
    if spec.background is not None:
        background_path = background_file(spec.background, sensor_id, take_folder)
        require_file(background_path, "recording of the empty studio")
        stat = background_path.stat()
        plate = _cached_plate(background_path.resolve(), stat.st_size, stat.st_mtime_ns)
        if sensor.serial and plate.serial and plate.serial != sensor.serial:
            raise DataError(
                f"was recorded by device {plate.serial}, the calibration is of {sensor.serial}",
                where=background_path, fix="Record the empty studio with this device",
            )  # fmt: skip
    if spec.masks is not None:
        masks = require_folder(mask_folder(sensor_id, take_folder), "folder of masks")
    return PersonSources(spec=spec, plate=plate, masks=masks, background_path=background_path)


def background_file(spec: BackgroundSpec, sensor_id: str, take_folder: Path) -> Path:
    """Where the recording of the empty studio lies."""
    return take_folder / spec.folder / f"background-{sensor_id}.mkv"


def mask_folder(sensor_id: str, take_folder: Path) -> Path:
    """Where the mask files of a sensor lie."""
    return take_folder / f"masks-{sensor_id}"


def read_background(path: Path) -> BackgroundPlate:
    """Make the plate of a recording of the empty studio: per pixel the median and the spread.

    Raises:
        DataError: fewer than five captures have depth.
    """
    with open_recording(path) as recording:
        with_depth = np.flatnonzero(recording.stamps().depth_time_us >= 0)
        chosen = with_depth[np.unique(np.linspace(0, len(with_depth) - 1, _MAX_CAPTURES).astype(int))]
        images = [recording.capture(int(index), decode_color=False).depth_mm for index in chosen]
        serial = recording.info.serial
    stack = np.stack([image for image in images if image is not None] or [np.zeros((0, 0), np.uint16)])
    if len(stack) < _MIN_CAPTURES or stack.size == 0:
        raise DataError(
            f"only {len(chosen)} captures of the empty studio have depth", where=path,
            fix=f"Record at least {_MIN_CAPTURES}, better a second or two",
        )  # fmt: skip
    median, sigma = _median_and_sigma(stack)
    return BackgroundPlate(
        depth_mm=median, sigma_mm=sigma, num_captures=len(stack), serial=serial, sha256=sha256_file(path)
    )


def read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask file: one channel, 8 bits, 0 or 255.

    Raises:
        NotFoundError: no such file.
        DataError: not a PNG, another size, or other values.
    """
    payload = np.frombuffer(require_file(path, "mask").read_bytes(), np.uint8)
    image = cv2.imdecode(payload, cv2.IMREAD_UNCHANGED) if payload.size else None
    if image is None:
        raise DataError("is not a readable image", where=path, fix="Write masks as PNG")
    if image.shape != shape:
        raise DataError(
            f"is {image.shape}, the image it belongs to {shape}", where=path,
            fix="Write one channel, of the size of the image that the rig's person.masks names",
        )  # fmt: skip
    if image.dtype != np.uint8 or not np.isin(image, (0, 255)).all():
        raise DataError("holds other values than 0 and 255", where=path, fix="Write 8 bits, 255 = the person")
    return image > 0


@lru_cache(maxsize=8)
def _cached_plate(path: Path, _num_bytes: int, _changed_ns: int) -> BackgroundPlate:
    return read_background(path)


def _median_and_sigma(stack: NDArray[np.uint16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Over the first axis, zeros left out; 0 where too few are left."""
    values = np.where(stack > 0, stack, np.nan).astype(np.float32)
    is_known = (stack > 0).mean(0) >= _MIN_SHARE
    values[:, ~is_known] = 0.0
    median = np.nanmedian(values, axis=0)
    sigma = _TO_SIGMA * np.nanmean(np.abs(values - median), axis=0)
    return median.astype(np.float32), sigma.astype(np.float32)


def _seen_in(mask: NDArray[np.bool_], z: NDArray[np.float64], sensor: SensorCalibration) -> NDArray[np.bool_]:
    """(h, w) bool: the depth pixels whose points fall on the mask (H, W) of the colour image."""
    camera = sensor.color.camera()
    points = sensor.T_color_depth.rigid().apply(unproject(z, sensor.depth.camera(), z))
    pixels = camera.project(points)
    column, row = np.rint(np.nan_to_num(pixels, nan=-1.0)).astype(int).transpose(2, 0, 1)
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    return inside & mask[np.where(inside, row, 0), np.where(inside, column, 0)]
