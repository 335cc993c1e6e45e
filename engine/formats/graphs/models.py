"""Nodes that load models and change them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.formats.graphs.graph import Link
from engine.formats.graphs.node_values import GraphModel, GraphVae
from engine.formats.graphs.nodes import NODE_KINDS
from engine.formats.graphs.reader import Reader, Rule, file_named
from engine.recipe.parts import Lora


def _loaded(reader: Reader, link: Link) -> GraphModel:
    return GraphModel(_file(reader, link))


def _file(reader: Reader, link: Link) -> object:
    option = NODE_KINDS[reader.graph.kind(link.node)].values[0]
    return reader.graph.value(link.node, option)


def _with_lora(reader: Reader, link: Link) -> GraphModel:
    part, strength = PARTS[link.slot]
    before = reader.input(link.node, part, GraphModel)
    weight = reader.graph.number(link.node, strength)
    return replace(before, loras=(*before.loras, (link.node, weight)))


PARTS: Final = (("model", "strength_model"), ("clip", "strength_clip"))


def _rescaled(reader: Reader, link: Link) -> GraphModel:
    multiplier = reader.graph.number(link.node, "multiplier")
    return replace(reader.input(link.node, "model", GraphModel), rescale=multiplier)


def _cut(reader: Reader, link: Link) -> GraphModel:
    layer = -reader.graph.number(link.node, "stop_at_clip_layer")
    return replace(reader.input(link.node, "clip", GraphModel), skip=int(layer))


def _own_vae(reader: Reader, link: Link) -> GraphVae:
    return GraphVae(file=_file(reader, link))


def _other_vae(reader: Reader, link: Link) -> GraphVae:
    return GraphVae(name=file_named(reader.graph.value(link.node, "vae_name")))


def loras(reader: Reader, model: GraphModel, encoder: GraphModel) -> tuple[Lora, ...]:
    """Return the LoRAs of a U-Net and a text encoder; one that only one of them has weighs 0."""
    unet, text = dict(model.loras), dict(encoder.loras)
    return tuple(
        Lora(
            name=file_named(reader.graph.value(node, "lora_name")),
            weight=unet.get(node, 0.0),
            text_weight=text.get(node, 0.0),
        )
        for node in {**unet, **text}
    )


MODELS: Final[Mapping[str, Rule]] = {
    "CheckpointLoaderSimple": _loaded,
    "DiffusersLoader": _loaded,
    "LoraLoader": _with_lora,
    "RescaleCFG": _rescaled,
}
ENCODERS: Final[Mapping[str, Rule]] = {
    "CheckpointLoaderSimple": _loaded,
    "DiffusersLoader": _loaded,
    "LoraLoader": _with_lora,
    "CLIPSetLastLayer": _cut,
}
VAES: Final[Mapping[str, Rule]] = {
    "CheckpointLoaderSimple": _own_vae,
    "DiffusersLoader": _own_vae,
    "VAELoader": _other_vae,
}
