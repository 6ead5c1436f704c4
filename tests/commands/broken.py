"""Small true inputs of every command, and the ways in which people and disks break them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from data.people import person_mesh

from anim_real.cli import main
from anim_real.files import sha256_file
from anim_real.mesh import load_mesh, save_mesh
from anim_real.resources import find
from commands.ball_takes import write_calibration, write_take
from commands.tiny_release import write_release

NO_FACES = (
    "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    "end_header\n0 0 0\n1 0 0\n0 1 0\n"
)
NAN_MESH = "v 0 0 0\nv nan 1 0\nv 0 1 1\nv 1 1 1\nf 1 2 3\nf 2 3 4\n"
RENDER = ["--size", "64", "--views", "1", "--resolution", "24", "--points", "600", "--workers", "1"]
TAKE = "s01-sway"


def write_world(root: Path) -> None:
    """Everything the cases copy from: takes, calibration, manifest, meshes, a data set, weights."""
    from anim_real.model.anim import ANIM
    from anim_real.model.presets import network_spec

    write_release(root / "release", num_scans=1)
    write_take(root / "balls" / "s01-swing", "s01", num=4)
    write_calibration(root / "calibration.json")
    shutil.copytree(root / "balls" / "s01-swing", root / "target")
    (root / "target" / "take.toml").write_text(
        'schema = "anim-real/take/1"\ntake_id = "target"\nkind = "calibration"\nsubject = "target"\n'
        'rig = "virtual"\ntarget = "prism"\n'
    )
    for scan in (root / "target" / "scans").glob("*.ply"):
        mesh = load_mesh(scan)
        save_mesh(scan, replace(mesh, colors=np.full((len(mesh.vertices), 3), 128, np.uint8)))
    levels = "".join(f"{index},{9_000_000 + 33_333 * index},0.5\n" for index in range(4))
    (root / "target" / "scans" / "led.csv").write_text(f"frame_index,time_us,level\n{levels}")
    save_mesh(root / "person.ply", person_mesh())
    assert main(["render", str(root / "person.ply"), "-o", str(root / "data"), *RENDER, "--quiet"]) == 0
    ANIM(network_spec("tiny", "anim", {"image_size": 64})).save_pretrained(root / "weights")


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where one case lays out its input: copies from the world, damages them, names outputs."""

    world: Path
    here: Path

    def copy(self, name: str, *damages: Callable[[Path], object]) -> Path:
        """Copy a file or folder of the world, damage the copy, return its path."""
        source, copied = self.world / name, self.here / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copied)
        else:
            shutil.copy(source, copied)
        for damage in damages:
            damage(copied)
        return copied

    def text(self, name: str, content: str = "") -> Path:
        """Write a text file."""
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def shipped(self, kind: str, name: str, old: str, new: str) -> Path:
        """A shipped TOML file with one change."""
        content = find(kind, name).read_text()
        assert old in content
        return self.text(f"{name}.toml", content.replace(old, new, 1))

    def rig(self, old: str, new: str) -> Path:
        """The virtual rig with one change."""
        return self.shipped("rigs", "virtual", old, new)

    def release(self, *damages: Callable[[Path], object]) -> Path:
        """Manifest of a damaged release."""
        return self.copy("release", *damages) / "tiny.json"

    def shard(self, damage: Callable[[Path], object]) -> Path:
        """Data set whose only shard is damaged."""
        return self.copy("data", lambda folder: damage(next((folder / "shards").glob("*.h5"))))

    def out(self, name: str = "out") -> str:
        """An output that does not exist."""
        return str(self.here / name)

    def below_a_file(self, name: str = "out") -> str:
        """An output whose folder is a file: what even root cannot write."""
        return str(self.text("file", "in the way") / name)


def at(relative: str, damage: Callable[[Path], object]) -> Callable[[Path], object]:
    """Damage a file inside the copied folder."""
    return lambda folder: damage(folder / relative)


def cut(path: Path) -> None:
    """Keep the first half."""
    payload = path.read_bytes()
    path.write_bytes(payload[: len(payload) // 2])


def stump(path: Path) -> None:
    """Keep the first 100 bytes: a header without content."""
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    """Zero bytes."""
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """Invert a third of the bytes, in the middle."""
    payload = bytearray(path.read_bytes())
    third = len(payload) // 3
    payload[third : 2 * third] = bytes(255 - value for value in payload[third : 2 * third])
    path.write_bytes(bytes(payload))


def gone(path: Path) -> None:
    """Remove a file or folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def swapped(old: str, new: str) -> Callable[[Path], object]:
    """Replace text that must be there."""

    def damage(path: Path) -> None:
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, 1))

    return damage


def put(content: str) -> Callable[[Path], object]:
    """Replace the content."""
    return lambda path: path.write_text(content)


def key(*keys: str | int, value: Any) -> Callable[[Path], object]:
    """Set one value of a JSON file; NaN is written as Python writes it."""

    def damage(path: Path) -> None:
        table = json.loads(path.read_text())
        inner = table
        for name in keys[:-1]:
            inner = inner[name]
        inner[keys[-1]] = value
        path.write_text(json.dumps(table))

    return damage


def times(factor: float) -> Callable[[Path], object]:
    """Scale every mesh of a folder, or one mesh file."""

    def damage(path: Path) -> None:
        files = [path] if path.is_file() else [each for each in path.iterdir() if each.suffix in (".ply", ".glb")]
        for file in files:
            save_mesh(file, load_mesh(file).scaled(factor))

    return damage


def relisted(*damages: Callable[[Path], object]) -> Callable[[Path], object]:
    """Damage a release and let its manifest agree, so that only the content is wrong."""

    def damage(release: Path) -> None:
        for each in damages:
            each(release)
        manifest = release / "tiny.json"
        table = json.loads(manifest.read_text())
        table["frames_sha256"] = sha256_file(release / "tiny.frames.csv")
        for take in table["takes"]:
            folder = release / take["folder"]
            take["files_sha256"] = {name: sha256_file(folder / name) for name in take["files_sha256"]}
        manifest.write_text(json.dumps(table))

    return damage


def nan_weights(folder: Path) -> None:
    """One NaN in the weights, with hashes that agree."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in sorted(tensors.items()) if tensor.is_floating_point())
    tensors[name] = torch.full_like(tensors[name], float("nan"))
    save_file(tensors, folder / "model.safetensors")
    key("model_sha256", value=sha256_file(folder / "model.safetensors"))(folder / "config.json")
