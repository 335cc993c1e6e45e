"""Recipes of flow models, written as ComfyUI's graphs and as Forge's lines, and read back."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.formats.a1111.writer import to_a1111
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.limits import graph_differences, no_graph_reasons
from engine.formats.comfy.writer import to_graph
from engine.formats.flow_model import FlowModel
from engine.formats.graphs.nodes import AFTER_RUN, NODE_KINDS, UPLOAD
from engine.formats.graphs.sampling import DROPPING
from engine.formats.graphs.sigmas import share
from engine.formats.metadata import read_recipe, write_png
from engine.formats.png_texts import read_texts
from engine.models.catalogue import Checkpoint
from engine.models.families import BY_KEY
from engine.recipe.limits import NOISES, SAMPLERS, SCHEDULES
from engine.recipe.parts import Lora, Upscale
from engine.recipe.recipe import Recipe
from tests.engine.recipes import (
    IMAGE,
    KINDS,
    MAP,
    MASK,
    NO_GRAPH,
    NO_LINE,
    derived,
    keeps_its_prompts,
    loras,
    names,
    read_graph,
    read_line,
    seeds,
    settled,
    with_a1111s_noise,
    words,
)
from tests.factories import make_recipe

SOME = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
MODELS = Path("/models")
ONE_PROMPT = frozenset({"negative_prompt"})
DISTILLED = ONE_PROMPT | {"guidance_scale"}


def model(key: str, name: str, lacks: frozenset[str] = frozenset(), **more: Any) -> Checkpoint:
    """Return a model whose parts lie in ComfyUI's folders: encoders="a.safetensors", vae=…"""
    parts = {part: MODELS / file for part, file in more.pop("parts", {}).items()}
    family = BY_KEY[key]
    return Checkpoint(
        name=name, folder=MODELS, family=family, defaults=family.defaults(1024), parts=parts,
        lacks=lacks, **more,
    )  # fmt: skip


def apart(network: str, vae: str, *encoders: str) -> dict[str, str]:
    named = ("text_encoder", "text_encoder_2", "text_encoder_3")
    parts = {part: f"text_encoders/{file}" for part, file in zip(named, encoders, strict=False)}
    return {"network": f"diffusion_models/{network}", **parts, "vae": f"vae/{vae}"}


T5, CLIP_L = "t5xxl_fp8_e4m3fn.safetensors", "clip_l.safetensors"
KLEIN = apart("klein.safetensors", "flux2-vae.safetensors", "qwen_3_4b.safetensors")
QWEN = apart("qwen.safetensors", "qwen_image_vae.safetensors", "qwen_2.5_vl_7b.safetensors")
CHECKPOINTS = {
    "z turbo": model(
        "z", "z_image_turbo.safetensors", DISTILLED,
        parts=apart("z_image_turbo.safetensors", "ae.safetensors", "sub/qwen_3_4b.safetensors"),
    ),
    "z": model("z", "Z-Image"),  # a folder in diffusers' layout
    "flux dev": model(
        "flux", "flux/dev.safetensors", ONE_PROMPT, references=4,
        parts=apart("flux/dev.safetensors", "ae.safetensors", CLIP_L, T5),
    ),
    "flux gguf": model(
        "flux", "dev-Q8_0.gguf", ONE_PROMPT,
        parts=apart("dev-Q8_0.gguf", "ae.safetensors", CLIP_L, "t5-v1_1-xxl-Q8_0.gguf"),
    ),
    "flux schnell": model(
        "flux", "schnell.safetensors", DISTILLED, file=MODELS / "schnell.safetensors"
    ),
    "flux schnell in a folder": model("flux", "schnell", DISTILLED),
    "klein": model("flux2", "klein.safetensors", DISTILLED, references=4, parts=KLEIN),
    "klein base": model("flux2", "klein.safetensors", references=4, parts=KLEIN),
    "flux2 dev": model("flux2", "FLUX.2-dev", ONE_PROMPT, references=4),
    "chroma": model(
        "chroma", "chroma.safetensors", parts=apart("chroma.safetensors", "ae.safetensors", T5)
    ),
    "sd3": model(
        "sd3", "sd3.5_large.safetensors", file=MODELS / "sd3.5_large.safetensors",
        parts={
            "text_encoder": f"clip/{CLIP_L}",
            "text_encoder_2": "clip/clip_g.safetensors",
            "text_encoder_3": f"clip/{T5}",
        },
    ),
    "sd3 without T5": model(
        "sd3", "medium.safetensors",
        parts=apart("medium.safetensors", "sd3_vae.safetensors", CLIP_L, "clip_g.safetensors"),
    ),
    "sd3 turbo": model("sd3", "turbo", DISTILLED),
    "qwen": model("qwen", "qwen.safetensors", parts=QWEN),
    "qwen edit": model("qwen", "qwen.safetensors", parts=QWEN, references=3),
    "qwen edit of one": model("qwen", "qwen.safetensors", parts=QWEN, references=1),
    "lumina2": model("lumina2", "Lumina-Image-2.0"),
    "krea2": model("krea2", "Krea-2-Turbo", DISTILLED),
    "anima": model(
        "anima", "anima.safetensors",
        parts=apart("anima.safetensors", "qwen_image_vae.safetensors", "qwen_3_06b.safetensors"),
    ),
}  # fmt: skip
WRITTEN = [kind for kind in KINDS if kind not in NO_GRAPH and "controls" not in kind]
LINES = [kind for kind in WRITTEN if kind not in NO_LINE]


