"""KSamplerAdvanced in parts: one run that is cut in two is one recipe, anything else is named."""

from typing import Any

import pytest

from engine.errors import GraphError
from engine.formats.graphs.recipe import from_graph
from engine.recipe.parts import Lora, Upscale
from tests.engine.formats.test_comfy import default_graph
from tests.engine.formats.test_known_nodes import (
    CAT,
    DRAWN,
    ENCODED,
    MASKED,
    PICTURES,
    TEXT,
    custom,
    default,
    halves,
)
from tests.engine.recipes import IMAGE, read_graph, recipe_of

Graph = dict[str, Any]
PLAIN = recipe_of(default_graph())
SETTINGS = {"model": ["4", 0], **DRAWN, "steps": 20, "cfg": 8, "scheduler": "normal"}


def part(latents: list[Any], start: int, end: int, **changes: Any) -> tuple[str, Graph]:
    """Return a sampler that runs some of 20 steps; the first adds noise, the last leaves none."""
    first, last = latents[0] not in ("40", "41"), end >= 20
    inputs = {
        "add_noise": "enable" if first else "disable",
        "noise_seed": 7 if first else 0,
        "sampler_name": "euler",
        "start_at_step": start,
        "end_at_step": end,
        "return_with_leftover_noise": "disable" if last else "enable",
        "latent_image": latents,
    }
    return "KSamplerAdvanced", {**SETTINGS, **inputs, **changes}


def cut(*parts: tuple[str, Graph], **nodes: tuple[str, Graph]) -> Graph:
    """Return the default graph, drawn by these samplers one after the other: nodes 40, 41, …"""
    samplers = {f"n{40 + at}": each for at, each in enumerate(parts)}
    return default({"8": {"samples": [str(39 + len(parts)), 0]}}, **samplers, **nodes)


def test_a_run_that_is_cut_in_two_is_one_recipe() -> None:
    found = read_graph(cut(part(["5", 0], 0, 8), part(["40", 0], 8, 10_000)))
    whole = read_graph(cut(part(["5", 0], 0, 10_000)))
    assert found.ignored == whole.ignored == ()
    assert found.recipe == whole.recipe
    assert (found.recipe.seed, found.recipe.steps, found.recipe.strength) == (7, 20, None)
    assert (found.recipe.sampler, found.recipe.prompt) == ("euler", PLAIN.prompt)


def test_a_run_may_be_cut_in_three() -> None:
    graph = cut(part(["5", 0], 0, 5), part(["40", 0], 5, 12), part(["41", 0], 12, 20))
    assert recipe_of(graph) == recipe_of(cut(part(["5", 0], 0, 20)))


def test_a_run_on_a_start_image_likewise() -> None:
    graph = cut(part(["21", 0], 8, 14), part(["40", 0], 14, 20), n20=CAT, n21=ENCODED)
    recipe = recipe_of(graph, PICTURES)
    assert (recipe.image, recipe.steps, recipe.strength, recipe.seed) == (IMAGE, 12, 0.6, 7)


def test_a_second_pass_may_be_cut_too() -> None:
    graph = cut(
        part(["5", 0], 0, 20),
        part(["42", 0], 10, 15, add_noise="enable", noise_seed=7),
        n42=("LatentUpscaleBy", {"samples": ["40", 0], "scale_by": 1.5}),
        n43=part(["41", 0], 15, 20),
    )
    graph["8"]["inputs"]["samples"] = ["43", 0]
    found = read_graph(graph)
    assert found.recipe.upscale == Upscale(factor=1.5, by="latent", strength=0.5)
    assert (found.recipe.steps, found.ignored) == (20, ())


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2", "ddim"])
def test_samplers_without_memory_or_chance_are_the_same_in_parts(sampler: str) -> None:
    named = {"sampler_name": sampler}
    graph = cut(part(["5", 0], 0, 8, **named), part(["40", 0], 8, 20, **named))
    assert read_graph(graph).ignored == ()


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_ancestral", "uni_pc"])
def test_others_are_noted(sampler: str) -> None:
    named = {"sampler_name": sampler}
    found = read_graph(cut(part(["5", 0], 0, 8, **named), part(["40", 0], 8, 20, **named)))
    assert found.recipe.sampler == sampler
    assert found.ignored == (
        f"KSamplerAdvanced (node 41): sampler {sampler}: it begins anew there; Marble draws in one "
        "run",
    )


