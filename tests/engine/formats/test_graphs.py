"""ComfyUI's nodes, each read for what it does; and what cannot be done, named."""

import json
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import GraphError, OptionError
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import pictures_of
from engine.formats.graphs.workflow import from_workflow
from engine.recipe.parts import Area, Control, Lora, Upscale
from engine.recipe.recipe import Recipe
from tests.engine.formats.test_comfy import default_graph
from tests.engine.recipes import read_graph, recipe_of

IMAGE, MASK, MAP = "a" * 64, "b" * 64, "c" * 64
PICTURES = {
    "cat.png": LoadedPicture(image=IMAGE, width=512, height=384, masks={"alpha": MASK}),
    "pose.png": LoadedPicture(image=MAP, width=512, height=512),
}
PLAIN = recipe_of(default_graph())


def with_nodes(changes: dict[str, dict[str, Any]], **nodes: dict[str, Any]) -> dict[str, Any]:
    """Return ComfyUI's default graph with more nodes, and some inputs of its own changed.

    Nodes are given as n20={"Kind": {inputs}}.
    """
    graph = default_graph()
    for name, node in nodes.items():
        ((kind, inputs),) = node.items()
        graph[name[1:]] = {"class_type": kind, "inputs": inputs}
    for name, inputs in changes.items():
        graph[name]["inputs"].update(inputs)
    return graph


def read(changes: dict[str, dict[str, Any]], **nodes: dict[str, Any]) -> Recipe:
    found = read_graph(with_nodes(changes, **nodes), PICTURES)
    assert found.ignored == ()
    return found.recipe


def same_but(recipe: Recipe, **changes: Any) -> None:
    """Hold a recipe to the plain one with some values changed."""
    for name in Recipe.__dataclass_fields__:
        wanted = changes[name] if name in changes else getattr(PLAIN, name)
        assert getattr(recipe, name) == wanted, name


def test_loras_layers_rescale_and_vae() -> None:
    lora = {"lora_name": "style\\ink.safetensors", "strength_model": 0.8, "strength_clip": 0.5}
    other = {"lora_name": "gold.safetensors", "strength_model": 1.0, "strength_clip": 1.0}
    recipe = read(
        {
            "3": {"model": ["23", 0]},
            "6": {"clip": ["22", 0]},
            "7": {"clip": ["22", 0]},
            "8": {"vae": ["24", 0]},
        },
        n20={"LoraLoader": {"model": ["4", 0], "clip": ["4", 1], **lora}},
        n21={"LoraLoader": {"model": ["20", 0], "clip": ["20", 1], **other}},
        n22={"CLIPSetLastLayer": {"stop_at_clip_layer": -2, "clip": ["21", 1]}},
        n23={"RescaleCFG": {"multiplier": 0.7, "model": ["21", 0]}},
        n24={"VAELoader": {"vae_name": "vae-ft-mse.safetensors"}},
    )
    loras = (Lora(name="style/ink", weight=0.8, text_weight=0.5), Lora(name="gold"))
    same_but(recipe, loras=loras, clip_skip=2, guidance_rescale=0.7, vae="vae-ft-mse")


def test_joined_texts() -> None:
    more = {"clip": ["4", 1], "text": "at night"}
    changes = {"3": {"positive": ["21", 0]}}
    recipe = read(
        changes,
        n20={"CLIPTextEncode": more},
        n21={"ConditioningConcat": {"conditioning_to": ["6", 0], "conditioning_from": ["20", 0]}},
    )
    same_but(recipe, prompt=f"{PLAIN.prompt} BREAK at night")
    combined = read_graph(
        with_nodes(
            changes,
            n20={"CLIPTextEncode": more},
            n21={"ConditioningCombine": {"conditioning_1": ["6", 0], "conditioning_2": ["20", 0]}},
        )
    )
    assert combined.recipe == replace(PLAIN, areas=(Area(prompt="at night"),))
    assert combined.ignored == ()


