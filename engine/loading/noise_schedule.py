"""The noise that a model was trained with, and how its network's output is read.

σ (sigma) is the standard deviation of the noise on a latent of unit scale, in the
variance-exploding form of Karras et al. (2022): x = latent + σ·noise. t is the index of σ in the
table of noise levels that the model was trained with. The table is small and lies on
the CPU.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Final

import torch
from torch import Tensor

from engine.errors import shorten
from engine.recipe.patches import LCM

ZERO_SNR: Final = 4.8973451890853435e-08


class SigmaTable(ABC):
    """The noise levels that a model knows, and how latents are noised to one of them."""

    is_flow = False  # x is a mean of latents and noise, instead of their sum

    @property
    @abstractmethod
    def sigmas(self) -> Tensor:
        """Return the table of σ, fp32, ascending."""

    @property
    @abstractmethod
    def timesteps(self) -> tuple[float, float]:
        """Return the first and the last timestep, from noise to picture."""

    @abstractmethod
    def sigma(self, timestep: Tensor | float) -> Tensor:
        """Return σ, fp32, at timesteps of any shape."""

    @abstractmethod
    def sigma_after(self, share: float) -> float:
        """Return σ after a share of the model's time, 0 … 1, as ComfyUI's `percent_to_sigma`."""

    @abstractmethod
    def add_noise(self, latents: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """Return latents with noise at σ, all [B, C, h, w]."""

    @abstractmethod
    def start(self, noise: Tensor, sigma: float, latents: Tensor | None = None) -> Tensor:
        """Return x at the first σ, in the shape of noise; without latents of noise alone."""

    @property
    def sigma_min(self) -> float:
        """Return the least σ of the table."""
        return self.sigmas[0].item()

    @property
    def sigma_max(self) -> float:
        """Return the greatest σ of the table."""
        return self.sigmas[-1].item()


@dataclass(frozen=True, kw_only=True)
class NoiseSchedule(SigmaTable):
    """Describe the noise that a model was trained with, as its `scheduler_config.json` does.

    An unknown `beta_schedule` or `prediction_type` raises `ValueError`.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    zero_snr: bool = False  # the table ends in pure noise
    stride: int = 1  # of the table's entries, those that the model was distilled at

    def __post_init__(self) -> None:
        for key, allowed in (("beta_schedule", BETAS), ("prediction_type", PREDICTIONS)):
            if getattr(self, key) not in allowed:
                known = ", ".join(allowed)
                raise ValueError(f"{key} must be one of {known}, not {shorten(getattr(self, key))}")

    @cached_property
    def sigmas(self) -> Tensor:
        """Return the table of σ, [num_train_timesteps] fp32, ascending."""
        return self._sigmas64.float()

    @cached_property
    def log_sigmas(self) -> Tensor:
        """Return the table of log σ, [num_train_timesteps] fp32, rounded once."""
        return self._sigmas64.log().float()

    @cached_property
    def _sigmas64(self) -> Tensor:
        return self._all_sigmas[self.stride - 1 :: self.stride]

    @property
    def _all_sigmas(self) -> Tensor:
        betas = BETAS[self.beta_schedule](self.beta_start, self.beta_end, self.num_train_timesteps)
        alphas_cumprod = (1 - betas).cumprod(0)
        if self.zero_snr:
            alphas_cumprod = _to_zero_snr(alphas_cumprod)
        return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()

    @property
    def timesteps(self) -> tuple[float, float]:
        """Return the first and the last timestep, from noise to picture."""
        return self.num_train_timesteps - 1, self.stride - 1

    def sigma(self, timestep: Tensor | float) -> Tensor:
        """Return σ at (fractional) timesteps of any shape: log σ is linear between entries."""
        place = (torch.as_tensor(timestep, dtype=torch.float32) - (self.stride - 1)) / self.stride
        t = place.clamp(0, len(self.sigmas) - 1)
        low, high, weight = t.floor().long(), t.ceil().long(), t.frac()
        return torch.exp((1 - weight) * self.log_sigmas[low] + weight * self.log_sigmas[high])

    def sigma_after(self, share: float) -> float:
        """Return σ after a share of the timesteps, 0 … 1."""
        return self.sigma((1 - share) * self.timesteps[0]).item()

    def timestep(self, sigma: Tensor | Sequence[float] | float) -> Tensor:
        """Return the timestep (int64) whose log σ is nearest, for σ of any shape."""
        log_sigma = torch.as_tensor(sigma, dtype=torch.float32).log()
        index = (log_sigma.unsqueeze(-1) - self.log_sigmas).abs().argmin(-1)
        return index * self.stride + (self.stride - 1)

    def denoised(
        self,
        x: Tensor,
        sigma: Tensor | float,
        output: Tensor,
        timestep: Tensor | float | None = None,
    ) -> Tensor:
        """Read the denoised latent, fp32, out of the model's output for `model_input(x, sigma)`.

        x: [B, C, h, w] fp32; sigma: a number, or [B, 1, 1, 1] on x's device; output: [B, C, h, w]
        in the model's dtype; timestep: as sigma, of that σ (None: it is looked up).
        """
        seen = PREDICTIONS[self.prediction_type](x, sigma, output.to(x.dtype))
        if self.stride == 1:
            return seen
        # Luo et al. (2023), arXiv:2310.04378, equation 9, with σ_data = ½ and timesteps times ten.
        t = 10 * (self.timestep(sigma) if timestep is None else timestep)
        spread = t**2 + 0.25
        return seen * (t / spread**0.5) + x * (0.25 / spread)

    def add_noise(self, latents: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """Return latents + σ·noise, all [B, C, h, w]."""
        return latents + noise * sigma

    def start(self, noise: Tensor, sigma: float, latents: Tensor | None = None) -> Tensor:
        """Return x at the first σ, in the shape of noise: latents + noise·σ (no latents: noise·σ).

        At the table's top it is latents + noise·√(1+σ²), so that the model's first input, scaled by
        1/√(1+σ²), holds the noise at its full, unit variance.
        """
        if sigma > self.sigma_max or math.isclose(sigma, self.sigma_max, rel_tol=1e-5):
            sigma = math.sqrt(1 + sigma**2)
        return noise * sigma if latents is None else latents + noise * sigma


def model_input(x: Tensor, sigma: Tensor | float) -> Tensor:
    """Scale x to unit variance for the model, x/√(σ²+1): fp32, to be cast to its dtype.

    Shapes as in `NoiseSchedule.denoised`.
    """
    return x / (sigma**2 + 1) ** 0.5


def _from_epsilon(x: Tensor, sigma: Tensor | float, epsilon: Tensor) -> Tensor:
    return x - epsilon * sigma


def _from_v(x: Tensor, sigma: Tensor | float, v: Tensor) -> Tensor:
    # Salimans & Ho (2022), arXiv:2202.00512, appendix D, with x = x_vp·√(σ²+1).
    return x / (sigma**2 + 1) - v * sigma / (sigma**2 + 1) ** 0.5


PREDICTIONS: Final[Mapping[str, Callable[[Tensor, Tensor | float, Tensor], Tensor]]] = {
    "epsilon": _from_epsilon,
    "v_prediction": _from_v,
    "sample": lambda x, sigma, output: output,
}


def _scaled_linear(start: float, end: float, count: int) -> Tensor:
    return torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2


def _to_zero_snr(alphas_cumprod: Tensor) -> Tensor:
    """Shift and stretch √ᾱ so that the last is 0: Lin et al. (2023), arXiv:2305.08891, section 3.1.

    A σ cannot be infinite; ComfyUI's smallest ᾱ is taken instead, which makes it 4519.
    """
    roots = alphas_cumprod.sqrt()
    squared = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    return torch.cat([squared[:-1], squared.new_full((1,), ZERO_SNR)])


BETAS: Final[Mapping[str, Callable[[float, float, int], Tensor]]] = {
    "linear": partial(torch.linspace, dtype=torch.float64),
    "scaled_linear": _scaled_linear,
}
# Latent consistency models take steps between as many entries of the table.
LCM_ENTRIES: Final = 50
# How a network's output is read, by ComfyUI's names for it.
READ_AS: Final[Mapping[str, str]] = {
    "eps": "epsilon", "v_prediction": "v_prediction", LCM: "epsilon", "x0": "sample",
}  # fmt: skip


@lru_cache(maxsize=64)
def read_as(schedule: NoiseSchedule, reading: str, zero_snr: bool) -> NoiseSchedule:
    """Return a schedule with the output read otherwise, as ComfyUI's ModelSamplingDiscrete does.

    reading: of `READ_AS`; lcm also takes every 20th of a thousand noise levels alone.
    """
    stride = schedule.num_train_timesteps // LCM_ENTRIES if reading == LCM else 1
    return replace(schedule, prediction_type=READ_AS[reading], zero_snr=zero_snr, stride=stride)
