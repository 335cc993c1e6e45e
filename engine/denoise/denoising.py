"""The second stage: chisel noise away, step by step.

A `Denoising` is one picture's way from noise to latents; `evaluate` answers what any number of
them ask, in one call of the U-Net. Neither knows which sampler runs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor

from engine.denoise.control import Steer, steered
from engine.denoise.guidance import guide, needs_negative, rescale
from engine.denoise.inpainting import hold
from engine.denoise.multidiffusion import count as count_tiles
from engine.denoise.multidiffusion import piecewise
from engine.denoise.noise import start_noise
from engine.denoise.samplers import SAMPLERS, NoiseSource, Request, Sampling, advance
from engine.denoise.schedules import sigmas_for, start
from engine.loading.model import Model
from engine.loading.noise_schedule import NoiseSchedule, model_input
from engine.recipe.context_length import share_a_call
from engine.recipe.recipe import Recipe
from engine.text_encode.conditioning import Conditioning, blank, stack

Shape = tuple[int, int, int]  # one latent's: C, h, w


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ground:
    """Say what a pass of denoising begins on; with nothing else, on nothing but noise.

    latents: of a start image, [1, C, h, w] fp32; strength: how far they are noised; steps: of the
    pass; mask: where it is painted, [1, 1, h, w], 1 or 0; extra: what a U-Net for inpainting sees
    beside x, [1, E, h, w], or beside each tile of it; tile: the side of the tiles in which it is
    drawn, in latents; steers: the controls at work.
    """

    width: int  # pixels
    height: int
    steps: int
    latents: Tensor | None = None
    strength: float = 1.0
    mask: Tensor | None = None
    extra: Tensor | None = None
    tile: int | None = None
    steers: tuple[Steer, ...] = ()


class Line(NamedTuple):
    """Hold one row of a call: x, σ, what a U-Net for inpainting sees beside x, controls' says."""

    x: Tensor
    sigma: float
    extra: Tensor | None
    says: tuple[float, ...]


