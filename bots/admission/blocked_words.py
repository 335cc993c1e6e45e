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
LOOK: Final = 4  # characters: those that stand for whole phrases, as U+FDFA, disguise no word
BETWEEN: Final = "\0\0\0"  # stands between texts: no word is found across it
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
    readings = [(each, _bare(each)) for each in dict.fromkeys((plain, plain.translate(_SIGNS)))]
    for word in blocked:
        letters, pattern = _pattern(word)
        # Nearly all are ruled out by their letters alone, 100 times faster than by the pattern.
        if pattern and any(letters in bare and pattern.search(each) for each, bare in readings):
            return word
    return None


def skeleton(text: str) -> str:
    """Return what a text looks like: lower-case Latin letters where they are meant."""
    plain = text.translate({ord(character): _look(character) for character in set(text)})
    return DRAWN_OUT.sub(r"\1", plain)


@lru_cache(maxsize=4096)
def _look(character: str) -> str:
    """Return what a character looks like; "" for marks, as accents are, and what nobody sees (Cf:
    joiners, soft hyphens, directions).
    """
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    seen = (c for c in decomposed if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    return "".join(seen).translate(_LETTERS).replace("_", "-")[:LOOK]


def _bare(text: str) -> str:
    """Return a text's letters and digits."""
    return text.translate({ord(each): None for each in set(text) if not each.isalnum()})


def _table(alike: Mapping[str, str]) -> dict[int, str]:
    return {ord(other): letter for letter, others in alike.items() for other in others}


_LETTERS: Final = _table(LETTERS)
_SIGNS: Final = _table(SIGNS)


@lru_cache(maxsize=4096)
def _pattern(word: str) -> tuple[str, re.Pattern[str] | None]:
    """Return the letters and digits of a word, and its pattern; None where nothing is seen of it.

    The first letter is looked for before what stands around it, which is fast.
    """
    plain = skeleton(word).strip()
    letters = [re.escape(letter) for letter in plain if not letter.isspace()]
    if not letters:
        return "", None
    first, *others = letters
    if UNSPACED.search(word):
        return _bare(plain), re.compile(r"\s?".join(letters))
    dressed, apart = (
        "".join(between + letter for letter in others) for between in (r"[^\w\s]{0,2}", r"\s")
    )
    phrase = r"\s+".join(re.escape(part) for part in plain.split()).removeprefix(first)
    pattern = re.compile(rf"{first}(?<!\w{first})(?:{dressed}|{apart}|{phrase})(?!\w)")
    return _bare(plain), pattern
