"""A small picture drawn with a model, and what each stage took."""

from pathlib import Path

import pytest

from engine.check.trial import small_recipe, try_out
from engine.errors import BrokenModel
from engine.events import Stage
from engine.executors.config import EngineConfig
from engine.models.catalogue import Catalogue
from tests.flow_models import make_z_image
from tests.models import make_model


def test_each_stage_is_measured(tmp_path: Path) -> None:
    make_model(tmp_path / "mine")
    config = EngineConfig(models_dir=tmp_path, device="cpu")
    measured = try_out(Catalogue(tmp_path).get("mine"), config)
    assert [each.stage for each in measured] == [
        Stage.LOAD, Stage.ENCODE, Stage.DENOISE, Stage.DECODE
    ]  # fmt: skip
    assert all(each.seconds >= 0 for each in measured)
    assert all(each.memory > 2**26 for each in measured)


def test_the_picture_is_small_and_of_sides_that_the_model_draws(tmp_path: Path) -> None:
    make_z_image(tmp_path / "Z-Image-Turbo")
    recipe = small_recipe(Catalogue(tmp_path).get("Z-Image-Turbo"))
    assert (recipe.width, recipe.height, recipe.steps) == (512, 512, 4)
    assert recipe.guidance_scale == 1


def test_what_goes_wrong_is_the_error_of_the_job(tmp_path: Path) -> None:
    make_model(tmp_path / "mine")
    checkpoint = Catalogue(tmp_path).get("mine")
    for file in (tmp_path / "mine" / "vae").glob("*.safetensors"):
        file.write_bytes(b"")
    with pytest.raises(BrokenModel, match="vae"):
        try_out(checkpoint, EngineConfig(models_dir=tmp_path, device="cpu"))
