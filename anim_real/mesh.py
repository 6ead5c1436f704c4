"""Triangle meshes and their files. Metres in memory; the unit of a file is the caller's knowledge.

``WatertightMesh`` can only be constructed from a mesh that proves closed and oriented; only such
a mesh can answer inside/outside.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anim_real.errors import DataError
from anim_real.files import atomic_path, inside, require_file

Array = NDArray[np.float64]
SUFFIXES = (".obj", ".ply", ".glb", ".stl")
REGION_ATTRIBUTE = "_REGION"  # glTF asks application-specific attributes to start with an underscore


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """A triangle mesh, as found: it may be open, duplicated or inconsistent.

    Attributes:
        vertices: (V, 3) float64 positions.
        faces: (F, 3) int64 vertex indices, counter-clockwise seen from outside.
        colors: (V, 3) uint8 RGB per vertex, or None.
        regions: (V,) uint8 ``anim_real.samples.Region`` per vertex, or None.
        uv: (V, 2) float64 texture coordinates per vertex (v up), or None. A seam needs duplicate vertices.
        texture: (H, W, 3) uint8 RGB image that ``uv`` refers to, or None.
    """

    vertices: Array
    faces: NDArray[np.int64]
    colors: NDArray[np.uint8] | None = None
    regions: NDArray[np.uint8] | None = None
    uv: Array | None = None
    texture: NDArray[np.uint8] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        vertices = np.ascontiguousarray(self.vertices, dtype=np.float64)
        faces = np.ascontiguousarray(self.faces, dtype=np.int64)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
            raise DataError(
                f"needs (V, 3) vertices and (F, 3) faces, got {vertices.shape} and {faces.shape}", where="mesh"
            )
        if len(vertices) == 0 or len(faces) == 0:
            raise DataError(f"is empty ({len(vertices)} vertices, {len(faces)} faces)", where="mesh")
        if not np.isfinite(vertices).all():
            bad = int(np.flatnonzero(~np.isfinite(vertices).all(1))[0])
            raise DataError(f"vertex {bad} is not finite", where="mesh")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise DataError(f"face index {int(faces.max())} is outside 0..{len(vertices) - 1}", where="mesh")
        for name in ("colors", "regions", "uv"):
            values = getattr(self, name)
            if values is not None and len(values) != len(vertices):
                raise DataError(f"{name} has {len(values)} rows for {len(vertices)} vertices", where="mesh")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)

    @property
    def corners(self) -> Array:
        """(F, 3, 3) vertex positions of every face."""
        return self.vertices[self.faces]

    @property
    def volume(self) -> float:
        """Signed volume by the divergence theorem; meaningful for closed meshes."""
        from anim_real.geometry.triangles import enclosed_volume

        return float(enclosed_volume(self.vertices, self.faces, self.vertices.mean(0)))

    @property
    def face_areas(self) -> Array:
        """(F,) area of every face."""
        from anim_real.geometry.triangles import area_vectors

        return area_vectors(self.vertices, self.faces)[1]

    def moved(self, vertices: Array) -> Mesh:
        """Return the same mesh with other vertex positions (V, 3)."""
        return replace(self, vertices=vertices)

    def scaled(self, factor: float) -> Mesh:
        """Return the mesh with all positions multiplied, as from millimetres to metres."""
        return replace(self, vertices=self.vertices * factor)

    def vertex_normals(self) -> Array:
        """(V, 3) area-weighted unit normals; zero for vertices without a face."""
        a, b, c = np.moveaxis(self.corners, 1, 0)
        weighted = np.cross(b - a, c - a)
        normals = np.stack(
            [np.bincount(self.faces.ravel(), np.repeat(weighted[:, k], 3), len(self.vertices)) for k in range(3)], 1
        )
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)


@dataclass(frozen=True, kw_only=True, eq=False)
class WatertightMesh(Mesh):
    """A closed, consistently oriented, edge-manifold mesh of positive volume: its constructor proves it.

    Raises:
        DataError: an edge is open, shared by more than two faces or oriented inconsistently, a face
            is degenerate (repeats a vertex), or the volume is not positive.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        problem = closedness_problem(self)
        if problem is not None:
            raise DataError(
                f"is not watertight: {problem}", where="mesh", fix="Run it through build-shards' watertighting"
            )


def closedness_problem(mesh: Mesh) -> str | None:
    """Say why a mesh is not closed, oriented and edge-manifold with positive volume; None if it is.

    A directed edge may appear once, and its reverse exactly once: that alone excludes open,
    non-manifold and inconsistently oriented edges.
    """
    from anim_real.geometry.edges import count_faulty_edges

    faces = mesh.faces
    if (faces == np.roll(faces, 1, axis=1)).any():
        return "a face repeats a vertex"
    num_repeated, num_open = count_faulty_edges(faces, len(mesh.vertices))
    if num_repeated:
        return f"{num_repeated} edges are shared by faces of the same orientation (flipped or non-manifold)"
    if num_open:
        return f"{num_open} edges are open"
    if mesh.volume <= 0:
        return f"the volume is {mesh.volume:.3g} (inside out, or flat)"
    return None


