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
from engine.samplers import SAMPLERS, NoiseSource
from engine.schedules import sigmas_for, start


class Denoising:
    """Hold one picture's state between steps: what its sampler asks for, and how far it is."""

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        picture: int,
        noise: Tensor,
        positive: Tensor,
        negative: Tensor,
    ) -> None:
        self.picture = picture
        self.guidance_scale = recipe.guidance_scale
        self.context = _context(positive, negative, recipe.guidance_scale)
        self.denoised: Tensor | None = None
        sampler = SAMPLERS[recipe.sampler]
        sigmas = sigmas_for(
            recipe.sampler, recipe.schedule, recipe.steps, noise_schedule=model.noise_schedule
        )
        self.total = len(sigmas) - 1
        x = start(noise.to(model.device), sigmas[0], model.noise_schedule)
        self._generator = sampler.run(x, sigmas, NoiseSource(recipe.seed, picture))
        self.request = next(self._generator, None)
        self.latents = x

    @property
    def step(self) -> int:
        """Return how many steps are done."""
        return self.total if self.request is None else self.request.step

    def advance(self, denoised: Tensor) -> None:
        """Give the sampler what it asked for; `request` is None once `latents` are final."""
        self.denoised = denoised
        try:
            self.request = self._generator.send(denoised)
        except StopIteration as end:
            self.request = None
            self.latents = end.value


def draw_noise(seed: int, count: int, shape: tuple[int, int, int]) -> Tensor:
    """Draw the noise of all pictures of a job at once, fp32 [count, C, h, w], on the CPU.

    Picture i is slice i of this one draw (ComfyUI's rule), so that picture 3 of 4 stays the same
    when it is made again alone.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, *shape), generator=generator)


def evaluate(model: Model, batch: Sequence[Denoising]) -> list[Tensor]:
    """Call the U-Net once for a batch and return each picture's guided `denoised`, [1, C, h, w].

    Each picture brings one row, or two with guidance; timesteps differ by row.
    """
    xs, contexts, sigmas = [], [], []
    for picture in batch:
        assert picture.request is not None
        rows = len(picture.context)
        xs.append(picture.request.x.expand(rows, -1, -1, -1))
        contexts.append(picture.context)
        sigmas += [picture.request.sigma] * rows
    denoised = _predict(model, torch.cat(xs), sigmas, torch.cat(contexts))
    parts = denoised.split([len(picture.context) for picture in batch])
    return [guide(part, picture.guidance_scale) for part, picture in zip(parts, batch, strict=True)]


def _predict(model: Model, x: Tensor, sigmas: list[float], context: Tensor) -> Tensor:
    """Return the model's guess at the clean latents of rows x [n, C, h, w] in fp32."""
    schedule = model.noise_schedule
    timesteps = torch.tensor([schedule.timestep(sigma) for sigma in sigmas], device=x.device)
    sigma = torch.tensor(sigmas, device=x.device).view(-1, 1, 1, 1)
    inputs = schedule.scale_input(x, sigma).to(model.dtype)
    output = model.unet(inputs, timesteps, context.to(model.dtype), return_dict=False)[0]
    return schedule.denoised(output.float(), x, sigma)


def _context(positive: Tensor, negative: Tensor, guidance_scale: float) -> Tensor:
    """Return the rows a picture brings to each call: [negative, positive], or positive alone."""
    if not needs_negative(guidance_scale):
        return positive
    return torch.cat(pad_alike(negative, positive))
