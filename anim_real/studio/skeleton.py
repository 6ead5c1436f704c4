"""The skeleton of one performer: joints at rest, forward kinematics, linear blend skinning.

A pose gives every bone a rotation about its own joint, expressed in the axes of the body at rest
(y up, facing +z): the same convention for every bone, without bone frames or rolls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Skeleton:
    """Joints of one body at rest.

    Attributes:
        bones: names, parents before children.
        parents: (B,) parent index, -1 for the root.
        joints: (B, 3) joint positions at rest, metres.
    """

    bones: tuple[str, ...]
    parents: NDArray[np.int64]
    joints: Array

    def joint(self, bone: str) -> Array:
        """(3,) rest position of a bone's joint."""
        return self.joints[self.bones.index(bone)]

    def transforms(self, rotations: dict[str, Array]) -> Array:
        """(B, 3, 4) rigid maps rest → posed (root at rest position) for rotations (3, 3) by bone name."""
        world = np.zeros((len(self.bones), 3, 4))
        for index, (bone, parent) in enumerate(zip(self.bones, self.parents, strict=True)):
            rotation = rotations.get(bone)
            local = np.eye(3, 4)
            if rotation is not None:
                local[:, :3] = rotation
                local[:, 3] = self.joints[index] - rotation @ self.joints[index]
            if parent < 0:
                world[index] = local
            else:
                world[index, :, :3] = world[parent, :, :3] @ local[:, :3]
                world[index, :, 3] = world[parent, :, :3] @ local[:, 3] + world[parent, :, 3]
        return world


def skin(points_V3: Array, weights_VB: NDArray[np.floating], transforms_B34: Array) -> Array:
    """Linear blend skinning: (V, 3) posed points."""
    blended = (weights_VB @ transforms_B34.reshape(len(transforms_B34), 12).astype(weights_VB.dtype)).reshape(-1, 3, 4)
    return np.einsum("vij,vj->vi", blended[:, :, :3], points_V3) + blended[:, :, 3]


def axis_rotation(axis: Array, angle_rad: float) -> Array:
    """(3, 3) rotation about an axis (any length) by the right-hand rule (Rodrigues)."""
    x, y, z = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross


def rotation_between(source: Array, target: Array) -> Array:
    """(3, 3) smallest rotation that takes the direction ``source`` to ``target`` (not for opposite directions)."""
    a, b = source / np.linalg.norm(source), target / np.linalg.norm(target)
    cross = np.cross(a, b)
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + a @ b)
