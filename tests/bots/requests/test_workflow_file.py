"""Workflows of the owner: what is marked, what that means, what makes no sense."""

import json
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bots.requests.workflow_file import Workflow, read_workflow
from engine.errors import UserError
from engine.recipe.parts import Lora
from tests.bots.workflow_graphs import (
    PORTRAIT,
    Graph,
    canvas,
    from_picture,
    marked,
    with_loras,
    with_mask,
)
from tests.engine.formats.flow_graphs import Link, node
from tests.engine.formats.mutations import change_values
from tests.engine.formats.test_graph_refiner import BASE, pair

HERE = Path()


def read(graph: Any) -> Workflow:
    found = read_workflow("portrait", HERE, json.dumps(graph).encode())
    assert found
    return found


def drawn(workflow: Workflow, **values: Any) -> dict[str, Any]:
    """Return what is drawn where people give values, without pictures."""
    reading = workflow.read({})
    return {**reading.values, **workflow.drawn(reading, values)}


def test_titles_say_what_may_be_set_and_nodes_hold_what_else_is_drawn() -> None:
    workflow = read(marked())
    assert workflow.inputs == ("prompt", "negative", "seed", "size", "count", "steps", "guidance")
    assert workflow.recipe.checkpoint == "starter"
    found = drawn(workflow, steps=9)
    assert (found["prompt"], found["negative_prompt"]) == (
        "beautiful scenery nature glass bottle landscape",
        "text, watermark",
    )
    assert (found["steps"], found["guidance_scale"], found["width"]) == (9, 8, 64)
    assert drawn(workflow, prompt="a cat")["prompt"] == "a cat"


def test_a_canvas_and_its_primitives_are_marked_alike() -> None:
    workflow = read(
        canvas(
            {6: "prompt", 5: "size"},
            ("steps", 6, 3, "steps"),
            ("Seed", 8, 3, "seed"),
            ("negative", "a dog", 7, "text"),
            ("unmarked", 3.5, 3, "cfg"),
        )
    )
    assert workflow.inputs == ("prompt", "negative", "seed", "size", "count", "steps")
    found = drawn(workflow, negative_prompt="a {red|blue} dog")
    assert (found["steps"], found["guidance_scale"]) == (6, 3.5)
    assert found["negative_prompt"] == "a {red|blue} dog"


def test_a_marked_text_is_a_part_of_the_prompt_where_the_graph_joins_it_with_others() -> None:
    graph = marked({"6": "prompt"})
    graph["30"] = node("CLIPTextEncode", text="oil on wood", clip=Link(4, 1))
    graph["31"] = node("ConditioningConcat", conditioning_to=Link(6), conditioning_from=Link(30))
    graph["3"]["inputs"]["positive"] = ["31", 0]
    assert drawn(read(graph), prompt="a cat")["prompt"] == "a cat BREAK oil on wood"
    # With two texts behind it and no mark, nobody knows which is meant.
    del graph["6"]["_meta"]
    workflow = read(graph)
    assert workflow.inputs == ("seed", "count")
    with pytest.raises(UserError) as refused:
        workflow.check({"prompt": "a cat"})
    assert str(refused.value) == (
        "In the workflow portrait nothing is marked as prompt; what may be set: seed, count, best."
    )


def test_an_unmarked_prompt_is_the_only_text_behind_it() -> None:
    workflow = read(marked({}))
    assert workflow.inputs == ("prompt", "seed", "count")
    assert drawn(workflow, prompt="a cat")["prompt"] == "a cat"
    with pytest.raises(UserError, match="nothing is marked as steps; what may be set: prompt, see"):
        workflow.check({"steps": 9})
    workflow.check({"prompt": "a cat", "style": "noir", "seed": 7, "count": 2})


def test_a_seed_is_new_each_time_unless_it_is_fixed() -> None:
    workflow = read(marked())
    assert drawn(workflow)["seed"] != drawn(workflow)["seed"]
    fixed = read(marked({"3": "fixed seed"}))
    assert drawn(fixed)["seed"] == 156680208700286
    assert drawn(fixed, seed=7)["seed"] == 7
    assert fixed.inputs == ("prompt", "seed", "count")


def test_given_loras_take_the_place_of_marked_ones_alone() -> None:
    workflow = read(with_loras(turbo="Load LoRA", ink="LoRA"))
    assert workflow.inputs == ("prompt", "seed", "count", "lora")
    chalk = (Lora(name="chalk"),)
    assert [lora.name for lora in drawn(workflow, loras=chalk)["loras"]] == ["turbo", "chalk"]


