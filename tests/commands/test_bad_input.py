"""What every command says to bad input: the exit code, the file or key by name, and nothing left behind.

One row is one mistake. A row passes if the exit code is right, the message names ``named``, no traceback
and no "unexpected" is shown, and the folder around the output holds what it held before.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anim_real.cli import COMMANDS, main
from commands.bad_rows import DEVICES, EXPORT_CAMERAS, IMPORT, INTRINSIC, RECORD, SYNC, Row
from commands.broken import (
    NAN_MESH,
    NO_FACES,
    RENDER,
    TAKE,
    Desk,
    at,
    cut,
    empty,
    flip,
    gone,
    key,
    nan_weights,
    put,
    relisted,
    stump,
    swapped,
    times,
    write_world,
)

NAN = float("nan")
MKV, SCANS = "kinect-k0.mkv", "scans"
FIRST = f"takes/{TAKE}"
PACK = ["--size", "64", "--resolution", "24", "--points", "600", "--workers", "1"]
LABEL_IMAGES = 'schema = "anim-real/regions/1"\nsource = "label_images"\n[label_images]\nface = [1]\n'
TINY = ["--set", "network.image_size=64", "--set", "schedule.steps=2", "--set", "schedule.batch_size=1"]
SPARSE = [
    "--set", "data.sampling.candidates=300", "--set", "data.sampling.base=100", "--set", "data.sampling.semantic=20",
    "--set", "data.depth_points=100",
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_world(root)
    return root


def simulate(desk: Desk, *more: object) -> list[object]:
    return ["simulate", "-o", desk.out(), "--subjects", "0", "--placements", "1", *more]


def calibrate(desk: Desk, *damages: Callable[[Path], object], rig: object = "virtual") -> list[object]:
    return ["calibrate", desk.copy("target", *damages), "--rig", rig, "-o", desk.out("out.json")]


def ingest(desk: Desk, *damages: Callable[[Path], object], rig: object = "virtual") -> list[object]:
    calibration = desk.copy("calibration.json")
    return [
        "ingest",
        desk.copy("balls", *damages),
        "--calibration",
        calibration,
        "--rig",
        rig,
        "-o",
        desk.out("m.json"),
    ]


def ingest_with(desk: Desk, *damages: Callable[[Path], object]) -> list[object]:
    calibration = desk.copy("calibration.json", *damages)
    return ["ingest", desk.copy("balls"), "--calibration", calibration, "--rig", "virtual", "-o", desk.out("m.json")]


def build(desk: Desk, *damages: Callable[[Path], object]) -> list[object]:
    return ["build-shards", desk.release(*damages), "-o", desk.out(), *PACK]


def render(desk: Desk, mesh: object, *more: object) -> list[object]:
    return ["render", mesh, "-o", desk.out(), *RENDER, *more]


def _with_regions(desk: Desk, regions: object) -> list[object]:
    return render(desk, desk.copy("person.ply"), "--regions", regions)


def train(desk: Desk, *more: object, recipe: object = "anim_tiny", data: object = None) -> list[object]:
    return ["train", recipe, "--data", data or desk.copy("data"), "-o", desk.out(), *TINY, *more]


def finetune(desk: Desk, *more: object, weights: object = None, recipe: object = "finetune_tiny") -> list[object]:
    weights = weights or desk.copy("weights")
    return ["finetune", recipe, "--weights", weights, "--data", desk.copy("data"), "-o", desk.out(), *TINY[2:], *more]


def reconstruct(desk: Desk, *more: object, weights: object = None, data: object = None) -> list[object]:
    chosen = ["--weights", weights or desk.copy("weights"), "--data", data or desk.copy("data"), "--split", "train"]
    return ["reconstruct", *chosen, "--resolution", "24", "-o", desk.out("out.ply"), *more]


def reconstruct_take(desk: Desk, *damages: Callable[[Path], object]) -> list[object]:
    release = desk.release(*damages).parent
    chosen = ["--take", release / FIRST, "--calibration", release / "calibration.json"]
    return ["reconstruct", "--weights", desk.copy("weights"), *chosen, "-o", desk.out("out.ply")]


def evaluate(desk: Desk, *more: object, data: object = None) -> list[object]:
    return ["evaluate", "--data", data or desk.copy("data"), "--split", "train", "-o", desk.out("s.json"), *more]


def meshes(desk: Desk, *damages: Callable[[Path], object]) -> Path:
    """A folder with the mesh that evaluate looks for, damaged."""
    path = desk.copy("person.ply", *damages)
    (desk.here / "meshes").mkdir()
    return path.rename(desk.here / "meshes" / "person_person-clean_0_0.ply").parent


def watertight(desk: Desk, scan: object, *more: object) -> list[object]:
    return ["watertight", scan, "-o", desk.out("out.ply"), "--resolution", "24", *more]


SIMULATE: list[Row] = [
    ("no such rig", 10, "nosuch", lambda d: simulate(d, "--rig", "nosuch")),
    ("unknown key in the rig", 2, "sensors.0.fpss", lambda d: simulate(d, "--rig", d.rig("fps = 30\n", "fpss = 3\n"))),
    ("rig of another schema", 12, "rig/2", lambda d: simulate(d, "--rig", d.rig("rig/1", "rig/2"))),
    ("NaN in the rig", 2, "scanner.fps", lambda d: simulate(d, "--rig", d.rig("fps = 30.0", "fps = nan"))),
    ("a rig that is not TOML", 2, "r.toml", lambda d: simulate(d, "--rig", d.text("r.toml", "[["))),
    ("no such target", 10, "nosuch", lambda d: simulate(d, "--rig", d.rig('"prism"', '"nosuch"'))),
    ("one frame", 2, "--frames", lambda d: simulate(d, "--frames", "1")),
    ("far too many placements", 2, "--placements", lambda d: simulate(d, "--placements", "100000000")),
    ("negative seed", 2, "--seed", lambda d: simulate(d, "--seed", "-1")),
    ("empty factory calibration", 4, "f.json", lambda d: simulate(d, "--factory", d.text("f.json"))),
    ("foreign factory calibration", 4, "f.json", lambda d: simulate(d, "--factory", d.text("f.json", "{}"))),
    ("output exists", 2, "exists", lambda d: [*simulate(d), "-o", d.text("there")]),
    ("output below a file", 2, "is a file", lambda d: [*simulate(d), "-o", d.below_a_file()]),
]
CALIBRATE: list[Row] = [
    ("no such take", 10, "nosuch", lambda d: ["calibrate", d.out("nosuch"), "--rig", "virtual", "-o", d.out("c.json")]),
    (
        "a file as take",
        10,
        "f.txt",
        lambda d: ["calibrate", d.text("f.txt"), "--rig", "virtual", "-o", d.out("c.json")],
    ),
    ("empty recording", 4, MKV, lambda d: calibrate(d, at(MKV, empty))),
    ("stump of a recording", 4, MKV, lambda d: calibrate(d, at(MKV, stump))),
    ("take of another schema", 12, "take/2", lambda d: calibrate(d, at("take.toml", swapped("take/1", "take/2")))),
    ("unknown key in the take", 2, "knd", lambda d: calibrate(d, at("take.toml", swapped("kind =", "knd =")))),
    ("no scan", 10, "scans", lambda d: calibrate(d, *(at(f"scans/frame-{k:06d}.ply", gone) for k in range(4)))),
    ("point cloud as scan", 4, "000001.ply", lambda d: calibrate(d, at("scans/frame-000001.ply", put(NO_FACES)))),
    ("scans 1000 times too large", 4, "unit", lambda d: calibrate(d, at(SCANS, times(1000.0)))),
    ("rig in metres", 4, "unit", lambda d: calibrate(d, rig=d.rig('unit = "mm"', 'unit = "m"'))),
    ("NaN in led.csv", 4, "level", lambda d: calibrate(d, at("scans/led.csv", swapped("0.5", "nan")))),
    (
        "take of a subject",
        2,
        "take.toml",
        lambda d: ["calibrate", d.copy("balls") / "s01-swing", "--rig", "virtual", "-o", d.out("c.json")],
    ),
    ("no such protocol", 10, "nosuch", lambda d: [*calibrate(d), "--protocol", "nosuch"]),
    ("output below a file", 2, "is a file", lambda d: [*calibrate(d)[:-1], d.below_a_file("c.json")]),
]
INGEST: list[Row] = [
    ("no such take", 10, "nosuch", lambda d: _missing(d)),
    ("stump of a recording", 4, MKV, lambda d: ingest(d, at(f"s01-swing/{MKV}", stump))),
    (
        "NaN in a table",
        4,
        "timestamps.csv",
        lambda d: ingest(d, at("s01-swing/scans/timestamps.csv", put("frame_index,time_us\n0,1\n1,nan\n"))),
    ),
    (
        "number too long for a table",
        4,
        "triggers.csv",
        lambda d: ingest(d, at("s01-swing/triggers.csv", put(f"pulse_index,time_us\n0,{'9' * 40}\n"))),
    ),
    ("scans 1000 times too small", 4, "scanner.unit", lambda d: ingest(d, at("s01-swing/scans", times(0.001)))),
    ("no consent", 14, "consent", lambda d: ingest(d, at("s01-swing/take.toml", _without_consent))),
    (
        "take of another rig",
        4,
        "take.toml",
        lambda d: ingest(d, at("s01-swing/take.toml", swapped('"virtual"', '"lab"'))),
    ),
    ("rig changed since", 4, "another version of the rig", lambda d: ingest(d, rig=d.rig("30.0", "25.0"))),
    ("no calibration", 10, "calibration.json", lambda d: ingest_with(d, gone)),
    (
        "calibration of another schema",
        12,
        "calibration/2",
        lambda d: ingest_with(d, swapped("calibration/1", "calibration/2")),
    ),
    ("NaN in the calibration", 4, "NaN", lambda d: ingest_with(d, key("sensors", "k0", "color", "fx", value=NAN))),
    (
        "mirroring pose",
        4,
        "T_color_scan",
        lambda d: ingest_with(d, key("sensors", "k0", "T_color_scan", "matrix", 0, 0, value=-1.0)),
    ),
    ("refused calibration", 4, "refused", lambda d: ingest_with(d, key("gates", 0, "passed", value=False))),
    ("deeply nested JSON", 4, "not valid JSON", lambda d: ingest_with(d, put("[" * 200_000))),
    ("negative distance", 2, "--max-distance-mm", lambda d: [*ingest(d), "--max-distance-mm", "-1"]),
    ("NaN as limit", 2, "--max-bias-mm", lambda d: [*ingest(d), "--max-bias-mm", "nan"]),
    ("unknown subject", 2, "nobody", lambda d: [*ingest(d), "--test", "nobody"]),
    ("output exists", 2, "exists", lambda d: [*ingest(d)[:-1], d.text("m.json")]),
    ("output below a file", 2, "is a file", lambda d: [*ingest(d)[:-1], d.below_a_file("m.json")]),
]
BUILD: list[Row] = [
    ("no such manifest", 10, "nosuch", lambda d: ["build-shards", d.out("nosuch.json"), "-o", d.out(), *PACK]),
    (
        "manifest of another schema",
        12,
        "manifest/3",
        lambda d: build(d, at("tiny.json", swapped("manifest/1", "manifest/3"))),
    ),
    (
        "table changed since ingest",
        4,
        "tiny.frames.csv",
        lambda d: build(d, at("tiny.frames.csv", swapped("0.95", "0.94"))),
    ),
    (
        "text in the table",
        4,
        "tiny.frames.csv",
        lambda d: build(d, relisted(at("tiny.frames.csv", swapped("0.95", "many")))),
    ),
    (
        "column renamed",
        4,
        "verdict",
        lambda d: build(d, relisted(at("tiny.frames.csv", swapped("verdict", "vredict")))),
    ),
    (
        "take changed since ingest",
        3,
        "changed since ingest",
        lambda d: build(d, at(f"{FIRST}/take.toml", swapped('"sway"', '"swey"'))),
    ),
    ("every take gone", 4, "no such take", lambda d: build(d, at("takes", gone))),
    ("truncated recording", 3, MKV, lambda d: build(d, relisted(at(f"{FIRST}/{MKV}", stump)))),
    ("empty scan", 3, "frame-000000.glb", lambda d: build(d, relisted(at(f"{FIRST}/scans/frame-000000.glb", empty)))),
    (
        "scans 1000 times too large",
        3,
        "scanner.unit",
        lambda d: build(d, relisted(at(f"{FIRST}/scans", times(1000.0)))),
    ),
    ("consent withdrawn", 14, "consent", lambda d: build(d, at("tiny.json", key("takes", 0, "consent", value=None)))),
    (
        "a path that climbs out",
        3,
        "leaves its folder",
        lambda d: build(d, at("tiny.json", key("takes", 0, "files_sha256", value={"../../../x": ""}))),
    ),
    ("another calibration", 4, "calibration.json", lambda d: [*build(d), "--calibration", d.copy("calibration.json")]),
    ("size of 0", 2, "--size", lambda d: [*build(d), "--size", "0"]),
    ("too many workers", 2, "--workers", lambda d: [*build(d), "--workers", "100000"]),
    ("output holds another data set", 2, "other inputs", lambda d: [*build(d), "-o", d.copy("data")]),
    ("output below a file", 2, "is a file", lambda d: [*build(d), "-o", d.below_a_file()]),
]
RENDERED: list[Row] = [
    ("no such mesh", 10, "nosuch.ply", lambda d: render(d, d.out("nosuch.ply"))),
    ("empty file", 4, "a.ply", lambda d: render(d, d.text("a.ply"))),
    ("point cloud", 4, "a.ply", lambda d: render(d, d.text("a.ply", NO_FACES))),
    ("NaN", 4, "a.obj", lambda d: render(d, d.text("a.obj", NAN_MESH))),
    ("truncated mesh", 4, "person.ply", lambda d: render(d, d.copy("person.ply", cut))),
    ("flat mesh", 4, "a.obj", lambda d: render(d, d.text("a.obj", "v 0 0 0\nv 1 0 0\nv 1 1.7 0\nf 1 2 3\n"))),
    ("1000 times too large", 4, "--unit", lambda d: render(d, d.copy("person.ply", times(1000.0)))),
    ("1000 times too small", 4, "--unit", lambda d: render(d, d.copy("person.ply"), "--unit", "mm")),
    ("height NaN", 2, "--height", lambda d: render(d, d.copy("person.ply"), "--height", "nan")),
    ("no such regions file", 10, "nosuch.toml", lambda d: _with_regions(d, d.out("nosuch.toml"))),
    (
        "regions of another schema",
        12,
        "regions/3",
        lambda d: _with_regions(d, d.text("r.toml", 'schema = "anim-real/regions/3"')),
    ),
    ("label images for a mesh file", 2, "captures", lambda d: _with_regions(d, d.text("r.toml", LABEL_IMAGES))),
    ("no views", 2, "--views", lambda d: render(d, d.copy("person.ply"), "--views", "0")),
    ("output below a file", 2, "is a file", lambda d: [*render(d, d.copy("person.ply")), "-o", d.below_a_file()]),
]
TRAIN: list[Row] = [
    ("no such recipe", 10, "nosuch", lambda d: train(d, recipe="nosuch")),
    (
        "recipe of another schema",
        12,
        "recipe/2",
        lambda d: train(d, recipe=d.shipped("training", "anim_tiny", "recipe/1", "recipe/2")),
    ),
    (
        "unknown key in the recipe",
        2,
        "schedule.stpes",
        lambda d: train(d, recipe=d.shipped("training", "anim_tiny", "[schedule]", "[schedule]\nstpes = 3")),
    ),
    ("unknown --set key", 2, "optimizer.rl", lambda d: train(d, "--set", "optimizer.rl=1")),
    ("--set without value", 2, "--set", lambda d: train(d, "--set", "lr")),
    ("NaN as rate", 2, "optimizer.lr", lambda d: train(d, "--set", "optimizer.lr=nan")),
    ("impossible moments", 2, "optimizer.betas", lambda d: train(d, "--set", "optimizer.betas=[1.5, 0.9]")),
    ("unknown preset", 2, "huge", lambda d: train(d, "--set", "preset=huge")),
    (
        "recipe of a fine-tune",
        2,
        "finetune",
        lambda d: ["train", "finetune_tiny", "--data", d.copy("data"), "-o", d.out()],
    ),
    ("no such data", 10, "nosuch", lambda d: train(d, data=d.out("nosuch"))),
    (
        "data of another schema",
        12,
        "dataset/7",
        lambda d: train(d, data=d.copy("data", at("dataset.json", swapped("dataset/1", "dataset/7")))),
    ),
    ("truncated record", 4, "dataset.json", lambda d: train(d, data=d.copy("data", at("dataset.json", cut)))),
    ("truncated shard", 4, "person-clean-0.h5", lambda d: train(d, data=d.shard(cut))),
    ("missing shard", 10, "person-clean-0.h5", lambda d: train(d, data=d.shard(gone))),
    ("output below a file", 2, "is a file", lambda d: [*train(d), "-o", d.below_a_file()]),
    ("output is a file", 2, "is a file", lambda d: [*train(d), "-o", d.text("there")]),
    ("output is something else", 2, "holds no run", lambda d: [*train(d), "-o", d.copy("weights")]),
]
FINETUNE: list[Row] = [
    ("no such weights", 10, "nosuch", lambda d: finetune(d, weights=d.out("nosuch"))),
    (
        "weights of another schema",
        12,
        "weights/2",
        lambda d: finetune(d, weights=d.copy("weights", at("config.json", swapped("weights/1", "weights/2")))),
    ),
    (
        "truncated weights",
        4,
        "model.safetensors",
        lambda d: finetune(d, weights=d.copy("weights", at("model.safetensors", cut))),
    ),
    ("NaN in the weights", 4, "NaN", lambda d: finetune(d, weights=d.copy("weights", nan_weights))),
    (
        "weights of another network",
        4,
        "model.safetensors",
        lambda d: finetune(d, weights=d.copy("weights", at("config.json", key("network", "hidden", value=[64, 32])))),
    ),
    ("a folder without weights", 10, "config.json", lambda d: finetune(d, weights=d.copy("release"))),
    ("network changed", 2, "network", lambda d: finetune(d, "--set", "network.image_size=96")),
    ("replay without data", 2, "replay", lambda d: finetune(d, "--set", "data.replay_fraction=0.5")),
    ("output below a file", 2, "is a file", lambda d: [*finetune(d), "-o", d.below_a_file()]),
]
RECONSTRUCT: list[Row] = [
    (
        "neither data nor take",
        2,
        "--take",
        lambda d: ["reconstruct", "--weights", d.copy("weights"), "-o", d.out("o.ply")],
    ),
    (
        "truncated weights",
        4,
        "model.safetensors",
        lambda d: reconstruct(d, weights=d.copy("weights", at("model.safetensors", cut))),
    ),
    ("damaged shard", 4, "person-clean-0.h5", lambda d: reconstruct(d, data=d.shard(flip))),
    ("no such frame", 10, "99", lambda d: reconstruct(d, "--frame", "99")),
    ("a digit that is no number", 10, "²", lambda d: reconstruct(d, "--frame", "²")),
    ("split without frames", 10, "no frame", lambda d: reconstruct(d, "--split", "test")),
    ("no resolution", 2, "resolution", lambda d: reconstruct(d, "--resolution", "0")),
    ("output below a file", 2, "is a file", lambda d: [*reconstruct(d), "-o", d.below_a_file("o.ply")]),
    ("no such take", 10, "nosuch", lambda d: [*reconstruct_take(d), "--take", d.out("nosuch")]),
    ("no such capture", 10, "99", lambda d: [*reconstruct_take(d), "--index", "99"]),
    ("stump of a recording", 4, MKV, lambda d: reconstruct_take(d, at(f"{FIRST}/{MKV}", stump))),
    (
        "recording of another device",
        4,
        "device",
        lambda d: reconstruct_take(d, at("calibration.json", key("sensors", "k0", "serial", value="1"))),
    ),
    (
        "calibration in millimetres",
        4,
        "volume",
        lambda d: reconstruct_take(
            d, at("calibration.json", key("sensors", "k0", "T_color_scan", "matrix", 2, 3, value=2300.0))
        ),
    ),
]
EVALUATE: list[Row] = [
    ("neither weights nor meshes", 2, "--meshes", lambda d: evaluate(d)),
    ("no such meshes", 10, "nosuch", lambda d: evaluate(d, "--meshes", d.out("nosuch"))),
    ("empty mesh", 4, "0_0.ply", lambda d: evaluate(d, "--meshes", meshes(d, put(NO_FACES)))),
    ("meshes in millimetres", 4, "metres", lambda d: evaluate(d, "--meshes", meshes(d, times(1000.0)))),
    ("no test split", 4, "test", lambda d: evaluate(d, "--meshes", meshes(d), "--split", "test")),
    ("unknown metrics", 2, "nosuch", lambda d: evaluate(d, "--meshes", meshes(d), "--metrics", "nosuch")),
    ("limit of 0", 2, "--limit", lambda d: evaluate(d, "--meshes", meshes(d), "--limit", "0")),
    ("negative seed", 2, "--seed", lambda d: evaluate(d, "--meshes", meshes(d), "--seed", "-1")),
    ("damaged shard", 4, "person-clean-0.h5", lambda d: evaluate(d, "--meshes", meshes(d), data=d.shard(flip))),
    (
        "output below a file",
        2,
        "is a file",
        lambda d: [*evaluate(d, "--meshes", meshes(d)), "-o", d.below_a_file("s.json")],
    ),
]
INSPECT: list[Row] = [
    ("nothing there", 10, "nosuch", lambda d: ["inspect", d.out("nosuch")]),
    ("unknown folder", 4, "no known kind", lambda d: ["inspect", d.here]),
    (
        "stump of a recording",
        4,
        MKV,
        lambda d: ["inspect", d.copy("balls", at(f"s01-swing/{MKV}", stump)) / "s01-swing" / MKV],
    ),
    (
        "calibration of another schema",
        12,
        "calibration/2",
        lambda d: ["inspect", d.copy("calibration.json", swapped("calibration/1", "calibration/2"))],
    ),
    (
        "scores of another schema",
        12,
        "scores/9",
        lambda d: ["inspect", d.text("s.json", '{"schema": "anim-real/scores/9"}')],
    ),
    (
        "truncated tensors",
        4,
        "model.safetensors",
        lambda d: ["inspect", d.copy("weights", at("model.safetensors", cut))],
    ),
    ("unknown key in a rig", 2, "untt", lambda d: ["inspect", d.rig("unit =", "untt =")]),
    ("damaged shard", 4, "person-clean-0.h5", lambda d: ["inspect", next((d.shard(stump) / "shards").glob("*.h5"))]),
]
EXPORT: list[Row] = [
    ("nothing there", 10, "nosuch", lambda d: ["export", d.out("nosuch.mkv"), "-o", d.out()]),
    ("a folder", 10, "balls", lambda d: ["export", d.copy("balls"), "-o", d.out()]),
    (
        "stump of a recording",
        4,
        MKV,
        lambda d: ["export", d.copy("balls", at(f"s01-swing/{MKV}", stump)) / "s01-swing" / MKV, "-o", d.out()],
    ),
    (
        "factory calibration without content",
        4,
        f"{MKV}:calibration.json",
        lambda d: ["export", d.copy("balls") / "s01-swing" / MKV, "-o", d.out()],
    ),
    (
        "unknown key in a target",
        2,
        "zzz",
        lambda d: ["export", d.shipped("calibration/targets", "prism", "name =", "zzz = 1\nname ="), "-o", d.out()],
    ),
    (
        "every 0th",
        2,
        "--every",
        lambda d: ["export", d.copy("balls") / "s01-swing" / MKV, "-o", d.out(), "--every", "0"],
    ),
    (
        "output below a file",
        2,
        "is a file",
        lambda d: ["export", d.copy("balls") / "s01-swing" / MKV, "-o", d.below_a_file()],
    ),
]
VALIDATE: list[Row] = [
    ("nothing there", 10, "nosuch", lambda d: ["validate", d.out("nosuch")]),
    ("empty folder", 10, "take.toml", lambda d: ["validate", d.here]),
    ("damaged shard", 4, "person-clean-0.h5", lambda d: ["validate", d.shard(flip)]),
    ("record gone", 10, "dataset.json", lambda d: ["validate", d.copy("data", at("dataset.json", gone))]),
    ("a calibration as manifest", 12, "calibration/1", lambda d: ["validate", d.copy("calibration.json")]),
    (
        "column renamed",
        4,
        "verdict",
        lambda d: ["validate", d.release(relisted(at("tiny.frames.csv", swapped("verdict", "vredict"))))],
    ),
    ("take changed", 4, TAKE, lambda d: ["validate", d.release(at(f"{FIRST}/take.toml", swapped('"sway"', '"swey"')))]),
    ("empty recording", 4, MKV, lambda d: ["validate", d.copy("balls", at(f"s01-swing/{MKV}", empty))]),
    ("negative seed", 2, "--seed", lambda d: ["validate", d.copy("data"), "--seed", "-1"]),
]
WATERTIGHT: list[Row] = [
    ("no such mesh", 10, "nosuch.ply", lambda d: watertight(d, d.out("nosuch.ply"))),
    ("point cloud", 4, "a.ply", lambda d: watertight(d, d.text("a.ply", NO_FACES))),
    ("NaN", 4, "a.obj", lambda d: watertight(d, d.text("a.obj", NAN_MESH))),
    ("1000 times too large", 4, "--unit", lambda d: watertight(d, d.copy("person.ply", times(1000.0)))),
    ("resolution of 0", 2, "--resolution", lambda d: watertight(d, d.copy("person.ply"), "--resolution", "0")),
    (
        "report below a file",
        2,
        "is a file",
        lambda d: watertight(d, d.copy("person.ply"), "--report", d.below_a_file("r.json")),
    ),
    (
        "output below a file",
        2,
        "is a file",
        lambda d: [*watertight(d, d.copy("person.ply")), "-o", d.below_a_file("o.ply")],
    ),
]
DEMO: list[Row] = [
    ("one subject", 2, "--subjects", lambda d: ["demo", "-o", d.out(), "--subjects", "1"]),
    ("one frame", 2, "--frames", lambda d: ["demo", "-o", d.out(), "--frames", "1"]),
    ("no such rig", 10, "nosuch", lambda d: ["demo", "-o", d.out(), "--rig", "nosuch"]),
    ("no such real files", 10, "nosuch", lambda d: ["demo", "-o", d.out(), "--real", d.out("nosuch")]),
    ("output exists", 2, "exists", lambda d: ["demo", "-o", d.text("there")]),
    ("output below a file", 2, "is a file", lambda d: ["demo", "-o", d.below_a_file()]),
]
DOCTOR: list[Row] = [
    ("no such folder", 10, "nosuch", lambda d: ["doctor", "--folder", d.out("nosuch")]),
]
TABLES = {
    "simulate": SIMULATE, "calibrate": CALIBRATE, "ingest": INGEST, "build-shards": BUILD, "render": RENDERED,
    "train": TRAIN, "finetune": FINETUNE, "reconstruct": RECONSTRUCT, "evaluate": EVALUATE, "inspect": INSPECT,
    "export": [*EXPORT, *EXPORT_CAMERAS], "validate": VALIDATE, "watertight": WATERTIGHT, "demo": DEMO,
    "doctor": DOCTOR, "sync": SYNC, "record": RECORD, "devices": DEVICES, "import-cameras": IMPORT,
    "calibrate-intrinsics": INTRINSIC,
}  # fmt: skip


def _missing(desk: Desk) -> list[object]:
    calibration = desk.copy("calibration.json")
    return ["ingest", desk.out("nosuch"), "--calibration", calibration, "--rig", "virtual", "-o", desk.out("m.json")]


def _without_consent(path: Path) -> None:
    path.write_text(path.read_text().partition("[consent]")[0])


def _listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_every_command_has_a_table() -> None:
    assert set(TABLES) == set(COMMANDS)


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{name}: {row[0]}") for name, rows in TABLES.items() for row in rows]
)
def test_bad_input_is_told_and_leaves_nothing(
    row: Row, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, exit_code, named, arrange = row
    arguments = [str(argument) for argument in arrange(Desk(world=world, here=tmp_path))]
    before = _listing(tmp_path)
    capsys.readouterr()
    found = main(arguments)
    told = capsys.readouterr().err
    assert found == exit_code, told
    assert named in told
    assert "Traceback" not in told
    assert "anim-real: unexpected" not in told
    if exit_code != 3:  # a partial result is a result, and lists what it lacks
        assert _listing(tmp_path) == before
    assert not [path for path in _listing(tmp_path) if ".partial" in path]


def _records_and(action: Callable[[], None]) -> Callable[..., None]:
    """A recording of the calibration take that writes something and is then struck by ``action``."""

    def record(*_: object, output: Path, **__: object) -> None:
        (output / "half.mkv").write_bytes(b"half")
        action()

    return record


def _full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _signalled(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


STRIKES = [
    pytest.param(_signalled(signal.SIGINT), 130, id="Ctrl-C"),
    pytest.param(_signalled(signal.SIGTERM), 143, id="SIGTERM"),
    pytest.param(_full, 13, id="disk full"),
]


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Ctrl-C interrupts even where the tests were started in the background of a shell, which ignores it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize(("strike", "exit_code"), STRIKES)
def test_simulate_struck_in_the_middle_leaves_nothing(
    strike: Callable[[], None], exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anim_real.calibrate.boards.targets.target_mesh", lambda *_: None)
    monkeypatch.setattr("anim_real.studio.simulate.record_calibration", _records_and(strike))
    assert main(["simulate", "-o", str(tmp_path / "out"), "--calibration-only", "--quiet"]) == exit_code
    assert _listing(tmp_path) == set()


@pytest.mark.parametrize(("strike", "exit_code"), STRIKES)
def test_training_struck_in_the_middle_has_no_weights_and_resumes(
    strike: Callable[[], None], exit_code: int, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(each) for each in train(Desk(world=world, here=tmp_path), *SPARSE)]
    with monkeypatch.context() as patched:
        patched.setattr("anim_real.train.loop._update", lambda *_: strike())
        assert main([*arguments, "--quiet"]) == exit_code
    assert not (tmp_path / "out" / "weights").exists()
    assert not [path for path in _listing(tmp_path) if ".partial" in path]
    if exit_code == 130:
        assert main([*arguments, "--quiet"]) == 0
        assert (tmp_path / "out" / "weights" / "model.safetensors").is_file()


@pytest.mark.parametrize(("strike", "exit_code"), STRIKES)
def test_packing_struck_in_the_middle_is_no_data_set_and_resumes(
    strike: Callable[[], None], exit_code: int, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(each) for each in build(Desk(world=world, here=tmp_path))]
    with monkeypatch.context() as patched:
        patched.setattr("anim_real.shards.pack.build_image", lambda *_: strike())
        assert main([*arguments, "--quiet"]) == exit_code
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert not [path for path in _listing(tmp_path) if ".partial" in path or path.endswith(".lock")]
    if exit_code == 130:
        assert main([*arguments, "--quiet"]) == 0
        assert main(["validate", str(tmp_path / "out"), "--quiet"]) == 0
