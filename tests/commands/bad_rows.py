"""Mistakes with live cameras, clocks and other tools' cameras; ``test_bad_input`` runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from commands.broken import Desk, at, key, stump, swapped

Row = tuple[str, int, str, Callable[[Desk], list[object]]]
NAN = float("nan")
CHAIN = """\
cam0:
  camera_model: pinhole
  intrinsics: [500.0, 501.0, 320.0, 240.0]
  distortion_model: radtan
  distortion_coeffs: [0.1, -0.2, 0.001, 0.002]
  resolution: [640, 480]
cam1:
  camera_model: pinhole
  intrinsics: [500.0, 501.0, 320.0, 240.0]
  distortion_model: radtan
  distortion_coeffs: [0.1, -0.2, 0.001, 0.002]
  resolution: [640, 480]
  T_cn_cnm1: [[1.0, 0.0, 0.0, 0.1], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
"""
EYE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
MULTICAL = {
    "cameras": {"a": {"model": "standard", "image_size": [640, 480], "K": EYE, "dist": [[0.0] * 5]}},
    "camera_poses": {"a": {"R": EYE, "T": [0.0, 0.0, 0.0]}},
}
MATRIX = "{name}: !!opencv-matrix\n  rows: {rows}\n  cols: {columns}\n  dt: d\n  data: [{data}]\n"
INTRINSICS = (
    '%YAML:1.0\n---\nnames: [ "01" ]\n'
    + MATRIX.format(name="K_01", rows=3, columns=3, data="500, 0, 320, 0, 500, 240, 0, 0, 1")
    + MATRIX.format(name="dist_01", rows=1, columns=5, data="0, 0, 0, 0, 0")
)
EXTRINSICS = (
    '%YAML:1.0\n---\nnames: [ "01" ]\n'
    + MATRIX.format(name="R_01", rows=3, columns=1, data="0, 0, 0")
    + MATRIX.format(name="T_01", rows=3, columns=1, data="0, 0, 1")
)


def sync(desk: Desk, *damages: Callable[[Path], object]) -> list[object]:
    return ["sync", desk.copy("balls", *damages) / "s01-swing", "-o", desk.out("s.json")]


def sync_with(desk: Desk, *damages: Callable[[Path], object]) -> list[object]:
    return [*sync(desk), "--calibration", desk.copy("calibration.json", *damages)]


def record(desk: Desk, *more: object, rig: object = "virtual", backend: str = "virtual") -> list[object]:
    return ["record", "-o", desk.out(), "--rig", rig, "--backend", backend, "--duration", "0.5", *more]


def boards(desk: Desk, source: object, *more: object) -> list[object]:
    return ["calibrate-intrinsics", source, "-o", desk.out("i.json"), *more]


def grey_images(desk: Desk, count: int) -> Path:
    """Pictures without any board."""
    folder = desk.here / "images"
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64), 100 + number, np.uint8))
    return folder


def ball_recording(desk: Desk) -> Path:
    return desk.copy("balls") / "s01-swing" / "kinect-k0.mkv"


def imported(desk: Desk, source: object, *more: object) -> list[object]:
    return ["import-cameras", source, "-o", desk.out("c.json"), *more]


def chain(desk: Desk, old: str, new: str) -> list[object]:
    """A Kalibr chain with one change."""
    assert old in CHAIN
    return imported(desk, desk.text("camchain.yaml", CHAIN.replace(old, new, 1)))


def multical(desk: Desk, *damages: Callable[[Path], object]) -> list[object]:
    path = desk.text("multical.json", json.dumps(MULTICAL))
    for damage in damages:
        damage(path)
    return imported(desk, path)


def easymocap(desk: Desk, intrinsics: str, extrinsics: str, *more: object) -> list[object]:
    desk.text("rig/intri.yml", intrinsics)
    return imported(desk, desk.text("rig/extri.yml", extrinsics).parent, *more)


def export_cameras(desk: Desk, *damages: Callable[[Path], object]) -> list[object]:
    return ["export", desk.copy("calibration.json", *damages), "-o", desk.out()]


SYNC: list[Row] = [
    ("no such take", 10, "nosuch", lambda d: ["sync", d.out("nosuch"), "-o", d.out("s.json")]),
    ("no such rig", 10, "nosuch", lambda d: [*sync(d), "--rig", "nosuch"]),
    ("a stump of a recording", 4, "kinect-k0.mkv", lambda d: sync(d, at("s01-swing/kinect-k0.mkv", stump))),
    ("nothing tells the clock", 4, "no clock could be solved", lambda d: sync(d)),
    ("text as stamp", 4, "triggers.csv", lambda d: sync(d, at("s01-swing/triggers.csv", swapped("0,", "x,")))),
    ("no calibration", 10, "nosuch", lambda d: [*sync(d), "--calibration", d.out("nosuch.json")]),
    ("refused calibration", 4, "refused", lambda d: sync_with(d, key("gates", 0, "passed", value=False))),
    ("calibration of another rig", 4, "another version", lambda d: sync_with(d, key("rig_sha256", value="0" * 64))),
    ("output is no JSON", 2, ".json", lambda d: [*sync(d), "-o", d.out("s.txt")]),
    ("report is no page", 2, ".html", lambda d: [*sync(d), "--report", d.out("s.txt")]),
    ("report exists", 2, "exists", lambda d: [*sync(d), "--report", d.text("s.html")]),
    ("output below a file", 2, "is a file", lambda d: [*sync(d), "-o", d.below_a_file("s.json")]),
]
RECORD: list[Row] = [
    ("no such rig", 10, "nosuch", lambda d: record(d, rig="nosuch")),
    ("unknown key in the rig", 2, "sensors.0.fpss", lambda d: record(d, rig=d.rig("fps = 30\n", "fpss = 3\n"))),
    ("no time", 2, "--duration", lambda d: record(d, "--duration", "0")),
    ("NaN as time", 2, "--duration", lambda d: record(d, "--duration", "nan")),
    ("negative warm-up", 2, "--warm-up", lambda d: record(d, "--warm-up", "-1")),
    ("negative seed", 2, "--seed", lambda d: record(d, "--seed", "-1")),
    ("consent without a licence", 2, "licence", lambda d: record(d, "--consent", "research")),
    ("a licence without consent", 2, "--licence", lambda d: record(d, "--licence", "CC0-1.0")),
    ("a name as subject", 2, "--subject", lambda d: record(d, "--subject", "Jane Doe")),
    ("a probe's flag", 2, "--probe-scanner", lambda d: record(d, "--yes")),
    ("a fault of no sensor", 2, "k9", lambda d: record(d, "--fault", "k9:drop=3")),
    ("a fault that is none", 2, "--fault", lambda d: record(d, "--fault", "nonsense")),
    ("nothing to play", 2, "mkv backend", lambda d: record(d, backend="mkv")),
    ("no such recording", 10, "nosuch", lambda d: record(d, "--source", d.out("nosuch.mkv"), backend="mkv")),
    ("a text as recording", 4, "a.mkv", lambda d: record(d, "--source", d.text("a.mkv", "hello"), backend="mkv")),
    ("a recording for virtual cameras", 2, "virtual", lambda d: record(d, "--source", d.text("a.mkv"))),
    ("output exists", 2, "exists", lambda d: [*record(d), "-o", d.text("there")]),
    ("output below a file", 2, "is a file", lambda d: [*record(d), "-o", d.below_a_file()]),
]
DEVICES: list[Row] = [
    ("no such backend", 2, "backend", lambda d: ["devices", "--backend", "kinect"]),
    (
        "no such interpreter",
        5,
        "nosuch",
        lambda d: ["devices", "--backend", "orbbec", "--orbbec-python", d.out("nosuch")],
    ),
    (
        "a text as interpreter",
        5,
        "a.txt",
        lambda d: ["devices", "--backend", "orbbec", "--orbbec-python", d.text("a.txt", "hello")],
    ),
]
IMPORT: list[Row] = [
    ("no such file", 10, "nosuch", lambda d: imported(d, d.out("nosuch.yaml"))),
    ("a folder without cameras", 4, "no format", lambda d: imported(d, d.text("empty/a.txt").parent)),
    ("unknown suffix", 4, "a.xml", lambda d: imported(d, d.text("a.xml", "<a/>"))),
    ("unknown format", 2, "format", lambda d: imported(d, d.text("a.json", "{}"), "--format", "nerf")),
    ("YAML that is none", 4, "camchain.yaml", lambda d: imported(d, d.text("camchain.yaml", "a: [1, {"))),
    ("empty YAML", 4, "camchain.yaml", lambda d: imported(d, d.text("camchain.yaml"))),
    ("YAML that runs code", 4, "plain YAML", lambda d: chain(d, "pinhole", "!!python/object/apply:os.getcwd []")),
    ("unknown camera model", 4, "omni", lambda d: chain(d, "pinhole", "omni")),
    ("unknown lens", 4, "equidistant", lambda d: chain(d, "radtan", "equidistant")),
    ("missing key", 4, "resolution", lambda d: chain(d, "  resolution: [640, 480]\n", "")),
    ("mirrored rotation", 4, "mirroring", lambda d: chain(d, "[[1.0, 0.0", "[[-1.0, 0.0")),
    ("millimetres in the rotation", 4, "T_cam1_cam0", lambda d: chain(d, "[[1.0, 0.0", "[[1000.0, 0.0")),
    ("NaN", 4, "not finite", lambda d: chain(d, "500.0", ".nan")),
    ("a gap in the chain", 4, "without gaps", lambda d: chain(d, "cam1:", "cam2:")),
    ("JSON that is none", 4, "a.json", lambda d: imported(d, d.text("a.json", "{"))),
    ("JSON of something else", 4, "cameras", lambda d: imported(d, d.text("a.json", "{}"))),
    ("NaN in JSON", 4, "NaN", lambda d: multical(d, key("cameras", "a", "K", 0, 0, value=NAN))),
    ("fisheye", 4, "fisheye", lambda d: multical(d, key("cameras", "a", "model", value="fisheye"))),
    ("no pose", 4, "no pose of a", lambda d: multical(d, key("camera_poses", value={}))),
    ("mirrored pose", 4, "T_a_rig", lambda d: multical(d, key("camera_poses", "a", "R", 0, 0, value=-1.0))),
    ("no image size", 4, "--size", lambda d: easymocap(d, INTRINSICS, EXTRINSICS)),
    ("a size of 0", 4, "whole number", lambda d: easymocap(d, INTRINSICS, EXTRINSICS, "--size", "0", "480")),
    (
        "no rotation",
        4,
        "R_01",
        lambda d: easymocap(d, INTRINSICS, EXTRINSICS.replace("R_01", "Q_01"), "--size", "640", "480"),
    ),
    ("one file of two", 4, "folder", lambda d: imported(d, d.text("intri.yml", INTRINSICS))),
    ("a size that the file tells", 2, "--size", lambda d: [*multical(d), "--size", "640", "480"]),
    (
        "our list of another schema",
        12,
        "cameras/7",
        lambda d: imported(d, d.text("a.json", '{"schema": "anim-real/cameras/7"}')),
    ),
    ("output is no JSON", 2, ".json", lambda d: [*multical(d), "-o", d.out("c.txt")]),
    ("output exists", 2, "exists", lambda d: [*multical(d), "-o", d.text("c.json")]),
    ("output below a file", 2, "is a file", lambda d: [*multical(d), "-o", d.below_a_file("c.json")]),
]
EXPORT_CAMERAS: list[Row] = [
    ("no such calibration", 10, "nosuch", lambda d: ["export", d.out("nosuch.json"), "-o", d.out()]),
    ("refused calibration", 4, "refused", lambda d: export_cameras(d, key("gates", 0, "passed", value=False))),
    (
        "calibration of another schema",
        12,
        "calibration/2",
        lambda d: export_cameras(d, swapped("calibration/1", "calibration/2")),
    ),
    (
        "mirroring pose",
        4,
        "T_color_scan",
        lambda d: export_cameras(d, key("sensors", "k0", "T_color_scan", "matrix", 0, 0, value=-1.0)),
    ),
    ("a sensor whose name no file can hold", 4, "a/b", lambda d: export_cameras(d, swapped('"k0": {', '"a/b": {'))),
    ("no sensors", 4, "no set", lambda d: export_cameras(d, key("sensors", value={}))),
    ("no format", 2, "--formats", lambda d: [*export_cameras(d), "--formats"]),
    ("unknown format", 2, "formats", lambda d: [*export_cameras(d), "--formats", "nerf"]),
    ("output exists", 2, "exists", lambda d: [*export_cameras(d), "-o", d.text("there")]),
    ("output below a file", 2, "is a file", lambda d: [*export_cameras(d), "-o", d.below_a_file()]),
]
INTRINSIC: list[Row] = [
    ("no such source", 10, "nosuch", lambda d: boards(d, d.out("nosuch"))),
    ("a text file", 4, "Matroska", lambda d: boards(d, d.text("a.mkv", "no recording"))),
    ("a folder without images", 10, "image", lambda d: boards(d, d.copy("balls"))),
    ("images without a board", 4, "board", lambda d: boards(d, grey_images(d, 8))),
    ("too few images", 4, "", lambda d: boards(d, grey_images(d, 1))),
    (
        "a recording with a damaged calibration",
        4,
        "CalibrationInformation",
        lambda d: boards(d, ball_recording(d), "--stream", "color"),
    ),
    ("no such target", 10, "nosuch", lambda d: boards(d, grey_images(d, 1), "--target", "nosuch")),
    ("unknown lens", 2, "lens", lambda d: boards(d, grey_images(d, 1), "--lens", "fisheye")),
    ("too few views", 2, "--max-views", lambda d: boards(d, grey_images(d, 1), "--max-views", "2")),
    ("no such factory", 10, "nosuch", lambda d: boards(d, grey_images(d, 1), "--factory", d.out("nosuch.yml"))),
    ("output is no JSON", 2, ".json", lambda d: [*boards(d, grey_images(d, 1)), "-o", d.out("i.txt")]),
    ("report is no page", 2, ".html", lambda d: boards(d, grey_images(d, 1), "--report", d.out("r.pdf"))),
    ("output exists", 2, "exists", lambda d: [*boards(d, grey_images(d, 1)), "-o", d.text("i.json")]),
]
