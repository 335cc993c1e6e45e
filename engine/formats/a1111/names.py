"""A1111's names for values that Marble calls by ComfyUI's names."""

import re
from typing import Final, NamedTuple

from engine.formats.graphs.sampling import ON_GPU, usual_noise
from engine.recipe.limits import BROWNIAN, SAMPLERS, SCHEDULES
from engine.recipe.parts import LANCZOS, LATENT

# A1111's names (and Forge's or its heirs', from DDPM on) for our samplers and schedules. Those
# without a name there are written as they are.
SAMPLER_NAMES: Final = {
    "euler": "Euler", "euler_ancestral": "Euler a", "heun": "Heun", "lms": "LMS", "lcm": "LCM",
    "dpm_2": "DPM2", "dpm_2_ancestral": "DPM2 a", "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE", "ddim": "DDIM", "uni_pc": "UniPC",
    "ddpm": "DDPM", "ipndm": "IPNDM", "deis": "DEIS", "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "ipndm_v": "IPNDM_V", "heunpp2": "HeunPP2", "er_sde": "ER SDE", "seeds_2": "SEEDS-2",
    "seeds_3": "SEEDS-3", "sa_solver": "SA Solver", "res_multistep": "Res Multistep",
    "gradient_estimation": "Gradient Estimation",
}  # fmt: skip
SCHEDULE_NAMES: Final = {
    "normal": "Normal", "karras": "Karras", "exponential": "Exponential", "simple": "Simple",
    "sgm_uniform": "SGM Uniform", "ddim_uniform": "DDIM", "beta": "Beta",
}  # fmt: skip
# What "Automatic", or no schedule at all, means to A1111: "Uniform" but for these samplers.
KARRAS: Final = ("dpmpp_2m", "dpmpp_sde", "dpmpp_2s_ancestral", "dpm_2", "dpm_2_ancestral")
AUTOMATIC: Final = {
    **dict.fromkeys(KARRAS, "karras"),
    **dict.fromkeys(("dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"), "exponential"),
    "ddim": "ddim_uniform",
}

# What any schedule of these is that no name says.
OWN: Final = {"ddim": "ddim_uniform"}

UPSCALER_NAMES: Final = {LANCZOS: "Lanczos", LATENT: "Latent (nearest-exact)"}
UPSCALERS_READ: Final = {name: ours for ours, name in UPSCALER_NAMES.items()}
# Others of its own ways to enlarge, and which of ours comes next.
NEXT_UPSCALERS: Final = {
    "Latent": LATENT, "Latent (antialiased)": LATENT, "Latent (bicubic)": LATENT,
    "Latent (bicubic antialiased)": LATENT, "Latent (nearest)": LATENT,
    "Nearest": LANCZOS, "None": LANCZOS,
}  # fmt: skip
RESIZE_NAMES: Final = {"crop": "Crop and Resize", "resize": "Just Resize", "pad": "Resize and Fill"}


def _bare(name: str) -> str:
    """Return a name's letters and digits: "DPM++ 2M", "dpmpp_2m" and "k_dpmpp_2m" are one."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))
    return plain.removeprefix("k") if name.lower().startswith("k_") else plain


# What anybody's names lead to, by their letters and digits.
SAMPLERS_READ: Final = {
    **{_bare(name): name for name in SAMPLERS},
    **{_bare(name): ours for ours, name in SAMPLER_NAMES.items()},
    "dpm2ancestral": "dpm_2_ancestral",
    "kdpm2": "dpm_2",
    "kdpm2a": "dpm_2_ancestral",
    "kdpm2ancestral": "dpm_2_ancestral",
    "lmsd": "lms",
    "ddimv3": "ddim",
    "eulerflowmatch": "euler",
    "resmultistepa": "res_multistep_ancestral",
    "euleracfgpp": "euler_ancestral_cfg_pp",
    "dpmpp2sacfgpp": "dpmpp_2s_ancestral_cfg_pp",
    "resmultistepacfgpp": "res_multistep_ancestral_cfg_pp",
    "seeds2dp": "seeds_2",
    "seeds3dp": "seeds_3",
}
SCHEDULES_READ: Final = {
    **{_bare(name): name for name in SCHEDULES},
    **{_bare(name): ours for ours, name in SCHEDULE_NAMES.items()},
    "uniform": "normal",  # A1111 computes one thing under two names
    "discrete": "normal",
    "native": "normal",
}
# What ends a sampler's name: a schedule, or InvokeAI's "_k".
ENDINGS: Final = {
    **{_bare(name): name for name in SCHEDULES if name != "normal"},
    "discrete": "normal",
    "k": "karras",
}


class Sampling(NamedTuple):
    """A sampler and a schedule by Marble's names; noise: whose ComfyUI's code adds by that name."""

    sampler: str
    schedule: str | None
    noise: str


def sampling(sampler: str, schedule: str | None = None) -> Sampling:
    """Translate anybody's names of a sampler and a schedule; a name that is not known stays.

    The schedule may be the last word of the sampler's name, as before A1111's version 1.9; None
    where nothing says it. "GPU" ends names of samplers that draw their noise there.
    """
    bare = _bare(sampler.rpartition(" - ")[2])  # Krita's begin with what they are for
    found = SCHEDULES_READ.get(_bare(schedule), schedule) if schedule else None
    for ending, said in {"": None, **ENDINGS}.items():
        rest = bare.removesuffix(ending)
        name = rest.removesuffix(_bare(ON_GPU))
        if bare.endswith(ending) and name in SAMPLERS_READ:
            ours = SAMPLERS_READ[name]
            there = ours + ON_GPU if rest != name and ours in BROWNIAN else ours
            return Sampling(ours, found or said, usual_noise(there))
    return Sampling(sampler, found, usual_noise(sampler))
