"""Permutation prompts: `{red, blue} cat` asks for a red cat and a blue cat, each a job of its own.

Only what somebody types is read so, never a file's text. Braces with a bar are a choice by the seed
(`engine.recipe.prompt_tags.choose`), braces without a comma are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from engine.errors import UserError
from engine.recipe.prompt_tags import LONGEST, choose
from engine.sentences import Sentence

MOST: Final = 10  # jobs that one text may ask for
_PIECE: Final = re.compile(r"\\.|[{}|,，、]|[^{}|,，、\\]+|\\", re.DOTALL)
_BRACE: Final = re.compile(r"[{}]")
_COMMAS: Final = ",，、"
_ESCAPED: Final = tuple(f"\\{comma}" for comma in _COMMAS)  # a comma within a choice


@dataclass(slots=True)
class _Braces:
    """A pair of braces: the places of its pieces in the text's list of pieces."""

    start: int
    end: int = 0
    commas: list[int] = field(default_factory=list)
    barred: bool = False


def permutations(text: str) -> list[str]:
    """Return the texts that a text with permutations means, in order; itself where it has none.

    Pairs within pairs, and several in a row, multiply. Signs with a backslash before them are text,
    and so are the braces of JSON (`{"a": 1, "b": 2}`) and doubled ones (NovelAI's emphasis). Raises
    `UserError` for more than `MOST`.
    """
    if len(text) > LONGEST or "{" not in text:
        return [text]
    pieces = _PIECE.findall(text)
    starts, commas, ends = set[int](), set[int](), set[int]()
    for pair in _pairs(pieces):
        starts.add(pair.start)
        commas.update(pair.commas)
        ends.add(pair.end)
    opened: list[list[str]] = []  # the finished choices of pairs that are open
    texts = [[""]]  # of the text itself, and of the choice that is read in each of these
    for at, piece in enumerate(pieces):
        if at in starts:
            opened.append([])
            texts.append([""])
        elif at in commas:
            opened[-1] += _bounded(texts.pop())
            texts.append([""])
        elif at in ends:
            choices = [each.strip() for each in (*opened.pop(), *texts.pop())]
            texts[-1] = _bounded([before + each for before in texts[-1] for each in choices])
        else:
            written = piece[1] if opened and piece in _ESCAPED else piece
            texts[-1] = [before + written for before in texts[-1]]
    return texts[0]


def without_choices(text: str) -> str:
    """Return a text as it has to be typed so that no braces in it are a choice."""
    try:
        plain = permutations(text) == [text] and choose(text, seed=0) == text
    except UserError:  # too many
        plain = False
    return text if plain else _BRACE.sub(r"\\\g<0>", text)


def _pairs(pieces: list[str]) -> Iterator[_Braces]:
    """Yield the pairs of braces that are permutations, innermost first."""
    opened: list[_Braces] = []
    for at, piece in enumerate(pieces):
        if piece == "{":
            opened.append(_Braces(at))
        elif opened and piece == "|":
            opened[-1].barred = True
        elif opened and piece in _COMMAS:
            opened[-1].commas.append(at)
        elif opened and piece == "}":
            pair = opened.pop()
            pair.end = at
            quoted = pieces[pair.start + 1].lstrip().startswith('"')
            around = pieces[pair.start - 1 : pair.start], pieces[at + 1 : at + 2]
            doubled = around == (["{"], ["}"])
            if pair.commas and not (pair.barred or quoted or doubled):
                yield pair


def _bounded(texts: list[str]) -> list[str]:
    """Return texts, or raise `UserError` for too many."""
    if len(texts) > MOST:
        raise UserError(Sentence("too_many_permutations", most=MOST))
    return texts
