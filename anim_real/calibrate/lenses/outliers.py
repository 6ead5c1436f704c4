"""Views and corners that do not fit the camera which the others make: left out, and said so. Pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anim_real.calibrate.lenses.solve import SolvedBoards, rms_length, robust_scale
from anim_real.calibrate.lenses.views import BoardView

MIN_VIEWS = 6
_MAX_REMOVED_SHARE = 0.25
_VIEW_OUTLIER = 2.5  # times the median of the views' residuals
_CORNER_OUTLIER = 5.0  # times the residuals' robust standard deviation


def without_outliers(
    views: list[BoardView], solved: SolvedBoards, solve: Callable[[list[BoardView]], SolvedBoards]
) -> tuple[list[BoardView], SolvedBoards, list[tuple[str, str]]]:
    """Leave out the worst view and solve again, while it stands out and a quarter of the views is not used up."""
    dropped: list[tuple[str, str]] = []
    limit = int(_MAX_REMOVED_SHARE * len(views))
    while len(dropped) < limit and len(views) > MIN_VIEWS:
        rms = np.array([rms_length(residuals) for residuals in solved.residuals])
        worst = int(rms.argmax())
        if rms[worst] <= _VIEW_OUTLIER * np.median(rms):
            break
        dropped.append((views[worst].name, f"residual {rms[worst]:.2f} px, median {np.median(rms):.2f} px"))
        views = [view for k, view in enumerate(views) if k != worst]
        solved = solve(views)
    return views, solved, dropped


def without_wrong_corners(
    views: list[BoardView], solved: SolvedBoards, solve: Callable[[list[BoardView]], SolvedBoards]
) -> tuple[list[BoardView], SolvedBoards, int]:
    """Leave out single corners far from where the camera puts them, and solve once more."""
    limit = _CORNER_OUTLIER * robust_scale(solved.residuals) * np.sqrt(2)
    kept = [np.linalg.norm(residuals, axis=1) <= limit for residuals in solved.residuals]
    num = sum(int((~keep).sum()) for keep in kept)
    if num == 0:
        return views, solved, 0
    views = [
        BoardView(name=view.name, ids=view.ids[keep], points=view.points[keep], pixels=view.pixels[keep])
        for view, keep in zip(views, kept, strict=True)
        if keep.sum() >= 4
    ]
    return views, solve(views), num