def load_mesh(path: Path) -> Mesh:
    """Read OBJ (+MTL, texture), PLY, GLB or STL, in the file's own unit; nothing is merged or repaired.

    Polygons are triangulated. Textures are only read from the mesh's own folder.

    Raises:
        NotFoundError: no such file.
        DataError: not a readable mesh, empty, NaN, or a suffix that is not supported.
    """
    import trimesh

    require_file(path, "mesh")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"mesh format {path.suffix!r} is not supported", where=path, fix=f"Use one of {', '.join(SUFFIXES)}"
        )
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=RuntimeWarning, module="trimesh")  # of materials without texture
            scene = trimesh.load_scene(
                stream,
                file_type=path.suffix[1:].lower(),
                resolver=_FolderResolver(path.parent),
                process=False,
                maintain_order=True,
            )
            loaded = scene.to_mesh() if scene.geometry else None
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"cannot be read as {path.suffix[1:].upper()} ({type(error).__name__}: {error})", where=path
        ) from error
    if loaded is None or len(loaded.faces) == 0:
        raise DataError("holds no faces", where=path, fix="A scan must be a triangle mesh, not a point cloud")
    try:
        return _from_trimesh(loaded)
    except DataError as error:
        raise DataError(error.what, where=path, fix=error.fix) from error


def save_mesh(path: Path, mesh: Mesh) -> None:
    """Write PLY (binary), GLB or OBJ by suffix, atomically.

    PLY keeps colours; GLB keeps colours or the texture, and regions (attribute ``_REGION``); OBJ keeps
    the texture (``<stem>.mtl`` and ``<stem>.png`` beside it).
    """
    suffix = path.suffix.lower()
    if suffix == ".obj":
        _save_obj(path, mesh)
        return
    if suffix not in (".ply", ".glb"):
        raise DataError(f"cannot write mesh format {path.suffix!r}", where=path, fix="Use .ply, .glb or .obj")
    exported = _to_trimesh(mesh, textured=suffix == ".glb").export(file_type=suffix[1:])
    assert isinstance(exported, bytes)
    with atomic_path(path) as partial:
        partial.write_bytes(exported)


class _FolderResolver(Mapping[str, bytes]):
    """Gives trimesh's parsers files of one folder and no others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> bytes:
        return require_file(inside(self._folder, name.strip()), "file that the mesh refers to").read_bytes()

    def get(self, key: str, default: object = None) -> bytes:
        return self[key]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.name for path in self._folder.iterdir() if path.is_file()))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def namespaced(self, namespace: str) -> _FolderResolver:
        return _FolderResolver(inside(self._folder, namespace))


def _from_trimesh(loaded: Any) -> Mesh:
    visual = getattr(loaded, "visual", None)
    num_vertices = len(loaded.vertices)
    uv = texture = colors = None
    if visual is not None and visual.kind == "texture" and visual.uv is not None and len(visual.uv) == num_vertices:
        uv = np.asarray(visual.uv, dtype=np.float64)[:, :2]
        image = getattr(visual.material, "image", None) or getattr(visual.material, "baseColorTexture", None)
        texture = None if image is None else np.asarray(image.convert("RGB"), dtype=np.uint8)
    elif visual is not None and visual.kind == "vertex":
        colors = np.asarray(visual.vertex_colors, dtype=np.uint8)[:, :3]
    regions = loaded.vertex_attributes.get(REGION_ATTRIBUTE)
    if regions is not None:
        regions = np.asarray(regions).ravel().astype(np.uint8)
    return Mesh(
        vertices=np.asarray(loaded.vertices),
        faces=np.asarray(loaded.faces),
        colors=colors,
        regions=regions if regions is not None and len(regions) == num_vertices else None,
        uv=uv if texture is not None else None,
        texture=texture,
    )


def _to_trimesh(mesh: Mesh, *, textured: bool) -> Any:
    import trimesh
    from PIL import Image

    exported = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    if textured and mesh.texture is not None and mesh.uv is not None:
        material = trimesh.visual.material.PBRMaterial(
            baseColorTexture=Image.fromarray(mesh.texture), metallicFactor=0.0, roughnessFactor=1.0
        )
        exported.visual = trimesh.visual.TextureVisuals(uv=mesh.uv, material=material)
    elif mesh.colors is not None:
        exported.visual = trimesh.visual.ColorVisuals(mesh=exported, vertex_colors=mesh.colors)
    if textured and mesh.regions is not None:
        exported.vertex_attributes[REGION_ATTRIBUTE] = mesh.regions.astype(np.float32)[:, None]
    return exported


def _save_obj(path: Path, mesh: Mesh) -> None:
    from PIL import Image

    has_texture = mesh.texture is not None and mesh.uv is not None
    lines = [f"mtllib {path.stem}.mtl", "usemtl scan"] if has_texture else []
    lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.vertices]
    if has_texture:
        assert mesh.uv is not None
        assert mesh.texture is not None
        lines += [f"vt {u:.7g} {v:.7g}" for u, v in mesh.uv]
        lines += [f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in mesh.faces + 1]
        with atomic_path(path.with_suffix(".png")) as partial:
            Image.fromarray(mesh.texture).save(partial, format="PNG")
        with atomic_path(path.with_suffix(".mtl")) as partial:
            partial.write_text(f"newmtl scan\nKd 1 1 1\nmap_Kd {path.stem}.png\n")
    else:
        lines += [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
    with atomic_path(path) as partial:
        partial.write_text("\n".join(lines) + "\n")
