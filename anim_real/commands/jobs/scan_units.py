"""From a watertighted scan to what a shard stores of it: mesh, evidence and a pool of labelled points."""

from __future__ import annotations

import hashlib

import numpy as np

from anim_real.meshes.sample import sample_pool
from anim_real.meshes.watertight import WatertightResult
from anim_real.shards.write import FrameRow, ScanUnit


def stable_rng(*parts: object) -> np.random.Generator:
    """Generator seeded by names and numbers, the same in every process and version."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest[:16], dtype=np.uint32))


def scan_unit(
    result: WatertightResult,
    *,
    scan_index: int,
    frames: tuple[FrameRow, ...],
    num_points: int,
    rng: np.random.Generator,
) -> ScanUnit:
    """Draw the pool of points and collect what a shard stores of the scan."""
    return ScanUnit(
        scan_index=scan_index,
        mesh=result.mesh,
        invented=result.invented,
        samples=sample_pool(result, num_points=num_points, rng=rng),
        frames=frames,
        cell_m=result.report.cell_m,
        fit_m=result.report.mesh_to_scan.mean_m,
        invented_share=result.report.invented_share,
    )
