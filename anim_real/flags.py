"""Checks of numbers given on the command line: said before any work, naming the flag. NaN is never in range."""

from __future__ import annotations

from anim_real.errors import ConfigError


def require_range(flag: str, value: float, least: float, most: float | None = None, *, unit: str = "") -> None:
    """Raise ``ConfigError`` unless ``least <= value <= most``; without ``most`` there is no upper end."""
    if most is None:
        if not value >= least:
            raise ConfigError(f"is {value}, needs at least {least} {unit}".rstrip(), where=flag)
    elif not least <= value <= most:
        raise ConfigError(f"{value} is not in {least}..{most} {unit}".rstrip(), where=flag)


def require_seed(seed: int) -> None:
    """Raise ``ConfigError`` unless generators can be seeded with ``seed``."""
    require_range("--seed", seed, 0)
