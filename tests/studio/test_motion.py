"""Actions are smooth, human and stay in place: checked on joints of a plain stick skeleton."""

from __future__ import annotations

import numpy as np
import pytest

from anim_real.errors import ConfigError
from anim_real.studio.motion import ACTIONS, Style, pose_at, rotations
from anim_real.studio.skeleton import Skeleton, axis_rotation, rotation_between, skin


def stick_figure() -> Skeleton:
    """A skeleton with the bones that motion addresses, arms at 45 degrees, elbows slightly bent forward."""
    bones: list[tuple[str, str | None, tuple[float, float, float]]] = [("root", None, (0, 1.0, 0))]
    for lower, upper, height in (("root", "spine04", 1.05), ("spine04", "spine03", 1.15), ("spine03", "spine02", 1.25)):
        bones.append((upper, lower, (0, height, 0)))
    bones += [("spine01", "spine02", (0, 1.4, 0)), ("neck01", "spine01", (0, 1.55, 0))]
    bones += [("neck02", "neck01", (0, 1.58, 0)), ("head", "neck02", (0, 1.65, 0))]
    for name, side in (("L", 1), ("R", -1)):
        chain = (
            ("clavicle", "spine01", (0.03, 1.5, 0)),
            ("upperarm01", "clavicle", (0.18, 1.48, 0)),
            ("lowerarm01", "upperarm01", (0.38, 1.28, 0)),
            ("wrist", "lowerarm01", (0.54, 1.12, 0.06)),
            ("finger2-1", "wrist", (0.58, 1.08, 0.10)),
            ("finger5-1", "wrist", (0.58, 1.06, 0.04)),
            ("upperleg01", "root", (0.1, 0.95, 0)),
            ("lowerleg01", "upperleg01", (0.14, 0.5, 0.01)),
            ("foot", "lowerleg01", (0.17, 0.08, 0)),
        )
        for bone, parent, (x, y, z) in chain:
            owner = parent if parent in ("root", "spine01") else f"{parent}.{name}"
            bones.append((f"{bone}.{name}", owner, (side * x, y, z)))
    names = [bone for bone, _, _ in bones]
    return Skeleton(
        bones=tuple(names),
        parents=np.array([-1 if parent is None else names.index(parent) for _, parent, _ in bones]),
        joints=np.array([place for _, _, place in bones], dtype=np.float64),
    )


SKELETON = stick_figure()


def joints_at(action: str, time_s: float, style: Style | None = None) -> np.ndarray:
    pose = pose_at(action, time_s, style or Style())
    transforms = SKELETON.transforms(rotations(pose, SKELETON))
    points = np.einsum("bij,bj->bi", transforms[:, :, :3], SKELETON.joints) + transforms[:, :, 3]
    return points + np.array([pose.place[0], 0.0, pose.place[1]])


def joint(points: np.ndarray, name: str) -> np.ndarray:
    return points[SKELETON.bones.index(name)]


TIMES = np.arange(0.0, 9.0, 0.13)


@pytest.mark.parametrize("action", ACTIONS)
def test_bones_keep_their_length(action: str) -> None:
    for time_s in TIMES[::7]:
        points = joints_at(action, time_s)
        for index, parent in enumerate(SKELETON.parents):
            if parent >= 0:
                expected = np.linalg.norm(SKELETON.joints[index] - SKELETON.joints[parent])
                assert np.linalg.norm(points[index] - points[parent]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("action", ACTIONS)
def test_speed_is_human_and_continuous(action: str) -> None:
    # A jogger's foot moves at up to 6 m/s against the body. A jump in speed would not shrink with the step.
    style = Style(tempo=1.1, reach=1.1)
    jumps = []
    for step in (1e-3, 2.5e-4):
        worst = 0.0
        for time_s in TIMES:
            before, at, after = (joints_at(action, time_s + k * step, style) for k in (-1, 0, 1))
            first, second = (at - before) / step, (after - at) / step
            assert np.linalg.norm(first, axis=1).max() < 7.0
            worst = max(worst, np.linalg.norm(second - first, axis=1).max())
        jumps.append(worst)
    assert jumps[1] < 0.3 * jumps[0]


@pytest.mark.parametrize("action", ACTIONS)
def test_stays_near_the_origin(action: str) -> None:
    pelvis = np.array([joint(joints_at(action, time_s), "root")[[0, 2]] for time_s in TIMES])
    assert np.linalg.norm(pelvis, axis=1).max() < 0.6


@pytest.mark.parametrize("action", ["stand", "walk", "jog", "jacket"])
def test_knees_bend_forwards_and_arms_hang(action: str) -> None:
    for time_s in TIMES:
        points = joints_at(action, time_s)
        facing = axis_rotation(np.array([0, 1.0, 0]), pose_at(action, time_s, Style()).heading) @ np.array([0, 0, 1.0])
        for name in ("L", "R"):
            hip, knee, ankle = (joint(points, f"{bone}.{name}") for bone in ("upperleg01", "lowerleg01", "foot"))
            line = ankle - hip
            off = knee - hip - line * ((knee - hip) @ line) / (line @ line)
            assert off @ facing > -0.02  # straight legs of the stick figure are 1 cm off their line
            shoulder, elbow = joint(points, f"upperarm01.{name}"), joint(points, f"lowerarm01.{name}")
            assert elbow[1] < shoulder[1]


def test_actions_do_what_they_say() -> None:
    hands = np.array([joint(joints_at("stretch", time_s), "wrist.L")[1] for time_s in TIMES])
    head = joint(joints_at("stand", 0.0), "head")[1]
    assert hands.max() > head + 0.2
    assert hands.min() < head - 0.4
    headings = [pose_at("turn", time_s, Style()).heading for time_s in (0.0, 7.0)]
    assert headings[1] - headings[0] == pytest.approx(2 * np.pi, abs=0.4)
    feet = np.array(
        [joint(joints_at("walk", time_s), "foot.L") - joint(joints_at("walk", time_s), "foot.R") for time_s in TIMES]
    )
    assert feet[:, 2].max() > 0.35
    assert feet[:, 2].min() < -0.35
    still = np.array([joints_at("stand", time_s) for time_s in TIMES])
    assert np.ptp(still, axis=0).max() < 0.25


def test_unknown_action_is_refused() -> None:
    with pytest.raises(ConfigError, match="no action called 'fly'"):
        pose_at("fly", 0.0, Style())


def test_rotation_between_takes_one_direction_to_the_other() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        source, target = rng.normal(size=(2, 3))
        rotation = rotation_between(source, target)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(
            rotation @ source / np.linalg.norm(source), target / np.linalg.norm(target), atol=1e-12
        )


def test_skinning_of_one_bone_is_its_rigid_motion() -> None:
    turn = axis_rotation(np.array([1.0, 2.0, 3.0]), 0.7)
    transforms = SKELETON.transforms({"lowerarm01.L": turn})
    index = SKELETON.bones.index("lowerarm01.L")
    weights = np.zeros((1, len(SKELETON.bones)))
    weights[0, index] = 1.0
    point = np.array([[0.5, 1.1, 0.0]])
    elbow = SKELETON.joints[index]
    np.testing.assert_allclose(skin(point, weights, transforms), (point - elbow) @ turn.T + elbow, atol=1e-12)
