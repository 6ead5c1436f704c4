"""EBML, the binary tree below Matroska: element headers, numbers and the IDs that recordings use.

Elements are located without reading their payload, so that an index over gigabytes costs a few
kilobytes of reading. Source: RFC 8794 (EBML) and RFC 9559 (Matroska). What the elements of an
Azure Kinect recording mean is left to ``mkv_index`` and ``k4a_writer``.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MAX_HEADER_BYTES = 12  # four bytes of ID and eight of size
OPEN = -1  # the size that a writer leaves open until it closes the element
_CRC_HEADER = b"\xbf\x84"
_CHUNK_BYTES = 1 << 20
_UNKNOWN_SIZES = tuple((1 << (7 * length)) - 1 for length in range(9))


class Ids:
    """Element IDs with their length marker, as they stand in the file (RFC 9559, section 5)."""

    EBML = 0x1A45DFA3
    EBML_VERSION = 0x4286
    EBML_READ_VERSION = 0x42F7
    EBML_MAX_ID_LENGTH = 0x42F2
    EBML_MAX_SIZE_LENGTH = 0x42F3
    DOC_TYPE = 0x4282
    DOC_TYPE_VERSION = 0x4287
    DOC_TYPE_READ_VERSION = 0x4285
    VOID = 0xEC
    CRC32 = 0xBF

    SEGMENT = 0x18538067
    SEEK_HEAD = 0x114D9B74
    SEEK = 0x4DBB
    SEEK_ID = 0x53AB
    SEEK_POSITION = 0x53AC

    INFO = 0x1549A966
    TIMESTAMP_SCALE = 0x2AD7B1
    DURATION = 0x4489
    DATE_UTC = 0x4461
    TITLE = 0x7BA9
    MUXING_APP = 0x4D80
    WRITING_APP = 0x5741

    TRACKS = 0x1654AE6B
    TRACK_ENTRY = 0xAE
    TRACK_NUMBER = 0xD7
    TRACK_UID = 0x73C5
    TRACK_TYPE = 0x83
    TRACK_NAME = 0x536E
    CODEC_ID = 0x86
    CODEC_PRIVATE = 0x63A2
    DEFAULT_DURATION = 0x23E383
    VIDEO = 0xE0
    PIXEL_WIDTH = 0xB0
    PIXEL_HEIGHT = 0xBA

    ATTACHMENTS = 0x1941A469
    ATTACHED_FILE = 0x61A7
    FILE_NAME = 0x466E
    FILE_MEDIA_TYPE = 0x4660
    FILE_DATA = 0x465C
    FILE_UID = 0x46AE

    TAGS = 0x1254C367
    TAG = 0x7373
    TARGETS = 0x63C0
    TARGET_TYPE = 0x63CA
    TAG_TRACK_UID = 0x63C5
    TAG_ATTACHMENT_UID = 0x63C6
    SIMPLE_TAG = 0x67C8
    TAG_NAME = 0x45A3
    TAG_STRING = 0x4487

    CLUSTER = 0x1F43B675
    TIMESTAMP = 0xE7
    SIMPLE_BLOCK = 0xA3
    BLOCK_GROUP = 0xA0
    BLOCK = 0xA1
    BLOCK_DURATION = 0x9B

    CUES = 0x1C53BB6B
    CUE_POINT = 0xBB
    CUE_TIME = 0xB3
    CUE_TRACK_POSITIONS = 0xB7
    CUE_TRACK = 0xF7
    CUE_CLUSTER_POSITION = 0xF1


class EbmlError(ValueError):
    """Bytes that are not an EBML element; callers turn it into salvage or into a ``DataError``."""


@dataclass(frozen=True, slots=True)
class Element:
    """Where an element lies: byte offsets in the file. ``size`` is None if the writer left it open."""

    id: int
    start: int
    data: int
    size: int | None

    @property
    def end(self) -> int | None:
        """Offset behind the payload; None if the size is unknown."""
        return None if self.size is None else self.data + self.size


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Read up to ``size`` bytes at ``offset``; fewer at the end of the file. Safe in several threads."""
    return os.pread(descriptor, size, offset)


def read_exactly(descriptor: int, offset: int, size: int) -> bytes:
    """Read ``size`` bytes at ``offset``; ``EbmlError`` if the file ends before."""
    payload = os.pread(descriptor, size, offset)
    if len(payload) != size:
        raise EbmlError(f"the file ends {size - len(payload)} bytes early")
    return payload


def parse_vint(raw: bytes, at: int, *, keep_marker: bool, max_length: int) -> tuple[int, int]:
    """Parse a variable-length integer of ``raw`` at ``at``; return its value and the offset behind it."""
    if at >= len(raw):
        raise EbmlError("the data ends inside a header")
    first = raw[at]
    if first >= 0x80:
        return (first if keep_marker else first & 0x7F), at + 1
    length = 9 - first.bit_length()
    if length > max_length or at + length > len(raw):
        raise EbmlError(f"byte 0x{first:02x} does not start an element")
    value = int.from_bytes(raw[at : at + length], "big")
    if not keep_marker:
        value &= (1 << (7 * length)) - 1
    return value, at + length


