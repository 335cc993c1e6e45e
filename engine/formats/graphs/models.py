"""Nodes that load models and change them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.node_values import GraphModel, GraphVae
from engine.formats.graphs.nodes import NODE_KINDS
from engine.recipe.parts import Lora

PARTS: Final = (("model", "strength_model"), ("clip", "strength_clip"))


def _loaded(node: Node) -> GraphModel | GraphVae:
    known = NODE_KINDS[node.kind]
    file = node.value(known.values[0])
    return GraphVae(file=file) if known.outputs[node.slot] == "VAE" else GraphModel(file)


def _with_lora(node: Node) -> GraphModel:
    part, strength = PARTS[node.slot]
    before = node.input(part, GraphModel)
    return replace(before, loras=(*before.loras, (node.name, node.number(strength))))


def _rescaled(node: Node) -> GraphModel:
    multiplier = node.number("multiplier")
    return replace(node.input("model", GraphModel), rescale=multiplier)


def _cut(node: Node) -> GraphModel:
    layer = -node.number("stop_at_clip_layer")
    return replace(node.input("clip", GraphModel), skip=int(layer))


def _other_vae(node: Node) -> GraphVae:
    return GraphVae(name=node.file("vae_name"))


def loras(sampler: Node, model: GraphModel, encoder: GraphModel) -> tuple[Lora, ...]:
    """Return the LoRAs of a U-Net and a text encoder; one that only one of them has weighs 0."""
    unet, text = dict(model.loras), dict(encoder.loras)
    return tuple(
        Lora(
            name=Node(sampler.graph, name).file("lora_name"),
            weight=unet.get(name, 0.0),
            text_weight=text.get(name, 0.0),
        )
        for name in {**unet, **text}
    )


MODELS: Final[Mapping[str, Rule]] = {
    "CheckpointLoaderSimple": _loaded,
    "DiffusersLoader": _loaded,
    "LoraLoader": _with_lora,
    "RescaleCFG": _rescaled,
    "CLIPSetLastLayer": _cut,
    "VAELoader": _other_vae,
}
