"""Written recordings: the real one rebuilt byte by byte, every mode there and back, and what a live camera needs."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zlib
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anim_real.capture.recording import k4a_header
from anim_real.capture.recording.k4a_blocks import BlockQueue
from anim_real.capture.recording.k4a_format import CustomTrack
from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter, open_recording
from anim_real.errors import ConfigError, DataError

from .ebml_tree import Node, simple_blocks, tags, walk
from .recordings import factory_calibration, jpeg

REAL_CONFIG = RecordingConfig(
    serial="001514394512", color_mode="720P", depth_mode="NFOV_UNBINNED", fps=5,
    color_firmware="1.6.110", depth_firmware="1.6.79",
)  # fmt: skip
SIZES = {
    "720P": (1280, 720), "1080P": (1920, 1080), "1440P": (2560, 1440), "1536P": (2048, 1536), "2160P": (3840, 2160),
    "3072P": (4096, 3072),
}  # fmt: skip
DEPTH_SHAPES = {
    "NFOV_2X2BINNED": (288, 320), "NFOV_UNBINNED": (576, 640), "WFOV_2X2BINNED": (512, 512),
    "WFOV_UNBINNED": (1024, 1024), "PASSIVE_IR": (1024, 1024),
}  # fmt: skip
BYTES_PER_PIXEL = {"NV12": 1.5, "YUY2": 2, "BGRA": 4}
IMU = struct.Struct("<Q3fQ3f")


def real_bytes(shared_data: Path) -> bytes:
    return (shared_data / "k4a-recording" / "recording.mkv").read_bytes()


def rewrite(raw: bytes, path: Path) -> bytes:
    """Write what the real recording holds, found by the tests' own walker."""
    by_path: dict[str, bytes] = {node.path: node.payload for node in walk(raw)}
    start_us = int(dict(tags(raw))["K4A_START_OFFSET_NS"]) // 1000
    (color,), (depth,), (infrared,) = (simple_blocks(raw, track) for track in (1, 2, 3))
    images = [np.frombuffer(payload, ">u2").astype(np.uint16).reshape(576, 640) for _, payload in (depth, infrared)]
    date = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=int.from_bytes(by_path["Segment/Info/DateUTC"], "big") // 1000
    )
    sample = IMU.unpack(by_path["Segment/Cluster/BlockGroup/Block"][4:])
    calibration = by_path["Segment/Attachments/AttachedFile/FileData"]
    with RecordingWriter(path, REAL_CONFIG, calibration, date=date) as writer:
        writer.write_capture(color[1], *images, color[0] + start_us, depth[0] + start_us)
        writer.write_imu(sample[0] // 1000, sample[1:4], sample[4] // 1000, sample[5:8])
    return path.read_bytes()


# What may differ between a file of the SDK and one of ours, and why. Nothing else may.
ALLOWED = {
    "Segment/Info/MuxingApp": "names the program that wrote it",
    "Segment/Info/WritingApp": "names the program that wrote it",
    "Segment/Void": "fills the room behind Info and Tags, which hold program names and the digits of UIDs",
    "Segment/Tracks/TrackEntry/TrackUID": "the SDK draws UIDs at random, ours follow from the serial number",
    "Segment/Attachments/AttachedFile/FileUID": "a UID",
    "Segment/Tags/Tag/Targets/TagTrackUID": "a UID",
    "Segment/Tags/Tag/Targets/TagAttachmentUID": "a UID",
    "Segment/Tags/Tag/SimpleTag/TagString": "only where it is a UID's digits, which is checked below",
    "Segment/Tags/CRC-32": "covers the UIDs",
    "Segment/SeekHead/Seek/SeekPosition": "the Cues lie a few bytes further if a UID has one digit more",
    "Segment/Cues/CuePoint/CueTrackPositions/CueClusterPosition": "likewise",
}


def test_the_element_tree_is_the_real_recordings(shared_data: Path, tmp_path: Path) -> None:
    raw = real_bytes(shared_data)
    real, ours = list(walk(raw)), list(walk(rewrite(raw, tmp_path / "r.mkv")))
    assert [node.path for node in ours] == [node.path for node in real]
    tag_name = ""
    digits = 0
    for theirs, mine in zip(real, ours, strict=True):
        if mine.path.endswith("TagName"):
            tag_name = mine.payload.decode()
        may_differ = mine.path in ALLOWED
        if mine.path.endswith("TagString"):
            may_differ = tag_name.endswith("_TRACK")
            digits += len(mine.payload) - len(theirs.payload)
        if not may_differ:
            assert mine.payload == theirs.payload, mine.path
        if mine.path.endswith("UID"):
            assert (mine.size, mine.header) == (theirs.size, theirs.header) == (8, 3)
        if mine.path.endswith("CRC-32"):
            assert (mine.size, mine.header) == (4, 2)
    # the fixed places: Info and Tracks stand where they stand in every file of the SDK
    for name in ("SeekHead", "Info", "Tracks", "Attachments", "Tags"):
        first = [next(node.start for node in tree if node.path == f"Segment/{name}") for tree in (real, ours)]
        assert first[0] == first[1], name
    assert 0 <= digits <= 8  # 18 or 19 digits each
    assert len(raw) == sum(
        node.header + node.size for node in ours if "/" not in node.path
    )  # the room takes the digits


def test_with_the_real_uids_the_file_is_the_real_one(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte but the two program names, and the Void behind them."""
    raw = real_bytes(shared_data)
    names = [node.payload.decode() for node in walk(raw) if node.path.endswith("TrackEntry/Name")]
    uids = [int.from_bytes(node.payload, "big") for node in walk(raw) if node.path.endswith("TrackEntry/TrackUID")]
    known = dict(zip(names, uids, strict=True))
    known["calibration.json"] = next(int.from_bytes(n.payload, "big") for n in walk(raw) if n.path.endswith("FileUID"))
    monkeypatch.setattr(k4a_header, "element_uid", lambda config, name: known[name])
    ours = rewrite(raw, tmp_path / "r.mkv")
    info, tracks = (next(n.start for n in walk(raw) if n.path == f"Segment/{name}") for name in ("Info", "Tracks"))
    assert ours[:info] == raw[:info]
    assert ours[tracks:] == raw[tracks:]
    assert ours[info:tracks] != raw[info:tracks]  # we do not claim to be the SDK


def test_every_checksum_fits(tmp_path: Path) -> None:
    path = tmp_path / "r.mkv"
    write_mode(path, RecordingConfig(serial="1", depth_mode="NFOV_2X2BINNED", fps=15))
    raw = path.read_bytes()
    nodes = list(walk(raw))
    checked = 0
    for node, following in pairwise(nodes):
        if following.path == node.path + "/CRC-32":
            content = raw[following.start + 6 : node.start + node.header + node.size]
            assert zlib.crc32(content) == int.from_bytes(following.payload, "little")
            checked += 1
    assert checked == 1 + sum(node.path == "Segment/Cluster" for node in nodes)


def content(config: RecordingConfig, index: int) -> tuple[bytes | None, np.ndarray | None, np.ndarray | None]:
    """Random colour, depth and IR of a configuration; colour is only a JPEG's first bytes and noise."""
    rng = np.random.default_rng(index)
    color = depth = infrared = None
    if config.color_mode is not None:
        width, height = SIZES[config.color_mode]
        size = int(width * height * BYTES_PER_PIXEL.get(config.color_format, 0.1))
        color = rng.bytes(size) if config.color_format != "MJPG" else b"\xff\xd8" + rng.bytes(size)
    if config.depth_mode is not None:
        shape = DEPTH_SHAPES[config.depth_mode]
        infrared = rng.integers(0, 65536, shape, np.uint16)
        depth = None if config.depth_mode == "PASSIVE_IR" else rng.integers(0, 65536, shape, np.uint16)
    return color, depth, infrared


def write_mode(path: Path, config: RecordingConfig, num: int = 2) -> Path:
    with RecordingWriter(path, config, factory_calibration().to_json()) as writer:
        for index in range(num):
            color_us = 1_000_000 + index * 1_000_000 // config.fps
            depth_us = color_us + config.depth_delay_us
            color, depth, infrared = content(config, index)
            writer.write_capture(
                color, depth, infrared,
                None if color is None else color_us, None if infrared is None else depth_us,
            )  # fmt: skip
            for track in config.custom_tracks:
                writer.write_custom(track.name, color_us, b"pulse %d" % index)
            for sample in range(40 if config.has_imu else 0):
                time_us = color_us + sample * 625
                writer.write_imu(time_us, (index, sample, -9.81), time_us + 11, (0.1, 0.2, sample))
    return path


def configs() -> list[RecordingConfig]:
    """Every depth mode, every colour mode in every format it has, parts alone, every sync role."""
    found = [RecordingConfig(serial="1", depth_mode=mode, fps=15) for mode in DEPTH_SHAPES]
    for mode in SIZES:
        for color_format in ("MJPG", "BGRA", *(("NV12", "YUY2") if mode == "720P" else ())):
            found.append(
                RecordingConfig(
                    serial="2", color_mode=mode, color_format=color_format, depth_mode="NFOV_2X2BINNED", fps=5
                )
            )
    for depth_mode in (None, *DEPTH_SHAPES):
        if depth_mode is not None:
            found.append(RecordingConfig(serial="3", color_mode=None, depth_mode=depth_mode, fps=15))
    found += [
        RecordingConfig(serial="4", depth_mode=None, has_imu=False, fps=30),
        RecordingConfig(
            serial="5", fps=15, sync_mode="MASTER", depth_delay_us=-160, depth_mode="NFOV_2X2BINNED", has_imu=False
        ),
        RecordingConfig(
            serial="6", fps=15, sync_mode="SUBORDINATE", depth_delay_us=1600, subordinate_delay_us=320,
            depth_mode="NFOV_2X2BINNED",
        ),
        RecordingConfig(
            serial="7", depth_mode="NFOV_2X2BINNED", fps=30, custom_tracks=(CustomTrack(name="TRIGGER_LOG"),)
        ),
    ]  # fmt: skip
    return found


def name_of(config: RecordingConfig) -> str:
    parts = [
        config.color_mode and f"{config.color_format}_{config.color_mode}",
        config.depth_mode,
        config.sync_mode[:3],
    ]
    return "-".join(part or "none" for part in parts)


@pytest.mark.parametrize("config", configs(), ids=name_of)
def test_every_mode_is_read_back_exactly(config: RecordingConfig, tmp_path: Path) -> None:
    path = write_mode(tmp_path / "r.mkv", config)
    with open_recording(path) as recording:
        info = recording.info
        assert info.color_mode == config.color_mode
        assert info.color_format == (None if config.color_mode is None else config.color_format)
        assert info.depth_mode == config.depth_mode
        assert (info.fps, info.serial, info.sync_mode) == (config.fps, config.serial, config.sync_mode)
        assert (info.color_firmware, info.depth_firmware) == (config.color_firmware, config.depth_firmware)
        assert info.depth_delay_us == config.depth_delay_us
        assert info.subordinate_delay_us == config.subordinate_delay_us
        assert not info.is_damaged
        assert len(recording) == 2
        for index in range(2):
            color, depth, infrared = content(config, index)
            frame = recording.capture(index, decode_color=False)
            assert recording.color_payload(index) == color
            for read, written in ((frame.depth_mm, depth), (frame.ir, infrared)):
                assert (read is None) == (written is None)
                if read is not None:
                    np.testing.assert_array_equal(read, written)
                    assert read.dtype == np.uint16
            color_us = 1_000_000 + index * 1_000_000 // config.fps
            assert frame.color_time_us == (None if color is None else color_us)
            assert frame.depth_time_us == (None if infrared is None else color_us + config.depth_delay_us)
        assert recording.calibration_json == factory_calibration().to_json()
        if config.has_imu:
            imu = recording.imu()
            times = [1_000_000 + i * 1_000_000 // config.fps + s * 625 for i in range(2) for s in range(40)]
            assert imu.acc_time_us.tolist() == times
            assert imu.gyro_time_us.tolist() == [time + 11 for time in times]
            expected = np.float32([(i, s, -9.81) for i in range(2) for s in range(40)])
            np.testing.assert_array_equal(imu.acc, expected)
            np.testing.assert_array_equal(imu.gyro, np.float32([(0.1, 0.2, s) for _ in range(2) for s in range(40)]))


@pytest.mark.skipif(shutil.which("mkvmerge") is None, reason="mkvmerge (Debian: mkvtoolnix) is not installed")
@pytest.mark.parametrize("config", configs(), ids=name_of)
def test_mkvtoolnix_finds_nothing_wrong(config: RecordingConfig, tmp_path: Path) -> None:
    path = write_mode(tmp_path / "r.mkv", config, num=1)
    answer = subprocess.run(["mkvmerge", "-J", str(path)], capture_output=True, text=True, check=True)
    table = json.loads(answer.stdout)
    assert (table["errors"], table["warnings"]) == ([], [])
    names = [track["properties"]["track_name"] for track in table["tracks"]]
    assert names == list(k4a_header.track_names(config))
    sizes = {t["properties"]["track_name"]: t["properties"].get("pixel_dimensions") for t in table["tracks"]}
    codecs = {t["properties"]["track_name"]: t["properties"]["codec_id"] for t in table["tracks"]}
    assert codecs == {
        name: "V_MS/VFW/FOURCC" if name in ("COLOR", "DEPTH", "IR") else f"S_K4A/{name}" for name in names
    }
    if config.color_mode is not None:
        assert sizes["COLOR"] == "{}x{}".format(*SIZES[config.color_mode])
    if config.depth_mode is not None:
        height, width = DEPTH_SHAPES[config.depth_mode]
        assert sizes["IR"] == f"{width}x{height}"
    dump = subprocess.run(["mkvinfo", "-v", str(path)], capture_output=True, text=True, check=True)
    assert "nknown" not in dump.stdout
    assert (dump.stderr, "Cluster" in dump.stdout) == ("", True)


@pytest.mark.parametrize("color_format", ["NV12", "YUY2", "BGRA"])
def test_another_decoder_sees_the_same_pixels(color_format: str, tmp_path: Path) -> None:
    """FFmpeg's raw video decoder takes the FourCC at its word, and depth as big-endian grey."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    config = RecordingConfig(serial="1", color_format=color_format, depth_mode="NFOV_UNBINNED", fps=15)
    path = write_mode(tmp_path / "r.mkv", config, num=1)
    color, depth, infrared = content(config, 0)
    with av.open(str(path)) as container:
        frames = {}
        for packet in container.demux(container.streams.video):
            for frame in packet.decode():
                frames.setdefault(packet.stream_index, frame)
    assert frames[0].format.name == {"NV12": "nv12", "YUY2": "yuyv422", "BGRA": "bgra"}[color_format]
    assert frames[0].to_ndarray().tobytes() == color
    for stream, image in ((1, depth), (2, infrared)):
        assert frames[stream].format.name == "gray16be"
        pixels = np.frombuffer(bytes(frames[stream].planes[0]), ">u2").reshape(576, -1)[:, :640]
        np.testing.assert_array_equal(pixels, image)


def test_a_jpeg_recording_plays_elsewhere(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path / "r.mkv"
    with RecordingWriter(path, RecordingConfig(serial="1", depth_mode=None), b"{}") as writer:
        for index in range(40):
            writer.write_capture(color=jpeg(index * 5), color_time_us=5_000_000 + index * 33_333)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 30
        assert container.duration == 39 * 33_333
        frames = list(container.decode(video=0))
        assert [round(frame.time * 1e6) for frame in frames] == [index * 33_333 for index in range(40)]
        container.seek(1_200_000)  # needs the cues
        assert abs(next(container.decode(video=0)).time - 1.2) < 1.1


def test_the_tags_are_those_the_sdk_writes(tmp_path: Path) -> None:
    config = RecordingConfig(
        serial="77", color_mode=None, depth_mode="PASSIVE_IR", sync_mode="SUBORDINATE", subordinate_delay_us=320,
        depth_delay_us=5, fps=15,
    )  # fmt: skip
    found = tags(write_mode(tmp_path / "a.mkv", config).read_bytes())
    uid = dict(found)["K4A_IR_TRACK"]
    imu_uid = dict(found)["K4A_IMU_TRACK"]
    assert uid != imu_uid
    assert found == [
        ("K4A_DEPTH_MODE", "PASSIVE_IR"), ("K4A_IR_TRACK", uid), ("K4A_IR_MODE", "PASSIVE"),
        ("K4A_WIRED_SYNC_MODE", "SUBORDINATE"), ("K4A_SUBORDINATE_DELAY_NS", "320000"),
        ("K4A_COLOR_FIRMWARE_VERSION", "1.6.110"), ("K4A_DEPTH_FIRMWARE_VERSION", "1.6.79"),
        ("K4A_DEVICE_SERIAL_NUMBER", "77"), ("K4A_CALIBRATION_FILE", "calibration.json"),
        ("K4A_IMU_TRACK", imu_uid), ("K4A_IMU_MODE", "ON"), ("K4A_START_OFFSET_NS", "1000000000"),
    ]  # fmt: skip
    for color_format, mode in (("NV12", "720P"), ("YUY2", "720P"), ("BGRA", "3072P"), ("MJPG", "1536P")):
        config = RecordingConfig(serial="1", color_mode=mode, color_format=color_format, depth_mode=None, fps=5)
        found = dict(tags(write_mode(tmp_path / f"{color_format}.mkv", config, num=1).read_bytes()))
        assert found["K4A_COLOR_MODE"] == f"{color_format}_{mode}"
        assert not any("DEPTH_DELAY" in name or "DEPTH_MODE" in name for name in found)


@pytest.mark.parametrize(
    ("color_format", "bits", "size"),
    [("MJPG", 24, 0), ("NV12", 12, 1382400), ("YUY2", 16, 1843200), ("BGRA", 32, 3686400)],
)
def test_the_codec_header_states_the_format(color_format: str, bits: int, size: int, tmp_path: Path) -> None:
    config = RecordingConfig(serial="1", color_format=color_format, depth_mode=None)
    raw = write_mode(tmp_path / "r.mkv", config, num=1).read_bytes()
    header = next(node.payload for node in walk(raw) if node.path.endswith("CodecPrivate"))
    fields = struct.unpack("<IiiHH4sIiiII", header)
    assert fields == (40, 1280, 720, 1, bits, color_format.encode(), size, 0, 0, 0, 0)


def test_what_the_device_has_not_is_refused() -> None:
    wrong = [
        {"color_format": "NV12", "color_mode": "1080P"}, {"color_format": "YUY2", "color_mode": "3072P", "fps": 15},
        {"color_format": "RGB"}, {"depth_mode": "WFOV_UNBINNED", "fps": 30}, {"color_mode": "3072P", "fps": 30},
        {"depth_delay_us": 40_000}, {"subordinate_delay_us": -1}, {"color_mode": None, "depth_mode": None},
        {"custom_tracks": (CustomTrack(name="A"), CustomTrack(name="A"))},
    ]  # fmt: skip
    for arguments in wrong:
        with pytest.raises(ConfigError):
            RecordingConfig(**{"serial": "1", **arguments})
    for name in ("depth", "IMU", "", "A B"):
        with pytest.raises(ConfigError, match="custom track"):
            CustomTrack(name=name)


@pytest.mark.parametrize(("color_format", "change"), [("NV12", -1), ("YUY2", 1), ("BGRA", -4)])
def test_raw_images_of_another_size_are_refused(color_format: str, change: int, tmp_path: Path) -> None:
    config = RecordingConfig(serial="1", color_format=color_format, depth_mode=None)
    size = int(1280 * 720 * BYTES_PER_PIXEL[color_format])
    with (
        pytest.raises(DataError, match=f"has {size + change} bytes"),
        RecordingWriter(tmp_path / "r.mkv", config, b"{}") as w,
    ):
        w.write_capture(color=bytes(size + change), color_time_us=1)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_capture_leaves_nothing_behind(tmp_path: Path) -> None:
    config = RecordingConfig(serial="1", depth_mode="NFOV_2X2BINNED", fps=15)
    color, depth, infrared = content(config, 0)
    assert depth is not None and infrared is not None
    path = tmp_path / "r.mkv"
    with RecordingWriter(path, config, b"{}") as writer:
        for wrong in ((color, depth, infrared[:-1], 5, 5), (color, depth, infrared, 5, None)):
            with pytest.raises(DataError):
                writer.write_capture(*wrong)
        writer.write_capture(color, depth, infrared, 1_000_000, 1_000_000)
    raw = path.read_bytes()
    assert [time_us for track in (1, 2, 3) for time_us, _ in simple_blocks(raw, track)] == [0, 0, 0]


@given(st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(1, 4)), min_size=1, max_size=60))
def test_clusters_are_in_order_and_short_whatever_comes(blocks: list[tuple[int, int]]) -> None:
    queue = BlockQueue()
    found: list[tuple[int, int]] = []
    starts = []
    given_ = []
    for at, (time_us, track) in enumerate([*blocks, (10_000_000, 1)]):
        if time_us >= queue.written_us:
            queue.push(time_us, track, bytes([at]))
            given_.append((time_us, track))
        while queue.is_ready():
            cluster = queue.next_cluster()
            assert queue.next_cluster() is cluster  # the same until it is written
            assert queue
            starts.append(cluster[0].time_us)
            assert cluster[-1].time_us - cluster[0].time_us < 32_000
            found += [(block.time_us, block.track) for block in cluster]
            queue.cluster_written()
    assert starts == sorted(set(starts))
    assert found == sorted(given_)[:-1]  # the last one waits
    assert queue
    queue.next_cluster()
    assert queue
    queue.cluster_written()
    assert not queue


def test_custom_tracks_carry_any_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    track, other = (
        CustomTrack(name="TRIGGER_LOG"),
        CustomTrack(name="NOTES-1", codec_id="S_TEXT/ASCII", codec_private=b"v1"),
    )
    config = RecordingConfig(serial="1", depth_mode="NFOV_2X2BINNED", custom_tracks=(track, other))
    pulses = [(1_000_000 + index * 33_333, rng.bytes(int(rng.integers(0, 300)))) for index in range(60)]
    path = tmp_path / "r.mkv"
    with RecordingWriter(path, config, b"{}") as writer:
        for index, (time_us, payload) in enumerate(pulses):
            writer.write_custom("TRIGGER_LOG", time_us, payload)
            writer.write_capture(*content(config, index), time_us, time_us)
        writer.write_custom("NOTES-1", 2_500_000, b"start")
        for name in ("COLOR", "NOTES"):
            with pytest.raises(DataError, match="no custom track"):
                writer.write_custom(name, 2_500_000, b"")
    raw = path.read_bytes()
    assert simple_blocks(raw, 5) == [(time_us - 1_000_000, payload) for time_us, payload in pulses]
    assert simple_blocks(raw, 6) == [(1_500_000, b"start")]
    nodes = [node for node in walk(raw) if node.path.startswith("Segment/Tracks/TrackEntry/")]
    values = {
        name: [n.payload for n in nodes if n.path.endswith(name)]
        for name in ("/Name", "/CodecID", "TrackType", "TrackUID")
    }
    assert values["/Name"][4:] == [b"TRIGGER_LOG", b"NOTES-1"]
    assert values["/CodecID"][4:] == [b"S_K4A/TRIGGER_LOG", b"S_TEXT/ASCII"]
    assert values["TrackType"][4:] == [b"\x11", b"\x11"]  # subtitles, as the SDK's
    assert nodes[-1].payload == b"v1"
    found = dict(tags(raw))
    uids = [str(int.from_bytes(uid, "big")) for uid in values["TrackUID"]]
    assert [found["K4A_CUSTOM_TRACK_TRIGGER_LOG"], found["K4A_CUSTOM_TRACK_NOTES-1"]] == uids[4:]
    with open_recording(path) as recording:
        assert recording.info.num_captures == 60
        assert list(recording.custom_frames("TRIGGER_LOG")) == pulses
        assert recording.info.track_names == ("COLOR", "DEPTH", "IR", "IMU", "TRIGGER_LOG", "NOTES-1")


def test_imu_samples_share_a_block_only_with_their_neighbours(tmp_path: Path) -> None:
    """In time order, as the SDK writes them; a block states the span of its samples."""
    config = RecordingConfig(serial="1", depth_mode="NFOV_2X2BINNED", color_mode=None)
    _, depth, infrared = content(config, 0)
    with RecordingWriter(tmp_path / "r.mkv", config, b"{}") as writer:
        for time_us in range(1_000_000, 1_010_000, 1000):
            writer.write_imu(time_us, (0, 0, 0), time_us, (0, 0, 0))
        writer.write_capture(None, depth, infrared, None, 1_004_500)
    nodes = [n for n in walk((tmp_path / "r.mkv").read_bytes()) if n.path.startswith("Segment/Cluster/")]
    order = [node.path.rsplit("/", 1)[1] for node in nodes]
    group = ["BlockGroup", "Block", "BlockDuration"]
    assert order == ["CRC-32", "Timestamp", *group, "SimpleBlock", "SimpleBlock", *group]
    blocks = [node.payload for node in nodes if node.path.endswith("/Block")]
    assert [(block[1:3], block[3], block[4]) for block in blocks] == [
        (b"\0\0", 4, 4),
        ((5000).to_bytes(2, "big"), 4, 4),
    ]
    durations = [int.from_bytes(node.payload, "big") for node in nodes if node.path.endswith("BlockDuration")]
    assert durations == [4001, 4001]


def test_the_date_is_a_fixed_one_unless_given(tmp_path: Path) -> None:
    config = RecordingConfig(serial="1", depth_mode=None, has_imu=False)

    def written(name: str, **date: datetime) -> bytes:
        with RecordingWriter(tmp_path / name, config, b"{}", **date) as writer:
            writer.write_capture(color=jpeg(5), color_time_us=1)
        return (tmp_path / name).read_bytes()

    def date_ns(raw: bytes) -> int:
        return next(int.from_bytes(n.payload, "big") for n in walk(raw) if n.path.endswith("DateUTC"))

    first, second = written("a.mkv"), written("b.mkv")
    assert first == second
    assert date_ns(first) == 0
    dated = written("c.mkv", date=datetime(2026, 11, 21, 12, 0, 0, 250_001, tzinfo=UTC))
    assert date_ns(dated) == 816_955_200_250_001_000  # 9,455 days and a half after 2001-01-01
    assert len(dated) == len(first)


def test_cues_point_at_clusters_that_begin_seconds(tmp_path: Path) -> None:
    config = RecordingConfig(serial="1", depth_mode=None, has_imu=False)
    path = tmp_path / "r.mkv"
    with RecordingWriter(path, config, b"{}") as writer:
        for index in range(150):
            writer.write_capture(color=b"\xff\xd8", color_time_us=3_000_000 + index * 33_333)
    raw = path.read_bytes()
    nodes: list[Node] = list(walk(raw))
    segment = next(node.start + node.header for node in nodes if node.path == "Segment")
    times = [int.from_bytes(n.payload, "big") for n in nodes if n.path.endswith("CueTime")]
    places = [int.from_bytes(n.payload, "big") for n in nodes if n.path.endswith("CueClusterPosition")]
    stamps = {
        node.start - segment: int.from_bytes(nodes[at + 2].payload, "big")
        for at, node in enumerate(nodes) if node.path == "Segment/Cluster"
    }  # fmt: skip
    assert [stamps[place] for place in places] == times == [0, 1_033_323, 2_066_646, 3_099_969, 4_133_292]
    seeks = [n.payload for n in nodes if n.path.startswith("Segment/SeekHead/Seek/")]
    by_id = {seeks[at]: int.from_bytes(seeks[at + 1], "big") for at in range(0, len(seeks), 2)}
    for identifier, position in by_id.items():
        assert raw[segment + position :].startswith(identifier)
    assert len(by_id) == 5
