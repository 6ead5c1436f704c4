"""The image encoders: stacked hourglasses in PIFu's form (ANIM, Sec. 3.1: LR-FE and HR-FE).

LR-FE halves the image twice (stem, 2x2 average pooling), HR-FE once ("no_down"). Only the last
stack's output is used.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn

from anim_real.model.presets import EncoderSpec


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """GroupNorm with at most ``groups`` groups that divide ``channels``."""
    return nn.GroupNorm(math.gcd(channels, groups), channels)


class ResidualBlock(nn.Module):
    """Pre-activation block: three 3x3 convolutions (out/2, out/4, out/4) concatenated, plus the input."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        widths = (inputs, outputs // 2, outputs // 4, outputs // 4)
        self.norms = nn.ModuleList(group_norm(width, groups) for width in widths[:3])
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, bias=False) for before, after in itertools.pairwise(widths)
        )
        self.skip: nn.Module = nn.Identity()
        if inputs != outputs:
            self.skip = nn.Sequential(
                group_norm(inputs, groups), nn.ReLU(inplace=True), nn.Conv2d(inputs, outputs, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        parts, part = [], x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            part = conv(F.relu(norm(part), inplace=True))
            parts.append(part)
        return torch.cat(parts, 1) + self.skip(x)


class Hourglass(nn.Module):
    """One hourglass of ``depth`` levels: down, (deeper), up, added to the side branch."""

    def __init__(self, channels: int, depth: int, groups: int) -> None:
        super().__init__()
        self.side = ResidualBlock(channels, channels, groups)
        self.down = ResidualBlock(channels, channels, groups)
        self.inner = Hourglass(channels, depth - 1, groups) if depth > 1 else ResidualBlock(channels, channels, groups)
        self.up = ResidualBlock(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        low = self.up(self.inner(self.down(F.avg_pool2d(x, 2, ceil_mode=True))))
        return self.side(x) + F.interpolate(low, size=x.shape[-2:], mode="bilinear", align_corners=False)


class _Stack(nn.Module):
    """An hourglass with its head; all but the last stack feed their output back into the trunk."""

    def __init__(self, spec: EncoderSpec, *, is_last: bool) -> None:
        super().__init__()
        channels = spec.channels
        self.hourglass = Hourglass(channels, spec.depth, spec.groups)
        self.block = ResidualBlock(channels, channels, spec.groups)
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels, 1), group_norm(channels, spec.groups), nn.ReLU(inplace=True)
        )
        self.output = nn.Conv2d(channels, channels, 1)
        self.feed_head = None if is_last else nn.Conv2d(channels, channels, 1)
        self.feed_output = None if is_last else nn.Conv2d(channels, channels, 1)

    def forward(self, trunk: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next trunk and this stack's output, both (B, C, H, W)."""
        head = self.head(self.block(self.hourglass(trunk)))
        output = self.output(head)
        if self.feed_head is None or self.feed_output is None:
            return trunk, output
        return trunk + self.feed_head(head) + self.feed_output(output), output


class StackedHourglass(nn.Module):
    """Image (B, num_channels, S, S) to features (B, channels, S/2, S/2), or S/4 with ``halve_twice``."""

    def __init__(self, num_channels: int, spec: EncoderSpec, *, halve_twice: bool) -> None:
        super().__init__()
        stem, middle = spec.stem, max(spec.stem, spec.channels // 2)
        self.stem = nn.Sequential(
            nn.Conv2d(num_channels, stem, 7, stride=2, padding=3), group_norm(stem, spec.groups), nn.ReLU(inplace=True)
        )
        self.widen = ResidualBlock(stem, middle, spec.groups)
        self.pool = nn.AvgPool2d(2) if halve_twice else nn.Identity()
        self.trunk = nn.Sequential(
            ResidualBlock(middle, middle, spec.groups), ResidualBlock(middle, spec.channels, spec.groups)
        )
        self.stacks = nn.ModuleList(_Stack(spec, is_last=index == spec.stacks - 1) for index in range(spec.stacks))
        self.is_checkpointed = False

    def forward(self, image: Tensor) -> Tensor:
        """Return the last stack's output; with ``is_checkpointed`` activations are recomputed in backward."""
        trunk = self.trunk(self.pool(self.widen(self.stem(image))))
        output = trunk
        for stack in self.stacks:
            if self.is_checkpointed and self.training:
                trunk, output = torch.utils.checkpoint.checkpoint(stack, trunk, use_reentrant=False)
            else:
                trunk, output = stack(trunk)
        return output
