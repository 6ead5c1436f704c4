"""The spconv backend against the twin: on a fake of spconv's interface here, on spconv itself where there is a GPU."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch

from anim_real.model import spconv_backend
from model import fake_spconv


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package = ModuleType("spconv")
    package.pytorch = fake_spconv  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spconv", package)
    monkeypatch.setitem(sys.modules, "spconv.pytorch", fake_spconv)
    for cached in (spconv_backend._layer, spconv_backend._is_trusted):
        cached.cache_clear()
    return fake_spconv


def test_the_unet_equals_the_twin_whatever_the_order_of_cells(fake: ModuleType) -> None:
    assert spconv_backend.difference_from_twin(torch.device("cpu")) < 1e-4


def test_the_global_generator_is_left_alone(fake: ModuleType) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    spconv_backend.difference_from_twin(torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)


def test_a_library_that_computes_otherwise_is_not_trusted(fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = fake_spconv.SparseInverseConv3d.convolved

    def turned(self: fake_spconv.SparseInverseConv3d, tensor: fake_spconv.SparseConvTensor) -> object:
        made = right(self, tensor)
        return made.replace_feature(made.features.flip(0))

    monkeypatch.setattr(fake_spconv.SparseInverseConv3d, "convolved", turned)
    with pytest.warns(UserWarning, match="off on cpu"):
        assert not spconv_backend._is_trusted(torch.device("cpu"))


def test_a_library_that_fails_is_not_trusted(fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fake_spconv, "SubMConv3d")
    with pytest.warns(UserWarning, match="does not run"):
        assert not spconv_backend._is_trusted(torch.device("cpu"))


def test_on_the_cpu_the_twin_is_taken() -> None:
    assert not spconv_backend.is_usable(torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("spconv") is None, reason="needs a CUDA device and spconv"
)
def test_spconv_itself_equals_the_twin() -> None:
    assert spconv_backend.difference_from_twin(torch.device("cuda")) < 1e-3
