"""Score reconstructions against the scans: CD, P2S, Normal, IoU, normal consistency, F-score.

With --weights every frame is reconstructed; with --meshes, meshes that any method made are read
(scan frame, metres; the file of frame s01/s01-walk/0/12 is s01_s01-walk_0_12.ply, .glb or .obj).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from anim_real.console import Console, Result
from anim_real.errors import ConfigError, DataError, NotFoundError
from anim_real.files import refuse_existing, refuse_unwritable, require_folder, write_json
from anim_real.flags import require_range, require_seed

if TYPE_CHECKING:
    from anim_real.mesh import Mesh

SCHEMA = "anim-real/scores/1"
_SIZES_M = (0.05, 4.0)  # a hand .. a person with raised arms; a mesh in millimetres is far outside


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to score.

    Attributes:
        data: data set folder.
        output: scores file (JSON).
        weights: weights folder to reconstruct with.
        meshes: folder of meshes to score instead.
        split: which subjects.
        metrics: preset of the metrics' constants: pifu, icon or anim.
        limit: score only so many frames, spread evenly over the split.
        resolution: cube root of the number of cells in the person's box.
        seed: of the surface samples and the bootstrap.
        keep_meshes: folder to write the reconstructions to, scan frame.
    """

    data: Path
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    weights: Path | None = None
    meshes: Path | None = None
    split: Literal["train", "val", "test"] = "test"
    metrics: str = "pifu"
    limit: int | None = None
    resolution: int = 256
    seed: int = 0
    keep_meshes: Path | None = None


def run(arguments: Arguments, console: Console) -> Result:
    """Score a split and write the scores; frames that cannot be scored are listed."""
    if (arguments.weights is None) == (arguments.meshes is None):
        raise ConfigError("give either --weights or --meshes", where="evaluate")
    require_seed(arguments.seed)
    if arguments.limit is not None:
        require_range("--limit", arguments.limit, 1)
    refuse_existing(arguments.output)
    if arguments.keep_meshes is not None:
        refuse_unwritable(arguments.keep_meshes / "mesh.ply")
    from anim_real.data.dataset import derived_rng
    from anim_real.evaluate import metric_preset, score_mesh, summary
    from anim_real.shards.read import open_dataset

    preset = metric_preset(arguments.metrics)
    dataset = open_dataset(arguments.data)
    keys = _spread(dataset.frames(arguments.split), arguments.limit)
    if not keys:
        raise DataError(f"the split {arguments.split!r} has no frames", where=arguments.data)
    predict = _reconstructor(arguments) if arguments.weights is not None else _reader(arguments)
    rows, scores, failures = [], [], []
    for key in console.progress(keys, "frames"):
        frame = dataset.frame(key)
        try:
            prediction = predict(key.name, frame)
            truth = dataset.mesh(frame.scan)
            upright = frame.T_color_scan
            score = score_mesh(
                prediction.moved(_upright(upright.apply(prediction.vertices))),
                truth.moved(_upright(upright.apply(truth.vertices))),  # type: ignore[arg-type]
                preset,
                derived_rng(arguments.seed, 0, key.name),
            )
        except (DataError, NotFoundError) as error:
            failures.append(f"{key.name}: {error}")
            continue
        scores.append(score)
        rows.append({"frame": key.name, **asdict(score)})
    if not scores:
        raise DataError(f"no frame could be scored; first: {failures[0]}", where=arguments.data)
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "metrics": arguments.metrics,
        "constants": asdict(preset),
        "seed": arguments.seed,
        "split": arguments.split,
        "dataset_sha256": dataset.sha256,
        "source": str(arguments.weights or arguments.meshes),
        "resolution": arguments.resolution,
        "summary": summary(scores, derived_rng(arguments.seed, 0, "bootstrap")),
        "frames": rows,
        "failures": failures,
    }
    write_json(arguments.output, record)
    lines = tuple(
        f"{name:<19} {value['mean']:.4f}  [{value['low']:.4f}, {value['high']:.4f}]"
        for name, value in record["summary"].items()
    )
    head = f"{len(scores)} frames of {arguments.split}, metrics {arguments.metrics}, seed {arguments.seed}"
    head += "; mean [95 % interval]"
    return Result(path=arguments.output, record=record, lines=(head, *lines), failures=tuple(failures))


def _spread(keys: tuple[Any, ...], limit: int | None) -> list[Any]:
    """At most ``limit`` keys, evenly spread."""
    if limit is None or limit >= len(keys):
        return list(keys)
    return [keys[index * len(keys) // limit] for index in range(limit)]


def _upright(points_color: Any) -> Any:
    """Camera points to axes with y up and z towards the camera, as the Normal metric needs."""
    return points_color * (1.0, -1.0, -1.0)


def _reconstructor(arguments: Arguments) -> Callable[[str, Any], Mesh]:
    from anim_real.data.examples import prepare
    from anim_real.mesh import save_mesh
    from anim_real.model.anim import ANIM
    from anim_real.reconstruct import ReconstructSpec, reconstruct
    from anim_real.specs import parse

    assert arguments.weights is not None
    model = ANIM.from_pretrained(arguments.weights)
    spec = parse(ReconstructSpec, {"resolution": arguments.resolution}, where="evaluate")

    def predict(name: str, frame: Any) -> Mesh:
        prepared = prepare(
            frame.color, frame.depth_mm, frame.mask, frame.camera, size=model.spec.image_size, where=name
        )
        mesh = reconstruct(model, prepared, spec).mesh
        mesh = mesh.moved(frame.T_color_scan.inverse().apply(mesh.vertices))
        if arguments.keep_meshes is not None:
            save_mesh(arguments.keep_meshes / f"{_stem(name)}.ply", mesh)
        return mesh

    return predict


def _reader(arguments: Arguments) -> Callable[[str, Any], Mesh]:
    from anim_real.mesh import SUFFIXES, load_mesh

    assert arguments.meshes is not None
    folder = require_folder(arguments.meshes, "folder of meshes")

    def predict(name: str, _frame: Any) -> Mesh:
        for suffix in SUFFIXES:
            if (folder / f"{_stem(name)}{suffix}").is_file():
                return _of_human_size(load_mesh(folder / f"{_stem(name)}{suffix}"), f"{_stem(name)}{suffix}")
        raise NotFoundError(f"no mesh {_stem(name)}.ply", where=folder)

    return predict


def _of_human_size(mesh: Mesh, where: str) -> Mesh:
    """Refuse a mesh in another unit than metres: its score would be a number without meaning."""
    extent = float((mesh.vertices.max(0) - mesh.vertices.min(0)).max())
    if not _SIZES_M[0] <= extent <= _SIZES_M[1]:
        raise DataError(
            f"is {extent:.4g} m large; expected {_SIZES_M[0]} to {_SIZES_M[1]} m", where=where, fix="Scale it to metres"
        )
    return mesh


def _stem(name: str) -> str:
    return name.replace("/", "_")
