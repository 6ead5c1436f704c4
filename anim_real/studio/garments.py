"""Garments as offset layers: where each layer lies on the body at rest, how far off it stands, how it folds.

Tight layers (top, bottom, hair) displace the body's own surface and end in a hem; the jacket is a closed
shell of two sides over them. Lines are zero sets of fields over the rest pose, so a hem is a clean cut
whatever the mesh. Everything in metres, rest pose, y up, facing +z.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import ConfigError
from anim_real.studio.motion import Pose
from anim_real.studio.skeleton import Skeleton

Array = NDArray[np.float64]
ANKLE_M = -0.025  # the legs end here relative to the ankle joint, inside the shoes
GARMENTS = ("tshirt", "longsleeve", "trousers", "shorts", "skirt", "dress", "jacket")
OUTFITS: tuple[tuple[str, ...], ...] = (
    ("tshirt", "trousers"),
    ("dress",),
    ("longsleeve", "trousers", "jacket"),
    ("tshirt", "skirt"),
    ("tshirt", "shorts"),
    ("tshirt", "trousers", "jacket"),
    ("longsleeve", "trousers"),
    ("longsleeve", "skirt", "jacket"),
)


class Layer(IntEnum):
    """What a face belongs to."""

    SKIN = 0
    EYE = 1
    HAIR = 2
    TOP = 3
    BOTTOM = 4
    JACKET = 5
    LINING = 6
    SHOE = 7
    SKIRT = 8
    LOCKS = 9


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The lines and ease of one outfit on one body.

    Attributes:
        wears: names of the garments.
        sleeve, jacket_sleeve: arm coordinate of the hem (0 shoulder, 1 elbow, 2 wrist).
        top_hem, bottom_hem, waist, jacket_hem: heights at rest, metres.
        opening: half width of the open jacket's front at the waist.
        ease: how far cloth stands off, 1 = regular fit.
    """

    wears: tuple[str, ...]
    sleeve: float
    jacket_sleeve: float
    top_hem: float
    bottom_hem: float
    waist: float
    jacket_hem: float
    opening: float
    ease: float

    @property
    def has_top(self) -> bool:
        """Whether the trunk is covered by a tight layer."""
        return bool({"tshirt", "longsleeve", "dress"} & set(self.wears))

    @property
    def has_legs(self) -> bool:
        """Whether the legs are covered by a tight layer."""
        return bool({"trousers", "shorts"} & set(self.wears))

    @property
    def has_skirt(self) -> bool:
        """Whether a skirt hangs from the waist."""
        return bool({"skirt", "dress"} & set(self.wears))


def check_garments(garments: tuple[str, ...]) -> None:
    """Refuse names nobody knows and things that cannot be worn together.

    Raises:
        ConfigError: unknown, repeated or clashing garments.
    """
    unknown = [name for name in garments if name not in GARMENTS]
    if unknown or len(set(garments)) != len(garments):
        raise ConfigError(
            f"cannot wear {', '.join(garments)}", where="garments", fix=f"Choose each once from {', '.join(GARMENTS)}"
        )
    for clash in (("tshirt", "longsleeve", "dress"), ("trousers", "shorts", "skirt", "dress")):
        both = [name for name in garments if name in clash]
        if len(both) > 1:
            raise ConfigError(f"{' and '.join(both)} exclude each other", where="garments", fix="Leave one out")


