"""Noise: a picture's start noise, and what samplers add between steps.

Numbers come from a processor's generator or, as a recipe's choice, from CUDA's (`engine.denoise.
philox`); both are computed on the processor, so that every device draws the same. A job draws for
all its pictures at once and slices, so that a picture alone is the same as among its siblings.

    cpu          the processor's, with seed + 1 between steps: ComfyUI with --cpu
    gpu          CUDA's between steps, the processor's for start noise: ComfyUI on a GPU
    independent  as cpu, without a path: Marble before recipes of version 3

Solvers of SDEs take a Brownian path (`engine.denoise.brownian`) of these numbers, by the seed
itself; ComfyUI does so on a GPU where their names end in `_gpu`. With `ensd`, A1111's "eta noise
seed delta", it is as A1111 does it: start noise is of the chosen numbers, too, and the same
generator goes on between steps (0), or another one whose seed is `ensd` higher.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from engine.denoise.brownian import BrownianPath
from engine.denoise.flow import FlowSchedule
from engine.denoise.philox import cuda_randn
from engine.denoise.samplers.base import DrawNoise, Sampler
from engine.recipe.limits import CPU, GPU, INDEPENDENT, SEED_LIMIT
from engine.recipe.recipe import Recipe

Shape = tuple[int, int, int]  # one latent's: C, h, w
Stretch = tuple[float, ...]  # the σ at its beginning, at places on the way, and at its end

KEPT: Final = 2  # draws that wait for slower pictures


class CpuNumbers:
    """The normal numbers of a processor's generator, draw after draw.

    Each is one draw for `count` pictures, of which those at `pictures` are returned.
    """

    def __init__(self, seed: int, count: int, shape: Shape, pictures: Sequence[int]) -> None:
        self._seed, self._shape = seed, (count, *shape)
        self._pictures = list(pictures)
        self._next = 0
        self._generator = self._begin()

    def __call__(self, number: int) -> Tensor:
        """Return draw `number`, counted from 0: [pictures, C, h, w] fp32."""
        if number < self._next:
            self._next, self._generator = 0, self._begin()
        for _ in range(self._next, number + 1):
            noise = torch.randn(self._shape, generator=self._generator)
        self._next = number + 1
        return noise if len(self._pictures) == self._shape[0] else noise[self._pictures]

    def _begin(self) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed)


class GpuNumbers:
    """The normal numbers of CUDA's generator, as `CpuNumbers` has a processor's."""

    def __init__(self, seed: int, count: int, shape: Shape, pictures: Sequence[int]) -> None:
        self._seed, self._shape, self._pictures = seed, shape, pictures

    def __call__(self, number: int) -> Tensor:
        """Return draw `number`, counted from 0: [pictures, C, h, w] fp32."""
        size = torch.Size(self._shape).numel()
        # Pictures are all of a job's, or one: they lie side by side.
        first, count = self._pictures[0] * size, len(self._pictures) * size
        return cuda_randn(self._seed, number, first, count).reshape(-1, *self._shape)


# By seed, pictures in all, one latent's shape, and the pictures that are wanted.
NUMBERS: Final[
    Mapping[str, Callable[[int, int, Shape, Sequence[int]], Callable[[int], Tensor]]]
] = {
    CPU: CpuNumbers,
    GPU: GpuNumbers,
}


class JobNoise:
    """The noise of a job: each draw is made once for all its pictures, which take their slices."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._kind = GPU if recipe.noise == GPU else CPU
        self._draws: dict[Hashable, _Draws] = {}

    def start(self, picture: int, shape: Shape) -> Tensor:
        """Return one picture's start noise, [1, C, h, w] fp32 on the CPU.

        Each variation's noise is drawn as the recipe's own, and the noise is interpolated towards
        it by its amount; several variations are applied in order.
        """
        kind = CPU if self._recipe.ensd is None else self._kind
        noise = self._numbers(kind, self._recipe.seed, shape).take(0, picture)
        for variation in self._recipe.variations:
            other = self._numbers(kind, variation.seed, shape).take(0, picture)
            noise = slerp(noise, other, variation.amount)
        return noise

    def between_steps(
        self,
        picture: int,
        shape: Shape,
        sampler: Sampler,
        sigmas: Tensor,
        flow: FlowSchedule | None = None,
    ) -> DrawNoise:
        """Return the source of the noise that a sampler adds to one picture over sigmas.

        flow: the schedule of a flow model.
        """
        recipe, kind = self._recipe, self._kind
        if sampler.brownian and recipe.noise != INDEPENDENT:
            stretches = list(stretches_of(sampler, sigmas, flow))
            draws = self._path(shape, sigmas)
            return NoiseSource(lambda number: draws.take(stretches[number], picture))
        first, seed = 0, recipe.seed
        if recipe.ensd is None:
            # On the processor the seed itself would repeat the start noise.
            seed += kind == CPU
        elif recipe.ensd == 0:
            first = 1  # after the start noise
        else:
            seed += recipe.ensd
        draws = self._numbers(kind, seed % SEED_LIMIT, shape)
        source = NoiseSource(lambda number: draws.take(first + number, picture))
        if sampler.brownian and sampler.evaluations == 2:
            return _JoinedHalves(source, sampler.levels(sigmas, flow), is_flow=flow is not None)
        return source

    def _numbers(self, kind: str, seed: int, shape: Shape) -> _Draws:
        """Return the draws of one generator, by their number."""
        key = kind, seed, shape
        if key not in self._draws:
            pictures = self._recipe.pictures
            numbers = NUMBERS[kind](seed, self._recipe.count, shape, pictures)
            self._draws[key] = _Draws(numbers, pictures)
        return self._draws[key]

    def _path(self, shape: Shape, sigmas: Tensor) -> _Draws:
        """Return the noise of stretches of a Brownian path over sigmas, by these stretches."""
        low, high = sigmas[sigmas > 0].min().item(), sigmas.max().item()
        key = shape, low, high
        if key not in self._draws:
            recipe, numbers = self._recipe, NUMBERS[self._kind]

            def randn(seed: int) -> Tensor:
                return numbers(seed, recipe.count, shape, recipe.pictures)(0)

            path = partial(BrownianPath, recipe.seed, low, high, randn)
            self._draws[key] = _Draws(_Walk(path), recipe.pictures)
        return self._draws[key]


