"""The person of a sensor's captures, as a rig wants it: filtered depth, every source of the mask, one way for all.

Pairing, packing and reconstruction read captures through this, so that what a network is trained on
and what it is given are made alike.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import SensorCalibration
from anim_real.capture.crop import PersonCrop, depth_points_scan, person_crop
from anim_real.capture.filters import filter_depth
from anim_real.capture.person_mask import PersonSources, open_sources
from anim_real.capture.recording.k4a_mkv import Recording
from anim_real.rig import RigSpec
from anim_real.take import RgbdFrame

_MAX_STRAY = 0.25  # of a frame period: a neighbour that is more off its time is not one step away
_KEPT_IMAGES = 32  # depth images; the largest window is 21


class PersonReader:
    """Reads a recording as a rig asks; close the recording when done.

    Args:
        recording: an opened recording of a take.
        sensor: its sensor's calibration.
        rig: gives volume, filters and sources of the mask.
        take_folder: where the take lies.

    Raises:
        NotFoundError: the recording of the empty studio or the folder of masks is missing.
        DataError: the recording of the empty studio is no use.
    """

    def __init__(self, recording: Recording, sensor: SensorCalibration, rig: RigSpec, take_folder: Path) -> None:
        self.recording, self.sensor, self.rig = recording, sensor, rig
        self.sources: PersonSources = open_sources(rig.person, sensor, take_folder)
        self._depth = lru_cache(maxsize=_KEPT_IMAGES)(self._read_depth)
        self._stamps_us = recording.stamps().depth_time_us
        self._with_depth = np.flatnonzero(self._stamps_us >= 0)

    def capture(self, index: int, *, decode_color: bool = True) -> RgbdFrame:
        """Read a capture; its depth filtered as the rig says. ``NotFoundError`` if there is none of that index."""
        frame = self.recording.capture(index, decode_color=decode_color)
        filters = self.rig.depth_filters
        if frame.depth_mm is None or filters.is_off:
            return frame
        window = [None if other is None else self._depth(other) for other in self._window(index)]
        depth_mm = filter_depth(window, self.sensor.depth.camera(), filters)
        return RgbdFrame(
            index=frame.index,
            color=frame.color,
            depth_mm=depth_mm,
            ir=frame.ir,
            color_time_us=frame.color_time_us,
            depth_time_us=frame.depth_time_us,
        )

    def crop(self, index: int, *, size: int) -> PersonCrop:
        """Cut the person out of a capture; raises what ``person_crop`` raises."""
        return person_crop(self.capture(index), self.sensor, self.rig, size=size, sources=self.sources)

    def points_scan(self, index: int) -> NDArray[np.float64]:
        """The person's depth points (N, 3) in the scan frame, metres; raises what ``depth_points_scan`` raises."""
        frame = self.capture(index, decode_color=False)
        return depth_points_scan(frame, self.sensor, self.rig, self.sources)

    def _read_depth(self, index: int) -> NDArray[np.uint16] | None:
        return self.recording.capture(index, decode_color=False).depth_mm

    def _window(self, index: int) -> list[int | None]:
        """Captures one frame period apart, ``index`` in the middle; None where one is dropped or lacks depth."""
        temporal = self.rig.depth_filters.temporal
        half = 0 if temporal is None else temporal.half_window
        period_us = 1e6 / self.recording.info.fps
        wanted = self._stamps_us[index] + period_us * np.arange(-half, half + 1)
        times = self._stamps_us[self._with_depth]
        right = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
        left = right - 1
        right = np.minimum(right, len(times) - 1)
        nearest = np.where(np.abs(times[left] - wanted) <= np.abs(times[right] - wanted), left, right)
        is_there = np.abs(times[nearest] - wanted) <= _MAX_STRAY * period_us
        return [int(self._with_depth[place]) if found else None for place, found in zip(nearest, is_there, strict=True)]
