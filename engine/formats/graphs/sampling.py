"""Samplers: a first pass, and a second one on the first one's result."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeGuard

from engine.errors import GraphError, shorten
from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.models import loras
from engine.formats.graphs.node_values import Draft, GraphModel, GraphPrompt, Pass
from engine.formats.graphs.upscaling import finished_upscale
from engine.recipe.limits import RANGES, is_int
from engine.recipe.parts import LATENT
from engine.sentences import Sentence

ON_GPU: Final = "_gpu"  # ends ComfyUI's names of samplers that draw their noise on the GPU


def _sampled(node: Node) -> Draft:
    values = {each: node.numeric(each) for each in ("seed", "steps")}
    return _pass(node, values, node.numeric("denoise"))


def _sampled_in_part(node: Node) -> Draft:
    """Read KSamplerAdvanced where it goes to the end: then it is KSampler by other names."""
    steps, first = (int(node.number(each)) for each in ("steps", "start_at_step"))
    whole = node.number("end_at_step") >= steps
    noise = node.value("add_noise") == "enable"
    if not (whole and noise and 0 <= first < steps):
        raise node.fail(Sentence("graph_part_of_steps"))
    values = {"seed": node.numeric("noise_seed"), "steps": steps - first}
    return _pass(node, values, (steps - first) / steps)


def one_model(files: Iterable[object]) -> str:
    """Return the one file that all parts come from, or raise `GraphError`."""
    found, *others = dict.fromkeys(map(str, files))
    if others:
        raise GraphError(Sentence("graph_several_models"))
    return found


def _pass(node: Node, values: dict[str, Any], strength: Any) -> Draft:
    draft = node.input("latent_image", Draft)
    drawn = _drawn(node, values, draft)
    if draft.drawn is not None:
        return _second(node, draft, draft.drawn, drawn, strength)
    if draft.pending is not None:
        return _detail(node, draft, drawn, strength)
    if draft.image is None and strength != 1:
        raise GraphError(Sentence("graph_no_start"))
    return replace(draft, drawn=drawn, strength=strength if draft.image else None)


def _second(node: Node, draft: Draft, first: Pass, drawn: Pass, strength: Any) -> Draft:
    """Read a second pass, and note each value that differs from the first one's."""
    if draft.upscale is not None:
        raise node.fail(Sentence("graph_third_pass"))
    if draft.picture is not None:
        raise node.fail(Sentence("graph_second_on_picked"))
    if draft.pending is None:
        raise node.fail(Sentence("graph_goes_on"))
    one_model((first.model.file, drawn.model.file))
    if draft.mask and draft.pending.by == LATENT:
        node.note(Sentence("graph_mask_of_second"))
    upscale = finished_upscale(node, draft, strength)
    steps = first.values["steps"]
    share = max(1, round(steps * strength)) if _countable(steps) else steps
    expected = {**first.values, "steps": share}
    if others := [key for key in expected if expected[key] != drawn.values[key]]:
        names = ", ".join(other.replace("_", " ") for other in others)
        node.note(Sentence("graph_own_values", names=names))
    return replace(draft, upscale=upscale, pending=None)


def _detail(node: Node, draft: Draft, drawn: Pass, strength: Any) -> Draft:
    """Read the only pass on an upscaled start image: for Marble it is a second pass."""
    if draft.mask:
        raise node.fail(Sentence("graph_enlarged_mask"))
    upscale = finished_upscale(node, draft, strength)
    steps = drawn.values["steps"]
    if _countable(steps) and upscale.strength:
        steps = max(1, round(steps / upscale.strength))
    values = {**drawn.values, "steps": steps}
    return replace(draft, drawn=replace(drawn, values=values), upscale=upscale, pending=None)


def _drawn(node: Node, values: dict[str, Any], draft: Draft) -> Pass:
    """Gather a sampler's model, prompts and values."""
    model = node.input("model", GraphModel)
    positive, negative = (node.input(each, GraphPrompt) for each in ("positive", "negative"))
    one_model((model.file, positive.encoder.file, negative.encoder.file))
    if positive.encoder != negative.encoder:
        raise node.fail(Sentence("graph_two_encoders"))
    if draft.drawn is None:
        _note_words(node, positive, negative, draft)
    sampler = node.value("sampler_name")
    if isinstance(sampler, str) and sampler.endswith(ON_GPU):
        node.note(Sentence("graph_noise_of_gpu", sampler=shorten(sampler)[1:-1]))
        sampler = sampler.removesuffix(ON_GPU)
    values |= {
        "guidance_scale": node.numeric("cfg"),
        "sampler": sampler,
        "schedule": node.value("scheduler"),
        "prompt": positive.text,
        "negative_prompt": negative.text,
        "controls": positive.controls,
        "loras": loras(node, model, positive.encoder),
        "clip_skip": positive.encoder.skip,
        "guidance_rescale": model.rescale,
        "fit": draft.fit or positive.fit or "crop",
    }
    return Pass(values, model)


def _countable(steps: object) -> TypeGuard[int]:
    """Return whether steps can be reckoned with; what else they may be, the recipe refuses."""
    return is_int(steps) and steps in RANGES["steps"]


def _note_words(node: Node, positive: GraphPrompt, negative: GraphPrompt, draft: Draft) -> None:
    if draft.fit and positive.fit not in (None, draft.fit):
        node.note(Sentence("graph_maps_scaled"))
    if positive.controls != negative.controls and not (positive.both and positive.controls):
        node.note(Sentence("graph_controls_of_one"))
    if any(size != (draft.width, draft.height) for size in positive.sizes | negative.sizes):
        node.note(Sentence("graph_told_sizes"))


SAMPLERS: Final[Mapping[str, Rule]] = {"KSampler": _sampled, "KSamplerAdvanced": _sampled_in_part}
