"""Voxel-aligned features: the sparse U-Net VFE (ANIM, Table 4) and IF-Net's dense encoder (Table 3).

The grid is a cube of ``extent_cm`` centred on the person. Voxel ``i`` covers
``[i, i + 1) * extent / grid - extent / 2``; its centre is voxel coordinate ``i``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anim_real.model import spconv_backend
from anim_real.model.hourglass import group_norm
from anim_real.model.presets import IFNET_TAPS, VolumeSpec
from anim_real.model.sparse import Sites, SparseConv, lookup, strided_book, submanifold_book

_NORM_EPSILON, _NORM_MOMENTUM = 1e-3, 0.01  # BatchNorm of the sparse-convolution literature (second, Neural Body)
_NORM_GROUPS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """Features on the occupied cells of one scale: cell ``o`` is centred on voxel ``stride * o``."""

    sites: Sites
    features: Tensor
    stride: int


def voxel_coordinates(points_cm: Tensor, grid: int, extent_cm: float) -> Tensor:
    """Model points (..., 3) in cm to voxel coordinates, in which voxel centres are integers."""
    return (points_cm + extent_cm / 2) * (grid / extent_cm) - 0.5


def in_cube(points_cm: Tensor, extent_cm: float) -> Tensor:
    """(...) bool: which model points (..., 3) lie in the cube of the grid."""
    return (points_cm.abs() < extent_cm / 2).all(-1)


def voxelize(points_BN3: Tensor, is_point_BN: Tensor, spec: VolumeSpec) -> tuple[Sites, Tensor]:
    """Occupied voxels of the depth points.

    Returns:
        The sites, and for each of the B*N points the row of its voxel (number of sites = not in the grid).
    """
    batch, count, _ = points_BN3.shape
    grid = spec.grid
    used = is_point_BN & in_cube(points_BN3, spec.extent_cm)
    cells = (voxel_coordinates(points_BN3, grid, spec.extent_cm) + 0.5).floor().long().clamp(0, grid - 1)
    batch_index = torch.arange(batch, device=cells.device)[:, None, None].expand(-1, count, 1)
    shape = (batch, grid, grid, grid)
    keys = Sites(keys=cells.new_zeros(0), shape=shape).key(torch.cat([batch_index, cells], -1))
    unique, inverse = torch.unique(keys[used], return_inverse=True)
    row = torch.full((batch, count), len(unique), dtype=torch.long, device=cells.device)
    row[used] = inverse
    return Sites(keys=unique, shape=shape), row.reshape(-1)


def mean_per_voxel(features: Tensor, row: Tensor, num_sites: int) -> Tensor:
    """(num_sites, C) mean of the points' features (B*N, C) in each voxel."""
    total = features.new_zeros(num_sites + 1, features.shape[1]).index_add(0, row, features)
    count = torch.bincount(row, minlength=num_sites + 1).to(features.dtype)
    return total[:num_sites] / count[:num_sites, None]


