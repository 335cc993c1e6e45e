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
TURBO: Final = 10  # noise levels of SDTurboScheduler
BETA: Final = 0.6  # both shapes of the distribution of `beta`
# The ends of Stable Diffusion's noise levels, and how near to them a number may be.
ENDS: Final = {"sigma_max": 14.614642, "sigma_min": 0.0291675}
NEAR: Final = 1e-3
# Schedules by the nodes that space them, and the power by which: ρ.
BETWEEN: Final[Mapping[str, tuple[str, float | None]]] = {
    "KarrasScheduler": ("karras", 7),
    "ExponentialScheduler": ("exponential", None),
    "PolyexponentialScheduler": ("exponential", 1),
}
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


def _of_turbo(node: Node) -> GraphSigmas:
    """Read SDTurboScheduler: ten levels in equal steps, of which it takes some and then 0.

    They are those of `simple` where none is left out, or where only one is taken.
    """
    left = int(TURBO * node.number("denoise"))
    steps = min(int(node.number("steps")), left)
    whole = TURBO if steps == left else TURBO // left if left and TURBO % left == 0 else 0
    if not steps or (steps not in (1, left)) or not whole:
        raise node.fail(Sentence("graph_levels_left_out"))
    model = node.input("model", GraphModel)
    return GraphSigmas("simple", steps, share(steps, whole), model)


def _of_beta(node: Node) -> GraphSigmas:
    model, steps = node.input("model", GraphModel), node.numeric("steps")
    _check_numbers(node, {"alpha": BETA, "beta": BETA})
    return GraphSigmas("beta", steps, model=model)


def _between(node: Node) -> GraphSigmas:
    """Read a node that spaces noise levels between two that it is told: those of SD alone."""
    schedule, rho = BETWEEN[node.kind]
    _check_numbers(node, ENDS if rho is None else {**ENDS, "rho": rho})
    return GraphSigmas(schedule, node.numeric("steps"), of_sd=True)


def _check_numbers(node: Node, wanted: Mapping[str, float]) -> None:
    """Raise `GraphError` where a node's numbers are not those by which Marble spaces levels."""
    others = {name: node.number(name) for name in wanted}
    names = [name for name in wanted if not math.isclose(others[name], wanted[name], rel_tol=NEAR)]
    if names:
        given, ours = (
            ", ".join(f"{name} {each[name]:g}" for name in names) for each in (others, wanted)
        )
        raise node.fail(Sentence("graph_levels_between", given=given, ours=ours))


def _from_a_step(node: Node) -> GraphSigmas:
    sigmas = _whole(node)
    return _cut(node, sigmas, sigmas.steps - int(node.number("step")))


def _last_share(node: Node) -> GraphSigmas:
    sigmas, strength = _whole(node), node.number("denoise")
    cut = _cut(node, sigmas, round(sigmas.steps * strength))
    exact = cut.until is None and strength > 0 and int(cut.steps / strength) == sigmas.steps
    return replace(cut, strength=strength) if exact else cut


def _cut(node: Node, sigmas: GraphSigmas, steps: int) -> GraphSigmas:
    if not 0 < steps <= sigmas.steps:
        raise node.fail(Sentence("graph_part_of_steps"))
    if node.slot == 0:
        return replace(sigmas, until=sigmas.steps - steps)
    return replace(sigmas, steps=steps, strength=share(steps, sigmas.steps))


def share(steps: int, total: int) -> float:
    """Return the strength at which `steps` are run of `total`: int(steps / strength) is `total`."""
    strength = steps / total
    return strength if int(steps / strength) == total else math.nextafter(strength, 0)


def _whole(node: Node) -> GraphSigmas:
    """Return the noise levels of which a node's outputs take the first and the last ones."""
    sigmas = node.input("sigmas", GraphSigmas)
    countable = is_int(sigmas.steps) and sigmas.steps <= MOST
    if sigmas.strength != 1 or sigmas.until is not None or not countable:
        raise node.fail(Sentence("graph_part_of_steps"))
    return sigmas


SIGMAS: Final[Mapping[str, Rule]] = {
    "RandomNoise": _noise,
    "DisableNoise": lambda node: GraphNoise(None),
    "KSamplerSelect": _sampler,
    "BasicGuider": _unguided,
    "CFGGuider": guider,
    "BasicScheduler": _scheduled,
    "SDTurboScheduler": _of_turbo,
    "BetaSamplingScheduler": _of_beta,
    **dict.fromkeys(BETWEEN, _between),
    "Flux2Scheduler": _scheduled_by_size,
    "SplitSigmas": _from_a_step,
    "SplitSigmasDenoise": _last_share,
}
