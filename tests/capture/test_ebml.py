"""EBML numbers and elements, against the tables of RFC 8794."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anim_real.capture.recording.ebml import (
    OPEN,
    EbmlError,
    Ids,
    encode,
    encode_checked_master,
    encode_id,
    encode_master,
    encode_size,
    encode_uint,
    encode_void,
    is_intact,
    parse_children,
    parse_header,
    parse_uint,
    parse_vint,
    read_header,
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


@pytest.mark.parametrize("total", [2, 10, 128, 129, 130, 200, 1027, 16386, 16387])
def test_a_void_has_the_asked_length(total: int) -> None:
    ((identifier, payload),) = parse_children(encode_void(total))
    assert identifier == Ids.VOID
    assert len(encode_void(total)) == total
    assert payload == bytes(len(payload))


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


@given(st.sampled_from([value for name, value in vars(Ids).items() if name.isupper()]), st.integers(0, (1 << 56) - 2))
def test_a_header_is_read_back_at_any_place(identifier: int, size: int) -> None:
    raw = b"\xa3" + encode_id(identifier) + encode_size(size)
    assert read_header(raw + b"\xff", 1) == (identifier, size, len(raw))
    for cut in range(1, len(raw)):
        with pytest.raises(EbmlError):
            read_header(raw[:cut], 1)


@pytest.mark.parametrize("length", range(1, 9))
def test_a_size_of_ones_is_open_in_every_length(length: int) -> None:
    raw = b"\xe7" + ((1 << (7 * length + 1)) - 1).to_bytes(length, "big")  # RFC 8794, section 6.2
    assert read_header(raw, 0) == (Ids.TIMESTAMP, OPEN, 1 + length)


@given(st.binary(min_size=1, max_size=40))
def test_the_fast_header_agrees_with_the_careful_one(raw: bytes) -> None:
    try:
        identifier, behind = parse_vint(raw, 0, keep_marker=True, max_length=4)
        size, end = parse_vint(raw, behind, keep_marker=False, max_length=8)
    except EbmlError:
        with pytest.raises(EbmlError):
            read_header(raw, 0)
        return
    is_open = size == (1 << (7 * (end - behind))) - 1
    assert read_header(raw, 0) == (identifier, OPEN if is_open else size, end)


def test_a_checksum_is_checked_piece_by_piece(tmp_path: Path) -> None:
    """Payloads longer than what is read at once, and one shorter than a checksum."""
    path = tmp_path / "checked"
    for size in (3, 1 << 20, (5 << 20) + 11):
        whole = encode_checked_master(Ids.CLUSTER, encode(Ids.VOID, bytes(size)))
        wrong = bytearray(whole)
        wrong[-1] ^= 1
        for content, expected in ((whole, True), (bytes(wrong), False)):
            path.write_bytes(content)
            _, length, behind = read_header(content, 0)
            with path.open("rb") as stream:
                assert is_intact(stream.fileno(), behind, length) == expected
    path.write_bytes(encode(Ids.CLUSTER, b"\xec\x80"))
    with path.open("rb") as stream:
        assert is_intact(stream.fileno(), 5, 2)  # it has none
