"""Detection in images drawn from known homographies: positions, polarity, single markers, banners, wrong corners."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from anim_real.calibrate.boards.banners import banner_cells
from anim_real.calibrate.boards.detect import CornerDetector, polarity_remark
from anim_real.calibrate.boards.patterns import side_pattern
from anim_real.calibrate.boards.refine import refine_corners
from anim_real.calibrate.boards.target import Target, corner_positions, make_target
from anim_real.calibrate.boards.target_texture import draw_pattern
from anim_real.calibrate.boards.targets import load_target
from anim_real.target import TargetSpec

CHARUCO = {"columns": 7, "rows": 8, "square_m": 0.05, "marker_m": 0.036, "first_marker": 0}


def plate(*boards: dict, dictionary: str = "DICT_4X4_100") -> Target:
    table = {"schema": "anim-real/target/1", "name": "sheet", "dictionary": dictionary}
    body = {"kind": "plate", "width_m": 0.42, "height_m": 0.46, "thickness_m": 0.01}
    return make_target(TargetSpec.model_validate(table | {"body": body, "boards": [{"side": 0} | b for b in boards]}))


def picture(target: Target, rng, *, px_per_m: float = 500.0, noise: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Grey image of side 0 in perspective, and the true pixels (N, 2) of its corners."""
    fine, width, height = 5, target.boards[0].side_size[0], target.boards[0].side_size[1]
    sheet = draw_pattern(side_pattern(target, 0), round(width * 2400), round(height * 2400)).astype(np.float32)
    sheet = np.pad(sheet, 48, constant_values=235)
    from_side = np.array([[2400, 0, 48 - 0.5], [0, 2400, 48 - 0.5], [0, 0, 1]])  # x right, y down from the top left, m
    angle = rng.uniform(-0.3, 0.3)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    tilt = np.array([[0.85, 0, 0], [0, 1, 0], [0.5, 0.3, 1]])
    size = round(0.7 * px_per_m)
    place = np.array([[px_per_m, 0, size / 2], [0, px_per_m, size / 2], [0, 0, 1]])
    middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    homography = place @ turn @ tilt @ middle
    enlarge = np.array([[fine, 0, (fine - 1) / 2], [0, fine, (fine - 1) / 2], [0, 0, 1]])
    big = cv2.warpPerspective(
        cv2.GaussianBlur(sheet, (0, 0), 1.0), enlarge @ homography @ np.linalg.inv(from_side), (size * fine,) * 2,
        borderValue=235,
    )  # fmt: skip
    image = cv2.GaussianBlur(big, (0, 0), 0.6 * fine).reshape(size, fine, size, fine).mean((1, 3))
    _, points = corner_positions(target)
    on_side = np.stack([points[:, 0] + width / 2, height - points[:, 1]], 1)
    pixels = cv2.perspectiveTransform(on_side[None], homography)[0]
    return np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8), pixels


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("inverted", [False, True])
def test_charuco_of_both_colours_and_both_layouts(rng, inverted, legacy):
    target = plate(CHARUCO | {"inverted": inverted, "legacy": legacy})
    image, pixels = picture(target, rng)
    found = CornerDetector(target).detect(image, enlarge=2)
    assert found.ids.tolist() == list(range(42))
    assert found.inverted is inverted
    error = np.linalg.norm(found.pixels - pixels, axis=1)
    assert np.sqrt((error**2).mean()) < 0.03 and error.max() < 0.1


def test_corners_whose_markers_cannot_be_read_are_found(rng):
    """Two markers are pasted over, in the board's corner and in its middle: the others tell where theirs must be."""
    target = plate(CHARUCO)
    image, pixels = picture(target, rng)
    plane = target.boards[0].corners_board()[:, :2]
    homography = cv2.findHomography(plane, pixels)[0]
    covered = image.copy()
    half = 0.018  # of the marker's 36 mm
    for x, y in ((-0.15, -0.175), (0.05, 0.025)):
        outline = np.array([(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)])
        spot = cv2.perspectiveTransform(outline[None], homography)[0]
        cv2.fillConvexPoly(covered, np.rint(spot * 16).astype(np.int32), 235, shift=4)
    detector = CornerDetector(target)
    assert detector.num_markers(covered) == detector.num_markers(image) - 2
    found = detector.detect(covered, enlarge=2)
    assert found.ids.tolist() == list(range(42))
    assert np.linalg.norm(found.pixels - pixels, axis=1).max() < 0.2


def test_a_hand_before_the_board_hides_its_corners_and_moves_none(rng):
    target = plate(CHARUCO)
    image, pixels = picture(target, rng)
    middle, radius = pixels[20], 30
    cv2.circle(image, tuple(int(value) for value in middle), radius, 150, -1)
    found = CornerDetector(target).detect(image, enlarge=2)
    distance = np.linalg.norm(pixels - middle, axis=1)
    assert 20 not in found.ids and set(np.flatnonzero(distance > radius + 12)) <= set(found.ids.tolist())
    assert np.linalg.norm(found.pixels - pixels[found.ids], axis=1).max() < 0.25


