"""What the numbers, names and texts of a recipe may be. Standard library only."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeGuard

from engine.errors import OptionError
from engine.sentences import Sentence

PROMPT_LIMIT: Final = 2_000  # characters
SEED_LIMIT: Final = 2**64  # torch.manual_seed takes 64 bits
SEEDS: Final = Sentence("a_seed", most=str(SEED_LIMIT - 1))
# Blanks, control characters, and what Unicode (DerivedCoreProperties.txt) calls ignorable where it
# is shown: joiners, marks of direction, variation selectors, tags, fillers. And the empty pattern
# of Braille, which is no blank to Unicode.
_INVISIBLE: Final = re.compile(
    "[\\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
MANY: Final = 25  # names that are listed where another one was given
NEAR: Final = 8  # of more than that
SHA256: Final = Sentence("stored_sha256")

# Samplers that need the prediction for the negative prompt by itself.
CFG_PP: Final = (
    "euler_cfg_pp",
    "euler_ancestral_cfg_pp",
    "dpmpp_2m_cfg_pp",
    "dpmpp_2s_ancestral_cfg_pp",
    "res_multistep_cfg_pp",
    "res_multistep_ancestral_cfg_pp",
    "gradient_estimation_cfg_pp",
)
SAMPLERS: Final = (
    "euler",
    "euler_ancestral",
    "heun",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpmpp_2m",
    "dpmpp_2s_ancestral",
    "dpmpp_2m_sde",
    "dpmpp_sde",
    "dpmpp_3m_sde",
    "ddim",
    "ddpm",
    "lcm",
    "uni_pc",
    "uni_pc_bh2",
    "ipndm",
    "deis",
    "res_multistep",
    "er_sde",
    "dpmpp_2m_sde_heun",
    "gradient_estimation",
    "res_multistep_ancestral",
    "sa_solver",
    "sa_solver_pece",
    "seeds_2",
    "seeds_3",
    "exp_heun_2_x0",
    "exp_heun_2_x0_sde",
    "heunpp2",
    "ipndm_v",
    *CFG_PP,
)
SCHEDULES: Final = (
    "normal",
    "karras",
    "exponential",
    "simple",
    "sgm_uniform",
    "ddim_uniform",
    "beta",
)


# Whose numbers noise is: a processor's generator, CUDA's, or the processor's without a path between
# the steps of solvers of SDEs, as in recipes before version 3. See `engine.denoise.noise`.
CPU: Final = "cpu"
GPU: Final = "gpu"
INDEPENDENT: Final = "independent"
NOISES: Final = (CPU, GPU, INDEPENDENT)
# When a second model takes over: at a share of the steps or of the noise levels that the model was
# trained with, where one sampler goes on; or at a share of the steps, where another begins anew.
BY_STEPS: Final = "steps"
BY_NOISE: Final = "noise"
ANEW: Final = "anew"
TAKEOVERS: Final = (BY_STEPS, BY_NOISE, ANEW)
# Of beauty, which SDXL's refiner is told beside a prompt and a negative one.
SCORE: Final = 6.0
NEGATIVE_SCORE: Final = 2.5
# Samplers that solve an SDE along a path.
BROWNIAN: Final = ("dpmpp_2m_sde", "dpmpp_sde", "dpmpp_3m_sde", "dpmpp_2m_sde_heun")
# All others that add noise between steps.
ANCESTRAL: Final = (
    "euler_ancestral",
    "dpm_2_ancestral",
    "dpmpp_2s_ancestral",
    "ddpm",
    "lcm",
    "er_sde",
    "res_multistep_ancestral",
    "sa_solver",
    "sa_solver_pece",
    "seeds_2",
    "seeds_3",
    "exp_heun_2_x0_sde",
    "euler_ancestral_cfg_pp",
    "dpmpp_2s_ancestral_cfg_pp",
    "res_multistep_ancestral_cfg_pp",
)


# How often samplers call the network in a step, where it is more than once; a test holds them to
# `engine.denoise.samplers`.
CALLS: Final = {
    **dict.fromkeys(("heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde"), 2),
    **dict.fromkeys(("sa_solver_pece", "seeds_2", "exp_heun_2_x0", "exp_heun_2_x0_sde"), 2),
    "dpmpp_2s_ancestral_cfg_pp": 2,
    **dict.fromkeys(("seeds_3", "heunpp2"), 3),
}


# Whose grammar prompts have: Marble's own, or A1111's, before version 1.6 and since.
MARBLE: Final = "marble"
A1111: Final = "a1111"
A1111_OLD: Final = "a1111_old"
SYNTAXES: Final = (MARBLE, A1111, A1111_OLD)


@dataclass(frozen=True, slots=True)
class Range:
    """The least and greatest allowed value of a number, and the step it moves in."""

    low: float
    high: float
    step: float | None = None

    def __contains__(self, value: float) -> bool:
        # NaN compares false with everything, and so is outside every range.
        inside = self.low <= value <= self.high
        return inside and (self.step is None or (value - self.low) % self.step == 0)

    def __str__(self) -> str:
        return str(self.said())

    def said(self, *, whole: bool = False) -> Sentence:
        """Return the allowed range in words; `whole`: only whole numbers."""
        low, high = f"{self.low:g}", f"{self.high:g}"
        if self.step not in (None, 1):
            return Sentence("between_in_steps", low=low, high=high, step=f"{self.step:g}")
        if whole:
            return Sentence("whole_between", low=low, high=high)
        return Sentence("between", low=low, high=high)


RANGES: Final[Mapping[str, Range]] = {
    "steps": Range(1, 150, 1),
    "guidance_scale": Range(0, 30),
    "width": Range(64, 2048, 8),
    "height": Range(64, 2048, 8),
    "count": Range(1, 16, 1),
    "strength": Range(0.01, 1),  # how much of a start image is lost to noise
    "variation": Range(0, 1),  # how far noise goes towards another seed's
    "factor": Range(1, 8),  # by which a picture is made larger
    "control_strength": Range(0, 2),
    "share": Range(0, 1),  # of the steps
    "refiner_at": Range(0.001, 0.999),  # of the steps, after which a second model takes over
    "aesthetic_score": Range(0, 10),
    "negative_aesthetic_score": Range(0, 10),
    "tile": Range(64, 2048, 8),  # pixels
    "guidance_rescale": Range(0, 1),
    "clip_skip": Range(1, 12, 1),  # layers of a text encoder, counted from its last
    "lora_weight": Range(-4, 4),
    "shift": Range(0.01, 100),  # of a flow model's noise levels towards noise
    "margin": Range(0, 2048, 1),  # pixels
    "area_strength": Range(0, 10),  # a text's weight beside others, in a part of the picture
    "ensd": Range(-(2**31), 2**31 - 1, 1),  # A1111's eta noise seed delta
}
LATENT_SIDE: Final = 8  # pixels that a latent spans
LARGEST: Final = 4096 * 4096  # pixels of an enlarged picture
# Texts that may not be empty, and what they must hold. Prompts may be: other programs draw them.
WORDS: Final = {
    "checkpoint": Sentence("name_of_model"),
    "control": Sentence("name_of_control"),
    "lora": Sentence("name_of_lora"),
    "vae": Sentence("name_of_vae"),
    "refiner": Sentence("name_of_model"),
    "upscaler": Sentence("name_of_upscaler"),
}
FITS: Final = ("crop", "pad", "resize")
PREPROCESSORS: Final = ("none", "canny")
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sampler": SAMPLERS,
    "schedule": SCHEDULES,
    "fit": FITS,
    "preprocessor": PREPROCESSORS,
    "noise": NOISES,
    "refiner_by": TAKEOVERS,
    "syntax": SYNTAXES,
}


def check(name: str, value: object) -> None:
    """Raise `OptionError` where a plain field of a recipe cannot have this value."""
    if name in RANGES:
        check_number(name, value, RANGES[name])
    elif name in CHOICES:
        if value not in CHOICES[name]:
            raise OptionError(name, value, one_of(CHOICES[name], value))
    elif name == "flag":
        if not isinstance(value, bool):
            raise OptionError(name, value, Sentence("true_or_false"))
    elif name == "seed":
        if not is_int(value) or not 0 <= value < SEED_LIMIT:
            raise OptionError(name, value, SEEDS)
    elif name == "picture":
        if not is_int(value) or value < 0:
            raise OptionError(name, value, Sentence("below_any_count"))
    elif name in ("image", "mask", "references"):
        if not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
            raise OptionError(name, value, SHA256)
    else:
        _check_text(name, value)


def check_words(prompt: str) -> None:
    """Raise `OptionError` for a new prompt of which nothing can be seen, or that is too long.

    Recipes that are kept may have one that cannot be seen: it was drawn before.
    """
    if is_blank(prompt):
        raise OptionError("prompt", "", Sentence("some_words"))
    check("prompt", prompt)


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: it is empty, or all blanks and invisible characters."""
    return not _INVISIBLE.sub("", text)


