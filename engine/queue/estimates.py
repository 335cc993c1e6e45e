"""Estimates: the work of a recipe, and the seconds of a unit of work by model and kind of device.

A unit of work is one row of a million pixels, with a prompt of one window, in one call.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any, Final

from engine.pictures.tile_grid import drawn
from engine.recipe.conditions import calls_of, copies_of, sides_of, texts_of
from engine.recipe.context_length import UNET, estimate
from engine.recipe.limits import CALLS, CFG_PP
from engine.recipe.patches import perturbed_scale
from engine.recipe.prompt_editing import at
from engine.recipe.recipe import Recipe

MILLION: Final = 10**6
REFERENCE: Final = 1024 * 1024  # pixels of a reference picture, as models take large ones
CONTROL: Final = 0.5  # work of a ControlNet while it is used, as a fraction of the U-Net's
DECAY: Final = 0.8  # weight of older measurements with each new one
UNMEASURED: Final = 1.0  # seconds a unit, before anything was measured
MOST: Final = 0.9  # of a measured time that an estimate of its decoding may take
SPEEDS: Final = ("drawing", "decoding", "loading", "enlarging")
KINDS: Final = "kinds"  # under which the speeds of each kind of device are written


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job's work: `width` units in each of its `calls`, then decoding.

    second: the model that finishes what the first begins, if there is one.
    """

    model: str
    width: float  # 10⁶ pixels × rows × pictures, rows with long prompts counting more
    calls: float
    pixels: float = 0.0  # 10⁶ pixels × pictures, to decode
    second: str | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that it takes, in order."""
        return (self.model, self.second) if self.second else (self.model,)

    @property
    def measured_as(self) -> str:
        """Return by which name its speed is measured: two models together apart from each."""
        return " → ".join(self.models)

    @property
    def units(self) -> float:
        """Return the work of all calls, in units."""
        return self.width * self.calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass of denoising.

    drawn: pixels in each call: more than `pixels` with reference pictures, which the network sees
    beside them, and with overlapping tiles, which have no controls.
    """

    pixels: int
    drawn: int
    steps: int
    tiled: bool = False
    second: bool = False


def passes(recipe: Recipe) -> list[Pass]:
    """Return the passes that a picture of the recipe takes."""
    found, upscale = [], recipe.upscale
    references = REFERENCE * len(recipe.references)
    if not recipe.image or recipe.strength is not None:  # else a start image is used as it is
        pixels = recipe.width * recipe.height
        found.append(Pass(pixels=pixels, drawn=pixels + references, steps=recipe.steps))
    if upscale and upscale.strength is not None:
        seen, tiled = drawn(*recipe.size, upscale.tile), upscale.tile is not None
        steps = recipe.second_pass_steps
        seen += references
        found.append(
            Pass(pixels=_pixels(recipe), drawn=seen, steps=steps, tiled=tiled, second=True)
        )
    return found


def pixel_steps(recipe: Recipe) -> int:
    """Return pixels × steps of all its pictures; upscaling alone counts as one step.

    In a pass in tiles the pixels of all tiles count, and beside references theirs. Where several
    prompts are drawn together (`AND`, areas), each counts for its share of the picture.
    """
    each = sum(one.drawn * one.steps for one in passes(recipe))
    return round((each or _pixels(recipe)) * copies_of(recipe)) * len(recipe.pictures)


def work_of(recipe: Recipe) -> Work:
    """Return a recipe's work; ControlNets and long prompts make calls wider.

    Calls of a second pass are counted in units of the first pass's width.
    """
    each, again = CALLS.get(recipe.sampler, 1), 2 if perturbed_scale(recipe.patches) else 1
    controlled = 1 + CONTROL * sum(control.end - control.start for control in recipe.controls)
    todo = passes(recipe)
    size = _pixels(recipe) / MILLION
    widths = [
        one.drawn / MILLION * (1 if one.tiled else controlled) * _rows(recipe, each, one.second)
        for one in todo
    ]
    # The step to σ = 0 takes one.
    calls = [(one.steps * each - (each - 1)) * again for one in todo]
    first = widths[0] if widths else size * _rows(recipe, each)
    pictures = len(recipe.pictures)
    return Work(
        model=recipe.checkpoint,
        second=recipe.refiner,
        width=first * pictures,
        calls=sum(width / first * number for width, number in zip(widths, calls, strict=True)),
        pixels=(sum(one.pixels / MILLION for one in todo) or size) * pictures,
    )


def _rows(recipe: Recipe, each: int, second: bool = False) -> float:
    """Return the rows of a prediction in a pass, those of long prompts counting more.

    Where prompts change between steps, it is the mean of all calls; each: calls that a step takes.
    """
    calls = calls_of(recipe, each, second=second)
    sides = sides_of(recipe, calls)
    parts = sides.positive
    guided = sides.needs_negative(recipe.guidance_scale) or recipe.sampler in CFG_PP
    if guided:
        parts = (*sides.negative, *parts)
    tokens = {text: estimate(text) for text in texts_of(parts)}
    changing = any(len(part.turns) > 1 for part in parts)
    times = range(calls.made if changing else 1)
    boxes = [{part.area.box for part in side} for side in (sides.positive, sides.negative)]
    acts = []
    for number, part in enumerate(parts):
        # In a box the other side is asked, too (`engine.denoise.conditions`).
        negative = guided and number < len(sides.negative)
        alone = part.area.share < 1 and part.area.box not in boxes[not negative]
        acts.append(part.area.acts * (2 if alone and guided else 1))
    total = 0.0
    for call in times:
        lengths = [tokens[at(part.turns, call)] for part in parts]
        if sides.several:
            total += sum(map(mul, map(UNET.weight, lengths), acts))
        else:
            total += len(lengths) * UNET.mean_weight(lengths)
    return total / max(1, len(times))


