"""Styles: named words of a place, added to prompts there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import Connection, Delete, delete, func, insert, select

from storage.clock import Clock
from storage.database.audit import AuditEntry, note
from storage.database.database import Database
from storage.database.tables import styles
from storage.errors import TooManyStyles
from storage.jobs.intake import check_text
from storage.jobs.place_tree import above, greet_place
from storage.records import Style

MOST: Final = 100  # of one place


@dataclass(frozen=True, slots=True)
class Styles:
    """Add, remove, find and list styles; a place knows those of what it lies in, too."""

    database: Database
    now: Clock

    async def add(self, place: str, name: str, prompt: str, negative: str, *, by: str) -> Style:
        """Add a style to a place, replacing one of its name; recorded in the audit log.

        Raises `TooManyStyles`, or `OptionError` for a text that cannot be kept.
        """
        for text in (prompt, negative):
            check_text("style", text)
        now = self.now()
        style = Style(
            place=place, name=name, prompt=prompt, negative=negative, made_by=by, created_at=now
        )

        def unit(connection: Connection) -> Style:
            greet_place(connection, place, now)
            connection.execute(_named(place, name))
            count = select(func.count()).select_from(styles).where(styles.c.place == place)
            if connection.execute(count).scalar_one() >= MOST:
                raise TooManyStyles(MOST)
            connection.execute(insert(styles), asdict(style))
            detail = {"name": name, "prompt": prompt, "no": negative}
            note(connection, AuditEntry(by=by, act="style", place=place, detail=detail), now)
            return style

        return await self.database.write(unit)

    async def remove(self, place: str, name: str, *, by: str) -> bool:
        """Remove a place's own style, recorded in the audit log; False if there is none."""
        removal = AuditEntry(by=by, act="remove style", place=place, detail={"name": name})

        def unit(connection: Connection) -> bool:
            found = connection.execute(_named(place, name)).rowcount > 0
            if found:
                note(connection, removal, self.now())
            return found

        return await self.database.write(unit)

    async def list(self, place: str) -> tuple[Style, ...]:
        """Return a place's styles and those of its parents, by name.

        Where several bear a name, it is the one of the innermost place.
        """

        def unit(connection: Connection) -> tuple[Style, ...]:
            line = above(connection, place)
            rows = connection.execute(select(styles).where(styles.c.place.in_(line))).all()
            known: dict[str, Style] = {}
            for row in sorted(rows, key=lambda row: -line.index(row.place)):
                known[row.name] = Style(**row._mapping)
            return tuple(known[name] for name in sorted(known))

        return await self.database.read(unit)


def _named(place: str, name: str) -> Delete:
    return delete(styles).where(styles.c.place == place, styles.c.name == name)
