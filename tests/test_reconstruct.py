"""Reconstruction with a network whose field is known: the surface comes out where it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from data.people import fake_frame, person_mesh, person_sdf

from anim_real.data.batches import Observation
from anim_real.data.examples import from_model, prepare
from anim_real.errors import DataError
from anim_real.geometry.distances import SurfaceDistance
from anim_real.mesh import closedness_problem
from anim_real.model.anim import ANIM, Features
from anim_real.model.presets import network_spec
from anim_real.reconstruct import ReconstructSpec, face_parts, reconstruct


class KnownField(ANIM):
    """The exact distance of the capsule person in place of the network's answer, with optional floaters."""

    def __init__(self, *, floater: bool = False, sign: float = 1.0) -> None:
        super().__init__(network_spec("tiny", "t1_3d_only"))
        self.floater, self.sign = floater, sign
        self.frame = prepared()

    def encode(self, observation: Observation) -> Features:
        return Features(pixel=None, levels=(), volumes=(), projection=observation.projection)

    def query(self, features: Features, points_BP3: torch.Tensor) -> torch.Tensor:
        points = points_BP3[0].numpy().astype(np.float64)
        scan = fake_frame(128).T_color_scan.inverse().apply(from_model(points, self.frame.center))
        values = person_sdf(scan) * 100
        if self.floater:
            values = np.minimum(values, np.linalg.norm(points - (40.0, -40.0, 0.0), axis=1) - 4.0)
        return torch.from_numpy(values * self.sign if self.sign > 0 else np.abs(values) + 1.0)[None]


def prepared():
    frame = fake_frame(128)
    return prepare(frame.color, frame.depth_mm, frame.mask, frame.camera, size=128)


def in_scan(vertices: np.ndarray) -> np.ndarray:
    return fake_frame(128).T_color_scan.inverse().apply(vertices)


def test_the_mesh_lies_on_the_zero_surface_in_metres_back_included() -> None:
    made = reconstruct(KnownField(), prepared(), ReconstructSpec(resolution=64))
    vertices = in_scan(made.mesh.vertices)
    assert np.abs(person_sdf(vertices)).max() < made.cell_cm / 100  # within a cell even at creases
    truth = person_mesh()
    reached = SurfaceDistance(vertices, made.mesh.faces).closest(truth.vertices).distance
    assert reached.max() < 2 * made.cell_cm / 100  # nothing is missing, though a front view shows no back
    assert closedness_problem(made.mesh) is None


def test_coarse_to_fine_equals_dense() -> None:
    fast, dense = (reconstruct(KnownField(), prepared(), ReconstructSpec(resolution=48, coarsest=c)) for c in (16, 1))
    assert np.array_equal(fast.mesh.vertices, dense.mesh.vertices)
    assert np.array_equal(fast.mesh.faces, dense.mesh.faces)
    assert fast.num_evaluations < dense.num_evaluations / 3


def test_the_largest_part_is_kept_or_all() -> None:
    spec = ReconstructSpec(resolution=48)
    largest = reconstruct(KnownField(floater=True), prepared(), spec)
    everything = reconstruct(KnownField(floater=True), prepared(), spec.model_copy(update={"keep": "all"}))
    assert largest.num_parts == everything.num_parts == 2
    assert face_parts(largest.mesh).max() == 0
    assert len(largest.mesh.faces) < len(everything.mesh.faces)


def test_the_number_of_cells_follows_the_box() -> None:
    made = reconstruct(KnownField(), prepared(), ReconstructSpec(resolution=48))
    assert made.num_dense == pytest.approx(48**3, rel=0.15)  # lattice points: one more per axis than cells


def test_no_surface_is_an_error_that_says_so() -> None:
    with pytest.raises(DataError, match="no surface"):
        reconstruct(KnownField(sign=-1.0), prepared(), ReconstructSpec(resolution=32))


def test_a_wild_untrained_field_stays_within_its_box() -> None:
    torch.manual_seed(0)
    model = ANIM(network_spec("tiny"))
    torch.nn.init.normal_(model.mlp.layers[-1].weight, std=5.0)
    spec = ReconstructSpec(resolution=24, max_growth_cm=5.0, keep="all")
    try:
        made = reconstruct(model, prepared(), spec)
    except DataError as error:
        assert "no surface" in str(error)
        return
    low, high = np.quantile(prepared().points_model(), [0.002, 0.998], axis=0)
    reach = np.abs((made.mesh.vertices - prepared().center) * 100)
    assert (reach <= np.maximum(np.abs(low), np.abs(high)) + 15.0 + 5.0 + 2 * made.cell_cm).all()
    assert closedness_problem(made.mesh) is None
