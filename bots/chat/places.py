"""Which place lies in which: a topic in its group, a thread in its channel, that in its server."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from storage.people.people import People

REMEMBERED: Final = 10_000  # places


@dataclass(frozen=True, slots=True)
class Places:
    """Records where places lie, so that the rules, bans and styles of the outer ones apply."""

    people: People
    _known: set[str] = field(default_factory=set)

    def __contains__(self, place: str) -> bool:
        return place in self._known

    async def add(self, *places: str) -> None:
        """Record that each place lies in the next one, once in this process.

        Raises `DatabaseFault`: nothing may be done in a place before this is known.
        """
        if places[0] in self._known:
            return
        for outer, inner in pairwise(reversed(places)):
            await self.people.add_place(inner, outer)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known.add(places[0])
