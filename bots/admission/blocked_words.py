"""Find blocked words in a prompt, also where they are disguised.

A word is found as a whole word, never inside another: who blocks "ass" may still draw a glass.
Look-alikes count as what they look like: other scripts' letters (Cyrillic а), accents, full-width
and other styled letters (Unicode's NFKD), digits and signs for letters (b4d, $), letters drawn out
(baaad) or set apart (b.a.d, b a d), and characters that nobody sees. Words of scripts without
spaces are found anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

# Letters and digits that look like Latin letters, and that NFKD leaves as they are. i, l and 1
# cannot be told apart, so that all of them are i.
LETTERS: Final = {
    "a": "аαɑ4", "b": "вβ8", "c": "сϲ", "d": "ԁđ", "e": "еε3", "g": "ɡ", "h": "һн",
    "i": "іιıӏłl1", "j": "ј", "k": "кκ", "m": "м", "n": "пη", "o": "оο0ø", "p": "рρ",
    "q": "ԛ", "s": "ѕ5", "t": "тτ7", "u": "υ", "v": "ν", "w": "ԝω", "x": "хχ", "y": "уγ",
    "z": "ζᴢ",
}  # fmt: skip
# Signs that stand for letters, or for themselves: "b@d!" is read both ways.
SIGNS: Final = {"a": "@", "e": "€", "i": "|!", "s": "$"}
# Thai and Lao, Burmese, Khmer, Japanese, Chinese.
UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
# A part of a list: quoted, which a comma or the end follows, or plain.
_QUOTED: Final = re.compile(r'\s*(?:"((?:[^"]|"")*)"|“([^”]*)”)\s*(?:[,，、]|$)')
_PLAIN: Final = re.compile(r"([^,，、]*)(?:[,，、]|$)")
_TO_QUOTE: Final = re.compile(r'[,，、]|^\s*["“]|^\s|\s$')
DRAWN_OUT: Final = re.compile(r"([^\W\d])\1{2,}")


def read_list(text: str) -> list[str]:
    """Read names or words with commas between, Chinese ones, too.

    One that has commas itself stands in quotes, and a quote within these is doubled.
    """
    parts, at = [], 0
    while at < len(text):
        quoted = _QUOTED.match(text, at)
        if found := quoted or _PLAIN.match(text, at):
            part = found[1] if found[1] is not None else found[2]
            parts.append(part.replace('""', '"') if quoted else part.strip())
            at = found.end()
    return list(dict.fromkeys(part for part in parts if part.strip()))


def write_list(parts: Iterable[str]) -> str:
    """Write names or words as `read_list` reads them."""
    return ", ".join(quote(part) for part in parts)


def quote(part: str) -> str:
    """Return a name or word as it stands in a list."""
    doubled = part.replace('"', '""')
    return f'"{doubled}"' if _TO_QUOTE.search(part) else part


def find_blocked(text: str, blocked: Iterable[str]) -> str | None:
    """Return the first of the blocked words that is in a text, or None."""
    plain = skeleton(text)
    readings = (plain, plain.translate(_table(SIGNS)))
    for word in blocked:
        pattern = _pattern(word)
        if pattern and any(pattern.search(reading) for reading in readings):
            return word
    return None


def skeleton(text: str) -> str:
    """Return what a text looks like: lower-case Latin letters where they are meant."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    # Marks are accents, Cf is what nobody sees (joiners, soft hyphens, directions).
    seen = (c for c in decomposed if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    plain = "".join(seen).translate(_table(LETTERS)).replace("_", "-")
    return DRAWN_OUT.sub(r"\1", plain)


def _table(alike: Mapping[str, str]) -> dict[int, str]:
    return {ord(other): letter for letter, others in alike.items() for other in others}


@lru_cache(maxsize=4096)
def _pattern(word: str) -> re.Pattern[str] | None:
    letters = [re.escape(letter) for letter in skeleton(word).strip() if not letter.isspace()]
    if not letters:
        return None
    if UNSPACED.search(word):
        return re.compile(r"\s?".join(letters))
    dressed, apart = r"[^\w\s]{0,2}".join(letters), r"\s".join(letters)
    phrase = r"\s+".join(re.escape(part) for part in skeleton(word).split())
    return re.compile(rf"(?<!\w)(?:{dressed}|{apart}|{phrase})(?!\w)")
