"""What ``inspect`` tells about meshes, specifications, records, tables, images, data sets and weights.

Every description is a JSON-ready record and the same as lines for people.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from anim_real.commands.inspect.recordings import Description, describe_factory, describe_record, describe_take
from anim_real.errors import ConfigError, DataError
from anim_real.files import read_json, require_file
from anim_real.specs import Spec, check_schema, load_toml

_MAX_HEADER_BYTES = 100 << 20  # the safetensors format's own limit
_MAX_LISTED = 12
_JSON_VERSION = 1  # of every JSON schema of this package


def describe_mesh(path: Path) -> Description:
    """A mesh: counts, extent in the file's own unit, whether it is closed."""
    from anim_real.mesh import closedness_problem, load_mesh

    mesh = load_mesh(path)
    extent = mesh.vertices.max(0) - mesh.vertices.min(0)
    problem = closedness_problem(mesh)
    has = [name for name in ("colors", "texture", "regions") if getattr(mesh, name) is not None]
    record = {
        "num_vertices": len(mesh.vertices),
        "num_faces": len(mesh.faces),
        "extent": extent.tolist(),
        "is_watertight": problem is None,
        "problem": problem,
        "attributes": has,
    }
    lines = [
        f"  {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces; {', '.join(has) or 'geometry only'}",
        f"  extent {' x '.join(f'{value:.4g}' for value in extent)} (the file's unit)",
        f"  {'closed, oriented, manifold' if problem is None else f'not watertight: {problem}'}",
    ]
    return record, lines


def describe_toml(path: Path) -> Description:
    """A TOML file that people write, validated as what its schema names; others by their tables."""
    table = _read_toml(path)
    schema = str(table.get("schema", "none"))
    spec = _spec_of(schema)
    record = table if spec is None else load_toml(spec, path).model_dump(mode="json", by_alias=True)
    return {"content": record}, [f"  schema {schema}", *_listing(record)]


def _spec_of(schema: str) -> type[Spec] | None:
    """Specification that a schema name stands for; None if it is not one of ours."""
    kind = _kind_of(schema)
    if kind == "rig":
        from anim_real.rig import RigSpec

        return RigSpec
    if kind == "take":
        from anim_real.take import TakeSpec

        return TakeSpec
    if kind == "target":
        from anim_real.target import TargetSpec

        return TargetSpec
    if kind == "geometry-target":
        from anim_real.target import GeometryTargetSpec

        return GeometryTargetSpec
    if kind == "protocol":
        from anim_real.calibrate.protocol import ProtocolSpec

        return ProtocolSpec
    if kind == "recipe":
        from anim_real.train.recipe import RecipeSpec

        return RecipeSpec
    return None


def describe_json(path: Path) -> Description:
    """A JSON file that programs write: calibration, manifest, data set record, factory calibration."""
    table = read_json(path)
    if isinstance(table, dict) and "CalibrationInformation" in table:
        return describe_factory(path)
    schema = table.get("schema") if isinstance(table, dict) else None
    if not isinstance(table, dict):
        raise DataError("holds no JSON object", where=path)
    kind = _kind_of(str(schema))
    if kind:
        check_schema(table, f"anim-real/{kind}/{_JSON_VERSION}", where=path)
    if kind == "calibration":
        return _describe_calibration(path)
    if kind == "record":
        return describe_record(path)
    if kind == "manifest":
        return _describe_manifest(path)
    if kind == "dataset":
        if path.name != "dataset.json":
            raise DataError("is the record of a data set under another name", where=path, fix="Call it dataset.json")
        return describe_dataset(path.parent)
    return {"schema": schema, "content": table}, [f"  schema {schema or 'none'}", *_listing(table)]


def _kind_of(schema: str) -> str:
    """Kind that a schema name of ours stands for; empty if the name is not one of ours."""
    prefix, _, rest = schema.partition("/")
    return rest.rpartition("/")[0] if prefix == "anim-real" else ""


