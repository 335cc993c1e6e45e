"""The samplers, by name: each a generator over sigmas that asks for denoised latents.

for name, sampler in SAMPLERS.items():
    x = drive(sampler(x, sigmas, NoiseSource(seed)), denoise)
"""

from collections.abc import Mapping
from typing import Final

from engine.samplers.ancestral import euler_ancestral, lcm
from engine.samplers.base import NoiseSource, Request, Sampler, Sampling, advance, drive
from engine.samplers.multistep import dpmpp_2m
from engine.samplers.onestep import euler, heun

__all__ = ["SAMPLERS", "NoiseSource", "Request", "Sampler", "Sampling", "advance", "drive"]

SAMPLERS: Final[Mapping[str, Sampler]] = {
    "euler": Sampler(euler),
    "euler_ancestral": Sampler(euler_ancestral, uses_noise=True),
    "heun": Sampler(heun, order=2, evaluations=2),
    "dpmpp_2m": Sampler(dpmpp_2m, order=2),
    "ddim": Sampler(euler),
    "lcm": Sampler(lcm, uses_noise=True),
}
