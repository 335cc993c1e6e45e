"""SDXL's form: two text encoders, a summary and sizes, which every row of a call carries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from engine.families.stable_diffusion import StableDiffusion
from engine.loading.model import Conditioning
from engine.pipeline.batching import Batching
from engine.recipe.context_length import UNET
from engine.text_encode.conditioning import TextEncoder, stack
from tests.engine.ticks import ROOMY, draw, make_loaded_model, make_pipeline, pngs
from tests.factories import make_recipe
from tests.single_files import make_true_model


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return a small SDXL."""
    return make_true_model(tmp_path_factory.mktemp("xl"), "sdxl")


@contextmanager
def told(model: StableDiffusion) -> Iterator[list[Any]]:
    """Keep what each call of the U-Net was told beside its context."""
    kept: list[Any] = []

    def keep(_: object, __: object, given: dict[str, Any]) -> None:
        kept.append(given["added_cond_kwargs"])

    hook = model.unet.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield kept
    finally:
        hook.remove()


@torch.inference_mode()
def test_encoders_stand_side_by_side_and_the_second_sums_up_the_first_window(
    xl: StableDiffusion,
) -> None:
    encoder = TextEncoder(xl)
    short, weighted = encoder.encode("a cat"), encoder.encode("a (cat:1.4)")
    long = encoder.encode("a cat" + " and a dog" * 30)
    assert short.embeds.shape == (1, 77, 768 + 1280)
    assert long.tokens > 77
    # A summary has no weights.
    assert torch.equal(short.others["pooled"], weighted.others["pooled"])
    assert not torch.equal(short.embeds[..., 768:], weighted.embeds[..., 768:])


def test_every_row_of_a_batch_carries_its_own_summary_and_size(xl: StableDiffusion) -> None:
    recipes = [
        make_recipe(prompt="a cat", steps=2),
        make_recipe(prompt="a dog", steps=2, negative_prompt="b", guidance_scale=7),
    ]
    with told(xl) as kept:
        together = [pngs(news) for news in draw(make_pipeline(xl, ROOMY), recipes, [0, 0])]
    rows = kept[0]
    assert rows["time_ids"].tolist() == [[64, 64, 0, 0, 64, 64]] * 8  # padded to eight rows
    summaries = {tuple(row.tolist()) for row in rows["text_embeds"]}
    assert len(summaries) == 4  # "a cat", "", "a dog", "b"
    alone = [pngs(draw(make_pipeline(xl, ROOMY), [recipe], [0])[0]) for recipe in recipes]
    assert together == alone


def test_sizes_follow_the_picture_and_lengths_may_differ(xl: StableDiffusion) -> None:
    recipes = [
        make_recipe(prompt="a cat", steps=1, width=64, height=96),
        make_recipe(prompt="a cat" + " and a dog" * 30, steps=1, width=64, height=96),
    ]
    with told(xl) as kept:
        draw(make_pipeline(xl, ROOMY, Batching.THROUGHPUT), recipes, [0, 0])
    assert kept[0]["time_ids"].tolist() == [[96, 64, 0, 0, 96, 64]] * 4


def test_models_without_a_summary_are_told_none(model: StableDiffusion) -> None:
    with torch.inference_mode():
        plain = model.conditions(TextEncoder(model).encode("a cat"), 64, 64, 7.0)
    assert not plain.others
    assert plain.mask is None


def test_stacked_rows_are_repeated_to_one_length_and_padded_by_the_first() -> None:
    two, three = (Conditioning(torch.randn(1, tokens, 4)) for tokens in (2, 3))
    both = stack([two, three], UNET, padding=1)
    assert both.embeds.shape == (3, 6, 4)
    assert torch.equal(both.embeds[0], two.embeds[0].repeat(3, 1))
    assert torch.equal(both.embeds[2], both.embeds[0])


def test_an_offloaded_model_brings_both_encoders(xl: StableDiffusion) -> None:
    loaded_model = make_loaded_model(xl, offloaded=True)
    moved: list[str] = []
    hooks = [
        part.register_forward_pre_hook(lambda module, _: moved.append(type(module).__name__))
        for part in (xl.text_encoder, xl.text_encoder_2)
    ]
    with torch.inference_mode():
        loaded_model.begin(make_recipe())
    for hook in hooks:
        hook.remove()
    assert {"CLIPTextModel", "CLIPTextModelWithProjection"} <= set(moved)
    parts = (xl.text_encoder, xl.text_encoder_2, xl.unet, xl.vae)
    weights = sum(w.nbytes for each in parts for w in (*each.parameters(), *each.buffers()))
    assert (
        loaded_model.size == weights + loaded_model._text.size
    )  # what is remembered of its prompts
    assert 0 < loaded_model._text.size < weights / 10
