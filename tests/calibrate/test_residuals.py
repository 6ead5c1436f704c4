"""Residual blocks: every derivative against central differences."""

from __future__ import annotations

import numpy as np

from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.state import NUM_SHARED, State

from .synthetic import FAST, Errors, make_studio


def test_jacobians_equal_differences():
    studio = make_studio(2, Errors(factory=1.0), num=2)
    problem = Problem(studio.observations, FAST)
    rng = np.random.default_rng(0)
    start = State.factory(studio.T_color_scan, studio.observations.T_color_depth)
    step0 = rng.normal(0, 1e-3, problem.num_parameters)
    step0[NUM_SHARED:] *= 0.01  # a scan's own turn is linearised: it is below a milliradian
    state = start.moved(step0, problem.placements)
    points = problem.associate(start, 0.1)
    blocks = problem.blocks(state, points)
    assert {block.kind for block in blocks} == {"color", "ir", "depth"}
    for column in range(problem.num_parameters):
        step = np.zeros(problem.num_parameters)
        step[column] = 1e-6
        ahead, behind = (problem.blocks(state.moved(sign * step, problem.placements), points) for sign in (1, -1))
        for block, plus, minus in zip(blocks, ahead, behind, strict=True):
            numeric = -(plus.residual - minus.residual) / 2e-6  # residual = observed - predicted
            dense = np.zeros((*block.residual.shape, problem.num_parameters))
            dense[..., problem.columns(block.placement)] = block.jacobian
            scale = max(np.abs(dense[..., column]).max(), 1e-3)
            assert np.abs(numeric - dense[..., column]).max() < 2e-4 * scale, (block.kind, column)
