"""The architecture against ANIM's numbers, its variants, and the meaning of its coordinates."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from data.people import FakeSource

from anim_real.data.batches import Batch, collate
from anim_real.data.dataset import DataSpec, TrainingSet
from anim_real.data.sampling import SamplingSpec
from anim_real.errors import ConfigError
from anim_real.model.anim import ANIM
from anim_real.model.hourglass import StackedHourglass
from anim_real.model.implicit import ImplicitMlp, sample_pixels
from anim_real.model.presets import VARIANTS, NetworkSpec, network_spec
from anim_real.model.sparse import SparseConv
from anim_real.model.volume import VolumeFeatureExtractor, voxel_coordinates, voxelize
from anim_real.model.weights import num_parameters

# ANIM.md, tables 1-3 as presets: image channels and MLP input width of every row
ROWS = {
    "anim": (6, 369),
    "t1_lr_only": (6, 257),
    "t1_hr_only": (6, 257),
    "t1_3d_only": (0, 113),
    "t1_random_features": (6, 369),
    "t2_without_normals": (3, 369),
    "t2_without_lr": (6, 369),
    "t2_without_hr": (6, 369),
    "t3_pifu_d": (4, 257),
    "t3_pifu_d_sn": (7, 257),
    "t3_pifu_vfe": (3, 369),
    "t3_pifu_vfe_sn": (6, 369),
    "t3_ifnet": (0, 2583),
    "t3_ifnet_hr": (3, 2840),
    "t3_ifnet_hr_sn": (6, 2840),
}


@pytest.fixture(scope="module")
def batch() -> Batch:
    spec = DataSpec(
        sampling=SamplingSpec(candidates=800, base=300, semantic=50), depth_points=100, max_input_points=800
    )
    examples = TrainingSet(FakeSource((1.0, 1.1)), spec, size=64, seed=0)
    return collate([examples.example(0, 0), examples.example(1, 0)])


def tiny(variant: str = "anim", **changes: object) -> NetworkSpec:
    return network_spec("tiny", variant, {"image_size": 64, **changes})


def test_paper_preset_has_the_papers_numbers() -> None:
    with torch.device("meta"):
        spec = network_spec("paper")
        model = ANIM(spec)
    assert spec.mlp_inputs == 369
    assert [tuple(layer.weight.shape) for layer in model.mlp.layers] == [
        (512, 369),
        (256, 512 + 369),
        (128, 256 + 369),
        (1, 128),
    ]
    convolutions = [module.weight.numel() for module in model.vfe.modules() if isinstance(module, SparseConv)]
    assert len(convolutions) == 28
    assert sum(convolutions) == 3_552_768
    assert num_parameters(model.hr) == num_parameters(model.lr)
    assert num_parameters(model.hr) == pytest.approx(14.4e6, rel=0.01)
    assert num_parameters(model) == pytest.approx(32.8e6, rel=0.01)


def test_paper_encoders_give_the_papers_resolutions() -> None:
    spec = network_spec("paper").encoder
    with torch.device("meta"):
        image = torch.empty(1, 6, 512, 512)
        assert StackedHourglass(6, spec, halve_twice=True)(image).shape == (1, 256, 128, 128)
        assert StackedHourglass(6, spec, halve_twice=False)(image).shape == (1, 256, 256, 256)


def test_every_row_of_the_tables_is_a_variant() -> None:
    assert set(ROWS) == set(VARIANTS)


@pytest.mark.parametrize("variant", ROWS)
def test_variant_has_its_widths_and_runs(variant: str, batch: Batch) -> None:
    paper = network_spec("paper", variant)
    assert (paper.num_channels, paper.mlp_inputs) == ROWS[variant]
    torch.manual_seed(0)
    model = ANIM(tiny(variant))
    predicted = model.query(model.encode(batch.observation), batch.points_BP3)
    assert predicted.shape == batch.points_BP3.shape[:2]
    predicted.abs().mean().backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not silent


def test_every_input_reaches_the_output(batch: Batch) -> None:
    torch.manual_seed(0)
    model = ANIM(tiny())
    with torch.no_grad():
        base = model.query(model.encode(batch.observation), batch.points_BP3)
        for name in ("color_BHW3", "normals_BHW3", "points_BN3"):
            before = getattr(batch.observation, name)
            changed = before * 0.7 if name == "points_BN3" else before.flip(1)
            other = type(batch.observation)(**{**vars(batch.observation), name: changed})
            assert (model.query(model.encode(other), batch.points_BP3) - base).abs().max() > 1e-6, name


def test_frames_of_a_batch_do_not_mix(batch: Batch) -> None:
    torch.manual_seed(0)
    model = ANIM(tiny()).eval()
    spec = DataSpec(
        sampling=SamplingSpec(candidates=800, base=300, semantic=50), depth_points=100, max_input_points=800
    )
    alone = collate([TrainingSet(FakeSource((1.0, 1.1)), spec, size=64, seed=0).example(1, 0)])
    with torch.no_grad():
        together = model.query(model.encode(batch.observation), batch.points_BP3)[1]
        single = model.query(model.encode(alone.observation), alone.points_BP3)[0]
    assert torch.allclose(together, single, atol=1e-4)


def test_pixel_features_equal_grid_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 5, 16, 12, generator=generator, dtype=torch.float64, requires_grad=True)
    pixels = torch.rand(2, 200, 2, generator=generator, dtype=torch.float64) * torch.tensor([40.0, 50.0]) - 8.0
    size = (32, 24)
    grid = (2 * pixels + 1) / torch.tensor([24.0, 32.0]) - 1
    expected = F.grid_sample(features, grid[:, :, None], padding_mode="border", align_corners=False)[..., 0].transpose(
        1, 2
    )
    found = sample_pixels(features, pixels, size)
    assert torch.allclose(found, expected, atol=1e-10)
    gradients = [torch.autograd.grad((value**2).sum(), features)[0] for value in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-10)


def test_voxels_hold_the_mean_of_their_points() -> None:
    spec = tiny().grid
    size = spec.extent_cm / spec.grid
    center = (torch.tensor([3.0, 4.0, 5.0]) + 0.5) * size - spec.extent_cm / 2
    points = torch.stack([center, center + 0.3 * size, center + size, torch.tensor([500.0, 0.0, 0.0])])[None]
    sites, row = voxelize(points, torch.ones(1, 4, dtype=torch.bool), spec)
    assert sites.coordinates.tolist() == [[0, 3, 4, 5], [0, 4, 5, 6]]
    assert row.tolist() == [0, 0, 1, 2]  # the last one is outside the grid
    assert voxel_coordinates(center, spec.grid, spec.extent_cm).tolist() == pytest.approx([3.0, 4.0, 5.0], abs=1e-4)


def test_no_depth_in_the_grid_gives_zero_features() -> None:
    spec = tiny().grid
    extractor = VolumeFeatureExtractor(4, spec)
    sites, _ = voxelize(torch.full((1, 3, 3), 900.0), torch.ones(1, 3, dtype=torch.bool), spec)
    sampled = extractor.sample(extractor(sites, torch.zeros(0, 4)), torch.zeros(1, 5, 3), spec)
    assert sampled.shape == (1, 5, spec.num_vfe_features)
    assert not sampled.any()


def test_mlp_joins_its_input_again() -> None:
    mlp = ImplicitMlp(7, (6, 5, 4))
    assert [layer.in_features for layer in mlp.layers] == [7, 6 + 7, 5 + 7, 4]
    assert mlp(torch.zeros(3, 2, 7)).shape == (3, 2)


def test_points_outside_image_or_cube_are_outside(batch: Batch) -> None:
    model = ANIM(tiny())
    points = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 130.0], [119.0, 0.0, 0.0], [0.0, 0.0, -119.0]]]).expand(
        2, -1, -1
    )
    inside = model.inside(batch.observation.projection, points)
    assert inside[0].tolist() == [True, False, False, True]


def test_unknown_names_and_impossible_networks_are_refused() -> None:
    with pytest.raises(ConfigError, match="preset"):
        network_spec("huge")
    with pytest.raises(ConfigError, match="variant"):
        network_spec("tiny", "t9")
    with pytest.raises(ConfigError, match="image branch"):
        network_spec("tiny", "anim", {"rgb": False, "normal": False})
