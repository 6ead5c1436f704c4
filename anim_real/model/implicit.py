"""From features to signed distance: pixel-aligned sampling and the MLP (ANIM, Sec. 3.1)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.01
_REJOINED = (1, 2)  # layers that see the input again


def sample_pixels(features_BCHW: Tensor, pixels_BP2: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Bilinear features at image pixels, clamped at the border.

    Equal to ``grid_sample(align_corners=False, padding_mode="border")``; as four weighted rows per
    point it is several times faster on CPUs, forward and backward.

    Args:
        features_BCHW: a feature map that covers the whole image.
        pixels_BP2: pixel coordinates (integer pixel centres) in an image of ``image_size``.
        image_size: height and width in pixels.

    Returns:
        (B, P, C).
    """
    batch, channels, height, width = features_BCHW.shape
    count = pixels_BP2.shape[1]
    ratio = pixels_BP2.new_tensor((width / image_size[1], height / image_size[0]))
    limit = pixels_BP2.new_tensor((width - 1, height - 1))
    position = torch.minimum(((pixels_BP2 + 0.5) * ratio - 0.5).clamp(min=0.0), limit)
    corner = torch.minimum(position.floor(), (limit - 1).clamp(min=0.0))
    right, down = (position - corner).unbind(-1)
    column, row = corner.long().unbind(-1)
    first = (torch.arange(batch, device=column.device)[:, None] * height + row) * width + column
    step_x, step_y = int(width > 1), width * int(height > 1)
    rows = torch.stack([first, first + step_x, first + step_y, first + step_x + step_y], -1)
    weights = torch.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], -1)
    table = features_BCHW.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    found = F.embedding_bag(
        rows.reshape(-1, 4), table, per_sample_weights=weights.reshape(-1, 4).to(table.dtype), mode="sum"
    )
    return found.view(batch, count, channels)


class ImplicitMlp(nn.Module):
    """(inputs, hidden…, 1) with the input joined again at layers 2 and 3; LeakyReLU between, none at the end."""

    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [inputs, *hidden, 1]
        self.layers = nn.ModuleList(
            nn.Linear(before + (inputs if index in _REJOINED else 0), after)
            for index, (before, after) in enumerate(itertools.pairwise(widths))
        )

    def forward(self, features: Tensor) -> Tensor:
        """(..., inputs) to (...)."""
        x = features
        for index, layer in enumerate(self.layers):
            if index:
                x = F.leaky_relu(x, LEAK)
            if index in _REJOINED:
                x = torch.cat([x, features], -1)
            x = layer(x)
        return x.squeeze(-1)
