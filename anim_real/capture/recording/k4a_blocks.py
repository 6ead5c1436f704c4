"""The blocks of a recording on their way into clusters: put in order of time, cut into 32 ms, turned into bytes.

Times are device microseconds. Order and lacing are those of the Azure Kinect Sensor SDK (``matroska_write.cpp``):
blocks in order of time, IMU samples that follow one another share a block.
"""

from __future__ import annotations

import struct
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from anim_real.capture.recording.ebml import Ids, encode, encode_id, encode_master, encode_size, encode_uint
from anim_real.capture.recording.k4a_format import CLUSTER_US

Part = bytes | memoryview  # flat, one byte per item

_REORDER_US = 1_000_000  # blocks wait this long for earlier ones
_MAX_WAITING_BYTES = 256 << 20
_MAX_LACED = 256
_KEYFRAME, _FIXED_LACING = 0x80, 0x04


class Block(NamedTuple):
    """A frame of a track; ``order`` breaks ties."""

    time_us: int
    track: int
    order: int
    payload: Part


class BlockQueue:
    """Blocks that wait for earlier ones: one second, at most 256 MiB.

    A cluster that was begun to be taken out stays in ``open_cluster`` until ``cluster_written`` is told, so that
    an interrupt or a full disk amid its writing does not lose it.

    Attributes:
        open_cluster: blocks taken out of the queue and not yet written, in order.
        written_us: blocks before this time come too late.
    """

    def __init__(self) -> None:
        self.open_cluster: list[Block] = []
        self.written_us = 0
        self._heap: list[Block] = []
        self._order = count()
        self._waiting_bytes = self._latest_us = 0

    def __bool__(self) -> bool:
        return bool(self._heap or self.open_cluster)

    def push(self, time_us: int, track: int, payload: Part) -> None:
        """Add a block; its payload is not copied."""
        heappush(self._heap, Block(time_us, track, next(self._order), payload))
        self._waiting_bytes += len(payload)
        self._latest_us = max(self._latest_us, time_us)

    def is_ready(self) -> bool:
        """Whether the earliest cluster need not wait any longer."""
        if self.open_cluster or not self._heap:
            return bool(self.open_cluster)
        end_us = self._heap[0].time_us + CLUSTER_US
        is_crowded = self._waiting_bytes > _MAX_WAITING_BYTES and end_us <= self._latest_us
        return is_crowded or end_us <= self._latest_us - _REORDER_US

    def next_cluster(self) -> list[Block]:
        """The blocks of the earliest cluster; the same again until it is written."""
        if not self.open_cluster:
            self.open_cluster.append(heappop(self._heap))
            end_us = self.open_cluster[0].time_us + CLUSTER_US
            while self._heap and self._heap[0].time_us < end_us:
                self.open_cluster.append(heappop(self._heap))
        return self.open_cluster

    def cluster_written(self) -> None:
        """Forget the open cluster."""
        self._waiting_bytes -= sum(len(block.payload) for block in self.open_cluster)
        self.written_us = self.open_cluster[0].time_us + CLUSTER_US
        self.open_cluster = []


def encode_blocks(blocks: list[Block], imu: int | None) -> list[Part]:
    """Bytes of a cluster's blocks, in parts; payloads are not copied, those of the track ``imu`` excepted."""
    base_us = blocks[0].time_us
    parts: list[Part] = []
    at = 0
    while at < len(blocks):
        block, end = blocks[at], at + 1
        if block.track != imu:
            head = _head(block, base_us, _KEYFRAME)
            parts += [encode_id(Ids.SIMPLE_BLOCK) + encode_size(len(head) + len(block.payload)) + head, block.payload]
        else:
            while end < min(len(blocks), at + _MAX_LACED) and blocks[end].track == imu:
                end += 1
            parts.append(_laced(blocks[at:end], base_us))
        at = end
    return parts


def _head(block: Block, base_us: int, flags: int) -> bytes:
    return encode_size(block.track) + struct.pack(">hB", block.time_us - base_us, flags)


def _laced(samples: list[Block], base_us: int) -> bytes:
    """IMU samples as one block, timed by its first sample."""
    is_laced = len(samples) > 1
    head = _head(samples[0], base_us, _FIXED_LACING if is_laced else 0)
    lace = bytes([len(samples) - 1]) if is_laced else b""
    return encode_master(
        Ids.BLOCK_GROUP,
        encode(Ids.BLOCK, b"".join([head, lace, *(sample.payload for sample in samples)])),
        encode_uint(Ids.BLOCK_DURATION, samples[-1].time_us - samples[0].time_us + 1),
    )
