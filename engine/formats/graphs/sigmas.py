"""Nodes of which SamplerCustomAdvanced is made: noise, samplers, guiders, noise levels."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine.formats.graphs.graph import Node, Rule
from engine.formats.graphs.node_values import (
    GraphGuider,
    GraphModel,
    GraphNoise,
    GraphPrompt,
    GraphSampler,
    GraphSigmas,
)
from engine.recipe.limits import is_int
from engine.sentences import Sentence

MOST: Final = 4096  # steps of Flux2Scheduler
OWN_SCHEDULE: Final = "simple"  # what FLUX.2's noise levels are called, which shift by their number


def _noise(node: Node) -> GraphNoise:
    return GraphNoise(node.numeric("noise_seed"))


def _sampler(node: Node) -> GraphSampler:
    return GraphSampler(node.value("sampler_name"))


def guider(node: Node) -> GraphGuider:
    """Return what guides a sampler or guider that has two prompts."""
    positive, negative = (node.input(each, GraphPrompt) for each in ("positive", "negative"))
    return GraphGuider(node.input("model", GraphModel), positive, negative, node.numeric("cfg"))


def _unguided(node: Node) -> GraphGuider:
    return GraphGuider(node.input("model", GraphModel), node.input("conditioning", GraphPrompt))


def _scheduled(node: Node) -> GraphSigmas:
    steps, strength = node.numeric("steps"), node.numeric("denoise")
    model = node.input("model", GraphModel)
    return GraphSigmas(node.value("scheduler"), steps, strength, model)


def _scheduled_by_size(node: Node) -> GraphSigmas:
    steps, *size = (node.numeric(each) for each in ("steps", "width", "height"))
    return GraphSigmas(OWN_SCHEDULE, steps, size=(size[0], size[1]))


def _from_a_step(node: Node) -> GraphSigmas:
    sigmas = _whole(node)
    return _cut(node, sigmas, sigmas.steps - int(node.number("step")))


def _last_share(node: Node) -> GraphSigmas:
    sigmas, strength = _whole(node), node.number("denoise")
    cut = _cut(node, sigmas, round(sigmas.steps * strength))
    exact = strength > 0 and int(cut.steps / strength) == sigmas.steps
    return replace(cut, strength=strength) if exact else cut


def _cut(node: Node, sigmas: GraphSigmas, steps: int) -> GraphSigmas:
    if not 0 < steps <= sigmas.steps:
        raise node.fail(Sentence("graph_part_of_steps"))
    return replace(sigmas, steps=steps, strength=share(steps, sigmas.steps))


def share(steps: int, total: int) -> float:
    """Return the strength at which `steps` are run of `total`: int(steps / strength) is `total`."""
    strength = steps / total
    return strength if int(steps / strength) == total else math.nextafter(strength, 0)


def _whole(node: Node) -> GraphSigmas:
    """Return the noise levels of which a node's second output takes the last ones."""
    sigmas = node.input("sigmas", GraphSigmas)
    countable = is_int(sigmas.steps) and sigmas.steps <= MOST
    if node.slot != 1 or sigmas.strength != 1 or not countable:
        raise node.fail(Sentence("graph_part_of_steps"))
    return sigmas


SIGMAS: Final[Mapping[str, Rule]] = {
    "RandomNoise": _noise,
    "KSamplerSelect": _sampler,
    "BasicGuider": _unguided,
    "CFGGuider": guider,
    "BasicScheduler": _scheduled,
    "Flux2Scheduler": _scheduled_by_size,
    "SplitSigmas": _from_a_step,
    "SplitSigmasDenoise": _last_share,
}
