"""The second stage: chisel noise away, step by step.

A `Denoising` is one picture's way from noise to latents; `evaluate` answers what any number of
them ask, in one call of the U-Net. Neither knows which sampler runs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.conditioning import pad_alike
from engine.guidance import guide, needs_negative
from engine.loading import Model
from engine.recipe import Recipe
from engine.samplers import SAMPLERS, NoiseSource, Request, advance
from engine.schedules import initial_noise, model_input, sigmas_for, start


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
        schedule = model.noise_schedule
        sigmas = sigmas_for(recipe.sampler, recipe.schedule, recipe.steps, noise_schedule=schedule)
        self.total = len(sigmas) - 1
        scale = model.latent_scale
        shape = (model.latent_channels, recipe.height // scale, recipe.width // scale)
        noise = initial_noise(recipe.seed, recipe.count, shape, [picture]).to(model.device)
        x = start(noise, float(sigmas[0]), schedule.sigma_max)
        self._sampling = SAMPLERS[recipe.sampler](
            x, sigmas, NoiseSource(recipe.seed, recipe.count, [picture])
        )
        self._state: Request | Tensor = advance(self._sampling)

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


def evaluate(model: Model, batch: Sequence[Denoising]) -> list[Tensor]:
    """Call the U-Net once for a batch; return each picture's guided `denoised`, [1, C, h, w].

    Every picture of the batch must have a request. Timesteps differ by row.
    """
    requests = [picture.request for picture in batch]
    x, sigmas = [], []
    for request, picture in zip(requests, batch, strict=True):
        assert request is not None
        x.append(request.x.expand(len(picture.context), -1, -1, -1))
        sigmas += [request.sigma] * len(picture.context)
    context = torch.cat([picture.context for picture in batch])
    denoised = _predict(model, torch.cat(x), torch.tensor(sigmas), context)
    parts = torch.split(denoised, [len(picture.context) for picture in batch])
    return [guide(part, picture.guidance_scale) for part, picture in zip(parts, batch, strict=True)]


def _predict(model: Model, x: Tensor, sigmas: Tensor, context: Tensor) -> Tensor:
    """Return the model's guess at the clean latents of rows x [n, C, h, w], fp32.

    sigmas: [n] on the CPU; context: [n, tokens, width]. Only the U-Net works in its own dtype.
    """
    timesteps = model.noise_schedule.timestep(sigmas).to(x.device)
    sigma = sigmas.to(x.device).view(-1, 1, 1, 1)
    inputs = model_input(x, sigma).to(model.dtype)
    output = model.unet(inputs, timesteps, context.to(model.dtype), return_dict=False)[0]
    return model.noise_schedule.denoised(x, sigma, output)