@st.composite
def recipes(draw: st.DrawFn, checkpoint: Checkpoint) -> Recipe:
    """Draw a recipe of words alone as a flow model draws it."""
    lacks, own = checkpoint.lacks, checkpoint.family.key == "flux2"
    count = draw(st.integers(1, 4))
    prompts = words.map(lambda text: text.replace("\x00", ""))
    shift = draw(st.none() | st.sampled_from((0.5, 2.25, 7.0)))
    own = own and shift is None
    sampler = st.sampled_from([each for each in SAMPLERS if not (own and each in DROPPING)])
    references = st.lists(
        st.sampled_from((IMAGE, MAP, "d" * 64)), max_size=min(3, checkpoint.references), unique=True
    )
    return make_recipe(
        checkpoint=checkpoint.name,
        prompt=draw(prompts),
        negative_prompt="" if "negative_prompt" in lacks else draw(st.just("") | prompts),
        seed=draw(seeds),
        steps=draw(st.integers(1, 60)),
        guidance_scale=1 if "guidance_scale" in lacks else draw(st.sampled_from((1.5, 3.5, 5.0))),
        width=16 * draw(st.integers(4, 100)),
        height=16 * draw(st.integers(4, 100)),
        count=count,
        picture=draw(st.none() | st.integers(0, count - 1)),
        sampler=draw(sampler),
        schedule="simple" if own else draw(st.sampled_from(SCHEDULES)),
        loras=draw(st.lists(loras, max_size=2).map(tuple)),
        vae=draw(st.none() | names),
        shift=shift,
        noise=draw(st.sampled_from(NOISES)),
        references=tuple(draw(references)),
    )


def as_read(recipe: Recipe, checkpoint: Checkpoint) -> Recipe:
    """Return the recipe of the same pixels that a flow model's graph leads back to."""
    if recipe.references and recipe.strength == 1 and recipe.mask is None:
        recipe = replace(recipe, image=None, strength=None, fit="crop")  # it is all noise
    if checkpoint.family.key == "flux2" and recipe.shift is None and recipe.strength:
        total = int(recipe.steps / recipe.strength)
        if round(total * recipe.strength) != recipe.steps:
            recipe = replace(recipe, strength=share(recipe.steps, total))
    if not FlowModel(checkpoint).is_apart:  # nothing tells that it is none of Stable Diffusion
        prompt, negative = (
            re.sub(r"\bBREAK\b", "break", each) for each in (recipe.prompt, recipe.negative_prompt)
        )
        recipe = replace(recipe, prompt=prompt, negative_prompt=negative)
    positive = [area for area in recipe.areas if not area.negative]
    areas = [replace(area, prompt=area.prompt and _as_word(area.prompt)) for area in positive]
    return settled(replace(recipe, areas=tuple(areas)))


