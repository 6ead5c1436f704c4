"""ANIM: from RGB-D to a signed distance field (Pesavento et al. 2024; our reading is ANIM.md's).

``encode`` makes the features of a frame once; ``query`` gives the signed distance (cm, negative
inside) at any model points. The network stores neither features nor predictions on itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from anim_real.data.batches import Observation, Projection
from anim_real.model.hourglass import StackedHourglass
from anim_real.model.implicit import ImplicitMlp, sample_pixels
from anim_real.model.presets import NetworkSpec
from anim_real.model.volume import IfNetEncoder, Level, VolumeFeatureExtractor, mean_per_voxel, voxelize

_NUM_RANDOM_CODES = 4096
_RANDOM_SEED = 20240607  # the random codes are part of the architecture: the same in every run
_CODE_HASH = (73856093, 19349663, 83492791)  # Teschner et al. 2003, spatial hashing


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """What ``encode`` found in a batch of frames.

    Attributes:
        pixel: (B, C, h, w) map for pixel-aligned features, or None.
        levels: sparse volumes at strides 4, 2, 1 (VFE), or empty.
        volumes: dense volumes (IF-Net), or empty.
        projection: how model space falls on the image.
    """

    pixel: Tensor | None
    levels: tuple[Level, ...]
    volumes: tuple[Tensor, ...]
    projection: Projection


class ANIM(nn.Module):
    """The network of one ``NetworkSpec``."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        channels = spec.encoder.channels
        self.lr = StackedHourglass(spec.num_channels, spec.encoder, halve_twice=True) if spec.uses_lr else None
        self.hr = StackedHourglass(spec.num_channels, spec.encoder, halve_twice=False) if spec.uses_hr else None
        self.vfe = VolumeFeatureExtractor(channels, spec.grid) if spec.volume == "vfe" else None
        self.ifnet = IfNetEncoder(spec.grid) if spec.volume == "ifnet" else None
        self.code = (
            nn.Parameter(torch.ones(1, channels)) if spec.volume == "vfe" and spec.embedding == "learned" else None
        )
        if spec.volume == "vfe" and spec.embedding == "random":
            generator = torch.Generator().manual_seed(_RANDOM_SEED)
            self.register_buffer("codes", torch.randn(_NUM_RANDOM_CODES, channels, generator=generator))
        self.mlp = ImplicitMlp(spec.mlp_inputs, spec.hidden)

    def encode(self, observation: Observation) -> Features:
        """Extract image and volume features of B frames."""
        image = self._image(observation) if self.spec.num_channels else None
        maps = {name: encoder(image) for name, encoder in (("lr", self.lr), ("hr", self.hr)) if encoder is not None}
        levels: tuple[Level, ...] = ()
        if self.vfe is not None:
            sites, row = voxelize(observation.points_BN3, observation.is_point_BN, self.spec.grid)
            levels = self.vfe(sites, self._embedding(observation, maps, row, len(sites.keys), sites.coordinates))
        volumes = self.ifnet(observation.points_BN3, observation.is_point_BN) if self.ifnet is not None else ()
        return Features(
            pixel=maps.get(self.spec.pixel), levels=levels, volumes=volumes, projection=observation.projection
        )

    def query(self, features: Features, points_BP3: Tensor) -> Tensor:
        """(B, P) signed distance in cm at model points in cm; meaningless where ``inside`` is false."""
        parts = []
        if features.pixel is not None:
            pixels = features.projection.pixels(points_BP3)
            parts.append(sample_pixels(features.pixel, pixels, features.projection.size))
        if self.vfe is not None:
            parts.append(
                self.vfe.sample(features.levels, points_BP3, self.spec.grid).to(
                    parts[0].dtype if parts else torch.float32
                )
            )
        if self.ifnet is not None:
            parts.append(self.ifnet.sample(features.volumes, points_BP3))
        if self.spec.z:
            parts.append(-points_BP3[..., 2:] / self.spec.z_scale_cm)  # camera depth grows away from the camera
        return self.mlp(torch.cat(parts, -1))

    def inside(self, projection: Projection, points_BP3: Tensor) -> Tensor:
        """(B, P) bool: which model points lie in the image and in the cube, where the field is defined."""
        return self.outside_cm(projection, points_BP3) <= 0

    def outside_cm(self, projection: Projection, points_BP3: Tensor) -> Tensor:
        """(B, P) how far model points lie outside the image or the cube, about, in cm; 0 inside."""
        outside = (points_BP3.abs() - self.spec.grid.extent_cm / 2).amax(-1).clamp(min=0.0)
        if self.spec.pixel != "none":
            outside = torch.maximum(outside, projection.outside_cm(points_BP3))
        return outside

    def set_checkpointing(self, is_on: bool) -> None:
        """Recompute the hourglasses' activations in backward instead of keeping them."""
        for encoder in (self.lr, self.hr):
            if encoder is not None:
                encoder.is_checkpointed = is_on

    def save_pretrained(self, folder: Path, *, card: str = "") -> Path:
        """Write ``model.safetensors``, ``config.json`` and the model card ``README.md``; the folder must not exist."""
        from anim_real.model.weights import save_weights

        return save_weights(self, folder, card=card)

    @classmethod
    def from_pretrained(cls, folder: Path) -> ANIM:
        """Load what ``save_pretrained`` wrote, in evaluation mode.

        Raises:
            NotFoundError, DataError, SchemaVersionError: the folder is missing, damaged or foreign.
        """
        from anim_real.model.weights import load_weights

        return load_weights(folder)

    def _image(self, observation: Observation) -> Tensor:
        """(B, channels, S, S): RGB in [-1, 1], normals in [-1, 1], depth / 80 cm; zero outside the person."""
        dtype = observation.normals_BHW3.dtype
        parts = []
        if self.spec.rgb:
            parts.append((observation.color_BHW3.to(dtype) / 127.5 - 1.0) * observation.is_person_BHW[..., None])
        if self.spec.normal:
            parts.append(observation.normals_BHW3)
        if self.spec.depth:
            parts.append(observation.depth_BHW[..., None] * (100.0 / self.spec.z_scale_cm))
        return torch.cat(parts, -1).permute(0, 3, 1, 2).contiguous()

    def _embedding(
        self, observation: Observation, maps: dict[str, Tensor], row: Tensor, num_sites: int, cells: Tensor
    ) -> Tensor:
        """(num_sites, channels) what every occupied voxel carries into the VFE."""
        if self.spec.embedding == "learned":
            assert self.code is not None
            return self.code.expand(num_sites, -1)
        if self.spec.embedding == "random":
            hashed = (cells[:, 1:] * cells.new_tensor(_CODE_HASH)).sum(-1) % _NUM_RANDOM_CODES
            return self.codes[hashed]  # type: ignore[index]
        pixels = observation.projection.pixels(observation.points_BN3)
        linked = sample_pixels(maps[self.spec.embedding], pixels, observation.projection.size)
        return mean_per_voxel(linked.reshape(-1, linked.shape[-1]), row, num_sites)
