"""A reader of EBML trees for tests, written from RFC 8794 and independent of the package's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

NAMES = {
    0x1A45DFA3: "EBML", 0x4286: "EBMLVersion", 0x42F7: "EBMLReadVersion", 0x42F2: "EBMLMaxIDLength",
    0x42F3: "EBMLMaxSizeLength", 0x4282: "DocType", 0x4287: "DocTypeVersion", 0x4285: "DocTypeReadVersion",
    0xEC: "Void", 0xBF: "CRC-32", 0x18538067: "Segment", 0x114D9B74: "SeekHead", 0x4DBB: "Seek", 0x53AB: "SeekID",
    0x53AC: "SeekPosition", 0x1549A966: "Info", 0x2AD7B1: "TimestampScale", 0x4489: "Duration", 0x4461: "DateUTC",
    0x7BA9: "Title", 0x4D80: "MuxingApp", 0x5741: "WritingApp", 0x1654AE6B: "Tracks", 0xAE: "TrackEntry",
    0xD7: "TrackNumber", 0x73C5: "TrackUID", 0x83: "TrackType", 0x536E: "Name", 0x86: "CodecID",
    0x63A2: "CodecPrivate", 0x23E383: "DefaultDuration", 0xE0: "Video", 0xB0: "PixelWidth", 0xBA: "PixelHeight",
    0x1941A469: "Attachments", 0x61A7: "AttachedFile", 0x466E: "FileName", 0x4660: "FileMediaType",
    0x465C: "FileData", 0x46AE: "FileUID", 0x1254C367: "Tags", 0x7373: "Tag", 0x63C0: "Targets",
    0x63CA: "TargetType", 0x63C5: "TagTrackUID", 0x63C6: "TagAttachmentUID", 0x67C8: "SimpleTag", 0x45A3: "TagName",
    0x4487: "TagString", 0x1F43B675: "Cluster", 0xE7: "Timestamp", 0xA3: "SimpleBlock", 0xA0: "BlockGroup",
    0xA1: "Block", 0x9B: "BlockDuration", 0x1C53BB6B: "Cues", 0xBB: "CuePoint", 0xB3: "CueTime",
    0xB7: "CueTrackPositions", 0xF7: "CueTrack", 0xF1: "CueClusterPosition",
}  # fmt: skip
MASTERS = {
    "EBML", "Segment", "SeekHead", "Seek", "Info", "Tracks", "TrackEntry", "Video", "Attachments", "AttachedFile",
    "Tags", "Tag", "Targets", "SimpleTag", "Cluster", "BlockGroup", "Cues", "CuePoint", "CueTrackPositions",
}  # fmt: skip


class Node(NamedTuple):
    """An element: names from the root, where it begins, length of its header, its payload (empty for masters)."""

    path: str
    start: int
    header: int
    size: int
    payload: bytes


def walk(raw: bytes, start: int = 0, end: int | None = None, parents: tuple[str, ...] = ()) -> Iterator[Node]:
    """Yield every element in file order; KeyError for an unknown ID, ValueError for one that does not fit."""
    end = len(raw) if end is None else end
    while start < end:
        id_length = 9 - raw[start].bit_length()
        name = NAMES[int.from_bytes(raw[start : start + id_length], "big")]
        size_length = 9 - raw[start + id_length].bit_length()
        data = start + id_length + size_length
        size = int.from_bytes(raw[start + id_length : data], "big") & ((1 << (7 * size_length)) - 1)
        if data + size > end:
            raise ValueError(f"{name} at {start} does not fit")
        path = (*parents, name)
        payload = b"" if name in MASTERS else raw[data : data + size]
        yield Node("/".join(path), start, data - start, size, payload)
        if name in MASTERS:
            yield from walk(raw, data, data + size, path)
        start = data + size


def tags(raw: bytes) -> list[tuple[str, str]]:
    """(name, text) of every simple tag, in order."""
    texts = [node.payload.decode() for node in walk(raw) if "/SimpleTag/Tag" in node.path]
    return list(zip(texts[::2], texts[1::2], strict=True))


def simple_blocks(raw: bytes, track: int) -> list[tuple[int, bytes]]:
    """(time since the segment's start, payload) of the simple blocks of a track."""
    found, base = [], 0
    for node in walk(raw):
        if node.path.endswith("Cluster/Timestamp"):
            base = int.from_bytes(node.payload, "big")
        elif node.path.endswith("SimpleBlock") and node.payload[0] & 0x7F == track:
            found.append((base + int.from_bytes(node.payload[1:3], "big", signed=True), node.payload[4:]))
    return found
