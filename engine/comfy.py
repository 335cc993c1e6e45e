"""Recipes as ComfyUI graphs; the way back is `engine.graphs`.

ComfyUI writes a graph in two forms, and both go into every picture:

- the *graph* (API format, PNG text `prompt`): node id → `{"class_type", "inputs"}`, where an input
  is a value or a link `[node id, output number]`; it is what ComfyUI runs;
- the *workflow* (UI format 0.4, PNG text `workflow`): the same nodes with places on the canvas,
  a table of links and values by position; it is what ComfyUI opens when a picture is dropped.

Sampler and schedule names are ComfyUI's own. One rule needs care: Marble draws the noise of all
`count` pictures at once and slices it. ComfyUI does the same for a whole batch, but once
LatentFromBatch stands *before* KSampler it draws picture after picture instead. The two agree only
where one picture's noise holds a multiple of 16 values; at other sizes the pick stands after
KSampler: slower, since the whole batch is made, but the same picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.recipe import Recipe

Graph = dict[str, dict[str, Any]]

LATENT_CHANNELS: Final = 4  # what EmptyLatentImage makes: SD1.x, SD2.x and SDXL
LATENT_SCALE: Final = 8
NOISE_ALIGNMENT: Final = 16  # values torch draws at a time on the CPU


@dataclass(frozen=True, slots=True)
class Node:
    """Describe a kind of node: its links in, values and links out, in the order of its slots."""

    links: Mapping[str, str]
    values: tuple[str, ...]
    outputs: tuple[str, ...]
    size: tuple[int, int]


MODEL_PARTS: Final = ("MODEL", "CLIP", "VAE")
LATENTS: Final = {"samples": "LATENT"}
CONDITIONS: Final = {"positive": "CONDITIONING", "negative": "CONDITIONING"}
# KSampler's second value exists on the canvas only: what to do with the seed after a run.
AFTER_RUN: Final = "control_after_generate"
NODES: Final[Mapping[str, Node]] = {
    "CheckpointLoaderSimple": Node({}, ("ckpt_name",), MODEL_PARTS, (315, 98)),
    "DiffusersLoader": Node({}, ("model_path",), MODEL_PARTS, (315, 98)),
    "CLIPTextEncode": Node({"clip": "CLIP"}, ("text",), ("CONDITIONING",), (425, 180)),
    "EmptyLatentImage": Node({}, ("width", "height", "batch_size"), ("LATENT",), (315, 106)),
    "LatentFromBatch": Node(LATENTS, ("batch_index", "length"), ("LATENT",), (315, 82)),
    "KSampler": Node(
        {"model": "MODEL", **CONDITIONS, "latent_image": "LATENT"},
        ("seed", AFTER_RUN, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
        ("LATENT",),
        (315, 262),
    ),
    "VAEDecode": Node({**LATENTS, "vae": "VAE"}, (), ("IMAGE",), (210, 46)),
    "SaveImage": Node({"images": "IMAGE"}, ("filename_prefix",), (), (315, 270)),
    "PreviewImage": Node({"images": "IMAGE"}, (), (), (315, 270)),
    "LoraLoader": Node(
        {"model": "MODEL", "clip": "CLIP"},
        ("lora_name", "strength_model", "strength_clip"),
        ("MODEL", "CLIP"),
        (315, 126),
    ),
    "CLIPSetLastLayer": Node({"clip": "CLIP"}, ("stop_at_clip_layer",), ("CLIP",), (315, 58)),
    "RescaleCFG": Node({"model": "MODEL"}, ("multiplier",), ("MODEL",), (315, 58)),
    "VAELoader": Node({}, ("vae_name",), ("VAE",), (315, 58)),
}
LOADERS: Final = ("CheckpointLoaderSimple", "DiffusersLoader")
OUTPUTS: Final = ("SaveImage", "PreviewImage")
SINGLE_FILES: Final = (".safetensors", ".sft", ".ckpt", ".pt", ".bin")

# The ids and places of ComfyUI's default workflow, so that the canvas looks like home.
SAMPLER, LOADER, LATENT, POSITIVE, NEGATIVE, DECODE, SAVE, PICK = map(str, range(3, 11))
LAYER, RESCALE, VAE = map(str, range(11, 14))
FIRST_LORA: Final = 20  # the others follow
LORA_PLACE: Final = (26, 620, 166)  # the first one's, and how far the next one is below
PLACES: Final[Mapping[str, tuple[int, int]]] = {
    LOADER: (26, 474),
    LATENT: (473, 609),
    PICK: (473, 765),
    POSITIVE: (415, 186),
    NEGATIVE: (413, 410),
    SAMPLER: (863, 186),
    DECODE: (1209, 188),
    SAVE: (1451, 189),
    LAYER: (26, 360),
    RESCALE: (863, 60),
    VAE: (1209, 520),
}


def slices_like_marble(width: int, height: int) -> bool:
    """Say whether noise drawn picture by picture equals slices of one draw; sizes in pixels."""
    values = LATENT_CHANNELS * (width // LATENT_SCALE) * (height // LATENT_SCALE)
    return values % NOISE_ALIGNMENT == 0


def to_graph(recipe: Recipe) -> Graph:
    """Write a recipe as the graph (API format) that makes the same pictures in ComfyUI."""
    single_file = recipe.checkpoint.lower().endswith(SINGLE_FILES)
    loader = "CheckpointLoaderSimple" if single_file else "DiffusersLoader"
    noise, made, pick = (LATENT, 0), (SAMPLER, 0), {}
    if recipe.picture is not None:
        early = slices_like_marble(recipe.width, recipe.height)
        batch = noise if early else made
        pick[PICK] = _node("LatentFromBatch", samples=batch, batch_index=recipe.picture, length=1)
        noise, made = ((PICK, 0), made) if early else (noise, (PICK, 0))
    loras, model, clip = _with_loras(recipe)
    vae = (VAE, 0) if recipe.vae else (LOADER, 2)
    changes: Graph = dict(loras)
    if recipe.clip_skip:
        changes[LAYER] = _node("CLIPSetLastLayer", stop_at_clip_layer=-recipe.clip_skip, clip=clip)
        clip = (LAYER, 0)
    if recipe.guidance_rescale:
        changes[RESCALE] = _node("RescaleCFG", multiplier=recipe.guidance_rescale, model=model)
        model = (RESCALE, 0)
    if recipe.vae:
        changes[VAE] = _node("VAELoader", vae_name=_file(recipe.vae))
    return {
        LOADER: _node(loader, **{NODES[loader].values[0]: recipe.checkpoint}),
        **changes,
        LATENT: _node(
            "EmptyLatentImage", width=recipe.width, height=recipe.height, batch_size=recipe.count
        ),
        POSITIVE: _node("CLIPTextEncode", text=recipe.prompt, clip=clip),
        NEGATIVE: _node("CLIPTextEncode", text=recipe.negative_prompt, clip=clip),
        **pick,
        SAMPLER: _node(
            "KSampler",
            seed=recipe.seed,
            steps=recipe.steps,
            cfg=recipe.guidance_scale,
            sampler_name=recipe.sampler,
            scheduler=recipe.schedule,
            denoise=1.0,
            model=model,
            positive=(POSITIVE, 0),
            negative=(NEGATIVE, 0),
            latent_image=noise,
        ),
        DECODE: _node("VAEDecode", samples=made, vae=vae),
        SAVE: _node("SaveImage", filename_prefix="marble", images=(DECODE, 0)),
    }


def _with_loras(recipe: Recipe) -> tuple[Graph, tuple[str, int], tuple[str, int]]:
    """Return a loader for each LoRA, one after another, and what the last one gives."""
    nodes: Graph = {}
    model, clip = (LOADER, 0), (LOADER, 1)
    for number, lora in enumerate(recipe.loras, FIRST_LORA):
        unet, text = lora.weights
        nodes[str(number)] = _node(
            "LoraLoader",
            lora_name=_file(lora.name),
            strength_model=unet,
            strength_clip=text,
            model=model,
            clip=clip,
        )
        model, clip = (str(number), 0), (str(number), 1)
    return nodes, model, clip


def _file(name: str) -> str:
    """Return the file that ComfyUI finds by a name of ours."""
    return name if name.lower().endswith(SINGLE_FILES) else f"{name}.safetensors"


def expresses(recipe: Recipe) -> bool:
    """Say whether a graph can hold all of a recipe: words alone, not yet pictures."""
    return not (recipe.inputs or recipe.variations or recipe.upscale)


def to_workflow(recipe: Recipe) -> dict[str, Any]:
    """Write a recipe as the workflow (UI format) that ComfyUI's canvas opens.

    Browsers read numbers as doubles: the canvas rounds a seed above 2^53, the graph keeps it.
    """
    graph = to_graph(recipe)
    links = list(_links(graph))
    nodes = [_placed(order, name, graph[name], links) for order, name in enumerate(graph)]
    last = {"last_node_id": max(map(int, graph)), "last_link_id": len(links)}
    bare: dict[str, Any] = {"groups": [], "config": {}, "extra": {}, "version": 0.4}
    return {**last, "nodes": nodes, "links": links, **bare}


def _node(kind: str, /, **inputs: object) -> dict[str, Any]:
    # JSON has no tuples: links are lists from the start, so that graph == loads(dumps(graph)).
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in inputs.items()}
    return {"class_type": kind, "inputs": plain}


def _links(graph: Graph) -> Iterator[list[Any]]:
    """Number every link: [link, from node, from output, to node, to input, type]."""
    number = 0
    for name, node in graph.items():
        for slot, (link, kind) in enumerate(NODES[node["class_type"]].links.items()):
            source, output = node["inputs"][link]
            number += 1
            yield [number, int(source), output, int(name), slot, kind]


def _placed(order: int, name: str, node: dict[str, Any], links: list[list[Any]]) -> dict[str, Any]:
    """Put a node on the canvas: links by number, values by position."""
    kind, number = NODES[node["class_type"]], int(name)
    incoming = {slot: link for link, _, _, target, slot, _ in links if target == number}
    outgoing = [(output, link) for link, source, output, *_ in links if source == number]
    values = {AFTER_RUN: "fixed"} | node["inputs"]
    if "text" in values:
        values["text"] = _literally(values["text"])
    return {
        "id": number,
        "type": node["class_type"],
        "pos": list(_place(number)),
        "size": list(kind.size),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [
            {"name": link, "type": kind.links[link], "link": incoming[slot]}
            for slot, link in enumerate(kind.links)
        ],
        "outputs": [
            {"name": o, "type": o, "links": [n for s, n in outgoing if s == i], "slot_index": i}
            for i, o in enumerate(kind.outputs)
        ],
        "properties": {"Node name for S&R": node["class_type"]},
        "widgets_values": [values[value] for value in kind.values],
    }


def _place(number: int) -> tuple[int, int]:
    if number < FIRST_LORA:
        return PLACES[str(number)]
    x, y, step = LORA_PLACE
    return x, y + step * (number - FIRST_LORA)


def _literally(text: str) -> str:
    """Write a text so that the canvas, which reads {a|b} and // comments, means it as it is."""
    braces = re.sub(r"(?<!\\)((?:\\\\)*)([{}])", r"\1\\\2", text)
    return re.sub(r"(?<=/)[/*]", r"{\g<0>}", braces)  # a choice of one