def test_sdxls_texts() -> None:
    sizes = {"width": 512, "height": 512, "crop_w": 0, "crop_h": 0}
    sizes |= {"target_width": 512, "target_height": 512}
    texts = {"text_g": "a cat", "text_l": "a cat", "clip": ["4", 1]}
    node = {"CLIPTextEncodeSDXL": {**sizes, **texts}}
    same_but(read({"3": {"positive": ["20", 0]}}, n20=node), prompt="a cat")
    node = {"CLIPTextEncodeSDXL": {**sizes, **texts, "text_l": "a dog", "crop_w": 8, "width": 1024}}
    ignored = read_graph(with_nodes({"3": {"positive": ["20", 0]}}, n20=node)).ignored
    assert [note.split(":")[1] for note in ignored] == [
        " text_l",
        " crop_w and crop_h",
        " sizes given to SDXL",
    ]


LOAD = {"LoadImage": {"image": "cat.png", "upload": "image"}}
ENCODE = {"VAEEncode": {"pixels": ["20", 0], "vae": ["4", 2]}}


def test_a_start_image_and_its_mask() -> None:
    changes = {"3": {"latent_image": ["21", 0], "denoise": 0.6}}
    start = {"image": IMAGE, "width": 512, "height": 384, "strength": 0.6}
    same_but(read(changes, n20=LOAD, n21=ENCODE), **start)
    scaled = {"image": ["20", 0], "upscale_method": "lanczos", "width": 640, "height": 448}
    recipe = read(
        changes,
        n20=LOAD,
        n22={"ImageScale": {**scaled, "crop": "disabled"}},
        n21={"VAEEncode": {"pixels": ["22", 0], "vae": ["4", 2]}},
    )
    same_but(recipe, **{**start, "width": 640, "height": 448, "fit": "resize"})
    changes["3"]["latent_image"] = ["23", 0]
    masked = {"SetLatentNoiseMask": {"samples": ["21", 0], "mask": ["20", 1]}}
    same_but(read(changes, n20=LOAD, n21=ENCODE, n23=masked), **start, mask=MASK)
    repeated = {"RepeatLatentBatch": {"samples": ["21", 0], "amount": 3}}
    same_but(read(changes, n20=LOAD, n21=ENCODE, n23=repeated), **start, count=3)
    inpaint = {"pixels": ["20", 0], "vae": ["4", 2], "mask": ["20", 1], "grow_mask_by": 6}
    found = read_graph(
        with_nodes(changes, n20=LOAD, n23={"VAEEncodeForInpaint": inpaint}), PICTURES
    )
    same_but(found.recipe, **start, mask=MASK)
    assert "grow_mask_by" in found.ignored[0]


def test_controls() -> None:
    net = {"ControlNetLoader": {"control_net_name": "pose.safetensors"}}
    load = {"LoadImage": {"image": "pose.png"}}
    links = {"control_net": ["20", 0], "image": ["21", 0], "strength": 0.9}
    recipe = read(
        {"3": {"positive": ["22", 0]}},
        n20=net,
        n21=load,
        n22={"ControlNetApply": {"conditioning": ["6", 0], **links}},
    )
    same_but(recipe, controls=(Control(model="pose", image=MAP, strength=0.9),))
    both = {"positive": ["6", 0], "negative": ["7", 0], "start_percent": 0.1, "end_percent": 0.8}
    found = read_graph(
        with_nodes(
            {"3": {"positive": ["22", 0], "negative": ["22", 1]}},
            n20=net,
            n21=load,
            n22={"ControlNetApplyAdvanced": {**both, **links}},
        ),
        PICTURES,
    )
    assert [note.partition(": ")[2] for note in found.ignored] == [
        "start_percent and end_percent: counted in steps, not in noise"
    ]
    same_but(
        found.recipe, controls=(Control(model="pose", image=MAP, strength=0.9, start=0.1, end=0.8),)
    )


