"""Damaged recordings: cut, overwritten, never closed; and files that are something else."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from anim_real.capture.recording.ebml import (
    Ids,
    encode,
    encode_id,
    encode_master,
    encode_size,
    encode_string,
    encode_uint,
)
from anim_real.capture.recording.k4a_mkv import RecordingInfo, open_recording
from anim_real.capture.recording.mkv_index import read_index
from anim_real.errors import DataError, NotFoundError

from . import k4a_bytes as made
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


def images_of(path: Path) -> tuple[dict[str, int], RecordingInfo, int]:
    """How many images of the small recording are delivered as they were made; and what is told of the rest."""
    found = dict.fromkeys(("color", "depth", "ir"), 0)
    with open_recording(path) as recording:
        for frame in recording.captures():
            for index in range(NUM_SMALL):
                color = made.color_image(index)[..., 2::-1]
                found["color"] += frame.color is not None and bool(np.array_equal(frame.color, color))
                found["depth"] += bool(np.array_equal(frame.depth_mm, made.depth_image(index)))
                found["ir"] += bool(np.array_equal(frame.ir, made.depth_image(index + 100)))
        recording.imu()
        return found, recording.info, recording.num_bad_clusters()


NUM_SMALL = 4


def test_a_recording_cut_at_any_byte_gives_every_whole_image(tmp_path: Path) -> None:
    whole = made.small_recording(NUM_SMALL).encode()
    payloads = {
        "color": [made.color_image(index).tobytes() for index in range(NUM_SMALL)],
        "depth": [made.depth_image(index).astype(">u2").tobytes() for index in range(NUM_SMALL)],
        "ir": [made.depth_image(index + 100).astype(">u2").tobytes() for index in range(NUM_SMALL)],
    }
    ends = {name: [whole.index(one) + len(one) for one in several] for name, several in payloads.items()}
    path = tmp_path / "cut.mkv"
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        expected = {name: sum(end <= length for end in several) for name, several in ends.items()}
        if not any(expected.values()):
            with pytest.raises(DataError) as caught:
                open_recording(path)
            assert "\n" not in str(caught.value)
            continue
        found, info, _ = images_of(path)
        assert found == expected, length
        assert info.missing_bytes == len(whole) - length
        assert info.is_damaged == (length < len(whole))


def test_any_wrong_byte_costs_one_cluster_at_most_and_is_told(tmp_path: Path) -> None:
    """Every byte of a small file in turn: what is lost lies in that byte's cluster, and something says so."""
    content = made.small_recording(NUM_SMALL)
    whole = content.encode()
    first = whole.index(encode_id(Ids.CLUSTER))
    path = tmp_path / "damaged.mkv"
    refused = []
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            found, info, num_bad = images_of(path)
        except DataError:
            refused.append(position)
            continue
        if position >= first:
            assert min(found.values()) >= NUM_SMALL - 1, position
            if min(found.values()) < NUM_SMALL:
                assert info.is_damaged or num_bad, position
    assert max(refused) < first  # only what describes the recording can make it unreadable
    tracks = whole.index(encode_id(Ids.TRACKS))
    assert all(position < tracks + 400 for position in refused)


@pytest.mark.parametrize("lost", ["seek head", "info", "tags", "attachments"])
def test_missing_metadata_is_done_without(tmp_path: Path, lost: str) -> None:
    content = made.small_recording(NUM_SMALL)
    if lost == "seek head":
        content = replace(content, has_seek_head=False)
    elif lost == "info":  # what the SDK leaves when it is killed: it writes the info last
        content = replace(content, info=encode(Ids.VOID, bytes(200)), has_seek_head=False, is_closed=False)
    elif lost == "tags":
        content = replace(content, tags={})
    else:
        content = replace(content, attachments={})
    path = tmp_path / "r.mkv"
    path.write_bytes(content.encode())
    found, info, _ = images_of(path)
    assert set(found.values()) == {NUM_SMALL}
    with open_recording(path) as recording:  # without the tag the start is known by the inertial payloads
        assert recording.stamps().depth_time_us.tolist() == [1_000_000 + index * 33_333 for index in range(NUM_SMALL)]
    assert info.lost_metadata == (("info",) if lost == "info" else ())
    assert info.has_calibration == (lost != "attachments")
    assert info.start_offset_source == ("imu" if lost == "tags" else "tag")


