"""A1111's prompt grammar, beyond the weights that Marble's own has.

    [a:b:0.4]  [b:8]  [a::8]    a until a step, then b: a share of the steps, or a step's number
    [a|b|c]                     one after another, anew at each step
    a AND b :0.5                two prompts, each with its share of the guidance
    [x]  (x)  (x:1.2)           weights 1/1.1, 1.1 and 1.2; nested ones multiply
    \\[  \\(  \\\\                 these signs as text

As in `prompt_parser.py` of A1111 1.10, whose rules these are: a bracket that cannot be read so is
text, and a bar outside of brackets makes all of its prompt text. Standard library only.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")

EMPHASIS: Final = 1.1
AND: Final = re.compile(r"\bAND\b")
SHARE: Final = re.compile(r":\s*([-+]?(?:\d+\.?|\d*\.\d+))$")  # of a prompt beside others
SIGN: Final = re.compile(r"\\.|[^\\\[\]():|]+|[\[\]():|]")
WHEN: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
CLOSING: Final = {"(": ")", "[": "]"}
ATTENTION: Final = re.compile(r"\\[()\[\]\\]?|[(\[)\]]|:\s*[+-]?[.\d]+\s*\)|[^\\()\[\]:]+|:")


class Edited(NamedTuple):
    """A text until a step, and another one after it; when: the step as it is written."""

    before: Pieces
    after: Pieces
    when: str


class Alternating(NamedTuple):
    """Texts of which each step takes the next."""

    options: tuple[Pieces, ...]


Pieces = Sequence["str | Edited | Alternating"]


class Turn(NamedTuple):
    """A text, and the call of the network up to which it is read; calls count from 0."""

    last: int
    text: str


def at(turns: Sequence[tuple[int, T]], call: int) -> T:
    """Return which of several is read in a call of the network, each up to a last call."""
    found = bisect_left(turns, call, key=lambda turn: turn[0])
    return turns[min(found, len(turns) - 1)][1]


class Span(NamedTuple):
    """A piece of a prompt without escapes, and its weight."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Calls:
    """How many calls of the network a pass has, by which prompts count.

    first: of the first pass; second: of the second one, where it is this; old: numbers are counted
    as before A1111 1.6: in the second pass as in the first, and 1.0 is a step's number; run: how
    many are made, as a start image leaves some out (None: all).
    """

    first: int
    second: int | None = None
    old: bool = False
    run: int | None = None

    @property
    def of_pass(self) -> int:
        """Return the calls by which shares of the pass are counted."""
        return self.first if self.second is None or self.old else self.second

    @property
    def made(self) -> int:
        """Return how many calls of the pass are made."""
        return self.of_pass if self.run is None else min(self.run, self.of_pass)

    def step(self, when: str) -> int:
        """Return the last call before a change."""
        steps, number = self.of_pass, float(when)
        if self.old:
            number = number * steps if number < 1 else number
        elif "." in when:
            number = (number - (self.second is not None)) * steps
        elif self.second is not None:
            number -= self.first
        return int(min(steps, max(0.0, number)))  # infinite ones, too


@dataclass(slots=True)
class _Group:
    """A bracket that is not closed yet: its parts, and the signs between them."""

    sign: str
    parts: list[list[str | Edited | Alternating]] = field(default_factory=lambda: [[]])
    between: list[str] = field(default_factory=list)

    def add(self, pieces: Pieces) -> None:
        self.parts[-1] += pieces

    def part(self, sign: str) -> None:
        self.between.append(sign)
        self.parts.append([])

    def raw(self) -> Pieces:
        pieces: list[str | Edited | Alternating] = [self.sign, *self.parts[0]]
        for sign, part in zip(self.between, self.parts[1:], strict=True):
            pieces += [sign, *part]
        return pieces

    def closed(self) -> Pieces | None:
        """Return what it means once it is closed; None where it is text."""
        if not self.between or (self.sign == "(" and self.between == [":"]):
            return [*self.raw(), CLOSING[self.sign]]
        if self.sign == "(":
            return None
        if {*self.between} == {"|"}:
            return [Alternating(tuple(self.parts))]
        *texts, when = self.parts
        number = "".join(map(str, when)).strip()
        plain = all(isinstance(piece, str) for piece in when)
        if "|" in self.between or len(texts) > 2 or not plain or not WHEN.fullmatch(number):
            return None
        before = texts[0] if len(texts) == 2 else []
        return [Edited(before, texts[-1], number)]


@lru_cache(maxsize=32)
def schedule(prompt: str, calls: Calls) -> tuple[Turn, ...]:
    """Return which text a prompt is at which calls of a pass, up to the last one that is made.

    Where alternatives are those of an earlier call, its text is taken: many that take turns have
    few texts.
    """
    pieces, made = parse(prompt), calls.made
    ends, lengths, steps = {made}, set[int](), dict[str, int]()
    for piece in _nested(pieces):
        if isinstance(piece, Alternating):
            lengths.add(len(piece.options))
        elif piece.when not in steps:
            steps[piece.when] = calls.step(piece.when)
    changes = sorted({step for step in steps.values() if 1 <= step <= made})
    ends.update(range(1, made + 1) if lengths else changes)
    texts: dict[tuple[int, ...], str] = {}
    turns: list[Turn] = []
    for end in sorted(ends):
        alike = bisect_left(changes, end), *(end % length for length in lengths)
        if alike not in texts:
            texts[alike] = _at(pieces, end, steps)
        if turns and turns[-1].text == texts[alike]:
            turns.pop()
        turns.append(Turn(end, texts[alike]))
    return tuple(turns)


