"""Sentences for people: English, with what it takes to say the same in other languages.

The code is stable and finds another language's template, the facts fill it (`bots.texts`). To
whoever knows nothing of that, a sentence is its English text. Standard library only: sentences
travel between processes and into the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

Fact = str | int | float  # a part that is a `Sentence` itself is said in the other language, too


class Sentence(str):
    """Hold an English text, its code, and the facts that it was written from."""

    code: str
    facts: Mapping[str, Fact]

    def __new__(cls, text: str, code: str, **facts: Fact) -> Self:
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
        """Make a sentence again from its text and what `to_dict` returned."""
        facts = {
            name: cls.read(fact["text"], fact) if isinstance(fact, Mapping) else fact
            for name, fact in data["facts"].items()
        }
        return cls(text, data["code"], **facts)
