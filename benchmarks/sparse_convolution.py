"""Gather-matmul-scatter against one product over gathered neighbours: a VFE layer at growing numbers of voxels.

Run: python benchmarks/sparse_convolution.py
"""

from __future__ import annotations

import time

import torch

from anim_real.model import sparse
from anim_real.model.sparse import Sites, SparseConv, submanifold_book

_REPEATS = 5
_CHANNELS = 32


def seconds(sites: Sites, few_sites: int) -> float:
    """Median time of one layer forward and backward with the switch-over at ``few_sites``."""
    sparse._FEW_SITES = few_sites
    torch.manual_seed(0)
    layer, features = SparseConv(_CHANNELS, _CHANNELS), torch.randn(len(sites.keys), _CHANNELS, requires_grad=True)
    book = submanifold_book(sites)
    times = []
    for _ in range(_REPEATS + 1):
        started = time.perf_counter()
        layer(features, book).sum().backward()
        times.append(time.perf_counter() - started)
    return sorted(times[1:])[_REPEATS // 2]


def main() -> None:
    """Print one line per size: both times and their ratio, measured side by side."""
    for side in (16, 32, 64, 128):
        shell = torch.zeros(side, side, side, dtype=torch.bool)
        axis = torch.linspace(-1, 1, side)
        radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
        shell[(radius - 0.8).abs() < 1.0 / side] = True
        sites = Sites(keys=shell.flatten().nonzero().squeeze(1), shape=(1, side, side, side))
        scatter, product = seconds(sites, 0), seconds(sites, 10**9)
        times = f"scatter {1e3 * scatter:7.1f} ms, one product {1e3 * product:7.1f} ms"
        print(f"{len(sites.keys):7d} voxels: {times}, ratio {scatter / product:.2f}")


if __name__ == "__main__":
    main()
