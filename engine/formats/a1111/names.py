"""A1111's names for values that Marble calls by ComfyUI's names."""

from typing import Final

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
SAMPLERS_READ: Final = {name: ours for ours, name in SAMPLER_NAMES.items()}
SCHEDULES_READ: Final = {name: ours for ours, name in SCHEDULE_NAMES.items()}
SCHEDULES_READ["Uniform"] = "normal"  # A1111 computes one thing under two names
# What "Automatic", or no schedule at all, means to A1111: "Uniform" but for these samplers.
KARRAS: Final = ("dpmpp_2m", "dpmpp_sde", "dpmpp_2s_ancestral", "dpm_2", "dpm_2_ancestral")
AUTOMATIC: Final = {
    **dict.fromkeys(KARRAS, "karras"),
    **dict.fromkeys(("dpmpp_2m_sde", "dpmpp_3m_sde"), "exponential"),
    "ddim": "ddim_uniform",
}

UPSCALER_NAMES: Final = {LANCZOS: "Lanczos", LATENT: "Latent (nearest-exact)"}
UPSCALERS_READ: Final = {name: ours for ours, name in UPSCALER_NAMES.items()}
# Others of its own ways to enlarge, and which of ours comes next.
NEXT_UPSCALERS: Final = {
    "Latent": LATENT, "Latent (antialiased)": LATENT, "Latent (bicubic)": LATENT,
    "Latent (bicubic antialiased)": LATENT, "Latent (nearest)": LATENT,
    "Nearest": LANCZOS, "None": LANCZOS,
}  # fmt: skip
RESIZE_NAMES: Final = {"crop": "Crop and Resize", "resize": "Just Resize", "pad": "Resize and Fill"}


def sampling(sampler: str, schedule: str) -> tuple[str, str]:
    """Translate names; before version 1.9 the schedule was the last word of the sampler's name."""
    for name in SCHEDULES_READ:
        if sampler.endswith(f" {name}"):
            sampler, schedule = sampler.removesuffix(f" {name}"), name
    ours = SAMPLERS_READ.get(sampler, sampler)
    if schedule in ("", "Automatic"):
        return ours, AUTOMATIC.get(ours, "normal")
    return ours, SCHEDULES_READ.get(schedule, schedule)