OTHERWISE = r"\(node 41\) goes on with other settings, or at another step,"
PART = "runs only some of the steps or adds no noise"


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (cut(part(["5", 0], 0, 8), part(["40", 0], 8, 20, cfg=4)), OTHERWISE),
        (
            cut(part(["5", 0], 0, 8), part(["40", 0], 8, 20, positive=["20", 0]), n20=TEXT),
            OTHERWISE,
        ),
        (cut(part(["5", 0], 0, 8), part(["40", 0], 8, 20, sampler_name="heun")), OTHERWISE),
        (cut(part(["5", 0], 0, 8), part(["40", 0], 8, 20, scheduler="karras")), OTHERWISE),
        (cut(part(["5", 0], 0, 8), part(["40", 0], 9, 20)), OTHERWISE),
        (cut(part(["5", 0], 0, 8), part(["40", 0], 8, 30, steps=30)), OTHERWISE),
        (
            cut(part(["5", 0], 0, 8), part(["40", 0], 8, 20, add_noise="enable")),
            r"\(node 41\) takes latents in which noise is left",
        ),
        (cut(part(["5", 0], 0, 8)), r"VAEDecode \(node 8\) takes latents in which noise is left"),
        (
            cut(
                part(["5", 0], 0, 8),
                part(["42", 0], 8, 20),
                n42=("LatentUpscaleBy", {"samples": ["40", 0], "scale_by": 2.0}),
            ),
            r"LatentUpscaleBy \(node 42\) takes latents in which noise is left",
        ),
        (
            cut(part(["5", 0], 0, 8, return_with_leftover_noise="disable")),
            rf"\(node 40\) {PART}",
        ),
        (cut(part(["5", 0], 0, 20, add_noise="disable")), rf"\(node 40\) {PART}"),
        (cut(part(["5", 0], 8, 8)), rf"\(node 40\) {PART}"),
        (cut(part(["5", 0], 0, 20), part(["40", 0], 8, 20)), rf"\(node 41\) {PART}"),
        (
            cut(
                part(["23", 0], 8, 14),
                part(["40", 0], 14, 20),
                n20=CAT,
                n21=ENCODED,
                n22=("LoadImageMask", {"image": "cat.png", "channel": "red"}),
                n23=MASKED,
            ),
            r"\(node 41\) goes on under a mask",
        ),
    ],
)
def test_what_one_run_would_not_draw_is_named(graph: Graph, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        read_graph(graph, PICTURES)


def test_a_run_on_noise_levels_that_are_split_is_one_recipe() -> None:
    found = read_graph(halves())
    assert found.recipe == read_graph(custom()).recipe
    assert found.ignored == ()


def test_a_second_half_that_is_counted_by_its_share_is_one_too() -> None:
    graph = halves()
    inputs = {"model": ["4", 0], "scheduler": "beta", "steps": 5, "denoise": 5 / 9}
    graph["29"] = {"class_type": "BasicScheduler", "inputs": inputs}
    graph["28"]["inputs"]["sigmas"] = ["29", 0]
    assert recipe_of(graph) == recipe_of(custom())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"28": {"latent_image": ["5", 0]}}, rf"\(node 28\) {PART}"),
        ({"28": {"latent_image": ["3", 1]}}, rf"\(node 3\) {PART}"),
        ({"28": {"noise": ["20", 0]}}, r"\(node 28\) takes latents in which noise is left"),
        ({"28": {"sigmas": ["23", 0]}}, r"\(node 28\) goes on with other settings"),
        ({"8": {"samples": ["3", 0]}}, r"VAEDecode \(node 8\) takes latents in which noise is"),
        ({"26": {"step": 0}}, rf"\(node 3\) {PART}"),
        ({"26": {"step": 9}}, rf"SplitSigmas \(node 26\) {PART}"),
    ],
)
def test_halves_that_are_not_of_one_run_are_named(changes: Graph, said: str) -> None:
    graph = halves()
    for name, inputs in changes.items():
        graph[name]["inputs"] |= inputs
    with pytest.raises(GraphError, match=said):
        read_graph(graph)


def test_a_lora_whose_weight_another_node_computes_is_named_without_one() -> None:
    loader = {"lora_name": "ink.safetensors", "model": ["4", 0], "clip": ["4", 1]}
    graph = default(
        {"3": {"model": ["20", 0]}},
        n20=("LoraLoader", {**loader, "strength_model": ["21", 0], "strength_clip": 1}),
        n21=("ComputedFloat", {"expression": "a / 2"}),
    )
    reading = from_graph(graph)
    assert reading.refused is not None
    assert "loras" not in reading.values
    assert (
        "LoraLoader (node 20): LoRA 'ink': another node computes its weight, which is "
        "unknown here" in reading.ignored
    )
    graph["21"] = {"class_type": "PrimitiveFloat", "inputs": {"value": 0.5}}
    assert from_graph(graph).values["loras"] == (Lora(name="ink", weight=0.5, text_weight=0),)
