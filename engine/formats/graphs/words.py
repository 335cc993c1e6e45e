"""Nodes that encode prompts, join them, and add ControlNets, guidance and pictures to them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from engine.errors import GraphError, shorten
from engine.formats.graphs.flow_families import LUMINA2
from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.latents import encoded, masked
from engine.formats.graphs.node_values import Draft, GraphModel, GraphPart, GraphPrompt, GraphVae
from engine.formats.graphs.nodes import NODE_KINDS
from engine.models.families import BY_KEY
from engine.recipe.parts import CANNY, Control
from engine.sentences import Sentence

BREAK: Final = " BREAK "
A_WORD: Final = re.compile(r"\bBREAK\b")
A_WORD_SO: Final = "break"
LINES: Final = "\n"
LONGEST: Final = 100_000  # characters: texts that are joined with themselves double each time
BOTH: Final = ("positive", "negative")
ENCODERS: Final = ("t5xxl", "clip_g", "clip_l")
APART: Final = ("uxo/uno", "uso")  # where references stand that need a LoRA of their own
EDGES: Final = "Canny"
THRESHOLDS: Final = " and ".join(f"{each / 255:.2g}" for each in CANNY)  # of the gradient, 0 … 1
SIZES: Final = (("width", "height"), ("target_width", "target_height"))
# By what ComfyUI calls them; Marble puts the first before prompts by itself.
SYSTEM_PROMPTS: Final = {
    "superior": BY_KEY[LUMINA2].system_prompt,
    "alignment": "You are an assistant designed to generate high-quality images with the highest "
    "degree of image-text alignment based on textual prompts. <Prompt Start> ",
}


def _text(node: Node) -> GraphPrompt:
    # What the text must be, the recipe says.
    encoder = node.input("clip", GraphModel)
    return GraphPrompt(_plain(node.value("text"), encoder), encoder)


def _plain(text: Any, encoder: GraphModel) -> Any:
    """Return a text for CLIP in which BREAK is the word that it is to ComfyUI.

    To Marble it begins a window of tokens, which other encoders do not have. CLIP reads small
    letters alone, so that in these the word is the same.
    """
    parts = encoder.family is None and isinstance(text, str)
    return A_WORD.sub(A_WORD_SO, text) if parts else text


def _both_texts(node: Node) -> GraphPrompt:
    """Read SDXL's node, which has a text for each of the two encoders, and sizes to tell them."""
    encoder = node.input("clip", GraphModel)
    text = _plain(str(node.value("text_g")), encoder)
    if _plain(node.value("text_l"), encoder) not in (text, ""):
        node.note(Sentence("graph_text_l"))
    if any(node.number(each) for each in ("crop_w", "crop_h")):
        node.note(Sentence("graph_crop"))
    sizes = frozenset((node.number(width), node.number(height)) for width, height in SIZES)
    return GraphPrompt(text, encoder, sizes=sizes)


def _scored_text(node: Node) -> GraphPrompt:
    """Read the node of SDXL's refiner, which is told a score of beauty and a size."""
    encoder = node.input("clip", GraphModel)
    size = node.number("width"), node.number("height")
    text = _plain(node.value("text"), encoder)
    return GraphPrompt(text, encoder, sizes=frozenset((size,)), score=node.numeric("ascore"))


def _several_texts(node: Node) -> GraphPrompt:
    """Read FLUX's and SD3's nodes, which have a text for each encoder; T5's says most."""
    texts = {name: str(node.value(name)) for name in ENCODERS if name in node.inputs}
    taken = next((name for name in ENCODERS if texts.get(name)), ENCODERS[0])
    text = texts.get(taken, "")
    if others := [name for name in texts if texts[name] not in (text, "")]:
        node.note(Sentence("graph_one_text", names=", ".join(others), taken=taken))
    guidance = node.numeric("guidance") if "guidance" in node.inputs else None
    return GraphPrompt(text, node.input("clip", GraphModel), guidance=guidance)


def _instructed(node: Node) -> GraphPrompt:
    """Read Lumina 2's node, which puts one of two system prompts before a text."""
    begin = SYSTEM_PROMPTS.get(str(node.value("system_prompt")), "")
    text = f"{begin}{node.value('user_prompt')}"
    return GraphPrompt(text, node.input("clip", GraphModel))


def _edited(node: Node) -> GraphPrompt:
    """Read Qwen-Image-Edit's nodes: a text, and the pictures that it is about."""
    links = NODE_KINDS[node.kind].links  # of which each of the two kinds has its own
    images = [name for name in links if links[name] == "IMAGE" and name in node.inputs]
    found = tuple(_reference(node, node.input(name, Draft)) for name in images)
    node.given("vae", GraphVae)  # without one, they are only looked at
    return GraphPrompt(node.value("prompt"), node.input("clip", GraphModel), references=found)


