"""The samplers by name: generators over sigmas that yield requests for denoised latents.

sampling = SAMPLERS["heun"](x, sigmas, NoiseSource(seed))
x = drive(sampling, denoise)
"""

from collections.abc import Mapping
from typing import Final

from engine.denoise.samplers.ancestral import (
    dpm_2_ancestral,
    dpmpp_2s_ancestral,
    euler_ancestral,
    lcm,
)
from engine.denoise.samplers.base import NoiseSource, Request, Sampler, Sampling, advance, drive
from engine.denoise.samplers.multistep import deis, dpmpp_2m, ipndm, lms, res_multistep
from engine.denoise.samplers.onestep import dpm_2, euler, heun
from engine.denoise.samplers.sde import dpmpp_2m_sde, dpmpp_3m_sde, dpmpp_sde
from engine.denoise.samplers.unipc import uni_pc, uni_pc_bh2

__all__ = ["SAMPLERS", "NoiseSource", "Request", "Sampler", "Sampling", "advance", "drive"]

SAMPLERS: Final[Mapping[str, Sampler]] = {
    "euler": Sampler(euler),
    "euler_ancestral": Sampler(euler_ancestral, uses_noise=True),
    "heun": Sampler(heun, evaluations=2),
    "dpm_2": Sampler(dpm_2, evaluations=2, drops_penultimate=True),
    "dpm_2_ancestral": Sampler(
        dpm_2_ancestral, evaluations=2, uses_noise=True, drops_penultimate=True
    ),
    "lms": Sampler(lms),
    "dpmpp_2m": Sampler(dpmpp_2m),
    "dpmpp_2s_ancestral": Sampler(dpmpp_2s_ancestral, evaluations=2, uses_noise=True),
    "dpmpp_2m_sde": Sampler(dpmpp_2m_sde, uses_noise=True),
    "dpmpp_sde": Sampler(dpmpp_sde, evaluations=2, uses_noise=True),
    "dpmpp_3m_sde": Sampler(dpmpp_3m_sde, uses_noise=True),
    "ddim": Sampler(euler),
    "ddpm": Sampler(euler_ancestral, uses_noise=True),
    "lcm": Sampler(lcm, uses_noise=True),
    "uni_pc": Sampler(uni_pc, drops_penultimate=True),
    "uni_pc_bh2": Sampler(uni_pc_bh2, drops_penultimate=True),
    "ipndm": Sampler(ipndm),
    "deis": Sampler(deis),
    "res_multistep": Sampler(res_multistep),
}
