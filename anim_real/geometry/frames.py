"""Rigid transforms that know their frames.

``T_dst_src`` maps points of frame ``src`` to frame ``dst``: ``p_dst = T_dst_src @ p_src`` (column
vectors, metres). Products chain so that the inner names touch: ``T_a_b @ T_b_c = T_a_c``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anim_real.errors import DataError

Array = NDArray[np.float64]
_ORTHONORMAL_TOLERANCE = 1e-6  # entries of R'R - I; float32 JSON calibrations are within 1e-7


@dataclass(frozen=True, kw_only=True, eq=False)
class Rigid:
    """A rotation and translation from frame ``src`` to frame ``dst``.

    Attributes:
        dst: name of the frame points arrive in.
        src: name of the frame points come from.
        matrix: (4, 4) homogeneous matrix, translation in metres.
    """

    dst: str
    src: str
    matrix: Array

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        name = f"T_{self.dst}_{self.src}"
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise DataError(f"needs a finite 4x4 matrix, got shape {matrix.shape}", where=name)
        rotation = matrix[:3, :3]
        error = np.abs(rotation.T @ rotation - np.eye(3)).max()
        if error > _ORTHONORMAL_TOLERANCE or np.linalg.det(rotation) < 0:
            raise DataError(
                f"is not a rotation (error {error:.2g}, determinant {np.linalg.det(rotation):.3f})",
                where=name,
                fix="Remove scale or mirroring; a scale of 1000 is a mm/m mix-up",
            )
        if not np.allclose(matrix[3], (0.0, 0.0, 0.0, 1.0)):
            raise DataError("last row must be 0 0 0 1", where=name)
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def from_parts(cls, dst: str, src: str, rotation: ArrayLike, translation: ArrayLike) -> Rigid:
        """Build from a (3, 3) rotation and a (3,) translation in metres."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(rotation)
        matrix[:3, 3] = np.asarray(translation)
        return cls(dst=dst, src=src, matrix=matrix)

    @classmethod
    def from_rotvec(cls, dst: str, src: str, rotvec: ArrayLike, translation: ArrayLike) -> Rigid:
        """Build from a (3,) rotation vector in radians and a (3,) translation in metres."""
        from scipy.spatial.transform import Rotation

        return cls.from_parts(dst, src, Rotation.from_rotvec(np.asarray(rotvec)).as_matrix(), translation)

    @classmethod
    def identity(cls, dst: str, src: str) -> Rigid:
        """Return the transform of two frames that coincide."""
        return cls(dst=dst, src=src, matrix=np.eye(4))

    @property
    def rotation(self) -> Array:
        """(3, 3) rotation matrix."""
        return self.matrix[:3, :3]

    @property
    def translation(self) -> Array:
        """(3,) translation in metres."""
        return self.matrix[:3, 3]

    @property
    def rotvec(self) -> Array:
        """(3,) rotation vector in radians."""
        from scipy.spatial.transform import Rotation

        return Rotation.from_matrix(self.rotation).as_rotvec()

    def __matmul__(self, other: Rigid) -> Rigid:
        if self.src != other.dst:
            raise DataError(f"frames do not touch: T_{self.dst}_{self.src} @ T_{other.dst}_{other.src}")
        return Rigid(dst=self.dst, src=other.src, matrix=self.matrix @ other.matrix)

    def inverse(self) -> Rigid:
        """Return ``T_src_dst``."""
        rotation = self.rotation.T
        return Rigid.from_parts(self.src, self.dst, rotation, -rotation @ self.translation)

    def apply(self, points: ArrayLike) -> Array:
        """Map points of shape (..., 3) in metres from ``src`` to ``dst``."""
        return np.asarray(points, dtype=np.float64) @ self.rotation.T + self.translation

    def rotate(self, vectors: ArrayLike) -> Array:
        """Rotate directions of shape (..., 3), such as normals."""
        return np.asarray(vectors, dtype=np.float64) @ self.rotation.T
