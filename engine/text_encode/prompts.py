"""How a prompt is read: weights in parentheses, tokens in windows of a text encoder's length.

    (x)        weighs x by 1.1; nested parentheses multiply
    (x:1.2)    sets the weight of x
    \\( \\)      are parentheses of the text itself
    BREAK      goes on in a new window

Every string can be read: parentheses that do not match, and weights that are no numbers, are text.
ComfyUI's reading is followed in every detail that is known, so that prompts mean the same here and
there; `BREAK` is A1111's. Standard library only: prompts are read without a model, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from engine.errors import PromptError, shorten
from engine.recipe.prompt_tags import mend_surrogates
from engine.sentences import Sentence

EMPHASIS: Final = 1.1
SPLITTING: Final = 8  # tokens; from here on a group may be split between two windows
FLOAT32_MAX: Final = 3.4028234663852886e38

# Blanks are tried from their first one only, so that many of them cost no quadratic time.
BREAK: Final = re.compile(r"(?:(?<!\s)\s+)?\bBREAK\b\s*")

# A text → its ids in groups, each of which a window's end cuts only where it is long.
Encode = Callable[[str], Iterable[Sequence[int]]]


class Span(NamedTuple):
    """Hold a piece of a prompt, escapes removed, and its weight."""

    text: str
    weight: float


class Token(NamedTuple):
    """Hold a token's id and its weight."""

    id: int
    weight: float


def parse(prompt: str) -> list[Span]:
    """Split a prompt into spans of equal weight, or raise `PromptError` for a weight of no use.

    Text without parentheses comes back as it is, as one span of weight 1. Halves of surrogate
    pairs, which no tokenizer takes, become U+FFFD.
    """
    prompt = mend_surrogates(prompt)
    closing = _match_parentheses(prompt)
    spans: list[Span] = []
    # Ranges of the prompt still to read, nearest last: recursion would end at 1,000 parentheses.
    unread = [(0, len(prompt), 1.0)]
    while unread:
        start, end, weight = unread.pop()
        opening = _find_opening(prompt, start, end)
        close = _find_closing(prompt, closing, opening, end)
        if close < end:
            unread.append((close + 1, end, weight))
            unread.append(_read_group(prompt, opening + 1, close, weight))
            end = opening
        # An opening parenthesis starts a new span, also where it is never closed.
        pieces = (prompt[start:opening], prompt[opening:end])
        spans += [Span(_unescape(piece), weight) for piece in pieces if piece]
    return spans


def chunk(
    spans: Sequence[Span],
    encode: Encode,
    *,
    bos: int,
    eos: int,
    pad: int | None = None,
    max_length: int = 77,
) -> list[list[Token]]:
    """Fill windows of max_length tokens: BOS, spans, EOS, padding. There is at least one window.

    encode gives a text's ids without BOS and EOS, in groups: the words between two embeddings, or
    an embedding's vectors. pad is EOS unless given. A group of 8 tokens or more is split where a
    window ends, a shorter one moves to the next window. Windows that `BREAK` leaves empty are left
    out.
    """
    room = max_length - 2
    if room < 1:
        raise ValueError(f"max_length must be at least 3, not {max_length}")
    bodies: list[list[Token]] = [[]]
    for piece in _pieces(spans, encode):
        if piece is None:
            bodies.append([])
            continue
        splits = len(piece) >= SPLITTING or len(piece) > room
        while len(piece) > (left := room - len(bodies[-1])):
            if splits:
                bodies[-1] += piece[:left]
                piece = piece[left:]
            bodies.append([])
        bodies[-1] += piece
    full = [body for body in bodies if body] or [[]]
    return [_window(body, bos, eos, eos if pad is None else pad, max_length) for body in full]


def tokenize(
    prompt: str,
    encode: Encode,
    *,
    bos: int,
    eos: int,
    pad: int | None = None,
    max_length: int = 77,
) -> list[list[Token]]:
    """Read a prompt into windows of max_length weighted tokens: `parse`, then `chunk`."""
    return chunk(parse(prompt), encode, bos=bos, eos=eos, pad=pad, max_length=max_length)


def _match_parentheses(text: str) -> dict[int, int]:
    """Map the place of each opening parenthesis to its closing one; the others are not in it."""
    closing: dict[int, int] = {}
    opened: list[int] = []
    for i, char in enumerate(text):
        if char not in "()" or text[i - 1 : i] == "\\":
            continue
        if char == "(":
            opened.append(i)
        elif opened:
            closing[opened.pop()] = i
    return closing


def _find_opening(text: str, start: int, end: int) -> int:
    """Return the place of the range's first opening parenthesis of weight, or `end`.

    One that makes up for a closing one too many is text, as in ComfyUI: none in "a) (b)".
    """
    missing = 0
    for i in range(start, end):
        if text[i] not in "()" or text[i - 1 : i] == "\\":
            continue
        if text[i] == ")":
            missing += 1
        elif missing:
            missing -= 1
        else:
            return i
    return end


def _find_closing(text: str, closing: Mapping[int, int], opening: int, end: int) -> int:
    """Return the place of the closing parenthesis inside the range, or `end`.

    One that closes nothing but ends the range serves as well, as in ComfyUI: "(a (b)".
    """
    close = closing.get(opening, end)
    if close < end:
        return close
    last = end - 1
    ends_group = opening < last and text[last] == ")" and text[last - 1] != "\\"
    return last if ends_group else end


def _read_group(text: str, start: int, end: int, weight: float) -> tuple[int, int, float]:
    """Read what stands between two parentheses: the range of its text, and its weight."""
    weight *= EMPHASIS
    colon = text.rfind(":", start, end)
    if colon > start:
        with suppress(ValueError):
            weight = float(text[colon + 1 : end])
            end = colon
    if not abs(weight) <= FLOAT32_MAX:
        words, number = shorten(text[start:end]), f"{weight:g}"
        raise PromptError(Sentence("bad_weight", words=words, weight=number))
    return start, end, weight


def _unescape(text: str) -> str:
    return text.replace(r"\(", "(").replace(r"\)", ")")


def _pieces(spans: Sequence[Span], encode: Encode) -> Iterator[list[Token] | None]:
    """Give the weighted tokens of each group of each span, and None for each `BREAK`."""
    for text, weight in spans:
        for i, part in enumerate(BREAK.split(text)):
            if i > 0:
                yield None
            for group in encode(part):
                yield [Token(id_, weight) for id_ in group]


def _window(body: list[Token], bos: int, eos: int, pad: int, max_length: int) -> list[Token]:
    padding = [Token(pad, 1.0)] * (max_length - 2 - len(body))
    return [Token(bos, 1.0), *body, Token(eos, 1.0), *padding]
