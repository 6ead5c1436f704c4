"""From one RGB-D frame to a mesh: encode, evaluate the field coarse to fine, march, carry back to metres.

The lattice follows the box of the depth points (ANIM, Sec. 3.2, Inference): its cell is such that
``resolution`` cubed cells fill the box. Evaluation starts in that box and leaves it wherever the
surface does (a front view does not show the back), up to ``max_growth_cm`` and the network's cube. The
mesh equals that of evaluating every lattice point.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from anim_real.data.batches import observe
from anim_real.data.examples import PreparedFrame, from_model
from anim_real.errors import DataError
from anim_real.geometry.grids import Lattice
from anim_real.mesh import Mesh
from anim_real.meshes.marching import march
from anim_real.model.anim import ANIM
from anim_real.model.isosurface import surface_cells
from anim_real.specs import Spec

Array = NDArray[np.float64]
_BOX_MARGIN_CM = 15.0  # three sigma_LR of 5 cm
_BOX_QUANTILE = 0.002  # flying pixels do not widen the box
_OUTSIDE_CM = 0.5  # the field outside image or cube: this plus how far outside
_PADDING_CELLS = 2


class ReconstructSpec(Spec):
    """How finely, and how cautiously, the field is evaluated."""

    resolution: int = Field(
        default=256, ge=16, le=1024, description="cube root of the number of cells in the depth points' box"
    )
    coarsest: Literal[1, 2, 4, 8, 16, 32] = Field(
        default=16, description="first blocks are so many cells wide; 1 = dense"
    )
    lipschitz: float = Field(
        default=1.0, gt=0, description="a block is skipped when |f| exceeds this times its half diagonal"
    )
    chunk: int = Field(default=65_536, gt=0, description="points per evaluation of the network")
    max_growth_cm: float = Field(
        default=40.0,
        ge=0,
        description="how far the surface is followed beyond the start box",
    )
    keep: Literal["largest", "all"] = Field(
        default="largest", description="which connected parts of the surface are kept"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """A mesh and how it came about.

    Attributes:
        mesh: in the camera frame of the crop, metres.
        cell_cm: side of a lattice cell.
        num_evaluations: field values that were computed.
        num_dense: field values that the whole box would have needed.
        num_parts: connected parts of the surface before any was dropped.
        seconds: encoding, field and marching.
    """

    mesh: Mesh
    cell_cm: float
    num_evaluations: int
    num_dense: int
    num_parts: int
    seconds: float


class NetworkField:
    """The signed distance field of one frame: model points (P, 3) in cm to values (P,) in cm."""

    def __init__(self, model: ANIM, frame: PreparedFrame, *, low: Array, high: Array, chunk: int) -> None:
        self._model, self._chunk = model.eval(), chunk
        self._device = next(model.parameters()).device
        self._low, self._high = low, high
        with torch.inference_mode():
            self._features = model.encode(observe([frame]).to(self._device))

    def __call__(self, points: Array) -> Array:
        """Evaluate; outside image, cube or box the field is positive and grows with the distance to them."""
        values = np.empty(len(points))
        with torch.inference_mode():
            for start in range(0, len(points), self._chunk):
                part = torch.from_numpy(points[None, start : start + self._chunk].astype(np.float32)).to(self._device)
                outside = self._model.outside_cm(self._features.projection, part)
                value = torch.where(outside > 0, outside + _OUTSIDE_CM, self._model.query(self._features, part).float())
                values[start : start + self._chunk] = value[0].cpu().numpy()
        beyond = np.maximum(self._low - points, points - self._high).max(-1)
        return np.where(beyond > 0, beyond + _OUTSIDE_CM, values)


def reconstruct(model: ANIM, frame: PreparedFrame, spec: ReconstructSpec) -> Reconstruction:
    """Reconstruct the person in a frame.

    Raises:
        DataError: the field is nowhere negative near the person, so there is no surface.
    """
    started = time.monotonic()
    reach = model.spec.grid.extent_cm / 2
    low, high = np.quantile(frame.points_model().astype(np.float64), [_BOX_QUANTILE, 1.0 - _BOX_QUANTILE], axis=0)
    low, high = np.clip(low - _BOX_MARGIN_CM, -reach, reach), np.clip(high + _BOX_MARGIN_CM, -reach, reach)
    cell_cm = float(np.prod(high - low) ** (1.0 / 3.0) / spec.resolution)
    limits = np.maximum(low - spec.max_growth_cm, -reach), np.minimum(high + spec.max_growth_cm, reach)
    lattice = Lattice.around(*limits, cell_m=cell_cm, padding_cells=_PADDING_CELLS)
    field = NetworkField(model, frame, low=limits[0], high=limits[1], chunk=spec.chunk)
    found = surface_cells(field, lattice, low, high, coarsest=spec.coarsest, lipschitz=spec.lipschitz)
    if not len(found.cells):
        raise DataError(
            "the network sees no surface in this frame", where="reconstruct", fix="Train longer, or check the frame"
        )
    vertices, faces = march(lattice, found.cells, found.values)
    whole = Mesh(vertices=from_model(vertices, frame.center), faces=faces)
    part = face_parts(whole)
    return Reconstruction(
        mesh=_with_faces(whole, part == np.bincount(part).argmax()) if spec.keep == "largest" else whole,
        cell_cm=cell_cm,
        num_evaluations=found.num_evaluations,
        num_dense=int(np.prod(np.ceil((high - low) / cell_cm) + 1)),
        num_parts=int(part.max()) + 1,
        seconds=time.monotonic() - started,
    )


def face_parts(mesh: Mesh) -> NDArray[np.int64]:
    """(F,) number of the connected part each face belongs to."""
    rows, columns = mesh.faces[:, [0, 1]].ravel(), mesh.faces[:, [1, 2]].ravel()
    count = len(mesh.vertices)
    graph = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(count, count))
    part = connected_components(graph, directed=False)[1][mesh.faces[:, 0]]
    return np.unique(part, return_inverse=True)[1]


def _with_faces(mesh: Mesh, is_kept: NDArray[np.bool_]) -> Mesh:
    used, faces = np.unique(mesh.faces[is_kept], return_inverse=True)
    return Mesh(vertices=mesh.vertices[used], faces=faces.reshape(-1, 3))
