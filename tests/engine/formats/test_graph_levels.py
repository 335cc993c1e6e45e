"""Noise levels that nodes space: read as the schedule that has the same ones, or named."""

from typing import Any

import pytest
import torch

from engine.denoise.schedules import sigmas_for
from engine.errors import GraphError
from engine.loading.noise_schedule import NoiseSchedule
from tests.engine.formats.test_comfy import default_graph
from tests.engine.formats.test_known_nodes import (
    CAT,
    DRAWN,
    ENCODED_19,
    ENDS,
    PICTURES,
    QWEN3,
    custom,
    default,
    of_parts,
    replaced,
    spaced,
)
from tests.engine.recipes import read_graph, recipe_of

SD = NoiseSchedule()
RHO = {"KarrasScheduler": {"rho": 7}, "PolyexponentialScheduler": {"rho": 1}}


def turbo(steps: int, denoise: float) -> dict[str, Any]:
    """Return a graph that draws on a start image, on levels of SDTurboScheduler, with Euler."""
    node = ("SDTurboScheduler", {"model": ["4", 0], "steps": steps, "denoise": denoise})
    graph = custom(n19=CAT, n24=ENCODED_19, n25=node)
    graph["3"]["inputs"] |= {"latent_image": ["24", 0], "sigmas": ["25", 0]}
    return graph


@pytest.mark.parametrize(
    ("steps", "denoise", "timesteps"),
    [
        (1, 1.0, [999]),
        (10, 1.0, [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]),
        (1, 0.5, [499]),
        (1, 0.2, [199]),
        (1, 0.1, [99]),
        (5, 0.5, [499, 399, 299, 199, 99]),
        (8, 0.5, [499, 399, 299, 199, 99]),  # there are no more
        (7, 0.7, [699, 599, 499, 399, 299, 199, 99]),
    ],
)
def test_turbos_levels_are_those_of_a_schedule(
    steps: int, denoise: float, timesteps: list[int]
) -> None:
    recipe = recipe_of(turbo(steps, denoise), PICTURES)
    levels = sigmas_for(
        "euler", recipe.schedule, recipe.steps, recipe.strength or 1, noise_schedule=SD
    )
    assert torch.equal(levels, torch.cat([SD.sigmas[timesteps], torch.zeros(1)]))


@pytest.mark.parametrize(("steps", "denoise"), [(2, 1.0), (4, 1.0), (9, 1.0), (1, 0.7), (3, 0.5)])
def test_levels_that_turbo_leaves_out_are_named(steps: int, denoise: float) -> None:
    said = r"SDTurboScheduler \(node 25\) leaves out noise levels before the end"
    with pytest.raises(GraphError, match=said):
        read_graph(turbo(steps, denoise), PICTURES)


@pytest.mark.parametrize("kind", ["KarrasScheduler", "ExponentialScheduler"])
def test_levels_between_stable_diffusions_ends_are_its_schedules(kind: str) -> None:
    recipe = recipe_of(spaced(kind, steps=7, **ENDS, **RHO.get(kind, {})))
    levels = sigmas_for("euler", recipe.schedule, recipe.steps, noise_schedule=SD)
    high, low = ENDS["sigma_max"], ENDS["sigma_min"]
    part = torch.linspace(0, 1, 7, dtype=torch.float64)
    wanted = (
        (high ** (1 / 7) + part * (low ** (1 / 7) - high ** (1 / 7))) ** 7
        if kind == "KarrasScheduler"
        else high * (low / high) ** part
    )
    torch.testing.assert_close(levels[:-1].double(), wanted, rtol=1e-4, atol=0)


def test_the_last_of_such_levels_are_taken() -> None:
    graph = custom(
        n19=CAT,
        n24=ENCODED_19,
        n25=("KarrasScheduler", {"steps": 20, **ENDS, "rho": 7}),
        n26=("SplitSigmas", {"sigmas": ["25", 0], "step": 8}),
    )
    graph["3"]["inputs"] |= {"latent_image": ["24", 0], "sigmas": ["26", 1]}
    recipe = recipe_of(graph, PICTURES)
    assert (recipe.schedule, recipe.steps, recipe.strength) == ("karras", 12, 0.6)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("KarrasScheduler", {"rho": 5}, "by rho 5; Marble does it by rho 7"),
        ("KarrasScheduler", {"sigma_max": 80}, "by sigma_max 80; Marble does it by sigma_max 14.6"),
        ("ExponentialScheduler", {"sigma_min": 0.1}, "by sigma_min 0.1; Marble does it by"),
        ("PolyexponentialScheduler", {"rho": 2}, "by rho 2; Marble does it by rho 1"),
    ],
)
def test_levels_that_are_spaced_otherwise_are_named(
    kind: str, changes: dict[str, float], said: str
) -> None:
    graph = spaced(kind, **{"steps": 12, **ENDS, **RHO.get(kind, {}), **changes})
    with pytest.raises(GraphError, match=rf"{kind} \(node 23\) spaces noise levels {said}"):
        read_graph(graph)


