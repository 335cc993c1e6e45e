"""Choices, of whose texts Discord takes 100 characters: longer names come in a short form.

    a-model-with-a-very-long-name…1f3870be

Its end is the beginning of the name's sha256, so that it finds the name again, after restarts, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from discord.app_commands import Choice

from bots.admission.blocked_words import quote
from bots.presentation.text import ELLIPSIS

LONGEST: Final = 100  # characters
DIGITS: Final = 8  # of the sha256
SHORTEST: Final = 24  # characters of a short form, in which a name can still be recognised
_SHORT: Final = re.compile(rf"[^,{ELLIPSIS}]*{ELLIPSIS}([0-9a-f]{{{DIGITS}}})")
_SIGNS: Final = re.compile(r'[,:，、"“”…]')  # what means something in lists


def choice(label: str, value: str) -> Choice[str]:
    """Return a choice; of a long label both ends are shown, since names often differ at theirs."""
    half = LONGEST // 2 - 1
    shown = label if len(label) <= LONGEST else f"{label[:half]}{ELLIPSIS}{label[-half:]}"
    return Choice(name=shown, value=short(value))


def short(name: str, room: int = LONGEST) -> str:
    """Return a name, or its short form where it has more than so many characters."""
    if len(name) <= room:
        return name
    begin = _SIGNS.sub(" ", name)[: max(0, room - DIGITS - len(ELLIPSIS))]
    return f"{begin}{ELLIPSIS}{_digest(name)}"


def joined(kept: str, name: str) -> str:
    """Return a list as it is typed so far with one more name, in a short form where it must be."""
    room = max(SHORTEST, LONGEST - len(kept))
    quoted = quote(name)
    return kept + (quoted if len(quoted) <= room else short(name, min(room, LONGEST // 2)))


def whole(text: str, names: Iterable[str], *, listed: bool = False) -> str:
    """Return a text in which short forms of these names are the names again.

    listed: it holds several, with commas between.
    """
    if ELLIPSIS not in text:
        return text
    known = {_digest(name): quote(name) if listed else name for name in names}
    return _SHORT.sub(lambda found: known.get(found[1], found[0]), text)


def _digest(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