@pytest.mark.parametrize("has_seek_head", [True, False])
@pytest.mark.parametrize("identifier", [Ids.INFO, Ids.TRACKS, Ids.ATTACHMENTS])
def test_damaged_metadata_does_not_hide_what_stands_behind_it(
    tmp_path: Path, identifier: int, has_seek_head: bool
) -> None:
    """A wrong size of one element, as large as the file and beyond."""
    whole = replace(made.small_recording(NUM_SMALL), has_seek_head=has_seek_head).encode()
    at = whole.index(encode_id(identifier))
    if has_seek_head:  # that was its entry there
        at = whole.index(encode_id(identifier), at + 1)
    damaged = bytearray(whole)
    damaged[at + 4 : at + 6] = b"\x7f\xf0"
    path = tmp_path / "r.mkv"
    path.write_bytes(damaged)
    if identifier == Ids.TRACKS:
        with pytest.raises(DataError, match="no readable track list"):
            open_recording(path)
        return
    found, info, _ = images_of(path)
    assert set(found.values()) == {NUM_SMALL}
    assert info.is_damaged
    assert info.serial == "000123456789"


def test_a_start_offset_of_nothing_in_an_unfinished_file_is_not_believed(tmp_path: Path) -> None:
    content = made.small_recording(NUM_SMALL)
    path = tmp_path / "r.mkv"
    for is_closed, expected in ((False, (1_000_000, "imu")), (True, (0, "tag"))):
        tags = content.tags | {"K4A_START_OFFSET_NS": "0"}
        path.write_bytes(replace(content, tags=tags, is_closed=is_closed).encode())
        with open_recording(path) as recording:
            assert (recording.info.start_offset_us, recording.info.start_offset_source) == expected


def test_a_wrong_block_size_costs_its_own_cluster_only(tmp_path: Path) -> None:
    """It reaches into the next cluster, whose beginning tells that the block is wrong and not the cluster."""
    content = made.small_recording(NUM_SMALL)
    second = bytearray(content.clusters[1])
    at = second.index(b"\xa3\xa4\x82")  # the depth block: 36 bytes, track 2
    second[at + 1] = 0x80 | 126
    path = tmp_path / "r.mkv"
    path.write_bytes(replace(content, clusters=(content.clusters[0], bytes(second), *content.clusters[2:])).encode())
    found, info, _ = images_of(path)
    assert found == {"color": NUM_SMALL, "depth": NUM_SMALL - 1, "ir": NUM_SMALL - 1}
    assert info.skipped_bytes == len(second) - at


def test_a_void_that_claims_too_much_hides_nothing(tmp_path: Path) -> None:
    """One wrong bit in its size, and it covers clusters."""
    content = made.small_recording(NUM_SMALL)
    swallowed = len(content.clusters[0]) + len(content.clusters[1]) + 11
    wrong = encode_id(Ids.VOID) + encode_size(swallowed, 4)
    path = tmp_path / "r.mkv"
    path.write_bytes(replace(content, clusters=(wrong, *content.clusters)).encode())
    found, info, _ = images_of(path)
    assert set(found.values()) == {NUM_SMALL}
    assert info.skipped_bytes == len(wrong)


@pytest.mark.parametrize("size", [0, 20, 100_000, None])
def test_a_wrong_cluster_size_costs_nothing(tmp_path: Path, size: int | None) -> None:
    content = made.small_recording(NUM_SMALL)
    second = content.clusters[1]
    header = len(second) - len(second[second.index(b"\xbf\x84") :])
    wrong = encode_id(Ids.CLUSTER) + encode_size(size, None if size is None else 4) + second[header:]
    path = tmp_path / "r.mkv"
    path.write_bytes(replace(content, clusters=(content.clusters[0], wrong, *content.clusters[2:])).encode())
    found, _, num_bad = images_of(path)
    assert set(found.values()) == {NUM_SMALL}
    assert num_bad == 0


def test_a_second_recording_behind_the_first_is_not_mixed_in(tmp_path: Path) -> None:
    first, second = made.small_recording(NUM_SMALL).encode(), made.small_recording(3, period_us=40_000).encode()
    path = tmp_path / "r.mkv"
    path.write_bytes(first + second)
    found, info, _ = images_of(path)
    assert set(found.values()) == {NUM_SMALL}
    assert (info.num_captures, info.skipped_bytes) == (NUM_SMALL, len(second))


