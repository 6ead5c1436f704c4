"""Sparse convolution in plain torch: sites, rulebooks, gather-matmul-scatter; and sparse trilinear lookup.

Weights have spconv 2's layout (outputs, 3, 3, 3, inputs), so they are interchangeable with it (``spconv_backend``).
Kernels are 3x3x3, padding 1. A strided site ``o`` is centred on the finer site ``2 o``; therefore at
stride ``s`` the site ``o`` has its centre at voxel coordinate ``s * o`` (voxel centres are integers).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TABLE_CELLS = 1 << 22  # up to this many cells a dense index table (int32) answers look-ups, beyond it a binary search
_FEW_SITES = 2048  # up to here one product over gathered neighbours wins (benchmarks/sparse_convolution.py)
KERNEL = tuple(product((-1, 0, 1), repeat=3))


@dataclass(frozen=True, kw_only=True, eq=False)
class Sites:
    """Occupied cells of a batch of grids.

    Attributes:
        keys: (N,) int64, ascending: ``((b * X + x) * Y + y) * Z + z``.
        shape: batch size and grid X, Y, Z.
    """

    keys: Tensor
    shape: tuple[int, int, int, int]

    @property
    def coordinates(self) -> Tensor:
        """(N, 4) int64 batch index and cell."""
        _, x, y, z = self.shape
        keys = self.keys
        return torch.stack([keys // (x * y * z), keys // (y * z) % x, keys // z % y, keys % z], -1)

    def key(self, coordinates: Tensor) -> Tensor:
        """Key of cells (..., 4) that lie in the grid."""
        _, x, y, z = self.shape
        return ((coordinates[..., 0] * x + coordinates[..., 1]) * y + coordinates[..., 2]) * z + coordinates[..., 3]

    def find(self, coordinates: Tensor) -> Tensor:
        """(...) position of cells (..., 4) in ``keys``; N where the cell is empty or outside the grid."""
        upper = coordinates.new_tensor(self.shape)
        is_inside = ((coordinates >= 0) & (coordinates < upper)).all(-1)
        keys = torch.where(is_inside, self.key(coordinates), -1)
        count = len(self.keys)
        if self._table is not None:
            return torch.where(is_inside, self._table[keys.clamp(min=0)].long(), count)
        found = torch.searchsorted(self.keys, keys).clamp(max=count - 1)
        return torch.where(is_inside & (self.keys[found] == keys), found, count)

    @cached_property
    def _table(self) -> Tensor | None:
        batch, x, y, z = self.shape
        if batch * x * y * z > _TABLE_CELLS:
            return None
        table = torch.full((batch * x * y * z,), len(self.keys), dtype=torch.int32, device=self.keys.device)
        table[self.keys] = torch.arange(len(self.keys), dtype=torch.int32, device=self.keys.device)
        return table


@dataclass(frozen=True, kw_only=True, eq=False)
class Rulebook:
    """For each of the 27 kernel cells, which input row goes to which output row.

    Attributes:
        sources, targets: 27 int64 tensors each.
        num_sources, num_targets: rows of input and output.
    """

    @cached_property
    def gathered(self) -> Tensor:
        """(num_targets, 27) input row that each kernel cell of each output row reads; num_sources = none."""
        device = self.sources[0].device
        rows = torch.full((self.num_targets, len(KERNEL)), self.num_sources, dtype=torch.long, device=device)
        for cell, (source, target) in enumerate(zip(self.sources, self.targets, strict=True)):
            rows[target, cell] = source
        return rows

    sources: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    num_sources: int
    num_targets: int

    def reversed(self) -> Rulebook:
        """Return the book of the inverse convolution, which shares its partner's indices."""
        return Rulebook(
            sources=self.targets, targets=self.sources, num_sources=self.num_targets, num_targets=self.num_sources
        )


def submanifold_book(sites: Sites) -> Rulebook:
    """Book of a stride-1 convolution whose output sites are its input sites."""
    return _book(sites, sites, stride=1)


