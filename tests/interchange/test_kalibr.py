"""Kalibr's camera chain: what its own definition projects, its direction, its lens, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from anim_real.errors import DataError, NotFoundError
from anim_real.geometry.cameras import Camera
from anim_real.geometry.frames import Rigid
from anim_real.interchange.kalibr import read_kalibr, write_kalibr
from anim_real.interchange.posed import PosedCamera
from interchange.rigs import COLOR, DEPTH, POINTS, RADTAN, RIG, pixels, with_lens

CHAIN = """\
cam0:
  T_cam_imu:
  - [0.0, 1.0, 0.0, 0.07]
  - [-1.0, 0.0, 0.0, -0.02]
  - [0.0, 0.0, 1.0, 0.004]
  - [0.0, 0.0, 0.0, 1.0]
  cam_overlaps: &id001 [1]
  camera_model: pinhole
  distortion_coeffs: [-0.28, 0.07, 2e-4, 1.7e-05]
  distortion_model: radtan
  intrinsics: [460.5, 459.25, 367.5, 248.0]
  resolution: [752, 480]
  rostopic: /cam0/image_raw
  timeshift_cam_imu: -8.1e-05
cam1:
  T_cn_cnm1:
  - [1.0, 0.0, 0.0, -0.11]
  - [0.0, 1.0, 0.0, 0.0]
  - [0.0, 0.0, 1.0, 0.001]
  - [0.0, 0.0, 0.0, 1.0]
  cam_overlaps: *id001
  camera_model: pinhole
  distortion_coeffs: []
  distortion_model: none
  intrinsics: [457.5, 456.0, 379.0, 255.25]
  resolution: [752, 480]
  rostopic: /cam1/image_raw
