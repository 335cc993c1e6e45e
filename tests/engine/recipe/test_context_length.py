"""How long contexts become in the U-Net's calls, and what they cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from engine.denoise.conditions import Conditions
from engine.denoise.denoising import Denoising, evaluate
from engine.device.tensor_bytes import tensor_bytes
from engine.families.stable_diffusion import StableDiffusion
from engine.loading.tokenizer import make_tokenizer
from engine.pipeline.batching import Batching
from engine.recipe.context_length import UNET, WINDOW, estimate
from engine.text_encode import conditioning
from engine.text_encode.conditioning import TextEncoder
from engine.text_encode.prompts import tokenize
from tests.engine.ticks import ROOMY, draw, make_pipeline, pngs
from tests.factories import make_recipe

# The tiny model's tokens are letters: 75 of them fill a window.
FIVE, SEVEN = "marble " * 60, "statue " * 87


@contextmanager
def watched(model: StableDiffusion) -> Iterator[list[torch.Size]]:
    """Yield the shapes of all contexts that the U-Net is given, [rows, tokens, width]."""
    seen: list[torch.Size] = []
    forward = model.unet.forward

    def watch(x: Any, t: Any, *, encoder_hidden_states: torch.Tensor, **more: Any) -> Any:
        seen.append(encoder_hidden_states.shape)
        return forward(x, t, encoder_hidden_states=encoder_hidden_states, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.unet, "forward", watch)
        yield seen


@pytest.mark.parametrize(
    ("windows", "shared"),
    [((1, 1), True), ((1, 4), True), ((2, 3), True), ((1, 5), False), ((70, 53), False)],
)
def test_lengths_share_a_call_by_comfyuis_rule(windows: tuple[int, int], shared: bool) -> None:
    assert UNET.share_a_call([WINDOW * n for n in windows]) is shared


@pytest.mark.parametrize("batching", Batching)
def test_no_context_is_longer_than_four_times_the_shorter_or_the_longer_itself(
    model: StableDiffusion, batching: Batching
) -> None:
    recipes = [
        make_recipe(steps=2, prompt=a, negative_prompt=b, seed=n)
        for n, (a, b) in enumerate([(FIVE, SEVEN), (SEVEN, "x"), ("x", FIVE), ("x", "x")])
    ]
    with watched(model) as seen:
        told = draw(make_pipeline(model, ROOMY, batching), recipes, [0] * 4)
    assert all(len(pngs(news)) == 1 for news in told)
    assert {shape[1] // WINDOW for shape in seen} == {1, 5, 7}  # and not 35
    longest = max(torch.Size(shape).numel() for shape in seen)
    assert longest <= 8 * 7 * WINDOW * 32  # values: rows, tokens, width


def test_a_seed_gives_the_same_bytes_whatever_prompts_its_neighbours_have(
    model: StableDiffusion,
) -> None:
    recipes = [
        make_recipe(steps=3, prompt=a, negative_prompt=b, seed=n, guidance_scale=scale)
        for n, (a, b, scale) in enumerate(
            [
                (FIVE, SEVEN, 4.0),
                (FIVE, SEVEN, 3.0),
                (SEVEN, "x", 4.0),
                ("x", "", 4.0),
                (FIVE, "", 1),
            ]
        )
    ]
    alone = [draw(make_pipeline(model, ROOMY), [recipe], [0])[0] for recipe in recipes]
    with watched(model) as seen:
        together = draw(make_pipeline(model, ROOMY), recipes, [0, 1, 0, 1, 2])
    assert [pngs(news) for news in together] == [pngs(news) for news in alone]
    assert {shape[0] for shape in seen} == {8}  # rows of each call, whoever is in it


@torch.inference_mode()
def test_calls_of_their_own_answer_as_one_with_repeated_contexts(model: StableDiffusion) -> None:
    text = TextEncoder(model)
    picture = Denoising(
        model, make_recipe(), 0, Conditions.of(text.encode(FIVE), text.encode(SEVEN))
    )
    assert (picture.rows, picture.tokens) == (1, (7 * WINDOW, 5 * WINDOW))
    [split] = evaluate(model, [picture])
    picture.conditions, picture.stacked = (conditioning.stack(picture.conditions, UNET),), None
    picture.rows = 2
    assert picture.tokens == (35 * WINDOW,)
    [joined] = evaluate(model, [picture])
    # What the network predicts is multiplied by σ, about 14: last bits, by the machine.
    torch.testing.assert_close(split, joined, rtol=0, atol=5e-4)


def test_the_longer_a_context_the_dearer_its_row() -> None:
    assert UNET.weight(WINDOW) == 1
    assert UNET.weight(2 * WINDOW) < UNET.weight(70 * WINDOW)
    lengths = [70 * WINDOW, 53 * WINDOW]
    assert UNET.mean_weight(lengths) == pytest.approx(sum(map(UNET.weight, lengths)) / 2)
    assert UNET.mean_weight([WINDOW, 2 * WINDOW]) == UNET.weight(2 * WINDOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a cat",
        "a marble scholar holding a book, golden light, 8k " * 30,
        "一个拿着书的大理石学者，" * 150,
    ],
)
def test_the_estimate_of_a_prompts_length_is_near_the_tokenizers(text: str) -> None:
    tokenizer = make_tokenizer(49407)

    def encode(words: str) -> list[list[int]]:
        return [tokenizer(words, add_special_tokens=False).input_ids]

    windows = len(tokenize(text, encode, bos=0, eos=1))
    assert estimate(text) / WINDOW == pytest.approx(windows, rel=0.35)


def test_the_prompts_that_are_remembered_are_bounded_by_bytes(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TextEncoder(model)
    with torch.inference_mode():
        one = tensor_bytes(text.encode(""))
        assert text.cached == one
        monkeypatch.setattr(conditioning, "CACHED", 6 * one)
        monkeypatch.setattr(conditioning, "KEPT", 1)
        for words in ("a", "b", FIVE):
            text.encode(words)
        assert text.cached == 6 * one  # five windows, and the latest before them
        assert text.encode("b") is text.encode("b")
        assert text.encode(SEVEN).tokens == 7 * WINDOW  # it alone stays, whatever it takes
    assert text.cached == sum(map(tensor_bytes, text._cache.values())) == 7 * one
