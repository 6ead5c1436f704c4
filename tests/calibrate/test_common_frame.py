"""Scans that do not share one frame are refused with that reason; good ones and single ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.calibrate.common_frame import check_common_frame
from anim_real.errors import RefusedError
from anim_real.geometry.frames import Rigid

from .synthetic import REALISTIC, Errors, make_studio, moved_scans


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_good_takes_pass(seed):
    check_common_frame(make_studio(seed, REALISTIC, num=6).observations)


def test_scans_in_frames_of_their_own_are_refused():
    studio = make_studio(4, REALISTIC, num=6)
    rng = np.random.default_rng(0)
    motions = [Rigid.from_rotvec("scan", "scan", rng.normal(0, 0.7, 3), rng.normal(0, 0.5, 3)) for _ in range(6)]
    moved = moved_scans(studio.observations, lambda points, index: motions[index].apply(points))
    with pytest.raises(RefusedError, match="a frame of its own"):
        check_common_frame(moved)


def test_two_placements_are_too_few_to_say():
    studio = make_studio(5, Errors(), num=2)
    check_common_frame(moved_scans(studio.observations, lambda points, index: points + np.array([index, 0.0, 0.0])))
