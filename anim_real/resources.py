"""Finding shipped files by kind and name: rigs, targets, protocols, recipes.

The search goes: an explicit path, then ``./<kind>/<name>``, then what is shipped inside the
package (after ``pip install``) or beside it (in a checkout).
"""

from __future__ import annotations

from pathlib import Path

from anim_real.errors import NotFoundError

_PACKAGE = Path(__file__).resolve().parent


def find(kind: str, name: str, *, suffix: str = ".toml") -> Path:
    """Return the file of ``kind`` (``"rigs"``, ``"calibration/targets"``, ``"training"``, …) called ``name``.

    Args:
        kind: the folder, as it is called at the top of the repository.
        name: an explicit path to a file, or a bare name without suffix.
        suffix: the file suffix that a bare name gets.

    Raises:
        NotFoundError: nothing matches; the message lists the known names.
    """
    explicit = Path(name)
    if explicit.is_file():
        return explicit
    is_bare = explicit.name == name
    if is_bare:
        for folder in folders(kind):
            candidate = folder / f"{name.removesuffix(suffix)}{suffix}"
            if candidate.is_file():
                return candidate
    known = ", ".join(names(kind, suffix=suffix)) or "none"
    raise NotFoundError(f"no {kind} file called {name!r}", where=kind, fix=f"Known: {known}; or give a path")


def names(kind: str, *, suffix: str = ".toml") -> list[str]:
    """Names of every file of ``kind`` that ``find`` can see, sorted."""
    return sorted({path.stem for folder in folders(kind) for path in folder.glob(f"*{suffix}")})


def folders(kind: str) -> list[Path]:
    """Existing folders searched for ``kind``, nearest first."""
    shipped = _PACKAGE / "_shipped" / kind
    beside = _PACKAGE.parent / kind
    in_checkout = (_PACKAGE.parent / "pyproject.toml").is_file()
    candidates = [Path.cwd() / kind, shipped, *([beside] if in_checkout else [])]
    seen: list[Path] = []
    for folder in candidates:
        if folder.is_dir() and folder.resolve() not in [other.resolve() for other in seen]:
            seen.append(folder)
    return seen
