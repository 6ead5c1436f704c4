"""A Matroska file that grows by clusters and is readable at any moment: while it grows, cut short, or closed.

Room for what only the end knows (where the parts lie, the duration) is left at the beginning, as the Azure
Kinect SDK leaves it; until the file is closed its segment has the unknown size. Which blocks a cluster
holds is left to ``k4a_writer``.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from anim_real.capture.recording.ebml import (
    Ids,
    encode,
    encode_id,
    encode_master,
    encode_size,
    encode_string,
    encode_uint,
    encode_void,
)
from anim_real.capture.recording.k4a_blocks import Part
from anim_real.errors import FULL_DISK, ConfigError
from anim_real.files import fsync_folder, refuse_existing

_SEEK_ROOM, _INFO_ROOM, _TAGS_ROOM = 1027, 259, 1027  # the SDK's Void elements, headers included
_CUE_US = 1_000_000
_SYNC_S = 1.0


def partial_path(path: Path) -> Path:
    """Where a recording lies while it is made, and stays if the process is killed: ``<name>.partial.mkv``."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


@contextmanager
def kept_path(path: Path) -> Iterator[Path]:
    """Yield the path to write to. It becomes ``path`` when the block ends; on an error it stays where it is.

    Raises:
        ConfigError: ``path`` exists, or a recording that was never finished lies beside it.
    """
    refuse_existing(path)
    partial = partial_path(path)
    if partial.exists():
        raise ConfigError(
            "a recording that was never finished lies here", where=partial,
            fix="It can be read as it is; rename it, then record again",
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    yield partial
    if partial.exists():
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
        fsync_folder(path.parent)


class SegmentFile:
    """The file behind a recording, written to an unbuffered stream."""

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._segment = self._end = 0
        self._positions: dict[int, int] = {}
        self._cues: list[tuple[int, int]] = []

    @property
    def is_begun(self) -> bool:
        """Whether the head is written."""
        return self._end > 0

    def begin(self, info: bytes, tracks: bytes, attachments: bytes, tags: bytes, tags_used: int) -> None:
        """Write the head from these elements; of the room behind the tags ``tags_used`` bytes are used up already."""
        head = _ebml_head() + encode_id(Ids.SEGMENT) + encode_size(None)
        self._segment = len(head)
        parts = [head, encode_void(_SEEK_ROOM)]
        for identifier, part in (
            (Ids.INFO, _filled(info, _INFO_ROOM)),
            (Ids.TRACKS, tracks),
            (Ids.ATTACHMENTS, attachments),
            (Ids.TAGS, tags),
        ):
            self._positions[identifier] = sum(map(len, parts)) - self._segment
            parts.append(part)
        self._append([b"".join(parts), encode_void(_TAGS_ROOM - tags_used)])

    def write_cluster(self, time_us: int, blocks: Sequence[Part], cue_us: int | None) -> None:
        """Write one cluster with its checksum.

        Args:
            time_us: its time since the segment's start.
            blocks: bytes of its blocks, in as many parts as they come; they are not copied.
            cue_us: time of the block that an index entry may point to.
        """
        stamp = encode_uint(Ids.TIMESTAMP, time_us)
        checksum = zlib.crc32(stamp)
        for part in blocks:
            checksum = zlib.crc32(part, checksum)
        front = encode(Ids.CRC32, checksum.to_bytes(4, "little")) + stamp
        size = len(front) + sum(map(len, blocks))
        position = self._end - self._segment
        self._append([encode_id(Ids.CLUSTER) + encode_size(size) + front, *blocks])
        if cue_us is not None and (not self._cues or cue_us - self._cues[-1][0] >= _CUE_US):
            self._cues.append((cue_us, position))

    def drop_unfinished(self) -> None:
        """Cut what was begun behind the last whole element."""
        self._stream.seek(self._end)
        self._stream.truncate()

    def finish(self, info: bytes) -> None:
        """Write the index, then go back and write what only the end knows: where the parts lie, duration, size.

        An index for which the disk has no room is left out: recordings are read without it.
        """
        position = self._end - self._segment
        try:
            if self._cues:
                self._append([_cues(self._cues)])
                self._positions[Ids.CUES] = position
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            self.drop_unfinished()
        seeks = [
            encode_master(Ids.SEEK, encode(Ids.SEEK_ID, encode_id(identifier)), encode_uint(Ids.SEEK_POSITION, place))
            for identifier, place in self._positions.items()
        ]
        self._patch(self._segment, _filled(encode_master(Ids.SEEK_HEAD, *seeks), _SEEK_ROOM))
        self._patch(self._segment + self._positions[Ids.INFO], _filled(info, _INFO_ROOM))
        self._patch(self._segment - 8, encode_size(self._end - self._segment, 8))

    def _append(self, parts: Iterable[Part]) -> None:
        for part in parts:
            _write(self._stream, part)
        self._end = self._stream.tell()

    def _patch(self, position: int, part: bytes) -> None:
        self._stream.seek(position)
        _write(self._stream, part)


class DiskSync:
    """Flushes a file to its disk every second, in a thread of its own: a slow disk does not hold up the camera."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None
        self._last_s = time.monotonic()

    def poke(self) -> None:
        """Flush if it is time and the last flush is done; ``OSError`` if that one failed."""
        if time.monotonic() - self._last_s < _SYNC_S or (self._running is not None and not self._running.done()):
            return
        if self._running is not None:
            self._running.result()
        self._running = self._pool.submit(os.fsync, self._descriptor)
        self._last_s = time.monotonic()

    def close(self) -> None:
        """Wait for the flush under way."""
        self._pool.shutdown()


def _write(stream: FileIO, part: Part) -> None:
    """Write all of ``part``: a system call may take less than it was given."""
    rest = memoryview(part)
    while rest:
        rest = rest[stream.write(rest) :]


def _filled(element: bytes, room: int) -> bytes:
    return element + encode_void(room - len(element))


def _ebml_head() -> bytes:
    return encode_master(
        Ids.EBML,
        encode_uint(Ids.EBML_VERSION, 1),
        encode_uint(Ids.EBML_READ_VERSION, 1),
        encode_uint(Ids.EBML_MAX_ID_LENGTH, 4),
        encode_uint(Ids.EBML_MAX_SIZE_LENGTH, 8),
        encode_string(Ids.DOC_TYPE, "matroska"),
        encode_uint(Ids.DOC_TYPE_VERSION, 2),
        encode_uint(Ids.DOC_TYPE_READ_VERSION, 2),
    )


def _cues(entries: list[tuple[int, int]]) -> bytes:
    """The Cues element: where the cluster of a time lies; times are those of blocks of the first track."""
    points = [
        encode_master(
            Ids.CUE_POINT,
            encode_uint(Ids.CUE_TIME, time_us),
            encode_master(
                Ids.CUE_TRACK_POSITIONS,
                encode_uint(Ids.CUE_TRACK, 1),
                encode_uint(Ids.CUE_CLUSTER_POSITION, position),
            ),
        )
        for time_us, position in entries
    ]
    return encode_master(Ids.CUES, *points)
