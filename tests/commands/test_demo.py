"""The demo: its scoring against known errors, and the whole job in its quick form."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anim_real import cli
from anim_real.calibration import CameraModel, ClockMap, DepthBias, RigidModel, SensorCalibration
from anim_real.commands.demo.score import person_grid, score_calibration, score_clock, score_matches
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.manifest import FRAME_COLUMNS
from anim_real.rig import RigSpec, load_rig
from anim_real.studio.truth import CaptureTruth, SensorTruth

COLOR = Camera(width=1280, height=720, fx=610.0, fy=611.0, cx=640.0, cy=360.0)
DEPTH = Camera(width=640, height=576, fx=504.0, fy=504.0, cx=320.0, cy=290.0)
T_COLOR_SCAN = Rigid.from_rotvec("color", "scan", (np.pi, 0.0, 0.0), (0.0, 1.0, 2.3))  # upright, 2.3 m in front
T_COLOR_DEPTH = Rigid.from_rotvec("color", "depth", (0.01, 0.0, 0.0), (-0.032, -0.002, 0.004))
ZERO_CLOCK = ClockMap(
    src="kinect:k0",
    dst="scanner",
    origin_us=0,
    offset_us=5e6,
    drift_ppm=100.0,
    residual_us=0.0,
    num_observations=9,
    method="led",
)


@pytest.fixture(scope="module")
def rig() -> RigSpec:
    return load_rig("virtual")[0]


def _truth(*, bias_m: float = 0.0) -> SensorTruth:
    captures = tuple(
        CaptureTruth(
            capture_index=index,
            pulse=pulse,
            color_time_us=33_333 * pulse,
            depth_time_us=33_333 * pulse,
            scan_frame=100 + pulse,
            scan_dt_us=0.0,
        )
        for index, pulse in enumerate([0, 1, 2, 4, 5, 7])
    )
    return SensorTruth(
        sensor="k0",
        serial="1",
        T_color_scan=RigidModel.of(T_COLOR_SCAN),
        T_color_depth=RigidModel.of(T_COLOR_DEPTH),
        color=CameraModel.of(COLOR, "720P"),
        depth=CameraModel.of(DEPTH, "NFOV_UNBINNED"),
        depth_error_range_m=(0.5, 4.0),
        depth_error_m=(bias_m, bias_m),
        clock_to_scanner=ZERO_CLOCK,
        clock_to_generator=ZERO_CLOCK,
        latency_us=0.0,
        lag=0,
        led_px=None,
        captures=captures,
        dropped_pulses=(3, 6),
        incomplete=(),
    )


def _solved(*, shift_m: float = 0.0, bias: DepthBias = DepthBias()) -> SensorCalibration:  # noqa: B008 - frozen
    shift = Rigid.from_parts("color", "color", np.eye(3), (shift_m, 0.0, 0.0))
    return SensorCalibration(
        sensor="k0",
        serial="1",
        color=CameraModel.of(COLOR, "720P"),
        depth=CameraModel.of(DEPTH, "NFOV_UNBINNED"),
        T_color_depth=RigidModel.of(T_COLOR_DEPTH),
        T_color_scan=RigidModel.of(shift @ T_COLOR_SCAN),
        covariance=((0.0,) * 6,) * 6,
        depth_bias=bias,
        placements=(),
        predicted_person_mm=0.5,
    )


def test_the_grid_stands_on_the_floor_and_is_as_tall_as_a_person(rig: RigSpec) -> None:
    height = (person_grid(rig) - np.array(rig.volume.center)) @ rig.scanner.up_vector
    assert height.min() == pytest.approx(0.0)
    assert height.max() == pytest.approx(1.9)


def test_the_truth_scores_zero(rig: RigSpec) -> None:
    score = score_calibration(_solved(), _truth(), rig)
    assert max(score.pose_max_mm, score.depth_max_mm, score.color_max_px) < 1e-6


def test_a_shift_scores_its_own_length(rig: RigSpec) -> None:
    score = score_calibration(_solved(shift_m=0.002), _truth(), rig)
    assert score.pose_mean_mm == pytest.approx(2.0, abs=1e-6)
    assert score.depth_mean_mm == pytest.approx(2.0, abs=1e-6)
    assert score.color_mean_px == pytest.approx(0.002 * 610 / 2.3, rel=0.05)  # f · shift / distance


def test_an_uncorrected_bias_is_seen_in_the_depth_chain_alone(rig: RigSpec) -> None:
    score = score_calibration(_solved(), _truth(bias_m=0.004), rig)
    assert score.pose_max_mm < 1e-6
    assert score.depth_mean_mm == pytest.approx(4.0, abs=1e-6)  # along every ray
    table = ((0.4, 0.0, 0.0), (0.5, 0.004, 0.0), (4.0, 0.004, 0.0), (4.1, 0.0, 0.0))
    corrected = score_calibration(_solved(bias=DepthBias(curve=table)), _truth(bias_m=0.004), rig)
    assert corrected.depth_max_mm < 1e-6


def test_clock_errors_are_the_worst_over_the_take() -> None:
    wrong = ZERO_CLOCK.model_copy(update={"offset_us": 5e6 + 30.0, "drift_ppm": 101.0})
    score = score_clock(wrong, ZERO_CLOCK, np.array([0, 10_000_000]))
    assert score.offset_us == pytest.approx(40.0)
    assert score.drift_ppm == pytest.approx(1.0)


def _rows(pairs: list[tuple[int, int]], drops_us: list[float]) -> pd.DataFrame:
    rows = [{"kinect_index": k, "scan_index": s, "kinect_time_us": 0, "verdict": "pair"} for k, s in pairs]
    rows += [{"kinect_index": None, "kinect_time_us": round(t), "verdict": "excluded"} for t in drops_us]
    return pd.DataFrame(rows, columns=list(FRAME_COLUMNS)).astype(FRAME_COLUMNS)


def test_matches_and_drops_are_counted_against_the_truth() -> None:
    good = score_matches(_rows([(0, 100), (3, 104), (5, 107)], [3 * 33_333, 6 * 33_333]), _truth())
    assert (good.num_pairs, good.num_wrong) == (3, 0)
    assert (good.num_dropped, good.num_dropped_listed, good.num_invented) == (2, 2, 0)
    bad = score_matches(_rows([(0, 100), (3, 103)], [2 * 33_333]), _truth())
    assert bad.num_wrong == 1
    assert (bad.num_dropped_listed, bad.num_invented) == (0, 1)


@pytest.mark.slow
def test_the_whole_job_runs_and_scores_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANIM_REAL_SHARED", raising=False)
    monkeypatch.chdir(tmp_path)  # no ../shared/data here: the demo must do without
    arguments = ["demo", "-o", "job", "--quick", "--subjects", "2", "--frames", "8", "--json", "--quiet"]
    assert cli.main(arguments) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["calibration"]["pose_mean_mm"] <= 1.5  # the limit for the spine
    assert max(clock["offset_us"] for clock in record["clocks"].values()) <= 1000.0
    for match in record["matches"].values():
        assert match["num_wrong"] == 0
        assert match["num_pairs"] >= 4
        assert match["num_dropped_listed"] == match["num_dropped"]
    for scans in record["scans"].values():
        assert scans["num_closed"] == scans["num_scans"]
        assert scans["worst_fit_mm"] < scans["cell_mm"] / 2
    assert record["real"] is None
    page = Path("job/report.html").read_text()
    assert len(re.findall(r'src="data:image', page)) > 15
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert cli.main(["demo", "-o", "job"]) == 2  # nothing is overwritten