def test_enlargements() -> None:
    by = {"image": ["8", 0], "upscale_method": "lanczos"}
    scaled = read({"9": {"images": ["20", 0]}}, n20={"ImageScaleBy": {**by, "scale_by": 1.5}})
    same_but(scaled, upscale=Upscale(factor=1.5))
    target = {"width": 1024, "height": 1024, "crop": "disabled"}
    same_but(
        read({"9": {"images": ["20", 0]}}, n20={"ImageScale": {**by, **target}}),
        upscale=Upscale(factor=2),
    )
    model = read(
        {"9": {"images": ["21", 0]}},
        n20={"UpscaleModelLoader": {"model_name": "4x-UltraSharp.safetensors"}},
        n21={"ImageUpscaleWithModel": {"upscale_model": ["20", 0], "image": ["8", 0]}},
    )
    same_but(model, upscale=Upscale(factor=4, by="4x-UltraSharp"))


@pytest.mark.parametrize("kind", ["LatentUpscale", "LatentUpscaleBy"])
def test_a_second_pass(kind: str) -> None:
    sizes = {"width": 1024, "height": 1024, "crop": "disabled"}
    size = sizes if kind == "LatentUpscale" else {"scale_by": 2.0}
    second = {**default_graph()["3"]["inputs"], "latent_image": ["20", 0], "denoise": 0.5}
    found = read_graph(
        with_nodes(
            {"8": {"samples": ["21", 0]}},
            n20={kind: {"samples": ["3", 0], "upscale_method": "nearest-exact", **size}},
            n21={"KSampler": second},
        )
    )
    same_but(found.recipe, upscale=Upscale(factor=2, by="latent", strength=0.5))
    assert "a second pass uses those of the first" in found.ignored[0]


def test_ksampler_advanced() -> None:
    old = default_graph()["3"]["inputs"]
    new = {name: old[name] for name in old if name not in ("seed", "denoise")}
    new |= {"noise_seed": 5, "add_noise": "enable", "start_at_step": 0, "end_at_step": 10000}
    new |= {"return_with_leftover_noise": "disable"}
    graph = default_graph()
    graph["3"] = {"class_type": "KSamplerAdvanced", "inputs": new}
    same_but(recipe_of(graph), seed=5)
    new["end_at_step"] = 10
    with pytest.raises(GraphError, match="runs only some of the steps"):
        recipe_of(graph)
    graph = with_nodes({}, n20=LOAD, n21=ENCODE)
    graph["3"] = {
        "class_type": "KSamplerAdvanced",
        "inputs": {**new, "end_at_step": 20, "start_at_step": 8, "latent_image": ["21", 0]},
    }
    recipe = recipe_of(graph, PICTURES)
    assert (recipe.steps, recipe.strength) == (12, 0.6)


def test_pictures_that_are_not_here_are_named() -> None:
    graph = with_nodes({"3": {"latent_image": ["21", 0], "denoise": 0.5}}, n20=LOAD, n21=ENCODE)
    assert pictures_of(graph) == {"cat.png": set()}
    with pytest.raises(GraphError, match=r"starts from the picture 'cat.png', which is missing"):
        recipe_of(graph)


def test_a_circle_anywhere_is_named() -> None:
    graph = with_nodes(
        {"3": {"model": ["20", 0]}},
        n20={"LoraLoader": {"model": ["21", 0]}},
        n21={"LoraLoader": {"model": ["20", 0]}},
    )
    with pytest.raises(GraphError, match="has a circle at LoraLoader"):
        recipe_of(graph)


def test_a_very_deep_graph_is_refused_in_one_sentence() -> None:
    nodes = {
        str(n): {
            "class_type": "ConditioningConcat",
            "inputs": {"conditioning_to": [str(n + 1), 0], "conditioning_from": ["6", 0]},
        }
        for n in range(100, 5000)
    }
    graph = with_nodes({"3": {"positive": ["100", 0]}}) | nodes
    graph["5000"] = graph["6"]
    with pytest.raises(GraphError, match="too deep"):
        recipe_of(graph)