def _as_word(text: str) -> str:
    return re.sub(r"\bBREAK\b", "break", text)


def is_exact(recipe: Recipe, checkpoint: Checkpoint) -> bool:
    """Return whether FLUX.2's second pass is a share of its steps that ComfyUI rounds alike."""
    steps, upscale = recipe.second_pass_steps, recipe.upscale
    if checkpoint.family.key != "flux2" or recipe.shift or not (upscale and upscale.strength):
        return True
    return round(int(steps / upscale.strength) * upscale.strength) == steps


@pytest.mark.parametrize("name", CHECKPOINTS)
@SOME
@given(st.data())
def test_a_recipe_survives_its_graph_in_both_formats(name: str, data: st.DataObject) -> None:
    checkpoint, kind = CHECKPOINTS[name], data.draw(st.sampled_from(WRITTEN))
    recipe = data.draw(derived(kind, recipes(checkpoint)))
    assume(not no_graph_reasons(recipe, checkpoint))
    graph = json.loads(json.dumps(to_graph(recipe, checkpoint)))
    hold_to_comfyuis_rules(graph)
    assume(is_exact(recipe, checkpoint))
    read = read_graph(graph)
    assert as_read(read.recipe, checkpoint) == as_read(recipe, checkpoint)
    assert read.ignored == ()
    if not any(mark in recipe.prompt + recipe.negative_prompt for mark in "{|/\\"):
        workflow = json.loads(json.dumps(to_workflow(recipe, checkpoint)))
        assert read_graph(workflow) == read
        hold_apart(workflow)


def hold_to_comfyuis_rules(graph: Mapping[str, Any]) -> None:
    """Hold a graph to what ComfyUI's server asks of it before it runs: all inputs, of their types.

    It needs each node only once, and a way from one that saves.
    """
    needed = {name for name, each in graph.items() if not NODE_KINDS[each["class_type"]].outputs}
    assert len(needed) == 1
    for name in (found := list(needed)):
        node, kind = graph[name], NODE_KINDS[graph[name]["class_type"]]
        values = {value for value in kind.values if value not in (AFTER_RUN, UPLOAD)}
        links = kind.links.keys() - set(kind.optional)
        given = node["inputs"].keys()
        assert values | links <= given <= values | kind.links.keys(), node
        for option, wanted in kind.links.items():
            if option in given:
                source, slot = node["inputs"][option]
                assert NODE_KINDS[graph[source]["class_type"]].outputs[slot] == wanted
                if source not in needed:
                    needed.add(source)
                    found.append(source)
        assert not any(isinstance(node["inputs"][value], list) for value in values)
    assert needed == graph.keys()


def hold_apart(workflow: Mapping[str, Any]) -> None:
    """Hold the nodes of a workflow to places of their own on the canvas."""
    boxes = [(*node["pos"], *node["size"]) for node in workflow["nodes"]]
    for at, (x, y, wide, high) in enumerate(boxes):
        for other_x, other_y, other_wide, other_high in boxes[:at]:
            beside = x >= other_x + other_wide or other_x >= x + wide
            assert beside or y >= other_y + other_high or other_y >= y + high


@pytest.mark.parametrize("name", CHECKPOINTS)
@SOME
@given(st.data())
def test_a_recipe_survives_its_line(name: str, data: st.DataObject) -> None:
    checkpoint, kind = CHECKPOINTS[name], data.draw(st.sampled_from(LINES))
    recipe = replace(data.draw(derived(kind, recipes(checkpoint))), references=())
    recipe = with_a1111s_noise(data, recipe)
    assume(keeps_its_prompts(recipe))
    line = to_a1111(recipe, checkpoint)
    again, ignored = read_line(line)
    assert ignored == () or "[" in line
    assert settled(again) == settled(recipe)


def kinds_of(graph: Mapping[str, Any]) -> list[str]:
    return [node["class_type"] for node in graph.values()]


def written(name: str, **changes: Any) -> dict[str, Any]:
    """Return the graph of a small recipe by one of the models."""
    checkpoint = CHECKPOINTS[name]
    values = {"checkpoint": checkpoint.name, "schedule": "simple", "guidance_scale": 3.5}
    return to_graph(make_recipe(**{**values, **changes}), checkpoint)


