"""Every node that Marble claims to know, one row each: read for what it does, missed if spoilt."""

import copy
from typing import Any

import pytest

from engine.errors import GraphError
from engine.formats.comfy.writer import to_graph
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.nodes import NODE_KINDS
from engine.formats.graphs.recipe import RULES
from engine.recipe.parts import Control, Lora, Upscale
from tests.engine.formats.test_comfy import default_graph
from tests.engine.recipes import IMAGE, MAP, MASK, read_graph
from tests.factories import make_recipe

Graph = dict[str, Any]
LISTED = [
    "CheckpointLoaderSimple", "CLIPTextEncode", "CLIPTextEncodeSDXL", "CLIPSetLastLayer",
    "ConditioningConcat", "ConditioningCombine", "EmptyLatentImage", "LoadImage", "VAEEncode",
    "VAEEncodeForInpaint", "SetLatentNoiseMask", "KSampler", "KSamplerAdvanced", "LatentUpscale",
    "LatentUpscaleBy", "VAEDecode", "VAELoader", "LoraLoader", "ControlNetLoader",
    "ControlNetApply", "ControlNetApplyAdvanced", "ImageScale", "ImageScaleBy",
    "UpscaleModelLoader", "ImageUpscaleWithModel", "RepeatLatentBatch", "SaveImage", "PreviewImage",
]  # fmt: skip
BESIDE = [
    "DiffusersLoader", "RescaleCFG", "LatentFromBatch", "LoadImageMask", "ImageToMask",
    "ImageCompositeMasked",
]  # fmt: skip
PICTURES = {
    "cat.png": LoadedPicture(image=IMAGE, width=512, height=384, masks={"alpha": MASK, "red": MASK})
}
LINKS = {"model": ["4", 0], "clip": ["4", 1], "vae": ["4", 2]}
DRAWN = {"positive": ["6", 0], "negative": ["7", 0]}
MADE = ["3", 0]


def default(changes: Graph, **nodes: tuple[str, Graph]) -> Graph:
    """Return ComfyUI's default graph with more nodes, and some inputs of its own changed."""
    graph = default_graph()
    for name, (kind, inputs) in nodes.items():
        graph[name[1:]] = {"class_type": kind, "inputs": inputs}
    for name, inputs in changes.items():
        graph[name]["inputs"].update(inputs)
    return graph


def ours(**changes: Any) -> Graph:
    return to_graph(make_recipe(checkpoint="sd15.safetensors", **changes))


def replaced(graph: Graph, name: str, kind: str, **inputs: Any) -> Graph:
    graph[name] = {"class_type": kind, "inputs": {**graph[name]["inputs"], **inputs}}
    return graph


CAT = ("LoadImage", {"image": "cat.png"})
START = {"3": {"latent_image": ["21", 0], "denoise": 0.5}}
ENCODED = ("VAEEncode", {"pixels": ["20", 0], "vae": LINKS["vae"]})
INPAINT = {**ENCODED[1], "mask": ["20", 1], "grow_mask_by": 6}
SIZES = dict.fromkeys(("width", "height", "target_width", "target_height"), 512)
SDXL = {**SIZES, "crop_w": 0, "crop_h": 0, "text_g": "a cat", "text_l": "", "clip": ["4", 1]}
COMBINED = {"conditioning_1": ["6", 0], "conditioning_2": ["20", 0]}
ADVANCED = {"add_noise": "enable", "noise_seed": 5, "start_at_step": 0, "end_at_step": 10_000}
ADVANCED |= {"return_with_leftover_noise": "disable"}
SECOND = {**default_graph()["3"]["inputs"], "latent_image": ["20", 0], "denoise": 0.5, "steps": 10}
LARGE = {"samples": MADE, "upscale_method": "nearest-exact", "crop": "disabled"}
SHOWN = ("PreviewImage", {"images": ["8", 0]})
APPLIED = {"conditioning": ["6", 0], "control_net": ["21", 0], "image": ["20", 0], "strength": 0.9}
NET = ("ControlNetLoader", {"control_net_name": "pose.safetensors"})
POSE = Control(model="pose", image=IMAGE, strength=0.9)
LATENT = Upscale(factor=2, by="latent", strength=0.5)
CONTROL = Control(model="pose", image=MAP, strength=0.5)
TEXT = ("CLIPTextEncode", {"text": "at night", "clip": ["4", 1]})
ALPHA = ("LoadImageMask", {"image": "cat.png", "channel": "red"})
MASKED = ("SetLatentNoiseMask", {"samples": ["21", 0], "mask": ["22", 0]})
SCENE = default_graph()["6"]["inputs"]["text"]

