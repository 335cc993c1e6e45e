"""The last line of A1111's text: names and values, quoted as JSON where they need it."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.errors import MetadataError
from engine.recipe.prompt_tags import mend_surrogates
from engine.sentences import Sentence

NEGATIVE: Final = "Negative prompt:"
# `name: value` up to a comma, or with a value that is quoted as JSON. The bound on the name keeps
# a hostile line from being searched in quadratic time.
SETTING: Final = re.compile(r'(\w[\w /-]{1,60}):\s*("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')
# A site adds JSON without quotes, at the end, whose commas would fall apart into settings.
FOREIGN: Final = ", Civitai resources:"
SHOWN: Final = 60  # characters of a value in a message


class Settings:
    """The settings of a line; those not taken are left over."""

    def __init__(self, line: str) -> None:
        found = SETTING.findall(line.partition(FOREIGN)[0])
        self._left = {name: unquote(value) for name, value in found}
        self.notes: list[str] = []

    def need(self, *names: str) -> None:
        """Raise `MetadataError` where one of these is not there."""
        if missing := [name for name in names if name not in self._left]:
            raise MetadataError(Sentence("a1111_missing", names=", ".join(missing)))

    def has(self, *names: str) -> bool:
        """Return whether one of these is there."""
        return any(name in self._left for name in names)

    def take(self, name: str, default: str | None = None) -> str | None:
        """Return a setting, which then is not left over."""
        return self._left.pop(name, default)

    def text(self, name: str, default: str = "") -> str:
        """Return a setting as text."""
        return self._left.pop(name, default)

    def number(self, kind: Callable[[str], float], name: str, default: str | None = None) -> Any:
        """Return a number; any other text unchanged, for `Recipe` to name it in its error."""
        return number(kind, self.take(name, default))

    def note(self, name: str, value: object, why: Sentence) -> None:
        """Name a setting that is not honoured, and why."""
        self.notes.append(Sentence("a1111_note", name=name, value=str(value)[:SHOWN], why=why))

    def left(self) -> tuple[str, ...]:
        """Return all that is not honoured."""
        rest = (f"{name}: {self._left[name][:SHOWN]}" for name in sorted(self._left))
        return *rest, *self.notes


def write(settings: Mapping[str, str | None]) -> str:
    """Write settings, leaving out those that are None."""
    given = {name: value for name, value in settings.items() if value is not None}
    return ", ".join(f"{name}: {quote(value)}" for name, value in given.items())


def quote(value: str) -> str:
    """Write a value so that its commas and colons are its own."""
    plain = value == value.strip() and not any(mark in value for mark in ',:\n"')
    return value if plain else json.dumps(value, ensure_ascii=False)


def unquote(value: str) -> str:
    """Undo `quote`; a text that is not quoted correctly is returned unchanged."""
    try:
        quoted = value[:1] == value[-1:] == '"'
        return mend_surrogates(str(json.loads(value))) if quoted else value
    except ValueError:
        return value


def number(kind: Callable[[str], float], text: str | None) -> Any:
    """Convert a number; any other text is returned unchanged."""
    try:
        return None if text is None else kind(text)
    except ValueError:
        return text


def plain(value: float) -> str:
    """Write a number as A1111 does: whole ones without a point."""
    return repr(value).removesuffix(".0")