def strided_book(sites: Sites) -> tuple[Sites, Rulebook]:
    """Sites and book of a stride-2 convolution: every coarse cell whose kernel touches an occupied one."""
    batch, *shape = sites.shape
    coarse_shape = (batch, *((side + 1) // 2 for side in shape))
    coordinates = sites.coordinates
    offsets = coordinates.new_tensor([(0, *offset) for offset in KERNEL])
    touched = (coordinates[:, None] - offsets).reshape(-1, 4)  # input = 2 * output + offset
    touched = touched[(touched[:, 1:] % 2 == 0).all(-1)]
    touched = touched // touched.new_tensor((1, 2, 2, 2))
    is_inside = ((touched >= 0) & (touched < touched.new_tensor(coarse_shape))).all(-1)
    empty = Sites(keys=sites.keys[:0], shape=coarse_shape)  # type: ignore[arg-type]
    coarse = Sites(keys=torch.unique(empty.key(touched[is_inside])), shape=coarse_shape)  # type: ignore[arg-type]
    return coarse, _book(sites, coarse, stride=2)


def _book(inputs: Sites, outputs: Sites, stride: int) -> Rulebook:
    coordinates = outputs.coordinates * outputs.keys.new_tensor((1, stride, stride, stride))
    offsets = coordinates.new_tensor([(0, *offset) for offset in KERNEL])
    found = inputs.find(coordinates[None] + offsets[:, None])
    count = len(inputs.keys)
    targets = [torch.nonzero(row < count).squeeze(-1) for row in found]
    sources = [row[target] for row, target in zip(found, targets, strict=True)]
    return Rulebook(sources=tuple(sources), targets=tuple(targets), num_sources=count, num_targets=len(outputs.keys))


def _as_one_product(features: Tensor, weight: Tensor, book: Rulebook) -> Tensor:
    """Gather all 27 neighbours side by side and multiply once: the quicker way for few sites."""
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    columns = padded.index_select(0, book.gathered.reshape(-1)).view(book.num_targets, -1)
    return columns @ weight.reshape(-1, weight.shape[2])


class _GatherMatmulScatter(torch.autograd.Function):
    """``out[target] += features[source] @ weight[k]`` over the kernel cells, with its exact gradient."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, features: Tensor, weight: Tensor, book: Rulebook) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(features, weight)
        ctx.book = book  # type: ignore[attr-defined]
        output = features.new_zeros(book.num_targets, weight.shape[2])
        for cell, (source, target) in enumerate(zip(book.sources, book.targets, strict=True)):
            if len(source):
                output.index_add_(0, target, features.index_select(0, source) @ weight[cell])
        return output

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        features, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        book: Rulebook = ctx.book  # type: ignore[attr-defined]
        gradient = gradient.contiguous()
        to_features, to_weight = torch.zeros_like(features), torch.zeros_like(weight)
        for cell, (source, target) in enumerate(zip(book.sources, book.targets, strict=True)):
            if len(source):
                rows = gradient.index_select(0, target)
                to_features.index_add_(0, source, rows @ weight[cell].T)
                to_weight[cell] = features.index_select(0, source).T @ rows
        return to_features, to_weight, None


class SparseConv(nn.Module):
    """A 3x3x3 sparse convolution without bias; which kind it is depends on the book it is given."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, 3, 3, 3, inputs))
        bound = (6.0 / (27 * inputs)) ** 0.5  # He (2015), uniform, for the ReLU that follows
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, features: Tensor, book: Rulebook) -> Tensor:
        """(num_sources, inputs) to (num_targets, outputs)."""
        outputs, inputs = self.weight.shape[0], self.weight.shape[-1]
        weight = self.weight.permute(1, 2, 3, 4, 0).reshape(27, inputs, outputs)
        weight = weight.to(features.dtype)
        if book.num_targets <= _FEW_SITES:
            return _as_one_product(features, weight, book)
        return _GatherMatmulScatter.apply(features, weight, book)  # type: ignore[no-any-return]


def lookup(sites: Sites, features: Tensor, points_BP3: Tensor) -> Tensor:
    """Trilinear look-up at points given in units of this level's cells (cell centres are integers).

    Empty neighbours count as zero, as in the dense zero-filled volume that is never built.

    Args:
        sites: N occupied cells.
        features: (N, C).
        points_BP3: float cell coordinates.

    Returns:
        (B, P, C).
    """
    batch, count, _ = points_BP3.shape
    base = points_BP3.floor()
    fraction = points_BP3 - base
    corners = base.new_tensor(list(product((0, 1), repeat=3)))
    weights = torch.where(corners > 0, fraction[:, :, None], 1.0 - fraction[:, :, None]).prod(-1)
    cells = (base[:, :, None] + corners).long()
    batch_index = torch.arange(batch, device=cells.device)[:, None, None, None].expand(-1, count, 8, 1)
    rows = sites.find(torch.cat([batch_index, cells], -1))
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    found = F.embedding_bag(
        rows.reshape(-1, 8), padded, per_sample_weights=weights.reshape(-1, 8).to(features.dtype), mode="sum"
    )
    return found.view(batch, count, -1)
