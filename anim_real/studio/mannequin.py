"""A person-sized mannequin of capsules: something to look at where no body model is installed.

Metres, y up, standing on y = 0, facing +z. Its parts overlap: good for looking at, not for scanning.
"""

from __future__ import annotations

import numpy as np
import trimesh

from anim_real.mesh import Mesh
from anim_real.studio.tracing import Surface

# from, to, radius (metres), colour (RGB), infrared albedo
_PARTS = (
    ((0.0, 1.60, 0.02), (0.0, 1.68, 0.0), 0.105, (196, 150, 122), 0.55),  # head
    ((0.0, 1.40, 0.0), (0.0, 1.55, 0.0), 0.058, (190, 144, 116), 0.55),  # neck
    ((0.0, 1.22, 0.0), (0.0, 1.30, 0.0), 0.165, (52, 96, 150), 0.50),  # chest
    ((0.0, 0.98, 0.0), (0.0, 1.20, 0.0), 0.145, (52, 96, 150), 0.50),  # belly
    ((-0.17, 1.37, 0.0), (0.17, 1.37, 0.0), 0.065, (52, 96, 150), 0.50),  # shoulders
    ((-0.21, 1.36, 0.0), (-0.42, 1.02, 0.05), 0.048, (52, 96, 150), 0.50),
    ((0.21, 1.36, 0.0), (0.42, 1.02, 0.05), 0.048, (52, 96, 150), 0.50),
    ((-0.42, 1.02, 0.05), (-0.50, 0.78, 0.16), 0.040, (196, 150, 122), 0.55),
    ((0.42, 1.02, 0.05), (0.50, 0.78, 0.16), 0.040, (196, 150, 122), 0.55),
    ((-0.09, 0.92, 0.0), (-0.13, 0.50, 0.02), 0.085, (70, 72, 80), 0.40),
    ((0.09, 0.92, 0.0), (0.13, 0.50, 0.02), 0.085, (70, 72, 80), 0.40),
    ((-0.13, 0.50, 0.02), (-0.15, 0.10, -0.01), 0.058, (70, 72, 80), 0.40),
    ((0.13, 0.50, 0.02), (0.15, 0.10, -0.01), 0.058, (70, 72, 80), 0.40),
    ((-0.15, 0.055, -0.03), (-0.17, 0.05, 0.15), 0.05, (40, 36, 34), 0.30),  # feet
    ((0.15, 0.055, -0.03), (0.17, 0.05, 0.15), 0.05, (40, 36, 34), 0.30),
)


def mannequin() -> Surface:
    """Return the mannequin in its own frame ``body``."""
    vertices, faces, colors, albedo = [], [], [], []
    start = 0
    for low, high, radius, color, reflected in _PARTS:
        part = trimesh.creation.capsule(
            height=float(np.linalg.norm(np.subtract(high, low))), radius=radius, count=(24, 24)
        )
        part.apply_translation(-part.bounds.mean(0))
        part.apply_transform(trimesh.geometry.align_vectors([0.0, 0.0, 1.0], np.subtract(high, low)))
        part.apply_translation(np.add(low, high) / 2)
        vertices.append(np.asarray(part.vertices))
        faces.append(np.asarray(part.faces) + start)
        colors.append(np.full((len(part.vertices), 3), color, np.uint8))
        albedo.append(np.full(len(part.vertices), reflected))
        start += len(part.vertices)
    mesh = Mesh(vertices=np.concatenate(vertices), faces=np.concatenate(faces), colors=np.concatenate(colors))
    return Surface(mesh=mesh, ir_albedo=np.concatenate(albedo))
