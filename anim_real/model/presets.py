"""The network's shape as a specification: three sizes, and every row of the paper's tables 1-3 as a variant.

A size (``paper``, ``balanced``, ``tiny``) fixes widths and grids; a variant (``anim``, ``t1_…``, ``t2_…``,
``t3_…``) fixes which inputs and branches there are. Any size takes any variant.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from anim_real.errors import ConfigError
from anim_real.specs import Spec, parse

IFNET_TAPS = 7  # the point and its six neighbours along the axes (IF-Net, Sec. 3.2)


class EncoderSpec(Spec):
    """A stacked hourglass (PIFu's form)."""

    stem: int = Field(default=64, gt=0, description="channels of the 7x7 stride-2 stem")
    channels: int = Field(default=256, gt=0, description="output channels")
    stacks: int = Field(default=4, gt=0)
    depth: int = Field(default=2, gt=0, description="levels of each hourglass")
    groups: int = Field(default=32, gt=0, description="GroupNorm groups; fewer where a layer has fewer channels")


class VolumeSpec(Spec):
    """The voxel grid over the person and the networks on it."""

    grid: int = Field(default=240, ge=8, description="voxels along each side")
    extent_cm: float = Field(default=240.0, gt=0, description="side of the cube centred on the person")
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    norm: Literal["batch", "group", "none"] = "batch"
    ifnet_grid: int = Field(default=128, ge=16, description="side of IF-Net's dense grid")
    ifnet_widths: tuple[int, int, int, int, int] = (16, 32, 64, 128, 128)
    ifnet_step: float = Field(default=0.0722, gt=0, description="distance of IF-Net's taps, in half sides of the cube")

    @property
    def num_vfe_features(self) -> int:
        """Channels that the three decoder outputs give together."""
        return sum(self.widths[:3])

    @property
    def num_ifnet_features(self) -> int:
        """Channels of IF-Net's multi-scale features at all taps."""
        return (1 + sum(self.ifnet_widths)) * IFNET_TAPS


class NetworkSpec(Spec):
    """The whole network. The MLP's input width follows from the branches."""

    preset: str = "paper"
    variant: str = "anim"
    image_size: int = Field(default=512, ge=32, multiple_of=16)
    rgb: bool = True
    normal: bool = True
    depth: bool = False
    pixel: Literal["hr", "lr", "none"] = "hr"
    volume: Literal["vfe", "ifnet", "none"] = "vfe"
    embedding: Literal["lr", "hr", "random", "learned"] = "lr"
    z: bool = Field(default=True, description="whether the MLP sees the depth of the point")
    z_scale_cm: float = Field(default=80.0, gt=0)
    encoder: EncoderSpec = EncoderSpec()
    grid: VolumeSpec = VolumeSpec()
    hidden: tuple[int, ...] = Field(default=(512, 256, 128), min_length=2)

    @property
    def num_channels(self) -> int:
        """Image channels: RGB, normals, depth."""
        return 3 * self.rgb + 3 * self.normal + self.depth

    @property
    def uses_lr(self) -> bool:
        """Whether LR-FE is built."""
        return self.pixel == "lr" or (self.volume == "vfe" and self.embedding == "lr")

    @property
    def uses_hr(self) -> bool:
        """Whether HR-FE is built."""
        return self.pixel == "hr" or (self.volume == "vfe" and self.embedding == "hr")

    @property
    def num_pixel_features(self) -> int:
        """Channels of the pixel-aligned feature."""
        return 0 if self.pixel == "none" else self.encoder.channels

    @property
    def num_volume_features(self) -> int:
        """Channels of the voxel-aligned feature."""
        return {"none": 0, "vfe": self.grid.num_vfe_features, "ifnet": self.grid.num_ifnet_features}[self.volume]

    @property
    def mlp_inputs(self) -> int:
        """Width of the MLP's input: pixel + volume + z."""
        return self.num_pixel_features + self.num_volume_features + int(self.z)

    @model_validator(mode="after")
    def _consistent(self) -> NetworkSpec:
        if (self.uses_lr or self.uses_hr) and self.num_channels == 0:
            raise ValueError("an image branch needs rgb, normal or depth")
        if self.pixel == "none" and self.volume == "none":
            raise ValueError("pixel and volume cannot both be none")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "balanced": {"image_size": 256, "grid": {"grid": 128}, "encoder": {"channels": 128, "stacks": 2}},
    "tiny": {
        "image_size": 128,
        "encoder": {"stem": 16, "channels": 32, "stacks": 1, "depth": 2, "groups": 4},
        "grid": {
            "grid": 32,
            "widths": (16, 24, 32, 48),
            "norm": "group",
            "ifnet_grid": 32,
            "ifnet_widths": (4, 8, 8, 16, 16),
        },
        "hidden": (128, 96, 64),
    },
}

_PIFU_D = {"pixel": "lr", "volume": "none"}
_PIFU_VFE = {"pixel": "lr", "embedding": "random"}
VARIANTS: dict[str, dict[str, Any]] = {
    "anim": {},
    "t1_lr_only": {"pixel": "lr", "volume": "none"},
    "t1_hr_only": {"pixel": "hr", "volume": "none"},
    "t1_3d_only": {"rgb": False, "normal": False, "pixel": "none", "embedding": "learned"},
    "t1_random_features": {"embedding": "random"},
    "t2_without_normals": {"normal": False},
    "t2_without_lr": {"embedding": "hr"},
    "t2_without_hr": {"pixel": "lr"},
    "t3_pifu_d": {**_PIFU_D, "normal": False, "depth": True},
    "t3_pifu_d_sn": {**_PIFU_D, "depth": True},
    "t3_pifu_vfe": {**_PIFU_VFE, "normal": False},
    "t3_pifu_vfe_sn": _PIFU_VFE,
    "t3_ifnet": {"rgb": False, "normal": False, "pixel": "none", "volume": "ifnet", "z": False},
    "t3_ifnet_hr": {"normal": False, "volume": "ifnet"},
    "t3_ifnet_hr_sn": {"volume": "ifnet"},
}


def network_spec(preset: str = "paper", variant: str = "anim", changes: dict[str, Any] | None = None) -> NetworkSpec:
    """Return a preset with a variant and further changes applied.

    Raises:
        ConfigError: an unknown preset, variant or key.
    """
    for name, known, kind in ((preset, PRESETS, "preset"), (variant, VARIANTS, "variant")):
        if name not in known:
            raise ConfigError(f"no {kind} called {name!r}", where="network", fix=f"Known: {', '.join(known)}")
    table: dict[str, Any] = {"preset": preset, "variant": variant}
    for layer in (PRESETS[preset], VARIANTS[variant], changes or {}):
        table = _merged(table, layer)
    return parse(NetworkSpec, table, where="network")


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``changes`` laid over it; nested tables are merged."""
    merged = dict(base)
    for key, value in changes.items():
        before = merged.get(key)
        merged[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
