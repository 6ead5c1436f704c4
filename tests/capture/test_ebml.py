"""EBML numbers and elements, against the tables of RFC 8794."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anim_real.capture.ebml import (
    EbmlError,
    Ids,
    encode,
    encode_master,
    encode_size,
    encode_uint,
    encode_void,
    parse_children,
    parse_header,
    parse_uint,
    parse_vint,
)


@pytest.mark.parametrize(
    ("value", "raw"),
    [(1, "81"), (126, "fe"), (127, "407f"), (16382, "7ffe"), (16383, "203fff"), (2_097_150, "3ffffe")],
)  # RFC 8794, table of sizes: all bits one is reserved, so 127 takes two bytes
def test_sizes_are_those_of_the_standard(value: int, raw: str) -> None:
    assert encode_size(value).hex() == raw


@given(st.integers(0, (1 << 56) - 2), st.integers(0, 8))
def test_a_size_is_read_back(value: int, extra: int) -> None:
    shortest = encode_size(value)
    length = min(8, len(shortest) + extra)
    for raw in (shortest, encode_size(value, length)):
        assert parse_vint(raw, 0, keep_marker=False, max_length=8) == (value, len(raw))


def test_the_unknown_size_is_none() -> None:
    element = parse_header(bytes.fromhex("1f43b675") + encode_size(None), 0, 100)
    assert (element.id, element.data, element.size, element.end) == (Ids.CLUSTER, 112, None, None)


@given(st.lists(st.tuples(st.sampled_from([Ids.TIMESTAMP, Ids.TAG_NAME, Ids.SEEK_HEAD]), st.binary(max_size=300))))
def test_children_are_read_back(children: list[tuple[int, bytes]]) -> None:
    assert list(parse_children(b"".join(encode(*child) for child in children))) == children


@given(st.integers(0, (1 << 64) - 1))
def test_an_unsigned_integer_is_read_back(value: int) -> None:
    ((identifier, payload),) = parse_children(encode_uint(Ids.TRACK_UID, value))
    assert (identifier, parse_uint(payload)) == (Ids.TRACK_UID, value)


@pytest.mark.parametrize("total", [9, 10, 200])
def test_a_void_has_the_asked_length(total: int) -> None:
    ((identifier, payload),) = parse_children(encode_void(total))
    assert identifier == Ids.VOID
    assert len(encode_void(total)) == total == len(payload) + 9


@given(st.binary(max_size=64))
def test_random_bytes_are_parsed_or_refused(raw: bytes) -> None:
    try:
        children = list(parse_children(raw))
    except EbmlError:
        return
    assert sum(len(payload) for _, payload in children) < max(1, len(raw))


def test_a_child_larger_than_its_parent_is_refused() -> None:
    raw = encode_master(Ids.INFO, encode_uint(Ids.TIMESTAMP_SCALE, 1000))
    with pytest.raises(EbmlError):
        list(parse_children(raw[:-1]))
