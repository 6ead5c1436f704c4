"""What the spheres of a take tell people: errors in millimetres, refusals with their reasons, a remark on scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from anim_real.calibrate.observations import ScanSpheres
from anim_real.calibrate.solve.problem import Problem
from anim_real.calibrate.solve.residuals import Block
from anim_real.calibrate.solve.solver import Solution
from anim_real.calibrate.spheres.residuals import whitening_roots
from anim_real.calibration import SphereResidual

Array = NDArray[np.float64]
_MIN_FITS = 3
_RADIUS_SIGMA_M = 0.0001  # a scanner's own error of all radii together
_MAX_SIGMAS = 3.0


def sphere_errors_m(problem: Problem, block: Block) -> Array:
    """(S, 3) fitted minus predicted centres of a block of spheres, frame depth, metres."""
    pairs = problem.observations.only(block.placement).placements[0].spheres
    return np.einsum("sij,sj->si", whitening_roots(pairs, problem.sphere_floor_m), block.residual)


def sphere_record(problem: Problem, solution: Solution, index: int) -> tuple[SphereResidual, ...]:
    """All spheres that were looked for at a placement, by number."""
    pairs = problem.observations.only(index).placements[0].spheres
    entries = [SphereResidual(sphere=number, used=False, reason=reason) for number, reason in pairs.refused.items()]
    found = solution.block("sphere", index)
    if found is not None:
        block, kept = found
        lengths = np.linalg.norm(sphere_errors_m(problem, block), axis=1) * 1e3
        for row, fit in enumerate(pairs.fits):
            reason = "" if kept[row] else f"{block.size[row]:.0f} standard deviations from where the rest puts it"
            entries.append(
                SphereResidual(
                    sphere=int(pairs.ids[row]),
                    error_mm=float(lengths[row]),
                    scan_radius_error_mm=float(pairs.scan_radius_errors_m[row] * 1e3),
                    depth_radius_error_mm=fit.radius_error_m * 1e3,
                    used=bool(kept[row]),
                    reason=reason,
                )
            )
    return tuple(sorted(entries, key=lambda entry: entry.sphere))


def radius_remark(spheres: Mapping[int, ScanSpheres]) -> str | None:
    """Whether the spheres of all scans (by frame) are larger or smaller than drawn; None where they agree."""
    errors = np.concatenate([found.radius_errors_m for found in spheres.values()]) if spheres else np.zeros(0)
    if len(errors) < _MIN_FITS:
        return None
    mean = float(np.median(errors))
    sigma = float(np.hypot(np.std(errors) / np.sqrt(len(errors)), _RADIUS_SIGMA_M))
    if abs(mean) < _MAX_SIGMAS * sigma:
        return None
    radius = float(np.median(np.concatenate([found.radii_m for found in spheres.values()])))
    side = "larger" if mean > 0 else "smaller"
    return (
        f"the spheres' radii on the scans are {abs(mean) * 1e3:.2f} mm ({100 * abs(mean) / radius:.1f} %) {side} than "
        "drawn: measure them and correct radius_m in the target's TOML, or check the scanner's scale"
    )