def describe_table(path: Path) -> Description:
    """A CSV table: columns and rows."""
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"not a readable CSV ({error})", where=path) from error
    record = {"columns": list(table.columns), "num_rows": len(table)}
    return record, [
        f"  {len(table)} rows; columns {', '.join(table.columns)}",
        *table.head(4).to_string(index=False).splitlines(),
    ]


def describe_image(path: Path) -> Description:
    """An image: size, depth and range of values."""
    import cv2

    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataError("is not a readable image", where=path)
    record = {"shape": list(image.shape), "dtype": str(image.dtype), "min": int(image.min()), "max": int(image.max())}
    return record, [f"  {image.shape[1]}x{image.shape[0]} {image.dtype}, values {image.min()} to {image.max()}"]


def describe_shard(path: Path) -> Description:
    """One HDF5 shard: its header and the size of every table."""
    from anim_real.shards.container import ShardFile

    header = ShardFile(path).header
    record = header.model_dump(mode="json", by_alias=True)
    return record, [
        f"  subject {header.subject}, take {header.take}, part {header.part}",
        f"  images {header.size} px, colour {header.color}",
        f"  sensors {', '.join(header.sensors)}; {header.num_scans_done} scans done, {len(header.failures)} failed",
    ]


def describe_dataset(path: Path) -> Description:
    """A data set folder: counts by split, shards, bytes."""
    from anim_real.shards.index import load_record

    found = load_record(path)
    record = found.model_dump(mode="json", by_alias=True, exclude={"provenance"})
    num_bytes = sum(entry.bytes for entry in found.shards)
    lines = [
        f"  {found.name} ({found.kind}), images {found.size} px; {len(found.shards)} shards, {num_bytes / 1e6:.1f} MB"
    ]
    lines += [
        f"  {split:<6} {count.subjects} subjects, {count.frames} frames, {count.scans} scans, {count.points:,} points"
        + (f", {count.unlabelled} scans without face and hands" if count.unlabelled else "")
        for split, count in found.counts.items()
    ]
    return record, [*lines, f"  {len(found.failures)} items could not be packed"]


def describe_tensors(path: Path) -> Description:
    """A safetensors file: its tensors, by the header alone."""
    with require_file(path).open("rb") as stream:
        size = struct.unpack("<Q", stream.read(8).ljust(8, b"\xff"))[0]
        if size > min(_MAX_HEADER_BYTES, path.stat().st_size):
            raise DataError("is not a safetensors file", where=path)
        try:
            header = json.loads(stream.read(size))
            shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
            num_parameters = sum(int(np.prod(shape)) for shape in shapes)
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise DataError(f"has a damaged header ({error})", where=path) from error
    expected, found = 8 + size + max(ends, default=0), path.stat().st_size
    if found != expected:
        raise DataError(f"has {found} bytes, its header tells of {expected}", where=path, fix="Copy it again")
    return {"num_tensors": len(shapes), "num_parameters": num_parameters}, [
        f"  {len(shapes)} tensors, {num_parameters:,} values"
    ]


def describe_weights(path: Path) -> Description:
    """A weights folder: its configuration and tensors."""
    config = read_json(path / "config.json")
    check_schema(config, f"anim-real/weights/{_JSON_VERSION}", where=path / "config.json")
    record, lines = describe_tensors(path / "model.safetensors")
    return {"config": config, **record}, [*lines, *_listing(config)]


def describe_checkpoint(path: Path) -> Description:
    """A training checkpoint: its step and tensors."""
    state = read_json(path / "state.json")
    check_schema(state, f"anim-real/checkpoint/{_JSON_VERSION}", where=path / "state.json")
    record, lines = describe_tensors(path / "model.safetensors")
    return {"state": state, **record}, [*lines, *_listing(state)]