def test_small_squares_are_not_drawn_to_their_markers(rng):
    """Squares of 18 to 25 px without enlargement: a window that reaches the markers errs by 0.6 px."""
    target = plate(CHARUCO)
    errors = []
    for _ in range(4):
        image, pixels = picture(target, rng, px_per_m=430)
        found = CornerDetector(target).detect(image)
        errors.append(np.linalg.norm(found.pixels - pixels[found.ids], axis=1))
    errors = np.concatenate(errors)
    assert len(errors) > 0.7 * 4 * 42
    assert np.sqrt((errors**2).mean()) < 0.05


def test_a_board_seen_the_other_way_than_declared_is_found_and_said(rng):
    image, pixels = picture(plate(CHARUCO | {"inverted": True}), rng)
    declared = plate(CHARUCO)
    found = CornerDetector(declared).detect(image, enlarge=2)
    assert len(found) == 42 and np.abs(found.pixels - pixels).max() < 0.3
    remark = polarity_remark(declared, [found.inverted, None, found.inverted])
    assert remark is not None and "2 of 2" in remark and "inverted = true" in remark
    assert polarity_remark(declared, [True, False, False, None]) is None


@pytest.mark.parametrize("dictionary", ["DICT_APRILTAG_36h11", "DICT_5X5_50"])
def test_single_markers_of_any_dictionary(rng, dictionary):
    places = [(-0.1, 0.11), (0.1, 0.11), (-0.1, -0.11), (0.1, -0.11)]
    markers = [{"kind": "marker", "first_marker": 3 + k, "marker_m": 0.14, "center": p} for k, p in enumerate(places)]
    target = plate(*markers, dictionary=dictionary)
    image, pixels = picture(target, rng, px_per_m=900)
    found = CornerDetector(target).detect(image)
    assert found.ids.tolist() == list(range(16))
    assert np.linalg.norm(found.pixels - pixels, axis=1).max() < 0.3


def test_banners_are_read_and_measured(rng):
    for number in range(16):
        spec = {"kind": "banner", "first_marker": number, "width_m": 0.18, "height_m": 0.254}
        target = plate(spec)
        image, pixels = picture(target, rng, px_per_m=700)
        found = CornerDetector(target).detect(image)
        assert found.ids.tolist() == list(range(5)), number
        assert np.linalg.norm(found.pixels - pixels, axis=1).max() < 0.3
    other = plate(spec | {"first_marker": 3})
    assert len(CornerDetector(other).detect(image)) == 0  # number 15 is not number 3


def test_the_code_of_banners_has_distance_two():
    codes = np.array([banner_cells(number).ravel() for number in range(16)])
    apart = (codes[:, None] != codes[None]).sum(-1)
    assert apart[~np.eye(16, dtype=bool)].min() >= 2


def test_the_real_sheets_of_the_cube(shared_data):
    """The sheets that LiveScan3D publishes: numbers, and the sizes that the shipped target states, to 0.3 mm."""
    target = load_target("cube")
    detector = CornerDetector(target)
    for number in range(4):
        sheet = cv2.imread(str(shared_data / "calibration-cube" / f"Marker_{number}.png"), cv2.IMREAD_GRAYSCALE)
        assert sheet is not None
        small = np.asarray(cv2.resize(sheet, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA), np.uint8)
        found = detector.detect(small)
        board = target.boards[number]
        assert found.ids.tolist() == board.corner_ids.tolist()
        mm = (found.pixels + 0.5) / 0.2 * 25.4 / 300
        plane = board.corners_board()[:, :2] * 1e3 * (1, -1)
        centered = mm - mm.mean(0)
        assert np.abs(centered - plane).max() < 0.3
        assert 297 - mm.mean(0)[1] == pytest.approx((0.297 / 2 - 0.0127) * 1e3, abs=0.3)  # origin above the lower edge


def test_the_cubes_published_poses_are_those_of_its_sides(shared_data):
    target = load_target("cube")
    text = (shared_data / "calibration-cube" / "Calibration_Cube_4S_A4.txt").read_text()
    for board, block in zip(target.boards, text.split("Marker ID")[1:5], strict=True):
        words = block.split()
        assert int(words[0]) == board.spec.first_marker
        published = [float(words[words.index(axis) + 1]) for axis in ("X:", "Y:", "Z:")]
        origin = board.T_target_board.translation
        assert [origin[0], origin[2]] == pytest.approx([published[0], published[2]], abs=1e-9)


def test_wrong_corners_are_left_out(rng):
    target = plate(CHARUCO)
    image, pixels = picture(target, rng)
    plane = target.boards[0].corners_board()[:, :2] / 0.05
    moved = pixels.copy()
    wrong = [3, 17, 30]
    moved[wrong] += rng.choice([-1, 1], (3, 2)) * 0.5 * 25  # half a square: into a marker or a plain square
    refined, kept = refine_corners(image, moved, plane, 0.14)
    assert np.linalg.norm((refined - pixels)[kept], axis=1).max() < 0.3
    assert kept.sum() >= 39
