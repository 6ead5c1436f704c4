"""The solid of a target as STL, for printing or milling: millimetres, target frame turned so that z is up."""

from __future__ import annotations

import numpy as np

from anim_real.calibrate.boards.target import Target
from anim_real.calibrate.boards.targets import target_mesh

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_COARSE_M = 0.5  # grid step of flat sides: they need no more triangles


def target_stl(target: Target) -> bytes:
    """Binary STL of body, posts and spheres, each a closed part; x right, y back, z up, as slicers expect."""
    mesh = target_mesh(target, 256, edge_m=_COARSE_M)
    turned = mesh.vertices @ np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]).T
    triangles = turned[mesh.faces] * 1e3
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(triangles), _RECORD)
    records["normal"] = normals / np.maximum(lengths, 1e-30)
    records["corners"] = triangles
    header = f"anim-real target {target.name}, millimetres".encode("ascii").ljust(80)
    return header + np.uint32(len(records)).astype("<u4").tobytes() + records.tobytes()
