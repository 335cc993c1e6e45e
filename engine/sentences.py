"""Sentences for people, as codes and facts: English here, other languages in `bots.texts`.

Standard library only: sentences travel between processes and into the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any, Self

from engine.english import ENGLISH

Fact = str | int | float  # one that is a `Sentence` itself is translated, too


class _Formatter(Formatter):
    """As `str.format`; `{count:picture|pictures}` chooses between one and several."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if "|" not in format_spec:
            return str(super().format_field(value, format_spec))
        one, several = format_spec.split("|")
        return one if value == 1 else several


_FORMATTER = _Formatter()


def fill(template: str, /, **facts: object) -> str:
    """Fill a template as `str.format` does; `{count:picture|pictures}` is right for one, too."""
    return _FORMATTER.vformat(template, (), facts)


class Sentence(str):
    """An English text with the code and the facts that it was written from.

    The code is stable: it finds the template in `ENGLISH` and in other languages' tables.
    """

    code: str
    facts: Mapping[str, Fact]

    def __new__(cls, code: str, /, **facts: Fact) -> Self:
        return cls._of(fill(ENGLISH[code], **facts), code, facts)

    @classmethod
    def _of(cls, text: str, code: str, facts: Mapping[str, Fact]) -> Self:
        sentence = super().__new__(cls, text)
        sentence.code = code
        sentence.facts = facts
        return sentence

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).read, (str(self), self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return code and facts as plain JSON values; `read` takes them beside the text."""
        facts = {
            name: {"text": str(fact), **fact.to_dict()} if isinstance(fact, Sentence) else fact
            for name, fact in self.facts.items()
        }
        return {"code": self.code, "facts": facts}

    @classmethod
    def read(cls, text: str, data: Mapping[str, Any]) -> Self:
        """Make a sentence again from its text and what `to_dict` returned.

        The text stays as it was written, also where the code is not in `ENGLISH` (any more).
        """
        facts = {
            name: cls.read(fact["text"], fact) if isinstance(fact, Mapping) else fact
            for name, fact in data["facts"].items()
        }
        return cls._of(text, data["code"], facts)