def test_parts_are_named_as_comfyui_finds_them() -> None:
    graph = written("z turbo")
    assert graph["4"] == {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": "z_image_turbo.safetensors", "weight_dtype": "default"},
    }
    assert graph["14"] == {
        "class_type": "CLIPLoader",
        "inputs": {
            "clip_name": "sub/qwen_3_4b.safetensors",
            "type": "lumina2",
            "device": "default",
        },
    }
    assert graph["13"]["inputs"] == {"vae_name": "ae.safetensors"}


def test_parts_of_a_folder_have_their_usual_names() -> None:
    graph = written("flux2 dev")
    assert graph["4"]["inputs"]["unet_name"] == "FLUX.2-dev"
    assert graph["14"]["inputs"]["clip_name"] == "mistral_3_small_flux2_bf16.safetensors"
    assert graph["13"]["inputs"] == {"vae_name": "flux2-vae.safetensors"}
    large = model("flux2", "klein", DISTILLED, variant="FLUX.2 klein 9B")
    graph = to_graph(make_recipe(checkpoint="klein", schedule="simple"), large)
    assert graph["14"]["inputs"]["clip_name"] == "qwen_3_8b.safetensors"


def test_quantised_files_are_loaded_by_nodes_that_can() -> None:
    graph = written("flux gguf")
    assert graph["4"] == {
        "class_type": "UnetLoaderGGUF",
        "inputs": {"unet_name": "dev-Q8_0.gguf"},
    }
    assert graph["14"]["class_type"] == "DualCLIPLoaderGGUF"
    assert graph["14"]["inputs"]["clip_name2"] == "t5-v1_1-xxl-Q8_0.gguf"


def test_what_lies_in_one_file_is_loaded_at_once() -> None:
    assert kinds_of(written("flux schnell"))[0] == "CheckpointLoaderSimple"
    graph = written("sd3")
    assert kinds_of(graph)[:2] == ["CheckpointLoaderSimple", "TripleCLIPLoader"]
    assert graph["8"]["inputs"]["vae"] == ["4", 2]
    assert written("sd3 without T5")["14"]["inputs"]["type"] == "sd3"


def test_lumina_2s_system_prompt_stands_before_the_prompt_alone() -> None:
    graph = written("lumina2", prompt="a cat", negative_prompt="grey")
    encoders = (each for each in graph.values() if each["class_type"] == "CLIPTextEncode")
    texts = [each["inputs"]["text"] for each in encoders]
    assert texts == [f"{BY_KEY['lumina2'].system_prompt}a cat", "grey"]


def test_guidance_is_told_or_made_by_two_predictions() -> None:
    graph = written("flux dev")
    assert graph["16"]["inputs"]["guidance"] == 3.5
    assert graph["3"]["inputs"]["cfg"] == 1
    assert graph["3"]["inputs"]["negative"] == ["17", 0]
    graph = written("chroma", negative_prompt="grey")
    assert graph["3"]["inputs"]["cfg"] == 3.5
    assert graph["7"]["inputs"]["text"] == "grey"
    assert "FluxGuidance" not in kinds_of(graph)


def test_noise_is_spaced_as_marble_spaces_it() -> None:
    graph = written("flux dev", width=512, height=768)
    shift = {"max_shift": 1.15, "base_shift": 0.5, "width": 512, "height": 768}
    assert graph["15"]["inputs"] == {"model": ["4", 0], **shift}
    graph = written("flux schnell in a folder", width=256, height=256, guidance_scale=1)
    assert "ModelSamplingFlux" not in kinds_of(graph)
    assert read_graph(graph).ignored == ()
    assert "ModelSamplingSD3" not in kinds_of(written("sd3"))
    assert written("sd3", shift=5)["15"]["class_type"] == "ModelSamplingSD3"
    assert written("qwen", shift=3.1)["15"] == {
        "class_type": "ModelSamplingAuraFlow",
        "inputs": {"model": ["4", 0], "shift": 3.1},
    }


