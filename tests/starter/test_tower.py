"""The bundled towers: small, whole, the starter's own text encoder, and what a caption finds."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.finish.towers import Towers, load_towers
from engine.models.catalogue import STARTER, STARTER_FOLDER, STARTER_TOWERS
from engine.starter.recipe import RECIPE
from engine.starter.render.picture import render
from engine.starter.training.log import Log
from engine.starter.training.loop import Draw
from engine.starter.training.pictures import Pictures
from engine.starter.training.tower import LOSSES, disturb, train_towers
from tests.starter.finding import LANGUAGES, draw_specs, full_captions, see, share_first


@pytest.fixture(scope="module")
def towers() -> Towers:
    return load_towers(STARTER)


def test_the_file_is_at_most_3_megabytes_and_reads_texts_with_the_models_own_encoder() -> None:
    file = STARTER_TOWERS / "model.safetensors"
    assert file.stat().st_size <= 3_000_000
    tensors = load_file(file)
    encoder = load_file(STARTER_FOLDER / "text_encoder" / "model.safetensors")
    ours = {name.removeprefix("text_model."): tensor for name, tensor in encoder.items()}
    assert len(ours) > 30
    for name, tensor in ours.items():
        assert torch.equal(tensors[f"text_model.{name}"], tensor), name
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        copy = (STARTER_TOWERS / name).read_bytes()
        assert copy == (STARTER_FOLDER / "tokenizer" / name).read_bytes()


def test_the_vectors_are_the_recipes(towers: Towers) -> None:
    assert towers.width == RECIPE.tower.vector
    assert towers.name.startswith("starter@")


def test_captions_that_name_everything_find_their_picture_among_a_hundred(towers: Towers) -> None:
    rng = np.random.default_rng(11)
    specs = draw_specs(rng, 100)
    seen = see(towers, [render(spec, rng) for spec in specs])
    for language in LANGUAGES:
        asked = towers.texts(full_captions(specs, language, rng))
        assert share_first(asked, seen) >= 0.95, language


def test_pictures_of_another_shape_are_seen_alike(towers: Towers) -> None:
    """Marble draws wide and large pictures too; the middle of one is what counts."""
    rng = np.random.default_rng(12)
    specs = draw_specs(rng, 20)
    pictures = [render(spec, rng) for spec in specs]
    large = [np.pad(p.repeat(2, 0).repeat(2, 1), ((0, 0), (20, 20), (0, 0))) for p in pictures]
    close = (see(towers, pictures) * see(towers, large)).sum(1)
    assert close.min() > 0.9


def test_training_writes_a_whole_model_the_same_each_time(tmp_path: Path) -> None:
    recipe = replace(RECIPE, tower=replace(RECIPE.tower, steps=2, batch=4))
    side = RECIPE.picture_size
    drawn = np.random.default_rng(0).integers(0, 255, (8, side, side, 3), np.uint8)
    written = []
    for work in (tmp_path / "1", tmp_path / "2"):
        for part in ("tokenizer", "text_encoder"):
            shutil.copytree(STARTER_FOLDER / part, work / part)
        train_towers(recipe, Pictures((drawn,)), work, Log(work / "log"))
        written.append((work / "tower" / "model.safetensors").read_bytes())
    assert written[0] == written[1]
    assert load_towers(str(tmp_path / "1" / "tower")).width == recipe.tower.vector


def test_the_losses_are_those_of_the_papers() -> None:
    cosines = torch.tensor([[0.9, -0.1], [0.3, 0.6]])
    scale, bias = torch.tensor(5.0), torch.tensor(-2.0)
    both = [
        math.log(1 + math.exp(5 * (other - own)))
        for own, other in ((0.9, -0.1), (0.6, 0.3), (0.9, 0.3), (0.6, -0.1))
    ]
    assert float(LOSSES["softmax"](cosines, scale, bias)) == pytest.approx(sum(both) / 4, rel=1e-5)
    pairs = [(1, 0.9), (-1, -0.1), (-1, 0.3), (1, 0.6)]
    each = [math.log(1 + math.exp(-sign * (5 * cosine - 2))) for sign, cosine in pairs]
    assert float(LOSSES["sigmoid"](cosines, scale, bias)) == pytest.approx(sum(each) / 2, rel=1e-5)


def test_disturbed_pictures_depend_on_the_step_alone_and_stay_near() -> None:
    pictures = torch.zeros(4, 3, RECIPE.tower.small, RECIPE.tower.small)
    once, again, other = (disturb(RECIPE.tower, pictures, Draw.of(1, n)) for n in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert once.shape == (4, 3, RECIPE.tower.side, RECIPE.tower.side)
    assert 0.0 < float(once.std()) < 0.15
