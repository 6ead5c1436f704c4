"""What the network sees and learns from, as torch tensors.

Shape suffixes: B frames, H W image rows and columns, N depth points, P query points, 3 coordinates.

Model space is in centimetres, centred on the person, axes of the camera turned to x right, y up,
z towards the camera: ``p_model = 100 * diag(1, -1, -1) @ (p_color - center)``. Images stay uint8
until they are on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from anim_real.data.examples import CM_PER_M, MODEL_AXES, Example, PreparedFrame

BundleT = TypeVar("BundleT", bound="_Bundle")
_NEAREST_M = 0.01  # points nearer to the camera, or behind it, project as if they were here: far outside


class _Bundle:
    """A frozen dataclass of tensors (and bundles of them) that moves between devices as one."""

    def to(self: BundleT, device: torch.device | str) -> BundleT:
        """Return the same bundle on ``device``."""
        moved = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return replace(self, **{name: part.to(device) for name, part in moved.items() if hasattr(part, "to")})  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection(_Bundle):
    """How model points fall on the image of each frame (pinhole or orthographic; integer pixel centres).

    Attributes:
        scale_B2: focal lengths in pixels, or pixels per metre for an orthographic camera.
        principal_B2: principal point in pixels.
        center_B3: the person's centre in the camera frame, metres; the origin of model space.
        is_orthographic_B: bool.
        size: image height and width in pixels that the above refer to.
    """

    scale_B2: Tensor
    principal_B2: Tensor
    center_B3: Tensor
    is_orthographic_B: Tensor
    size: tuple[int, int]

    def pixels(self, points_BP3: Tensor) -> Tensor:
        """Project model points (cm) to pixels (B, P, 2)."""
        points_color, divisor = self._in_camera(points_BP3)
        return points_color[..., :2] / divisor * self.scale_B2[:, None] + self.principal_B2[:, None]

    def inside(self, pixels_BP2: Tensor) -> Tensor:
        """(B, P) bool: which pixels lie in the image, [-0.5, size - 0.5]."""
        last = pixels_BP2.new_tensor((self.size[1] - 0.5, self.size[0] - 0.5))
        return ((pixels_BP2 >= -0.5) & (pixels_BP2 <= last)).all(-1)

    def outside_cm(self, points_BP3: Tensor) -> Tensor:
        """(B, P) how far model points (cm) lie outside the image [-0.5, size - 0.5], in cm at their depth; 0 inside."""
        points_color, divisor = self._in_camera(points_BP3)
        pixels = points_color[..., :2] / divisor * self.scale_B2[:, None] + self.principal_B2[:, None]
        last = pixels.new_tensor((self.size[1] - 0.5, self.size[0] - 0.5))
        beyond_px = torch.maximum(-0.5 - pixels, pixels - last).clamp(min=0.0)
        return (beyond_px * divisor / self.scale_B2[:, None]).amax(-1) * CM_PER_M

    def _in_camera(self, points_BP3: Tensor) -> tuple[Tensor, Tensor]:
        """Points in the camera frame (metres) and what their x and y are divided by (B, P, 1)."""
        points_color = points_BP3 * points_BP3.new_tensor(MODEL_AXES.tolist()) / CM_PER_M + self.center_B3[:, None]
        depth = points_color[..., 2:].clamp(min=_NEAREST_M)
        return points_color, torch.where(self.is_orthographic_B[:, None, None], torch.ones_like(depth), depth)


@dataclass(frozen=True, kw_only=True, eq=False)
class Observation(_Bundle):
    """RGB-D frames as the network takes them.

    Attributes:
        color_BHW3: uint8 RGB, zero outside the person.
        normals_BHW3: float32 unit normals in the camera frame (towards the camera), zero where unknown.
        depth_BHW: float32 metres relative to the person's centre, zero where unknown.
        is_person_BHW: bool.
        points_BN3: float32 depth points in model space (cm), padded.
        is_point_BN: bool, false for padding.
        projection: how model space falls on the image.
    """

    color_BHW3: Tensor
    normals_BHW3: Tensor
    depth_BHW: Tensor
    is_person_BHW: Tensor
    points_BN3: Tensor
    is_point_BN: Tensor
    projection: Projection


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch(_Bundle):
    """An observation with labelled points.

    Attributes:
        observation: the frames.
        points_BP3, sdf_BP: float32 query points and their signed distance (cm, negative inside).
        is_invented_BP: bool, whose label is the hole filling's, not the scan's.
        depth_points_BP3, depth_sdf_BP: float32 depth points and their label (cm) for L_depth.
        is_depth_BP: bool, false for padding.
    """

    observation: Observation
    points_BP3: Tensor
    sdf_BP: Tensor
    is_invented_BP: Tensor
    depth_points_BP3: Tensor
    depth_sdf_BP: Tensor
    is_depth_BP: Tensor


def observe(frames: Sequence[PreparedFrame]) -> Observation:
    """Stack prepared frames of one image size."""
    clouds = [frame.points_model() for frame in frames]
    points_BN3, is_point_BN = _padded(clouds, 3)
    size = frames[0].color.shape[:2]
    return Observation(
        color_BHW3=torch.from_numpy(np.stack([frame.color for frame in frames])),
        normals_BHW3=torch.from_numpy(np.stack([frame.normals for frame in frames])),
        depth_BHW=torch.from_numpy(np.stack([frame.relative_depth for frame in frames])),
        is_person_BHW=torch.from_numpy(np.stack([frame.is_person for frame in frames])),
        points_BN3=points_BN3,
        is_point_BN=is_point_BN,
        projection=Projection(
            scale_B2=torch.tensor([frame.scale_px for frame in frames], dtype=torch.float32),
            principal_B2=torch.tensor([(frame.camera.cx, frame.camera.cy) for frame in frames], dtype=torch.float32),
            center_B3=torch.tensor(np.stack([frame.center for frame in frames]), dtype=torch.float32),
            is_orthographic_B=torch.tensor([frame.is_orthographic for frame in frames]),
            size=(size[0], size[1]),
        ),
    )


def collate(examples: Sequence[Example]) -> Batch:
    """Make a batch of examples with equal numbers of query points."""
    depth_points, is_depth = _padded([example.depth_points for example in examples], 3)
    depth_sdf, _ = _padded([example.depth_sdf[:, None] for example in examples], 1)
    return Batch(
        observation=observe([example.frame for example in examples]),
        points_BP3=torch.from_numpy(np.stack([example.points for example in examples])),
        sdf_BP=torch.from_numpy(np.stack([example.sdf for example in examples])),
        is_invented_BP=torch.from_numpy(np.stack([example.is_invented for example in examples])),
        depth_points_BP3=depth_points,
        depth_sdf_BP=depth_sdf[..., 0],
        is_depth_BP=is_depth,
    )


def _padded(rows: Sequence[np.ndarray], width: int) -> tuple[Tensor, Tensor]:
    length = max(1, *(len(row) for row in rows))
    values = np.zeros((len(rows), length, width), dtype=np.float32)
    is_filled = np.zeros((len(rows), length), dtype=bool)
    for index, row in enumerate(rows):
        values[index, : len(row)] = row
        is_filled[index, : len(row)] = True
    return torch.from_numpy(values), torch.from_numpy(is_filled)