"""


def project_by_kalibr(chain: dict[str, Any], number: int, points: np.ndarray) -> np.ndarray:
    """Kalibr's wiki alone: the product of the chain's steps, radtan as its formula stands, then intrinsics."""
    for step in range(number + 1):
        matrix = np.array(chain[f"cam{step}"]["T_cn_cnm1" if step else "T_cn_reference"])
        points = np.array([matrix[:3, :3] @ point + matrix[:3, 3] for point in points])
    entry = chain[f"cam{number}"]
    fu, fv, pu, pv = entry["intrinsics"]
    k1, k2, r1, r2 = entry["distortion_coeffs"]
    found = []
    for x, y in points[:, :2] / points[:, 2:]:
        square = x**2 + y**2
        radial = 1 + k1 * square + k2 * square**2
        u = x * radial + 2 * r1 * x * y + r2 * (square + 2 * x**2)
        v = y * radial + 2 * r2 * x * y + r1 * (square + 2 * y**2)
        found.append([fu * u + pu, fv * v + pv])
    return np.array(found)


def three_cameras() -> tuple[PosedCamera, ...]:
    third = PosedCamera(
        name="k1-color", camera=COLOR.camera,
        T_camera_reference=Rigid.from_rotvec("k1-color", "scan", [2.5, 0.4, 0.3], [-0.2, 0.9, 2.5]),
    )  # fmt: skip
    return tuple(with_lens(posed, RADTAN) for posed in (COLOR, DEPTH, third))


def test_kalibrs_own_formula_sees_the_same_pixels(tmp_path: Path) -> None:
    cameras = three_cameras()
    fits = write_kalibr(tmp_path / "camchain.yaml", cameras)
    chain = yaml.safe_load((tmp_path / "camchain.yaml").read_text())
    assert list(chain) == ["cam0", "cam1", "cam2"]
    for number, posed in enumerate(cameras):
        assert fits[posed.name].max_px == 0.0
        np.testing.assert_allclose(project_by_kalibr(chain, number, POINTS), pixels(posed), atol=1e-9)


def test_types_are_those_that_kalibrs_reader_asks_for(tmp_path: Path) -> None:
    write_kalibr(tmp_path / "camchain.yaml", RIG)
    for entry in yaml.safe_load((tmp_path / "camchain.yaml").read_text()).values():
        assert [type(value) for value in entry["resolution"]] == [int, int]
        assert [type(value) for value in entry["intrinsics"]] == [float] * 4
        assert (len(entry["distortion_coeffs"]), entry["distortion_model"]) == (4, "radtan")
        assert isinstance(entry["rostopic"], str)


def test_a_rational_lens_is_seen_within_the_residual_that_the_file_states(tmp_path: Path) -> None:
    write_kalibr(tmp_path / "camchain.yaml", RIG)
    chain = yaml.safe_load((tmp_path / "camchain.yaml").read_text())
    stated = chain["cam1"]["lens_residual_px"]
    error = np.linalg.norm(project_by_kalibr(chain, 1, POINTS) - pixels(DEPTH), axis=-1)
    assert 0.1 < stated["rms"] < 1.0
    assert 0.01 < error.max() < stated["max"]


def test_a_chain_is_read_back(tmp_path: Path) -> None:
    cameras = three_cameras()
    write_kalibr(tmp_path / "camchain.yaml", cameras)
    for found, expected in zip(read_kalibr(tmp_path / "camchain.yaml"), cameras, strict=True):
        assert (found.name, found.T_camera_reference.src) == (expected.name, "scan")
        assert (found.camera.width, found.camera.height) == (expected.camera.width, expected.camera.height)
        np.testing.assert_array_equal(found.camera.matrix, expected.camera.matrix)
        np.testing.assert_array_equal(found.camera.distortion, expected.camera.distortion)
        np.testing.assert_allclose(
            found.T_camera_reference.matrix, expected.T_camera_reference.matrix, rtol=0, atol=1e-14
        )


def test_a_chain_of_kalibrs_own_is_read(tmp_path: Path) -> None:
    """No names, no reference: cam0 is the reference. A point of cam0 arrives in cam1 by T_cn_cnm1."""
    (tmp_path / "camchain-imucam.yaml").write_text(CHAIN)
    first, second = read_kalibr(tmp_path / "camchain-imucam.yaml")
    assert (first.name, second.name, second.T_camera_reference.src) == ("cam0", "cam1", "cam0")
    np.testing.assert_array_equal(first.T_camera_reference.matrix, np.eye(4))
    np.testing.assert_allclose(second.T_camera_reference.apply([0.5, 0.2, 2.0]), [0.39, 0.2, 2.001])
    assert first.camera.distortion.tolist() == [-0.28, 0.07, 2e-4, 1.7e-5, 0, 0, 0, 0]
    assert (first.camera.width, first.camera.height, first.camera.cy) == (752, 480, 248.0)
    assert not second.camera.distortion.any()


def test_ten_cameras_keep_their_order(tmp_path: Path) -> None:
    """cam10 comes after cam9, not after cam1."""
    cameras = tuple(
        PosedCamera(
            name=f"c{number}",
            camera=Camera(width=100, height=80, fx=90.0 + number, fy=90.0, cx=49.0, cy=39.0),
            T_camera_reference=Rigid.from_rotvec(f"c{number}", "scan", [0, 0, 0.01 * number], [number, 0, 0]),
        )
        for number in range(11)
    )
    write_kalibr(tmp_path / "camchain.yaml", cameras)
    document = yaml.safe_load((tmp_path / "camchain.yaml").read_text())
    (tmp_path / "sorted.yaml").write_text(yaml.safe_dump(document, sort_keys=True))
    found = read_kalibr(tmp_path / "sorted.yaml")
    assert [posed.name for posed in found] == [f"c{number}" for number in range(11)]
    assert found[10].T_camera_reference.translation[0] == pytest.approx(10.0)


def test_a_lens_without_a_near_equal_is_refused(tmp_path: Path) -> None:
    wide = replace(DEPTH.camera, width=1024, height=1024, cx=511.0, cy=512.0, max_radius=1.74)
    with pytest.raises(DataError, match=r"k0-depth.*misses by \d\.\d\d px rms.*undistort"):
        write_kalibr(tmp_path / "camchain.yaml", (replace(DEPTH, camera=wide),))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (CHAIN, "", "not a table"),
        (CHAIN, "a: 1\nb: [1, }", "plain YAML in line 2"),
        (CHAIN, "cam0: !!python/object/apply:os.getcwd []", "plain YAML"),
        (CHAIN, "cam0: 2020-13-45", "plain YAML"),
        (CHAIN, "cam0: 3", "not a table"),
        (CHAIN, "left: {}", "no camera chain"),
        ("cam1:", "cam2:", "no camera chain"),
        ("camera_model: pinhole", "camera_model: omni", "'omni' with lens 'radtan' is not supported.*pinhole-radtan"),
        ("distortion_model: radtan", "distortion_model: equidistant", "equidistant"),
        ("camera_model: pinhole", "camera_model: [a, b]", "'camera_model' must be a text"),
        ("distortion_model: radtan", "distortion_model: [radtan]", "must be a text"),
        ("[-0.28, 0.07, 2e-4, 1.7e-05]", "[-0.28, 0.07]", "4 coefficients"),
        ("[-0.28, 0.07, 2e-4, 1.7e-05]", "[-0.28, 0.07, x, 0]", "must hold numbers"),
        ("[460.5, 459.25, 367.5, 248.0]", "[460.5, .nan, 367.5, 248.0]", "not finite"),
        ("[460.5, 459.25, 367.5, 248.0]", "[-460.5, 459.25, 367.5, 248.0]", "impossible"),
        ("[460.5, 459.25, 367.5, 248.0]", "[460.5, 459.25]", "4 numbers"),
        ("resolution: [752, 480]", "resolution: [752.5, 480]", "whole number"),
        ("resolution: [752, 480]", "resolution: [.inf, 480]", "not finite"),
        ("resolution: [752, 480]", "resolution: [true, 480]", "must hold numbers"),
        ("  resolution: [752, 480]\n", "", "no 'resolution'"),
        ("T_cn_cnm1", "T_c1_c0", "no 'T_cn_cnm1'"),
        ("- [1.0, 0.0, 0.0, -0.11]", "- [-1.0, 0.0, 0.0, -0.11]", "T_cam1_cam0.*not a rotation.*mirroring"),
        ("- [1.0, 0.0, 0.0, -0.11]", "- [1000.0, 0.0, 0.0, -110]", "not a rotation.*mm/m"),
        ("  - [1.0, 0.0, 0.0, -0.11]\n", "", "4 x 4"),
        ("camera_model: pinhole", "camera_model: pinhole\n  name: a b", "cannot name a camera"),
        ("camera_model: pinhole", "camera_model: pinhole\n  reference: '../x'", "cannot name a reference"),
    ],
)
def test_broken_chains_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in CHAIN
    (tmp_path / "camchain.yaml").write_text(CHAIN.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_kalibr(tmp_path / "camchain.yaml")


def test_aliases_of_aliases_are_refused_at_once(tmp_path: Path) -> None:
    """Nine levels of nine, 400 million items for whoever follows them; and two levels of 3000."""
    deep = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    deep += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 9)]
    wide = [f"a0: &a0 [{', '.join(['1'] * 3000)}]", f"a8: &a8 [{', '.join(['*a0'] * 3000)}]"]
    for lines in (deep, wide):
        bomb = "\n".join([*lines, CHAIN.replace("[460.5, 459.25, 367.5, 248.0]", "*a8")])
        (tmp_path / "camchain.yaml").write_text(bomb)
        with pytest.raises(DataError, match="'intrinsics' must hold numbers"):
            read_kalibr(tmp_path / "camchain.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such"):
        read_kalibr(tmp_path / "nothing.yaml")