def test_tags_in_words_are_loras_that_need_the_mark_and_are_added() -> None:
    with pytest.raises(UserError, match="nothing is marked as lora"):
        read(with_loras(turbo="x")).check({"prompt": "a cat <lora:ink:0.5>"})
    workflow = read(with_loras(turbo="x", ink="lora"))
    workflow.check({"prompt": "a cat <lora:chalk>"})
    # The words' own are added where the recipe is built.
    assert [lora.name for lora in workflow.drawn(workflow.read({}), {})["loras"]] == [
        "turbo",
        "ink",
    ]


def test_a_marked_size_is_that_of_the_first_pass() -> None:
    graph = marked({})
    graph["50"] = node(
        "LatentUpscale", upscale_method="bilinear", width=128, height=128, crop="disabled",
        samples=Link(3),
    )  # fmt: skip
    graph["50"]["_meta"] = {"title": "size"}
    again = {**graph["3"]["inputs"], "latent_image": ["50", 0], "denoise": 0.5}
    graph["51"] = {"class_type": "KSampler", "inputs": again}
    graph["8"]["inputs"]["samples"] = ["51", 0]
    with pytest.raises(UserError, match="node 50\\) is marked 'size', but the picture does not"):
        read(graph)


def test_strength_is_that_of_the_second_pass_where_there_is_no_picture() -> None:
    graph = marked({})
    graph["50"] = node("LatentUpscaleBy", upscale_method="bilinear", scale_by=2, samples=Link(3))
    graph["51"] = {
        "class_type": "KSampler",
        "inputs": {**graph["3"]["inputs"], "latent_image": ["50", 0], "denoise": 0.5},
        "_meta": {"title": "strength"},
    }
    graph["8"]["inputs"]["samples"] = ["51", 0]
    found = drawn(read(graph), strength=0.3)
    assert (found["upscale"].strength, found.get("strength")) == (0.3, None)


def test_pictures_are_marked_and_those_that_are_not_must_lie_beside() -> None:
    workflow = read(with_mask())
    assert workflow.inputs == ("prompt", "negative", "image", "mask", "seed", "count", "strength")
    assert workflow.files == {"image": "cat.png", "mask": "mask.png"}
    assert workflow.missing is None
    both = from_picture({"20": "image, mask"})
    both["24"] = node("SetLatentNoiseMask", samples=Link(21), mask=Link(20, 1))
    both["3"]["inputs"]["latent_image"] = ["24", 0]
    assert read(both).inputs[2:4] == ("image", "mask")
    assert read(from_picture({"20": "Load Image"})).missing == "cat.png"


def test_a_mark_names_the_result_that_is_meant() -> None:
    graph = marked({})
    graph["60"] = node("ImageScaleBy", image=Link(8), upscale_method="lanczos", scale_by=2)
    graph["61"] = node("SaveImage", images=Link(60), filename_prefix="large")
    assert read(graph).notes
    graph["9"]["_meta"] = {"title": "result"}
    workflow = read(graph)
    assert (workflow.notes, workflow.read({}).values.get("upscale")) == ((), None)


def flow_graph() -> Graph:
    return {
        "1": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "2": node("DualCLIPLoader", clip_name1="t5", clip_name2="clip_l", type="flux"),
        "3": node("VAELoader", vae_name="ae.safetensors"),
        "4": node("CLIPTextEncodeFlux", clip=Link(2), clip_l="a cat", t5xxl="a cat", guidance=3.5),
        "5": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
        "6": node("BasicGuider", model=Link(1), conditioning=Link(4)),
        "7": node("RandomNoise", noise_seed=7),
        "8": node("KSamplerSelect", sampler_name="euler"),
        "9": node("BasicScheduler", model=Link(1), scheduler="simple", steps=20, denoise=1),
        "10": node(
            "SamplerCustomAdvanced", noise=Link(7), guider=Link(6), sampler=Link(8),
            sigmas=Link(9), latent_image=Link(5),
        ),
        "11": node("VAEDecode", samples=Link(10), vae=Link(3)),
        "12": node("SaveImage", images=Link(11), filename_prefix="flux"),
    }  # fmt: skip


def test_a_flow_models_graph_is_marked_in_its_parts() -> None:
    graph = flow_graph()
    titles = {"4": "prompt, guidance", "5": "size", "7": "fixed seed", "9": "steps", "1": "model"}
    for name, title in titles.items():
        graph[name]["_meta"] = {"title": title}
    workflow = read(graph)
    assert workflow.inputs == ("prompt", "seed", "size", "count", "steps", "guidance", "model")
    found = drawn(workflow, prompt="a dog", steps=4)
    assert (found["prompt"], found["steps"], found["seed"]) == ("a dog", 4, 7)
    assert (found["guidance_scale"], found["checkpoint"]) == (
        3.5,
        "flux1-dev.safetensors",
    )


