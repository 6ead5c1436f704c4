"""Region files: one source each, and a mistake is told by its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from anim_real.errors import AnimRealError, ConfigError
from anim_real.regions import load_regions

HEAD = 'schema = "anim-real/regions/1"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('source = "shapes"\n', "source 'shapes' goes with ['shapes'], found none"),
        ('source = "vertices"\n[shapes]\n', "found ['shapes']"),
        ('source = "label_images"\n[label_images]\n', "neither face nor hand"),
        ('source = "label_images"\n[label_images]\nface = [1, 2]\nhand = [2]\n', "label values [2] are face and hand"),
        ('source = "segmenter"\n[segmenter]\nkind = "onnx"\nmodel = "m"\nface = [1]\nstd = [0, 1, 1]\n', "std must be"),
        ('source = "labels"\n', "source"),
        ('source = "shapes"\n[shapes]\npaths = "x"\n', "unknown key"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "regions.toml").write_text(HEAD + text)
    with pytest.raises(ConfigError) as caught:
        load_regions(tmp_path / "regions.toml")
    assert told in str(caught.value)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "regions.toml").write_text('schema = "anim-real/regions/9"\nsource = "vertices"\n')
    with pytest.raises(AnimRealError) as caught:
        load_regions(tmp_path / "regions.toml")
    assert caught.value.exit_code == 12


def test_the_record_of_a_data_set_names_a_model_without_its_place(tmp_path: Path) -> None:
    (tmp_path / "regions.toml").write_text(
        HEAD + 'source = "segmenter"\n[segmenter]\nkind = "onnx"\nmodel = "net/m.onnx"\nface = [1]\n'
    )
    spec = load_regions(tmp_path / "regions.toml")
    assert spec.segmenter is not None and spec.segmenter.model == tmp_path.resolve() / "net" / "m.onnx"
    assert spec.portable()["segmenter"]["model"] == "m.onnx"
    assert str(tmp_path) not in str(spec.portable())
