"""What a depth camera and the scanner see of a performer's motion, as tracks that ``sync.motion`` compares.

Both see the same part of the surface: the scans are looked at through the depth camera's own rays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anim_real.calibration import SensorCalibration
from anim_real.capture.person_reader import PersonReader
from anim_real.capture.scanner import load_scan
from anim_real.console import Console
from anim_real.errors import DataError
from anim_real.geometry.raycast import RayScene
from anim_real.mesh import Mesh
from anim_real.rig import RigSpec, SensorSpec
from anim_real.sync.motion import MotionTrack
from anim_real.take import Take

Array = NDArray[np.float64]
_SHRINK = 4  # of the depth image: some thousand rays meet a person
_MIN_POINTS = 100
_MAX_FRAMES = 1800  # a minute at 30 fps: more frames cost time and tell no more about the lag


def device_track(reader: PersonReader, sensor: SensorSpec, console: Console) -> MotionTrack:
    """Track of the person in a recording's depth images, device clock; captures without a person are left out."""
    stamps = reader.recording.stamps()
    chosen = _middle(np.flatnonzero(stamps.depth_time_us >= 0))
    times, rows = [], []
    for index in console.progress(chosen.tolist(), f"{sensor.id}: motion in depth"):
        try:
            points = reader.points_scan(index)
        except DataError:
            continue
        times.append(int(stamps.depth_time_us[index]))
        rows.append(surface_lengths(points))
    return _track(times, rows, 1e6 / sensor.fps)


def scan_track(take: Take, sensor: SensorCalibration, rig: RigSpec, console: Console) -> MotionTrack:
    """Track of the scans as the sensor's depth camera would see them, scanner clock; unreadable scans are left out."""
    rays = _rays_scan(sensor)
    eye = (sensor.T_color_scan.rigid().inverse() @ sensor.T_color_depth.rigid()).translation
    time_of = dict(zip(take.scan_index.tolist(), take.scan_time_us.tolist(), strict=True))
    chosen = _middle(np.array(sorted(take.scan_paths)))
    times, rows = [], []
    for index in console.progress(chosen.tolist(), f"{sensor.sensor}: motion in scans"):
        try:
            points = visible_points(load_scan(take.scan_paths[index], rig.scanner), eye, rays)
        except DataError:
            continue
        points = points[rig.volume.contains(points, rig.scanner.up_vector)]
        if len(points) >= _MIN_POINTS:
            times.append(time_of[index])
            rows.append(surface_lengths(points))
    return _track(times, rows, 1e6 / rig.scanner.fps)


def surface_lengths(points: Array) -> Array:
    """(6,) metres: where points (N, 3) lie on average, and how far they reach along each axis (standard deviation)."""
    return np.concatenate([points.mean(0), points.std(0)])


def visible_points(mesh: Mesh, eye: Array, rays: Array) -> Array:
    """First points (N, 3) of a mesh on rays (R, 3) from ``eye`` (3,), all in the scan frame."""
    hits = RayScene(mesh.vertices, mesh.faces).cast(eye, rays)
    return eye + hits.distance[hits.is_hit, None] * rays[hits.is_hit]


def _rays_scan(sensor: SensorCalibration) -> Array:
    """Directions (R, 3), of length 1 along the camera's z, of the depth camera's rays in the scan frame."""
    plane = sensor.depth.camera().scale(1.0 / _SHRINK).rays().reshape(-1, 2)
    plane = plane[np.isfinite(plane).all(1)]
    T_scan_depth = sensor.T_color_scan.rigid().inverse() @ sensor.T_color_depth.rigid()
    return T_scan_depth.rotate(np.concatenate([plane, np.ones((len(plane), 1))], 1))


def _middle(frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most a minute of frames, from the middle."""
    first = max(0, (len(frames) - _MAX_FRAMES) // 2)
    return frames[first : first + _MAX_FRAMES]


def _track(times: Sequence[int], rows: Sequence[Array], period_us: float) -> MotionTrack:
    lengths = np.array(rows).reshape(len(times), -1 if rows else 6)
    return MotionTrack(time_us=np.array(times, dtype=np.int64), lengths=lengths, period_us=period_us)
