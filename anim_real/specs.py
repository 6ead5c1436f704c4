"""Strict specifications: what people write in TOML and programs write in JSON.

Every spec is frozen and refuses unknown keys, so a typo is an error and never a silent default.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from anim_real.errors import ConfigError, DataError, SchemaVersionError
from anim_real.files import read_json, require_file


class Spec(BaseModel):
    """Base of every specification: frozen, strict about keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


SpecT = TypeVar("SpecT", bound=Spec)


def load_toml(kind: type[SpecT], path: Path) -> SpecT:
    """Read a TOML file into ``kind``.

    Raises:
        NotFoundError: no such file.
        ConfigError: not TOML, an unknown key, or a value out of its range; the key is named.
    """
    try:
        table = tomllib.loads(require_file(path, f"{kind.__name__} file").read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML ({error})", where=path) from error
    return parse(kind, table, where=path)


def parse(kind: type[SpecT], table: Any, *, where: object) -> SpecT:
    """Validate ``table`` as ``kind``; every wrong key is listed in one ``ConfigError``."""
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        problems = "; ".join(f"{_key(entry['loc'])}: {entry['msg']}" for entry in error.errors())
        raise ConfigError(problems, where=where, fix=_known_keys(kind, error)) from error


def load_json(kind: type[SpecT], path: Path, *, schema: str) -> SpecT:
    """Read a JSON file whose ``schema`` key must equal ``schema`` (``name/version``).

    Raises:
        SchemaVersionError: another name or version.
        DataError: a key is unknown, missing or out of range.
    """
    table = read_json(path)
    check_schema(table, schema, where=path)
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        problems = "; ".join(f"{_key(entry['loc'])}: {entry['msg']}" for entry in error.errors()[:8])
        raise DataError(problems, where=path) from error


def check_schema(table: Any, schema: str, *, where: object) -> None:
    """Raise ``SchemaVersionError`` unless ``table['schema'] == schema``."""
    found = table.get("schema") if isinstance(table, dict) else None
    if found != schema:
        raise SchemaVersionError(
            f"schema is {found!r}, this version reads {schema!r}",
            where=where,
            fix="Use the anim-real version that wrote the file, or write it again",
        )


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "(whole file)"


def _known_keys(kind: type[Spec], error: ValidationError) -> str | None:
    if any(entry["type"] == "extra_forbidden" and len(entry["loc"]) == 1 for entry in error.errors()):
        return "Known keys: " + ", ".join(kind.model_fields)
    return None
