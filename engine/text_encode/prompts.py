"""The prompt grammar: weights in parentheses, tokens in windows of a text encoder's length.

    (x)        weighs x by 1.1; nested parentheses multiply
    (x:1.2)    sets the weight of x
    \\( \\)      are literal parentheses
    BREAK      starts a new window, where there are windows

Every string is valid: unmatched parentheses, and weights that are no numbers, are text. The rules
are ComfyUI's, so that prompts give the same tokens in both; `BREAK` is A1111's. Standard library
only: prompts are parsed without a model, too.
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
SPLITTING: Final = 8  # tokens; a group of so many may be split between two windows
FLOAT32_MAX: Final = 3.4028234663852886e38

# The lookbehind keeps the time linear in the number of blanks.
BREAK: Final = re.compile(r"(?:(?<!\s)\s+)?\bBREAK\b\s*")

EMBEDDING: Final = re.compile(r"\bembedding:([\w.\-+/]*[\w+])")

# A text → its ids in groups, which a window's end splits only where they are long.
Encode = Callable[[str], Iterable[Sequence[int]]]


class Span(NamedTuple):
    """A piece of a prompt without escapes, and its weight."""

    text: str
    weight: float


class Token(NamedTuple):
    """A token's id and its weight."""

    id: int
    weight: float


class Piece(NamedTuple):
    """A token as it is shown.

    text: empty for a vector of an embedding; ends: whether a word ends with it; window: from 0;
    place: its place in the embeddings of all windows.
    """

    text: str
    id: int
    weight: float
    ends: bool
    window: int
    place: int


def parse(prompt: str) -> list[Span]:
    """Split a prompt into spans of equal weight, or raise `PromptError` for a weight out of range.

    Text without parentheses is one span of weight 1. Halves of surrogate pairs, which tokenizers
    do not take, become U+FFFD.
    """
    prompt = mend_surrogates(prompt)
    closing = _match_parentheses(prompt)
    spans: list[Span] = []
    # Ranges still to read, the next one last: recursion would fail at 1,000 parentheses.
    unread = [(0, len(prompt), 1.0)]
    while unread:
        start, end, weight = unread.pop()
        opening = _find_opening(prompt, start, end)
        close = _find_closing(prompt, closing, opening, end)
        if close < end:
            unread.append((close + 1, end, weight))
            unread.append(_read_group(prompt, opening + 1, close, weight))
            end = opening
        # An opening parenthesis starts a new span even if it is never closed.
        pieces = (prompt[start:opening], prompt[opening:end])
        plain = (piece.replace(r"\(", "(").replace(r"\)", ")") for piece in pieces)
        spans += [Span(piece, weight) for piece in plain if piece]
    return spans


def unweighted(prompt: str) -> str:
    """Return a prompt's words without weights; itself where they are out of range."""
    try:
        return "".join(span.text for span in parse(prompt))
    except PromptError:
        return prompt


def tokenize(
    prompt: str,
    encode: Encode,
    *,
    bos: int,
    eos: int,
    pad: int | None = None,
    max_length: int = 77,
    breaks: bool = True,
) -> list[list[Token]]:
    """Return a prompt's weighted tokens in one or more windows: BOS, tokens, EOS, padding.

    encode: returns a text's ids without BOS and EOS, in groups: the words between two embeddings,
    or an embedding's vectors; pad: EOS by default; max_length: tokens of a window; breaks: whether
    `BREAK` begins one, rather than being a word. A group of 8 tokens or more is split where a
    window ends, a shorter one moves to the next window. Windows that `BREAK` leaves empty are left
    out. Raises `PromptError` as `parse` does.
    """
    room = max_length - 2
    if room < 1:
        raise ValueError(f"max_length must be at least 3, not {max_length}")
    bodies: list[list[Token]] = [[]]
    for piece in _pieces(parse(prompt), encode, breaks=breaks):
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


def marks(prompt: str) -> list[str]:
    """Return what of this grammar stands in a prompt, as it was typed, embeddings included.

    Single parentheses without a number are left out: in texts for encoders that know no weights
    they are punctuation.
    """
    prompt = mend_surrogates(prompt)
    closing, found, start = _match_parentheses(prompt), [], 0
    while (opening := _find_opening(prompt, start, len(prompt))) < len(prompt):
        close = _find_closing(prompt, closing, opening, len(prompt))
        if close == len(prompt):
            break
        start = close + 1
        if _is_weighted(prompt, opening, close):
            found.append(prompt[opening:start])
    found += [embedding[0] for embedding in EMBEDDING.finditer(prompt)]
    return [*found, *(["BREAK"] if BREAK.search(prompt) else [])]


def _is_weighted(prompt: str, opening: int, close: int) -> bool:
    try:
        _, end, _ = _read_group(prompt, opening + 1, close, 1.0)
        inner = parse(prompt[opening : close + 1])
    except PromptError:
        return True
    return end < close or any(weight not in (1.0, EMPHASIS) for _, weight in inner)


def flat(prompt: str, encode: Encode) -> list[Token]:
    """Return a prompt's weighted tokens, without windows: `BREAK` is a word.

    encode: as for `tokenize`. Raises `PromptError` as `parse` does.
    """
    pieces = _pieces(parse(prompt), encode, breaks=False)
    return [token for piece in pieces for token in piece or ()]


def check_length(tokens: int, most: int) -> None:
    """Raise `PromptError` for a prompt of more tokens than a model reads."""
    if tokens > most:
        raise PromptError(Sentence("many_tokens", tokens=tokens, most=most))


def _match_parentheses(text: str) -> dict[int, int]:
    """Map the index of each matched opening parenthesis to that of its closing one."""
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
    """Return the index of the first opening parenthesis that weighs in the range, or `end`.

    One that follows an unmatched closing one is text, as in ComfyUI: none in "a) (b)".
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
    """Return the index of the closing parenthesis inside the range, or `end`.

    An unmatched one that ends the range is taken as well, as in ComfyUI: "(a (b)".
    """
    close = closing.get(opening, end)
    if close < end:
        return close
    last = end - 1
    ends_group = opening < last and text[last] == ")" and text[last - 1] != "\\"
    return last if ends_group else end


def _read_group(text: str, start: int, end: int, weight: float) -> tuple[int, int, float]:
    """Return the range of the text between two parentheses, and its weight."""
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


def _pieces(spans: Sequence[Span], encode: Encode, *, breaks: bool) -> Iterator[list[Token] | None]:
    """Yield the weighted tokens of each group of each span, and None for each `BREAK`.

    breaks: as for `tokenize`.
    """
    for text, weight in spans:
        for i, part in enumerate(BREAK.split(text) if breaks else [text]):
            if i > 0:
                yield None
            for group in encode(part):
                yield [Token(id_, weight) for id_ in group]


def _window(body: list[Token], bos: int, eos: int, pad: int, max_length: int) -> list[Token]:
    padding = [Token(pad, 1.0)] * (max_length - 2 - len(body))
    return [Token(bos, 1.0), *body, Token(eos, 1.0), *padding]
