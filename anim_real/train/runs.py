"""The record of a run: what would be needed to do it again."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anim_real import __version__
from anim_real.errors import ConfigError
from anim_real.files import read_json, refuse_unwritable, sha256_bytes, write_json, write_text
from anim_real.specs import check_schema
from anim_real.train.recipe import RecipeSpec

SCHEMA = "anim-real/run/1"
_PACKAGES = ("torch", "numpy", "safetensors", "h5py", "opencv-python-headless", "pydantic")
_GIT_TIMEOUT_S = 20


def recipe_sha256(recipe: RecipeSpec, network: dict[str, Any]) -> str:
    """Hash of what decides the result: the resolved recipe without ``run`` and the network."""
    decisive = recipe.model_dump(mode="json", by_alias=True, exclude={"run", "description"})
    decisive["ema"] = recipe.run.ema
    return sha256_bytes(json.dumps({"recipe": decisive, "network": network}, sort_keys=True).encode())


def open_run(folder: Path, record: dict[str, Any], recipe: RecipeSpec) -> bool:
    """Start the record of a run, or check that the folder holds the same run, unfinished or finished.

    Returns:
        Whether the folder held the run already.

    Raises:
        ConfigError: the folder holds something else.
    """
    path = folder / "run.json"
    refuse_unwritable(path)
    if path.is_file():
        before = read_json(path)
        check_schema(before, SCHEMA, where=path)
        for key in ("recipe_sha256", "datasets", "weights_sha256"):
            if before.get(key) != record.get(key):
                raise ConfigError(
                    f"the folder holds another run ({key} differs)", where=folder, fix="Choose another -o"
                )
        return True
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError("the folder is not empty and holds no run", where=folder, fix="Choose another -o")
    write_json(path, {"schema": SCHEMA, **record, **_environment()})
    commit, diff = _git()
    if commit is not None:
        write_text(folder / "git.diff", f"commit {commit}\n{diff}")
    write_json(folder / "recipe.json", recipe.model_dump(mode="json", by_alias=True))
    return False


def _environment() -> dict[str, Any]:
    versions = {"anim-real": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    commit, _ = _git()
    return {"versions": versions, "platform": platform.platform(), "command": sys.argv[1:], "git_commit": commit}


def _git() -> tuple[str | None, str]:
    """Commit and diff of the checkout that this package lies in; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, ""
    answers = []
    for arguments in (("rev-parse", "HEAD"), ("diff", "HEAD")):
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *arguments],
                capture_output=True,
                text=True,
                timeout=_GIT_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None, ""
        if done.returncode:
            return None, ""
        answers.append(done.stdout)
    return answers[0].strip(), answers[1]
