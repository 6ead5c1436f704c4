"""Grouping into captures, seeking, and what reading costs: bytes read and memory held."""

from __future__ import annotations

import os
import tracemalloc
from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anim_real.capture.recording.k4a_captures import ImageTable, group_captures
from anim_real.capture.recording.k4a_mkv import open_recording
from anim_real.capture.recording.mkv_blocks import FrameTable
from anim_real.errors import NotFoundError

from .k4a_bytes import COLOR, RecordingBytes, block, capture_cluster, cluster, color_image, depth_image, small_recording
from .recordings import write_recording

PERIOD_NS = 33_333_000
TIMES_US = [1_000_000 + index * 33_333 for index in range(10)]


def table(times_ns: list[int]) -> ImageTable:
    rows = array("q")
    for index, time in enumerate(times_ns):
        rows.extend((time, index, 1, 1, 0))
    return ImageTable.of(FrameTable.of(rows))


track_times = st.lists(st.integers(0, 12 * PERIOD_NS // 1000).map(lambda us: us * 1000), max_size=14)


@given(track_times, track_times, track_times, st.integers(-33_000, 33_000))
def test_captures_follow_the_sdks_rule(color: list[int], depth: list[int], ir: list[int], delay_us: int) -> None:
    """Every image once; none half a period behind its capture's first; and none left that could have come along."""
    delay_ns = delay_us * 1000
    tables = table(color), table([time + 40_000_000 for time in depth]), table([time + 40_000_000 for time in ir])
    rows = group_captures(tables, delay_ns, PERIOD_NS)
    for track, images in enumerate(tables):
        assert [row for row in rows[:, track] if row >= 0] == list(range(len(images)))
    shifts = (0, delay_ns, delay_ns)
    synced = [images.blocks.time_ns - shift for images, shift in zip(tables, shifts, strict=True)]
    taken = [0, 0, 0]
    for capture in rows:
        present = [int(synced[track][row]) for track, row in enumerate(capture) if row >= 0]
        begin = min(present)
        assert max(present) - begin < PERIOD_NS / 2
        for track, row in enumerate(capture):
            if row < 0 and taken[track] < len(synced[track]):
                assert synced[track][taken[track]] - begin >= PERIOD_NS / 2
            taken[track] += int(row >= 0)


@pytest.mark.parametrize("delay_us", [12_000, -12_000, 30_000, -30_000])
def test_a_depth_delay_of_either_sign_is_removed(tmp_path: Path, delay_us: int) -> None:
    blocks = []
    for index in range(6):
        time = 100_000 + index * 33_333
        depth = block(2, delay_us, depth_image(index).astype(">u2").tobytes())
        blocks.append(cluster(time, block(1, 0, color_image(index).tobytes()), depth))
    content = replace(small_recording(), clusters=tuple(blocks))
    stated = replace(content, tags=content.tags | {"K4A_DEPTH_DELAY_NS": str(delay_us * 1000)})
    path = tmp_path / "r.mkv"
    path.write_bytes(stated.encode())
    with open_recording(path) as recording:
        stamps = recording.stamps()
        assert len(recording) == 6
        assert (stamps.depth_time_us - stamps.color_time_us == delay_us).all()  # the stamps stay the device's
        np.testing.assert_array_equal(recording.capture(4).depth_mm, depth_image(4))


def test_backward_and_repeated_stamps_are_sorted_and_counted(tmp_path: Path) -> None:
    order = [0, 2, 1, 3, 3, 4]
    content = replace(small_recording(), clusters=tuple(capture_cluster(index, index * 33_333) for index in order))
    path = tmp_path / "r.mkv"
    path.write_bytes(content.encode())
    with open_recording(path) as recording:
        info = recording.info
        assert recording.stamps().depth_time_us.tolist() == [1_000_000 + index * 33_333 for index in range(5)]
        assert (info.num_backwards, info.num_duplicates) == (3, 3)  # once in each of three tracks
        assert (info.num_captures, info.num_incomplete, info.num_dropped) == (5, 0, 0)
        for index in range(5):
            np.testing.assert_array_equal(recording.capture(index).depth_mm, depth_image(index))


def test_a_jump_of_the_clock_is_not_millions_of_dropped_captures(tmp_path: Path) -> None:
    times = [0, 33_333, 100_000, 10_000_000_000, 10_000_033_333]
    content = replace(small_recording(), clusters=tuple(capture_cluster(i, time) for i, time in enumerate(times)))
    path = tmp_path / "r.mkv"
    path.write_bytes(content.encode())
    with open_recording(path) as recording:
        assert (recording.info.num_jumps, recording.info.num_dropped) == (1, 1)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("mkv") / "r.mkv", TIMES_US, without_depth=(7,))


def test_captures_are_found_by_time(written: Path) -> None:
    with open_recording(written) as recording:
        assert [recording.index_at(time) for time in TIMES_US] == list(range(10))
        assert recording.index_at(TIMES_US[4] + 16_000) == 4
        assert recording.index_at(TIMES_US[4] + 17_000) == 5
        assert recording.index_at(TIMES_US[4] + 1, how="at or after") == 5
        assert recording.index_at(TIMES_US[4], how="at or after") == 4
        assert (recording.index_at(-5), recording.index_at(1 << 60)) == (0, 9)
        assert [frame.index for frame in recording.seek(TIMES_US[6] + 40, decode_color=False)] == [7, 8, 9]
        assert [frame.index for frame in recording.captures(start=3, stop=5)] == [3, 4]
        assert [frame.index for frame in recording.captures(start=-2)] == [8, 9]
        assert list(recording.seek(TIMES_US[9] + 1)) == []
        with pytest.raises(NotFoundError, match="at or after"):
            recording.index_at(TIMES_US[9] + 1, how="at or after")


def test_seeking_reads_nothing_of_what_lies_before(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[int, int]] = []
    pread = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        reads.append((offset, size))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    content = written.read_bytes()
    with open_recording(written) as recording:
        opened = sum(size for _, size in reads)
        assert opened < 0.05 * len(content)  # headers only
        reads.clear()
        index = recording.index_at(TIMES_US[8])
        assert reads == []
        frame = recording.capture(index)
        np.testing.assert_array_equal(frame.depth_mm, recording.capture(8).depth_mm)
        recording.capture(8, decode_color=False)
    before = content.index(depth_image_bytes(6))  # the sixth capture's depth lies here
    assert all(offset > before + len(depth_image_bytes(6)) for offset, _ in reads)
    assert len(reads) == 3 + 3 + 2  # three images, twice; and two where colour is left out


def depth_image_bytes(index: int) -> bytes:
    from .recordings import depth_image as written_depth

    return written_depth(index).astype(">u2").tobytes()


def test_a_long_take_is_read_in_constant_memory(tmp_path: Path) -> None:
    """80 captures of 3.7 MB of colour: 295 MB, of which no more than a few images are held at a time."""
    path = tmp_path / "long.mkv"
    size = 1280 * 720 * 4
    head = RecordingBytes(tracks=(replace(COLOR, size=(1280, 720)),), tags={}, is_closed=False).encode()
    with path.open("wb") as stream:
        stream.write(head)
        for index in range(80):
            whole = cluster(index * 33_333, block(1, 0, bytes(size)))
            stream.write(whole[: len(whole) - size])
            stream.seek(size - 1, os.SEEK_CUR)  # a hole: the image is zeros
            stream.write(b"\0")
    tracemalloc.start()
    with open_recording(path) as recording:
        assert tracemalloc.get_traced_memory()[1] < 2e6  # to open it
        num = sum(frame.color is not None and frame.color.shape == (720, 1280, 3) for frame in recording.captures())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num == 80
    assert peak < 5 * size


def test_an_index_of_millions_of_samples_is_small(tmp_path: Path) -> None:
    """Two minutes of inertial samples in laces of eight: the index holds some bytes per block, not objects."""
    path = tmp_path / "long.mkv"
    content = small_recording(3600)
    path.write_bytes(
        replace(content, clusters=tuple(capture_cluster(i, i * 33_333, imu=48) for i in range(3600))).encode()
    )
    tracemalloc.start()
    with open_recording(path) as recording:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert recording.info.num_imu_samples == 3600 * 48
        assert recording.imu().acc_time_us[-1] == 1_000_000 + 3599 * 33_333 + 47 * 600
    assert peak < 3600 * 48 * 30


def test_a_growing_file_opens_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "growing.mkv"
    with path.open("wb") as stream:
        stream.write(replace(small_recording(0), is_closed=False).encode())
        for index in range(6):
            whole = capture_cluster(index, index * 33_333)
            middle = len(whole) // 2
            stream.write(whole[:middle])
            stream.flush()
            if index:
                with open_recording(path) as recording:
                    assert recording.info.is_unfinished
                    assert recording.stamps().is_complete.sum() == index
            stream.write(whole[middle:])
            stream.flush()
            with open_recording(path) as recording:
                info = recording.info
                assert info.is_unfinished
                assert (info.num_captures, info.num_incomplete) == (index + 1, 0)
                assert (info.num_cut_frames, info.skipped_bytes, info.missing_bytes) == (0, 0, 0)
                np.testing.assert_array_equal(recording.capture(index).depth_mm, depth_image(index))