def test_a_second_pass_has_noise_for_its_own_size() -> None:
    upscale = Upscale(factor=2, by="latent", strength=0.5)
    graph = written("flux dev", width=512, height=512, upscale=upscale)
    assert graph["67"]["inputs"]["width"] == 1024
    assert graph[str(65)]["inputs"]["model"] == ["67", 0]
    graph = written("klein", width=512, height=512, steps=4, upscale=upscale)
    sigmas = [node["inputs"] for node in graph.values() if node["class_type"] == "Flux2Scheduler"]
    assert sigmas == [
        {"steps": 4, "width": 512, "height": 512},
        {"steps": 4, "width": 1024, "height": 1024},
    ]


def test_flux2_starts_from_a_picture_at_the_share_of_its_steps() -> None:
    graph = written("klein", image=IMAGE, strength=0.6, steps=20)
    assert graph["73"]["inputs"]["steps"] == 33
    assert graph["74"] == {
        "class_type": "SplitSigmasDenoise",
        "inputs": {"sigmas": ["73", 0], "denoise": 0.6},
    }
    assert graph["3"]["inputs"]["sigmas"] == ["74", 1]
    graph = written("klein", image=IMAGE, strength=0.8, steps=7)  # 0.8 of 8 steps would be 6
    assert graph["74"]["inputs"] == {"sigmas": ["73", 0], "step": 1}


@pytest.mark.parametrize("name", ["flux dev", "klein"])
def test_pictures_are_edited_beside_the_prompt(name: str) -> None:
    graph = written(name, references=(IMAGE, MAP))
    loaded = [n["inputs"]["image"] for n in graph.values() if n["class_type"] == "LoadImage"]
    assert loaded == [f"{IMAGE}.png", f"{MAP}.png"]
    assert kinds_of(graph).count("ReferenceLatent") == 2  # of which the zeros are made, too
    assert kinds_of(written("klein base", references=(IMAGE,))).count("ReferenceLatent") == 2


def test_qwen_edits_by_its_own_nodes() -> None:
    graph = written("qwen edit", references=(IMAGE, MAP), negative_prompt="grey")
    for name, text in (("6", "a marble scholar"), ("7", "grey")):
        assert graph[name] == {
            "class_type": "TextEncodeQwenImageEditPlus",
            "inputs": {
                "clip": ["14", 0],
                "prompt": text,
                "vae": ["13", 0],
                "image1": ["200", 0],
                "image2": ["210", 0],
            },
        }
    graph = written("qwen edit of one", references=(IMAGE,))
    assert graph["6"]["class_type"] == "TextEncodeQwenImageEdit"


def test_a_mask_is_told_to_flux_whose_fill_models_need_it() -> None:
    graph = written("flux dev", image=IMAGE, mask=MASK, strength=1)
    assert graph["18"]["class_type"] == "InpaintModelConditioning"
    assert graph["3"]["inputs"]["positive"] == ["18", 0]
    assert "InpaintModelConditioning" not in kinds_of(
        written("qwen", image=IMAGE, mask=MASK, strength=1)
    )


def test_a_lora_of_the_network_alone_is_loaded_so() -> None:
    graph = written("z turbo", loras=(Lora(name="ink", weight=0.8, text_weight=0),))
    assert graph["20"] == {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"lora_name": "ink.safetensors", "strength_model": 0.8, "model": ["4", 0]},
    }


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("z", {"references": (IMAGE,)}, "it edits pictures by words"),
        ("qwen edit", {"references": (IMAGE, MAP, MASK, "d" * 64)}, "more pictures by words"),
        ("klein", {"schedule": "beta"}, "shifted by their number"),
        ("klein", {"sampler": "uni_pc"}, "leaves out a noise level"),
        ("klein", {"image": IMAGE, "strength": 0.01, "steps": 50}, "more steps than ComfyUI"),
    ],
)
def test_what_comfyui_would_draw_otherwise_has_no_graph(
    name: str, changes: dict[str, Any], why: str
) -> None:
    checkpoint = CHECKPOINTS[name]
    recipe = make_recipe(**{"checkpoint": checkpoint.name, "schedule": "simple", **changes})
    (reason,) = no_graph_reasons(recipe, checkpoint)
    assert why in reason
    with pytest.raises(ValueError, match="no graph says"):
        to_graph(recipe, checkpoint)


