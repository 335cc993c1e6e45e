"""Samplers: a first pass, and a second one on the first one's result."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeGuard

from engine.errors import GraphError, shorten
from engine.formats.graphs.areas import areas_of, with_words_first
from engine.formats.graphs.cut_runs import continued, scores
from engine.formats.graphs.flow_families import FLOW_FAMILIES, GUIDANCE, LUMINA2, MU
from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.latents import start_image
from engine.formats.graphs.models import loras, one_model
from engine.formats.graphs.node_values import (
    Draft,
    GraphGuider,
    GraphNoise,
    GraphPlace,
    GraphPrompt,
    GraphSampler,
    GraphSigmas,
    Pass,
    Unfinished,
)
from engine.formats.graphs.nodes import NOISE
from engine.formats.graphs.pictures import finished
from engine.formats.graphs.sigmas import guider, share
from engine.formats.graphs.upscaling import finished_upscale
from engine.models.families import BY_KEY
from engine.recipe.limits import ANCESTRAL, BROWNIAN, CFG_PP, CPU, GPU, LARGEST, RANGES, is_int
from engine.recipe.parts import LATENT, Upscale
from engine.sentences import Sentence

# Samplers for which KSampler, and Marble, leave out the last but one noise level.
DROPPING: Final = ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2")
# Pixels at which FLUX.1-dev's shift is what ComfyUI takes for all sizes, and how far from there it
# is less than 5 % away.
FLUX_PIXELS: Final = (1024 * 1024, 72 * 1024)
ON_GPU: Final = "_gpu"  # ends ComfyUI's names of solvers of SDEs that draw their noise on a GPU


def _sampled(node: Node) -> Draft:
    values = {each: node.numeric(each) for each in ("seed", "steps")}
    return _pass(node, guider(node), values | _named(node), node.numeric("denoise"))


def _sampled_in_part(node: Node) -> Draft:
    """Read KSamplerAdvanced: KSampler by other names, or a part of one, which others finish."""
    steps, first = (int(node.number(each)) for each in ("steps", "start_at_step"))
    last = min(int(node.number("end_at_step")), steps)
    noise = node.value("add_noise") == "enable"
    left = last == steps or node.value("return_with_leftover_noise") == "enable"
    draft = node.input("latent_image", Draft)
    going_on = draft.unfinished is not None and not noise
    if not (left and 0 <= first < last and (noise or going_on)):
        raise node.fail(Sentence("graph_part_of_steps"))
    part = Unfinished(last, steps, guider(node), _named(node))
    if going_on:
        draft = continued(node, draft, part, first)
    else:
        values = {"seed": node.numeric("noise_seed"), "steps": steps - first, **part.values}
        draft = _pass(node, part.guided, values, share(steps - first, steps))
    return replace(draft, unfinished=part if last < steps else None)


def _named(node: Node) -> dict[str, Any]:
    return {"sampler": node.value("sampler_name"), "schedule": node.value("scheduler")}


def _custom(node: Node) -> Draft:
    """Read SamplerCustom, which has its guider's inputs, and its noise's."""
    seed = node.numeric("noise_seed") if node.value("add_noise") is True else None
    return _by_sigmas(node, guider(node), seed)


def _advanced(node: Node) -> Draft:
    guided, noise = node.input("guider", GraphGuider), node.input("noise", GraphNoise)
    return _by_sigmas(node, guided, noise.seed)


def _by_sigmas(node: Node, guided: GraphGuider, seed: Any) -> Draft:
    sampler = node.input("sampler", GraphSampler).name
    sigmas = node.input("sigmas", GraphSigmas)
    if sigmas.of_sd and guided.positive.encoder.family is not None:
        raise node.link("sigmas").fail(Sentence("graph_levels_of_sd"))
    if sampler in DROPPING:
        node.note(Sentence("graph_all_levels", sampler=shorten(sampler)[1:-1]))
    values = {"sampler": sampler, "schedule": sigmas.schedule}
    first = {"seed": seed, "steps": sigmas.steps, **values}
    if seed is not None and sigmas.until is None:
        return _pass(node, guided, first, sigmas.strength, sigmas)
    if not (_countable(sigmas.steps) and sigmas.strength in RANGES["strength"]):
        raise node.fail(Sentence("graph_part_of_steps"))
    steps = int(sigmas.steps / sigmas.strength)
    last = steps if sigmas.until is None else sigmas.until
    levels = replace(sigmas, steps=steps, strength=1, until=None)
    part = Unfinished(last, steps, guided, {**values, "levels": levels})
    draft = node.input("latent_image", Draft)
    if seed is None and draft.unfinished is not None:
        draft = continued(node, draft, part, steps - sigmas.steps)
    elif seed is not None and last > 0:
        draft = _pass(node, guided, first, sigmas.strength, sigmas)
    else:
        raise node.fail(Sentence("graph_part_of_steps"))
    if last < steps and node.slot:  # the other output is a guess at the end
        raise node.fail(Sentence("graph_part_of_steps"))
    return replace(draft, unfinished=part if last < steps else None)


def _pass(
    node: Node,
    guided: GraphGuider,
    values: dict[str, Any],
    strength: Any,
    sigmas: GraphSigmas | None = None,
) -> Draft:
    draft = finished(node, "latent_image")
    if guided.positive.references and strength == 1 and _is_plain(draft):
        draft = replace(draft, image=None, fit=None, filters=())  # all noise: it gives its size
    draft = start_image(node, draft)
    sigmas = sigmas or GraphSigmas(values["schedule"], values["steps"], strength, guided.model)
    drawn = _drawn(node, guided, values, draft)
    if draft.drawn is not None:
        return _second(node, draft, draft.drawn, drawn, sigmas)
    if draft.pending is not None:
        return _detail(node, draft, drawn, sigmas)
    if draft.image is None and strength != 1:
        raise GraphError(Sentence("graph_no_start"))
    shift = _shift(node, guided, sigmas, (draft.width, draft.height))
    drawn = drawn.with_values(shift=shift)
    return replace(draft, drawn=drawn, strength=strength if draft.image else None)


def _is_plain(draft: Draft) -> bool:
    """Return whether latents are a start image's as it is."""
    return draft.encoded is not None and not any(
        (draft.drawn, draft.pending, draft.mask, draft.margins)
    )