DEFAULT_WORKFLOW = {
    "last_node_id": 9,
    "last_link_id": 9,
    "nodes": [
        {"id": 7, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "type": "CLIP", "link": 5}],
         "widgets_values": ["text, watermark"]},
        {"id": 6, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "type": "CLIP", "link": 3}],
         "widgets_values": ["beautiful scenery nature glass bottle landscape"]},
        {"id": 5, "type": "EmptyLatentImage", "widgets_values": [512, 512, 1]},
        {"id": 3, "type": "KSampler", "inputs": [
            {"name": "model", "type": "MODEL", "link": 1},
            {"name": "positive", "type": "CONDITIONING", "link": 4},
            {"name": "negative", "type": "CONDITIONING", "link": 6},
            {"name": "latent_image", "type": "LATENT", "link": 2}],
         "widgets_values": [156680208700286, "randomize", 20, 8, "euler", "normal", 1]},
        {"id": 8, "type": "VAEDecode", "inputs": [
            {"name": "samples", "type": "LATENT", "link": 7},
            {"name": "vae", "type": "VAE", "link": 8}]},
        {"id": 9, "type": "SaveImage",
         "inputs": [{"name": "images", "type": "IMAGE", "link": 9}],
         "widgets_values": ["ComfyUI"]},
        {"id": 4, "type": "CheckpointLoaderSimple",
         "widgets_values": ["v1-5-pruned-emaonly.ckpt"]},
        {"id": 10, "type": "Note", "widgets_values": ["Hello"]},
    ],
    "links": [
        [1, 4, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [3, 4, 1, 6, 0, "CLIP"],
        [4, 6, 0, 3, 1, "CONDITIONING"], [5, 4, 1, 7, 0, "CLIP"],
        [6, 7, 0, 3, 2, "CONDITIONING"], [7, 3, 0, 8, 0, "LATENT"], [8, 4, 2, 8, 1, "VAE"],
        [9, 8, 0, 9, 0, "IMAGE"],
    ],
    "version": 0.4,
}  # fmt: skip


def test_comfyuis_default_workflow_is_the_same_in_both_formats() -> None:
    workflow = json.loads(json.dumps(DEFAULT_WORKFLOW))
    assert recipe_of(workflow) == PLAIN
    assert from_workflow(workflow)["3"]["inputs"]["seed"] == 156680208700286


@pytest.mark.parametrize("spoil", ["nodes", "links"])
def test_a_damaged_workflow_is_one_sentence(spoil: str) -> None:
    workflow = {**DEFAULT_WORKFLOW, spoil: [[1], 2, {}]}
    with pytest.raises(GraphError, match="damaged"):
        recipe_of(workflow)


def canvas(**changes: Any) -> dict[str, Any]:
    """Return the default workflow with more nodes and links: node=…, links=…"""
    workflow: dict[str, Any] = json.loads(json.dumps(DEFAULT_WORKFLOW))
    workflow["nodes"] += changes.get("nodes", [])
    workflow["links"] = changes.get("links", []) + [
        link for link in workflow["links"] if link[0] not in changes.get("cut", [])
    ]
    return workflow


def test_reroutes_vanish_on_the_way() -> None:
    reroute = {"id": 20, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 30}]}
    links = [[30, 4, 0, 20, 0, "MODEL"], [1, 20, 0, 3, 0, "MODEL"]]
    assert recipe_of(canvas(nodes=[reroute], links=links, cut=[1])) == PLAIN


