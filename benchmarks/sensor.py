"""The sensor's speed: alignment, reading and writing of recordings, side by side in one run.

    python benchmarks/sensor.py                          all sections, the real recording where it is found
    python benchmarks/sensor.py alignment --check        compares every mode pair with the NumPy reference too
    python benchmarks/sensor.py reading writing --repeats 5

Prints, per row, the median and the smallest wall time of the repeats (warm: one call before them) and the
ratio of medians to the section's yardstick. Other work on the machine moves the times, less so the ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anim_real.capture.k4a_calibration import FactoryCalibration
    from anim_real.capture.recording.k4a_format import RecordingConfig
    from anim_real.geometry.cameras import Camera
    from anim_real.geometry.frames import Rigid

ROOT = Path(__file__).resolve().parents[1]
REAL_RECORDING = ROOT.parent / "shared" / "data" / "k4a-recording" / "recording.mkv"


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Wall seconds of repeated calls, and the last answer."""

    seconds: list[float]
    answer: object = None

    @property
    def median(self) -> float:
        """Median in seconds."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """Smallest in seconds."""
        return min(self.seconds)


def timed(call: Callable[[], object], repeats: int, *, is_warm: bool = False) -> Timed:
    """Time ``repeats`` calls, after one that compiles and fills caches unless ``is_warm``."""
    if not is_warm:
        call()
    seconds, answer = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - start)
    return Timed(seconds=seconds, answer=answer)


def show(name: str, run: Timed, *, yardstick: Timed | None = None, limit: str = "", note: str = "") -> None:
    """Print one row: name, median, minimum, how many times the yardstick's median it takes or saves."""
    ratio = ""
    if yardstick is not None:
        times = yardstick.median / run.median
        ratio = f"{times:8.1f}x faster" if times >= 1 else f"{1 / times:8.2f}x slower"
    row = f"{name:44} {1e3 * run.median:10.2f} ms {1e3 * run.least:10.2f} ms {ratio:16}"
    print(f"{row} {limit:>12}  {note}".rstrip(), flush=True)


def heading(title: str) -> None:
    """Print the title of a section and its columns."""
    print(f"\n{title}\n{'':44} {'median':>13} {'min':>13} {'ratio':>16} {'asked':>12}", flush=True)


