"""How much work a recipe is, how long a unit of it takes, and who used the engine for how long.

A unit of work is one row of a million pixels and a prompt of one window through the network once.
Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.pictures.tile_grid import drawn
from engine.recipe.context_length import estimate, mean_weight
from engine.recipe.recipe import Recipe

# Samplers that call the network twice a step; a test holds them to `engine.denoise.samplers`.
TWICE: Final = frozenset({"heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde"})
MILLION: Final = 10**6
CONTROL: Final = 0.5  # of the U-Net's work that a control takes while it has its say, or a bit more
MEMORY: Final = 0.8  # what an older measurement still counts when a newer one comes
UNMEASURED: Final = 1.0  # seconds a unit, before anything was measured
TRUSTED: Final = 0.9  # of an estimate that is taken from a measurement: something is always left
SPEEDS: Final = ("drawing", "decoding", "loading", "enlarging")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Hold what a job asks of the engine: `width` units in each of its `calls`, then a decode."""

    model: str
    width: float  # 10⁶ pixels × rows × pictures, rows with long prompts counting more
    calls: float
    pixels: float = 0.0  # 10⁶ pixels × pictures, to decode

    @property
    def units(self) -> float:
        """Return all of it, in units."""
        return self.width * self.calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Hold a pass's pixels, how many of them the network sees in each call, and its steps.

    drawn: more than there are where overlapping tiles are drawn, which no control steers.
    """

    pixels: int
    drawn: int
    steps: int
    tiled: bool = False


def passes(recipe: Recipe) -> list[Pass]:
    """Return the passes that a picture of the recipe takes."""
    found, upscale = [], recipe.upscale
    if not recipe.image or recipe.strength is not None:  # else a start image is taken as it is
        pixels = recipe.width * recipe.height
        found.append(Pass(pixels=pixels, drawn=pixels, steps=recipe.steps))
    if upscale and upscale.strength is not None:
        seen, tiled = drawn(*recipe.size, upscale.tile), upscale.tile is not None
        steps = recipe.second_pass_steps
        found.append(Pass(pixels=_pixels(recipe), drawn=seen, steps=steps, tiled=tiled))
    return found


def pixel_steps(recipe: Recipe) -> int:
    """Return pixels × steps of all its pictures; what is only enlarged counts as one step.

    Of a pass in tiles all pixels of all tiles count.
    """
    each = sum(one.drawn * one.steps for one in passes(recipe))
    return (each or _pixels(recipe)) * len(recipe.pictures)


def work_of(recipe: Recipe) -> Work:
    """Return pixels × rows × pictures, more with controls and long prompts, and the calls: steps ×
    evaluations.

    Calls of a pass at another size count by their pixels, of one in tiles by those of all tiles.
    """
    each = 2 if recipe.sampler in TWICE else 1
    guided = not math.isclose(recipe.guidance_scale, 1.0)
    texts = (recipe.negative_prompt, recipe.prompt) if guided else (recipe.prompt,)
    rows = len(texts) * mean_weight([estimate(text) for text in texts])
    said = 1 + CONTROL * sum(control.end - control.start for control in recipe.controls)
    todo = passes(recipe)
    size = _pixels(recipe) / MILLION
    widths = [one.drawn / MILLION * (1 if one.tiled else said) for one in todo]
    # The step to σ = 0 takes one.
    calls = [one.steps * each - (each - 1) for one in todo]
    first = widths[0] if widths else size
    pictures = len(recipe.pictures)
    return Work(
        model=recipe.checkpoint,
        width=first * rows * pictures,
        calls=sum(width / first * number for width, number in zip(widths, calls, strict=True)),
        pixels=(sum(one.pixels / MILLION for one in todo) or size) * pictures,
    )


def _pixels(recipe: Recipe) -> int:
    width, height = recipe.size
    return width * height


class Rates:
    """Learn how many seconds one of something takes on each model, newer measurements counting
    more.

    Seconds and amounts are smoothed apart and then divided: much of it says more than little.
    """

    def __init__(self, measured: Mapping[str, Sequence[float]] | None = None) -> None:
        # model → seconds, amount
        self.measured = {model: (float(s), float(n)) for model, (s, n) in (measured or {}).items()}

    def learn(self, model: str, seconds: float, amount: float) -> None:
        """Take note of how long so much took."""
        if seconds > 0 and amount > 0:
            before = self.measured.get(model, (0.0, 0.0))
            self.measured[model] = before[0] * MEMORY + seconds, before[1] * MEMORY + amount

    def of(self, model: str, otherwise: float) -> float:
        """Return the seconds for one; a model not measured yet is taken for a usual one."""
        known = [self.measured[model]] if model in self.measured else self.measured.values()
        seconds, amount = sum(s for s, _ in known), sum(n for _, n in known)
        return seconds / amount if amount else otherwise


class Speeds:
    """Learn how long models take to load, a unit of work to be drawn and pixels to be decoded."""

    def __init__(self, data: Mapping[str, Mapping[str, Sequence[float]]] | None = None) -> None:
        data = data or {}
        self._drawing, self._decoding, self._loading, self._enlarging = (
            Rates(data.get(name)) for name in SPEEDS
        )

    def __bool__(self) -> bool:
        """Say whether any model was measured."""
        return bool(self._drawing.measured)

    def to_dict(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Return plain JSON values, from which others may begin."""
        rates = (self._drawing, self._decoding, self._loading, self._enlarging)
        return {name: dict(each.measured) for name, each in zip(SPEEDS, rates, strict=True)}

    def learn(self, work: Work, seconds: float, decoding: float | None = None) -> None:
        """Take note of how long a finished job kept the engine busy, and how much of it decoding
        took where that is known.
        """
        if decoding is None:
            decoding = min(seconds, work.pixels * self._ending(work).of(work.model, 0.0)) * TRUSTED
        else:
            self._ending(work).learn(work.model, decoding, work.pixels)
        self._drawing.learn(work.model, seconds - decoding, work.units)

    def learn_loading(self, model: str, seconds: float) -> None:
        """Take note of how long a model took until its first job could begin."""
        self._loading.learn(model, seconds, 1.0)

    def knows(self, model: str) -> bool:
        """Say whether a job of that model was ever measured."""
        return model in self._drawing.measured

    def seconds(self, work: Work) -> float:
        """Return how long the work takes; a model not measured yet is taken for a usual one."""
        drawing = work.units * self._drawing.of(work.model, UNMEASURED)
        return drawing + work.pixels * self._ending(work).of(work.model, 0.0)

    def _ending(self, work: Work) -> Rates:
        """Return how long pixels take after the steps; without any they are only enlarged."""
        return self._decoding if work.calls else self._enlarging

    def loading(self, model: str) -> float:
        """Return how long a model takes to be loaded; 0 where none was ever seen to."""
        return self._loading.of(model, 0.0)


