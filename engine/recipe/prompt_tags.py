"""Tags in a prompt beside its words: LoRAs, and choices that the seed makes.

    <lora:name>  <lora:name:0.8>  <lora:name:0.8:0.5>    a LoRA, its weight, and the U-Net's own
    <lora:name:te=0.8:unet=0.5>  <lyco:name>             the same, in other spellings
    {a|b|c}                                              one of these, by the seed

Both are resolved before a recipe is made, so that the recipe says what was drawn. The tags are
A1111's. Standard library only.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from typing import Final

from engine.errors import PromptError, shorten
from engine.recipe.parts import Lora
from engine.sentences import Sentence

LONGEST: Final = 10_000  # characters in which choices are made; a recipe takes 2,000
# Hostile texts are read in linear time: no blank is tried twice.
TAG: Final = re.compile(r"(?<![ \t])[ \t]*<(lora|lyco|hypernet):([^<>]*)>", re.IGNORECASE)
WEIGHTS: Final = ("te", "unet")  # by name: of the text encoders, of the U-Net
# An escaped character, a sign of choices, or text up to the next of these.
PIECE: Final = re.compile(r"\\.|[{}|]|[^{}|\\]+|\\", re.DOTALL)

Choice = list[list[str]]  # one that is not closed yet: its options, each in pieces


def take_loras(prompt: str) -> tuple[str, tuple[Lora, ...]]:
    """Return the prompt without its LoRA tags, and the LoRAs; `PromptError` for a bad tag."""
    found = tuple(_lora(tag[1].lower(), tag[2]) for tag in TAG.finditer(prompt))
    return (TAG.sub("", prompt).strip(" \t"), found) if found else (prompt, ())


def write_loras(prompt: str, loras: tuple[Lora, ...]) -> str:
    """Write LoRAs behind a prompt, as `take_loras` and A1111 read them."""
    return " ".join([prompt, *map(_tag, loras)])


def mend_surrogates(text: str) -> str:
    """Return a text with halves of surrogate pairs, which no encoding takes, as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def choose(text: str, seed: int, *, lone: bool = False) -> str:
    """Resolve all choices of a text by a seed: the same seed chooses the same.

    The text is read once; a choice is made where its brace closes, and so after those within it.
    Signs with a backslash before them are text, and so are braces without a bar between, around
    which nothing is chosen. A text that is too long for any recipe stays as it is.

    lone: as on ComfyUI's canvas, braces without a bar are a choice of one, and the text's end
    closes those that are open.
    """
    if len(text) > LONGEST or not (lone or "|" in text):
        return text
    settled: list[str] = []
    opened: list[Choice] = []
    draws = (_draw(seed, number) for number in count())
    for piece in PIECE.findall(text):
        here = opened[-1] if opened else [settled]
        if piece == "{":
            opened.append([[]])
        elif piece == "|" and opened:
            here.append([])
        elif piece == "}" and opened and (lone or len(here) > 1):
            _close(opened, settled, draws)
        else:
            if piece == "}":
                _leave(opened, settled)
                here = [settled]
            here[-1].append(piece)
    while lone and opened:
        _close(opened, settled, draws)
    _leave(opened, settled)
    return "".join(settled)


def _close(opened: list[Choice], settled: list[str], draws: Iterator[int]) -> None:
    """Replace the innermost choice by the chosen alternative."""
    options = opened.pop()
    chosen = options[next(draws) % len(options)] if len(options) > 1 else options[0]
    (opened[-1][-1] if opened else settled).append("".join(chosen))


def _draw(seed: int, number: int) -> int:
    return int.from_bytes(sha256(f"{seed} {number}".encode()).digest()[:8], "big")


def _leave(opened: list[Choice], settled: list[str]) -> None:
    """Leave choices that cannot be closed as the text that they are."""
    for first, *others in opened:
        settled += ["{", *first]
        for option in others:
            settled += ["|", *option]
    opened.clear()


def _lora(kind: str, tag: str) -> Lora:
    written = shorten(f"<{kind}:{tag}>")
    if kind == "hypernet":
        raise PromptError(Sentence("no_hypernetworks", written=written))
    name, *weights = (part.strip() for part in tag.split(":"))
    try:
        if not name or len(weights) > 2:
            raise ValueError
        text, unet = _weights(weights)
    except ValueError:
        raise PromptError(Sentence("bad_lora_tag", written=written)) from None
    return Lora(name=name, weight=unet, text_weight=text)


def _weights(written: list[str]) -> tuple[float, float]:
    """Return a LoRA's weights in the text encoders and the U-Net; raises `ValueError`.

    By order the first is the text encoders', and the U-Net's too where it is the only one.
    """
    named = dict(re.split(r"\s*=\s*", part.lower(), maxsplit=1) for part in written if "=" in part)
    numbers = [float(part) for part in written if "=" not in part]
    if not named.keys() <= set(WEIGHTS):
        raise ValueError
    text = float(named.get("te", numbers[0] if numbers else 1.0))
    return text, float(named.get("unet", numbers[1] if len(numbers) > 1 else text))


def _tag(lora: Lora) -> str:
    unet, text = (plain(weight) for weight in lora.weights)
    return f"<lora:{lora.name}:{text}>" if unet == text else f"<lora:{lora.name}:{text}:{unet}>"


def plain(value: float) -> str:
    """Write a number so that it can be read back to the last bit: whole ones without a point."""
    return repr(value).removesuffix(".0")
