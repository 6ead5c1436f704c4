"""Laws of rigid transforms, and what is not one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anim_real.errors import DataError
from anim_real.geometry.frames import Rigid

# exact within rounding: coordinates below 10 m, so 1e-12 m is 500 ulp
TOLERANCE_M = 1e-12
coordinate = st.floats(-3.0, 3.0, allow_nan=False).map(lambda value: round(value, 6))
vector = st.tuples(coordinate, coordinate, coordinate).map(np.array)


def rigids(dst: str, src: str) -> st.SearchStrategy[Rigid]:
    return st.builds(lambda w, t: Rigid.from_rotvec(dst, src, w, t), vector, vector)


@given(rigids("a", "b"), vector)
def test_the_inverse_undoes(T_a_b: Rigid, point: np.ndarray) -> None:
    inverse = T_a_b.inverse()
    assert (inverse.dst, inverse.src) == ("b", "a")
    np.testing.assert_allclose(inverse.apply(T_a_b.apply(point)), point, atol=TOLERANCE_M)
    np.testing.assert_allclose((T_a_b @ inverse).matrix, np.eye(4), atol=TOLERANCE_M)


@given(rigids("a", "b"), rigids("b", "c"), rigids("c", "d"), vector)
def test_products_chain_and_associate(T_a_b: Rigid, T_b_c: Rigid, T_c_d: Rigid, point: np.ndarray) -> None:
    left, right = (T_a_b @ T_b_c) @ T_c_d, T_a_b @ (T_b_c @ T_c_d)
    assert (left.dst, left.src) == (right.dst, right.src) == ("a", "d")
    np.testing.assert_allclose(left.matrix, right.matrix, atol=TOLERANCE_M)
    np.testing.assert_allclose(left.apply(point), T_a_b.apply(T_b_c.apply(T_c_d.apply(point))), atol=TOLERANCE_M)


@given(rigids("a", "b"), vector, vector)
def test_lengths_and_angles_stay(T_a_b: Rigid, first: np.ndarray, second: np.ndarray) -> None:
    moved = T_a_b.apply(np.stack([first, second]))
    assert np.linalg.norm(moved[0] - moved[1]) == pytest.approx(np.linalg.norm(first - second), abs=TOLERANCE_M)
    np.testing.assert_allclose(T_a_b.rotate(first - second), moved[0] - moved[1], atol=TOLERANCE_M)
    assert T_a_b.rotate(first) @ T_a_b.rotate(second) == pytest.approx(first @ second, abs=1e-11)


@given(rigids("a", "b"))
def test_a_rotation_vector_is_read_back(T_a_b: Rigid) -> None:
    again = Rigid.from_rotvec("a", "b", T_a_b.rotvec, T_a_b.translation)
    np.testing.assert_allclose(again.matrix, T_a_b.matrix, atol=TOLERANCE_M)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    T_a_b = Rigid.from_rotvec("a", "b", [0.0, 0.0, np.pi / 2], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(T_a_b.apply([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), [[1, 3, 3], [1, 2, 3]], atol=1e-15)


def test_names_that_do_not_touch_are_refused() -> None:
    with pytest.raises(DataError, match="do not touch"):
        Rigid.identity("a", "b") @ Rigid.identity("a", "b")


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([1000.0, 1000.0, 1000.0, 1.0]),
        np.diag([1.0, 1.0, -1.0, 1.0]),
        np.eye(3),
        np.full((4, 4), np.nan),
        np.eye(4) + 1e-3,
        np.diag([1.0, 1.0, 1.0, 2.0]),
    ],
    ids=["scaled", "mirrored", "3x3", "nan", "sheared", "last row"],
)
def test_what_is_not_rigid_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(DataError, match="T_a_b"):
        Rigid(dst="a", src="b", matrix=matrix)


def test_a_transform_cannot_be_changed() -> None:
    source = np.eye(4)
    T_a_b = Rigid(dst="a", src="b", matrix=source)
    source[0, 3] = 5.0
    assert T_a_b.translation[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        T_a_b.matrix[0, 3] = 1.0
