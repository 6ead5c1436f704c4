"""What a run measures while it goes: ``metrics.jsonl`` always, TensorBoard beside it."""

from __future__ import annotations

import json
from pathlib import Path

from anim_real.train.losses import Loss


class Metrics:
    """The open files of a sitting; rows after ``from_step`` of an earlier sitting are dropped."""

    def __init__(self, run: Path, *, is_tensorboard: bool, from_step: int) -> None:
        path = run / "metrics.jsonl"
        before = path.read_text("utf-8").splitlines() if path.is_file() else []
        kept = [row for row in before if row.endswith("}") and json.loads(row)["step"] <= from_step]
        path.write_text("".join(f"{row}\n" for row in kept), "utf-8")
        self._file = path.open("a", encoding="utf-8")
        self._board = None
        if is_tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=from_step + 1)

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, step: int, loss: Loss, *, rate: float, norm: float, seconds: float) -> None:
        """Write one row."""
        values = {
            "loss": loss.total.item(),
            "loss_sdf": loss.sdf.item(),
            "loss_depth": loss.depth.item(),
            "error_cm": loss.error_cm.item(),
            "num_excluded": int(loss.num_excluded.item()),
            "lr": rate,
            "gradient_norm": norm,
            "seconds": seconds,
        }
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