def test_a_chain_of_reroutes_is_followed_once() -> None:
    # A file of 4 MB holds thousands in a row, and thousands of inputs that come from there:
    # followed for each of them, this takes an hour.
    last = 20_000
    nodes: list[dict[str, Any]] = [
        {"id": n, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": n}]}
        for n in range(20, last + 1)
    ]
    inputs = [{"name": f"{n}", "type": "*", "link": 1} for n in range(40_000)]
    links = [[n, n - 1 if n > 20 else 4, 0, n, 0, "MODEL"] for n in range(20, last + 1)]
    links.append([1, last, 0, 3, 0, "MODEL"])
    workflow = canvas(
        nodes=[*nodes, {"id": 2, "type": "X", "inputs": inputs}], links=links, cut=[1]
    )
    assert recipe_of(workflow) == PLAIN
    links[0][1] = last  # a circle
    with pytest.raises(GraphError, match="'model' of KSampler"):
        recipe_of(canvas(nodes=nodes, links=links, cut=[1]))


def test_links_whose_numbers_collide_cost_nothing() -> None:
    # Python hashes all multiples of this prime to 0: a table by such numbers is a list.
    links = [[(2**61 - 1) * n, 4, 0, 3, 0, "MODEL"] for n in range(100, 60_000)]
    assert recipe_of(canvas(links=links)) == PLAIN


def test_what_many_loaded_pictures_are_taken_for_is_found_in_one_look() -> None:
    # Looked for in all nodes for each of them, this takes many minutes.
    amount = 15_000
    graph = default_graph()
    for n in range(amount):
        graph[f"load {n}"] = {"class_type": "LoadImage", "inputs": {"image": f"{n}.png"}}
        scaled = {"image": [f"load {n}", 0]}
        graph[f"scale {n}"] = {"class_type": "ImageScale", "inputs": scaled}
        mask = {"image": [f"scale {n}", 0], "channel": "red"}
        graph[f"mask {n}"] = {"class_type": "ImageToMask", "inputs": mask}
    graph["use"] = {"class_type": "SetLatentNoiseMask", "inputs": {"mask": ["load 0", 1]}}
    wanted = {f"{n}.png": {"red"} for n in range(amount)} | {"0.png": {"red", "alpha"}}
    assert list(pictures_of(graph).items()) == list(wanted.items())


def test_what_nobody_needs_may_hang_in_the_air() -> None:
    beside = [
        {"id": 80, "type": "Reroute", "inputs": [{"name": "", "link": None}]},
        {"id": 81, "type": "PreviewText", "inputs": [{"name": "a", "link": 90}]},
        {"id": 82, "type": "PreviewText", "inputs": [{"name": "a", "link": 91}]},
    ]
    workflow = canvas(nodes=beside)
    workflow["links"] += [[90, 80, 0, 81, 0, "*"], [91, 4_000, 0, 82, 0, "*"]]
    assert recipe_of(workflow) == PLAIN
    assert from_workflow(workflow)["81"]["inputs"] == {}


def test_a_link_from_a_node_that_is_gone_is_named() -> None:
    workflow = canvas()
    (link,) = (each for each in workflow["links"] if each[5] == "CLIP" and each[3] == 6)
    link[1] = 4_000
    with pytest.raises(
        GraphError, match=r"'clip' of .* comes from node 4000, which does not exist"
    ):
        recipe_of(workflow)


def test_a_comment_that_is_never_closed_is_text() -> None:
    workflow = canvas()
    node = next(node for node in workflow["nodes"] if node["id"] == 6)
    node["widgets_values"] = ["a /* cat // not this\n at night"]
    same_but(recipe_of(workflow), prompt="a /* cat \n at night")
    # Looked for anew at each of them, its end takes a while to be missed.
    node["widgets_values"] = ["/* " * 33_000]
    with pytest.raises(OptionError, match="prompt must be at most"):
        recipe_of(workflow)


def test_choices_are_made_in_texts_that_are_needed_and_no_others() -> None:
    choices = {"id": 50, "type": "CLIPTextEncode", "widgets_values": ["{a|b}" * 2_000]}
    beside = [{**choices, "id": number} for number in range(50, 1_000)]
    assert recipe_of(canvas(nodes=beside)) == PLAIN
    assert from_workflow(canvas(nodes=beside))["50"]["inputs"]["text"].startswith("{a|b}")
    joined = [
        {"id": n, "type": "ConditioningConcat", "inputs": [
            {"name": "conditioning_to", "type": "CONDITIONING", "link": 10 * n},
            {"name": "conditioning_from", "type": "CONDITIONING", "link": 10 * n + 1}]}
        for n in range(1_000, 1_020)
    ]  # fmt: skip
    links = [[10 * n, n + 1 if n < 1_019 else 6, 0, n, 0, "X"] for n in range(1_000, 1_020)]
    links += [[10 * n + 1, n - 900, 0, n, 1, "X"] for n in range(1_000, 1_020)]
    links.append([4, 1_000, 0, 3, 1, "CONDITIONING"])
    with pytest.raises(GraphError, match="texts have more than 100,000 characters"):
        recipe_of(canvas(nodes=[*beside, *joined], links=links, cut=[4]))


def test_a_primitives_value_is_taken() -> None:
    workflow = canvas(nodes=[{"id": 20, "type": "PrimitiveNode", "widgets_values": [7, "fixed"]}])
    workflow["links"].append([30, 20, 0, 3, 4, "INT"])
    sampler = next(node for node in workflow["nodes"] if node["type"] == "KSampler")
    sampler["inputs"].append({"name": "seed", "type": "INT", "link": 30})
    same_but(recipe_of(workflow), seed=7)


@pytest.mark.parametrize(("mode", "word"), [(2, "muted"), (4, "bypassed")])
def test_a_node_that_is_muted_or_bypassed_is_named_where_it_is_needed(mode: int, word: str) -> None:
    workflow = canvas()
    next(node for node in workflow["nodes"] if node["type"] == "CLIPTextEncode")["mode"] = mode
    with pytest.raises(
        GraphError, match=rf"comes from CLIPTextEncode, which is {word} \(node \d+\)\.$"
    ):
        recipe_of(workflow)


def test_links_of_newer_canvases_are_objects() -> None:
    workflow = canvas()
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    workflow["links"] = [dict(zip(names, link, strict=True)) for link in workflow["links"]]
    assert recipe_of(workflow) == PLAIN


def test_the_canvas_texts_lose_comments_and_make_their_choices() -> None:
    workflow = canvas()
    node = next(node for node in workflow["nodes"] if node["id"] == 6)
    node["widgets_values"] = ["a {red|red} \\{cat\\} // not this\n/* nor this */at {night}"]
    same_but(recipe_of(workflow), prompt="a red {cat} \nat night")


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("{cat|{cat}|cat}", "cat"),  # a choice of one within another
        ("{{cat}}", "cat"),
        ("{{red|red} cat}", "red cat"),
        ("a {smiling {red|red", "a smiling red"),  # the text's end closes all
        ("{cat\\|{cat|cat", "cat|cat"),
        ("a } b | c", "a } b | c"),
    ],
)
def test_choices_are_made_as_the_canvas_makes_them(text: str, sent: str) -> None:
    node = {"id": 50, "type": "CLIPTextEncode", "widgets_values": [text]}
    saved = {"id": 51, "type": "SaveImage", "inputs": [{"name": "images", "link": 1}]}
    workflow = {"nodes": [node, saved], "links": [[1, 50, 0, 51, 0, "IMAGE"]]}
    assert from_workflow(workflow)["50"]["inputs"]["text"] == sent


