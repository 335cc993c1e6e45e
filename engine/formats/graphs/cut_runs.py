"""Samplers that go on where others stopped: as one run, or with a second model."""

from dataclasses import replace
from typing import Any, Final

from engine.errors import shorten
from engine.formats.graphs.graph import Node
from engine.formats.graphs.models import loras, one_model
from engine.formats.graphs.node_values import Draft, GraphGuider, GraphPrompt, Pass, Unfinished
from engine.recipe.limits import (
    ANCESTRAL,
    ANEW,
    BROWNIAN,
    BY_STEPS,
    NEGATIVE_SCORE,
    SCORE,
)
from engine.sentences import Sentence

# Samplers whose steps depend on no step before: a run that is cut in two is the same.
FORGETTING: Final = ("euler", "heun", "dpm_2", "ddim")


def continued(node: Node, draft: Draft, part: Unfinished, first: int) -> Draft:
    """Return a draft on which a sampler goes on, as one run of both would: the same draft."""
    before = draft.unfinished
    assert before is not None
    if draft.mask or draft.margins:  # around which ComfyUI keeps the noise, too
        raise node.fail(Sentence("graph_goes_on_masked"))
    if part.guided.model.file != before.guided.model.file:
        return _taken_over(node, draft, before, part, first)
    if replace(part, step=first) != before:
        raise node.fail(Sentence("graph_goes_on_otherwise"))
    if (sampler := part.values["sampler"]) not in FORGETTING:
        node.note(Sentence("graph_in_one_run", sampler=shorten(sampler)[1:-1]))
    return draft


def _taken_over(node: Node, draft: Draft, before: Unfinished, part: Unfinished, at: int) -> Draft:
    """Return a draft that another model finishes; what it does otherwise than the first is noted.

    at: the step of the whole schedule from which it goes on.
    """
    drawn, guided = draft.drawn, part.guided
    if drawn is None or draft.upscale is not None or "refiner" in drawn.values:
        raise node.fail(Sentence("graph_goes_on_with_another"))
    if replace(part, step=at, guided=before.guided) != before:
        raise node.fail(Sentence("graph_goes_on_otherwise"))
    negative = guided.negative or replace(guided.positive, text="", zero=True)
    name = one_model((guided.model.file, guided.positive.encoder.file, negative.encoder.file))
    _note_differences(node, draft, drawn, guided, negative)
    steps = drawn.values["steps"]
    values = {
        **scores(guided.positive, negative),
        "refiner": name,
        "refiner_at": (at - part.steps + steps) / steps,
        "refiner_by": BY_STEPS if part.values["sampler"] in FORGETTING else ANEW,
    }
    # A start image was encoded by the first model's own VAE; the second one's may decode.
    vae = draft.vae if draft.vae is not None and draft.vae.name is not None else None
    return replace(draft, drawn=drawn.with_values(**values), vae=vae)


def scores(positive: GraphPrompt, negative: GraphPrompt) -> dict[str, Any]:
    """Return the scores that SDXL's refiner is told, where a graph says them."""
    given = positive.score, None if negative.zero else negative.score
    if given == (None, None):
        return {}
    usual = SCORE, NEGATIVE_SCORE
    both = (mine if its is None else its for its, mine in zip(given, usual, strict=True))
    return dict(zip(("aesthetic_score", "negative_aesthetic_score"), both, strict=True))


def _note_differences(
    node: Node, draft: Draft, drawn: Pass, guided: GraphGuider, negative: GraphPrompt
) -> None:
    first, positive = drawn.values, guided.positive
    its = {
        "prompt": positive.text,
        "negative_prompt": negative.text,
        "guidance_scale": guided.cfg,
        "guidance_rescale": guided.model.rescale,
    }
    if first["sampler"] in (*ANCESTRAL, *BROWNIAN) and "noise_seed" in node.inputs:
        its["seed"] = node.numeric("noise_seed")
    if others := [name.replace("_", " ") for name in its if its[name] != first[name]]:
        node.note(Sentence("graph_own_in_second", names=", ".join(others)))
    made_for_it = {
        "loras": loras(node, guided.model, positive.encoder),
        "clip_skip": positive.encoder.skip,
        "controls": positive.controls,
        "patches": guided.model.patches,
    }
    # SDXL's refiner takes none of the first model's.
    of_refiner = positive.score is not None and not any(made_for_it.values())
    if not of_refiner and any(made_for_it[name] != first[name] for name in made_for_it):
        node.note(Sentence("graph_made_for_first"))
    size = draft.width, draft.height
    if None not in size and (positive.sizes | negative.sizes) - {size}:
        node.note(Sentence("graph_told_sizes"))
