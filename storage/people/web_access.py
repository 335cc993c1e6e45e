"""Who is signed in to the web page: links from the chats, sessions, grants.

A token is 32 random bytes and is known to its holder alone: its sha256 is kept. Nobody can guess
one, so a request that carries one comes from its person. A grant has a name of the same length that
is no secret: links and messages hold it, and it opens nothing but in its person's session.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, delete, insert, select, update

from storage.clock import Clock
from storage.database.database import OUTCOME, Database
from storage.database.tables import people, seen_events, web_grants, web_links, web_sessions
from storage.errors import DatabaseFault
from storage.jobs.rows import add_if_new
from storage.people.moderation import admission
from storage.records import Ban, Grant, Json, Line, Link, Session, SignedIn

LINK: Final = timedelta(minutes=10)  # a link can be used for so long, once
SESSION: Final = timedelta(days=30)  # without use
GRANT: Final = timedelta(days=1)
USED: Final = timedelta(hours=1)  # a session's last use is kept to within so much
LINKS: Final = 5  # of one person; the oldest ends with a new one
SESSIONS: Final = 20
GRANTS: Final = 100
BYTES: Final = 32  # of a token
NAME: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # of a grant
# Of each table: its most rows of one person, for how long one counts, and from when on.
LIMITS: Final[Mapping[Table, tuple[int, timedelta, Column[Any]]]] = {
    web_links: (LINKS, LINK, web_links.c.created_at),
    web_sessions: (SESSIONS, SESSION, web_sessions.c.seen_at),
    web_grants: (GRANTS, GRANT, web_grants.c.created_at),
}


@dataclass(frozen=True, slots=True)
class WebAccess:
    """Make and check what the web page knows people by."""

    database: Database
    now: Clock

    async def make_link(self, person: str, path: str = "/") -> str:
        """Return the token of a link that signs somebody in once and leads to a path."""
        return await self.database.write(
            lambda c: self._add(c, web_links, Link(person=person, path=path))
        )

    async def link(self, token: str) -> Link | None:
        """Return the link of a token, without using it; None where it is used or too old."""
        found = await self.database.read(lambda c: self._find(c, web_links, _hash(token)))
        return None if found is None else Link(person=found["person"], path=found["path"])

    async def spend(self, token: str) -> tuple[str, Link] | None:
        """Use a link: return a new session's token and the link; None as `link` does.

        Of two who use it at once one gets the session.
        """

        def unit(connection: Connection) -> tuple[str, Link] | None:
            found = self._find(connection, web_links, _hash(token))
            spent = delete(web_links).where(web_links.c.id == _hash(token))
            if found is None or not connection.execute(spent).rowcount:
                return None
            link = Link(person=found["person"], path=found["path"])
            return self._open(connection, link.person), link

        return await self.database.write(unit, OUTCOME)

    async def open_session(self, person: str) -> str:
        """Return the token of a new session of somebody whom the platform has made known."""
        return await self.database.write(lambda c: self._open(c, person))

    async def open_once(self, event: str, person: str) -> str | None:
        """Do as `open_session`, once for an event; None where it was seen.

        The event is kept of no person: it is known also after everything of theirs was removed.
        """

        def unit(connection: Connection) -> str | None:
            seen = {"id": event, "created_at": self.now()}
            if not add_if_new(connection, seen_events, seen):
                return None
            return self._open(connection, person)

        return await self.database.write(unit, OUTCOME)

    async def signed_in(self, token: str, place_of: Callable[[str], str]) -> SignedIn | None:
        """Return the session of a token and note its use; None where it has ended.

        place_of: a person's place on the web page. All of it is read at once: every request needs
        it.
        """

        def unit(connection: Connection) -> tuple[Json, Ban | None, Line] | None:
            if (found := self._find(connection, web_sessions, _hash(token))) is None:
                return None
            person = found["person"]
            return found, *admission(connection, person, place_of(person), self.now())

        if (found := await self.database.read(unit)) is None:
            return None
        row, ban, line = found
        if self.now() - row["seen_at"] > USED:
            query = update(web_sessions).where(web_sessions.c.id == row["id"])
            seen = query.values(seen_at=self.now())
            with suppress(DatabaseFault):  # the next use notes it
                await self.database.write(lambda c: c.execute(seen))
        session = Session(person=row["person"], created_at=row["created_at"])
        return SignedIn(session=session, ban=ban, line=line)

    async def end(self, token: str) -> bool:
        """End a session; return whether there was one."""
        query = delete(web_sessions).where(web_sessions.c.id == _hash(token))
        return await self.database.write(lambda c: c.execute(query).rowcount > 0)

    async def end_all(self, person: str) -> int:
        """End all sessions, links and grants of somebody; return how many sessions there were."""

        def unit(connection: Connection) -> int:
            for table in (web_links, web_grants):
                connection.execute(delete(table).where(table.c.person == person))
            ended = delete(web_sessions).where(web_sessions.c.person == person)
            return connection.execute(ended).rowcount

        return await self.database.write(unit)

    async def grant(self, grant: Grant) -> str:
        """Keep a grant, and return its name."""
        return await self.database.write(lambda c: self._add(c, web_grants, grant))

    async def granted(self, name: str, person: str) -> Grant | None:
        """Return the grant of a name; None where it is another person's or too old."""
        if not NAME.fullmatch(name):
            return None
        found = await self.database.read(lambda c: self._find(c, web_grants, name))
        if found is None or found["person"] != person:
            return None
        return Grant(**{name: found[name] for name in Grant.__annotations__})

    async def sweep(self) -> None:
        """Remove what is too old to be used."""

        def unit(connection: Connection) -> None:
            for table, (_, age, since) in LIMITS.items():
                connection.execute(delete(table).where(since < self.now() - age))

        await self.database.write(unit)

    def _open(self, connection: Connection, person: str) -> str:
        return self._add(
            connection,
            web_sessions,
            Session(person=person, created_at=self.now()),
            seen_at=self.now(),
        )

    def _add(
        self, connection: Connection, table: Table, new: Link | Session | Grant, **more: Any
    ) -> str:
        """Add a row of a person under a new token or name, which is returned.

        The oldest makes room.
        """
        add_if_new(connection, people, {"id": new.person, "created_at": self.now()})
        most, _, since = LIMITS[table]
        theirs = select(table.c.id).where(table.c.person == new.person).order_by(since.desc())
        kept = connection.scalars(theirs.limit(most - 1)).all()
        of_theirs = table.c.person == new.person
        connection.execute(delete(table).where(of_theirs, table.c.id.not_in(kept)))
        token = secrets.token_urlsafe(BYTES)
        key = token if table is web_grants else _hash(token)
        row = {"created_at": self.now(), **asdict(new), **more, "id": key}
        connection.execute(insert(table), row)
        return token

    def _find(self, connection: Connection, table: Table, key: str) -> Json | None:
        """Return the row of an id, if it is not too old."""
        _, age, since = LIMITS[table]
        query = select(table).where(table.c.id == key, since > self.now() - age)
        row = connection.execute(query).one_or_none()
        return None if row is None else dict(row._mapping)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