# kind → a graph with it, and what it says in the recipe
ROWS: dict[str, tuple[Graph, dict[str, Any]]] = {
    "CheckpointLoaderSimple": (default_graph(), {"checkpoint": "v1-5-pruned-emaonly.ckpt"}),
    "DiffusersLoader": (to_graph(make_recipe()), {"checkpoint": "starter"}),
    "CLIPTextEncode": (default_graph(), {"prompt": SCENE, "negative_prompt": "text, watermark"}),
    "CLIPTextEncodeSDXL": (
        default({"3": {"positive": ["20", 0]}}, n20=("CLIPTextEncodeSDXL", SDXL)),
        {"prompt": "a cat"},
    ),
    "CLIPSetLastLayer": (ours(clip_skip=2), {"clip_skip": 2}),
    "ConditioningConcat": (ours(prompt="a BREAK b BREAK c"), {"prompt": "a BREAK b BREAK c"}),
    "ConditioningCombine": (
        default(
            {"3": {"positive": ["21", 0]}}, n20=TEXT, n21=("ConditioningCombine", COMBINED)
        ),
        {"prompt": f"{SCENE} BREAK at night"},
    ),
    "EmptyLatentImage": (default_graph(), {"width": 512, "height": 512, "count": 1}),
    "LoadImage": (default(START, n20=CAT, n21=ENCODED), {"image": IMAGE, "width": 512}),
    "LoadImageMask": (
        default({"3": {"latent_image": ["23", 0]}}, n20=CAT, n21=ENCODED, n22=ALPHA, n23=MASKED),
        {"mask": MASK, "image": IMAGE},
    ),
    "ImageToMask": (ours(image=IMAGE, strength=1, mask=MASK), {"mask": MASK}),
    "ImageCompositeMasked": (ours(image=IMAGE, strength=1, mask=MASK), {"mask": MASK}),
    "VAEEncode": (default(START, n20=CAT, n21=ENCODED), {"strength": 0.5, "height": 384}),
    "VAEEncodeForInpaint": (
        default(START, n20=CAT, n21=("VAEEncodeForInpaint", INPAINT)),
        {"mask": MASK, "image": IMAGE},
    ),
    "SetLatentNoiseMask": (ours(image=IMAGE, strength=0.7, mask=MASK), {"mask": MASK}),
    "KSampler": (ours(seed=2**64 - 1, steps=9), {"seed": 2**64 - 1, "steps": 9}),
    "KSamplerAdvanced": (
        replaced(default_graph(), "3", "KSamplerAdvanced", **ADVANCED),
        {"seed": 5, "steps": 20, "strength": None},
    ),
    "LatentFromBatch": (ours(count=4, picture=2), {"count": 4, "picture": 2}),
    "RepeatLatentBatch": (ours(image=IMAGE, strength=0.5, count=3), {"count": 3}),
    "LatentUpscale": (
        default(
            {"8": {"samples": ["21", 0]}},
            n20=("LatentUpscale", {**LARGE, "width": 1024, "height": 1024}),
            n21=("KSampler", SECOND),
        ),
        {"upscale": LATENT},
    ),
    "LatentUpscaleBy": (ours(upscale=LATENT), {"upscale": LATENT}),
    "VAEDecode": (default_graph(), {"vae": None}),
    "VAELoader": (ours(vae="mse"), {"vae": "mse"}),
    "LoraLoader": (
        ours(loras=(Lora(name="ink", weight=0.8, text_weight=0.5),)),
        {"loras": (Lora(name="ink", weight=0.8, text_weight=0.5),)},
    ),
    "RescaleCFG": (ours(guidance_rescale=0.7), {"guidance_rescale": 0.7}),
    "ControlNetLoader": (ours(controls=(CONTROL,)), {"controls": (CONTROL,)}),
    "ControlNetApply": (
        default(
            {"3": {"positive": ["22", 0]}}, n20=CAT, n21=NET, n22=("ControlNetApply", APPLIED)
        ),
        {"controls": (POSE,)},
    ),
    "ControlNetApplyAdvanced": (ours(controls=(CONTROL,)), {"controls": (CONTROL,)}),
    "ImageScale": (ours(image=IMAGE, strength=0.5, fit="resize"), {"fit": "resize", "width": 64}),
    "ImageScaleBy": (ours(upscale=Upscale(factor=1.5)), {"upscale": Upscale(factor=1.5)}),
    "UpscaleModelLoader": (
        ours(upscale=Upscale(factor=4, by="4x-UltraSharp")),
        {"upscale": Upscale(factor=4, by="4x-UltraSharp")},
    ),
    "ImageUpscaleWithModel": (
        ours(upscale=Upscale(factor=3, by="4x-UltraSharp", strength=0.5)),
        {"upscale": Upscale(factor=3, by="4x-UltraSharp", strength=0.5)},
    ),
    "SaveImage": (default_graph(), {"prompt": SCENE}),
    "PreviewImage": (
        {**{k: v for k, v in default_graph().items() if k != "9"}, "9": {
            "class_type": SHOWN[0], "inputs": SHOWN[1]}},
        {"prompt": SCENE},
    ),
}  # fmt: skip


