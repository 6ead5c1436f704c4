"""From depth captures and a scan to a placement of an object without markers: no corners, depth alone.

Captures during which something moved are left out; the depth of the others is their median.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import CornerPairs, Placement, ScanSurface
from anim_real.calibrate.observe import median_depth
from anim_real.errors import DataError
from anim_real.mesh import Mesh

_MOVED_MM = 40.0  # far beyond noise; a hand or a foot moves by more
_MAX_MOVED_SHARE = 0.01  # flying pixels change from capture to capture as well


def observe_geometry(
    index: int, scan_frame: int, scan: Mesh, depths_mm: list[NDArray[np.uint16]]
) -> tuple[Placement, tuple[int, ...]]:
    """Observe an object without markers at one placement.

    Args:
        index: number of the placement.
        scan_frame: scanner frame of the scan.
        scan: the scan in metres, frame scan; floor and walls may be in it.
        depths_mm: (h, w) depth images around the scan's time, in time order, 0 = none.

    Returns:
        The placement, and which of the captures it was made from: those in which nothing moved.

    Raises:
        DataError: no depth image.
    """
    if not depths_mm:
        raise DataError("no capture with depth", where=f"placement {index} (scan frame {scan_frame})")
    middle = depths_mm[len(depths_mm) // 2]
    still = tuple(k for k, depth in enumerate(depths_mm) if _moved_share(depth, middle) <= _MAX_MOVED_SHARE)
    placement = Placement(
        index=index,
        scan_frame=scan_frame,
        surface=ScanSurface.of(scan.vertices, scan.faces),
        color=CornerPairs.empty(),
        ir=CornerPairs.empty(),
        depth_m=median_depth([depths_mm[k] for k in still]),
    )
    return placement, still


def _moved_share(depth_mm: NDArray[np.uint16], middle_mm: NDArray[np.uint16]) -> float:
    """Share of the pixels measured in both whose depth changed."""
    both = (depth_mm > 0) & (middle_mm > 0)
    change = np.abs(depth_mm[both].astype(np.float64) - middle_mm[both])
    return float((change > _MOVED_MM).mean()) if both.any() else 0.0