class _ConvBlock(nn.Module):
    """Sparse convolution, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.conv = SparseConv(inputs, outputs)
        self.norm: nn.Module = nn.Identity()
        if norm == "batch":
            self.norm = nn.BatchNorm1d(outputs, eps=_NORM_EPSILON, momentum=_NORM_MOMENTUM)
        elif norm == "group":
            self.norm = group_norm(outputs, _NORM_GROUPS)

    def forward(self, features: Tensor, book: object) -> Tensor:
        return F.relu(self.norm(self.conv(features, book)))


def _blocks(*widths: int, norm: str) -> nn.ModuleList:
    return nn.ModuleList(_ConvBlock(before, after, norm) for before, after in itertools.pairwise(widths))


class VolumeFeatureExtractor(nn.Module):
    """VFE: 28 sparse convolutions; rows of Table 4 in order (rows 17-20 give 64 channels, see ANIM.md)."""

    def __init__(self, inputs: int, spec: VolumeSpec) -> None:
        super().__init__()
        a, b, c, d = spec.widths
        norm = spec.norm
        self.down = nn.ModuleList(
            [  # rows 1-3; 4 strided, 5-6; 7 strided, 8-10; 11 strided, 12-15
                _blocks(inputs, a, a, a, norm=norm),
                _blocks(a, b, b, b, norm=norm),
                _blocks(b, c, c, c, c, norm=norm),
                _blocks(c, d, d, d, d, d, norm=norm),
            ]
        )
        self.up = nn.ModuleList(
            _ConvBlock(deep, shallow, norm) for deep, shallow in ((d, c), (c, b), (b, a))
        )  # rows 16, 21, 25
        self.merge = nn.ModuleList(
            [
                _blocks(2 * c, c, c, c, c, norm=norm),  # rows 17-20
                _blocks(2 * b, b, b, b, norm=norm),  # rows 22-24
                _blocks(2 * a, a, a, a, norm=norm),  # rows 26-28
            ]
        )

    def forward(self, sites: Sites, features: Tensor) -> tuple[Level, ...]:
        """(N, inputs) on ``sites`` to the decoder's levels at strides 4, 2 and 1."""
        if len(sites.keys) == 0:
            return ()
        if not spconv_backend.is_usable(features.device):
            return self.forward_twin(sites, features)
        levels = spconv_backend.run_unet(self.down, self.up, self.merge, sites, features)
        return tuple(
            Level(sites=level_sites, features=level_features, stride=2**depth)
            for depth, (level_sites, level_features) in zip((2, 1, 0), levels, strict=True)
        )

    def forward_twin(self, sites: Sites, features: Tensor) -> tuple[Level, ...]:
        """Do the same in plain torch, on any device; at least one site."""
        sites_at, skips, books, strided = [sites], [], [submanifold_book(sites)], []
        for depth, blocks in enumerate(cast(list[nn.ModuleList], list(self.down))):
            if depth:
                coarse, book = strided_book(sites_at[-1])
                features = blocks[0](features, book)
                sites_at.append(coarse)
                strided.append(book)
                books.append(submanifold_book(coarse))
            for block in list(blocks)[bool(depth) :]:
                features = block(features, books[depth])
            skips.append(features)
        levels = []
        for depth, up, merge in zip((2, 1, 0), self.up, self.merge, strict=True):
            features = torch.cat([up(features, strided[depth].reversed()), skips[depth]], 1)
            for block in merge:  # type: ignore[attr-defined]
                features = block(features, books[depth])
            levels.append(Level(sites=sites_at[depth], features=features, stride=2**depth))
        return tuple(levels)

    def sample(self, levels: tuple[Level, ...], points_BP3: Tensor, spec: VolumeSpec) -> Tensor:
        """Multi-scale trilinear features (B, P, 64 + 32 + 16) at model points in cm."""
        voxel = voxel_coordinates(points_BP3, spec.grid, spec.extent_cm)
        if not levels:
            return points_BP3.new_zeros(*points_BP3.shape[:2], spec.num_vfe_features)
        return torch.cat([lookup(level.sites, level.features, voxel / level.stride) for level in levels], -1)


class IfNetEncoder(nn.Module):
    """IF-Net's dense encoder of the occupancy grid and its seven-tap multi-scale look-up (Chibane 2020, Sec. 3)."""

    def __init__(self, spec: VolumeSpec) -> None:
        super().__init__()
        widths = (1, *spec.ifnet_widths)
        self.spec = spec
        self.stages = nn.ModuleList()
        for index, (before, after) in enumerate(itertools.pairwise(widths)):
            convs: list[nn.Module] = [nn.Conv3d(before, after, 3, padding=1), nn.ReLU()]
            if index:
                convs += [nn.Conv3d(after, after, 3, padding=1), nn.ReLU()]
            self.stages.append(nn.Sequential(*convs, nn.BatchNorm3d(after)))

    def forward(self, points_BN3: Tensor, is_point_BN: Tensor) -> tuple[Tensor, ...]:
        """Depth points (cm) to six volumes (B, C, Z, Y, X), finest first."""
        side, extent = self.spec.ifnet_grid, self.spec.extent_cm
        batch, count, _ = points_BN3.shape
        used = is_point_BN & in_cube(points_BN3, extent)
        cells = (voxel_coordinates(points_BN3, side, extent) + 0.5).floor().long().clamp(0, side - 1)
        batch_index = torch.arange(batch, device=cells.device)[:, None].expand(-1, count)
        volume = points_BN3.new_zeros(batch, 1, side, side, side)
        volume[batch_index[used], 0, cells[..., 2][used], cells[..., 1][used], cells[..., 0][used]] = 1.0
        volumes = [volume]
        for index, stage in enumerate(self.stages):
            volume = stage(F.max_pool3d(volume, 2) if index > 1 else volume)
            volumes.append(volume)
        return tuple(volumes)

    def sample(self, volumes: tuple[Tensor, ...], points_BP3: Tensor) -> Tensor:
        """(B, P, 7 * channels) features at the points and six neighbours along the axes."""
        step = self.spec.ifnet_step
        taps = points_BP3.new_zeros(IFNET_TAPS, 3)
        for axis in range(3):
            taps[1 + 2 * axis, axis], taps[2 + 2 * axis, axis] = -step, step
        position = points_BP3 / (self.spec.extent_cm / 2)
        queries = (position[:, :, None] + taps)[:, :, :, None]
        sampled = [
            F.grid_sample(v, queries, mode="bilinear", padding_mode="border", align_corners=False) for v in volumes
        ]
        features = torch.cat(sampled, 1)[..., 0]  # (B, C, P, 7)
        return features.permute(0, 2, 1, 3).flatten(2)
