"""Rectified flow: the noise of models that predict velocities, such as FLUX and Z-Image.

x = (1 − σ)·latent + σ·noise with σ in 0 … 1, and the network predicts v = noise − latent: Liu et
al. (2022), arXiv:2209.03003.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engine.loading.noise_schedule import SigmaTable


@dataclass(frozen=True, kw_only=True)
class FlowSchedule(SigmaTable):
    """Describe how a flow model spaces its noise levels.

    shift: s in σ(t) = s·t/(1 + (s − 1)·t), t in 0 … 1, which moves steps towards the noise for
    large pictures: Esser et al. (2024), arXiv:2403.03206, section 5.3.2; entries: of the table of
    σ, from t = 1/entries to 1.
    """

    is_flow = True
    shift: float = 1.0
    entries: int = 1000

    @cached_property
    def sigmas(self) -> Tensor:
        """Return the table of σ, [entries] fp32, ascending to 1."""
        return self.sigma(torch.arange(1, self.entries + 1, dtype=torch.float64) / self.entries)

    @property
    def timesteps(self) -> tuple[float, float]:
        """Return the timesteps between which `normal` and `sgm_uniform` space theirs.

        They are the ends of the table, so that these two schedules apply the shift twice, as
        ComfyUI's do.
        """
        return self.sigma_max, self.sigma_min

    def sigma(self, timestep: Tensor | float) -> Tensor:
        """Return σ, fp32, at timesteps in 0 … 1, of any shape."""
        t = torch.as_tensor(timestep, dtype=torch.float64)
        return (self.shift * t / (1 + (self.shift - 1) * t)).float()

    def sigma_after(self, share: float) -> float:
        """Return σ after a share of the time, 0 … 1, not rounded."""
        t = 1 - share
        return self.shift * t / (1 + (self.shift - 1) * t)

    @property
    def sigma_finite(self) -> float:
        """Return the σ just below 1 from which samplers start that need a signal-to-noise ratio
        above 0: that of t = 0.9999, as in ComfyUI.
        """
        return self.sigma(1 - 1e-4).item()

    def add_noise(self, latents: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """Return (1 − σ)·latents + σ·noise, all [B, C, h, w]; at σ = 1 the noise alone."""
        return latents * (1 - sigma) + noise * sigma

    def start(self, noise: Tensor, sigma: float, latents: Tensor | None = None) -> Tensor:
        """Return x at the first σ, in the shape of noise; without latents it is σ·noise."""
        return noise * sigma if latents is None else self.add_noise(latents, noise, sigma)


def linear_mu(tokens: float, low: tuple[int, float], high: tuple[int, float]) -> float:
    """Return μ for a number of image tokens, on the line through two points; the shift is e^μ.

    FLUX.1-dev: (256, 0.5) and (4096, 1.15). It goes on beyond both points.
    """
    slope = (high[1] - low[1]) / (high[0] - low[0])
    return low[1] + slope * (tokens - low[0])


def flux2_mu(tokens: int, steps: int) -> float:
    """Return FLUX.2's μ for a number of image tokens and steps, as its makers fitted it.

    They fitted it up to 200 steps; beyond these it stays.
    """
    many = 0.00016927 * tokens + 0.45666666  # for 200 steps
    if tokens > 4300:
        return many
    few = 8.73809524e-05 * tokens + 1.89833333  # for 10 steps
    slope = (many - few) / 190
    return slope * min(steps, 200) + many - 200 * slope