def describe_run(path: Path) -> Description:
    """A training run: how far it came and its last figures."""
    lines = (path / "metrics.jsonl").read_text("utf-8").splitlines()
    try:
        rows = [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise DataError(f"has a damaged line ({error})", where=path / "metrics.jsonl") from error
    if not rows or not isinstance(rows[-1], dict):
        raise DataError("holds no row of metrics", where=path / "metrics.jsonl")
    return {"num_rows": len(rows), "last": rows[-1]}, [f"  {len(rows)} rows of metrics; last:", *_listing(rows[-1])]


FOLDERS: list[tuple[str, str, Callable[[Path], Description]]] = [
    ("take.toml", "take", describe_take),
    ("dataset.json", "data set", describe_dataset),
    ("state.json", "checkpoint", describe_checkpoint),
    ("model.safetensors", "weights", describe_weights),
    ("metrics.jsonl", "training run", describe_run),
]
BY_SUFFIX: dict[str, tuple[str, Callable[[Path], Description]]] = {
    **dict.fromkeys((".obj", ".ply", ".glb", ".stl"), ("mesh", describe_mesh)),
    ".toml": ("specification", describe_toml),
    ".json": ("record", describe_json),
    ".csv": ("table", describe_table),
    ".h5": ("shard", describe_shard),
    ".safetensors": ("tensors", describe_tensors),
    **dict.fromkeys((".png", ".jpg", ".jpeg"), ("image", describe_image)),
}


def _describe_calibration(path: Path) -> Description:
    from anim_real.calibration import SCHEMA, Calibration
    from anim_real.specs import load_json

    calibration = load_json(Calibration, path, schema=SCHEMA)
    lines = [
        f"  rig {calibration.rig}, take {calibration.take_id}: {'accepted' if calibration.is_accepted else 'REFUSED'}"
    ]
    for name, sensor in calibration.sensors.items():
        lines.append(
            f"  sensor {name}: expected error {sensor.predicted_person_mm:.2f} mm"
            + (" (colour is the factory's)" if sensor.color_is_factory else "")
            + f", {len(sensor.placements)} placements,"
            f" depth bias {sensor.depth_bias.describe()}"
        )
    for gate in calibration.gates:
        value, limit = _figure(gate.value, gate.unit), _figure(gate.limit, gate.unit)
        lines.append(f"  gate {gate.name}: {value} (limit {limit}) {'ok' if gate.passed else 'FAILED'}")
    return calibration.model_dump(mode="json", by_alias=True) | {"is_accepted": calibration.is_accepted}, lines


def _describe_manifest(path: Path) -> Description:
    from anim_real.manifest import load_manifest

    manifest, frames = load_manifest(path)
    lines = [
        f"  {manifest.name}: {len(manifest.takes)} takes, {manifest.num_pairs} pairs,"
        f" {manifest.num_excluded} excluded, {len(frames)} rows",
        *(f"  {split:<6} {', '.join(subjects)}" for split, subjects in manifest.splits.items()),
    ]
    excluded = frames.loc[frames["verdict"] == "excluded", "reason"]
    reasons = excluded.str.replace(r"\s*\(.*\)", "", regex=True).value_counts()  # the figures differ by frame
    lines += [f"  excluded {count:>5}: {reason}" for reason, count in reasons.items()]
    return manifest.model_dump(mode="json", by_alias=True), lines


def _figure(value: float | None, unit: str) -> str:
    return "not measured" if value is None else f"{value:.4g} {unit}".strip()


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML ({error})", where=path) from error


def _listing(table: dict[str, Any]) -> list[str]:
    """One line per key of a table; long values shortened."""
    lines = []
    for key, value in table.items():
        text = (
            f"{len(value)} entries"
            if isinstance(value, (list, dict)) and len(value) > _MAX_LISTED
            else json.dumps(value, default=str)
        )
        lines.append(f"  {key} = {text if len(text) <= 90 else text[:87] + '...'}")
    return lines
