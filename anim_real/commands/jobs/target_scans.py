"""The scans of a calibration take with what its target allows: corners of its boards, or its shape alone.

Both kinds observe a placement and solve a sensor in their own way; the rest of the solve does not ask which it is.
Metres, frame ``scan``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from anim_real.calibrate.boards.detect import CornerDetector, grey_of_ir, mean_image, polarity_remark
from anim_real.calibrate.boards.rigid_shape import CornerCloud, share_shape
from anim_real.calibrate.boards.scan_corners import ScanCorners, TexturedScan, find_scan_corners
from anim_real.calibrate.boards.target import corner_positions
from anim_real.calibrate.boards.targets import load_target
from anim_real.calibrate.markerless.observe import observe_geometry
from anim_real.calibrate.markerless.sensor import find_geometry_sensor, judge_geometry_sensor
from anim_real.calibrate.observations import Placement, ScanSpheres, SensorObservations
from anim_real.calibrate.observe import PlacementImages, observe_placement
from anim_real.calibrate.protocol import COLOR_REFERENCE_WIDTH_PX, ProtocolSpec
from anim_real.calibrate.sensor import FoundSensor, SensorSolution, find_sensor, judge_sensor
from anim_real.calibrate.solve.state import State
from anim_real.calibrate.spheres.evidence import radius_remark
from anim_real.calibrate.spheres.observe import find_scan_spheres, share_spheres
from anim_real.capture.scanner import load_scan
from anim_real.console import Console
from anim_real.errors import DataError
from anim_real.geometry.cameras import Camera
from anim_real.mesh import Mesh
from anim_real.rig import RigSpec
from anim_real.take import RgbdFrame, Take
from anim_real.target import is_geometry_target, load_geometry_target


def load_target_scans(
    name: str, take: Take, rig: RigSpec, protocol: ProtocolSpec, console: Console
) -> BoardScans | ObjectScans:
    """Read the target, by name or path, and the take's scans of it."""
    kind = ObjectScans if is_geometry_target(name) else BoardScans
    return kind(name, take, rig, protocol, console)


class BoardScans:
    """Scans of a target with boards: their corners, each found once for all sensors and averaged over the scans."""

    def __init__(self, name: str, take: Take, rig: RigSpec, protocol: ProtocolSpec, console: Console) -> None:
        self.target = load_target(name)
        self.name = self.target.name
        self.protocol = protocol
        self.up = rig.scanner.up_vector
        self.floor_center = np.array(rig.volume.center)
        self.detector = CornerDetector(self.target)
        self.meshes: dict[int, Mesh] = {}
        self.corners: dict[int, ScanCorners] = {}
        for frame, path in console.progress(sorted(take.scan_paths.items()), "scans", len(take.scan_paths)):
            mesh = load_scan(path, rig.scanner)
            try:
                self.corners[frame] = find_scan_corners(TexturedScan(mesh), self.target, self.detector, up=self.up)
            except DataError as error:
                raise type(error)(error.what, where=path, fix=error.fix) from error
            self.meshes[frame] = mesh
        shared = share_shape(
            {frame: CornerCloud(ids=found.ids, points=found.points) for frame, found in self.corners.items()},
            *corner_positions(self.target),
        )
        self.scatter_m = shared.rms_m
        spheres: dict[int, ScanSpheres] = {}
        for frame, cloud in shared.clouds.items():
            self.corners[frame] = replace(self.corners[frame], points=cloud.points)
            spheres[frame] = find_scan_spheres(self.meshes[frame], self.target, cloud.ids, cloud.points)
        self.spheres = share_spheres(spheres, shared.clouds, self.target)

    def observe(
        self, index: int, scan_frame: int, frames: list[RgbdFrame], color: Camera
    ) -> tuple[Placement, PlacementImages]:
        """Observe a placement in the captures around its scan; ``color`` is the factory's camera."""
        placement, images = observe_placement(
            index,
            scan_frame,
            self.meshes[scan_frame],
            frames,
            self.target,
            self.detector,
            up=self.up,
            scan_corners=self.corners[scan_frame],
            max_motion_px=self.protocol.segments.max_motion_px * color.width / COLOR_REFERENCE_WIDTH_PX,
        )
        return replace(placement, scan_spheres=self.spheres[scan_frame]), images

    def solve(self, observations: SensorObservations) -> FoundSensor:
        """Solve a sensor by its corners and depth."""
        return find_sensor(observations, self.target, self.protocol, floor_center=self.floor_center, up=self.up)

    def judge(self, found: FoundSensor, prefix: str, rest: Mapping[int, State] | None = None) -> SensorSolution:
        """Evidence and verdicts; ``rest`` are the states solved without each placement, where known already."""
        return judge_sensor(found, floor_center=self.floor_center, up=self.up, gate_prefix=prefix, rest=rest)

    def remark(self, images: Mapping[int, PlacementImages]) -> str | None:
        """What a person should know of how the boards were seen, and of the spheres' size."""
        polarity = polarity_remark(self.target, [shown.inverted for shown in images.values()])
        said = [remark for remark in (polarity, radius_remark(self.spheres)) if remark is not None]
        return "; ".join(said) or None


class ObjectScans:
    """Scans of an object without markers, each of which is the object's shape at its placement."""

    def __init__(self, name: str, take: Take, rig: RigSpec, protocol: ProtocolSpec, console: Console) -> None:
        target, _ = load_geometry_target(name)
        self.name = target.name
        self.protocol = protocol
        self.up = rig.scanner.up_vector
        self.floor_center = np.array(rig.volume.center)
        self.meshes: dict[int, Mesh] = {
            frame: load_scan(path, rig.scanner)
            for frame, path in console.progress(sorted(take.scan_paths.items()), "scans", len(take.scan_paths))
        }

    def observe(
        self, index: int, scan_frame: int, frames: list[RgbdFrame], color: Camera
    ) -> tuple[Placement, PlacementImages]:
        """Observe a placement in the depth around its scan; ``color`` is the factory's camera."""
        deep = [(frame, frame.depth_mm) for frame in frames if frame.depth_mm is not None]
        placement, kept = observe_geometry(index, scan_frame, self.meshes[scan_frame], [depth for _, depth in deep])
        still = [deep[k][0] for k in kept]
        return placement, _images(still, len(deep) - len(still), color)

    def solve(self, observations: SensorObservations) -> FoundSensor:
        """Solve a sensor by its depth alone."""
        return find_geometry_sensor(observations, self.protocol)

    def judge(self, found: FoundSensor, prefix: str, rest: Mapping[int, State] | None = None) -> SensorSolution:
        """Evidence and verdicts; ``rest`` are the states solved without each placement, where known already."""
        return judge_geometry_sensor(found, floor_center=self.floor_center, up=self.up, gate_prefix=prefix, rest=rest)

    def remark(self, images: Mapping[int, PlacementImages]) -> str | None:
        """Nothing: there are no boards."""
        return None


def _images(still: list[RgbdFrame], num_moving: int, color: Camera) -> PlacementImages:
    """Mean images for the report; black where no capture has colour."""
    colors = [frame.color for frame in still if frame.color is not None]
    infrared = [frame.ir for frame in still if frame.ir is not None]
    black = np.zeros((color.height, color.width, 3), np.uint8)
    return PlacementImages(
        color=np.rint(mean_image(colors)).astype(np.uint8) if colors else black,
        ir=grey_of_ir(mean_image(infrared)) if infrared else None,
        captures=tuple(frame.index for frame in still),
        num_moving=num_moving,
    )