def test_a_family_whose_nodes_are_not_known_has_no_graph() -> None:
    assert no_graph_reasons(make_recipe(), model("kolors", "Kolors"))


def test_what_is_nearly_the_same_is_said() -> None:
    assert graph_differences(make_recipe(), CHECKPOINTS["z"]) == ()
    assert graph_differences(make_recipe(references=(IMAGE,)), CHECKPOINTS["klein"]) == (
        "small pictures that it edits are enlarged there",
        "short prompts are padded otherwise there",
    )


def test_a_language_model_loses_the_blank_before_an_embedding_there() -> None:
    named = make_recipe(prompt="a house embedding:foo")
    z = replace(CHECKPOINTS["z"], weighs=False)
    assert graph_differences(named, z) == ("the blank before 'embedding:' is lost there",)
    assert graph_differences(named, replace(z, weighs=True)) == ()


def test_break_is_a_word_to_flow_models() -> None:
    graph = written("z turbo", prompt="a BREAK b")
    assert graph["6"]["inputs"]["text"] == "a BREAK b"
    assert "ConditioningConcat" not in kinds_of(graph)


def test_a_picture_carries_the_graph_of_its_model() -> None:
    checkpoint = CHECKPOINTS["klein"]
    recipe = make_recipe(checkpoint=checkpoint.name, schedule="simple", guidance_scale=1)
    png = write_png(Image.new("RGB", (8, 8)), recipe, 0, checkpoint)
    texts = read_texts(png)
    assert json.loads(texts["prompt"]) == to_graph(recipe, checkpoint)
    assert json.loads(texts["workflow"]) == to_workflow(recipe, checkpoint)
    assert "Module 2: qwen_3_4b" in texts["parameters"]
    assert read_recipe(png).recipe == recipe


FORGE = """a fox in the snow <lora:ink:0.8>
Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, \
Seed: 42, Size: 896x1152, Model hash: cfd31fba80, Model: flux1-dev-Q8_0, RNG: CPU, \
Diffusion in Low Bits: Automatic (fp16 LoRA), Version: f2.0.1v1.10.1-previous-669-gdfdcbab6, \
Module 1: clip_l, Module 2: ae, Module 3: t5xxl_fp16"""


def test_forges_line_is_read() -> None:
    assert read_line(FORGE) == (
        Recipe(
            prompt="a fox in the snow", seed=42, steps=20, guidance_scale=3.5, width=896,
            height=1152, sampler="euler", schedule="simple", checkpoint="flux1-dev-Q8_0",
            loras=(Lora(name="ink", weight=0.8),),
        ),
        (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("was", "becomes", "values", "ignored"),
    [
        ("Module 2: ae", "Module 2: ultra", {"vae": "ultra"}, ()),
        ("Module 2: ae", "Module 2: a, Module 4: b", {"vae": None}, ("Module 2: a", "Module 4: b")),
        ("Distilled CFG Scale: 3.5", "Shift: 3", {"shift": 3, "guidance_scale": 1}, ()),
        (
            "CFG scale: 1",
            "CFG scale: 2",
            {"guidance_scale": 3.5},
            ("CFG scale: 2 (only the distilled one is used, without a negative prompt)",),
        ),
    ],
)
def test_what_else_forge_says(
    was: str, becomes: str, values: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    recipe, left = read_line(FORGE.replace(was, becomes))
    assert {name: getattr(recipe, name) for name in values} == values
    assert left == ignored


def test_flux_is_written_as_forge_writes_it() -> None:
    checkpoint = CHECKPOINTS["flux dev"]
    recipe = make_recipe(checkpoint=checkpoint.name, schedule="simple", guidance_scale=2.5)
    assert to_a1111(recipe, checkpoint).split("\n")[-1] == (
        "Steps: 4, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Seed: 7, Size: 64x64, "
        "Model: flux/dev.safetensors, RNG: CPU, Distilled CFG Scale: 2.5, Module 1: ae, "
        "Module 2: clip_l, Module 3: t5xxl_fp8_e4m3fn"
    )
