"""What the network is asked for one prediction, and how its answers make the guided one.

Each side of guidance has conditions: texts that take turns, a weight, the part of the picture and
the noise levels in which they act. As in ComfyUI a side's prediction is their weighted mean; those
that A1111's `AND` composes guide away from the negative prompt each by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor

from engine.denoise.guidance import guide, rescale
from engine.denoise.samplers import SAMPLERS, Request
from engine.loading.model import Conditioning, Model
from engine.recipe.conditions import Part, Sides
from engine.recipe.parts import Area
from engine.recipe.prompt_editing import at
from engine.recipe.recipe import Recipe

LEAST: Final = 1e-37  # of the sum of weights, where nothing acts: ComfyUI's, which gives 0 there


class Box(NamedTuple):
    """A part of the latents; the network sees it alone."""

    top: int
    left: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """Return the number of its latents."""
        return self.height * self.width

    def lies_in(self, other: Box) -> bool:
        """Return whether all of it is in another one."""
        top, left = self.top >= other.top, self.left >= other.left
        bottom = self.top + self.height <= other.top + other.height
        return top and left and bottom and self.left + self.width <= other.left + other.width

    def of(self, x: Tensor) -> Tensor:
        """Return this part of x, [..., h, w]."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]


class Place(NamedTuple):
    """Where and when a condition acts, as `Condition` has it."""

    box: Box | None = None
    weights: Tensor | None = None
    levels: tuple[float, float] = (0.0, math.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """Texts that take turns, each up to a call of the network, and how they weigh.

    box: what the network sees (None: all); weights: of each latent, [1, 1, h, w] fp32, 0 outside of
    the box (None: `weight` everywhere); levels: the σ between which it acts.
    """

    turns: Sequence[tuple[int, Conditioning]]
    weight: float = 1.0
    box: Box | None = None
    weights: Tensor | None = None
    levels: tuple[float, float] = (0.0, math.inf)

    @property
    def is_plain(self) -> bool:
        """Return whether it acts everywhere, at all noise levels."""
        everywhere = self.weights is None and self.box is None
        return everywhere and self.levels == (0.0, math.inf)

    def at(self, call: int, sigma: float) -> Conditioning | None:
        """Return the text that is read in a call of the network, None where it does not act."""
        if not self.levels[0] <= sigma <= self.levels[1]:
            return None
        return at(self.turns, call)


class Encode(Protocol):
    """Returns a text's conditioning; zero: zeros in its form."""

    def __call__(self, text: str, *, zero: bool = False) -> Conditioning: ...


class Asked(NamedTuple):
    """A condition that acts in a call, and its text there."""

    condition: Condition
    text: Conditioning
    negative: bool


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """The conditions of both sides; composed: as in `engine.recipe.conditions.Sides`.

    Without negative ones the negative side has no effect.
    """

    positive: Sequence[Condition]
    negative: Sequence[Condition] = ()
    composed: bool = False

    @classmethod
    def of(cls, positive: Conditioning, negative: Conditioning | None = None) -> Conditions:
        """Return the conditions of one text a side."""
        other = [] if negative is None else [Condition([(0, negative)])]
        return cls([Condition([(0, positive)])], other)

    @classmethod
    def encoded(
        cls,
        sides: Sides,
        positive: Encode,
        negative: Encode | None,
        place: Callable[[Area], Place],
    ) -> Conditions:
        """Return those that a recipe says, from what encodes the texts of each side.

        negative: None where that side has no effect; place: says of an area of a recipe where and
        when it acts.
        """

        def side(parts: Sequence[Part], encode: Encode) -> list[Condition]:
            return [
                Condition(
                    [(last, encode(text, zero=part.area.zero)) for last, text in part.turns],
                    part.weight,
                    *place(part.area),
                )
                for part in parts
            ]

        own = side(sides.positive, positive)
        other = side(sides.negative, negative) if negative else []
        if other:
            _oppose(own, other)
            _oppose(other, own)
        return cls(own, other, sides.composed)

    @property
    def texts(self) -> Iterator[tuple[Conditioning, bool]]:
        """Yield all their texts, each with whether it is of the negative side."""
        for side, negative in ((self.positive, False), (self.negative, True)):
            for condition in side:
                for _, text in condition.turns:
                    yield text, negative

    @property
    def is_paired(self) -> bool:
        """Return whether there is one text a side at all noise levels, in all the picture."""
        one = len(self.positive) == len(self.negative) == 1
        return one and self.positive[0].is_plain and self.negative[0].is_plain

    def asked(self, call: int, sigma: float) -> list[Asked]:
        """Return what acts in a call of the network, the negative side first."""
        return [
            Asked(condition, text, negative)
            for conditions, negative in ((self.negative, True), (self.positive, False))
            for condition in conditions
            if (text := condition.at(call, sigma)) is not None
        ]


def _oppose(conditions: Sequence[Condition], others: list[Condition]) -> None:
    """Add to the other side a condition for each box that it lacks, of its least one around it.

    What the network predicts depends on what it sees, so that guidance in a box compares what it
    sees there. As in ComfyUI it weighs as much as the box's own, and acts when that does.
    """
    for each in conditions:
        if each.box is None:
            continue
        around = [other for other in others if other.box is None or each.box.lies_in(other.box)]
        if not around:
            continue
        boxed = [(other.box.size, n) for n, other in enumerate(around) if other.box is not None]
        least = around[min(boxed)[1] if boxed else 0]
        if least.box != each.box:
            others.append(replace(each, turns=least.turns))


def needs_negative(model: Model, recipe: Recipe, sides: Sides) -> bool:
    """Return whether a recipe's negative side has any effect."""
    effect = sides.needs_negative(recipe.guidance_scale) or SAMPLERS[recipe.sampler].unguided
    return effect and not model.takes_guidance


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """How answers become the guided prediction; scale: of guidance; factor: of `rescale`."""

    conditions: Conditions
    scale: float
    factor: float = 0.0

    def __call__(
        self, asked: Sequence[Asked], answers: Sequence[Tensor], request: Request
    ) -> Tensor:
        """Return the guided prediction that a sampler requests, [1, C, h, w].

        answers: to each that is asked, [1, C, h, w] or of its box, fp32.
        """
        of_side = _by_side(asked, answers)
        both = self.conditions.negative
        cond = _mean(of_side[False], request, composed=self.conditions.composed)
        if not both:
            return cond
        uncond = _mean(of_side[True], request)
        total = sum(each.condition.weight for each, _ in of_side[False])
        if self.conditions.composed and (len(of_side[False]) > 1 or total != 1):
            guided = uncond
            for each, answer in of_side[False]:
                guided = guided + (answer - uncond) * (each.condition.weight * self.scale)
        elif math.isclose(self.scale, 1.0):  # the negative side is for a sampler that asks for it
            guided = cond
        else:
            guided = guide(torch.cat([uncond, cond]), self.scale)
        if not self.factor:
            return guided
        return rescale(guided, cond, request.x, request.sigma, self.factor)

    def away(self, asked: Sequence[Asked], answers: Sequence[Tensor], request: Request) -> Tensor:
        """Return the negative side's prediction, as `__call__` takes them."""
        return _mean(_by_side(asked, answers)[True], request)

    def towards(
        self, asked: Sequence[Asked], answers: Sequence[Tensor], request: Request
    ) -> Tensor:
        """Return the positive side's prediction, as `__call__` takes them."""
        positive = _by_side(asked, answers)[False]
        return _mean(positive, request, composed=self.conditions.composed)


def _by_side(
    asked: Sequence[Asked], answers: Sequence[Tensor]
) -> dict[bool, list[tuple[Asked, Tensor]]]:
    found: dict[bool, list[tuple[Asked, Tensor]]] = {False: [], True: []}
    for each, answer in zip(asked, answers, strict=True):
        found[each.negative].append((each, answer))
    return found


def _mean(
    answers: Sequence[tuple[Asked, Tensor]], request: Request, *, composed: bool = False
) -> Tensor:
    """Return the weighted mean of a side's predictions, 0 where none acts."""
    if len(answers) == 1 and answers[0][0].condition.is_plain:
        return answers[0][1]
    if composed and math.isclose(
        sum(each.condition.weight for each, _ in answers), 0, abs_tol=1e-6
    ):
        return sum((answer for _, answer in answers), torch.zeros_like(request.x)) / len(answers)
    x, (top, left) = request.x, request.corner
    total = torch.zeros_like(x)
    weights = torch.full_like(x[:, :1], LEAST)
    for (condition, _, _), answer in answers:
        seen = condition.box or Box(top, left, *x.shape[2:])
        own = condition.weight if condition.weights is None else seen.of(condition.weights)
        box = seen._replace(top=seen.top - top, left=seen.left - left)
        box.of(total).add_(answer * own)
        box.of(weights).add_(own)
    return total / weights
