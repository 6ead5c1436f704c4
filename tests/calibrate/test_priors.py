"""What the default protocol believes of a device and a scanner is what the virtual studio makes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anim_real.calibrate.protocol import PriorsSpec, load_protocol
from anim_real.studio.bend import Bend
from anim_real.studio.factory import FactoryErrors, shipped_factory


def test_the_defaults_of_the_code_are_those_of_the_file():
    protocol, _ = load_protocol("default")
    assert protocol.priors == PriorsSpec()
    assert protocol.solver == type(protocol.solver)()
    assert protocol.gates == type(protocol.gates)()


def test_the_depth_lens_errs_as_the_factory_does():
    priors, errors = PriorsSpec(), FactoryErrors()
    cameras = json.loads(shipped_factory())["CalibrationInformation"]["Cameras"]
    width_px = next(camera["SensorWidth"] for camera in cameras if camera["Location"].endswith("D0"))
    assert priors.depth_focal_percent == pytest.approx(100 * errors.depth_focal)
    assert priors.depth_center_px == pytest.approx(errors.depth_center * width_px, rel=0.05)


def test_a_scanner_of_a_fifth_of_a_millimetre_is_what_scans_are_believed_to_err_by():
    """Mean shift of a target-sized set of points by many bends: between a half and all of the prior."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (200, 3)) * (0.2, 0.37, 0.2)
    shifts = [(Bend.draw(2e-4, rng)(points) - points).mean(0) for _ in range(400)]
    spread_mm = 1e3 * np.sqrt(np.mean(np.square(shifts)))
    priors = PriorsSpec()
    assert 0.5 * priors.scan_shift_mm < spread_mm < priors.scan_shift_mm
    assert priors.scan_shift_mm < load_protocol("default")[0].gates.max_scan_shift_mm
