"""Shared fixtures: the folder of real files, and seeded generators."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files that nobody on this project made; skip where it is absent."""
    root = Path(__file__).resolve().parents[1]
    candidates = [Path(os.environ["ANIM_REAL_SHARED"])] if "ANIM_REAL_SHARED" in os.environ else []
    candidates.append(root.parent / "shared" / "data")
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    pytest.skip("real files are not here: put them at ../shared/data or set ANIM_REAL_SHARED")


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, fresh for every test."""
    return np.random.default_rng(20240617)
