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
    numbered,
)
from engine.denoise.samplers.cfg_pp import (
    dpmpp_2m_cfg_pp,
    dpmpp_2s_ancestral_cfg_pp,
    euler_ancestral_cfg_pp,
    gradient_estimation_cfg_pp,
    res_multistep_cfg_pp,
)
from engine.denoise.samplers.er_sde import er_sde
from engine.denoise.samplers.multistep import (
    deis,
    dpmpp_2m,
    gradient_estimation,
    ipndm,
    ipndm_v,
    lms,
    res_multistep,
)
from engine.denoise.samplers.onestep import dpm_2, euler, heun, heunpp2
from engine.denoise.samplers.sa_solver import sa_solver
from engine.denoise.samplers.sde import HEUN, dpmpp_2m_sde, dpmpp_3m_sde, dpmpp_sde
from engine.denoise.samplers.seeds import exp_heun_2_x0, seeds_2, seeds_3
from engine.denoise.samplers.unipc import uni_pc

__all__ = [
    "SAMPLERS",
    "DrawNoise",
    "Request",
    "Sampler",
    "Sampling",
    "advance",
    "drive",
    "numbered",
]

MIDDLE: Final = (0.2, 0.8)  # of the model's time, in which ComfyUI's SA-Solver adds noise


def _both(run: Callable[..., Sampling], **properties: Any) -> Sampler:
    """Return a sampler that takes other steps on a flow."""
    return Sampler(run, partial(run, flow=True), **properties)


def _by_ratio(run: Run, **properties: Any) -> Sampler:
    """Return a sampler that works on the ratio of noise to latents."""
    return Sampler(run, by_noise_ratio(run), finite=True, **properties)


def _of_sde(run: Run, **properties: Any) -> Sampler:
    """Return a solver of the reverse SDE with the noise of a path in σ."""
    return _by_ratio(run, uses_noise=True, brownian=True, **properties)


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
    "er_sde": _by_ratio(er_sde, uses_noise=True),
    "dpmpp_2m_sde_heun": _of_sde(partial(dpmpp_2m_sde, form=HEUN)),
    "gradient_estimation": Sampler(gradient_estimation),
    "res_multistep_ancestral": Sampler(partial(res_multistep, eta=1.0), uses_noise=True),
    "sa_solver": _by_ratio(sa_solver, uses_noise=True, noisy_between=MIDDLE),
    "sa_solver_pece": _by_ratio(
        partial(sa_solver, again=True), evaluations=2, uses_noise=True, noisy_between=MIDDLE
    ),
    "seeds_2": _by_ratio(seeds_2, evaluations=2, uses_noise=True),
    "seeds_3": _by_ratio(seeds_3, evaluations=3, uses_noise=True),
    "exp_heun_2_x0": _by_ratio(exp_heun_2_x0, evaluations=2),
    "exp_heun_2_x0_sde": _by_ratio(partial(exp_heun_2_x0, eta=1.0), evaluations=2, uses_noise=True),
    "heunpp2": Sampler(heunpp2, evaluations=3),
    "ipndm_v": Sampler(ipndm_v),
    "euler_cfg_pp": _both(partial(euler_ancestral_cfg_pp, eta=0.0), unguided=True),
    "euler_ancestral_cfg_pp": _both(euler_ancestral_cfg_pp, uses_noise=True, unguided=True),
    "dpmpp_2m_cfg_pp": Sampler(dpmpp_2m_cfg_pp, unguided=True),
    "dpmpp_2s_ancestral_cfg_pp": Sampler(
        dpmpp_2s_ancestral_cfg_pp, evaluations=2, uses_noise=True, unguided=True
    ),
    "res_multistep_cfg_pp": Sampler(res_multistep_cfg_pp, unguided=True),
    "res_multistep_ancestral_cfg_pp": Sampler(
        partial(res_multistep_cfg_pp, eta=1.0), uses_noise=True, unguided=True
    ),
    "gradient_estimation_cfg_pp": Sampler(gradient_estimation_cfg_pp, unguided=True),
}
