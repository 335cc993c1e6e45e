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
from engine.recipe.limits import FITS, RANGES, SAMPLERS, SCHEDULES, Range, check, parse_seed
from engine.recipe.prompt_tags import take_loras
from engine.recipe.recipe import random_seed
from engine.sentences import Sentence

Values = dict[str, Any]
AnyFlag = TypeVar("AnyFlag", bound="Flag")


_LORA: Final = re.compile(r'(?:"[^"]*"|[^,])+')  # one of several; its name may be quoted
A_LORA: Final = Sentence("a_lora")


def _field(
    field: str, read: Callable[[str], object], called: str | None = None
) -> Callable[[str], Values]:
    """Return a parser that reads a text and checks it by what the recipe's field allows.

    called: what people type, where that is not the field's name.
    """

    def parse(text: str) -> Values:
        value: object = text
        # What cannot be read stays text, and `check` says what the field wants instead.
        with suppress(ValueError):
            value = read(text)
        with _called(called or field):
            check(field, value)
        return {field: value}

    return parse


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


def _style(text: str) -> Values:
    return {STYLE: None if text.strip().lower() in NO_STYLE else style_name(text)}


def _optional(field: str, read: Callable[[str], object], called: str) -> Callable[[str], Values]:
    """Return a parser as `_field` does, for a field that may be left to the model."""
    plain = _field(field, read)

    def parse(text: str) -> Values:
        if text.strip().lower() in ("own", "default"):
            return {field: None}
        with _called(called, "own"):
            return plain(text)

    return parse


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

    parse: Callable[[str], Values]
    help: str  # one line, in English; `bots.texts` has other languages'
    choices: tuple[str, ...] = ()
    range: Range | None = None  # of a number


OPTIONS: Final = (
    Option(
        name="negative",
        aliases=("no",),
        parse=_field("negative_prompt", str, "negative"),
        example="TEXT",
        help="what the picture should not show",
        spoken=True,
    ),
    Option(
        name="seed",
        parse=_seed,
        example="N",
        help="the same seed gives the same picture (0 to 2^64-1, or 'new')",
    ),
    Option(
        name="steps",
        parse=_field("steps", int),
        range=RANGES["steps"],
        example="N",
        help=f"number of denoising steps, {RANGES['steps']}",
    ),
    Option(
        name="guidance",
        aliases=("cfg",),
        parse=_field("guidance_scale", float, "guidance"),
        range=RANGES["guidance_scale"],
        example="X",
        help=f"how closely the prompt is followed, {RANGES['guidance_scale']}",
    ),
    Option(
        name="strength",
        parse=_field("strength", float),
        range=RANGES["strength"],
        example="X",
        help=f"how much of a start image is redrawn, {RANGES['strength']}",
    ),
    Option(
        name="fit",
        parse=_field("fit", _name),
        example="HOW",
        help=f"how to fit a start image of another shape: {', '.join(FITS)}",
        choices=FITS,
    ),
    Option(
        name="sampler",
        parse=_field("sampler", _name),
        example="NAME",
        help=f"one of {', '.join(SAMPLERS)}",
        choices=SAMPLERS,
    ),
    Option(
        name="schedule",
        aliases=("scheduler",),
        parse=_field("schedule", _name),
        example="NAME",
        help=f"one of {', '.join(SCHEDULES)}",
        choices=SCHEDULES,
    ),
    Option(
        name="size",
        aliases=("ar", "aspect"),
        parse=parse_size,
        example="WxH",
        help="width and height in pixels, like 768x512, or a ratio, like 3:2",
    ),
    Option(
        name="count",
        aliases=("n",),
        parse=_field("count", int),
        range=RANGES["count"],
        example="N",
        help=f"how many pictures, {RANGES['count']}",
    ),
    Option(
        name="model",
        aliases=("checkpoint",),
        parse=_field("checkpoint", str, "model"),
        example="NAME",
        help="the model to draw with",
    ),
    Option(
        name="lora",
        aliases=("loras",),
        parse=_loras,
        listed=True,
        example="NAME:X",
        help="LoRAs with their weights: name:0.8, several separated by commas, or 'none'",
    ),
    Option(
        name="style",
        parse=_style,
        example="NAME",
        help="a saved style, or 'none'",
    ),
    Option(
        name="clip-skip",
        aliases=("clipskip",),
        parse=_optional("clip_skip", int, "clip-skip"),
        example="N",
        help=f"which layer of the text encoder to use, counted from its last, "
        f"{RANGES['clip_skip']}, or 'own'",
    ),
    Option(
        name="vae",
        parse=_optional("vae", str, "vae"),
        example="NAME",
        help="another VAE than the model's, or 'own'",
    ),
    Option(
        name="rescale",
        parse=_field("guidance_rescale", float, "rescale"),
        example="X",
        help=f"how far to reduce the contrast of guidance, {RANGES['guidance_rescale']}",
    ),
)

BY_NAME: Final = {name: option for option in OPTIONS for name in (option.name, *option.aliases)}


def find(name: str) -> Option:
    """Return the option by its name or an alias, or raise `UnknownOption`."""
    return find_flag(name, BY_NAME)


def find_flag(name: str, known: Mapping[str, AnyFlag]) -> AnyFlag:
    """Return what is typed by a name, or raise `UnknownOption`."""
    try:
        return known[name.lower()]
    except KeyError:
        raise UnknownOption(f"--{name}", (f"--{each}" for each in known)) from None


def parse_values(typed: Iterable[tuple[str, str]]) -> Values:
    """Turn (name, text) pairs into values of recipe fields; the last one of a name wins."""
    values: Values = {}
    for name, text in typed:
        values |= find(name).parse(text)
    return values
