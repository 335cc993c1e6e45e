"""Nodes that load models and change them."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from engine.errors import GraphError, shorten, some
from engine.formats.graphs.flow_families import (
    FLOW_FAMILIES,
    FLUX_MU,
    TRIPLE,
    family_of,
    is_told,
    is_usual,
)
from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.node_values import GraphModel, GraphShift, GraphVae, as_number
from engine.formats.graphs.nodes import NODE_KINDS
from engine.recipe.parts import Lora
from engine.recipe.patches import FREEU, FREEU_2, PERTURBED, READINGS, Patch
from engine.sentences import Sentence

LARGEST_MU: Final = 100  # above any that means something, and of which e^μ is a number
# ComfyUI's own configs, without what they say of numbers, and the layer of CLIP that each reads.
CONFIGS: Final[Mapping[str, int | None]] = {
    "anything_v3": 2,
    "v1-inference": None,
    "v1-inference_clip_skip_2": 2,
    "v1-inpainting-inference": None,
    "v2-inference": None,
    "v2-inpainting-inference": None,
}
CONFIG_ENDING: Final = re.compile(r"(_fp16|_fp32)?\.yaml$")
# Nodes that patch a U-Net, by the patches that do so in Marble.
PATCHING: Final = {
    FREEU: "FreeU",
    FREEU_2: "FreeU_V2",
    PERTURBED: "PerturbedAttentionGuidance",
    **dict.fromkeys(READINGS, "ModelSamplingDiscrete"),
}
PARTS: Final = (("model", "strength_model"), ("clip", "strength_clip"))


def _loaded(node: Node) -> GraphModel | GraphVae:
    known = NODE_KINDS[node.kind]
    file = node.value(known.values[-1])
    return GraphVae(file=file) if known.outputs[node.slot] == "VAE" else GraphModel(file)


def _configured(node: Node) -> GraphModel | GraphVae:
    """Read CheckpointLoader, which is told what kind of model a file holds."""
    name, loaded = str(node.value("config_name")), _loaded(node)
    config = CONFIG_ENDING.sub("", name)
    if config not in CONFIGS:
        node.note(Sentence("graph_config", config=shorten(name)))
    text = NODE_KINDS[node.kind].outputs[node.slot] == "CLIP"
    if not text or not isinstance(loaded, GraphModel):
        return loaded
    return replace(loaded, skip=CONFIGS.get(config))


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


def _network(node: Node) -> GraphModel:
    return GraphModel(node.value("unet_name"), apart=True)


def _encoders(node: Node) -> GraphModel:
    """Read a node that loads text encoders alone, from one file or from several."""
    names = [name for name in NODE_KINDS[node.kind].values if name.startswith("clip_name")]
    files = tuple(node.file(name) for name in names)
    if others := [file for file in files if not is_usual(file)]:
        node.note(Sentence("graph_own_encoder", files=some([shorten(f)[1:-1] for f in others])))
    kind = str(node.inputs.get("type", FLOW_FAMILIES[TRIPLE].type))
    family = family_of(kind, files)
    return GraphModel(None, apart=True, family=family, told=is_told(family, files))


def _padded(node: Node) -> GraphModel:
    encoder = node.input("clip", GraphModel)
    if encoder.family != "chroma":  # whose makers pad as this node is used for
        node.note(Sentence("graph_padding"))
    return encoder


def _shifted(node: Node) -> GraphModel:
    return replace(node.input("model", GraphModel), shift=GraphShift(node.number("shift")))


def _shifted_by_size(node: Node) -> GraphModel:
    """Read ModelSamplingFlux: μ is linear in image tokens, of 16 × 16 pixels, and the shift e^μ."""
    high, low, width, height = (node.number(each) for each in NODE_KINDS[node.kind].values)
    mu = low + (high - low) * (width * height / 256 - 256) / (4096 - 256)
    if not abs(mu) < LARGEST_MU:
        raise node.fail(Sentence("graph_shift"))
    size = (width, height) if (high, low) == FLUX_MU else None
    return replace(node.input("model", GraphModel), shift=GraphShift(math.exp(mu), size))


def _patched(node: Node) -> GraphModel:
    kind = next(kind for kind, name in PATCHING.items() if name == node.kind)
    values = (node.value(each) for each in NODE_KINDS[node.kind].values)
    numbers = (value if (number := as_number(value)) is None else number for value in values)
    return _with_patch(node, kind, *numbers)


def _read_otherwise(node: Node) -> GraphModel:
    kind = node.value("sampling")
    if kind not in READINGS:
        return _changed(node)
    return _with_patch(node, kind, float(node.value("zsnr") is True))


def _with_patch(node: Node, kind: str, *numbers: Any) -> GraphModel:
    model, patch = node.input("model", GraphModel), node.part(Patch, kind=kind, numbers=numbers)
    return replace(model, patches=(*model.patches, patch)) if patch else model


def _changed(node: Node) -> GraphModel:
    """Read a node that changes guidance or masks in a way that Marble has not."""
    node.note(Sentence("graph_unchanged"))
    return node.input("model", GraphModel)


def loras(sampler: Node, model: GraphModel, encoder: GraphModel) -> tuple[Lora, ...]:
    """Return the LoRAs of a U-Net and a text encoder; one that only one of them has weighs 0."""
    unet, text = dict(model.loras), dict(encoder.loras)
    found = []
    for name in {**unet, **text}:
        node, weights = Node(sampler.graph, name), (unet.get(name, 0.0), text.get(name, 0.0))
        file, (weight, text_weight) = node.file("lora_name"), weights
        found.append(node.part(Lora, name=file, weight=weight, text_weight=text_weight))
    return tuple(filter(None, found))


def one_model(files: Iterable[object]) -> str:
    """Return the one file that all parts come from, or raise `GraphError`.

    None is the file of text encoders or a VAE that lie apart.
    """
    found, *others = dict.fromkeys(str(file) for file in files if file is not None)
    if others:
        raise GraphError(Sentence("graph_several_models"))
    return found


MODELS: Final[Mapping[str, Rule]] = {
    "CheckpointLoaderSimple": _loaded,
    "CheckpointLoader": _configured,
    "DiffusersLoader": _loaded,
    **dict.fromkeys(("UNETLoader", "UnetLoaderGGUF"), _network),
    **dict.fromkeys(("CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader"), _encoders),
    **dict.fromkeys(("CLIPLoaderGGUF", "DualCLIPLoaderGGUF", "TripleCLIPLoaderGGUF"), _encoders),
    "T5TokenizerOptions": _padded,
    "ModelSamplingSD3": _shifted,
    "ModelSamplingAuraFlow": _shifted,
    "ModelSamplingFlux": _shifted_by_size,
    **dict.fromkeys(("CFGNorm", "CFGZeroStar"), _changed),
    **dict.fromkeys(("DifferentialDiffusion", "SkipLayerGuidanceSD3"), _changed),
    **dict.fromkeys(("SelfAttentionGuidance", "HyperTile", "TomePatchModel"), _changed),
    **dict.fromkeys(("PatchModelAddDownscale", "ModelSamplingContinuousEDM"), _changed),
    "Automatic CFG": _changed,
    **dict.fromkeys(("FreeU", "FreeU_V2", "PerturbedAttentionGuidance"), _patched),
    "ModelSamplingDiscrete": _read_otherwise,
    "LoraLoader": _with_lora,
    "LoraLoaderModelOnly": _with_lora,
    "RescaleCFG": _rescaled,
    "CLIPSetLastLayer": _cut,
    "VAELoader": _other_vae,
}
