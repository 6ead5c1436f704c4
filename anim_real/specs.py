"""Strict specifications: what people write in TOML and programs write in JSON.

Every spec is frozen and refuses unknown keys, so a typo is an error and never a silent default.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from anim_real.errors import ConfigError, DataError, SchemaVersionError
from anim_real.files import read_json, require_file

_MAX_TOLD = 8
_PLAIN = {"extra_forbidden": "unknown key", "missing": "is missing"}  # pydantic's type of error -> our words


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
        table = tomllib.loads(require_file(path, f"{_noun(kind)} file").read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML ({error})", where=path) from error
    return parse(kind, table, where=path)


def parse(kind: type[SpecT], table: Any, *, where: object) -> SpecT:
    """Validate ``table`` as ``kind``; every wrong key is listed in one ``ConfigError``.

    Raises:
        SchemaVersionError: the table names another schema than the one of ``kind``.
        ConfigError: a key is unknown, missing or out of range.
    """
    if isinstance(table, dict) and "schema" in table and "schema_" in kind.model_fields:
        check_schema(table, get_args(kind.model_fields["schema_"].annotation)[0], where=where)
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        raise ConfigError(_problems(error), where=where, fix=_known_keys(kind, error)) from error


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
        raise DataError(_problems(error), where=path) from error


def check_schema(table: Any, schema: str, *, where: object) -> None:
    """Raise ``SchemaVersionError`` unless ``table['schema'] == schema``."""
    found = table.get("schema") if isinstance(table, dict) else None
    if found != schema:
        raise SchemaVersionError(
            f"schema is {found!r}, this version reads {schema!r}",
            where=where,
            fix="Use the anim-real version that wrote the file, or write it again",
        )


def _noun(kind: type[Spec]) -> str:
    return kind.__name__.removesuffix("Spec").lower()


def _problems(error: ValidationError) -> str:
    """Every wrong key with what is wrong about it, at most eight; consequences of one are left out."""
    entries = error.errors()
    wrong = {entry["loc"] for entry in entries}
    causes = [
        entry
        for entry in entries
        if entry["type"] != "too_short" or not any(key != entry["loc"] and _within(key, entry["loc"]) for key in wrong)
    ]
    told = [
        f"{_key(entry['loc'])}: {_PLAIN.get(entry['type'], entry['msg'].removeprefix('Value error, '))}"
        for entry in causes
    ]
    return "; ".join(told[:_MAX_TOLD]) + (f"; and {len(told) - _MAX_TOLD} more" if len(told) > _MAX_TOLD else "")


def _within(key: tuple[int | str, ...], table: tuple[int | str, ...]) -> bool:
    return key[: len(table)] == table


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "(whole file)"


def _known_keys(kind: type[Spec], error: ValidationError) -> str | None:
    if any(entry["type"] == "extra_forbidden" and len(entry["loc"]) == 1 for entry in error.errors()):
        return "Known keys: " + ", ".join(field.alias or name for name, field in kind.model_fields.items())
    return None