def test_blocks_of_no_track_and_images_of_a_wrong_size_are_counted(tmp_path: Path) -> None:
    extra = made.cluster(
        500_000, made.block(9, 0, b"whose?"), made.block(2, 0, bytes(30)), made.block(3, -600_0, bytes(32))
    )
    content = made.small_recording(NUM_SMALL)
    path = tmp_path / "r.mkv"
    path.write_bytes(replace(content, clusters=(*content.clusters, extra)).encode())
    with open_recording(path) as recording:
        assert (recording.info.num_stray_frames, recording.info.num_wrong_size) == (1, 1)
        last = recording.capture(len(recording) - 1)
        assert last.depth_mm is None
        assert last.depth_time_us is not None


def test_a_cluster_of_an_impossible_time_is_stepped_over(tmp_path: Path) -> None:
    content = made.small_recording(NUM_SMALL)
    first, second, *others = content.clusters
    late = encode_master(Ids.CLUSTER, encode_uint(Ids.TIMESTAMP, 1 << 63), made.block(2, 0, bytes(32)))
    early = made.cluster(0, made.block(2, -600, bytes(32)))  # before the start
    path = tmp_path / "r.mkv"
    path.write_bytes(replace(content, clusters=(first, late, second, early, *others)).encode())
    found, info, _ = images_of(path)
    assert set(found.values()) == {NUM_SMALL}
    assert (info.num_captures, info.num_stray_frames) == (NUM_SMALL, 1)
    assert len(late) > info.skipped_bytes > 32


@pytest.mark.parametrize("what", ["metadata", "image", "color", "imu"])
def test_what_claims_a_hundred_megabytes_is_not_read(tmp_path: Path, what: str) -> None:
    """In a file that has so many bytes: here they are a hole."""
    claimed = 100 << 20
    content = replace(made.small_recording(NUM_SMALL), is_closed=False)
    if what == "metadata":
        parts = content.encode().replace(encode_id(Ids.TAGS), encode_id(Ids.CUES))  # the tags are still to come
        tail = encode_id(Ids.TAGS) + encode_size(claimed)
    else:
        track = {"image": 2, "color": 1, "imu": 4}[what]
        parts = content.encode()
        head = encode_size(track) + b"\x7f\x00\x80"
        tail = made.cluster(133_000) + encode_id(Ids.SIMPLE_BLOCK) + encode_size(claimed + len(head)) + head
        tail = encode_id(Ids.CLUSTER) + encode_size(None) + tail[tail.index(b"\xe7") :]
    path = tmp_path / "r.mkv"
    with path.open("wb") as stream:
        stream.write(parts + tail)
        stream.truncate(len(parts) + len(tail) + claimed)
    tracemalloc.start()
    found, info, _ = images_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert set(found.values()) == {NUM_SMALL}
    assert info.num_captures == NUM_SMALL + (what in ("image", "color"))


def test_a_jpeg_that_announces_another_size_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged header may ask for gigabytes: 30,000 x 30,000 pixels here."""
    image = cv2.imencode(".jpg", np.full((720, 1280, 3), 90, np.uint8))[1].tobytes()
    frame = image.index(b"\xff\xc0")
    bomb = image[: frame + 5] + b"\x75\x30\x75\x30" + image[frame + 9 :]
    track = replace(made.COLOR, fourcc="MJPG", size=(1280, 720))
    clusters = made.cluster(0, made.block(1, 0, bomb)), made.cluster(33_333, made.block(1, 0, image))
    path = tmp_path / "r.mkv"
    path.write_bytes(made.RecordingBytes(tracks=(track,), clusters=clusters).encode())
    decoded: list[int] = []
    imdecode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda raw, flags: (decoded.append(len(raw)), imdecode(raw, flags))[1])
    with open_recording(path) as recording:
        assert recording.capture(0).color is None
        assert decoded == []
        assert recording.capture(1).color is not None
    assert decoded == [len(image)]


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
    found = list(index.track_frames(index.track("DEPTH")).frames())
    content = path.read_bytes()
    assert [content[offset : offset + size] for _, offset, size in found] == frames
    assert {time_ns for time_ns, _, _ in found} == {993_000}  # 1000 µs of the cluster, and the block's signed -7
