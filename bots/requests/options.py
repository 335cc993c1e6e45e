"""The one table of options, from which the terminal's, Telegram's and Discord's options are made.

An option reads a text as values of the recipe's fields; the ranges are the recipe's own.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from bots.requests.aspect import parse_size
from bots.requests.styles import NO_STYLE, STYLE, style_name
from engine.errors import OptionError, PromptError, UnknownOption
from engine.recipe.limits import (
    A1111,
    CPU,
    FITS,
    GPU,
    MARBLE,
    RANGES,
    SAMPLERS,
    SCHEDULES,
    Range,
    check,
    one_of,
    parse_seed,
)
from engine.recipe.prompt_tags import take_loras
from engine.recipe.recipe import random_seed
from engine.sentences import Sentence

Values = dict[str, Any]
AnyFlag = TypeVar("AnyFlag", bound="Flag")


_LORA: Final = re.compile(r'(?:"[^"]*"|[^,])+')  # one of several; its name may be quoted
A_LORA: Final = Sentence("a_lora")
BEST: Final = "best"  # among the values that were typed: whether the best match is shown first
ON, OFF = "on", "off"
IMAGE_WEIGHTS: Final = Range(0, 3)  # as Midjourney takes them
WEIGHT: Final = 0.3  # of strength that each of them takes away; 1 is Marble's usual strength


class ImageWeight(float):
    """A strength that was typed as `--iw`, which sentences about it name instead."""

    @property
    def weight(self) -> float:
        """Return it as it was typed."""
        return round((1 - self) / WEIGHT, 3)


@contextmanager
def _called(name: str, word: str = "") -> Iterator[None]:
    """Re-raise `OptionError` with the option's name as typed and a word that is also accepted."""
    try:
        yield
    except OptionError as error:
        allowed = error.allowed
        if word:
            allowed = Sentence("or_a_word", allowed=allowed, word=word)
        raise OptionError(error.option, error.value, allowed, called=name) from None


def _name(text: str) -> str:
    """Read a name in any case, with any hyphens: `DPMPP-2M` is dpmpp_2m."""
    return re.sub(r"[\s-]+", "_", text.strip().lower())


def _seed(text: str) -> Values:
    if text.strip().lower() in ("new", "random"):
        return {"seed": random_seed()}
    with _called("seed", "new"):
        return {"seed": parse_seed(text)}


def _loras(text: str) -> Values:
    """Read "name", "name:0.8" or several with commas between; "none" takes them all off."""
    if text.strip().lower() in ("", "none", "off"):
        return {"loras": ()}
    parts = _LORA.findall(text)
    names = (part.replace('"', "").strip() for part in parts)
    tags = "".join(f"<lora:{name}>" for name in names)
    try:
        return {"loras": take_loras(tags)[1]}
    except PromptError:
        raise OptionError("lora", text, A_LORA) from None


def _refiner(text: str) -> Values:
    """Read the name of a second model; "none" is none."""
    if text.strip().lower() in ("", "none", "off"):
        return {"refiner": None}
    with _called("refiner", "none"):
        check("refiner", text)
    return {"refiner": text}


def _image_weight(text: str) -> Values:
    """Read how much a start image counts, by Midjourney's scale: 0 is strength 1, and 3 is 0.1."""
    weight = float("nan")
    with suppress(ValueError):
        weight = float(text)
    if weight not in IMAGE_WEIGHTS:
        raise OptionError("iw", text, IMAGE_WEIGHTS.said())
    return {"strength": ImageWeight(round(1 - WEIGHT * weight, 3))}


def _best(text: str) -> Values:
    if (chosen := text.strip().lower()) not in (ON, OFF):
        raise OptionError(BEST, text, one_of((ON, OFF)))
    return {BEST: chosen == ON}