def test_there_is_a_row_for_every_node_that_is_listed_or_known() -> None:
    assert ROWS.keys() == {*LISTED, *BESIDE} == NODE_KINDS.keys()


def test_every_output_of_a_known_node_has_its_rule() -> None:
    assert RULES.keys() == {kind for kind, node in NODE_KINDS.items() if node.outputs} - {
        "ControlNetLoader",  # whoever needs these asks the loader for its file
        "UpscaleModelLoader",
    }


@pytest.mark.parametrize("kind", ROWS)
def test_a_node_says_what_it_does(kind: str) -> None:
    graph, wanted = ROWS[kind]
    assert kind in {node["class_type"] for node in graph.values()}
    recipe = read_graph(graph, PICTURES).recipe
    assert {name: getattr(recipe, name) for name in wanted} == wanted


@pytest.mark.parametrize("kind", ROWS)
def test_a_node_that_is_not_known_is_named_in_its_place(kind: str) -> None:
    graph = copy.deepcopy(ROWS[kind][0])
    for node in graph.values():
        if node["class_type"] == kind:
            node["class_type"] = "SomebodysNode"
    said = (
        "saves nothing: it has none of these nodes: SaveImage"
        if kind in ("SaveImage", "PreviewImage")
        else "SomebodysNode"
    )
    with pytest.raises(GraphError, match=said):
        read_graph(graph, PICTURES)


@pytest.mark.parametrize("kind", ROWS)
def test_a_missing_input_is_named_with_its_node(kind: str) -> None:
    graph = ROWS[kind][0]
    name = next(name for name, node in graph.items() if node["class_type"] == kind)
    for link in NODE_KINDS[kind].links:
        broken = copy.deepcopy(graph)
        del broken[name]["inputs"][link]
        with pytest.raises(GraphError, match=f"'{link}' of {kind} .* is not connected"):
            read_graph(broken, PICTURES)


@pytest.mark.parametrize("kind", ROWS)
def test_an_input_of_another_type_is_named_with_its_node(kind: str) -> None:
    graph = ROWS[kind][0]
    name = next(name for name, node in graph.items() if node["class_type"] == kind)
    for link, wanted in NODE_KINDS[kind].links.items():
        broken = copy.deepcopy(graph)
        given = ("4", 2) if wanted != "VAE" else ("4", 0)
        broken[name]["inputs"][link] = list(given)
        with pytest.raises(GraphError, match=f"'{link}' of {kind} .* not {wanted}"):
            read_graph(broken, PICTURES)