def parse_header(raw: bytes, at: int, start: int) -> Element:
    """Parse the header of ``raw`` at ``at``, which lies in the file at ``start``."""
    identifier, size, behind = read_header(raw, at)
    return Element(id=identifier, start=start, data=start + behind - at, size=None if size == OPEN else size)


def read_header(raw: bytes, at: int) -> tuple[int, int, int]:
    """Parse the header of ``raw`` at ``at`` into (ID, size or ``OPEN``, offset behind it), the fast way.

    Walking a long recording parses millions of headers, nearly all with an ID of one byte.
    """
    try:
        identifier = raw[at]
        behind = at + 1
        if identifier < 0x80:
            identifier, behind = parse_vint(raw, at, keep_marker=True, max_length=4)
        first = raw[behind]
    except IndexError as error:
        raise EbmlError("the data ends inside a header") from error
    if first > 0x80:
        return identifier, OPEN if first == 0xFF else first & 0x7F, behind + 1
    length = 9 - first.bit_length()
    if length > 8 or behind + length > len(raw):
        raise EbmlError(f"byte 0x{first:02x} does not start a size")
    size = int.from_bytes(raw[behind : behind + length], "big") & _UNKNOWN_SIZES[length]
    return identifier, OPEN if size == _UNKNOWN_SIZES[length] else size, behind + length


def parse_children(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (ID, payload) of the elements in a master's payload.

    Raises:
        EbmlError: a child does not fit into the payload.
    """
    at = 0
    while at < len(raw):
        element = parse_header(raw, at, at)
        if element.end is None or element.end > len(raw):
            raise EbmlError(f"element 0x{element.id:x} does not fit into its parent")
        yield element.id, raw[element.data : element.end]
        at = element.end


def parse_uint(raw: bytes) -> int:
    """Parse an unsigned integer payload of 0 to 8 bytes."""
    return int.from_bytes(raw, "big")


def parse_string(raw: bytes) -> str:
    """Parse a string payload; padding zeros end it."""
    return raw.split(b"\0", 1)[0].decode("utf-8", errors="replace")


def encode_id(identifier: int) -> bytes:
    """Bytes of an ID, its marker included."""
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")


def encode_size(size: int | None, length: int | None = None) -> bytes:
    """Bytes of a size in ``length`` bytes (the fewest by default); None is the unknown size, in eight bytes."""
    if size is None:
        return b"\x01" + b"\xff" * 7
    if length is None:
        length = next(count for count in range(1, 9) if size < _UNKNOWN_SIZES[count])
    return ((1 << (7 * length)) | size).to_bytes(length, "big")


def encode(identifier: int, payload: bytes) -> bytes:
    """Bytes of a whole element."""
    return encode_id(identifier) + encode_size(len(payload)) + payload


def encode_master(identifier: int, *children: bytes) -> bytes:
    """Bytes of an element that holds elements."""
    return encode(identifier, b"".join(children))


def encode_uint(identifier: int, value: int, length: int | None = None) -> bytes:
    """Bytes of an unsigned integer element, in the fewest bytes or in ``length``."""
    size = max(1, (value.bit_length() + 7) // 8) if length is None else length
    return encode(identifier, value.to_bytes(size, "big"))


def encode_int(identifier: int, value: int) -> bytes:
    """Bytes of a signed integer element of 64 bits; dates are such, in nanoseconds since 2001."""
    return encode(identifier, value.to_bytes(8, "big", signed=True))


def encode_float(identifier: int, value: float) -> bytes:
    """Bytes of a 32-bit float element."""
    return encode(identifier, struct.pack(">f", value))


def encode_string(identifier: int, text: str) -> bytes:
    """Bytes of a UTF-8 string element."""
    return encode(identifier, text.encode("utf-8"))


def encode_checked_master(identifier: int, *children: bytes) -> bytes:
    """Bytes of a master whose first child is the CRC-32 of the others (RFC 8794, section 11.3.1)."""
    payload = b"".join(children)
    return encode_master(identifier, encode(Ids.CRC32, zlib.crc32(payload).to_bytes(4, "little")), payload)


def is_intact(descriptor: int, offset: int, size: int) -> bool:
    """Whether the master payload at ``offset`` agrees with the CRC-32 it begins with; True where it has none."""
    head = read_at(descriptor, offset, min(size, 6))
    if head[:2] != _CRC_HEADER:
        return True
    checksum, end = 0, offset + size
    for at in range(offset + 6, end, _CHUNK_BYTES):
        checksum = zlib.crc32(read_at(descriptor, at, min(_CHUNK_BYTES, end - at)), checksum)
    return checksum == int.from_bytes(head[2:6], "little")


def encode_void(total: int) -> bytes:
    """Bytes of a Void element of exactly ``total`` bytes (at least 2), header included."""
    length = next(length for length in range(1, 9) if total - 1 - length < _UNKNOWN_SIZES[length])
    assert total > length, "a Void element takes two bytes"
    return encode_id(Ids.VOID) + encode_size(total - 1 - length, length) + bytes(total - 1 - length)
