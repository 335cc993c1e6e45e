"""What a picture shows in words, by a small BLIP with random weights and true files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.finish.describe import (
    BrokenDescriber,
    Describer,
    examine,
    load_describer,
)
from tests.classifiers import make_classifier
from tests.describers import WORDS, make_describer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_describer(tmp_path_factory.mktemp("describers") / "blip")


@pytest.fixture(scope="module")
def describer(folder: Path) -> Describer:
    return load_describer(str(folder))


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8))


def test_the_same_picture_is_described_in_the_same_several_ways(describer: Describer) -> None:
    first = describer.suggest(noise(1))
    assert len(set(first)) == len(first) == 4
    assert all(set(words.split()) <= set(WORDS) for words in first)
    assert describer.suggest(noise(1)) == first
    assert describer.suggest(Image.new("RGB", (64, 48), "red"))[0] != first[0]


def test_a_model_that_works_is_told_from_others(folder: Path, tmp_path: Path) -> None:
    assert examine(str(folder)) == 4
    judge = make_classifier(tmp_path / "judge")
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    for name in (str(judge), str(broken), str(bare), "/no/such/folder", "nowhere"):
        with pytest.raises(BrokenDescriber) as error:
            examine(name)
        assert str(error.value).startswith(f"The model {name!r} cannot describe pictures: ")
        assert "\n" not in str(error.value)
