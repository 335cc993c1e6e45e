"""The second stage: chisel noise away, step by step.

A `Denoising` is one picture's way from noise to latents; `evaluate` answers what any number of
them ask, in one call of the U-Net. Neither knows which sampler runs.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import lcm

import torch
from torch import Tensor

from engine.conditioning import pad_alike
from engine.guidance import guide, needs_negative
from engine.loading import Model
from engine.recipe import Recipe
from engine.samplers import SAMPLERS, NoiseSource, Request, advance
from engine.schedules import NoiseSchedule, initial_noise, model_input, sigmas_for, start


class Denoising:
    """Hold one picture's state between steps: what its sampler asks for, and how far it is.

    `context` holds the rows that it brings to each call, [1 or 2, tokens, width]: the negative
    prompt's, where guidance needs it, before the prompt's.
    """

    def __init__(
        self, model: Model, recipe: Recipe, picture: int, positive: Tensor, negative: Tensor
    ) -> None:
        self.picture = picture
        self.guidance_scale = recipe.guidance_scale
        self.context = (
            torch.cat(pad_alike(negative, positive))
            if needs_negative(recipe.guidance_scale)
            else positive
        )
        self.denoised: Tensor | None = None
        # Whom it led in its last call, and their contexts: mostly the next call's, too.
        self.gathered: tuple[tuple[object, ...], Tensor] | None = None
        schedule = model.noise_schedule
        sigmas = sigmas_for(recipe.sampler, recipe.schedule, recipe.steps, noise_schedule=schedule)
        self.total = len(sigmas) - 1
        scale = model.latent_scale
        shape = (model.latent_channels, recipe.height // scale, recipe.width // scale)
        noise = initial_noise(recipe.seed, recipe.count, shape, [picture]).to(model.device)
        x = start(noise, float(sigmas[0]), schedule.sigma_max)
        sampler = SAMPLERS[recipe.sampler]
        self.evaluations = sampler.evaluations * self.total  # at most: the last step may take one
        self._sampling = sampler(x, sigmas, NoiseSource(recipe.seed, recipe.count, [picture]))
        self._state: Request | Tensor = advance(self._sampling)

    @property
    def rows(self) -> int:
        """Return how many rows it brings to a call: two with guidance, else one."""
        return len(self.context)

    @property
    def tokens(self) -> int:
        """Return how many tokens long its context is."""
        return self.context.shape[1]

    @property
    def request(self) -> Request | None:
        """Return what the sampler asks for, or None once it is done."""
        return self._state if isinstance(self._state, Request) else None

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
        self.denoised = denoised
        self._state = advance(self._sampling, denoised)
        if self.request is None:
            self.gathered = None  # or who is done would keep whom it led, and they their company


def evaluate(model: Model, batch: Sequence[Denoising], rows: int = 0) -> list[Tensor]:
    """Call the U-Net once for a batch; return each picture's guided `denoised`, [1, C, h, w].

    Every picture of the batch must have a request. Timesteps differ by row, and contexts of
    different lengths are repeated to a common one. The call is padded to `rows` rows, since their
    number moves the last bits of each row: at one number a picture's are always the same.
    """
    x, sigmas, timesteps = [], [], []
    for picture in batch:
        request = picture.request
        assert request is not None
        x += [request.x] * picture.rows
        sigmas += [request.sigma] * picture.rows
        timesteps += [_timestep(model.noise_schedule, request.sigma)] * picture.rows
    used, padding = len(x), max(0, rows - len(x))
    for each in (x, sigmas, timesteps):
        each += each[:1] * padding  # type: ignore[operator]
    # One copy to the device for both; as fp32 the timesteps, whole numbers below 1000, are exact.
    levels = torch.tensor([sigmas, timesteps]).to(model.device)
    denoised = _predict(model, torch.cat(x), levels, _gather(batch, padding))[:used]
    parts = torch.split(denoised, [picture.rows for picture in batch])
    return [guide(part, picture.guidance_scale) for part, picture in zip(parts, batch, strict=True)]


@lru_cache(maxsize=4096)
def _timestep(schedule: NoiseSchedule, sigma: float) -> float:
    return float(schedule.timestep(sigma))


def _gather(batch: Sequence[Denoising], padding: int) -> Tensor:
    """Stack the batch's contexts to [rows + padding, tokens, width], unless its first one has."""
    company = (*batch, padding)
    leader = batch[0]
    if leader.gathered is None or leader.gathered[0] != company:
        tokens = lcm(*(picture.tokens for picture in batch))
        alike = [picture.context.repeat(1, tokens // picture.tokens, 1) for picture in batch]
        context = torch.cat([*alike, alike[0][:1].expand(padding, -1, -1)])
        leader.gathered = company, context
    return leader.gathered[1]


def _predict(model: Model, x: Tensor, levels: Tensor, context: Tensor) -> Tensor:
    """Return the model's guess at the clean latents of rows x [n, C, h, w], fp32.

    levels: each row's σ and timestep, [2, n]; context: [n, tokens, width]. Only the U-Net works in
    its own dtype.
    """
    sigma = levels[0].view(-1, 1, 1, 1)
    inputs = model_input(x, sigma).to(model.dtype)
    output = model.unet(inputs, levels[1], context.to(model.dtype), return_dict=False)[0]
    return model.noise_schedule.denoised(x, sigma, output)
