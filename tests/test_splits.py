"""Splits by subject: complete, disjoint, stable, and obedient to names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anim_real.errors import ConfigError
from anim_real.splits import split_subjects

SUBJECTS = st.sets(st.integers(0, 99).map("s{:02d}".format), min_size=1, max_size=30)


@given(subjects=SUBJECTS, seed=st.integers(0, 99), val=st.floats(0, 0.4), test=st.floats(0, 0.4))
def test_every_subject_is_in_exactly_one_split(subjects: set[str], seed: int, val: float, test: float) -> None:
    splits = split_subjects(subjects, seed=seed, val_fraction=val, test_fraction=test)
    listed = [name for names in splits.values() for name in names]
    assert sorted(listed) == sorted(subjects)
    assert splits["train"]
    if test > 0 and len(subjects) > 1:
        assert abs(len(splits["test"]) - max(1, round(test * len(subjects)))) <= (0 if len(subjects) > 4 else 1)


def test_three_subjects_give_two_and_one_the_same_way_each_time() -> None:
    first = split_subjects(["a", "b", "c"], seed=3)
    assert [len(first[name]) for name in ("train", "val", "test")] == [2, 0, 1]
    assert split_subjects(["c", "a", "b", "a"], seed=3) == first
    assert len({split_subjects(["a", "b", "c"], seed=seed)["test"] for seed in range(20)}) == 3


def test_a_new_subject_moves_at_most_one_other() -> None:
    subjects = [f"s{number:02d}" for number in range(20)]
    before = set(split_subjects(subjects)["test"])
    after = set(split_subjects([*subjects, "s99"])["test"])
    assert len(before - after) <= 1


def test_named_subjects_go_where_they_are_told() -> None:
    splits = split_subjects(["a", "b", "c", "d"], test=("b",), val=("d",))
    assert splits == {"train": ("a", "c"), "val": ("d",), "test": ("b",)}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"test": ("x",)}, "Known: a, b"),
        ({"test": ("a",), "val": ("a",)}, "both"),
        ({"test": ("a",), "val": ("b",)}, "train on"),
        ({"test_fraction": 0.7, "val_fraction": 0.3}, "below 1"),
        ({"test_fraction": -0.1}, "below 1"),
    ],
)
def test_impossible_splits_are_refused(options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        split_subjects(["a", "b"], **options)
