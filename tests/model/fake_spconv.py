"""What ``spconv_backend`` uses of spconv 2's interface, on dense volumes of torch, with coarse cells in no order.

Written from spconv's documentation: weights (outputs, 3, 3, 3, inputs), indices (N, 4) int32 = batch, x, y, z; layers
that share an ``indice_key`` share indices; an inverse convolution goes back to the cells of the strided one of its key.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class SparseConvTensor:
    features: Tensor
    indices: Tensor
    spatial_shape: list[int]
    batch_size: int
    before_stride: dict[str, tuple[Tensor, list[int]]] = field(default_factory=dict)

    def replace_feature(self, features: Tensor) -> SparseConvTensor:
        assert len(features) == len(self.indices)
        return replace(self, features=features)

    def dense(self, values: Tensor) -> Tensor:
        volume = values.new_zeros(self.batch_size, *self.spatial_shape, values.shape[1])
        return volume.index_put(tuple(self.indices.long().T), values).permute(0, 4, 1, 2, 3)

    def on(self, volume: Tensor, indices: Tensor) -> SparseConvTensor:
        features = volume.permute(0, 2, 3, 4, 1)[tuple(indices.long().T)]
        return replace(self, features=features, indices=indices, spatial_shape=list(volume.shape[2:]))


class _Layer(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, size: int, *, stride: int = 1, padding: int = 0, bias: bool, indice_key: str
    ) -> None:
        super().__init__()
        assert size == 3
        assert not bias
        self.weight = nn.Parameter(torch.randn(outputs, 3, 3, 3, inputs))
        self.stride, self.padding, self.key = stride, padding, indice_key

    def forward(self, tensor: SparseConvTensor) -> SparseConvTensor:
        assert tensor.indices.dtype == torch.int32
        assert self.training == torch.is_grad_enabled(), "spconv's evaluation mode knows no gradients"
        return self.convolved(tensor)

    def convolved(self, tensor: SparseConvTensor) -> SparseConvTensor:
        raise AssertionError("one of the three layers")


class SubMConv3d(_Layer):
    def convolved(self, tensor: SparseConvTensor) -> SparseConvTensor:
        weight = self.weight.permute(0, 4, 1, 2, 3)
        return tensor.on(F.conv3d(tensor.dense(tensor.features), weight, padding=self.padding), tensor.indices)


class SparseConv3d(_Layer):
    def convolved(self, tensor: SparseConvTensor) -> SparseConvTensor:
        weight = self.weight.permute(0, 4, 1, 2, 3)
        volume = F.conv3d(tensor.dense(tensor.features), weight, stride=self.stride, padding=self.padding)
        occupied = tensor.dense(tensor.features.new_ones(len(tensor.features), 1))
        cells = (F.max_pool3d(occupied, 3, stride=self.stride, padding=self.padding)[:, 0] > 0).nonzero().int()
        shuffled = cells[torch.randperm(len(cells), generator=torch.Generator().manual_seed(len(cells)))]
        known = {**tensor.before_stride, self.key: (tensor.indices, tensor.spatial_shape)}
        return replace(tensor.on(volume, shuffled), before_stride=known)


class SparseInverseConv3d(_Layer):
    def convolved(self, tensor: SparseConvTensor) -> SparseConvTensor:
        indices, sides = tensor.before_stride[self.key]
        rest = [side - (2 * coarse - 1) for side, coarse in zip(sides, tensor.spatial_shape, strict=True)]
        weight = self.weight.permute(4, 0, 1, 2, 3)
        volume = F.conv_transpose3d(tensor.dense(tensor.features), weight, stride=2, padding=1, output_padding=rest)
        return tensor.on(volume, indices)
