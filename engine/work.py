"""How much work a recipe is, how long a unit of it takes, and who used the engine for how long.

A unit of work is one row of a million pixels through the network once. Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from engine.recipe import Recipe

# Samplers that call the network twice a step; a test holds them to `engine.samplers`.
TWICE: Final = frozenset({"heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde"})
MEMORY: Final = 0.8  # what an older measurement still counts when a newer one comes
UNMEASURED: Final = 1.0  # seconds a unit, before anything was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Hold what a job asks of the engine: `width` units in each of its `calls`."""

    model: str
    width: float  # 10⁶ pixels × rows × pictures
    calls: int

    @property
    def units(self) -> float:
        """Return all of it, in units."""
        return self.width * self.calls


def work_of(recipe: Recipe) -> Work:
    """Return pixels × rows × pictures, and the calls: steps × evaluations."""
    each = 2 if recipe.sampler in TWICE else 1
    rows = 1 if math.isclose(recipe.guidance_scale, 1.0) else 2
    return Work(
        model=recipe.checkpoint,
        width=recipe.width * recipe.height / 1e6 * rows * len(recipe.pictures),
        calls=recipe.steps * each - (each - 1),  # the step to σ = 0 takes one
    )


class Speeds:
    """Learn how many seconds a unit of work takes on each model, newer jobs counting more.

    Seconds and units are smoothed apart and then divided: a long job says more than a short one.
    """

    def __init__(self) -> None:
        self._measured: dict[str, tuple[float, float]] = {}  # model → seconds, units

    def learn(self, work: Work, seconds: float) -> None:
        """Take note of how long a finished job kept the engine busy."""
        if seconds > 0 and work.units > 0:
            before = self._measured.get(work.model, (0.0, 0.0))
            now = (seconds, work.units)
            self._measured[work.model] = (
                before[0] * MEMORY + now[0],
                before[1] * MEMORY + now[1],
            )

    def knows(self, model: str) -> bool:
        """Say whether a job of that model was ever measured."""
        return model in self._measured

    def seconds(self, work: Work) -> float:
        """Return how long the work takes; a model not measured yet is taken for a usual one."""
        if work.model in self._measured:
            seconds, units = self._measured[work.model]
        else:
            seconds = sum(seconds for seconds, _ in self._measured.values())
            units = sum(units for _, units in self._measured.values())
        return work.units * (seconds / units if units else UNMEASURED)


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

    def stop(self, job: int, now: float) -> float:
        """End a job's share; return how many of the engine's seconds it had."""
        self._advance(now)
        width, since = self._jobs.pop(job)
        # A sum of floats drifts; nobody's share is exactly nothing.
        self._widths = self._widths - width if self._jobs else 0.0
        return width * (self._clock - since)

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
