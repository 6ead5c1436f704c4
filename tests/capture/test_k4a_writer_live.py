"""Recordings of live cameras: errors, interrupts, full disks and kills leave a file that reads to its last second."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.recording import k4a_blocks, mkv_output
from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter, open_recording
from anim_real.capture.recording.mkv_output import partial_path
from anim_real.errors import ConfigError, DataError, NoSpaceError

from .ebml_tree import walk

CONFIG = RecordingConfig(serial="1", color_mode=None, depth_mode="NFOV_2X2BINNED", fps=30)
CAPTURE_BYTES = 2 * 2 * 288 * 320
START_US, PERIOD_US = 1_000_000, 33_333


def depth(index: int) -> np.ndarray:
    return np.full((288, 320), index + 1, np.uint16)


def write(writer: RecordingWriter, index: int) -> None:
    time_us = START_US + index * PERIOD_US
    writer.write_imu(time_us, (index, 0.0, -9.81), time_us + 1, (0.0, 0.0, 0.0))
    writer.write_capture(depth_mm=depth(index), ir=depth(index), depth_time_us=time_us)


def check(path: Path, num: int) -> None:
    """The file is closed and whole: every element fits, every checksum, ``num`` captures with their images."""
    nodes = list(walk(path.read_bytes()))
    assert nodes[-1].start + nodes[-1].header + nodes[-1].size == path.stat().st_size
    with open_recording(path) as recording:
        assert not recording.info.is_damaged
        assert recording.num_bad_clusters() == 0
        assert recording.stamps().depth_time_us.tolist() == [START_US + index * PERIOD_US for index in range(num)]
        for index in (0, num - 1):
            np.testing.assert_array_equal(recording.capture(index).depth_mm, depth(index))
            np.testing.assert_array_equal(recording.capture(index).ir, depth(index))


@pytest.mark.parametrize("error", [KeyError("stop"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("num", [1, 20, 70])
def test_an_error_keeps_everything_that_came(error: BaseException, num: int, tmp_path: Path) -> None:
    path = tmp_path / "r.mkv"
    with pytest.raises(type(error)), RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer:
        for index in range(num):
            write(writer, index)
        raise error
    check(path, num)
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_before_the_first_image_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RecordingWriter(tmp_path / "r.mkv", CONFIG, b"{}", keep_on_error=True):
        raise KeyError("stop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("num_calls", [1, 2, 5, 6, 7, 40])
def test_an_interrupt_amid_a_cluster_loses_nothing(
    num_calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C strikes inside a system call, half a block written."""
    calls = iter(range(1_000_000))
    whole = mkv_output._write

    def interrupted(stream, part) -> None:
        if next(calls) == num_calls:
            whole(stream, part[: len(part) // 2])
            raise KeyboardInterrupt
        whole(stream, part)

    monkeypatch.setattr(mkv_output, "_write", interrupted)
    num = 0
    path = tmp_path / "r.mkv"
    with pytest.raises(KeyboardInterrupt), RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer:
        while True:
            num += 1
            write(writer, num - 1)
    assert 30 < num < 60
    check(path, num - 1)  # the call that was interrupted had only given its IMU sample


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond ``size``: the system then refuses as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def fill(path: Path, num: int = 60) -> str:
    """Write until the disk is full; return what the error says."""
    with pytest.raises(NoSpaceError) as caught, RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer:
        for index in range(num):
            write(writer, index)
    return str(caught.value)


@pytest.fixture(scope="module")
def cluster_ends(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """File offsets at which each of 60 captures is complete, one capture a cluster."""
    path = tmp_path_factory.mktemp("whole") / "r.mkv"
    with RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer:
        for index in range(60):
            write(writer, index)
    return [n.start + n.header + n.size for n in walk(path.read_bytes()) if n.path == "Segment/Cluster"]


# 30 captures wait in memory: the disk is full while the block runs, or not before its end
@pytest.mark.parametrize("num", [1, 4, 20, 31, 59])
@pytest.mark.parametrize("extra", [0, 3, 90_000, -1])
def test_a_full_disk_keeps_every_whole_cluster(num: int, extra: int, cluster_ends: list[int], tmp_path: Path) -> None:
    path = tmp_path / "r.mkv"
    with file_size_limit(cluster_ends[num - 1] + extra if extra >= 0 else cluster_ends[num] - 1):
        text = fill(path)
    check(path, num)
    has_index = any(node.path == "Segment/Cues" for node in walk(path.read_bytes()))
    assert has_index == (extra not in (0, 3))
    assert "no space left" in text
    assert f"the first {(num - 1) * PERIOD_US / 1e6:.1f} s was kept" in text
    assert str(path) in text
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_on_a_full_disk_is_told_as_a_full_disk(cluster_ends: list[int], tmp_path: Path) -> None:
    path = tmp_path / "r.mkv"
    with (
        file_size_limit(cluster_ends[4]),
        pytest.raises(NoSpaceError, match="was kept") as caught,
        RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer,
    ):
        for index in range(20):  # all of them wait, so the disk is found full when the file is closed
            write(writer, index)
        raise KeyboardInterrupt
    assert isinstance(caught.value.__context__, KeyboardInterrupt)
    check(path, 5)


def test_an_index_without_room_is_left_out(cluster_ends: list[int], tmp_path: Path) -> None:
    """The last cluster fits, the Cues do not."""
    path = tmp_path / "r.mkv"
    with file_size_limit(cluster_ends[9] + 3), RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer:
        for index in range(10):
            write(writer, index)
    check(path, 10)
    found = [node.path for node in walk(path.read_bytes())]
    assert "Segment/Cues" not in found
    assert found.count("Segment/SeekHead/Seek") == 4


def test_a_disk_without_room_for_the_head_keeps_nothing(tmp_path: Path) -> None:
    with file_size_limit(1_000):
        text = fill(tmp_path / "r.mkv")
    assert "not even for the head" in text
    assert list(tmp_path.iterdir()) == []


def test_writing_on_after_a_full_disk_says_so_again(tmp_path: Path) -> None:
    path = tmp_path / "r.mkv"
    with (
        file_size_limit(4 * CAPTURE_BYTES),
        pytest.raises(NoSpaceError),
        RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer,
    ):
        with pytest.raises(NoSpaceError, match="kept"):
            for index in range(60):
                write(writer, index)
        write(writer, 61)
    check(path, 3)


def test_without_keeping_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.mkv"
    with (
        file_size_limit(4 * CAPTURE_BYTES),
        pytest.raises(NoSpaceError),
        RecordingWriter(path, CONFIG, b"{}") as writer,
    ):
        for index in range(60):
            write(writer, index)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        answer = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if answer.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {answer.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk_keeps_every_whole_cluster(small_disk: Path) -> None:
    path = small_disk / "r.mkv"
    text = fill(path)
    num = (4 << 20) // (CAPTURE_BYTES + 200)
    check(path, num)
    assert f"the first {(num - 1) * PERIOD_US / 1e6:.1f} s was kept" in text
    (small_disk / "rest").write_bytes(b"x")  # and there is room for a note


_KILLED = """
import sys, time
from pathlib import Path
from anim_real.capture.recording.k4a_writer import RecordingWriter
from tests.capture.test_k4a_writer_live import CONFIG, write
with RecordingWriter(Path(sys.argv[1]), CONFIG, b"{}", keep_on_error=True) as writer:
    for index in range(1_000_000):
        write(writer, index)
        print(index, flush=True)
        time.sleep(0.001)
"""


def test_a_killed_recording_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "r.mkv"
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(path)], stdout=subprocess.PIPE, text=True, cwd=root, env=environment
    )
    assert process.stdout is not None
    last = -1
    while last < 100:
        line = process.stdout.readline()
        assert line, "the writer ended by itself"
        last = int(line)
    process.kill()
    last = max([last, *map(int, process.stdout.read().split())])
    assert process.wait() == -signal.SIGKILL
    partial = tmp_path / "r.partial.mkv"
    assert list(tmp_path.iterdir()) == [partial] == [partial_path(path)]
    with open_recording(partial) as recording:
        assert recording.info.is_unfinished
        assert recording.num_bad_clusters() == 0
        stamps = recording.stamps().depth_time_us
        assert stamps.tolist() == [START_US + index * PERIOD_US for index in range(len(stamps))]
        assert stamps[-1] >= START_US + last * PERIOD_US - 1_100_000  # a second and a capture is lost, no more
        np.testing.assert_array_equal(recording.capture(len(stamps) - 1).depth_mm, depth(len(stamps) - 1))
    with pytest.raises(ConfigError, match="never finished"), RecordingWriter(path, CONFIG, b"{}", keep_on_error=True):
        pass
    assert partial.exists()


def test_a_live_recording_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.mkv"
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="exists"), RecordingWriter(path, CONFIG, b"{}", keep_on_error=True):
        pass
    assert path.read_bytes() == b"precious"


def test_what_comes_too_late_is_counted_and_the_rest_written(tmp_path: Path) -> None:
    path = tmp_path / "r.mkv"
    with RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer:
        for index in range(60):
            write(writer, index)
        write(writer, 2)  # 1.9 s late
        assert writer.num_late == 3  # depth, IR and the IMU sample
        write(writer, 60)
    check(path, 61)
    with pytest.raises(DataError, match="late"), RecordingWriter(tmp_path / "s.mkv", CONFIG, b"{}") as writer:
        for index in (*range(60), 2):
            write(writer, index)


def test_memory_is_bounded_by_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given and is not on the disk yet stays below the limit, whatever the size of the images."""
    path = tmp_path / "r.mkv"
    lags = {}
    for limit in (15_000_000, 2_000_000):
        monkeypatch.setattr(k4a_blocks, "_MAX_WAITING_BYTES", limit)
        lags[limit] = []
        with RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer:
            for index in range(60):
                write(writer, index)
                lags[limit].append((index + 1) * CAPTURE_BYTES - partial_path(path).stat().st_size)
        check(path, 60)
        path.unlink()
    assert max(lags[2_000_000]) <= 2_000_000 + CAPTURE_BYTES
    assert max(lags[15_000_000]) <= 33 * CAPTURE_BYTES  # a second, and the open cluster
    assert lags[15_000_000][-1] > 30 * CAPTURE_BYTES  # not less after many: blocks keep their second


def test_the_disk_is_flushed_every_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[float] = []
    monkeypatch.setattr(mkv_output, "_SYNC_S", 0.05)
    monkeypatch.setattr(mkv_output.os, "fsync", lambda descriptor: flushed.append(time.monotonic()))
    with RecordingWriter(tmp_path / "r.mkv", CONFIG, b"{}", keep_on_error=True) as writer:
        for index in range(80):
            write(writer, index)
            time.sleep(0.005)
    steps = np.diff(flushed[:-2])  # the last two are the whole file's and the folder's
    assert len(steps) >= 2
    assert steps.min() >= 0.04


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, OSError), (errno.ENOSPC, NoSpaceError)])
def test_what_the_disk_says_later_is_told(
    number: int, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes the bytes and fails to keep them says so at a later flush."""
    failures = [OSError(number, "later")]
    whole = os.fsync

    def failing(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        whole(descriptor)

    monkeypatch.setattr(mkv_output, "_SYNC_S", 0.01)
    monkeypatch.setattr(mkv_output.os, "fsync", failing)
    path = tmp_path / "r.mkv"
    with pytest.raises(kind), RecordingWriter(path, CONFIG, b"{}", keep_on_error=True) as writer:
        for index in range(200):
            write(writer, index)
            time.sleep(0.002)
    assert len(list(tmp_path.iterdir())) == 1
    with open_recording(path if number == errno.ENOSPC else partial_path(path)) as recording:
        assert recording.info.is_unfinished == (number == errno.EIO)
        assert len(recording) > 1


def test_positions_beyond_4_gib_are_right(tmp_path: Path) -> None:
    """A Void of 5 GiB (a hole in a sparse file) lies between the first second and the rest."""
    path = tmp_path / "r.mkv"
    hole = 5 << 30
    with RecordingWriter(path, CONFIG, b"{}") as writer:
        for index in range(45):
            write(writer, index)
        file = writer._file
        mkv_output._write(file._stream, b"\xec\x01" + hole.to_bytes(7, "big"))
        file._stream.seek(hole, os.SEEK_CUR)
        file._end = file._stream.tell()
        for index in range(45, 120):
            write(writer, index)
    assert path.stat().st_size > hole > 16 * path.stat().st_blocks  # it is sparse
    with open_recording(path) as recording:
        assert not recording.info.is_damaged
        assert recording.stamps().depth_time_us.tolist() == [START_US + index * PERIOD_US for index in range(120)]
        np.testing.assert_array_equal(recording.capture(119).depth_mm, depth(119))
    with path.open("rb") as stream:
        stream.seek(-200, os.SEEK_END)
        tail = stream.read()
        cues = tail[tail.index(b"\x1c\x53\xbb\x6b") :]
        places = []
        at = 0
        while (at := cues.find(b"\xf1\x85", at) + 1) > 0:  # CueClusterPosition of five bytes
            places.append(int.from_bytes(cues[at + 1 : at + 6], "big"))
        assert len(places) == 3
        for place in places:
            stream.seek(52 + place)  # the segment's content begins at byte 52
            assert stream.read(4) == b"\x1f\x43\xb6\x75"
