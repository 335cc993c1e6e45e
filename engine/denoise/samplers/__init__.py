"""The samplers by name: generators over sigmas that yield requests for denoised latents.

sampling = SAMPLERS["heun"](x, sigmas, draw_noise)
x = drive(sampling, denoise)
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from engine.denoise.samplers.ancestral import (
    dpm_2_ancestral,
    dpmpp_2s_ancestral,
    euler_ancestral,
    lcm,
)
from engine.denoise.samplers.base import (
    DrawNoise,
    Request,
    Run,
    Sampler,
    Sampling,
    advance,
    by_noise_ratio,
    drive,
)
from engine.denoise.samplers.multistep import deis, dpmpp_2m, ipndm, lms, res_multistep
from engine.denoise.samplers.onestep import dpm_2, euler, heun
from engine.denoise.samplers.sde import dpmpp_2m_sde, dpmpp_3m_sde, dpmpp_sde
from engine.denoise.samplers.unipc import uni_pc

__all__ = ["SAMPLERS", "DrawNoise", "Request", "Sampler", "Sampling", "advance", "drive"]


def _both(run: Callable[..., Sampling], **properties: Any) -> Sampler:
    """Return a sampler that takes other steps on a flow."""
    return Sampler(run, partial(run, flow=True), **properties)


def _of_sde(run: Run, **properties: Any) -> Sampler:
    """Return a solver of the reverse SDE."""
    on_flow = by_noise_ratio(run)
    return Sampler(run, on_flow, uses_noise=True, brownian=True, finite=True, **properties)


SAMPLERS: Final[Mapping[str, Sampler]] = {
    "euler": Sampler(euler),
    "euler_ancestral": _both(euler_ancestral, uses_noise=True),
    "heun": Sampler(heun, evaluations=2),
    "dpm_2": Sampler(dpm_2, evaluations=2, drops_penultimate=True),
    "dpm_2_ancestral": _both(
        dpm_2_ancestral, evaluations=2, uses_noise=True, drops_penultimate=True
    ),
    "lms": Sampler(lms),
    "dpmpp_2m": Sampler(dpmpp_2m),
    "dpmpp_2s_ancestral": _both(dpmpp_2s_ancestral, evaluations=2, uses_noise=True),
    "dpmpp_2m_sde": _of_sde(dpmpp_2m_sde),
    "dpmpp_sde": _of_sde(dpmpp_sde, evaluations=2),
    "dpmpp_3m_sde": _of_sde(dpmpp_3m_sde),
    "ddim": Sampler(euler),
    "ddpm": Sampler(euler_ancestral, uses_noise=True, flows=False),
    "lcm": _both(lcm, uses_noise=True),
    "uni_pc": _both(uni_pc, drops_penultimate=True),
    "uni_pc_bh2": _both(partial(uni_pc, variant="bh2"), drops_penultimate=True),
    "ipndm": Sampler(ipndm),
    "deis": Sampler(deis),
    "res_multistep": Sampler(res_multistep),
}
