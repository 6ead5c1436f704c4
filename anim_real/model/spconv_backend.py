"""The VFE's sparse U-Net on spconv 2, with the weights of the pure-torch twin in ``sparse``.

Taken when the features are on a CUDA device and spconv can be imported; the twin is taken everywhere else. spconv
numbers coarse cells in an order of its own, so levels are sorted by key before they leave. It computes in float32:
under bfloat16 autocast spconv would turn to float16. Before it is used on a device it must agree there with the twin on
a small problem, values and gradients; where it does not, a warning says so and the twin goes on.

Tested on a fake of spconv's interface only: it has not run on hardware yet.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from anim_real.model.sparse import Sites

Kind = Literal["same", "down", "up"]
_TOLERANCE = 1e-3  # relative; sums of some hundred float32 products, in another order
_CHECK_SHAPE = (2, 17, 16, 15)
_CHECK_WIDTHS = (16, 16, 16, 16)


def is_usable(device: torch.device) -> bool:
    """Whether spconv is there for tensors on ``device`` and agrees with the twin."""
    return device.type == "cuda" and find_spec("spconv") is not None and _is_trusted(device)


def run_unet(
    down: Iterable[Any], up: Iterable[Any], merge: Iterable[Any], sites: Sites, features: Tensor
) -> list[tuple[Sites, Tensor]]:
    """Run a sparse U-Net's blocks (``conv``, ``norm``) on spconv.

    Args:
        down: for each scale, finest first, its blocks; the first one of all scales but the finest is strided.
        up: the inverse convolutions, coarsest first.
        merge: for each of them, the blocks after its output was joined with the skip connection.
        sites: N occupied voxels.
        features: (N, C).

    Returns:
        Sites and features of the decoder's levels, coarsest first, in the order of their keys.
    """
    library = _library()
    with torch.autocast(features.device.type, enabled=False):
        tensor = library.SparseConvTensor(
            features.float(), sites.coordinates.int(), list(sites.shape[1:]), sites.shape[0]
        )
        skips = []
        for depth, blocks in enumerate(down):
            for index, block in enumerate(blocks):
                tensor = _block(library, block, tensor, "down" if depth and not index else "same", depth)
            skips.append(tensor)
        levels = []
        for depth, raise_block, blocks in zip(range(len(skips) - 2, -1, -1), up, merge, strict=True):
            tensor = _block(library, raise_block, tensor, "up", depth + 1)
            tensor = tensor.replace_feature(torch.cat([tensor.features, skips[depth].features], 1))
            for block in blocks:
                tensor = _block(library, block, tensor, "same", depth)
            levels.append(_sorted_level(tensor))
    return levels


def _block(library: ModuleType, block: Any, tensor: Any, kind: Kind, depth: int) -> Any:
    """Convolution with the block's own weight, norm, ReLU; ``depth`` is the coarser scale that the cells belong to."""
    weight = block.conv.weight
    layer = _layer(library, kind, weight.shape[-1], weight.shape[0], depth)
    layer.train(torch.is_grad_enabled())  # spconv's evaluation mode knows no gradients
    convolved = functional_call(layer, {"weight": weight}, (tensor,))
    return convolved.replace_feature(F.relu(block.norm(convolved.features)))


@lru_cache(maxsize=128)
def _layer(library: ModuleType, kind: Kind, inputs: int, outputs: int, depth: int) -> nn.Module:
    """One of spconv's modules, whose own weight is never used; all of one kind and scale share their indices."""
    with torch.random.fork_rng(devices=[]):  # it draws weights when it is made
        if kind == "same":
            return library.SubMConv3d(inputs, outputs, 3, padding=1, bias=False, indice_key=f"same{depth}")
        if kind == "down":
            return library.SparseConv3d(inputs, outputs, 3, stride=2, padding=1, bias=False, indice_key=f"down{depth}")
        return library.SparseInverseConv3d(inputs, outputs, 3, bias=False, indice_key=f"down{depth}")


def _sorted_level(tensor: Any) -> tuple[Sites, Tensor]:
    sides = tuple(int(side) for side in tensor.spatial_shape)
    shape = (int(tensor.batch_size), *sides)
    empty = Sites(keys=tensor.indices.new_zeros(0, dtype=torch.long), shape=shape)  # type: ignore[arg-type]
    keys, order = empty.key(tensor.indices.long()).sort()
    return Sites(keys=keys, shape=shape), tensor.features[order]  # type: ignore[arg-type]


def _library() -> ModuleType:
    import spconv.pytorch  # pyright: ignore[reportMissingImports]

    return spconv.pytorch


@lru_cache(maxsize=16)
def _is_trusted(device: torch.device) -> bool:
    try:
        difference = difference_from_twin(device)
    except (ImportError, OSError, RuntimeError, AssertionError, TypeError, AttributeError) as error:
        warnings.warn(f"spconv does not run on {device} ({error}): pure torch is used", stacklevel=2)
        return False
    if not difference < _TOLERANCE:
        warnings.warn(f"spconv is {difference:.1e} off on {device}: pure torch is used", stacklevel=2)
        return False
    return True


def difference_from_twin(device: torch.device) -> float:
    """Largest difference of spconv from the twin in a small U-Net's values and gradients, relative to the largest."""
    from anim_real.model.presets import VolumeSpec
    from anim_real.model.volume import VolumeFeatureExtractor

    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(_CHECK_SHAPE, generator=generator) < 0.1
    sites = Sites(keys=occupied.flatten().nonzero().squeeze(1).to(device), shape=_CHECK_SHAPE)
    features = torch.randn(len(sites.keys), _CHECK_WIDTHS[0], generator=generator).to(device)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.inference_mode(False):
        torch.manual_seed(0)
        vfe = VolumeFeatureExtractor(_CHECK_WIDTHS[0], VolumeSpec(widths=_CHECK_WIDTHS, norm="none")).to(device)
        parameters = list(vfe.parameters())
        answers = []
        for levels in (
            [(level.sites, level.features) for level in vfe.forward_twin(sites, features)],
            run_unet(vfe.down, vfe.up, vfe.merge, sites, features),
        ):
            values = [level_features for _, level_features in levels]
            keys = [level_sites.keys for level_sites, _ in levels]
            gradients = torch.autograd.grad([value.square().mean() for value in values], parameters)
            answers.append((keys, [*(value.detach() for value in values), *gradients]))
    (keys, expected), (found_keys, found) = answers
    if not all(torch.equal(first, second) for first, second in zip(keys, found_keys, strict=True)):
        return float("inf")
    pairs = zip(expected, found, strict=True)
    return max(float((first - second).abs().max() / first.abs().max().clamp(min=1e-30)) for first, second in pairs)
