"""The last line of A1111's text: names and values, quoted as JSON where they need it."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from engine.formats.texts import parse_json
from engine.sentences import Sentence

NEGATIVE: Final = "Negative prompt:"
# `name: value` up to a comma, or with a value that is quoted as JSON. The bound on the name keeps
# a hostile line from being searched in quadratic time.
LONGEST: Final = 61  # characters of a name
NAME: Final = re.compile(rf"(\w[\w /-]{{1,{LONGEST - 1}}}):")
BLANK: Final = re.compile(r"\s*")
VALUE: Final = re.compile(r'("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')
# Some values are JSON without quotes, whose commas would fall apart into settings.
DECODER: Final = json.JSONDecoder()
MOST: Final = 16  # of these
RESOURCES: Final = "Civitai resources"
SHOWN: Final = 60  # characters of a value in a message


class Settings(dict[str, str]):
    """The settings of a line; those not taken (by `pop`) are left over."""

    def __init__(self, line: str) -> None:
        super().__init__((name, unquote(value)) for name, value in _pairs(line))
        self.notes: list[str] = []

    def number(self, kind: Callable[[str], float], name: str, default: str | None = None) -> Any:
        """Return a number; any other text unchanged, for `Recipe` to name it in its error."""
        return number(kind, self.pop(name, default))

    def json(self, name: str) -> Any:
        """Return a value that is JSON, None where it is missing or none."""
        try:
            return parse_json(self.pop(name, "null"))
        except ValueError:
            return None

    def note(self, name: str, value: object, why: Sentence) -> None:
        """Name a setting that is not honoured, and why."""
        self.notes.append(Sentence("reading_note", name=name, value=str(value)[:SHOWN], why=why))

    def left(self) -> tuple[str, ...]:
        """Return all that is not honoured."""
        rest = (f"{name}: {self[name][:SHOWN]}" for name in sorted(self))
        return *rest, *self.notes


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """Yield names and values as they are written."""
    at, tries = 0, 0
    while found := next_name(line, at):
        at = found.end()
        if blank := BLANK.match(line, at):
            at = blank.end()
        if line[at : at + 1] in ("{", "[") and tries < MOST:
            tries += 1
            try:
                end = DECODER.raw_decode(line, at)[1]
            except (ValueError, RecursionError):
                if found[1] == RESOURCES:  # cut short: what follows is no setting
                    return
            else:
                yield found[1], line[at:end]
                at = end
                continue
        value = VALUE.match(line, at)
        assert value is not None
        yield found[1], value[1]
        at = value.end()


def next_name(line: str, at: int) -> re.Match[str] | None:
    """Find the next name; only what stands before a colon is looked at."""
    colon = line.find(":", at)
    while colon >= 0:
        if found := NAME.search(line, max(at, colon - LONGEST), colon + 1):
            return found
        colon = line.find(":", colon + 1)
    return None


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
        return str(parse_json(value)) if quoted else value
    except ValueError:
        return value


def number(kind: Callable[[str], float], text: str | None) -> Any:
    """Convert a number; any other text is returned unchanged."""
    try:
        return None if text is None else kind(text)
    except ValueError:
        return text
