"""Actions as smooth analytic joint angles: what a subject does on the studio's floor.

Everything is a sum of sines, von Mises bumps and quintic steps of the time, so positions and speeds are
continuous (C1) at any frame rate. Angles are radians in the body's own axes; the body stays within
0.6 m of its origin. ``rotations`` turns angles into bone rotations for a skeleton.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import ConfigError
from anim_real.studio.skeleton import Skeleton, axis_rotation, rotation_between

Array = NDArray[np.float64]
ACTIONS = ("stand", "walk", "turn", "stretch", "jog", "jacket")
X, Y, Z = np.eye(3)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm, in the torso's axes; zero hangs straight down.

    Attributes:
        flexion: upper arm forward and up.
        abduction: upper arm away from the side.
        twist: rotation about the upper arm; positive turns the bent forearm inwards.
        elbow: flexion of the elbow.
        wrist: flexion of the wrist, palm towards the forearm.
        curl: bending of every finger joint.
    """

    flexion: float = 0.0
    abduction: float = 0.14
    twist: float = 0.0
    elbow: float = 0.25
    wrist: float = 0.0
    curl: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One leg; zero stands straight.

    Attributes:
        flexion: thigh forward.
        abduction: leg outwards.
        knee: flexion of the knee (never negative).
        pitch: toes up against the floor, whatever hip and knee do.
    """

    flexion: float = 0.0
    abduction: float = 0.05
    knee: float = 0.04
    pitch: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Joint angles (radians) and place of one moment.

    Attributes:
        heading: rotation of the whole body about y, positive to the person's left.
        place: (x, z) of the pelvis on the floor, metres.
        lean, sway, twist: spine forward, to the left, and about its own axis to the left.
        nod, look: head down, head to the left.
        hip_drop: pelvis roll, left side down.
        shrug: shoulders up.
    """

    heading: float = 0.0
    place: tuple[float, float] = (0.0, 0.0)
    lean: float = 0.0
    sway: float = 0.0
    twist: float = 0.0
    nod: float = 0.0
    look: float = 0.0
    hip_drop: float = 0.0
    shrug: tuple[float, float] = (0.0, 0.0)
    left_arm: Arm = field(default_factory=Arm)
    right_arm: Arm = field(default_factory=Arm)
    left_leg: Leg = field(default_factory=Leg)
    right_leg: Leg = field(default_factory=Leg)


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one person moves: drawn once per performer.

    Attributes:
        tempo: factor on every rate.
        reach: factor on every amplitude.
        phase: start of the cycles, radians.
        stance: extra abduction of the legs.
    """

    tempo: float = 1.0
    reach: float = 1.0
    phase: float = 0.0
    stance: float = 0.0


def pose_at(action: str, time_s: float, style: Style) -> Pose:
    """Return the pose of an action at a time.

    Raises:
        ConfigError: an action that is not in ``ACTIONS``.
    """
    if action not in ACTIONS:
        raise ConfigError(f"no action called {action!r}", where="action", fix=f"Known: {', '.join(ACTIONS)}")
    pose = _POSES[action](time_s, style)
    left = replace(pose.left_leg, abduction=pose.left_leg.abduction + style.stance)
    right = replace(pose.right_leg, abduction=pose.right_leg.abduction + style.stance)
    return replace(pose, left_leg=left, right_leg=right)


def bump(phase: float, centre: float, sharpness: float) -> float:
    """Return a smooth periodic bump of height 1 at ``centre`` (von Mises shape)."""
    return float(np.exp(sharpness * (np.cos(phase - centre) - 1.0)))


def plateau(phase: float, rise: float, fall: float, width: float) -> float:
    """Return a periodic 0 → 1 → 0 (phases in turns 0..1; quintic flanks of ``width`` turns)."""
    turn = phase % 1.0
    return _quintic((turn - rise) / width) - _quintic((turn - fall) / width)


def _quintic(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * x * (x * (6.0 * x - 15.0) + 10.0)


def _stand(time_s: float, style: Style) -> Pose:
    slow = 2 * np.pi * 0.22 * style.tempo * time_s + style.phase
    breath = 2 * np.pi * 0.27 * style.tempo * time_s
    shift = 0.025 * style.reach * np.sin(slow)
    arm = Arm(flexion=0.03 * np.sin(slow + 1.0), abduction=0.13 + 0.02 * np.sin(breath), elbow=0.22)
    return Pose(
        place=(float(shift), 0.0),
        lean=0.02 + 0.01 * np.sin(breath),
        sway=-0.05 * style.reach * np.sin(slow),
        twist=0.05 * np.sin(0.7 * slow),
        look=0.25 * style.reach * np.sin(0.5 * slow),
        nod=0.06 * np.sin(0.8 * slow),
        hip_drop=0.04 * style.reach * np.sin(slow),
        left_arm=arm,
        right_arm=replace(arm, flexion=-arm.flexion),
        left_leg=Leg(abduction=0.06 - 0.03 * np.sin(slow)),
        right_leg=Leg(abduction=0.06 + 0.03 * np.sin(slow)),
    )


def _walking_leg(phase: float, reach: float) -> Leg:
    """Hip forward at phase pi/2 (heel strike), back at -pi/2 (toe off); the knee bends in swing."""
    flexion = 0.08 + 0.40 * reach * np.sin(phase)
    knee = 0.10 + 0.95 * reach * bump(phase, -0.75, 2.6) + 0.14 * bump(phase, 2.2, 4.0)
    pitch = 0.22 * bump(phase, 1.45, 6.0) - 0.62 * reach * bump(phase, -1.45, 3.0)
    return Leg(flexion=float(flexion), abduction=0.05, knee=float(knee), pitch=float(pitch))


def _walk(time_s: float, style: Style) -> Pose:
    phase = 2 * np.pi * 0.88 * style.tempo * time_s + style.phase
    swing = 0.38 * style.reach * np.sin(phase)
    return Pose(
        place=(0.02 * float(np.sin(phase)), 0.02 * float(np.sin(2 * phase))),
        heading=-0.06 * np.sin(phase),
        lean=0.05,
        twist=0.14 * style.reach * np.sin(phase),
        sway=-0.03 * np.sin(phase),
        hip_drop=0.05 * np.sin(phase - 0.6),
        look=-0.05 * np.sin(phase),
        left_arm=Arm(flexion=-swing, elbow=0.38 - 0.15 * np.sin(phase), abduction=0.16),
        right_arm=Arm(flexion=swing, elbow=0.38 + 0.15 * np.sin(phase), abduction=0.16),
        left_leg=_walking_leg(phase, style.reach),
        right_leg=_walking_leg(phase + np.pi, style.reach),
    )


def _turn(time_s: float, style: Style) -> Pose:
    """Turn on the spot in small steps, once round in about 7 s."""
    turn = 0.9 * style.tempo * time_s
    steps = 2 * np.pi * 0.9 * style.tempo * time_s + style.phase
    lift_left, lift_right = bump(steps, 0.0, 3.0), bump(steps, np.pi, 3.0)
    left = Leg(flexion=0.32 * lift_left, knee=0.06 + 0.6 * lift_left, pitch=-0.18 * lift_left)
    right = Leg(flexion=0.32 * lift_right, knee=0.06 + 0.6 * lift_right, pitch=-0.18 * lift_right)
    return Pose(
        heading=turn + 0.12 * np.sin(steps),
        place=(0.06 * float(np.sin(turn)), 0.06 * float(np.cos(turn)) - 0.06),
        twist=-0.12 * np.sin(steps),
        look=0.25 + 0.1 * np.sin(steps),
        hip_drop=0.03 * np.sin(steps),
        left_arm=Arm(abduction=0.2, elbow=0.4, flexion=0.1 + 0.1 * np.sin(steps)),
        right_arm=Arm(abduction=0.2, elbow=0.4, flexion=0.1 - 0.1 * np.sin(steps)),
        left_leg=left,
        right_leg=right,
    )


def _stretch(time_s: float, style: Style) -> Pose:
    """Raise both arms over the side, bend to the left and to the right, lower them."""
    cycle = style.tempo * time_s / 6.0 + style.phase / (2 * np.pi)
    up = plateau(cycle, 0.02, 0.68, 0.28)
    side = up * np.sin(2 * np.pi * (2 * cycle - 0.25))
    arm = Arm(abduction=0.14 + 2.55 * style.reach**0.25 * up, flexion=0.1 * up, elbow=0.22 + 0.25 * up, curl=0.2)
    return Pose(
        sway=0.28 * style.reach * side,
        lean=-0.06 * up,
        nod=-0.18 * up,
        twist=0.10 * side,
        shrug=(0.38 * up, 0.38 * up),
        place=(-0.04 * float(side), 0.0),
        left_arm=arm,
        right_arm=arm,
        left_leg=Leg(abduction=0.11, pitch=0.0),
        right_leg=Leg(abduction=0.11, pitch=0.0),
    )


def _jogging_leg(phase: float, reach: float) -> Leg:
    flexion = 0.26 + 0.50 * reach * np.sin(phase)
    knee = 0.30 + 1.10 * reach * bump(phase, -0.55, 1.8) + 0.12 * bump(phase, 2.3, 4.0)
    pitch = -0.75 * reach * bump(phase, -1.1, 2.2) + 0.08 * bump(phase, 1.6, 5.0)
    return Leg(flexion=float(flexion), abduction=0.05, knee=float(knee), pitch=float(pitch))


def _jog(time_s: float, style: Style) -> Pose:
    phase = 2 * np.pi * 1.2 * style.tempo * time_s + style.phase
    swing = 0.55 * style.reach * np.sin(phase)
    return Pose(
        place=(0.02 * float(np.sin(phase)), 0.03 * float(np.sin(2 * phase))),
        heading=-0.08 * np.sin(phase),
        lean=0.13,
        twist=0.20 * style.reach * np.sin(phase),
        hip_drop=0.05 * np.sin(phase - 0.6),
        nod=-0.06,
        left_arm=Arm(flexion=-swing, elbow=1.5, abduction=0.22, twist=0.35, curl=0.8),
        right_arm=Arm(flexion=swing, elbow=1.5, abduction=0.22, twist=0.35, curl=0.8),
        left_leg=_jogging_leg(phase, style.reach),
        right_leg=_jogging_leg(phase + np.pi, style.reach),
    )


def _jacket(time_s: float, style: Style) -> Pose:
    """Arms of taking off a jacket: hands to the lapels, shoulders back one after the other, arms behind, down."""
    cycle = style.tempo * time_s / 7.0 + style.phase / (2 * np.pi)
    lapel = plateau(cycle, 0.03, 0.32, 0.16)
    left, right = plateau(cycle, 0.34, 0.72, 0.18), plateau(cycle, 0.42, 0.78, 0.18)

    def arm(pull: float) -> Arm:
        return Arm(
            flexion=0.12 + 0.45 * lapel - 0.75 * pull,
            abduction=0.16 + 0.20 * lapel + 0.22 * pull,
            twist=0.75 * lapel + 0.35 * pull,
            elbow=0.25 + 1.75 * lapel + 0.75 * pull,
            curl=0.3 + 0.6 * lapel + 0.25 * pull,
        )

    return Pose(
        lean=0.05 * lapel + 0.10 * (left + right),
        twist=0.25 * style.reach * (left - right),
        sway=0.10 * (left - right),
        nod=0.20 * lapel + 0.08 * (left + right),
        look=0.30 * (left - right),
        shrug=(0.20 * lapel - 0.12 * left, 0.20 * lapel - 0.12 * right),
        left_arm=arm(left),
        right_arm=arm(right),
        left_leg=Leg(abduction=0.07),
        right_leg=Leg(abduction=0.07),
    )


_POSES = {"stand": _stand, "walk": _walk, "turn": _turn, "stretch": _stretch, "jog": _jog, "jacket": _jacket}


def rotations(pose: Pose, skeleton: Skeleton) -> dict[str, Array]:
    """Return bone name → (3, 3) rotation about its joint, in rest axes, for ``Skeleton.transforms``."""
    turned: dict[str, Array] = {"root": axis_rotation(Y, pose.heading) @ axis_rotation(Z, -pose.hip_drop)}
    spine = axis_rotation(X, pose.lean / 4) @ axis_rotation(Z, (pose.hip_drop - pose.sway) / 4)
    for bone in ("spine04", "spine03", "spine02", "spine01"):
        turned[bone] = axis_rotation(Y, pose.twist / 4) @ spine
    for bone in ("neck01", "neck02", "head"):
        turned[bone] = axis_rotation(Y, pose.look / 3) @ axis_rotation(X, (pose.nod - 0.5 * pose.lean) / 3)
    sides = (
        (1.0, "L", pose.left_arm, pose.left_leg, pose.shrug[0]),
        (-1.0, "R", pose.right_arm, pose.right_leg, pose.shrug[1]),
    )
    for side, name, arm, leg, shrug in sides:
        turned |= _arm_rotations(arm, shrug, side, name, skeleton)
        turned |= _leg_rotations(leg, pose.hip_drop, side, name, skeleton)
    return turned


def _arm_rotations(arm: Arm, shrug: float, side: float, name: str, skeleton: Skeleton) -> dict[str, Array]:
    shoulder, elbow, wrist = (skeleton.joint(f"{bone}.{name}") for bone in ("upperarm01", "lowerarm01", "wrist"))
    upper, fore = elbow - shoulder, wrist - elbow
    hinge = np.cross(upper, fore)
    rest_bend = float(np.arctan2(np.linalg.norm(hinge), upper @ fore))
    target = axis_rotation(X, -arm.flexion) @ axis_rotation(Z, side * arm.abduction) @ -Y
    clavicle = axis_rotation(Z, side * shrug)
    raised = axis_rotation(target, -side * arm.twist) @ rotation_between(upper, target)
    turned = {
        f"clavicle.{name}": clavicle,
        f"upperarm01.{name}": clavicle.T @ raised,
        f"lowerarm01.{name}": axis_rotation(hinge, arm.elbow - rest_bend),
        f"wrist.{name}": axis_rotation(hinge, arm.wrist),
    }
    for finger in range(2, 6):
        for segment in range(1, 4):
            bone = f"finger{finger}-{segment}.{name}"
            if bone in skeleton.bones:
                turned[bone] = axis_rotation(_curl_axis(skeleton, name), arm.curl)
    return turned


def _curl_axis(skeleton: Skeleton, name: str) -> Array:
    """Axis across the knuckles: little finger to index, so that a positive turn closes the hand."""
    across = skeleton.joint(f"finger2-1.{name}") - skeleton.joint(f"finger5-1.{name}")
    return across if name == "R" else -across


def _leg_rotations(leg: Leg, hip_drop: float, side: float, name: str, skeleton: Skeleton) -> dict[str, Array]:
    line = skeleton.joint(f"foot.{name}") - skeleton.joint(f"upperleg01.{name}")
    rest_abduction = np.arctan2(side * line[0], -line[1])
    rest_flexion = np.arctan2(line[2], -line[1])
    spread = side * (leg.abduction - rest_abduction) + hip_drop
    hip_turn = axis_rotation(X, -(leg.flexion - rest_flexion)) @ axis_rotation(Z, spread)
    knee_turn = axis_rotation(X, leg.knee)
    shank = hip_turn @ knee_turn
    foot = axis_rotation(X, -leg.pitch)
    return {f"upperleg01.{name}": hip_turn, f"lowerleg01.{name}": knee_turn, f"foot.{name}": shank.T @ foot}
