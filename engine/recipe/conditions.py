"""What the network is asked of a recipe's prompts: which texts, when, and how they weigh.

Standard library only: estimates count calls without a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engine.errors import PromptError, shorten
from engine.recipe.limits import A1111, A1111_OLD, CALLS
from engine.recipe.parts import Area
from engine.recipe.prompt_editing import Calls, Turn, composed, in_own_grammar, schedule, unweighted
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

WHOLE: Final = Area()
JOINED: Final = 16  # prompts between `AND`, as many as there may be areas
# Bytes of all texts of a pass, which bound their tokens: 310 MB in SDXL's windows at the very most,
# 100 MB of English words.
TOGETHER: Final = 32_000
HEAVIEST: Final = 3.4028234663852886e38  # of weights: fp32's greatest number
EDITED: Final = (A1111, A1111_OLD)  # grammars in which prompts change between steps


@dataclass(frozen=True, slots=True)
class Part:
    """A prompt of one side of guidance: its texts by calls of the network, and its weight.

    area: where and at which noise it acts.
    """

    turns: tuple[Turn, ...]
    weight: float = 1.0
    area: Area = WHOLE


@dataclass(frozen=True, slots=True)
class Sides:
    """What is guided towards, and what away from.

    composed: each positive part guides away from the negative ones by itself, as A1111's `AND`;
    else a side's prediction is the mean of its parts'.
    """

    positive: tuple[Part, ...]
    negative: tuple[Part, ...]
    composed: bool = False

    @property
    def weight(self) -> float:
        """Return by how much the positive parts guide together, in scales of the guidance."""
        return sum(part.weight for part in self.positive) if self.composed else 1.0

    @property
    def several(self) -> bool:
        """Return whether a side has several parts, or one that does not act always."""
        parts = (*self.positive, *self.negative)
        return len(self.positive) > 1 or len(parts) > 2 or any(p.area != WHOLE for p in parts)

    def needs_negative(self, scale: float) -> bool:
        """Return whether the negative side has any effect: at scale 1 it has none."""
        return not math.isclose(scale * self.weight, 1.0)


def calls_of(recipe: Recipe, each: int, *, second: bool = False) -> Calls:
    """Return by which calls of the network prompts count in a pass.

    each: calls that a step takes; second: whether it is the second pass.
    """
    upscale, old = recipe.upscale, recipe.syntax == A1111_OLD
    later = recipe.second_pass_steps * each
    if second and recipe.image and recipe.strength is None:  # the only pass, on an enlarged picture
        share = upscale.strength if upscale else None
        return Calls(max(1, int(later / (share or 1))), old=old, run=later)
    # As A1111, of whose steps a start image leaves out the first ones.
    first = int(recipe.steps / (recipe.strength or 1)) * each
    after = later if second and later else None
    return Calls(first, after, old, run=after or recipe.steps * each)


def sides_of(recipe: Recipe, calls: Calls) -> Sides:
    """Return what a recipe's prompts say in a pass."""
    edited = recipe.syntax in EDITED

    def part(text: str, weight: float = 1.0, area: Area = WHOLE) -> Part:
        turns = schedule(text, calls) if edited else (Turn(calls.first, text),)
        return Part(turns, weight, area)

    if edited and not recipe.areas:
        positive = tuple(part(*each) for each in composed(recipe.prompt))
        return Sides(positive, (part(recipe.negative_prompt),), True)

    def side(own: str, areas: Sequence[Area]) -> tuple[Part, ...]:
        parts = [] if any(area.prompt is None for area in areas) else [part(own)]
        for area in areas:
            parts.append(part(own if area.prompt is None else area.prompt, area.strength, area))
        return tuple(parts)

    return Sides(
        side(recipe.prompt, [area for area in recipe.areas if not area.negative]),
        side(recipe.negative_prompt, [area for area in recipe.areas if area.negative]),
    )


def texts_of(parts: Iterable[Part]) -> list[str]:
    """Return the texts of parts, each once."""
    return list(dict.fromkeys(turn.text for part in parts for turn in part.turns))


def _passes(recipe: Recipe) -> list[Sides]:
    """Return what its prompts say in each pass that it may have."""
    each, passes = CALLS.get(recipe.sampler, 1), (False, True) if recipe.upscale else (False,)
    return [sides_of(recipe, calls_of(recipe, each, second=second)) for second in passes]


def copies_of(recipe: Recipe) -> float:
    """Return how many prompts are drawn together, each by its share of the picture; at least 1."""
    if recipe.syntax in EDITED and not recipe.areas:
        return len(composed(recipe.prompt))
    shares = [1.0, 1.0]
    for negative in (False, True):
        own = [area for area in recipe.areas if area.negative is negative]
        alone = any(area.prompt is None for area in own)
        shares[negative] = (not alone) + sum(area.acts for area in own)
    return max(1.0, *shares)


def changes(recipe: Recipe) -> bool:
    """Return whether its prompts change between steps or passes, or guide apart."""
    passes = [sides_of(recipe, calls_of(recipe, 1, second=second)) for second in (False, True)]
    parts = [part for sides in passes for part in (*sides.positive, *sides.negative)]
    apart = any(
        sides.composed and (len(sides.positive) > 1 or sides.weight != 1) for sides in passes
    )
    texts = {(*texts_of(sides.positive), *texts_of(sides.negative)) for sides in passes}
    return apart or len(texts) > 1 or any(len(part.turns) > 1 for part in parts)


def check_texts(recipe: Recipe, most: int) -> None:
    """Raise `PromptError` where prompts are more texts than are worth encoding, or weigh too much.

    most: texts that a model's family may hold in memory at once.
    """
    if recipe.syntax in EDITED and len(composed(recipe.prompt)) > JOINED:
        raise PromptError(Sentence("many_joined", most=JOINED))
    for sides in _passes(recipe):
        texts = texts_of((*sides.positive, *sides.negative))
        if len(texts) > most:
            raise PromptError(Sentence("many_texts", most=most))
        if sum(len(text.encode("utf-8", "replace")) for text in texts) > TOGETHER:
            raise PromptError(Sentence("long_texts", most=TOGETHER))
        for part in sides.positive:
            if not abs(part.weight) <= HEAVIEST:
                words, weight = shorten(part.turns[0].text), f"{part.weight:g}"
                raise PromptError(Sentence("bad_weight", words=words, weight=weight))


def written(text: str, recipe: Recipe, *, weighs: bool) -> str:
    """Return a text in Marble's grammar; weighs: whether its encoder knows weights at all."""
    return in_own_grammar(text) if weighs and recipe.syntax in EDITED else text


def drawn_texts(recipe: Recipe) -> tuple[str, ...]:
    """Return every text that is drawn, as it is at some step, and the prompt as it is typed.

    Those of A1111's grammar are there as its weights leave them, which join what stands around
    them: "(nu:1)de". Where guidance turns away from the prompt, the negative one is drawn.
    """
    texts = [recipe.prompt]
    for sides in _passes(recipe):
        drawn = sides.positive
        if recipe.guidance_scale * sides.weight < 1:
            texts.append(recipe.negative_prompt)
            drawn += sides.negative
        read = unweighted if recipe.syntax in EDITED else str
        texts += map(read, texts_of(drawn))
    return tuple(dict.fromkeys(texts))
