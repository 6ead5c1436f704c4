"""Targets by name, and as textured closed meshes (target frame, metres, y up)."""

from __future__ import annotations

import numpy as np

from anim_real.calibrate.boards.target import Target, make_target
from anim_real.calibrate.boards.target_parts import Part, cap_parts, cylinder, side_part, sphere_surface
from anim_real.calibrate.boards.target_texture import POST_GREY, SPHERE_GREY, Atlas
from anim_real.errors import ConfigError
from anim_real.mesh import Mesh
from anim_real.target import load_target_spec

_POST_OVERLAP_M = 0.01  # posts end inside the body and the sphere


def load_target(name: str) -> Target:
    """Find and read a target by name or path.

    Raises:
        NotFoundError: no such target.
        ConfigError: a wrong key, an unknown dictionary, or more markers than the dictionary holds.
    """
    spec, path = load_target_spec(name)
    return make_target(spec, where=path)


def target_mesh(target: Target, texture_px: int = 2048, *, edge_m: float = 0.02) -> Mesh:
    """Make the target as a mesh: body, posts and spheres, each a closed component, with one texture.

    Vertices repeat along the edges of the body, where the texture jumps; welded by position every component is closed.

    Args:
        target: the target.
        texture_px: the larger side of the texture; 2048 gives the default prism 0.75 mm per texel.
        edge_m: longest grid step of the body's triangles.

    Returns:
        Mesh with ``uv`` and ``texture``, target frame, metres.
    """
    if texture_px < 256 or edge_m <= 0:
        raise ConfigError(
            f"texture_px is {texture_px}, edge_m {edge_m}",
            where="target mesh",
            fix="Use at least 256 px and a positive edge",
        )
    atlas = Atlas.of(target, texture_px)
    parts = [side_part(target.spec, side, atlas, edge_m) for side in range(target.spec.body.num_sides)]
    parts += cap_parts(target.spec, atlas, edge_m)
    for sphere in target.spheres:
        center = np.array(sphere.center)
        vertices, faces = sphere_surface(center, sphere.radius_m)
        parts.append(Part.plain(vertices, faces, atlas.swatch(SPHERE_GREY)))
        if sphere.post_radius_m > 0:
            bottom, top = target.spec.body.height_m - _POST_OVERLAP_M, center[1] - sphere.radius_m + _POST_OVERLAP_M
            vertices, faces = cylinder(center[[0, 2]], bottom, top, sphere.post_radius_m)
            parts.append(Part.plain(vertices, faces, atlas.swatch(POST_GREY)))
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Mesh(
        vertices=np.concatenate([part.vertices for part in parts]),
        faces=np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
        uv=np.concatenate([part.uv for part in parts]),
        texture=atlas.image,
    )
