"""From images and a scan to the observations of one placement.

Captures of a static target are averaged: corners are looked for in the mean images, depth is their median.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.boards.detect import CornerDetector, Corners, grey_of_ir, mean_image
from anim_real.calibrate.boards.scan_corners import ScanCorners, find_scan_corners
from anim_real.calibrate.boards.scan_views import TexturedScan
from anim_real.calibrate.boards.target import Target
from anim_real.calibrate.observations import CornerPairs, Placement, ScanSurface
from anim_real.errors import DataError
from anim_real.mesh import Mesh
from anim_real.take import RgbdFrame

Array = NDArray[np.float64]
_ENLARGE_COLOR = 2  # a 90 mm square 2.5 m away is 22 px wide at 720P
_ENLARGE_IR = 3  # and 18 px in NFOV_UNBINNED
_MIN_DEPTH_SHARE = 0.5  # a pixel counts when at least half of the captures saw it


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacementImages:
    """What the report shows of a placement.

    Attributes:
        color: (H, W, 3) uint8 mean colour image.
        ir: (h, w) uint8 mean infrared image, or None.
        captures: indices of the captures used.
        num_moving: captures left out because something moved.
        inverted: whether the boards were seen white on black; None if none was seen in colour.
    """

    color: NDArray[np.uint8]
    ir: NDArray[np.uint8] | None
    captures: tuple[int, ...]
    num_moving: int
    inverted: bool | None = None


def observe_placement(
    index: int,
    scan_frame: int,
    scan: Mesh,
    frames: list[RgbdFrame],
    target: Target,
    detector: CornerDetector,
    *,
    up: Array,
    scan_corners: ScanCorners | None = None,
    max_motion_px: float,
) -> tuple[Placement, PlacementImages]:
    """Observe the target at one placement.

    Args:
        index: number of the placement.
        scan_frame: scanner frame of the scan.
        scan: the scan in metres, frame scan, textured.
        frames: captures around the scan's time; incomplete ones serve as far as they go.
        target: the target.
        detector: its detector.
        up: (3,) upward direction of the scan frame.
        scan_corners: corners on the scan when they are known already (another sensor's turn).
        max_motion_px: how far corners may be (median) from where the middle capture shows them.

    Raises:
        DataError: no capture has both a colour image and a depth image.
    """
    where = f"placement {index} (scan frame {scan_frame})"
    if scan_corners is None:
        scan_corners = find_scan_corners(TexturedScan(scan), target, detector, up=up)
    still = _static(frames, detector, max_motion_px)
    colors = [frame.color for frame in still if frame.color is not None]
    depths = [frame.depth_mm for frame in still if frame.depth_mm is not None]
    infrared = [frame.ir for frame in still if frame.ir is not None]
    if not colors or not depths:
        raise DataError(f"no capture with colour and depth among {len(frames)}", where=where)
    color = np.rint(mean_image(colors)).astype(np.uint8)
    ir = grey_of_ir(mean_image(infrared)) if infrared else None
    in_color = detector.detect(color, enlarge=_ENLARGE_COLOR)
    in_ir = detector.detect(ir, enlarge=_ENLARGE_IR) if ir is not None else None
    placement = Placement(
        index=index,
        scan_frame=scan_frame,
        surface=ScanSurface.of(scan.vertices, scan.faces),
        color=_pairs(scan_corners, in_color),
        ir=CornerPairs.empty() if in_ir is None else _pairs(scan_corners, in_ir),
        depth_m=median_depth(depths),
    )
    images = PlacementImages(
        color=color,
        ir=ir,
        captures=tuple(frame.index for frame in still),
        num_moving=len(frames) - len(still),
        inverted=in_color.inverted,
    )
    return placement, images


def median_depth(depths_mm: list[NDArray[np.uint16]]) -> Array:
    """Median over static captures (h, w) uint16 mm, in metres; NaN where fewer than half of them saw anything."""
    stack = np.stack(depths_mm).astype(np.float32)
    stack[stack == 0] = np.nan
    seen = np.isfinite(stack).mean(0) >= _MIN_DEPTH_SHARE
    result = np.full(stack.shape[1:], np.nan)
    result[seen] = np.nanmedian(stack[:, seen], axis=0)
    return result * 1e-3


def _static(frames: list[RgbdFrame], detector: CornerDetector, max_motion_px: float) -> list[RgbdFrame]:
    """Captures during which corners stay where they are in the middle one; all of them if no corner is seen."""
    colored = [frame for frame in frames if frame.color is not None]
    if not colored:
        return frames
    middle = colored[len(colored) // 2]
    assert middle.color is not None
    reference = detector.detect(middle.color)
    if len(reference) == 0:
        return frames
    ends = {frame.index: frame for frame in (colored[0], colored[-1])}
    if all(_motion_px(detector, frame, reference) <= max_motion_px for frame in ends.values()):
        return frames
    moving = {frame.index for frame in colored if _motion_px(detector, frame, reference) > max_motion_px}
    return [frame for frame in frames if frame.index not in moving and frame.color is not None]


def _motion_px(detector: CornerDetector, frame: RgbdFrame, reference: Corners) -> float:
    assert frame.color is not None
    seen = detector.detect(frame.color)
    _, first, second = np.intersect1d(seen.ids, reference.ids, return_indices=True)
    if len(first) == 0:
        return np.inf
    return float(np.median(np.linalg.norm(seen.pixels[first] - reference.pixels[second], axis=1)))


def _pairs(scan: ScanCorners, image: Corners) -> CornerPairs:
    return CornerPairs.join(scan.ids, scan.points, image.ids, image.pixels)
