"""Damaged recordings: cut, overwritten, never closed; and files that are something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anim_real.capture.ebml import Ids, encode, encode_id, encode_master, encode_size, encode_string, encode_uint
from anim_real.capture.k4a_mkv import open_recording
from anim_real.capture.mkv_index import read_index
from anim_real.errors import DataError, NotFoundError

from .recordings import depth_image, write_recording

TIMES_US = [2_000_000 + index * 33_333 for index in range(10)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_recording(tmp_path_factory.mktemp("mkv") / "whole.mkv", TIMES_US).read_bytes()


@pytest.fixture(scope="module")
def frame_ends(whole: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """File offsets at which each image is complete, found by its content and not by the index under test."""
    ends: dict[str, list[int]] = {"depth": [], "ir": []}
    for index in range(len(TIMES_US)):
        for name, shift in (("depth", 0), ("ir", 500)):
            payload = depth_image(index + shift).astype(">u2").tobytes()
            ends[name].append(whole.index(payload) + len(payload))
    return ends


def test_a_cut_recording_gives_every_whole_image(
    whole: bytes, frame_ends: dict[str, list[int]], tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "cut.mkv"
    lengths = sorted(
        {*rng.integers(0, len(whole), 60).tolist(), *(end for end in frame_ends["depth"][:3]), len(whole) - 1}
    )
    for length in lengths:
        path.write_bytes(whole[:length])
        num_depth = sum(end <= length for end in frame_ends["depth"])
        if num_depth == 0:
            try:
                open_recording(path).close()  # a colour image may lie before the first depth image
            except DataError as error:
                assert "\n" not in str(error)
            continue
        with open_recording(path) as recording:
            info, stamps = recording.info, recording.stamps()
            assert info.is_damaged
            assert info.missing_bytes == len(whole) - length
            assert (stamps.depth_time_us >= 0).sum() == num_depth
            assert (stamps.ir_time_us >= 0).sum() == sum(end <= length for end in frame_ends["ir"])
            assert stamps.depth_time_us[:num_depth].tolist() == TIMES_US[:num_depth]
            np.testing.assert_array_equal(recording.capture(num_depth - 1).depth_mm, depth_image(num_depth - 1))


def test_a_cut_inside_an_image_is_counted(whole: bytes, frame_ends: dict[str, list[int]], tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: frame_ends["ir"][4] - 100])
    with open_recording(path) as recording:
        assert recording.info.num_cut_frames == 1
        assert recording.info.num_captures == 5  # the fifth has its depth image only
        assert recording.info.num_incomplete == 1


def test_overwritten_bytes_lose_one_cluster_and_not_the_rest(
    whole: bytes, frame_ends: dict[str, list[int]], tmp_path: Path
) -> None:
    start = whole.rindex(encode_id(Ids.CLUSTER), 0, frame_ends["depth"][4])
    damaged = bytearray(whole)
    damaged[start : start + 40] = bytes(40)
    path = tmp_path / "damaged.mkv"
    path.write_bytes(damaged)
    with open_recording(path) as recording:
        assert recording.info.skipped_bytes > 0
        found = recording.stamps().depth_time_us
        assert set(TIMES_US) - set(found.tolist()) == {TIMES_US[4]}
        np.testing.assert_array_equal(recording.capture(len(recording) - 1).depth_mm, depth_image(9))


def test_a_flipped_bit_inside_an_image_is_found(whole: bytes, frame_ends: dict[str, list[int]], tmp_path: Path) -> None:
    path = tmp_path / "flipped.mkv"
    damaged = bytearray(whole)
    damaged[frame_ends["depth"][2] - 1000] ^= 0x10
    damaged[frame_ends["ir"][5] - 7] ^= 0x01
    for content, expected in ((whole, 0), (bytes(damaged), 2)):
        path.write_bytes(content)
        with open_recording(path) as recording:
            assert recording.num_bad_clusters() == expected
            assert not recording.info.is_damaged


def test_the_real_recordings_checksums_fit(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "k4a-recording" / "recording.mkv"
    path = tmp_path / "flipped.mkv"
    content = bytearray(source.read_bytes())
    content[400_000] ^= 0x80  # inside the depth image
    path.write_bytes(content)
    with open_recording(source) as intact, open_recording(path) as flipped:
        assert (intact.num_bad_clusters(), flipped.num_bad_clusters()) == (0, 1)


def test_an_unfinished_file_takes_its_start_from_the_imu(whole: bytes, tmp_path: Path) -> None:
    """What a full disk leaves: open segment size, no start offset."""
    segment = whole.index(encode_id(Ids.SEGMENT)) + 4
    unfinished = bytearray(whole[: len(whole) - 5000])
    unfinished[segment : segment + 8] = encode_size(None)
    unfinished = unfinished.replace(b"K4A_START_OFFSET_NS", b"K4A_XXXXX_OFFSET_NS")
    path = tmp_path / "unfinished.mkv"
    path.write_bytes(unfinished)
    with open_recording(path) as recording:
        assert recording.info.is_unfinished
        assert (recording.info.start_offset_us, recording.info.start_offset_source) == (TIMES_US[0], "imu")
        assert recording.stamps().depth_time_us[:9].tolist() == TIMES_US[:9]


def test_random_damage_is_salvaged_or_refused(whole: bytes, tmp_path: Path, rng: np.random.Generator) -> None:
    """Any byte may change: there is a recording or a DataError, and never anything else."""
    path = tmp_path / "damaged.mkv"
    outcomes = {"read": 0, "refused": 0}
    header_size = whole.index(encode_id(Ids.CLUSTER)) + 64
    for trial in range(80):
        damaged = bytearray(whole[: header_size + 600_000])
        region = header_size if trial % 2 else len(damaged)
        for position in rng.integers(0, region, 6):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            with open_recording(path) as recording:
                for frame in recording.captures(decode_color=False):
                    assert frame.depth_mm is None or frame.depth_mm.shape == (288, 320)
                recording.imu()
            outcomes["read"] += 1
        except (DataError, NotFoundError):
            outcomes["refused"] += 1
    assert outcomes["read"] > 20
    assert sum(outcomes.values()) == 80


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello world", "not a Matroska"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a Matroska"),
        (b"\x1a\x45\xdf\xa3", "damaged at its beginning"),
        (encode_master(Ids.EBML, encode_string(Ids.DOC_TYPE, "webm")) + bytes(50), "not Matroska"),
        (encode_master(Ids.EBML, encode_string(Ids.DOC_TYPE, "matroska")) + bytes(50), "beginning|segment"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "other.mkv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_recording(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def _matroska(*parts: bytes) -> bytes:
    head = encode_master(Ids.EBML, encode_string(Ids.DOC_TYPE, "matroska"))
    return head + encode_master(Ids.SEGMENT, *parts)


def _video_track(name: str) -> bytes:
    video = encode_master(Ids.VIDEO, encode_uint(Ids.PIXEL_WIDTH, 2), encode_uint(Ids.PIXEL_HEIGHT, 2))
    return encode_master(
        Ids.TRACK_ENTRY, encode_uint(Ids.TRACK_NUMBER, 1), encode_string(Ids.TRACK_NAME, name),
        encode_uint(Ids.DEFAULT_DURATION, 33_333_333), video,
    )  # fmt: skip


def test_a_film_is_not_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    info = encode_master(Ids.INFO, encode_uint(Ids.TIMESTAMP_SCALE, 1_000_000))
    path.write_bytes(_matroska(info, encode_master(Ids.TRACKS, _video_track("Film"))))
    with pytest.raises(DataError, match="not an Azure Kinect recording"):
        open_recording(path)


def test_a_recording_without_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.mkv"
    info = encode_master(Ids.INFO, encode_uint(Ids.TIMESTAMP_SCALE, 1000))
    path.write_bytes(_matroska(info, encode_master(Ids.TRACKS, _video_track("DEPTH"))))
    with pytest.raises(DataError, match="holds no image"):
        open_recording(path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_recording(tmp_path / "nothing.mkv")


@pytest.mark.parametrize(
    ("flags", "table", "sizes"),
    [
        (0x02, bytes([2, 255, 45, 100]), [300, 100, 5]),  # Xiph: 255 + 45, 100, the rest
        (0x04, bytes([2]), [10, 10, 10]),  # fixed size
        (
            0x06,
            bytes([2, 0x43, 0x20, 0x5E, 0xD3]),
            [800, 500, 1000],
        ),  # EBML: 800, 300 less, the rest
    ],
)
def test_every_lacing_is_read(tmp_path: Path, flags: int, table: bytes, sizes: list[int]) -> None:
    frames = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    block = encode(
        Ids.SIMPLE_BLOCK, b"\x81" + (-7).to_bytes(2, "big", signed=True) + bytes([flags]) + table + b"".join(frames)
    )
    info = encode_master(Ids.INFO, encode_uint(Ids.TIMESTAMP_SCALE, 1000))
    cluster = encode_master(Ids.CLUSTER, encode_uint(Ids.TIMESTAMP, 1000), block)
    path = tmp_path / "laced.mkv"
    path.write_bytes(_matroska(info, encode_master(Ids.TRACKS, _video_track("DEPTH")), cluster))
    with path.open("rb") as stream:
        index = read_index(stream.fileno(), path.stat().st_size, path)
    found = index.track_frames("DEPTH")
    content = path.read_bytes()
    assert [content[frame.offset : frame.offset + frame.size] for frame in found] == frames
    assert {frame.time_ns for frame in found} == {993_000}  # 1000 µs of the cluster, and the block's signed -7
