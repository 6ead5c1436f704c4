"""The calibration target: a solid with boards on its sides and spheres above it, or a scanned object without marks.

Written by people as ``calibration/targets/<name>.toml``, in metres. Target frame: y up, origin at the
centre of the body's bottom, side 0 faces +z. Sides are counted counter-clockwise seen from above.
A prism of n sides has sides 0..n-1; a plate has side 0 (front, +z) and side 1 (back).
Board frame: origin at the board's own centre, x right, y up, z out of the side.
"""

from anim_real.target.boards import (
    BANNER_BOTTOM,
    BANNER_NOTCH,
    BANNER_TOP,
    AnyBoardSpec,
    BannerSpec,
    BoardSpec,
    MarkerSpec,
)
from anim_real.target.bodies import PlateBody, PrismBody
from anim_real.target.load import is_geometry_target, load_geometry_target, load_target_spec
from anim_real.target.spec import GeometryTargetSpec, SphereSpec, TargetSpec

__all__ = [
    "BANNER_BOTTOM",
    "BANNER_NOTCH",
    "BANNER_TOP",
    "AnyBoardSpec",
    "BannerSpec",
    "BoardSpec",
    "GeometryTargetSpec",
    "MarkerSpec",
    "PlateBody",
    "PrismBody",
    "SphereSpec",
    "TargetSpec",
    "is_geometry_target",
    "load_geometry_target",
    "load_target_spec",
]