class Denoising:
    """Hold one picture's state between steps: what its sampler asks for, and how far it is.

    Without a ground it begins on noise, at the recipe's size. `conditions` holds what it brings to
    each of the calls that answer a request: mostly one call, of 1 or 2 rows, the negative prompt's,
    where guidance needs it, before the prompt's. Where their lengths are too different each row has
    a call of its own.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        picture: int,
        positive: Conditioning,
        negative: Conditioning,
        ground: Ground | None = None,
    ) -> None:
        ground = ground or Ground(width=recipe.width, height=recipe.height, steps=recipe.steps)
        self.picture = picture
        self.extra = ground.extra
        self.steers = ground.steers
        # A model with its guidance built in is told the scale; to it no negative prompt speaks.
        built_in = model.guidance_width
        self.guidance_scale = 1.0 if built_in else recipe.guidance_scale
        self.guidance_rescale = recipe.guidance_rescale
        self.loras = recipe.loras
        texts = (negative, positive) if needs_negative(self.guidance_scale) else (positive,)
        told = [
            text.sized(ground.width, ground.height).guided(recipe.guidance_scale, built_in)
            for text in texts
        ]
        together = share_a_call([text.tokens for text in texts])
        self.conditions = (stack(told),) if together else tuple(told)
        self.denoised: Tensor | None = None
        # Whom it led in its last call, and their conditions: mostly the next call's, too. Known
        # weakly: it is one of them, and a circle would keep what its controls hold.
        self.gathered: tuple[tuple[object, ...], list[Conditioning]] | None = None
        self._sampling, self.total = _sampling(model, recipe, picture, ground)
        self._state: Request | Tensor = advance(self._sampling)
        assert isinstance(self._state, Request), "at least one step"
        whole = shape_of(model, ground.width, ground.height)
        self.shape: Shape = (whole[0], *self._state.x.shape[2:])  # of what it asks about
        self._whole = self.shape == whole
        calls = 1 if ground.tile is None else count_tiles(*whole[1:], ground.tile)
        # At most: the last step may take one.
        self.evaluations = SAMPLERS[recipe.sampler].evaluations * self.total * calls

    @property
    def rows(self) -> int:
        """Return how many rows it brings to a call: two with guidance, else one."""
        return self.conditions[0].rows

    @property
    def kind(self) -> tuple[Hashable, ...]:
        """Return what the pictures of one call must have in common: shape, LoRAs and controls, and
        how many calls answer them.
        """
        steers = (steer.key for steer in self.steers)
        return self.shape, self.loras, len(self.conditions), *steers

    @property
    def tokens(self) -> tuple[int, ...]:
        """Return how many tokens long its context is in each of the calls that answer it."""
        return tuple(each.tokens for each in self.conditions)

    @property
    def request(self) -> Request | None:
        """Return what the sampler asks for, or None once it is done."""
        return self._state if isinstance(self._state, Request) else None

    def lines(self) -> list[Line]:
        """Return what it asks for, for each of its rows."""
        request = self.request
        assert request is not None
        says = tuple(steer.say(request.step, self.total) for steer in self.steers)
        return [Line(request.x, request.sigma, self.extra, says)] * self.rows

    @property
    def latents(self) -> Tensor:
        """Return the finished latents, [1, C, h, w] fp32."""
        assert not isinstance(self._state, Request), "still at work"
        return self._state

    @property
    def step(self) -> int:
        """Return how many steps are done."""
        return self._state.step if isinstance(self._state, Request) else self.total

    def advance(self, denoised: Tensor) -> None:
        """Give the sampler what it asked for, [1, C, h, w] fp32."""
        if self._whole:
            self.denoised = denoised
        self._state = advance(self._sampling, denoised)
        if self.request is None:
            self.gathered = None  # its memory is not to wait for the picture's end


def shape_of(model: Model, width: int, height: int) -> Shape:
    """Return the shape of the latents of a picture of that size in pixels."""
    return model.latent_channels, height // model.latent_scale, width // model.latent_scale


def _sampling(model: Model, recipe: Recipe, picture: int, ground: Ground) -> tuple[Sampling, int]:
    """Begin sampling; return it, and how many steps it takes."""
    schedule = model.noise_schedule
    sigmas = sigmas_for(
        recipe.sampler, recipe.schedule, ground.steps, ground.strength, noise_schedule=schedule
    )
    shape = shape_of(model, ground.width, ground.height)
    noise = start_noise(recipe, picture, shape).to(model.device)
    x = start(noise, float(sigmas[0]), schedule.sigma_max, ground.latents)
    source = NoiseSource(recipe.seed, recipe.count, [picture])
    sampling = SAMPLERS[recipe.sampler](x, sigmas, source)
    if ground.mask is not None and ground.latents is not None:
        sampling = hold(sampling, ground.latents, noise, ground.mask)
    if ground.tile is not None and max(shape[1:]) > ground.tile:
        sampling = piecewise(sampling, ground.tile)
    return sampling, len(sigmas) - 1


def evaluate(model: Model, batch: Sequence[Denoising], rows: int = 0) -> list[Tensor]:
    """Call the U-Net for a batch; return each picture's guided `denoised`, [1, C, h, w].

    Every picture of the batch must have a request, and all one kind. Timesteps differ by row, and
    contexts of different lengths are repeated to a common one. Each call is padded to `rows` rows,
    since their number moves the last bits of each row: at one number a picture's are always the
    same.
    """
    lines = [line for picture in batch for line in picture.lines()]
    used = len(lines)
    lines += lines[:1] * max(0, rows - used)
    sigmas = [line.sigma for line in lines]
    timesteps = [_timestep(model.noise_schedule, sigma) for sigma in sigmas]
    # One copy to the device for both; as fp32 the timesteps, whole numbers below 1000, are exact.
    levels = torch.tensor([sigmas, timesteps]).to(model.device)
    extras = [line.extra for line in lines if line.extra is not None]
    predict = partial(
        _predict,
        model,
        torch.cat([line.x for line in lines]),
        torch.cat(extras) if extras else None,
        levels,
        steer=partial(steered, batch[0].steers, [line.says for line in lines]),
    )
    answers = [predict(conditions)[:used] for conditions in _gather(batch, len(lines) - used)]
    by_call = [torch.split(answer, [picture.rows for picture in batch]) for answer in answers]
    return [
        _guide(torch.cat(parts), picture)
        for parts, picture in zip(zip(*by_call, strict=True), batch, strict=True)
    ]


def rehearse(model: Model, shape: Shape, steers: Sequence[Steer], rows: int) -> None:
    """Call the U-Net with so many rows of noise in one latent's shape, for what that costs.

    Prompts are of one window, and all controls have their say.
    """
    channels, height, width = shape
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    x = draw((rows, channels, height, width)).to(model.device)
    beside = int(model.unet.config.in_channels) - channels
    extra = draw((rows, beside, height, width)).to(model.device) if beside else None
    levels = torch.tensor([[1.0] * rows, [500.0] * rows]).to(model.device)
    says = [(1.0,) * len(steers)] * rows
    _predict(model, x, extra, levels, blank(model, rows), partial(steered, steers, says))


def _guide(denoised: Tensor, picture: Denoising) -> Tensor:
    """Return what the sampler hears of a picture's rows, [1 or 2, C, h, w]."""
    guided, request = guide(denoised, picture.guidance_scale), picture.request
    if request is None or not picture.guidance_rescale or len(denoised) == 1:
        return guided
    return rescale(guided, denoised[1:], request.x, request.sigma, picture.guidance_rescale)


@lru_cache(maxsize=4096)
def _timestep(schedule: NoiseSchedule, sigma: float) -> float:
    return float(schedule.timestep(sigma))


def _gather(batch: Sequence[Denoising], padding: int) -> list[Conditioning]:
    """Stack the batch's conditions, a row each for each call, unless its first one has."""
    company = (*map(ref, batch), padding)
    leader = batch[0]
    if leader.gathered is None or leader.gathered[0] != company:
        by_call = zip(*(picture.conditions for picture in batch), strict=True)
        leader.gathered = company, [stack(parts, padding) for parts in by_call]
    return leader.gathered[1]


def _predict(
    model: Model,
    x: Tensor,
    extra: Tensor | None,
    levels: Tensor,
    conditioning: Conditioning,
    steer: Callable[[Tensor, Tensor, Mapping[str, Any]], Mapping[str, Any]],
) -> Tensor:
    """Return the model's guess at the clean latents of rows x [n, C, h, w], fp32.

    extra: what else it sees, [n, E, h, w], the same at every σ; levels: each row's σ and timestep,
    [2, n]; conditioning: n rows; steer: returns what controls add. Only the networks work in the
    model's dtype.
    """
    sigma = levels[0].view(-1, 1, 1, 1)
    scaled = model_input(x, sigma)
    inputs = scaled if extra is None else torch.cat([scaled, extra], dim=1)
    told = conditioning.arguments(model.dtype)
    told |= steer(scaled.to(model.dtype), levels[1], told)
    if conditioning.guidance is not None:  # which controls are not told
        told["timestep_cond"] = conditioning.guidance.to(model.dtype)
    output = model.unet(inputs.to(model.dtype), levels[1], **told, return_dict=False)[0]
    return model.noise_schedule.denoised(x, sigma, output)