def parse_seed(text: object) -> int:
    """Read a seed from text or a whole number, or raise `OptionError`."""
    seed = text
    if isinstance(text, str) and (digits := text.strip()).isascii() and digits.isdigit():
        seed = int(digits) if len(digits) <= 20 else SEED_LIMIT
    if not is_int(seed) or not 0 <= seed < SEED_LIMIT:
        raise OptionError("seed", text, SEEDS)
    return seed


def read_whole(text: str, low: float, high: float) -> int | None:
    """Return the whole number of a text, however long that is; None where it is none within bounds.

    `int` raises `ValueError` for more than 4,300 digits, leading zeros among them.
    """
    digits = text.lstrip("0") or "0"
    if not (text.isascii() and text.isdigit()) or len(digits) > len(f"{high:.0f}"):
        return None
    number = int(digits)
    return number if low <= number <= high else None


def one_of(names: Iterable[str], given: object = "") -> Sentence:
    """Return in words that one of some names is allowed: of very many those nearest to a given."""
    known = [*names]
    if len(known) <= MANY:
        return Sentence("one_of", names=", ".join(known))
    near = get_close_matches(str(given), known, NEAR)
    named = list(dict.fromkeys([*near, *known]))[:NEAR]  # those first that resemble it
    return Sentence("one_of_many", names=", ".join(named), count=len(known))


def at_most(characters: int) -> Sentence:
    """Return in words how long a text may be."""
    return Sentence("at_most", limit=characters)


def characters(count: int) -> Sentence:
    """Return in words how long a text is."""
    return Sentence("characters", count=count)


def is_int(value: object) -> TypeGuard[int]:
    """Say whether a value is a whole number; a bool is one to Python, but `steps=True` is wrong."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_number(name: str, value: object, allowed: Range) -> None:
    """Raise `OptionError` where a value is no number of a range."""
    whole = allowed.step is not None
    right = is_int(value) if whole else is_int(value) or isinstance(value, float)
    if not (right and value in allowed):  # type: ignore[operator]  # a number by now
        raise OptionError(name, value, allowed.said(whole=whole))


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise OptionError(name, text, Sentence("some_text"))
    if len(text) > PROMPT_LIMIT:
        raise OptionError(name, characters(len(text)), at_most(PROMPT_LIMIT))
    if name in WORDS and not text.strip():
        raise OptionError(name, text, WORDS[name])