def test_another_shape_of_beta_is_named() -> None:
    graph = spaced("BetaSamplingScheduler", model=["4", 0], steps=8, alpha=0.8, beta=0.6)
    with pytest.raises(GraphError, match=r"by alpha 0.8; Marble does it by alpha 0.6\."):
        read_graph(graph)


def test_levels_of_stable_diffusion_for_another_model_are_named() -> None:
    graph = of_parts("UNETLoader", "CLIPLoader", **QWEN3)
    graph["30"] = {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}}
    graph["31"] = {"class_type": "KarrasScheduler", "inputs": {"steps": 9, **ENDS, "rho": 7}}
    links = {"model": ["20", 0], **DRAWN, "sampler": ["30", 0], "sigmas": ["31", 0]}
    inputs = {**links, "latent_image": ["5", 0], "add_noise": True, "noise_seed": 6, "cfg": 1}
    graph["3"] = {"class_type": "SamplerCustom", "inputs": inputs}
    said = r"KarrasScheduler \(node 31\) gives noise levels of Stable Diffusion to another model"
    with pytest.raises(GraphError, match=said):
        read_graph(graph)


@pytest.mark.parametrize(
    ("config", "skip", "noted"),
    [
        ("v1-inference.yaml", None, False),
        ("v1-inference_fp16.yaml", None, False),
        ("v1-inference_clip_skip_2_fp16.yaml", 2, False),
        ("v2-inference_fp32.yaml", None, False),
        ("v2-inference-v.yaml", None, True),  # what a model predicts, it says itself
        ("mine.yaml", None, True),
    ],
)
def test_a_config_says_which_layer_is_read(config: str, skip: int | None, noted: bool) -> None:
    found = read_graph(replaced(default_graph(), "4", "CheckpointLoader", config_name=config))
    assert found.recipe.clip_skip == skip
    said = f"CheckpointLoader (node 4): config_name '{config}': what the model itself says is used"
    assert found.ignored == ((said,) if noted else ())


def test_a_layer_that_is_set_outranks_a_configs() -> None:
    graph = default(
        {"6": {"clip": ["20", 0]}, "7": {"clip": ["20", 0]}},
        n20=("CLIPSetLastLayer", {"stop_at_clip_layer": -1, "clip": ["4", 1]}),
    )
    graph = replaced(graph, "4", "CheckpointLoader", config_name="anything_v3.yaml")
    assert recipe_of(graph).clip_skip == 1


def test_tiles_are_noted() -> None:
    found = read_graph(replaced(default_graph(), "8", "VAEDecodeTiled", tile_size=512))
    assert found.ignored == (
        "VAEDecodeTiled (node 8): its tiles: Marble takes the whole picture, or tiles that cannot "
        "be told apart",
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("GLIGENTextBoxApply", "places texts in boxes by GLIGEN"),
        ("ConditioningAverage", "takes the mean of two encoded texts"),
        ("unCLIPConditioning", "shows the model a picture as CLIP sees it"),
    ],
)
def test_what_no_recipe_can_say_is_named_for_what_it_does(kind: str, said: str) -> None:
    graph = default({"3": {"positive": ["20", 0]}}, n20=(kind, {"conditioning": ["6", 0]}))
    graph["20"]["_meta"] = {"title": "Sky"}
    what = rf"comes from Sky \({kind}, node 20\), a node that {said}, which Marble cannot do\.$"
    with pytest.raises(GraphError, match=what):
        read_graph(graph)


@pytest.mark.parametrize(
    ("kind", "link", "said"),
    [
        ("LatentComposite", "latent_image", "puts latents over others"),
        ("ModelMergeSimple", "model", "mixes several models"),
    ],
)
def test_latents_and_models_likewise(kind: str, link: str, said: str) -> None:
    with pytest.raises(GraphError, match=rf"'{link}' of .* {kind} \(node 20\), a node that {said}"):
        read_graph(default({"3": {link: ["20", 0]}}, n20=(kind, {})))
