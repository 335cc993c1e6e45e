"""Two models in one graph: the second one finishes what the first begins."""

from typing import Any

import pytest

from engine.errors import GraphError
from engine.recipe.limits import ANEW
from engine.recipe.parts import Lora, Upscale
from tests.engine.formats.test_graph_parts import cut, part
from tests.engine.formats.test_known_nodes import ALPHA, CAT, ENCODED, MASKED, PICTURES
from tests.engine.recipes import read_graph

Graph = dict[str, Any]
BASE, REFINER = "v1-5-pruned-emaonly.ckpt", "sd_xl_refiner_1.0.safetensors"
SECOND = {"model": ["30", 0], "positive": ["31", 0], "negative": ["32", 0]}


def words(text: str, score: float, **sizes: int) -> tuple[str, Graph]:
    inputs = {"ascore": score, "width": 512, "height": 512, "text": text, "clip": ["30", 1]}
    return "CLIPTextEncodeSDXLRefiner", inputs | sizes


def pair(**changes: Any) -> Graph:
    """Return a graph whose second sampler, of SDXL's refiner, goes on at step 16 of 20."""
    settings = {**SECOND, **changes.pop("settings", {})}
    first = changes.pop("first", {})
    graph = cut(
        part(["5", 0], 0, 16, **first),
        part(["40", 0], 16, 10_000, **settings),
        n30=("CheckpointLoaderSimple", {"ckpt_name": REFINER}),
        n31=changes.pop("n31", words(plain("6"), 6)),
        n32=changes.pop("n32", words(plain("7"), 2.5)),
        **changes,
    )
    graph["8"]["inputs"]["vae"] = ["30", 2]
    return graph


def plain(name: str) -> str:
    """Return the text of one of the default graph's prompts."""
    text: str = cut(part(["5", 0], 0, 20))[name]["inputs"]["text"]
    return text


def test_base_and_refiner_are_one_recipe() -> None:
    found = read_graph(pair())
    assert found.ignored == ()
    recipe = found.recipe
    assert (recipe.checkpoint, recipe.refiner) == (BASE, REFINER)
    assert (recipe.steps, recipe.refiner_at, recipe.refiner_by) == (20, 0.8, "steps")
    assert (recipe.aesthetic_score, recipe.negative_aesthetic_score) == (6.0, 2.5)


def test_scores_are_the_recipes_and_plain_texts_have_the_usual_ones() -> None:
    found = read_graph(pair(n31=words(plain("6"), 7.5), n32=words(plain("7"), 1)))
    recipe = found.recipe
    assert (recipe.aesthetic_score, recipe.negative_aesthetic_score) == (7.5, 1.0)
    texts = {
        f"n3{at}": ("CLIPTextEncode", {"text": plain(name), "clip": ["30", 1]})
        for at, name in ((1, "6"), (2, "7"))
    }
    assert read_graph(pair(**texts)) == read_graph(pair())


@pytest.mark.parametrize(("sampler", "by"), [("heun", "steps"), ("dpmpp_2m", ANEW)])
def test_a_sampler_with_a_memory_begins_anew(sampler: str, by: str) -> None:
    named = {"sampler_name": sampler}
    found = read_graph(pair(first=named, settings=named))
    assert (found.recipe.refiner_by, found.ignored) == (by, ())


def test_a_start_image_is_drawn_from_the_step_where_the_first_model_begins() -> None:
    graph = pair(first={"latent_image": ["21", 0], "start_at_step": 10}, n20=CAT, n21=ENCODED)
    recipe = read_graph(graph, PICTURES).recipe
    assert (recipe.steps, recipe.strength, recipe.refiner_at) == (10, 0.5, 0.6)


def test_a_second_pass_by_the_second_model_follows() -> None:
    graph = pair(
        n50=("LatentUpscaleBy", {"samples": ["41", 0], "scale_by": 1.5}),
        n51=part(["50", 0], 10, 20, add_noise="enable", noise_seed=7, **SECOND),
    )
    graph["8"]["inputs"]["samples"] = ["51", 0]
    recipe = read_graph(graph).recipe
    assert recipe.upscale == Upscale(factor=1.5, by="latent", strength=0.5)
    assert recipe.refiner == REFINER


NOTED: dict[str, tuple[Graph, str]] = {
    "text": (pair(n31=words("a dog", 6)), "its own prompt: the second model has those of"),
    "guidance": (pair(settings={"cfg": 4}), "its own guidance scale: the second model has"),
    "size": (pair(n31=words(plain("6"), 6, width=4096)), "sizes given to SDXL"),
    "seed": (
        pair(
            first={"sampler_name": "euler_ancestral"}, settings={"sampler_name": "euler_ancestral"}
        ),
        "its own seed: the second model has",
    ),
    "LoRA": (
        pair(
            settings={"model": ["33", 0]},
            n33=(
                "LoraLoaderModelOnly",
                {"lora_name": "x", "strength_model": 1, "model": ["30", 0]},
            ),
        ),
        "its LoRAs, ControlNets, patches and layer of CLIP: those of the first model are",
    ),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_the_second_has_of_its_own_is_noted(case: str) -> None:
    graph, said = NOTED[case]
    (note,) = read_graph(graph).ignored
    assert said in note


def test_the_first_models_vae_is_noted_and_its_loras_stay_with_it() -> None:
    graph = pair(
        first={"model": ["33", 0]},
        n33=("LoraLoaderModelOnly", {"lora_name": "x", "strength_model": 1, "model": ["4", 0]}),
    )
    found = read_graph(graph)
    assert found.recipe.loras == (Lora(name="x", weight=1.0, text_weight=0.0),)
    assert found.ignored == ()
    graph["8"]["inputs"]["vae"] = ["4", 2]
    (note,) = read_graph(graph).ignored
    assert "the VAE of the first model: the second one's decodes" in note


REFUSED: dict[str, tuple[Graph, str]] = {
    "a mask": (
        pair(first={"latent_image": ["23", 0]}, n20=CAT, n21=ENCODED, n22=ALPHA, n23=MASKED),
        "goes on under a mask",
    ),
    "other steps": (pair(settings={"start_at_step": 17}), "at another step"),
    "another sampler": (pair(settings={"sampler_name": "heun"}), "with other settings"),
    "the first's words": (pair(settings={"positive": ["6", 0]}), "mixes several models"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_recipe_can_say_is_refused(case: str) -> None:
    graph, said = REFUSED[case]
    with pytest.raises(GraphError, match=said):
        read_graph(graph, PICTURES).recipe  # noqa: B018


def test_a_third_model_is_refused() -> None:
    graph = pair(settings={"end_at_step": 18, "return_with_leftover_noise": "enable"})
    graph |= cut(part(["41", 0], 18, 20))  # the first one again
    graph["42"] = graph.pop("40")
    graph |= {name: node for name, node in pair().items() if name in ("40", "41")}
    graph["41"]["inputs"] |= {"end_at_step": 18, "return_with_leftover_noise": "enable"}
    graph["42"]["inputs"] |= {"add_noise": "disable", "latent_image": ["41", 0]}
    graph["8"]["inputs"]["samples"] = ["42", 0]
    with pytest.raises(GraphError, match="goes on with a third model"):
        read_graph(graph).recipe  # noqa: B018