def test_what_is_sent_to_a_server_is_a_graph_as_well() -> None:
    assert recipe_of({"prompt": default_graph(), "client_id": "x"}) == PLAIN


def test_texts_that_double_at_each_node_cost_nothing() -> None:
    nodes = {
        str(n): {
            "class_type": "ConditioningConcat",
            "inputs": {key: [str(n + 1), 0] for key in ("conditioning_to", "conditioning_from")},
        }
        for n in range(100, 160)
    }
    graph = with_nodes({"3": {"positive": ["100", 0]}}) | nodes
    graph["160"] = graph["6"]
    with pytest.raises(GraphError, match="joins texts to more than 100,000 characters"):
        recipe_of(graph)


SECOND = {**default_graph()["3"]["inputs"], "latent_image": ["20", 0], "denoise": 0.5, "steps": 10}
TWICE = {"samples": ["3", 0], "upscale_method": "nearest-exact", "scale_by": 2.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ()),
        ({"seed": 1}, ("seed",)),
        ({"steps": 20, "cfg": 3}, ("steps, guidance scale",)),
        ({"positive": ["7", 0]}, ("prompt",)),
    ],
)
def test_only_what_a_second_pass_has_of_its_own_is_named(
    changes: dict[str, Any], said: tuple[str, ...]
) -> None:
    found = read_graph(
        with_nodes(
            {"8": {"samples": ["21", 0]}},
            n20={"LatentUpscaleBy": TWICE},
            n21={"KSampler": {**SECOND, **changes}},
        )
    )
    assert [note.split(": ")[1].removeprefix("its own ") for note in found.ignored] == list(said)