def _second(node: Node, draft: Draft, first: Pass, drawn: Pass, sigmas: GraphSigmas) -> Draft:
    """Read a second pass, and note each value that differs from the first one's."""
    strength = sigmas.strength
    if draft.upscale is not None:
        raise node.fail(Sentence("graph_third_pass"))
    if draft.picture is not None:
        raise node.fail(Sentence("graph_second_on_picked"))
    if draft.pending is None:
        raise node.fail(Sentence("graph_goes_on"))
    one_model((first.values.get("refiner", first.model.file), drawn.model.file))
    if (draft.mask or draft.margins) and draft.pending.by == LATENT:
        node.note(Sentence("graph_mask_of_second"))
    upscale = finished_upscale(node, draft, strength)
    drawn = drawn.with_values(shift=_shift(node, drawn.guided, sigmas, _large(upscale, draft)))
    if any(part.place.box and not part.place.of_picture for part in drawn.guided.positive.parts):
        node.note(Sentence("graph_areas_scaled"))
    steps = first.values["steps"]
    left = max(1, round(steps * strength)) if _countable(steps) else steps
    expected = {**first.values, "steps": left}
    given = drawn.values  # a second model is for the first pass
    if others := [key for key in expected if key in given and expected[key] != given[key]]:
        names = ", ".join(other.replace("_", " ") for other in others)
        node.note(Sentence("graph_own_values", names=names))
    return replace(draft, upscale=upscale, pending=None)


def _detail(node: Node, draft: Draft, drawn: Pass, sigmas: GraphSigmas) -> Draft:
    """Read the only pass on an upscaled start image: for Marble it is a second pass."""
    if draft.mask or draft.margins:
        raise node.fail(Sentence("graph_enlarged_mask"))
    upscale = finished_upscale(node, draft, sigmas.strength)
    shift = _shift(node, drawn.guided, sigmas, _large(upscale, draft))
    steps = drawn.values["steps"]
    if _countable(steps) and upscale.strength:
        steps = max(1, round(steps / upscale.strength))
    drawn = drawn.with_values(steps=steps, shift=shift)
    return replace(draft, drawn=drawn, upscale=upscale, pending=None)


def _large(upscale: Upscale, draft: Draft) -> tuple[Any, Any]:
    """Return the size of a second pass; what the sides may be, the recipe says."""
    sides = draft.width, draft.height
    whole = all(is_int(side) and 0 < side < LARGEST for side in sides)
    return upscale.size(*sides) if whole else sides


def _drawn(node: Node, guided: GraphGuider, values: dict[str, Any], draft: Draft) -> Pass:
    """Gather a sampler's model, prompts and values."""
    model, positive = guided.model, with_words_first(guided.positive)
    empty = replace(positive, text="", zero=True, place=GraphPlace(), beside=())
    negative = with_words_first(guided.negative) if guided.negative else empty
    one_model((model.file, positive.encoder.file, negative.encoder.file))
    if positive.encoder != negative.encoder and not negative.zero:
        raise node.fail(Sentence("graph_two_encoders"))
    system = BY_KEY[LUMINA2].system_prompt
    positive = positive.with_parts(
        replace(part, text=part.text.removeprefix(system))
        if number and isinstance(part.text, str)
        else part
        for number, part in enumerate(positive.parts)
    )
    if draft.drawn is None:
        _note_words(node, positive, negative, draft)
        _note_guidance(node, replace(guided, negative=guided.negative and negative))
        boxed = any(part.place.box or part.place.bounds for part in positive.parts)
        if positive.controls and boxed:
            node.note(Sentence("graph_controls_of_whole"))
    sampler = values["sampler"]
    noise = _noise(node, sampler)
    if isinstance(sampler, str) and sampler.removesuffix(ON_GPU) in BROWNIAN:
        sampler = sampler.removesuffix(ON_GPU)
    guidance, size = _told(guided), (draft.width, draft.height)
    one = guided.cfg == 1 and sampler not in CFG_PP  # which read the negative prompt at 1, too
    unguided = guidance is not None or (model.apart and one)
    values |= {
        "guidance_scale": guided.cfg if guidance is None else guidance,
        "sampler": sampler,
        "noise": noise,
        "prompt": _own_words(node, positive, draft),
        "negative_prompt": "" if unguided else negative.text,
        "areas": (
            *areas_of(node, positive, size, negative=False),
            *(() if unguided else areas_of(node, negative, size, negative=True)),
        ),
        "controls": positive.controls,
        "references": positive.references,
        "loras": loras(node, model, positive.encoder),
        "clip_skip": positive.encoder.skip,
        "guidance_rescale": model.rescale,
        "patches": model.patches,
        "fit": draft.fit or positive.fit or "crop",
        **scores(positive, negative),
    }
    return Pass(values, model, guided)


