"""Which prompts are encoded, and which of them stay encoded."""

from typing import Any

import pytest
import torch

from engine.families.registry import load
from engine.families.stable_diffusion import StableDiffusion
from engine.loading.model import Conditioning, Model
from engine.models.catalogue import Catalogue
from engine.pipeline.loaded_model import LoadedModel
from engine.text_encode.conditioning import CACHED, KEPT
from tests.engine.ticks import make_loaded_model
from tests.factories import make_recipe
from tests.flow_models import make_flux

CPU = torch.device("cpu")


def noting(loaded_model: LoadedModel, size: int = 0) -> list[str]:
    """Let a loaded model note which prompts it encodes; each takes `size` bytes more."""
    prompts, encoded = loaded_model._text._prompts, list[str]()
    encode = prompts.encode

    def noted(prompt: str, *arguments: Any) -> Conditioning:
        encoded.append(prompt)
        more = torch.zeros(1, size, dtype=torch.uint8)
        found = encode(prompt, *arguments)
        return Conditioning(found.embeds, found.mask, {**found.others, "more": more})

    setattr(prompts, "encode", noted)  # noqa: B010  # typed otherwise
    return encoded


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a model that is told the guidance scale."""
    home = tmp_path_factory.mktemp("home")
    make_flux(home / "flux")
    model = load(Catalogue(home).get("flux"), CPU)
    assert model.takes_guidance
    return model


def test_a_negative_prompt_is_encoded_where_it_has_an_effect(model: StableDiffusion) -> None:
    for scale, wanted in ((7.0, ["a bust", "blurred"]), (1.0, ["a bust"])):
        loaded_model = make_loaded_model(model)
        encoded = noting(loaded_model)
        recipe = make_recipe(prompt="a bust", negative_prompt="blurred", guidance_scale=scale)
        with torch.inference_mode():
            (picture,) = loaded_model.begin(recipe)
        assert encoded == wanted
        assert picture.rows == len(wanted)


def test_a_model_that_is_told_the_guidance_encodes_no_negative_prompt(told: Model) -> None:
    loaded_model = make_loaded_model(told)
    encoded = noting(loaded_model)
    recipe = make_recipe(prompt="a bust", guidance_scale=3.5, width=64, height=64)
    with torch.inference_mode():
        loaded_model.begin(recipe)
    assert encoded == ["a bust"]


def test_the_last_prompts_stay_encoded_however_long_and_have_room(model: StableDiffusion) -> None:
    asked: list[int] = []
    loaded_model = make_loaded_model(model, make_room=asked.append)
    encoded = noting(loaded_model, CACHED)
    jobs = [make_recipe(prompt=f"a bust {n}", negative_prompt=f"blurred {n}") for n in range(3)]
    with torch.inference_mode():
        for job in (*jobs[:2], *jobs[:2]):
            loaded_model.begin(job)
        assert len(encoded) == KEPT == 4
        assert loaded_model._text.cached >= KEPT * CACHED
        assert asked == [0] * len(asked)
        assert asked
        loaded_model.begin(jobs[2])  # which makes the first job's go
        loaded_model.begin(jobs[1])
        assert len(encoded) == KEPT + 2
        loaded_model.begin(jobs[0])
        assert len(encoded) == KEPT + 4


def test_small_prompts_stay_in_any_number_within_the_bytes(model: StableDiffusion) -> None:
    loaded_model = make_loaded_model(model)
    encoded = noting(loaded_model, CACHED // 10)
    with torch.inference_mode():
        for n in range(20):
            loaded_model.begin(make_recipe(prompt=f"a bust {n}", guidance_scale=1.0))
        assert KEPT < len(loaded_model._text._cache) < 10
        assert loaded_model._text.cached <= CACHED
    assert len(encoded) == 20