def _with_reference(node: Node) -> GraphPrompt:
    words, latents = node.input("conditioning", GraphPrompt), node.given("latent", Draft)
    if latents is None:
        return words
    found = (*words.references, _reference(node, latents))
    # Qwen-Image-Edit's nodes may have been given it, too: to look at, at another size.
    return replace(words, references=tuple(dict.fromkeys(found)))


def _reference(node: Node, draft: Draft) -> str:
    if draft.drawn is not None or draft.image is None or draft.margins is not None:
        raise node.fail(Sentence("graph_edits_unloaded"))
    return draft.image


def _with_guidance(node: Node) -> GraphPrompt:
    return replace(node.input("conditioning", GraphPrompt), guidance=node.numeric("guidance"))


def _zeroed(node: Node) -> GraphPrompt:
    words = node.input("conditioning", GraphPrompt)
    return words.with_parts(replace(part, text="", zero=True) for part in words.parts)


def _placed(node: Node) -> GraphPrompt:
    if (method := node.value("reference_latents_method")) in APART:
        node.note(Sentence("graph_reference_method", method=shorten(method)))
    return node.input("conditioning", GraphPrompt)


def _inpainted(node: Node) -> GraphPrompt | Draft:
    """Read what fill models are told: the prompts, and the picture without what is to be drawn."""
    if NODE_KINDS[node.kind].outputs[node.slot] == "LATENT":
        if not node.value("noise_mask"):
            node.note(Sentence("graph_kept"))
        return masked(node, encoded(node))
    return node.input(BOTH[node.slot], GraphPrompt)


def _concatenated(node: Node) -> GraphPrompt:
    """Read the node that lays a text behind each of another prompt's."""
    first, second = (node.input(f"conditioning_{name}", GraphPrompt) for name in ("to", "from"))
    if first.zero or second.zero:
        return second if first.zero else first
    flow = first.encoder.family is not None  # no windows of tokens, which BREAK would part
    if first.encoder != second.encoder:
        raise node.fail(Sentence("graph_joins_encoders"))
    if first.controls != second.controls:
        node.note(Sentence("graph_controls_of_text"))
    if flow:
        node.note(Sentence("graph_read_as_one"))

    def joined(part: GraphPart) -> GraphPart:
        text = (LINES if flow else BREAK).join(map(str, (part.text, second.text)))
        if len(text) > LONGEST:
            raise GraphError(Sentence("graph_long_text", most=LONGEST))
        return replace(part, text=text)

    return replace(
        first.with_parts(map(joined, first.parts)),
        controls=max(first.controls, second.controls, key=len),
        references=tuple(dict.fromkeys((*first.references, *second.references))),
    )


def _controlled(node: Node) -> GraphPrompt:
    return _with_control(node, node.input("conditioning", GraphPrompt))


def _controlled_for_a_while(node: Node) -> GraphPrompt:
    words = node.input(BOTH[node.slot], GraphPrompt)
    start, end = node.number("start_percent"), node.number("end_percent")
    if (start, end) != (0, 1):
        node.note(Sentence("graph_percent"))
    return replace(_with_control(node, words, start=start, end=end), both=False)


def _with_control(node: Node, words: GraphPrompt, **when: Any) -> GraphPrompt:
    """Add a control to a prompt, with the picture that its node loads as ControlNet image."""
    source = node.link("image")
    edges = source.kind == EDGES
    image = (source if edges else node).input("image", Draft)
    if edges:
        source.note(Sentence("graph_edges", thresholds=THRESHOLDS))
    if image.drawn is not None or image.image is None or image.pending:
        raise node.fail(Sentence("graph_map_not_loaded"))
    control = node.part(
        Control,
        model=node.link("control_net").file("control_net_name"),
        image=image.image,
        strength=node.number("strength"),
        preprocessor="canny" if edges else "none",
        **when,
    )
    if control is None:
        return words
    return replace(words, controls=(*words.controls, control), fit=image.fit or words.fit)


WORDS: Final[Mapping[str, Rule]] = {
    "CLIPTextEncode": _text,
    "CLIPTextEncodeSDXL": _both_texts,
    "CLIPTextEncodeSDXLRefiner": _scored_text,
    "CLIPTextEncodeFlux": _several_texts,
    "CLIPTextEncodeSD3": _several_texts,
    "CLIPTextEncodeLumina2": _instructed,
    "TextEncodeQwenImageEdit": _edited,
    "TextEncodeQwenImageEditPlus": _edited,
    "ConditioningZeroOut": _zeroed,
    "FluxGuidance": _with_guidance,
    "ReferenceLatent": _with_reference,
    "FluxKontextMultiReferenceLatentMethod": _placed,
    "InpaintModelConditioning": _inpainted,
    "ConditioningConcat": _concatenated,
    "ControlNetApply": _controlled,
    "ControlNetApplyAdvanced": _controlled_for_a_while,
}
