"""A1111's names for values that Marble calls by ComfyUI's names."""

import re
from typing import Final

from engine.recipe.limits import SAMPLERS, SCHEDULES
from engine.recipe.parts import LANCZOS, LATENT

# A1111's names (and Forge's, for the last three) for our samplers and schedules. Those without a
# name there are written as they are.
SAMPLER_NAMES: Final = {
    "euler": "Euler", "euler_ancestral": "Euler a", "heun": "Heun", "lms": "LMS", "lcm": "LCM",
    "dpm_2": "DPM2", "dpm_2_ancestral": "DPM2 a", "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE", "ddim": "DDIM", "uni_pc": "UniPC",
    "ddpm": "DDPM", "ipndm": "IPNDM", "deis": "DEIS",
}  # fmt: skip
SCHEDULE_NAMES: Final = {
    "normal": "Normal", "karras": "Karras", "exponential": "Exponential", "simple": "Simple",
    "sgm_uniform": "SGM Uniform", "ddim_uniform": "DDIM", "beta": "Beta",
}  # fmt: skip
# What "Automatic", or no schedule at all, means to A1111: "Uniform" but for these samplers.
KARRAS: Final = ("dpmpp_2m", "dpmpp_sde", "dpmpp_2s_ancestral", "dpm_2", "dpm_2_ancestral")
AUTOMATIC: Final = {
    **dict.fromkeys(KARRAS, "karras"),
    **dict.fromkeys(("dpmpp_2m_sde", "dpmpp_3m_sde"), "exponential"),
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
ON_GPU: Final = "gpu"  # ends names of samplers that draw their noise there


def sampling(sampler: str, schedule: str | None = None) -> tuple[str, str | None]:
    """Translate anybody's names of a sampler and a schedule; a name that is not known stays.

    The schedule may be the last word of the sampler's name, as before A1111's version 1.9; None
    where nothing says it.
    """
    bare = _bare(sampler.rpartition(" - ")[2])  # Krita's begin with what they are for
    bare = bare.removesuffix(ON_GPU)
    found = SCHEDULES_READ.get(_bare(schedule), schedule) if schedule else None
    if bare in SAMPLERS_READ:
        return SAMPLERS_READ[bare], found
    for ending, ours in ENDINGS.items():
        if (rest := bare.removesuffix(ending)) != bare and rest in SAMPLERS_READ:
            return SAMPLERS_READ[rest], found or ours
    return sampler, found