def unmarked_image() -> Graph:
    return {**with_mask(), "20": node("LoadImage", image="cat.png")}


def too_large() -> Graph:
    graph = marked({"5": "size"})
    graph["5"]["inputs"]["width"] = 2**20
    return graph


def aside() -> Graph:
    graph = marked()
    graph["70"] = {**node("CLIPTextEncode", text="x", clip=Link(4, 1)), "_meta": {"title": "steps"}}
    return graph


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (aside(), "The node steps (CLIPTextEncode, node 70) is marked 'steps', but the picture "
         "does not depend on it."),
        (marked({"5": "steps"}), "The node steps (EmptyLatentImage, node 5) is marked 'steps', but "
         "has no such value of its own."),
        (marked({"8": "image"}), "The node image (VAEDecode, node 8) is marked 'image', but has no "
         "such value of its own."),
        (marked({"7": "prompt"}), "The node prompt (CLIPTextEncode, node 7) is marked 'prompt', "
         "but the picture does not depend on it."),
        (too_large(), "width must be a multiple of 8 between 64 and 2048, not 1048576."),
        (unmarked_image(), "A mask is marked, but no image that it is for."),
        ({"nodes": [1]}, "The ComfyUI workflow is damaged."),
        ({"1": {}}, "'1' in the ComfyUI graph is not a node."),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_sentence(graph: Any, said: str) -> None:
    with pytest.raises(UserError) as refused:
        read(graph)
    assert str(refused.value) == said


def test_titles_of_any_form_mark_nothing_by_themselves() -> None:
    strange = marked({"6": "prompt"})
    strange["3"]["_meta"] = "seed"
    strange["5"]["_meta"] = {"title": ["size"]}
    strange["7"]["_meta"] = {"title": "my prompt"}
    assert read(strange).inputs == ("prompt", "seed", "count")
    assert read(marked({**PORTRAIT, "6": " PROMPT ， "})).inputs[0] == "prompt"


def test_changed_graphs_are_workflows_or_one_sentence() -> None:
    texts = [json.dumps(each) for each in (marked(), with_mask(), canvas({6: "prompt", 5: "size"}))]
    read_well = 0
    for number in range(300):
        random = Random(number)
        text = change_values(random, random.choice(texts))
        with suppress(UserError):
            workflow = read_workflow("x", HERE, text.encode("utf-8", "surrogatepass"))
            assert workflow
            assert workflow.missing in (None, *workflow.others)
            read_well += 1
    assert read_well > 20


def titled(titles: dict[str, str]) -> Graph:
    graph = pair()
    for name, title in titles.items():
        graph[name] = {**graph[name], "_meta": {"title": title}}
    return graph


def test_the_second_model_has_a_mark_of_its_own() -> None:
    workflow = read(titled({"4": "model", "30": "refiner"}))
    assert workflow.inputs == ("prompt", "seed", "count", "model", "refiner")
    found = drawn(workflow, refiner="other")
    assert (found["checkpoint"], found["refiner"]) == (BASE, "other")


@pytest.mark.parametrize(
    ("name", "mark"),
    [("30", "model"), ("4", "refiner"), ("41", "guidance"), ("41", "fixed seed")],
)
def test_a_marked_value_that_the_recipe_does_not_take_is_a_mistake(name: str, mark: str) -> None:
    with pytest.raises(UserError, match=f"node {name}\\) is marked '{mark}', but the picture does"):
        read(titled({name: mark}))
    first = {"model": "4", "refiner": "30"}.get(mark, "40")
    assert mark.removeprefix("fixed ") in read(titled({first: mark})).inputs


def test_steps_and_sampler_of_a_second_pass_are_not_those_of_the_picture() -> None:
    graph = marked({})
    graph["50"] = node("LatentUpscaleBy", upscale_method="bilinear", scale_by=2, samples=Link(3))
    again = {**graph["3"]["inputs"], "latent_image": ["50", 0], "denoise": 0.5}
    for mark in ("steps", "sampler", "schedule"):
        graph["51"] = {"class_type": "KSampler", "inputs": again, "_meta": {"title": mark}}
        graph["8"]["inputs"]["samples"] = ["51", 0]
        with pytest.raises(UserError, match=f"is marked '{mark}', but the picture does not"):
            read(graph)