class Meter:
    """Divide the engine's time among the jobs that share it, by the width of each.

    Its clock is the virtual time of processor sharing: it runs at 1/Σ widths, so that a job's
    part of the engine's seconds is its width × the way the clock went, found without a scan.
    """

    def __init__(self) -> None:
        self._clock = 0.0
        self._at = 0.0  # seconds
        self._widths = 0.0
        self._jobs: dict[int, tuple[float, float]] = {}  # job → width, the clock at its start

    def copy(self) -> Meter:
        """Return another that goes on from here by itself."""
        twin = Meter()
        twin._clock, twin._at, twin._widths = self._clock, self._at, self._widths
        twin._jobs = dict(self._jobs)
        return twin

    def start(self, job: int, width: float, now: float) -> None:
        """Let a job share the engine from now on."""
        self._advance(now)
        self._jobs[job] = (width, self._clock)
        self._widths += width

    def restart(self, job: int, now: float) -> None:
        """Forget what a job has used so far: a model was being loaded, which is nobody's work."""
        self._advance(now)
        if job in self._jobs:
            self._jobs[job] = (self._jobs[job][0], self._clock)

    def used(self, job: int, now: float) -> float:
        """Return how many of the engine's seconds a job has had so far."""
        self._advance(now)
        width, since = self._jobs[job]
        return width * (self._clock - since)

    def stop(self, job: int, now: float) -> float:
        """End a job's share; return how many of the engine's seconds it had."""
        used = self.used(job, now)
        width, _ = self._jobs.pop(job)
        # A sum of floats drifts; nobody's share is exactly nothing.
        self._widths = self._widths - width if self._jobs else 0.0
        return used

    def end(self, job: int, seconds: float) -> float:
        """Return the clock's reading when a job will have had that many of the engine's seconds."""
        width, since = self._jobs[job]
        end = since + seconds / width
        # Nobody knows how much longer a late job takes: say as long as it is late already.
        return max(end, 2 * self._clock - end)

    def time(self, clock: float) -> float:
        """Return the second at which the clock reads so, if the same jobs share until then."""
        return self._at + max(0.0, clock - self._clock) * self._widths

    def _advance(self, now: float) -> None:
        if self._jobs:
            self._clock += max(0.0, now - self._at) / self._widths
        self._at = max(self._at, now)