def main() -> None:
    """Run the chosen sections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--recording", type=Path, default=REAL_RECORDING, help="an Azure Kinect recording")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--check", action="store_true", help="compare every mode pair with the reference")
    flags = parser.parse_args()
    unknown = set(flags.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; known: {', '.join(SECTIONS)}")
    for name in flags.sections or SECTIONS:
        SECTIONS[name](flags)


def alignment(flags: argparse.Namespace) -> None:
    """Depth to colour and back, against the NumPy reference of the tests and OpenCV's ``registerDepth``."""
    from anim_real.capture.alignment import depth_to_color
    from anim_real.capture.gather import color_to_depth
    from anim_real.geometry.depth import normals, unproject
    from tests.capture.alignment_reference import reference_depth_to_color

    factory, depth_mm, source = alignment_frame(flags.recording)
    heading(f"Alignment of a 640x576 frame ({source}); ratios to the NumPy reference in the row above")
    depth_camera, pose = factory.camera("depth", "NFOV_UNBINNED"), factory.T_color_depth
    for mode, limit in {"720P": "15 ms, 40x", "1536P": "25 ms, 40x", "3072P": "100 ms, 40x"}.items():
        cameras = depth_camera, factory.camera("color", mode)
        calls = [
            lambda c=cameras: reference_depth_to_color(depth_mm, *c, pose),
            lambda c=cameras: depth_to_color(depth_mm, *c, pose),
            lambda c=cameras: opencv(depth_mm, *c, pose),
        ]
        slow, fast, splat = warm_rounds(calls, (1, flags.repeats // 3 + 1, 1))
        equal = equality(calls[1](), calls[0]())
        show(f"{mode}: NumPy reference", slow)
        show(f"{mode}: depth_to_color", fast, yardstick=slow, limit=limit, note=equal)
        show(f"{mode}: OpenCV registerDepth (splats)", splat, yardstick=slow)
    color_camera = factory.camera("color", "720P")
    image = np.random.default_rng(0).integers(0, 256, (color_camera.height, color_camera.width, 3), np.uint8)
    for options in ({}, {"hide_occluded": True}):
        gather = timed(
            lambda o=options: color_to_depth(image, depth_mm, depth_camera, color_camera, pose, **o), flags.repeats
        )
        show(f"color_to_depth 720P {', '.join(options) or 'linear'}", gather, limit="10 ms")
    points = unproject(depth_mm, depth_camera)
    show("normals 640x576", timed(lambda: normals(points), flags.repeats))
    person_rows(flags.repeats)
    if flags.check:
        check_every_pair(flags.recording)


def alignment_frame(recording: Path) -> tuple[FactoryCalibration, np.ndarray, str]:
    """A device and a depth frame of NFOV_UNBINNED: the recording's, or a simulated one where there is no such file."""
    from anim_real.capture.k4a_calibration import parse_calibration
    from anim_real.capture.recording.k4a_mkv import open_recording
    from tests.capture.simulated_frames import simulated_frame

    if not recording.is_file():
        return *simulated_frame("NFOV_UNBINNED"), "simulated"
    with open_recording(recording) as opened:
        depth_mm = opened.capture(0, decode_color=False).depth_mm
        assert depth_mm is not None, "the first capture has no depth"
        return parse_calibration(opened.calibration_json), depth_mm, recording.name


def warm_rounds(calls: Sequence[Callable[[], object]], repeats: Sequence[int]) -> list[Timed]:
    """Time calls in three rounds, so that other work on the machine meets all of them; each warm in every round."""
    rounds = [[timed(call, num) for call, num in zip(calls, repeats, strict=True)] for _ in range(3)]
    return [Timed(seconds=[second for run in runs for second in run.seconds]) for runs in zip(*rounds, strict=True)]


def opencv(depth_mm: np.ndarray, depth_camera: Camera, color_camera: Camera, pose: Rigid) -> np.ndarray:
    """OpenCV's splatting of the same frame; it takes the depth lens for a pinhole."""
    import cv2

    lens, size = color_camera.distortion.astype(np.float32), (color_camera.width, color_camera.height)
    matrices = depth_camera.matrix.astype(np.float32), color_camera.matrix.astype(np.float32)
    return cv2.registerDepth(*matrices, lens, pose.matrix.astype(np.float32), depth_mm, size)


def person_rows(repeats: int) -> None:
    """A simulated person: straight into the 512 px crop, as ingest does, and into the whole 720P image."""
    from anim_real.capture.alignment import depth_to_color
    from anim_real.capture.crop import crop_camera
    from anim_real.geometry.depth import unproject
    from anim_real.geometry.frames import Rigid
    from anim_real.studio.bodies import make_performer
    from anim_real.studio.tracing import Surface
    from tests.capture.simulated_frames import T_COLOR_WORLD, photograph

    performer = make_performer(1)
    surface = Surface(mesh=performer.pose("stand", 0.0), ir_albedo=performer.ir_albedo)
    factory, depth_mm = photograph("NFOV_UNBINNED", surface, Rigid.identity("world", "body"))
    depth_camera, pose = factory.camera("depth", "NFOV_UNBINNED"), factory.T_color_depth
    points = pose.apply(unproject(depth_mm, depth_camera)).reshape(-1, 3)
    x, y, z = T_COLOR_WORLD.inverse().apply(points).T
    crop = crop_camera(points[(np.hypot(x, z) < 0.7) & (y > 0.05)], 512)
    floats = depth_mm.astype(np.float64)
    whole = timed(lambda: depth_to_color(floats, depth_camera, factory.camera("color", "720P"), pose), repeats)
    show("simulated person, float mm: 720P", whole)
    cropped = timed(lambda: depth_to_color(floats, depth_camera, crop, pose), repeats)
    share = 100 * (cropped.answer > 0).mean()  # type: ignore[operator]
    show(
        "simulated person, float mm: 512 px crop",
        cropped,
        yardstick=whole,
        limit="<= 720P",
        note=f"{share:.0f} % filled",
    )


def check_every_pair(recording: Path) -> None:
    """Compare whole frames with the reference in every pair of modes, with and without repair, and the gather."""
    from anim_real.capture.alignment import depth_to_color
    from anim_real.capture.gather import color_to_depth
    from tests.capture.alignment_reference import reference_color_to_depth, reference_depth_to_color
    from tests.capture.simulated_frames import COLOR_MODES, DEPTH_MODES, simulated_frame

    print("\nPixels equal to the reference: depth_to_color, without repair, color_to_depth")
    frames = [(*simulated_frame(mode), mode, "simulated") for mode in DEPTH_MODES]
    frames.append((*alignment_frame(recording)[:2], "NFOV_UNBINNED", recording.name))
    for factory, depth_mm, depth_mode, source in frames:
        for color_mode in COLOR_MODES:
            cameras = factory.camera("depth", depth_mode), factory.camera("color", color_mode)
            scene = (depth_mm, *cameras, factory.T_color_depth)
            row = [
                equality(depth_to_color(*scene, repair=repair), reference_depth_to_color(*scene, repair=repair))
                for repair in (True, False)
            ]
            image = np.random.default_rng(0).integers(0, 256, (cameras[1].height, cameras[1].width, 3), np.uint8)
            row.append(equality(color_to_depth(image, *scene).color, reference_color_to_depth(image, *scene)[0]))
            print(f"{source:14} {depth_mode:15} -> {color_mode:6} {'  '.join(row)}", flush=True)


def equality(found: object, expected: object) -> str:
    """How much of two images is the same."""
    is_equal = np.asarray(found) == np.asarray(expected)
    return f"{100 * is_equal.mean():.4f} % equal" + ("" if is_equal.all() else f", {(~is_equal).sum()} DIFFER")


def reading(flags: argparse.Namespace) -> None:
    """Reading a recording, against PyAV's bare demux and decode of the same file.

    The recording's first capture is written 60 times over: one capture says nothing about going through a take.
    PyAV gives colour as it lies in the JPEG (planes of Y, Cb, Cr) and depth and IR as bytes; ours gives RGB,
    millimetres and IR as arrays.
    """
    import av

    from anim_real.capture.recording.k4a_mkv import open_recording

    def ours(*, decode_color: bool = True) -> None:
        with open_recording(path) as recording:
            for _ in recording.captures(decode_color=decode_color):
                pass

    def theirs(pixels: str | None = None) -> None:
        with av.open(str(path)) as container:
            for packet in container.demux():
                if packet.stream.index > 0:
                    bytes(packet)
                    continue
                for frame in packet.decode():
                    if pixels is not None and isinstance(frame, av.VideoFrame):
                        frame.to_ndarray(format=pixels)

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "recording.mkv"
        num = _repeat_capture(flags.recording, path, 60)
        heading(f"Reading {num} captures, 720P MJPG with 640x576 depth and IR, {path.stat().st_size / 1e6:.0f} MB")
        bare, with_rgb, full, depth_only = interleaved(
            [theirs, lambda: theirs("rgb24"), ours, lambda: ours(decode_color=False)], flags.repeats
        )
    per_run = statistics.median(mine / yours for mine, yours in zip(full.seconds, bare.seconds, strict=True))
    show("PyAV: demux, decode to planes", bare)
    show("PyAV: the same, and to RGB", with_rgb, yardstick=bare)
    show("Recording.captures()", full, yardstick=bare, limit="<= 1.3x", note=f"median of ratios per run {per_run:.2f}")
    show("Recording.captures(decode_color=False)", depth_only, yardstick=bare)


def interleaved(calls: Sequence[Callable[[], object]], repeats: int) -> list[Timed]:
    """Time several calls in turns, so that other work on the machine meets all of them; one warm turn before."""
    rounds = [[timed(call, 1, is_warm=True).least for call in calls] for _ in range(repeats + 1)]
    return [Timed(seconds=list(seconds)) for seconds in zip(*rounds[1:], strict=True)]


def _repeat_capture(source: Path, path: Path, num: int) -> int:
    """Write the first capture of ``source`` ``num`` times."""
    from anim_real.capture.recording.k4a_mkv import RecordingConfig, RecordingWriter, open_recording

    with open_recording(source) as recording:
        frame, color = recording.capture(0, decode_color=False), recording.color_payload(0)
        with RecordingWriter(path, RecordingConfig(serial="0"), recording.calibration_json) as writer:
            for time_us in range(1_000_000, 1_000_000 + 33_333 * num, 33_333):
                writer.write_capture(color, frame.depth_mm, frame.ir, time_us, time_us)
    return num


def writing(flags: argparse.Namespace) -> None:
    """Writing a simulated recording with its IMU, against plain ``write`` calls of the same payloads."""
    from anim_real.capture.recording.k4a_format import RecordingConfig

    configs = [
        RecordingConfig(serial="0", color_mode="720P"),
        RecordingConfig(serial="0", color_mode="1536P", color_format="BGRA"),
    ]
    for folder in (Path(tempfile.gettempdir()), Path("/dev/shm")):
        if not folder.is_dir():
            continue
        heading(f"Writing into {folder}")
        for config in configs:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                _measure_writing(config, Path(name) / "recording.mkv", flags.repeats)


def _measure_writing(config: RecordingConfig, path: Path, repeats: int) -> None:
    from anim_real.capture.recording.k4a_format import COLOR_SIZES
    from anim_real.capture.recording.k4a_images import image_bytes
    from anim_real.capture.recording.k4a_writer import RecordingWriter

    rng = np.random.default_rng(0)
    size = image_bytes(config.color_format, *COLOR_SIZES[config.color_mode or "720P"])
    color = b"\xff\xd8" + rng.bytes(size - 2 if size else 220_000)
    images = [rng.integers(0, 4000, (576, 640), np.uint16) for _ in range(4)]
    per_capture = len(color) + 2 * images[0].nbytes
    num = 600_000_000 // per_capture

    def ours() -> None:
        with RecordingWriter(path, config, b"{}") as writer:
            for index in range(num):
                time_us = 1_000_000 + index * 33_333
                writer.write_capture(color, images[index % 4], images[(index + 1) % 4], time_us, time_us)
                for sample_us in range(time_us, time_us + 33_333, 625):
                    writer.write_imu(sample_us, (0.0, 0.0, -9.8), sample_us, (0.0, 0.0, 0.0))

    def plain() -> None:
        with path.open("wb", buffering=0) as stream:
            for index in range(num):
                for part in (color, images[index % 4].data, images[(index + 1) % 4].data):
                    stream.write(part)
            os.fsync(stream.fileno())

    bare, full = interleaved([plain, ours], repeats)
    rate = num * per_capture / 1e6
    name = f"{config.color_format} {config.color_mode}, {config.depth_mode}"
    show(f"plain write, {name}", bare, note=f"{rate / bare.median:.0f} MB/s")
    show(f"RecordingWriter, {name}", full, yardstick=bare, limit=">= 100 MB/s", note=f"{rate / full.median:.0f} MB/s")


SECTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "alignment": alignment,
    "reading": reading,
    "writing": writing,
}

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # the reference lives in tests/
    main()
