"""Texts that strangers wrote, in files of their own and in pictures: their letters and JSON."""

import codecs
import re
from contextlib import suppress
from typing import Any, Final

from engine.errors import MetadataError
from engine.files.json_parse import has_more_values, parse
from engine.sentences import Sentence

# A workflow has one for every 8 bytes, indented for every 14: as many as 2.4 MB of it hold.
MOST: Final = 300_000  # values and keys
HALVES: Final = 60_000  # of surrogate pairs, as escapes: 30,000 emoji
# What stands before half of an escaped surrogate pair: other signs, other escapes, whole pairs.
BEFORE: Final = (
    r"(?:[^\\]++|\\(?!u[dD][89a-fA-F]).|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
# Each match begins where the last one ended: within an escape, another one would be seen.
ESCAPED: Final = re.compile(
    rf"({BEFORE}*+)(?:(\\u[dD][89a-fA-F][0-9a-fA-F]{{2}})|\\|\Z)", re.DOTALL
)
HALF: Final = re.compile("[\ud800-\udfff]")
UNKNOWN: Final = "\ufffd"
# Longer marks first: UTF-32's begins with UTF-16's.
ENCODINGS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
UNMARKED: Final = {"utf-16-be": (0, 1), "utf-16-le": (1, 0)}  # where upper and lower bytes stand


def parse_json(text: str) -> Any:
    """Parse JSON; halves of surrogate pairs, which no encoding takes, become U+FFFD.

    Raises `ValueError` where it is none, or nests too deeply, and `MetadataError` where it holds
    more than any program writes.
    """
    large = has_more_values(text, MOST)
    escaped = 0 if large else text.count("\\ud") + text.count("\\uD")
    if large or escaped > HALVES:
        raise MetadataError(Sentence("json_large", most=MOST))
    if escaped:
        text = ESCAPED.sub(lambda found: f"{found[1]}{UNKNOWN}" if found[2] else found[0], text)
    if not text.isascii():
        text = HALF.sub(UNKNOWN, text)
    try:
        return parse(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def texts_within(text: str) -> dict[str, str]:
    """Return the texts by their keys that one text holds as a JSON object, as NovelAI packs them.

    Any other text is A1111's, or stands where A1111's would.
    """
    if '"Comment"' in text and text.lstrip()[:1] == "{":
        with suppress(ValueError):
            found = parse_json(text)
            if isinstance(found.get("Comment"), str):
                return {str(key): each for key, each in found.items() if isinstance(each, str)}
    return {"parameters": text}


def eight_bits(data: bytes) -> str:
    """Read a text that is Latin-1 by the standard, and UTF-8 where it can be: many write that."""
    try:
        return data.decode("utf-8")
    except ValueError:
        return data.decode("latin-1")


def decode_text(data: bytes) -> str | None:
    """Decode a text file in UTF-8, or in UTF-16 or UTF-32; None where it is none.

    Without a mark of its encoding, a text is UTF-16 where many of every other byte are 0, as the
    upper ones of Latin letters and of JSON's marks are.
    """
    for mark, encoding in ENCODINGS:
        if data.startswith(mark):
            return _decoded(data.removeprefix(mark), encoding)
    begin = data[:64]
    for order, (zero, other) in UNMARKED.items():
        if not begin[other::2].count(0) and 8 * begin[zero::2].count(0) >= len(begin):
            return _decoded(data, order)
    return _decoded(data, "utf-8")


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding).rstrip("\0")
    except ValueError:
        return None
    return None if "\0" in text else text