def draw_cut(wears: tuple[str, ...], skeleton: Skeleton, rng: np.random.Generator) -> Cut:
    """Draw the lines of an outfit for a body."""
    hip, knee, ankle = (skeleton.joint(f"{bone}.L")[1] for bone in ("upperleg01", "lowerleg01", "foot"))
    waist = float(skeleton.joint("spine03")[1]) + 0.01
    legs = hip - ankle
    has_skirt = bool({"skirt", "dress"} & set(wears))
    bottom_hem = ankle + 0.02 if "trousers" in wears else knee + rng.uniform(0.03, 0.14)
    return Cut(
        wears=wears,
        sleeve=float(rng.uniform(1.75, 1.93) if "longsleeve" in wears else rng.uniform(0.45, 0.8)),
        jacket_sleeve=float(rng.uniform(1.82, 1.95)),
        top_hem=waist
        if has_skirt
        else float(hip - legs * (rng.uniform(0.0, 0.07) if "jacket" not in wears else -0.04)),
        bottom_hem=float(bottom_hem),
        waist=waist,
        jacket_hem=waist + 0.006 if has_skirt else float(hip - legs * rng.uniform(-0.02, 0.05)),
        opening=float(rng.uniform(0.05, 0.085)),
        ease=float(rng.uniform(0.8, 1.4)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Fields:
    """Coordinates of body points at rest that the lines are drawn in.

    Attributes:
        points: (V, 3) rest positions.
        on_arm: (V,) bool, moved mostly by an arm.
        arm: (V,) 0 at the shoulder, 1 at the elbow, 2 at the wrist; -1 off the arms.
        collar: (V,) metres above the collar's plane (arms count as below).
        hairline: (V,) positive where hair grows.
    """

    points: Array
    on_arm: NDArray[np.bool_]
    arm: Array
    collar: Array
    hairline: Array


def body_fields(points_V3: Array, weights_VB: Array, skeleton: Skeleton, fringe: float) -> Fields:
    """Compute the coordinates; ``fringe`` lowers (> 0) or raises the hairline, metres."""
    columns = [
        k for k, bone in enumerate(skeleton.bones) if bone.startswith(("upperarm", "lowerarm", "wrist", "finger"))
    ]
    on_arm = weights_VB[:, columns].sum(1) > 0.5
    arm = np.full(len(points_V3), -1.0)
    for name, side in (("L", 1.0), ("R", -1.0)):
        shoulder, elbow, wrist = (skeleton.joint(f"{bone}.{name}") for bone in ("upperarm01", "lowerarm01", "wrist"))
        upper, fore = elbow - shoulder, wrist - elbow
        along = (points_V3 - shoulder) @ upper / (upper @ upper)
        beyond = (points_V3 - elbow) @ fore / (fore @ fore)
        mine = on_arm & (points_V3[:, 0] * side > 0)
        arm = np.where(mine, np.where(beyond > 0, 1.0 + beyond, np.minimum(along, 1.0)), arm)
    neck, head = skeleton.joint("neck01"), skeleton.joint("head")
    collar = np.where(on_arm, -1.0, (points_V3[:, 1] - neck[1] - 0.012) + 0.30 * (points_V3[:, 2] - neck[2]))
    away = points_V3 - head
    width = np.abs(away[:, 0])
    front = away[:, 2] - 0.035 + 0.25 * width
    line = 0.115 - fringe - 0.9 * np.maximum(0.02 - front, 0.0) * 1.6 + 0.25 * np.maximum(front, 0.0)
    ears = np.maximum(0.0, 0.03 - np.hypot(away[:, 2] - 0.01, away[:, 1] - 0.035)) * (width > 0.065)
    hairline = away[:, 1] - np.maximum(line, -0.035) - 3.0 * ears
    return Fields(points=points_V3, on_arm=on_arm, arm=arm, collar=collar, hairline=hairline)


def above(fields: Fields, height: float) -> Array:
    """(V,) metres above a height; arms count as above."""
    return np.where(fields.on_arm, 1.0, fields.points[:, 1] - height)


def jacket_front(fields: Fields, cut: Cut, skeleton: Skeleton) -> Array:
    """(V,) positive where the open jacket covers the front: beside a gap that widens downwards."""
    x, y, z = fields.points.T
    spine = np.stack(
        [skeleton.joint(f"spine0{k}") for k in (5, 4, 3, 2, 1)] + [skeleton.joint("neck01"), skeleton.joint("neck03")]
    )
    is_back = z < np.interp(y, spine[:, 1], spine[:, 2]) + 0.015
    drop = np.clip((skeleton.joint("neck01")[1] - y) / 0.5, 0.0, 1.3)
    gap = cut.opening * (0.55 + 0.6 * drop)
    return np.where(fields.on_arm | is_back | (y < cut.jacket_hem - 0.004), 1.0, np.abs(x) - gap)


def cut_lines(fields: Fields, cut: Cut, skeleton: Skeleton) -> list[Array]:
    """Fields (V,) to slice the body along, for everything the outfit has an edge at."""
    ankle = skeleton.joint("foot.L")[1] + ANKLE_M
    lines = [above(fields, float(ankle)), np.where(fields.on_arm, -1.0, fields.hairline)]
    if cut.has_top:
        lines += [fields.arm - cut.sleeve, fields.collar, above(fields, cut.top_hem)]
    if cut.has_legs:
        lines += [above(fields, cut.waist), above(fields, cut.bottom_hem)]
    if "jacket" in cut.wears:
        lines += [fields.arm - cut.jacket_sleeve, above(fields, cut.jacket_hem), jacket_front(fields, cut, skeleton)]
        lines += [fields.collar] if not cut.has_top else []
    return lines


def layers_of(fields: Fields, faces: NDArray[np.int64], cut: Cut) -> NDArray[np.int64]:
    """(F,) the layer of every body face (the jacket is a shell over them and not among them)."""

    def mean(values: Array) -> Array:
        return values[faces].mean(1)

    trunk = (mean(fields.collar) < 0) & (mean(fields.arm) < cut.sleeve)
    top = trunk & (mean(above(fields, cut.top_hem)) > 0) & cut.has_top
    bottom = (mean(above(fields, cut.bottom_hem)) > 0) & (mean(above(fields, cut.waist)) < 0) & cut.has_legs
    layer = np.full(len(faces), int(Layer.SKIN))
    layer[mean(np.where(fields.on_arm, -1.0, fields.hairline)) > 0] = Layer.HAIR
    layer[bottom] = Layer.BOTTOM
    layer[top] = Layer.TOP
    return layer


def jacket_faces(fields: Fields, faces: NDArray[np.int64], cut: Cut, skeleton: Skeleton) -> NDArray[np.bool_]:
    """(F,) the body faces that the jacket covers."""
    covered = [
        fields.collar[faces].mean(1) < 0,
        fields.arm[faces].mean(1) < cut.jacket_sleeve,
        above(fields, cut.jacket_hem)[faces].mean(1) > 0,
        jacket_front(fields, cut, skeleton)[faces].mean(1) > 0,
    ]
    return np.logical_and.reduce(covered)


def offsets(fields: Fields, cut: Cut, skeleton: Skeleton) -> dict[int, Array]:
    """Layer → (V,) distance off the skin at rest, metres, before folds."""
    x, y, _ = fields.points.T
    hip = float(skeleton.joint("upperleg01.L")[1])
    crotch = hip - 0.05
    between = np.clip(np.abs(x) / 0.07, 0.15, 1.0) ** np.clip(1.0 - np.abs(y - crotch) / 0.25, 0.0, 1.0)
    sleeve_hem = _near(fields.arm, cut.sleeve, 0.5)
    hem = _near(y, cut.top_hem, 0.16) * ~fields.on_arm * (not cut.has_skirt)
    top = 0.005 + cut.ease * (0.004 + 0.007 * sleeve_hem + 0.010 * hem)
    down = np.clip((hip - y) / max(hip - cut.bottom_hem, 0.1), 0.0, 1.0)
    bottom = (0.004 + cut.ease * (0.004 + 0.010 * down**1.5)) * between
    under = np.maximum(bottom * cut.has_legs, np.where(fields.arm < cut.sleeve + 0.3, top, 0.002) * cut.has_top)
    front = np.where(fields.on_arm, 0.0, _near(jacket_front(fields, cut, skeleton), 0.0, 0.07))
    skirt_edge = np.where(fields.on_arm, 0.0, _near(y, cut.jacket_hem, 0.18))
    open_part = np.maximum(front, skirt_edge)
    outer = (
        under
        + 0.006
        + cut.ease * (0.003 + 0.008 * _near(fields.arm, cut.jacket_sleeve, 0.6) + 0.012 * front + 0.012 * skirt_edge)
    )
    inner = (under - 0.003) * (1 - open_part) + (outer - 0.0055) * open_part
    return {Layer.TOP: top, Layer.BOTTOM: bottom, Layer.JACKET: outer, Layer.LINING: np.minimum(inner, outer - 0.0045)}


def _near(values: Array, place: float, width: float) -> Array:
    """1 at ``place`` falling smoothly to 0 at ``width`` away."""
    distance = np.clip(np.abs(values - place) / width, 0.0, 1.0)
    return (1 - distance * distance) ** 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Folds:
    """Wrinkle patterns on the body at rest.

    Attributes:
        drape: (V,) static waviness, about -1..1.
        patterns: (V, K) folds that appear as a joint bends, about -1..1.
        joints: the K names, see ``bends``.
        drape_m, fold_m: amplitudes in metres.
    """

    drape: Array
    patterns: Array
    joints: tuple[str, ...]
    drape_m: float
    fold_m: float

    def displacement(self, pose: Pose) -> Array:
        """(V,) displacement along the normal for a pose, metres."""
        amounts = bends(pose)
        amount = np.array([amounts[name] for name in self.joints])
        return self.drape_m * self.drape + self.fold_m * (self.patterns @ amount)


FOLD_JOINTS = ("elbow.L", "elbow.R", "knee.L", "knee.R", "hip.L", "hip.R", "armpit.L", "armpit.R", "waist", "belly")


def bends(pose: Pose) -> dict[str, float]:
    """How much each fold joint is bent, smoothly 0..1."""
    raw = {"waist": 2.2 * pose.twist, "belly": 2.0 * pose.lean + 4.0 * pose.sway**2}
    for name, arm, leg in (("L", pose.left_arm, pose.left_leg), ("R", pose.right_arm, pose.right_leg)):
        raw[f"elbow.{name}"] = 1.2 * (arm.elbow - 0.15)
        raw[f"armpit.{name}"] = 0.5 * arm.abduction + 0.4 * arm.flexion**2
        raw[f"knee.{name}"] = 1.1 * leg.knee
        raw[f"hip.{name}"] = 1.2 * leg.flexion
    return {name: float(np.tanh(value) ** 2) for name, value in raw.items()}


def draw_folds(fields: Fields, skeleton: Skeleton, rng: np.random.Generator) -> Folds:
    """Draw the wrinkles of an outfit on a body."""
    points = fields.points
    drape = np.zeros(len(points))
    for _ in range(6):  # folds run mostly down the body: short across, long along
        wave = rng.normal(size=3) * np.array([1.0, 0.35, 1.0])
        wave *= 2 * np.pi / rng.uniform(0.06, 0.14) / np.linalg.norm(wave)
        drape += np.sin(points @ wave + rng.uniform(0, 2 * np.pi)) / 2.5
    patterns = [_joint_folds(points, name, skeleton, rng) for name in FOLD_JOINTS]
    return Folds(
        drape=drape,
        patterns=np.stack(patterns, axis=1),
        joints=FOLD_JOINTS,
        drape_m=float(rng.uniform(0.0022, 0.0040)),
        fold_m=float(rng.uniform(0.007, 0.011)),
    )


_FOLD_PLACES = {
    "elbow": ("upperarm01", "lowerarm01", "wrist", 0.09, 0.032),
    "knee": ("upperleg01", "lowerleg01", "foot", 0.13, 0.045),
    "hip": ("spine03", "upperleg01", "lowerleg01", 0.14, 0.05),
    "armpit": ("spine02", "upperarm01", "lowerarm01", 0.13, 0.045),
}


def _joint_folds(points: Array, name: str, skeleton: Skeleton, rng: np.random.Generator) -> Array:
    """(V,) ridges across a limb around a joint, slanted and uneven."""
    kind, _, side = name.partition(".")
    if side:
        before, joint, after, reach, length = _FOLD_PLACES[kind]
        start = skeleton.joint(before if before.startswith("spine") else f"{before}.{side}")
        centre, end = skeleton.joint(f"{joint}.{side}"), skeleton.joint(f"{after}.{side}")
        axis = end - start
    else:
        centre, axis = skeleton.joint("spine03"), np.array([0.5 if kind == "waist" else 0.0, 1.0, 0.0])
        reach, length = 0.16, 0.055
    axis = axis / np.linalg.norm(axis)
    away = points - centre
    slant = rng.normal(size=3) * 0.45
    phase = away @ (axis + slant) * (2 * np.pi / length) + rng.uniform(0, 2 * np.pi)
    uneven = 0.7 + 0.3 * np.sin(away @ rng.normal(size=3) * 40 + rng.uniform(0, 6.28))
    local = np.exp(
        -((away @ axis / reach) ** 2) - (np.linalg.norm(away - (away @ axis)[:, None] * axis, axis=1) / 0.17) ** 2
    )
    return local * uneven * np.sin(phase + 0.8 * np.sin(0.5 * phase))
