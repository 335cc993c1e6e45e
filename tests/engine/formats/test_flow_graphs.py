"""Graphs of flow models as ComfyUI's templates have them, read as recipes."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.denoise.samplers import SAMPLERS
from engine.errors import GraphError
from engine.formats.graphs.sampling import DROPPING
from engine.formats.graphs.sigmas import share
from engine.formats.graphs.workflow import from_workflow
from engine.recipe.parts import Area, Lora, Upscale
from engine.recipe.recipe import Recipe
from tests.engine.formats import flow_graphs
from tests.engine.formats.flow_graphs import Graph, Link, node
from tests.engine.formats.test_graphs import IMAGE, MAP, MASK, PICTURES
from tests.engine.recipes import read_graph, recipe_of

WITHOUT = "a prompt without Lumina 2's system prompt: Marble puts it before"
SIMPLE: dict[str, Any] = {"sampler": "euler", "schedule": "simple"}
LIGHTNING = Lora(name="Qwen-Image-Lightning-4steps-V1.0", text_weight=0)
# A graph, the recipe that it says, and the node of what is ignored.
TEMPLATES: dict[str, tuple[Callable[[], Graph], Recipe, tuple[str, ...]]] = {
    "z": (
        flow_graphs.z_image_turbo,
        Recipe(
            prompt="a lighthouse at dusk", seed=42, steps=8, guidance_scale=1, width=1024,
            height=768, sampler="res_multistep", schedule="simple",
            checkpoint="z_image_turbo_bf16.safetensors",
        ),
        (),
    ),
    "flux": (
        flow_graphs.flux_dev,
        Recipe(
            prompt="a fox in the snow", seed=5, steps=20, guidance_scale=3.5, width=1024,
            height=1024, checkpoint="flux1-dev.safetensors", **SIMPLE,
        ),
        (),
    ),
    "flux, its parts of sampling apart": (
        flow_graphs.flux_custom,
        Recipe(
            prompt="a lizard on a tile roof", seed=219670278747233, steps=24, guidance_scale=2.5,
            width=768, height=1344, sampler="euler", schedule="beta",
            checkpoint="flux1-dev.safetensors",
        ),
        (),
    ),
    "kontext": (
        flow_graphs.kontext,
        Recipe(
            prompt="make it bronze", seed=8, steps=20, guidance_scale=2.5, width=1184, height=880,
            checkpoint="flux1-kontext.safetensors", references=(IMAGE,), **SIMPLE,
        ),
        (),
    ),
    "flux2": (
        flow_graphs.flux2_klein,
        Recipe(
            prompt="the first one in the second one's colours", seed=432262096973502, steps=4,
            guidance_scale=1, width=1184, height=880, checkpoint="flux-2-klein-4b.safetensors",
            references=(IMAGE, MAP), **SIMPLE,
        ),
        (),
    ),
    "qwen": (
        flow_graphs.qwen_image,
        Recipe(
            prompt="a neon sign that says open", negative_prompt="blurry", seed=1, steps=20,
            guidance_scale=2.5, width=1328, height=1328, loras=(LIGHTNING,), shift=3.1,
            checkpoint="qwen_image_fp8_e4m3fn.safetensors", **SIMPLE,
        ),
        (),
    ),
    "qwen edit": (
        flow_graphs.qwen_edit,
        Recipe(
            prompt="give him a hat", seed=1, steps=20, guidance_scale=2.5, width=1176, height=880,
            loras=(LIGHTNING,), shift=3.1, references=(IMAGE, MAP),
            checkpoint="qwen_image_fp8_e4m3fn.safetensors", **SIMPLE,
        ),
        ("CFGNorm (node 75): not supported, the picture is drawn without it",),
    ),
    "sd3": (
        flow_graphs.sd35,
        Recipe(
            prompt="a glass teapot", negative_prompt="ugly", seed=3, steps=28, guidance_scale=4.5,
            width=1024, height=1024, count=2, sampler="dpmpp_2m", schedule="sgm_uniform",
            checkpoint="sd3.5_large.safetensors",
            areas=(
                Area(negative=True, end=0.1), Area(prompt="", negative=True, start=0.1, zero=True),
            ),
        ),
        (),
    ),
    "chroma": (
        flow_graphs.chroma,
        Recipe(
            prompt="the eye of a tiger", negative_prompt="low quality", seed=798004928304404,
            steps=26, guidance_scale=3.5, width=1024, height=1024, sampler="euler",
            schedule="beta", checkpoint="chroma1-hd-Q8_0.gguf", shift=1,
        ),
        (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_says_its_recipe(name: str) -> None:
    make, recipe, ignored = TEMPLATES[name]
    assert read_graph(json.loads(json.dumps(make())), PICTURES) == (recipe, ignored)


def test_subgraphs_and_bypassed_nodes_vanish_on_the_way() -> None:
    workflow = json.loads(json.dumps(flow_graphs.z_image_on_canvas()))
    plain = TEMPLATES["z"][1]
    sized = replace(plain, width=768, height=1024, prompt=f"{plain.prompt} ")
    assert read_graph(workflow, PICTURES) == (sized, ())
    sent = from_workflow(workflow)
    assert sent["57:3"]["inputs"]["negative"] == ["57:33:3", 0]  # as ComfyUI calls them
    assert "57" not in sent


def test_a_subgraph_that_is_muted_is_named() -> None:
    workflow = flow_graphs.z_image_on_canvas()
    workflow["nodes"][-1]["mode"] = 2
    said = r"Text to Image \(Z-Image-Turbo\), which is muted"
    with pytest.raises(GraphError, match=said):
        recipe_of(workflow)


@pytest.mark.parametrize("others", [[], [{"id": 2, "type": "Note"}], [{"id": 2, "type": "x"}] * 2])
def test_subgraphs_within_themselves_are_refused(others: list[Graph]) -> None:
    within = {"id": "x", "nodes": [{"id": 1, "type": "x"}, *others], "inputs": [], "outputs": []}
    workflow = {**flow_graphs.z_image_on_canvas(), "definitions": {"subgraphs": [within]}}
    workflow["nodes"].append({"id": 99, "type": "x"})
    with pytest.raises(GraphError, match=r"damaged|nested too deeply"):
        recipe_of(workflow)


def test_links_within_many_copies_of_a_subgraph_are_bounded() -> None:
    links = [[n, 1, 0, 2, 0, "MODEL"] for n in range(10_000)]
    boxes = [{"id": n, "type": "x"} for n in range(100, 10_000)]
    workflow = {
        "nodes": boxes,
        "definitions": {"subgraphs": [{"id": "x", "nodes": [], "links": links}]},
    }
    with pytest.raises(GraphError, match="nested too deeply"):
        recipe_of(workflow)


def test_an_optional_picture_that_is_off_is_none() -> None:
    graph = flow_graphs.kontext()
    nodes = [
        flow_graphs.placed(1, "LoadImageOutput", "cat.png [output]", False, "refresh", "image"),
        flow_graphs.placed(2, "LoadImageOutput", "no.png", mode=4),
        flow_graphs.placed(
            3, "ImageStitch", "right", True, 0, "white", image1=("IMAGE", 1), image2=("IMAGE", 2)
        ),
    ]
    links = [[1, 1, 0, 3, 0, "IMAGE"], [2, 2, 0, 3, 1, "IMAGE"]]
    sent = from_workflow({"nodes": nodes, "links": links})
    assert "image2" not in sent["3"]["inputs"]
    graph["146"]["inputs"]["image2"] = ["142", 0]
    with pytest.raises(GraphError, match=r"ImageStitch \(node 146\) joins pictures side by side"):
        recipe_of(graph, PICTURES)


def changed(make: Callable[[], Graph], changes: dict[str, dict[str, Any]], **more: Graph) -> Graph:
    """Return a graph with some inputs changed, and more nodes, given as n20=…"""
    graph = copy.deepcopy(make()) | {name[1:]: each for name, each in more.items()}
    for name, inputs in changes.items():
        graph[name]["inputs"] |= {
            option: [value.name, value.slot] if isinstance(value, Link) else value
            for option, value in inputs.items()
        }
    return graph


def noted(graph: Graph) -> list[str]:
    """Return what is said of each ignored part, without its node."""
    return [note.partition(": ")[2] for note in read_graph(graph, PICTURES).ignored]


def test_a_start_image_is_drawn_on_by_the_denoise_of_its_schedule() -> None:
    graph = changed(
        flow_graphs.flux_custom,
        {"17": {"denoise": 0.6}, "13": {"latent_image": Link(51)}},
        n50=node("LoadImage", image="cat.png"),
        n51=node("VAEEncode", pixels=Link(50), vae=Link(10)),
    )
    recipe = recipe_of(graph, PICTURES)
    assert (recipe.image, recipe.strength, recipe.steps) == (IMAGE, 0.6, 24)
    assert (recipe.width, recipe.height) == (512, 384)


def test_a_fill_models_mask_is_read() -> None:
    graph = changed(
        flow_graphs.flux_dev,
        {
            "31": {
                "positive": Link(51),
                "negative": Link(51, 1),
                "latent_image": Link(51, 2),
                "model": Link(52),
            }
        },
        n50=node("LoadImage", image="cat.png"),
        n51=node(
            "InpaintModelConditioning",
            positive=Link(35),
            negative=Link(42),
            vae=Link(39),
            pixels=Link(50),
            mask=Link(50, 1),
            noise_mask=False,
        ),
        n52=node("DifferentialDiffusion", model=Link(38), strength=1),
    )
    recipe = recipe_of(graph, PICTURES)
    assert (recipe.image, recipe.mask, recipe.strength) == (IMAGE, MASK, 1)
    assert recipe.guidance_scale == 3.5
    assert noted(graph)[:2] == [
        "not supported, the picture is drawn without it",
        "noise_mask: the picture is kept outside the mask",
    ]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (flow_graphs.flux_dev, {"cfg": 2.0}),
        (flow_graphs.flux_dev, {"cfg": 1.0}),
    ],
)
def test_a_network_that_is_told_its_guidance_makes_no_second_prediction(
    kind: Callable[[], Graph], said: dict[str, float]
) -> None:
    graph = changed(kind, {"31": {**said, "negative": Link(50)}}, n50=flow_graphs.text(40, "grey"))
    recipe = recipe_of(graph)
    assert (recipe.guidance_scale, recipe.negative_prompt) == (3.5, "")
    assert len(noted(graph)) == (said["cfg"] != 1)


def test_without_flux_guidance_comfyuis_own_is_told() -> None:
    graph = changed(flow_graphs.flux_dev, {"31": {"positive": Link(45)}})
    assert recipe_of(graph).guidance_scale == 3.5
    graph = changed(flow_graphs.flux2_klein, {"63": {"positive": Link(74), "cfg": 5}})
    assert recipe_of(graph, PICTURES).guidance_scale == 5


def test_guidance_for_a_network_that_takes_none_is_named() -> None:
    guided = node("FluxGuidance", conditioning=Link(27), guidance=4)
    graph = changed(flow_graphs.z_image_turbo, {"3": {"positive": Link(50)}}, n50=guided)
    assert recipe_of(graph) == TEMPLATES["z"][1]
    assert noted(graph) == ["guidance 4: the model takes none, cfg is used"]


def test_flux2_dev_is_known_by_its_text_encoder() -> None:
    mistral = {"clip_name": "mistral_3_small_flux2_fp8.safetensors"}
    guided = node("FluxGuidance", conditioning=Link("positive1"), guidance=4)
    guider = node("BasicGuider", model=Link(70), conditioning=Link(50))
    graph = changed(flow_graphs.flux2_klein, {"71": mistral}, n50=guided, n63=guider)
    assert recipe_of(graph, PICTURES).guidance_scale == 4


def test_a_negative_prompt_that_comfyui_does_not_read_is_left_out() -> None:
    negative = flow_graphs.text(30, "blurry")
    graph = changed(flow_graphs.z_image_turbo, {"3": {"negative": Link(50)}}, n50=negative)
    assert recipe_of(graph) == TEMPLATES["z"][1]
    graph["3"]["inputs"]["cfg"] = 4
    assert recipe_of(graph).negative_prompt == "blurry"
    graph["3"]["inputs"] |= {"cfg": 1, "sampler_name": "euler_cfg_pp"}  # which reads it at 1, too
    assert recipe_of(graph).negative_prompt == "blurry"
    graph["3"]["inputs"] |= {"cfg": 2, "sampler_name": "euler"}
    graph["3"]["inputs"]["negative"] = ["33", 0]
    assert noted(graph) == ["zeros as negative prompt: an empty text is used"]


def test_another_text_encoder_is_named_and_another_vae_used() -> None:
    graph = changed(
        flow_graphs.z_image_turbo,
        {"30": {"clip_name": "josie.safetensors"}, "29": {"vae_name": "ultra.safetensors"}},
    )
    assert recipe_of(graph) == replace(TEMPLATES["z"][1], vae="ultra")
    assert noted(graph) == ["text encoder josie: the model's own is used"]


@pytest.mark.parametrize(
    ("make", "sampling", "shift"),
    [
        (flow_graphs.z_image_turbo, {"shift": 3.0}, None),
        (flow_graphs.z_image_turbo, {"shift": 2.75}, 2.75),
        (flow_graphs.qwen_image, {"shift": math.exp(1.15)}, None),
        (flow_graphs.sd35, {"shift": 3}, None),
        (flow_graphs.sd35, {"shift": 5}, 5),
    ],
)
def test_a_shift_that_is_the_familys_own_is_not_named(
    make: Callable[[], Graph], sampling: dict[str, float], shift: float | None
) -> None:
    graph = make()
    (name,) = (n for n, each in graph.items() if each["class_type"].startswith("ModelSampling"))
    assert recipe_of(changed(make, {name: sampling})).shift == shift


def test_lumina_2_is_told_from_z_image_by_its_text_encoder() -> None:
    lumina: Graph = {"30": {"clip_name": "gemma_2_2b_fp16.safetensors"}, "11": {"shift": 6}}
    assert recipe_of(changed(flow_graphs.z_image_turbo, lumina)).shift is None


@pytest.mark.parametrize("instruction", ["superior", "alignment", None])
def test_marble_puts_lumina_2s_system_prompt_before_prompts_itself(instruction: str | None) -> None:
    words = {"system_prompt": instruction, "user_prompt": "a cat", "clip": Link(30)}
    graph = changed(
        flow_graphs.z_image_turbo,
        {"30": {"clip_name": "gemma_2_2b_fp16.safetensors"}, "3": {"positive": Link(50)}},
        n50=node("CLIPTextEncodeLumina2", **words)
        if instruction
        else flow_graphs.text(30, "a cat"),
    )
    prompt, same = recipe_of(graph).prompt, instruction == "superior"
    assert prompt.endswith("a cat")
    assert prompt.startswith("You are an assistant") == (instruction == "alignment")
    assert ([] if same else [WITHOUT]) == [each for each in noted(graph) if each == WITHOUT]


def test_stable_diffusions_text_encoder_is_none_of_animas() -> None:
    other: Graph = {"30": {"clip_name": "clip_l.safetensors", "type": "stable_diffusion"}}
    assert recipe_of(changed(flow_graphs.z_image_turbo, other)).shift == 3
    other["30"]["clip_name"] = "qwen_3_06b_base.safetensors"
    assert recipe_of(changed(flow_graphs.z_image_turbo, other)).shift is None


@pytest.mark.parametrize(
    ("sampling", "shift"),
    [
        ({}, None),
        ({"width": 1024, "height": 1024}, math.exp(1.15)),  # of another size than the picture's
        ({"max_shift": 1.2}, math.exp(0.5 + 0.7 * (768 * 1344 / 256 - 256) / 3840)),
        ({"max_shift": 0.5}, math.exp(0.5)),
    ],
)
def test_model_sampling_flux_shifts_by_size(
    sampling: dict[str, float], shift: float | None
) -> None:
    found = recipe_of(changed(flow_graphs.flux_custom, {"30": sampling})).shift
    assert found == (None if shift is None else pytest.approx(shift, rel=1e-12))


def test_flux_without_model_sampling_flux_is_shifted_as_at_its_usual_size() -> None:
    small = {"27": {"width": 512, "height": 512}}
    assert noted(changed(flow_graphs.flux_dev, {})) == []
    assert "shifted by 3.16 at all sizes" in noted(changed(flow_graphs.flux_dev, small))[0]
    # Without FluxGuidance it may be schnell.
    assert noted(changed(flow_graphs.flux_dev, {**small, "31": {"positive": Link(45)}})) == []


def test_flux2_without_its_scheduler_is_shifted_by_comfyuis_constant() -> None:
    basic = node("BasicScheduler", model=Link(70), scheduler="beta", steps=20, denoise=1)
    recipe = recipe_of(changed(flow_graphs.flux2_klein, {}, n62=basic), PICTURES)
    assert recipe.shift == pytest.approx(math.exp(2.02))
    other = {"62": {"width": 512, "height": 512}}
    assert noted(changed(flow_graphs.flux2_klein, other)) == [
        "width and height of its noise levels: the picture's own are used"
    ]


def test_what_is_all_noise_gives_an_edit_its_size_alone() -> None:
    graph = flow_graphs.kontext()
    assert recipe_of(graph, PICTURES).image is None
    graph["31"]["inputs"]["denoise"] = 0.9
    recipe = recipe_of(graph, PICTURES)
    assert (recipe.image, recipe.strength, recipe.references) == (IMAGE, 0.9, (IMAGE,))


def test_a_picture_that_is_looked_at_and_given_as_latents_is_one_reference() -> None:
    graph = changed(
        flow_graphs.qwen_edit,
        {"3": {"positive": Link(51)}, "6": {"image2": Link(93)}},
        n51=node("ReferenceLatent", conditioning=Link(6), latent=Link(88)),
    )
    del graph["6"]["inputs"]["vae"]
    del graph["6"]["inputs"]["image1"]
    assert recipe_of(graph, PICTURES).references == (IMAGE,)


def test_inputs_of_its_newer_kind_are_none_of_qwen_edits_older_node() -> None:
    graph = changed(flow_graphs.qwen_edit, {"6": {"image": Link(78)}})
    wanted = recipe_of(graph, PICTURES).references  # of image1 and image2
    graph["6"]["inputs"].pop("image")
    assert recipe_of(graph, PICTURES).references == wanted
    graph["6"]["class_type"] = "TextEncodeQwenImageEdit"
    graph["6"]["inputs"]["image"] = ["78", 0]
    assert recipe_of(graph, PICTURES).references == wanted[:1]


def test_references_beside_one_prompt_are_named() -> None:
    graph = changed(flow_graphs.qwen_edit, {"7": {"image2": Link(78)}})
    assert "pictures beside one prompt only: they stand beside both" in noted(graph)


def test_only_loaded_pictures_are_edited() -> None:
    graph = changed(
        flow_graphs.flux_dev,
        {"35": {"conditioning": Link(50)}},
        n50=node("ReferenceLatent", conditioning=Link(45), latent=Link(27)),
    )
    with pytest.raises(GraphError, match=r"ReferenceLatent \(node 50\) edits something other than"):
        recipe_of(graph)


def test_texts_of_several_encoders_become_the_one_that_says_most() -> None:
    texts = node("CLIPTextEncodeFlux", clip=Link(40), clip_l="fox", t5xxl="a red fox", guidance=3)
    graph = changed(flow_graphs.flux_dev, {"31": {"positive": Link(45)}}, n45=texts)
    assert recipe_of(graph).prompt == "a red fox"
    assert recipe_of(graph).guidance_scale == 3
    assert noted(graph) == ["clip_l: all text encoders read t5xxl"]


def test_texts_that_are_concatenated_are_read_line_by_line() -> None:
    graph = changed(
        flow_graphs.z_image_turbo,
        {"3": {"positive": Link(51)}},
        n50=flow_graphs.text(30, "in the fog"),
        n51=node("ConditioningConcat", conditioning_to=Link(27), conditioning_from=Link(50)),
    )
    assert recipe_of(graph).prompt == "a lighthouse at dusk\nin the fog"
    assert noted(graph) == ["its texts are read as one, line by line"]


def test_a_second_pass_is_shifted_by_its_own_size() -> None:
    graph = changed(
        flow_graphs.flux_custom,
        {"8": {"samples": Link(55)}},
        n50=node("LatentUpscaleBy", samples=Link(13), upscale_method="nearest-exact", scale_by=1.5),
        n51=node(
            "ModelSamplingFlux",
            model=Link(12),
            max_shift=1.15,
            base_shift=0.5,
            width=1152,
            height=2016,
        ),
        n52=node("BasicScheduler", model=Link(51), scheduler="beta", steps=12, denoise=0.5),
        n53=node("BasicGuider", model=Link(51), conditioning=Link(26)),
        n55=node(
            "SamplerCustomAdvanced",
            noise=Link(25),
            guider=Link(53),
            sampler=Link(16),
            sigmas=Link(52),
            latent_image=Link(50),
        ),
    )
    found = read_graph(graph)
    assert found.ignored == ()
    upscale = Upscale(factor=1.5, by="latent", strength=0.5)
    assert found.recipe == replace(
        TEMPLATES["flux, its parts of sampling apart"][1], upscale=upscale
    )
    graph["52"]["inputs"]["model"] = ["30", 0]
    assert "its own shift" in noted(graph)[0]


def test_samplers_that_leave_out_a_noise_level_are_named_where_comfyui_does_not() -> None:
    assert {name for name, each in SAMPLERS.items() if each.drops_penultimate} == set(DROPPING)
    graph = changed(flow_graphs.flux_custom, {"16": {"sampler_name": "uni_pc"}})
    assert noted(graph) == [
        "sampler uni_pc: the last but one noise level is left out, as by KSampler"
    ]


def test_a_share_of_steps_leads_back_to_all_of_them() -> None:
    # 9 / (9 / 14) is 13.999…
    for total in range(1, 151):
        for steps in range(1, total + 1):
            assert int(steps / share(steps, total)) == total


@pytest.mark.parametrize("make", [make for make, *_ in TEMPLATES.values()])
def test_a_node_left_out_is_one_sentence(make: Callable[[], Graph]) -> None:
    shown = {name for name, each in make().items() if each["class_type"] == "PreviewImage"}
    for name in make().keys() - shown:
        graph = make()
        del graph[name]
        with pytest.raises(GraphError) as caught:
            recipe_of(graph, PICTURES)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)
