"""Pools of labelled points around a scan (ANIM, Sec. 3.3 and Eq. 6), in the scan's frame and metres.

A label's sign is the scan's winding number, its magnitude the exact distance to the scan's outer faces and to
the patches that closed its holes: so labels keep the scan's own detail, which the watertight mesh may have lost.

A label can be invented in two ways, and both are recorded: its distance is to a patch, or its sign rests on patches.
The scan's own winding number tells the second: where the scan is all there is to see it is 0 or 1, and what it lacks of
that is the share of the view, as a solid angle, that holes fill. In the air under a skirt, whose hem was closed, the
nearest surface is scanned cloth, and yet only the patch makes that air "inside".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anim_real.geometry.distances import SurfaceDistance, sample_surface
from anim_real.geometry.grids import morton_order
from anim_real.meshes.connectivity import compact
from anim_real.meshes.regions import regions_at
from anim_real.meshes.surface import barycentric
from anim_real.meshes.watertight import WatertightResult
from anim_real.meshes.winding import INSIDE
from anim_real.samples import PointSamples, Region

Array = NDArray[np.float64]
UNIFORM_SHARE = 0.05
REGION_SHARE = 0.25
SURFACE_BAND, UNIFORM_BAND, REGION_BAND = 0, 1, 2
_BOX_SIGMAS = 3.0  # the box of uniform points is the mesh's, widened by so many sigma_lr
_BALANCE_EXCESS = 2  # candidates per kept surface point; 48,000 for 24,000 in the paper
_MAX_HOLE_VIEW = 0.1  # holes filling more of the view decide the sign; a cone of 37 degrees about its axis


@dataclass(frozen=True, kw_only=True, eq=False)
class SignedDistances:
    """Labels of P points.

    Attributes:
        sdf: (P,) signed distance in metres, negative inside.
        is_invented: (P,) the nearest surface closed a hole, or holes fill more than a tenth of the view.
    """

    sdf: Array
    is_invented: NDArray[np.bool_]


class ScanField:
    """A watertighted scan, prepared to answer inside/outside and signed distance."""

    def __init__(self, result: WatertightResult) -> None:
        self._scan = result.scan
        used, faces = compact(result.labels.faces, len(result.labels.vertices))
        self._surface = SurfaceDistance(result.labels.vertices[used], faces)
        self._is_patch = result.labels.is_patch

    def is_inside(self, points: Array) -> NDArray[np.bool_]:
        """(P,) whether points (P, 3) are inside."""
        return self._scan.winding.near_levels(points) > INSIDE

    def signed_distance(self, points: Array) -> SignedDistances:
        """Label points (P, 3)."""
        order = morton_order(points)
        nearby = points[order]
        winding = self._scan.winding.at(nearby, holes_below=_MAX_HOLE_VIEW, is_sorted=True)
        closest = self._surface.closest(nearby, is_sorted=True)
        sdf = np.empty(len(points))
        is_invented = np.empty(len(points), dtype=bool)
        sdf[order] = np.where(winding > INSIDE, -closest.distance, closest.distance)
        is_unsure = np.abs(winding - INSIDE) < INSIDE - _MAX_HOLE_VIEW
        is_invented[order] = self._is_patch[closest.face] | is_unsure
        return SignedDistances(sdf=sdf, is_invented=is_invented)


def sample_pool(
    result: WatertightResult,
    *,
    num_points: int,
    rng: np.random.Generator,
    sigma_lr_m: float = 0.05,
    sigma_hr_m: float = 0.0007,
    uniform_share: float = UNIFORM_SHARE,
    region_share: float = REGION_SHARE,
) -> PointSamples:
    """Draw a pool of labelled points, shuffled, so that any contiguous window is a fair draw.

    Args:
        result: a watertighted scan.
        num_points: size of the pool.
        rng: source of all randomness.
        sigma_lr_m: standard deviation per axis around the whole surface; of these points half are inside
            and half outside, as far as the candidates go.
        sigma_hr_m: the same around face and hands.
        uniform_share: share of points drawn uniformly in the box.
        region_share: share of points drawn at face and hands; none where the scan has no regions.
    """
    assert uniform_share >= 0
    assert region_share >= 0
    assert uniform_share + region_share < 1
    field, mesh = ScanField(result), result.mesh
    special = _special_faces(result)
    num_region = round(region_share * num_points) if len(special) else 0
    num_uniform = round(uniform_share * num_points)
    num_surface = num_points - num_region - num_uniform
    near, near_region = _balanced(result, field, num_surface, sigma_lr_m, rng)
    margin = _BOX_SIGMAS * sigma_lr_m
    box = rng.uniform(mesh.vertices.min(0) - margin, mesh.vertices.max(0) + margin, (num_uniform, 3))
    detail, detail_region = _around(result, special, num_region, sigma_hr_m, rng)
    points = np.concatenate([near, box, detail]).astype(np.float32)
    band = np.repeat(
        np.array([SURFACE_BAND, UNIFORM_BAND, REGION_BAND], np.uint8), [len(near), num_uniform, num_region]
    )
    region = np.concatenate([near_region, np.full(num_uniform, Region.OTHER, dtype=np.uint8), detail_region])
    label = field.signed_distance(points.astype(np.float64))
    order = rng.permutation(num_points)
    return PointSamples(
        points=points[order],
        sdf=label.sdf[order].astype(np.float32),
        region=region[order],
        invented=label.is_invented[order],
        band=band[order],
    )


def _special_faces(result: WatertightResult) -> NDArray[np.int64]:
    """Faces of the watertight mesh that lie wholly in the face or a hand."""
    if result.mesh.regions is None:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero((result.mesh.regions[result.mesh.faces] != Region.OTHER).all(1))


def _balanced(
    result: WatertightResult, field: ScanField, num_points: int, sigma_m: float, rng: np.random.Generator
) -> tuple[Array, NDArray[np.uint8]]:
    """Points around the whole surface and their regions, half inside and half outside as far as candidates go."""
    candidates, region = _around(result, None, _BALANCE_EXCESS * num_points, sigma_m, rng)
    inside = field.is_inside(candidates)
    inner, outer = np.flatnonzero(inside), np.flatnonzero(~inside)
    num_inner = min(len(inner), max(num_points // 2, num_points - len(outer)))
    rows = np.concatenate([inner[:num_inner], outer[: num_points - num_inner]])
    return candidates[rows], region[rows]


def _around(
    result: WatertightResult, rows: NDArray[np.int64] | None, num_points: int, sigma_m: float, rng: np.random.Generator
) -> tuple[Array, NDArray[np.uint8]]:
    """Surface points of some faces (all when None), displaced by a Gaussian; and their regions."""
    if num_points == 0:
        return np.zeros((0, 3)), np.zeros(0, dtype=np.uint8)
    mesh = result.mesh
    rows = np.arange(len(mesh.faces)) if rows is None else rows
    places, local = sample_surface(mesh.vertices, mesh.faces[rows], num_points, rng)
    face = rows[local]
    region = regions_at(mesh, face, barycentric(mesh.corners[face], places))
    if region is None:
        region = np.full(num_points, Region.OTHER, dtype=np.uint8)
    return places + rng.normal(0.0, sigma_m, (num_points, 3)), region
