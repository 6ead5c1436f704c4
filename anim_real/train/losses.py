"""The two Huber losses (ANIM, Eqs. 4 and 5), in centimetres."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from anim_real.data.batches import Batch
from anim_real.model.anim import ANIM
from anim_real.specs import Spec


class LossSpec(Spec):
    """Threshold and weight of the losses."""

    delta_cm: float = Field(default=1.25, gt=0)
    depth_weight: float = Field(default=1.0, ge=0, description="weight of L_depth; 0 leaves it out")
    invented_weight: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="weight in L_sdf of points whose label hole filling invented; 1 = as scanned ones, 0 = left out",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Loss:
    """Loss of a batch and its parts.

    Attributes:
        total: what is minimised.
        sdf, depth: L_sdf and L_depth.
        error_cm: mean absolute error of the signed distance over all points that count, without gradient.
        num_excluded: query points outside the image or the cube, which do not count.
    """

    total: Tensor
    sdf: Tensor
    depth: Tensor
    error_cm: Tensor
    num_excluded: Tensor


def anim_loss(model: ANIM, batch: Batch, spec: LossSpec) -> Loss:
    """L_sdf + weight * L_depth; points outside the image or the cube are excluded."""
    features = model.encode(batch.observation)
    uses_depth = spec.depth_weight > 0 and bool(batch.is_depth_BP.any())
    points = torch.cat([batch.points_BP3, batch.depth_points_BP3], 1) if uses_depth else batch.points_BP3
    predicted = model.query(features, points).float()
    is_inside = model.inside(features.projection, points)
    split = batch.points_BP3.shape[1]
    counts = is_inside[:, :split]
    weights = torch.where(batch.is_invented_BP, spec.invented_weight, 1.0) * counts
    sdf = _huber(predicted[:, :split], batch.sdf_BP, weights, spec.delta_cm)
    depth = torch.zeros_like(sdf)
    if uses_depth:
        depth = _huber(
            predicted[:, split:], batch.depth_sdf_BP, is_inside[:, split:] & batch.is_depth_BP, spec.delta_cm
        )
    error = ((predicted[:, :split].detach() - batch.sdf_BP).abs() * counts).sum() / counts.sum().clamp(min=1)
    return Loss(
        total=sdf + spec.depth_weight * depth, sdf=sdf, depth=depth, error_cm=error, num_excluded=(~counts).sum()
    )


def _huber(predicted: Tensor, label: Tensor, weights: Tensor, delta: float) -> Tensor:
    """Weighted mean Huber loss (torch's ``huber_loss`` is Eq. 4 exactly); weights (bool or 0..1) of each point."""
    loss = F.huber_loss(predicted, label, delta=delta, reduction="none")
    return (loss * weights).sum() / weights.sum().clamp(min=1)
