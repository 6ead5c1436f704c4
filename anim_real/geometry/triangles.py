"""Triangles by themselves, without a mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cut_fine(triangles: Array, longest: float) -> Array:
    """Halve triangles (T, 3, 3) at their longest edge until no edge is longer than ``longest``."""
    pending, done = triangles, []
    while len(pending):
        sides = pending[:, (1, 2, 0)] - pending
        edges = np.einsum("fkd,fkd->fk", sides, sides)  # squared lengths
        long = np.maximum(np.maximum(edges[:, 0], edges[:, 1]), edges[:, 2]) > longest**2
        done.append(pending[~long])
        pending, edges = pending[long], edges[long]
        if len(pending):
            turn = (edges.argmax(1)[:, None] + np.arange(3)) % 3
            a, b, c = np.moveaxis(np.take_along_axis(pending, turn[..., None], 1), 1, 0)
            middle = (a + b) / 2
            pending = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
    return np.concatenate(done)
