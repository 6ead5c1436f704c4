"""Symmetric objects without markers: placements that leave the pose open must be refused, the others accepted.

Used by ``markerless.py --symmetric``. A pose is open when one turn of the scanner maps the object onto itself at every
placement. One place, or turns about an axis of symmetry alone, always leave it open; two places turned anyhow settle it
for all but a sphere, for its places lie on a line about which everything may turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from anim_real.calibrate.markerless.start import find_geometry_start
from anim_real.errors import RefusedError
from tests.calibrate.geometry_world import make_world

Array = NDArray[np.float64]
RIGHT_MM, RIGHT_DEG = 25.0, 1.0


def _on_its_corner() -> trimesh.Trimesh:
    """A cube whose third axis is its diagonal: no axis of inertia stands out."""
    cube = trimesh.creation.box((0.3, 0.3, 0.3))
    upright = np.eye(4)
    upright[:3, :3] = Rotation.align_vectors([[0.0, 0.0, 1.0]], [[1.0, 1.0, 1.0]])[0].as_matrix()
    cube.apply_transform(upright)
    return cube


# The third axis of every body is one of its axes of symmetry.
BODIES = {
    "sphere": trimesh.creation.icosphere(subdivisions=4, radius=0.2),
    "cylinder": trimesh.creation.cylinder(0.12, 0.45, sections=64),
    "box": trimesh.creation.box((0.3, 0.42, 0.2)),
    "cube": trimesh.creation.box((0.3, 0.3, 0.3)),
    "corner cube": _on_its_corner(),
    "hexagon": trimesh.creation.cylinder(0.2, 0.3, sections=6),
    "plate": trimesh.creation.box((0.5, 0.4, 0.01)),
}
_SPREAD_M = (np.array([-0.45, -0.5, 1.6]), np.array([0.45, 0.5, 2.4]))


def _pose(rotation: Rotation, place: Array) -> Array:
    return np.block([[rotation.as_matrix(), place[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])


def _turns_about_axis(rng: np.random.Generator, number: int) -> list[Rotation]:
    """One attitude, then turned about the body's own third axis alone."""
    first = Rotation.random(random_state=int(rng.integers(2**31)))
    return [first * Rotation.from_rotvec([0.0, 0.0, angle]) for angle in (0.0, *rng.uniform(0.2, 6.0, number - 1))]


def one_place(rng: np.random.Generator) -> list[Array]:
    """A single placement."""
    return anyhow(rng, 1)


def about_axis(rng: np.random.Generator) -> list[Array]:
    """One place, turned about the axis of symmetry alone."""
    place = rng.uniform(*_SPREAD_M)
    return [_pose(turn, place) for turn in _turns_about_axis(rng, 4)]


def along_axis(rng: np.random.Generator) -> list[Array]:
    """Moved along the axis of symmetry, which lies across the view, and turned about it."""
    across = Rotation.align_vectors([[1.0, 0.2, 0.1]], [[0.0, 0.0, 1.0]])[0]
    turns = [across * Rotation.from_rotvec([0.0, 0.0, angle]) for angle in rng.uniform(0, 6.0, 3)]
    axis = across.apply([0.0, 0.0, 1.0])
    places = np.array([0.0, 0.2, 2.0]) + np.outer((-0.4, 0.0, 0.4), axis)
    return [_pose(turn, place) for turn, place in zip(turns, places, strict=True)]


def anyhow(rng: np.random.Generator, number: int) -> list[Array]:
    """Turned anyhow, 0.4 m and more apart."""
    places: list[Array] = []
    while len(places) < number:
        place = rng.uniform(*_SPREAD_M)
        if all(np.linalg.norm(place - other) > 0.4 for other in places):
            places.append(place)
    return [_pose(Rotation.random(random_state=int(rng.integers(2**31))), place) for place in places]


ARRANGEMENTS: dict[str, Callable[[np.random.Generator], list[Array]]] = {
    "one place": one_place,
    "4 turns about its axis": about_axis,
    "3 places along its axis": along_axis,
    "2 places, turned anyhow": lambda rng: anyhow(rng, 2),
    "4 places, turned anyhow": lambda rng: anyhow(rng, 4),
}


def is_settled(body: str, arrangement: str) -> bool:
    """Whether no turn of the scanner maps the object onto itself at every placement."""
    return arrangement.startswith("4 places") or (arrangement.startswith("2 places") and body != "sphere")


def symmetric_trials(first: int, trials: int) -> tuple[int, int]:
    """Print every case; return how many poses were left open and accepted, and how many settled and not found."""
    dangerous = lost = 0
    for arrangement, poses in ARRANGEMENTS.items():
        for name, body in BODIES.items():
            counts: Counter[str] = Counter()
            for seed in range(first, first + trials):
                counts[symmetric_trial(seed, body, poses(np.random.default_rng([seed, 5])))] += 1
            settled = is_settled(name, arrangement)
            right = counts["right"]
            refused = sum(count for outcome, count in counts.items() if outcome.startswith("refused"))
            dangerous += counts["wrong"] + (0 if settled else right)
            lost += refused if settled else 0
            expected = "settled" if settled else "open"
            print(f"  {arrangement:24} {name:12} {expected:8} {dict(counts)}", flush=True)
    return dangerous, lost


def symmetric_trial(seed: int, body: trimesh.Trimesh, poses: list[Array]) -> str:
    """``right``, ``wrong``, or ``refused`` with the reason's first words."""
    world = make_world(seed, body, poses=poses)
    try:
        found = find_geometry_start(world.observations)
    except RefusedError as error:
        return "refused: " + " ".join(error.what.split("(")[0].split()[:6])
    shift_mm, turn_deg = world.error(found.T_depth_scan)
    return "right" if shift_mm < RIGHT_MM and turn_deg < RIGHT_DEG else "wrong"
