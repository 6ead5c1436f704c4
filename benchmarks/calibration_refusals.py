"""Takes that must be refused, each with the reason to name: made from good takes of ``calibration_world``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from calibration_world import UP, World, make_world
from numpy.typing import NDArray

from anim_real.calibrate.observations import CornerPairs, Placement
from anim_real.calibrate.protocol import load_protocol
from anim_real.calibrate.sensor import solve_sensor
from anim_real.errors import AnimRealError
from anim_real.geometry.frames import Rigid

Array = NDArray[np.float64]
_BODY_CENTER = np.array([0.0, 0.38, 0.0])  # of the prism


@dataclass(frozen=True, kw_only=True)
class Case:
    """A way to spoil a take.

    Attributes:
        name: for the table.
        make: a take by seed.
        reason: one of these must be part of the refusal.
    """

    name: str
    make: Callable[[int], World]
    reason: tuple[str, ...]


def refusal(world: World) -> str | None:
    """Solve a take; the reason it is refused for, or None."""
    protocol, _ = load_protocol("default")
    try:
        solved = solve_sensor(
            world.observations,
            world.target,
            protocol,
            floor_center=np.zeros(3),
            up=UP,
            associated=world.depth_points,
        )
    except AnimRealError as error:
        return str(error)
    return "; ".join(f"{gate.name}: {gate.advice}" for gate in solved.gates if not gate.passed) or None


def cases() -> list[Case]:
    """All of them."""
    frames = ("every scan has a frame of its own",)
    disagreement = ("Placements disagree", "Corners contradict each other", "Placements differ", "places the target")
    return [
        Case(name="one placement", make=lambda seed: make_world(seed, num=1), reason=("one placement only",)),
        Case(name="all at one depth", make=_one_depth, reason=("spread in depth",)),
        Case(name="one board, always in one plane", make=_planar, reason=("off one plane",)),
        Case(name="scans in mm read as m", make=lambda seed: _scaled(seed, 1000.0), reason=("in millimetres",)),
        Case(name="scans in m read as mm", make=lambda seed: _scaled(seed, 0.001), reason=("from metres",)),
        Case(name="scans mirrored", make=lambda seed: _scaled(seed, (-1.0, 1.0, 1.0)), reason=("mirrored",)),
        Case(name="scan of the next placement", make=_next_scan, reason=frames),
        Case(name="scans in the object's own frame", make=_object_frame, reason=frames),
        Case(name="scan and camera swapped: poses inverted", make=_inverted, reason=frames),
        Case(name="scans in a moving camera's frame", make=lambda seed: _reframed(seed, 40.0, 0.5), reason=frames),
        Case(
            name="every scan off by 1 degree and 20 mm",
            make=lambda seed: _reframed(seed, 1.0, 0.02),
            reason=disagreement,
        ),
    ]


def _one_depth(seed: int) -> World:
    rng = np.random.default_rng([seed, 1])
    return make_world(seed, poses=[_pose(rng, x, y, 0.0) for x in (-0.45, -0.15, 0.15, 0.45) for y in (0.2, 1.0)])


def _planar(seed: int) -> World:
    """Every placement the same board, moved within its plane."""
    rng = np.random.default_rng([seed, 2])
    places = [(x, y) for x in (-0.4, 0.4) for y in (0.0, 0.5, 0.9)] + [(0.0, 0.2), (0.0, 0.8)]
    turn = rng.uniform(-0.3, 0.3)
    axes = Rigid.from_rotvec("scan", "target", turn * UP, np.zeros(3))
    poses = [Rigid.from_parts("scan", "target", axes.rotation, axes.rotation @ (x, y, 0.0)) for x, y in places]
    world = make_world(seed, poses=poses)
    first = world.target.boards[0].corner_ids

    def board(pairs: CornerPairs) -> CornerPairs:
        keep = np.isin(pairs.ids, first)
        return CornerPairs(ids=pairs.ids[keep], points_scan=pairs.points_scan[keep], pixels=pairs.pixels[keep])

    return _with(world, [replace(p, color=board(p.color), ir=board(p.ir)) for p in world.observations.placements])


def _scaled(seed: int, factor: float | tuple[float, float, float]) -> World:
    world = make_world(seed)
    return _with(
        world, [_with_scan(p, lambda points, _: points * factor, index) for index, p in _numbered(world)]
    )  # fmt: skip


def _object_frame(seed: int) -> World:
    world = make_world(seed)
    inverse = [pose.inverse() for pose in world.poses]
    return _with(
        world, [_with_scan(p, lambda points, k: inverse[k].apply(points), index) for index, p in _numbered(world)]
    )


def _inverted(seed: int) -> World:
    """The scanner's pose of each placement applied the wrong way round: the object is where its frame was."""
    world = make_world(seed)
    twice = [pose.inverse().matrix @ pose.inverse().matrix for pose in world.poses]
    moves = [Rigid(dst="scan", src="scan", matrix=matrix) for matrix in twice]
    return _with(
        world, [_with_scan(p, lambda points, k: moves[k].apply(points), index) for index, p in _numbered(world)]
    )


def _reframed(seed: int, turn_deg: float, shift_m: float) -> World:
    """Every scan moved by a motion of its own, about the object: standard deviations per axis."""
    world, rng = make_world(seed), np.random.default_rng([seed, 3])
    motions = [
        Rigid.from_rotvec("scan", "scan", np.radians(rng.normal(0, turn_deg, 3)), rng.normal(0, shift_m, 3))
        for _ in world.poses
    ]
    centers = [pose.apply(_BODY_CENTER) for pose in world.poses]

    def move(points: Array, k: int) -> Array:
        return motions[k].apply(points - centers[k]) + centers[k]

    return _with(world, [_with_scan(p, move, index) for index, p in _numbered(world)])


def _next_scan(seed: int) -> World:
    world = make_world(seed)
    step = [world.poses[(k + 1) % len(world.poses)] @ pose.inverse() for k, pose in enumerate(world.poses)]
    return _with(
        world, [_with_scan(p, lambda points, k: step[k].apply(points), index) for index, p in _numbered(world)]
    )


def _numbered(world: World) -> list[tuple[int, Placement]]:
    return list(enumerate(world.observations.placements))


def _with_scan(placement: Placement, move: Callable[[Array, int], Array], index: int) -> Placement:
    color, ir = (replace(p, points_scan=move(p.points_scan, index)) for p in (placement.color, placement.ir))
    return replace(placement, color=color, ir=ir)


def _with(world: World, placements: list[Placement]) -> World:
    return replace(world, observations=replace(world.observations, placements=tuple(placements)))


def _pose(rng: np.random.Generator, x: float, y: float, z: float) -> Rigid:
    turn = Rigid.from_rotvec("scan", "target", rng.normal(0, 0.15, 3) + rng.uniform(-np.pi, np.pi) * UP, np.zeros(3))
    center = np.array([x, y + 0.38, z]) + rng.normal(0, 0.02, 3)
    return Rigid.from_parts("scan", "target", turn.rotation, center - turn.rotation @ _BODY_CENTER)
