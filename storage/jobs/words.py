"""Turn text into the words that full-text search knows, in any language, without a database.

Text is folded (NFKC, case, the accents of European letters) and cut into runs of letters, marks
and digits. Scripts that put no spaces between words (Chinese, Japanese, Korean, Thai, …) become
overlapping pairs, then single characters: 大理石 is kept as 大理 理石 大 理 石. A query of two
or more such characters asks for its pairs as a phrase, one of a single character for itself, so
that any part of a prompt is found, without a dictionary that would know only some words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

LONGEST: Final = 64  # characters of a word that count
DENSE: Final = re.compile(  # scripts without spaces between words
    "[\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff"  # kana, bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # ideographs
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
_EUROPEAN: Final = re.compile("[\u0041-\u024f\u0370-\u052f\u1e00-\u1fff]")
_PLAIN: Final = re.compile("[a-z0-9]+")
_TERM: Final = re.compile(r'"([^"]*)"|(\S+)')


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must follow one another; `prefix` lets the last one go on."""

    words: tuple[str, ...]
    prefix: bool = False


def index(text: str, *, person: str, place: str) -> tuple[str, ...]:
    """Return the words under which a prompt is found, with those of its person and place."""
    return (*_words(text, singles=True), by(person), at(place))


def by(person: str) -> str:
    """Return the word that stands for a person; no prompt can contain it."""
    return f"by={quote(person, safe=':')}"


def at(place: str) -> str:
    """Return the word that stands for a place; no prompt can contain it."""
    return f"at={quote(place, safe=':')}"


def terms(query: str) -> tuple[Term, ...]:
    """Read a query: every term must be found; "quotes" make a phrase, a trailing * a prefix."""
    found: list[Term] = []
    for phrase, word in _TERM.findall(query):
        if phrase:
            found.append(Term(tuple(_words(phrase, singles=False))))
            continue
        runs = list(_runs(word))
        for place, run in enumerate(runs):
            open_end = word.endswith("*") and place == len(runs) - 1 and not DENSE.match(run)
            found.append(Term(tuple(_cut(run, singles=False)), open_end))
    return tuple(term for term in found if term.words)


def fts5(wanted: Iterable[Term], scope: Iterable[str] = ()) -> str:
    """Write terms in the query language of SQLite's FTS5."""
    parts = [f'"{" ".join(term.words)}"' + (" *" if term.prefix else "") for term in wanted]
    return " AND ".join([*parts, *(f'"{word}"' for word in scope)])


def tsquery(wanted: Iterable[Term], scope: Iterable[str] = ()) -> str:
    """Write terms in the query language of PostgreSQL's `tsquery`."""
    parts = [
        " <-> ".join(f"'{word}'" for word in term.words) + (":*" if term.prefix else "")
        for term in wanted
    ]
    return " & ".join([*(f"({part})" for part in parts), *(f"'{word}'" for word in scope)])


def _words(text: str, *, singles: bool) -> Iterator[str]:
    for run in _runs(text):
        yield from _cut(run, singles=singles)


def _cut(run: str, *, singles: bool) -> Iterator[str]:
    """Yield a run as one word, or as pairs (and single characters) of a dense script."""
    if not DENSE.match(run):
        yield run[:LONGEST]
        return
    yield from (run[i : i + 2] for i in range(len(run) - 1))
    if singles or len(run) == 1:
        yield from run


def _runs(text: str) -> Iterator[str]:
    """Yield what belongs together: letters, marks and digits of one kind of script."""
    if text.isascii():  # the same, quicker
        yield from _PLAIN.findall(text.lower())
        return
    run, dense = "", False
    for char in _fold(text):
        kind = unicodedata.category(char)
        keep = kind[0] in "LMN"
        char_dense = bool(DENSE.match(char))
        # A mark belongs to the letter before it, whatever block it stands in.
        if run and (not keep or (kind[0] != "M" and char_dense != dense)):
            yield run
            run = ""
        if keep and not (kind[0] == "M" and not run):
            dense = char_dense if not run else dense
            run += char
        elif kind == "So":  # emoji are words of their own
            yield char
    if run:
        yield run


def _fold(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    plain, base = [], ""
    for char in unicodedata.normalize("NFD", folded):
        if unicodedata.combining(char) and _EUROPEAN.match(base):
            continue
        base = base if unicodedata.combining(char) else char
        plain.append(char)
    return unicodedata.normalize("NFC", "".join(plain))