def parse(prompt: str) -> Pieces:
    """Return a prompt's pieces: texts, and what changes between steps."""
    found, at = _Group(""), 0
    opened: list[_Group] = []
    for sign in SIGN.finditer(prompt):
        if sign.start() != at:  # a lone backslash
            return [prompt]
        at, text = sign.end(), sign[0]
        here = opened[-1] if opened else found
        if text in CLOSING:
            opened.append(_Group(text))
        elif text in ":|" and opened:
            here.part(text)
        elif text in CLOSING.values():
            pieces = here.closed() if opened and CLOSING[here.sign] == text else None
            if pieces is None:  # all that is open is text, as brackets may not cross
                _leave(opened, found)
                found.add([text])
            else:
                opened.pop()
                (opened[-1] if opened else found).add(pieces)
        else:
            here.add([text])
    _leave(opened, found)
    # Bars mean something in brackets alone; elsewhere they end A1111's reading.
    return [prompt] if at != len(prompt) or "|" in found.parts[0] else found.parts[0]


def _leave(opened: list[_Group], found: _Group) -> None:
    for group in opened:
        found.add(group.raw())
    opened.clear()


def _nested(pieces: Pieces) -> Iterator[Edited | Alternating]:
    waiting = [*pieces]
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            continue
        yield piece
        for inner in piece.options if isinstance(piece, Alternating) else piece[:2]:
            waiting += inner


def _at(pieces: Pieces, step: int, steps: Mapping[str, int]) -> str:
    """Return the text at a step; without recursion, which 1,000 brackets would end.

    steps: the last one before each change, by how it is written.
    """
    texts: list[str] = []
    waiting = [*reversed(pieces)]
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            texts.append(piece)
        elif isinstance(piece, Alternating):
            waiting += reversed(piece.options[(step - 1) % len(piece.options)])
        else:
            waiting += reversed(piece.before if step <= steps[piece.when] else piece.after)
    return "".join(texts)


def composed(prompt: str) -> list[Span]:
    """Return the prompts between each `AND`, with their shares of the guidance."""
    found = []
    for part in AND.split(prompt):
        text, weight = part.rstrip(), 1.0
        if share := SHARE.match(text, max(0, text.rfind(":"))):
            text, weight = text[: share.start()].rstrip(), float(share[1])
        found.append(Span(text, weight))
    return found


def weighted(text: str) -> list[Span]:
    """Return the spans of a text at one step, by weight; neighbours differ in it."""
    texts: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(sign: str, factor: float) -> None:
        for number in range(opened[sign].pop(), len(weights)):
            weights[number] *= factor

    for opens, closes, words in _attention(text):
        if opens:
            opened[opens].append(len(texts))
        elif closes:
            close(*closes)
        else:
            texts.append(words)
            weights.append(1.0)
    for sign, factor in (("(", EMPHASIS), ("[", 1 / EMPHASIS)):
        while opened[sign]:
            close(sign, factor)
    spans: list[Span] = []
    for words, weight in zip(texts, weights, strict=True):
        if spans and spans[-1].weight == weight:
            spans[-1] = Span(spans[-1].text + words, weight)
        elif words:
            spans.append(Span(words, weight))
    return spans


def unweighted(text: str) -> str:
    """Return the words of a text at one step as they are read, without weights and escapes."""
    return "".join(words for _, _, words in _attention(text))


def _attention(text: str) -> Iterator[tuple[str, tuple[str, float] | None, str]]:
    """Yield what a text at one step consists of.

    Each is a bracket that opens; one that closes, by its opening sign, with its weight; or words.
    """
    opened = {"(": 0, "[": 0}
    for found in ATTENTION.finditer(text):
        sign = found[0]
        number = EMPHASIS if sign == ")" else _number(sign)
        if sign in opened:
            opened[sign] += 1
            yield sign, None, ""
        elif number is not None and opened["("]:
            opened["("] -= 1
            yield "", ("(", number), ""
        elif sign == "]" and opened["["]:
            opened["["] -= 1
            yield "", ("[", 1 / EMPHASIS), ""
        else:
            yield "", None, sign[1:] if sign[0] == "\\" else sign


def in_own_grammar(text: str) -> str:
    """Write a text at one step with Marble's weights: `engine.text_encode.prompts` reads it so."""
    written = []
    for words, weight in weighted(text):
        plain = words.replace("(", r"\(").replace(")", r"\)")
        # A backslash before a parenthesis would take its meaning.
        apart = weight != 1 or plain.endswith("\\")
        written.append(f"({plain}:{weight!r})" if apart else plain)
    return "".join(written)


def foreign_signs(prompt: str) -> list[str]:
    """Return what in a prompt means something to A1111 alone, as it was typed."""
    found: list[str] = []
    opened: list[int] = []
    for sign in SIGN.finditer(prompt):
        if sign[0] == "[":
            opened.append(sign.start())
        elif sign[0] == "]" and opened:
            start = opened.pop()
            if not opened and sign.end() - start > 2:
                found.append(prompt[start : sign.end()])
    return found + ["AND"] * bool(AND.search(prompt))


def _number(sign: str) -> float | None:
    """Return the weight of a closing parenthesis that has one."""
    if sign[0] != ":" or sign[-1] != ")":
        return None
    try:
        return float(sign[1:-1])
    except ValueError:
        return None