def _pixels(recipe: Recipe) -> int:
    width, height = recipe.size
    return width * height


class _Average:
    """Seconds per unit by model, averaged with exponential decay.

    Seconds and amounts are averaged apart and then divided, so that larger amounts weigh more.
    """

    def __init__(self, measured: Mapping[str, Sequence[float]] | None = None) -> None:
        # model → seconds, amount
        self.measured = {model: (float(s), float(n)) for model, (s, n) in (measured or {}).items()}

    def learn(self, model: str, seconds: float, amount: float) -> None:
        """Record how long an amount took."""
        if seconds > 0 and amount > 0:
            before = self.measured.get(model, (0.0, 0.0))
            self.measured[model] = before[0] * DECAY + seconds, before[1] * DECAY + amount

    def of(self, model: str, otherwise: float) -> float:
        """Return the seconds per unit; for a model that was not measured, the mean of all."""
        known = [self.measured[model]] if model in self.measured else self.measured.values()
        seconds, amount = sum(s for s, _ in known), sum(n for _, n in known)
        return seconds / amount if amount else otherwise


class Speeds:
    """Measured speeds: of loading a model, a unit of work, decoding and upscaling pixels.

    They are those of all engines together, and, where a kind of device is given, of that kind.
    """

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        data = data or {}
        self._drawing, self._decoding, self._loading, self._enlarging = (
            _Average(data.get(name)) for name in SPEEDS
        )
        self._kinds = {kind: Speeds(each) for kind, each in data.get(KINDS, {}).items()}

    def __bool__(self) -> bool:
        """Whether any model was measured."""
        return bool(self._drawing.measured)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as the constructor takes them."""
        rates = (self._drawing, self._decoding, self._loading, self._enlarging)
        mine: dict[str, Any] = {
            name: dict(each.measured) for name, each in zip(SPEEDS, rates, strict=True)
        }
        kinds = {kind: each.to_dict() for kind, each in self._kinds.items()}
        return {**mine, KINDS: kinds} if kinds else mine

    def learn(
        self, work: Work, seconds: float, decoding: float | None = None, kind: str = ""
    ) -> None:
        """Record the engine seconds of a finished job; decoding: of its decoding, if known."""
        if kind:
            self._own(kind).learn(work, seconds, decoding)
        if decoding is None:
            decoding = (
                min(seconds, work.pixels * self._ending(work).of(work.measured_as, 0.0)) * MOST
            )
        else:
            self._ending(work).learn(work.measured_as, decoding, work.pixels)
        self._drawing.learn(work.measured_as, seconds - decoding, work.units)

    def learn_loading(self, model: str, seconds: float, kind: str = "") -> None:
        """Record the seconds from the start of a model's first job until it was loaded."""
        if kind:
            self._own(kind).learn_loading(model, seconds)
        self._loading.learn(model, seconds, 1.0)

    def has_measured(self, model: str) -> bool:
        """Whether a job of that model was measured."""
        return model in self._drawing.measured

    def seconds(self, work: Work, kind: str = "") -> float:
        """Return the estimated seconds; for a model that was not measured, by the mean of all.

        On a kind of device that has not drawn the model yet, by how fast it draws others.
        """
        if own := self._kinds.get(kind):
            if own.has_measured(work.measured_as):
                return own.seconds(work)
            known = [
                each for each in self._kinds.values() if each.has_measured(work.measured_as)
            ] or [self]
            guesses = [each.seconds(work) * own._ratio(each) for each in known]
            return sum(guesses) / len(guesses)
        drawing = work.units * self._drawing.of(work.measured_as, UNMEASURED)
        return drawing + work.pixels * self._ending(work).of(work.measured_as, 0.0)

    def loading(self, model: str, kind: str = "") -> float:
        """Return the seconds of loading a model; 0 before anything was measured."""
        own = self._kinds.get(kind)
        return (own if own and model in own._loading.measured else self)._loading.of(model, 0.0)

    def _own(self, kind: str) -> Speeds:
        """Return the speeds of a kind of device; the first kind begins with what all have."""
        if kind not in self._kinds:
            self._kinds[kind] = Speeds() if self._kinds else Speeds(self.to_dict())
        return self._kinds[kind]

    def _ratio(self, other: Speeds) -> float:
        """Return these seconds as a multiple of others', for the models that both have drawn."""
        rates = [
            self._drawing.of(model, 1.0) / other._drawing.of(model, 1.0)
            for model in self._drawing.measured
            if model in other._drawing.measured
        ]
        return sum(rates) / len(rates) if rates else 1.0

    def _ending(self, work: Work) -> _Average:
        """Return the speed of what follows the steps: decoding; upscaling, if there are none."""
        return self._decoding if work.calls else self._enlarging