def _style(text: str) -> Values:
    return {STYLE: None if text.strip().lower() in NO_STYLE else style_name(text)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """How something is typed: `--name value`."""

    name: str
    aliases: tuple[str, ...] = ()
    example: str
    spoken: bool = False  # its value is words, and runs on to the next flag
    listed: bool = False  # its value is a list, in which names may be quoted
    many: bool = False  # it may be given several times, and all of them count


@dataclass(frozen=True, slots=True, kw_only=True)
class Option(Flag):
    """An option: how it is typed, what it means, how its text is read."""

    help: str  # one line, in English; `bots.texts` has other languages'
    field: str = ""  # of the recipe, where its name is another
    read: Callable[[str], object] = str
    own: bool = False  # it may be left to the model
    alone: str = ""  # its value where none of its choices is typed behind it
    values: Callable[[str], Values] | None = None  # reads what is no single field
    choices: tuple[str, ...] = ()
    range: Range | None = None  # of a number

    def parse(self, text: str) -> Values:
        """Read a text, checked by what the recipe's field allows; raises `OptionError`."""
        if self.values:
            return self.values(text)
        field = self.field or self.name
        if self.own and text.strip().lower() in ("own", "default"):
            return {field: None}
        value: object = text
        # What cannot be read stays text, and `check` says what the field wants instead.
        with suppress(ValueError):
            value = self.read(text)
        with _called(self.name, "own" if self.own else ""):
            check(field, value)
        return {field: value}


OPTIONS: Final = (
    Option(
        name="negative",
        aliases=("no",),
        field="negative_prompt",
        example="TEXT",
        help="what the picture should not show",
        spoken=True,
    ),
    Option(
        name="seed",
        values=_seed,
        example="N",
        help="the same seed gives the same picture (0 to 2^64-1, or 'new')",
    ),
    Option(
        name="steps",
        read=int,
        range=RANGES["steps"],
        example="N",
        help=f"number of denoising steps, {RANGES['steps']}",
    ),
    Option(
        name="guidance",
        aliases=("cfg",),
        field="guidance_scale",
        read=float,
        range=RANGES["guidance_scale"],
        example="X",
        help=f"how closely the prompt is followed, {RANGES['guidance_scale']}",
    ),
    Option(
        name="strength",
        read=float,
        range=RANGES["strength"],
        example="X",
        help=f"how much of a start image is redrawn, {RANGES['strength']}",
    ),
    Option(
        name="fit",
        read=_name,
        example="HOW",
        help=f"how to fit a start image of another shape: {', '.join(FITS)}",
        choices=FITS,
    ),
    Option(
        name="sampler",
        read=_name,
        example="NAME",
        help=f"one of {', '.join(SAMPLERS)}",
        choices=SAMPLERS,
    ),
    Option(
        name="schedule",
        aliases=("scheduler",),
        read=_name,
        example="NAME",
        help=f"one of {', '.join(SCHEDULES)}",
        choices=SCHEDULES,
    ),
    Option(
        name="size",
        aliases=("ar", "aspect"),
        values=parse_size,
        example="WxH",
        help="width and height in pixels, like 768x512, or a ratio, like 3:2",
    ),
    Option(
        name="count",
        aliases=("n", "repeat", "r"),
        read=int,
        range=RANGES["count"],
        example="N",
        help=f"how many pictures, {RANGES['count']}",
    ),
    Option(
        name=BEST,
        values=_best,
        example=ON,
        help="of several pictures, show the one that matches its prompt best first",
        choices=(ON, OFF),
        alone=ON,
    ),
    Option(
        name="model",
        aliases=("checkpoint",),
        field="checkpoint",
        example="NAME",
        help="the model to draw with",
    ),
    Option(
        name="refiner",
        values=_refiner,
        example="NAME",
        help="a second model, which draws the last steps and finishes the picture, or 'none'",
    ),
    Option(
        name="refiner-at",
        field="refiner_at",
        read=float,
        example="X",
        help=f"after which share of the steps the second model takes over, {RANGES['refiner_at']}",
    ),
    Option(
        name="lora",
        aliases=("loras",),
        field="loras",
        values=_loras,
        listed=True,
        example="NAME:X",
        help="LoRAs with their weights: name:0.8, several separated by commas, or 'none'",
    ),
    Option(
        name="style",
        values=_style,
        example="NAME",
        help="a saved style, or 'none'",
    ),
    Option(
        name="clip-skip",
        aliases=("clipskip",),
        field="clip_skip",
        read=int,
        own=True,
        example="N",
        help=f"which layer of the text encoder to use, counted from its last, "
        f"{RANGES['clip_skip']}, or 'own'",
    ),
    Option(
        name="vae",
        own=True,
        example="NAME",
        help="another VAE than the model's, or 'own'",
    ),
    Option(
        name="rescale",
        field="guidance_rescale",
        read=float,
        example="X",
        help=f"how far to reduce the contrast of guidance, {RANGES['guidance_rescale']}",
    ),
    Option(
        name="shift",
        read=float,
        own=True,
        example="X",
        help=f"how far a flow model's noise levels move towards noise, {RANGES['shift']}, or 'own'",
    ),
    Option(
        name="noise",
        read=_name,
        example="WHOSE",
        help=f"whose random numbers are added between steps: {CPU}, or {GPU} as ComfyUI on a GPU",
        choices=(CPU, GPU),
    ),
    Option(
        name="syntax",
        read=_name,
        example="WHOSE",
        help=f"whose signs prompts contain: {MARBLE}, or {A1111} for [a:b:0.5], [a|b], [a] and AND",
        choices=(MARBLE, A1111),
    ),
)
# What other programs call what an option says in another way: typed, but nowhere offered.
SPELLINGS: Final = (
    Option(
        name="iw",
        field="strength",
        values=_image_weight,
        example="X",
        help=f"how much a start image counts, {IMAGE_WEIGHTS}: strength 1 - {WEIGHT} × X",
    ),
)

# How what a recipe's fields say is typed; ControlNets have an option in the terminal alone.
TYPED_AS: Final = {
    **{option.field or option.name: f"--{option.name}" for option in OPTIONS},
    "controls": "--control",
}
BY_NAME: Final = {
    name: option for option in (*OPTIONS, *SPELLINGS) for name in (option.name, *option.aliases)
}
# Flags of Midjourney's that are no options here, and what does something like it, if anything does.
MIDJOURNEY: Final[Mapping[str, str]] = {
    **dict.fromkeys(("v", "version", "niji"), "--model"),
    **dict.fromkeys(("stylize", "s"), "--guidance"),
    **dict.fromkeys(("quality", "q", "stop", "draft"), "--steps"),
    **dict.fromkeys(("sref", "sw", "cref", "cw", "oref", "ow"), "/edit"),
    **dict.fromkeys(("width", "height", "w", "h"), "--size"),
    "raw": "--style none",
    **dict.fromkeys(("chaos", "c", "weird", "tile", "profile", "p", "exp", "hd", "video"), ""),
    **dict.fromkeys(("turbo", "fast", "relax", "public", "stealth"), ""),
}


def find(name: str) -> Option:
    """Return the option by its name or an alias, or raise `UnknownOption`."""
    return find_flag(name, BY_NAME)


def find_flag(name: str, known: Mapping[str, AnyFlag]) -> AnyFlag:
    """Return what is typed by a name, or raise `UnknownOption`."""
    try:
        return known[name.lower()]
    except KeyError:
        raise UnknownOption(f"--{name}", (f"--{each}" for each in known)) from None


def typed_as(field: str, value: object) -> str:
    """Return the flag by which a recipe's field got its value."""
    return "--iw" if isinstance(value, ImageWeight) else TYPED_AS[field]


def parse_values(typed: Iterable[tuple[str, str]]) -> Values:
    """Turn (name, text) pairs into values of recipe fields; each name has one text."""
    values: Values = {}
    for name, text in typed:
        values |= find(name).parse(text)
    return values
