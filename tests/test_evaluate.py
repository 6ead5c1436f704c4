"""Metrics on shapes whose scores are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anim_real.errors import ConfigError
from anim_real.evaluate import PRESETS as FULL
from anim_real.evaluate import Scores, bootstrap, metric_preset, normal_error, score_mesh, summary, volume_iou
from anim_real.mesh import Mesh, WatertightMesh

RNG_SEED = 11
PRESETS = {name: replace(preset, size=160) for name, preset in FULL.items()}  # small maps: the same means, less time


def sphere(
    radius: float = 0.5, center: tuple[float, float, float] = (0.0, 0.0, 0.0), subdivisions: int = 4
) -> WatertightMesh:
    import trimesh

    made = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return WatertightMesh(vertices=np.asarray(made.vertices) + center, faces=np.asarray(made.faces))


def rng() -> np.random.Generator:
    return np.random.default_rng(RNG_SEED)


def test_the_truth_itself_is_perfect() -> None:
    scores = score_mesh(sphere(), sphere(), PRESETS["pifu"], rng())
    assert scores.cd_cm < 1e-3
    assert scores.p2s_cm < 1e-3
    assert scores.normal == 0
    assert (scores.iou, scores.f_score) == (1.0, 1.0)
    assert scores.normal_consistency == pytest.approx(1.0, abs=1e-3)


def test_concentric_spheres_have_their_distance_and_volume_ratio() -> None:
    scores = score_mesh(sphere(0.52), sphere(0.50), PRESETS["pifu"], rng())
    assert scores.cd_cm == pytest.approx(2.0, abs=0.02)  # cm; facets of 1,280 faces
    assert scores.p2s_cm == pytest.approx(2.0, abs=0.02)
    assert scores.f_score == 0.0
    assert scores.iou == pytest.approx((0.50 / 0.52) ** 3, abs=0.02)  # 20,000 random points
    assert scores.normal_consistency > 0.999


def test_p2s_direction_is_the_presets() -> None:
    half = sphere()
    both = Mesh(
        vertices=np.concatenate([half.vertices, half.vertices + np.array([1.5, 0.0, 0.0])]),
        faces=np.concatenate([half.faces, half.faces + len(half.vertices)]),
    )
    from_prediction = score_mesh(both, half, PRESETS["pifu"], rng())
    from_truth = score_mesh(both, half, PRESETS["icon"], rng())
    assert from_prediction.p2s_cm > 30  # half of the samples are on the sphere that should not be there
    assert from_truth.p2s_cm < 0.01
    assert from_prediction.cd_cm == pytest.approx(from_prediction.p2s_cm / 2, rel=0.01)


def test_normal_error_of_a_missing_prediction_is_the_backgrounds() -> None:
    truth, elsewhere = sphere(), sphere(0.01, (5.0, 0.0, 0.0))
    share = np.pi / 4 / 1.05**2  # of the image that the sphere covers
    for name, background in (("pifu", 1.0), ("icon", 0.0)):
        found = normal_error(elsewhere, truth, PRESETS[name])
        # mean over the disc of |(n + 1) / 2 - background|^2: n has mean square 1 and, along the view, mean 2/3
        sign = 1.0 if background == 0.0 else -1.0
        expected = 4 * share * (1.0 + 3.0 + sign * 2.0 * 2.0 / 3.0) / 4.0
        assert found == pytest.approx(expected, rel=0.02)


def test_signed_normals_cost_four_times_the_unit_ones_where_both_see_the_surface() -> None:
    truth = sphere()
    bumpy = truth.moved(truth.vertices * (1 + 0.01 * np.sin(20 * truth.vertices[:, :1])))
    ratio = normal_error(bumpy, truth, PRESETS["anim"]) / normal_error(bumpy, truth, PRESETS["pifu"])
    assert ratio == pytest.approx(4.0, rel=0.1)  # the outline differs by the background


def test_iou_of_disjoint_bodies_is_zero() -> None:
    assert volume_iou(sphere(0.3), sphere(0.3, (2.0, 0.0, 0.0)), rng()) == 0.0


def test_the_same_seed_gives_the_same_scores() -> None:
    first, second = (score_mesh(sphere(0.51), sphere(), PRESETS["icon"], rng()) for _ in range(2))
    assert first == second


def test_bootstrap_covers_the_mean_and_shrinks_with_more_frames() -> None:
    values = np.random.default_rng(0).normal(2.0, 1.0, 400)
    few, many = bootstrap(values[:20], rng()), bootstrap(values, rng())
    assert many.low < 2.0 < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 / 20, rel=0.2)  # 1.96 sigma / sqrt(400), both sides
    assert few.high - few.low > many.high - many.low
    with pytest.raises(ConfigError):
        bootstrap([], rng())


def test_summary_names_every_metric_and_unknown_presets_are_refused() -> None:
    score = score_mesh(sphere(0.51), sphere(), PRESETS["icon"], rng())
    table = summary([score, score], rng())
    assert set(table) == set(Scores.__dataclass_fields__)
    assert table["cd_cm"]["low"] == pytest.approx(score.cd_cm)
    with pytest.raises(ConfigError, match="pifu"):
        metric_preset("best")