@pytest.mark.parametrize(
    ("name", "sampler", "noise"),
    [
        ("euler", "euler", "cpu"),
        ("euler_ancestral", "euler_ancestral", "gpu"),
        ("lcm", "lcm", "gpu"),
        ("dpmpp_2m_sde", "dpmpp_2m_sde", "cpu"),
        ("dpmpp_2m_sde_gpu", "dpmpp_2m_sde", "gpu"),
        ("dpmpp_sde_gpu", "dpmpp_sde", "gpu"),
    ],
)
def test_noise_is_that_of_comfyui_on_a_gpu(name: str, sampler: str, noise: str) -> None:
    found = read_graph(with_nodes({"3": {"sampler_name": name}}))
    same_but(found.recipe, sampler=sampler, noise=noise)
    assert found.ignored == ()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a third pass": (
        with_nodes(
            {"8": {"samples": ["23", 0]}},
            n20={"LatentUpscaleBy": TWICE},
            n21={"KSampler": SECOND},
            n22={"LatentUpscaleBy": {**TWICE, "samples": ["21", 0]}},
            n23={"KSampler": {**SECOND, "latent_image": ["22", 0]}},
        ),
        "draws a third pass",
    ),
    "unchanged latents": (
        with_nodes(
            {"8": {"samples": ["21", 0]}}, n21={"KSampler": {**SECOND, "latent_image": ["3", 0]}}
        ),
        "continues from unchanged latents",
    ),
    "another aspect ratio": (
        with_nodes(
            {"9": {"images": ["20", 0]}},
            n20={"ImageScale": {"image": ["8", 0], "width": 1024, "height": 512, "crop": "center"}},
        ),
        "to another aspect ratio",
    ),
    "a picked one again": (
        with_nodes(
            {"5": {"batch_size": 4}, "8": {"samples": ["21", 0]}},
            n19={"LatentFromBatch": {"samples": ["3", 0], "batch_index": 1, "length": 1}},
            n20={"LatentUpscaleBy": {**TWICE, "samples": ["19", 0]}},
            n21={"KSampler": SECOND},
        ),
        "picked from a batch",
    ),
    "a mask on nothing": (
        with_nodes(
            {"3": {"latent_image": ["21", 0]}},
            n20=LOAD,
            n21={"SetLatentNoiseMask": {"samples": ["5", 0], "mask": ["20", 1]}},
        ),
        "masks something other than a start image",
    ),
    "nothing marked": (
        with_nodes(
            {"3": {"latent_image": ["22", 0]}},
            n20={"LoadImage": {"image": "pose.png"}},
            n21=ENCODE,
            n22={"SetLatentNoiseMask": {"samples": ["21", 0], "mask": ["20", 1]}},
        ),
        "from 'alpha' of a picture, where nothing is marked",
    ),
    "two text encoders": (
        with_nodes(
            {"7": {"clip": ["20", 0]}},
            n20={"CLIPSetLastLayer": {"stop_at_clip_layer": -2, "clip": ["4", 1]}},
        ),
        "with two text encoders",
    ),
    "nothing drawn": (
        with_nodes({"9": {"images": ["20", 0]}}, n20=LOAD), "that was not drawn"
    ),
    "an output that is not there": (
        with_nodes({"3": {"model": ["4", 7]}}), "gets nothing from CheckpointLoaderSimple"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_another_picture_is_refused_in_one_sentence(name: str) -> None:
    graph, said = REFUSED[name]
    with pytest.raises(GraphError, match=said) as caught:
        read_graph(graph, PICTURES)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