class NoiseSource:
    """Gives a sampler unit noise, one draw after the other: draw(0), draw(1), …"""

    def __init__(self, draw: Callable[[int], Tensor]) -> None:
        self._draw, self._number = draw, 0

    def __call__(self, x: Tensor) -> Tensor:
        """Return the next noise, [1, C, h, w] fp32, on the device of x."""
        noise = self._draw(self._number)
        self._number += 1
        # A copy from pinned memory does not wait for the device.
        return (
            noise.pin_memory().to(x.device, non_blocking=True) if x.is_cuda else noise.to(x.device)
        )


class _Draws:
    """Keeps a draw until each picture took its slice; one that lags far behind has it drawn again.

    Pictures of a job advance together, so that mostly each draw is made once.
    """

    def __init__(self, draw: Callable[..., Tensor], pictures: Sequence[int]) -> None:
        self._draw, self._pictures = draw, pictures
        self._kept: dict[Hashable, tuple[Tensor, set[int]]] = {}

    def take(self, which: Hashable, picture: int) -> Tensor:
        """Return a picture's slice of a draw, [1, C, h, w]."""
        if which not in self._kept:
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[which] = self._draw(which), set(self._pictures)
        noise, waiting = self._kept[which]
        waiting.discard(picture)
        if not waiting:
            del self._kept[which]
        at = self._pictures.index(picture)
        # A copy, where a slice would keep the whole draw in memory.
        return noise if len(noise) == 1 else noise[at : at + 1].clone()


class _Walk:
    """Unit noise of stretches of a Brownian path, which is begun anew to look above its place."""

    def __init__(self, begin: Callable[[], BrownianPath]) -> None:
        self._begin = begin
        self._path = begin()
        self._last: tuple[Stretch, Tensor] = ((), torch.zeros(()))

    def __call__(self, stretch: Stretch) -> Tensor:
        """Return the noise of a stretch, a whole batch's; it is walked from place to place."""
        done, moved = self._last
        if not done or stretch[: len(done)] != done:
            done = stretch[:1]
            if not self._path.is_at_or_above(done[0]):
                self._path = self._begin()
            self._path.walk(done[0])
            moved = torch.zeros(())
        for sigma in stretch[len(done) :]:
            moved = moved + self._path.walk(sigma)
        self._last = stretch, moved
        # ComfyUI asks for the way down, against the path's direction.
        return -moved / math.sqrt(stretch[0] - stretch[-1])


class _JoinedHalves:
    """Independent noise for a solver that halves its steps: a step goes on from its first half."""

    def __init__(self, draw: DrawNoise, levels: Sequence[float], *, is_flow: bool) -> None:
        ratios = [sigma / (1 - sigma) for sigma in levels] if is_flow else levels
        self._steps = iter(pairwise(ratios))
        self._draw = draw
        self._half: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the noise of the first half of a step, then that of the whole step."""
        noise, half = self._draw(x), self._half
        if half is None:
            self._half = noise
            return noise
        self._half = None
        sigma, sigma_next = next(self._steps)
        middle = (sigma * sigma_next) ** 0.5
        share = (sigma - middle) / (sigma - sigma_next)
        joined: Tensor = half * share**0.5 + noise * (1 - share) ** 0.5
        return joined


def stretches_of(
    sampler: Sampler, sigmas: Tensor, flow: FlowSchedule | None = None
) -> Iterator[Stretch]:
    """Yield the stretches of σ whose noise a solver of an SDE asks for, in order."""
    for sigma, sigma_next in pairwise(sampler.levels(sigmas, flow)):
        if sigma_next > 0:
            if sampler.evaluations == 2:
                middle = _middle(sigma, sigma_next, is_flow=flow is not None)
                yield sigma, middle
                yield sigma, middle, sigma_next
            else:
                yield sigma, sigma_next


def _middle(sigma: float, sigma_next: float, *, is_flow: bool) -> float:
    """Return the σ half-way in log(α/σ), with ComfyUI's rounding: a path tells 10⁻⁶ apart."""
    first, last = (torch.tensor(each) for each in (sigma, sigma_next))
    ratios = [(each.logit() if is_flow else each.log()).neg() for each in (first, last)]
    half = (ratios[0] + 0.5 * (ratios[1] - ratios[0])).neg()
    return (half.sigmoid() if is_flow else half.exp()).item()


def slerp(first: Tensor, second: Tensor, amount: float) -> Tensor:
    """Interpolate between two tensors along the great circle; amount: 0 … 1.

    A straight line would leave the sphere on which noise lies: half-way the deviation is 0.7,
    which models were not trained for. Shoemake (1985), "Animating rotation with quaternion curves".
    """
    if amount in (0, 1):
        return second if amount else first
    lengths = first.norm() * second.norm()
    angle = torch.acos(((first * second).sum() / lengths).clamp(-1, 1))
    if angle.sin() < 1e-6:  # equal or opposite directions: no great circle is defined
        return first + (second - first) * amount
    shares = torch.sin((1 - amount) * angle), torch.sin(amount * angle)
    return (first * shares[0] + second * shares[1]) / torch.sin(angle)