def _noise(node: Node, sampler: Any) -> Any:
    """Return whose numbers a sampler adds: a GPU's, on which nearly every ComfyUI runs.

    Solvers of SDEs take a processor's there, too, but under names of their own. What Marble wrote
    says itself where it is otherwise.
    """
    noise = usual_noise(sampler)
    meta = node.graph.nodes[node.name].get("_meta")
    return meta.get(NOISE, noise) if isinstance(meta, Mapping) else noise


def usual_noise(sampler: object) -> str:
    """Return whose numbers a sampler of ComfyUI, by its name there, adds on a GPU."""
    return GPU if sampler in (*ANCESTRAL, *(name + ON_GPU for name in BROWNIAN)) else CPU


def _own_words(node: Node, words: GraphPrompt, draft: Draft) -> Any:
    """Return a prompt without the system prompt that its family puts before it."""
    family = words.encoder.family
    system = BY_KEY[LUMINA2].system_prompt
    if family not in (LUMINA2, None) or not isinstance(words.text, str):
        return words.text
    if family and draft.drawn is None and not words.text.startswith(system):
        node.note(Sentence("graph_system_prompt"))
    return words.text.removeprefix(system)


def _told(guided: GraphGuider) -> Any:
    """Return the guidance that a network is told, None where two predictions make it."""
    words = guided.positive
    if not words.encoder.told:
        return None
    if words.guidance is None and words.encoder.apart and guided.cfg == 1:
        return GUIDANCE
    return words.guidance


def _note_guidance(node: Node, guided: GraphGuider) -> None:
    words, negative = guided.positive, guided.negative
    told = _told(guided)
    if told is not None and guided.cfg != 1:
        node.note(Sentence("graph_two_guidances", guidance=shorten(told)))
    if told is None and words.guidance is not None:
        node.note(Sentence("graph_not_told", guidance=shorten(words.guidance)))
    if negative and told is None and guided.cfg != 1:
        if negative.references != words.references:
            node.note(Sentence("graph_references_of_one"))
        if negative.zero:
            node.note(Sentence("graph_zeros"))


def _shift(
    node: Node, guided: GraphGuider, sigmas: GraphSigmas, size: tuple[Any, Any]
) -> float | None:
    """Return how far noise levels are shifted, None where the model's family does it so itself.

    size: of the pictures of a pass.
    """
    family = guided.positive.encoder.family
    if sigmas.of_sd:
        return None
    if sigmas.model is None:
        if sigmas.size != size:
            node.note(Sentence("graph_levels_of_size"))
        return None
    usual = FLOW_FAMILIES[family].shift if family else None
    given = sigmas.model.shift
    if given is None:
        # Without guidance, or at the scale that we write for it, it may be schnell, which is never
        # shifted.
        if family == "flux" and guided.positive.guidance not in (None, 1) and _is_far(size):
            node.note(Sentence("graph_shifted_by_size", shift=f"{math.exp(MU):.3g}"))
        return usual if family == "flux2" else None
    if given.size == size:
        return None
    same = usual is not None and family != "flux2" and math.isclose(given.shift, usual)
    return None if same else given.shift


def _is_far(size: tuple[Any, Any]) -> bool:
    pixels, near = FLUX_PIXELS
    return all(map(is_int, size)) and abs(size[0] * size[1] - pixels) > near


def _countable(steps: object) -> TypeGuard[int]:
    """Return whether steps can be reckoned with; what else they may be, the recipe refuses."""
    return is_int(steps) and steps in RANGES["steps"]


def _note_words(node: Node, positive: GraphPrompt, negative: GraphPrompt, draft: Draft) -> None:
    if draft.fit and positive.fit not in (None, draft.fit):
        node.note(Sentence("graph_maps_scaled"))
    if positive.controls != negative.controls and not (positive.both and positive.controls):
        node.note(Sentence("graph_controls_of_one"))
    sizes, size = positive.sizes | negative.sizes, (draft.width, draft.height)
    if None not in size and sizes - {size}:
        node.note(Sentence("graph_told_sizes"))


SAMPLERS: Final[Mapping[str, Rule]] = {
    "KSampler": _sampled,
    "KSamplerAdvanced": _sampled_in_part,
    "SamplerCustom": _custom,
    "SamplerCustomAdvanced": _advanced,
}
