"""Units that wait to be written, and the transactions that run them: everything that waits at once.

A unit is a plain function of a connection. Units that arrive while a transaction is under way
share the next one, and so one fsync. A unit may run more than once (a neighbour failed, the
commit failed), so it must do nothing but use its connection, and be right when repeated.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, text

from storage.database.faults import explain
from storage.errors import Closed, DatabaseBusy, DatabaseFault, Unreachable

T = TypeVar("T")
Unit = Callable[[Connection], T]

BATCH: Final = 256  # units that share a transaction at most


@dataclass(slots=True, eq=False)
class Item:
    """A unit, whoever waits for its end, and the outcome of its last run."""

    unit: Unit[Any]
    deadline: float  # of the loop's clock
    done: asyncio.Future[Any]
    alone: bool  # shares its transaction with nobody
    fault: DatabaseFault | None = None  # for which it still waits
    error: Exception | None = None
    result: Any = None

    def settle(self, error: Exception | None) -> None:
        """Answer whoever waits, with the error or else the result."""
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(self.result)


@dataclass(slots=True)
class Writer:
    """Group units and commit them; where: the database's name in errors.

    `transact` is called where the connection is, all else in the event loop.
    """

    where: str
    waiting: deque[Item] = field(default_factory=deque)  # whose transactions have not begun
    _guard: threading.Lock = field(default_factory=threading.Lock)  # of `waiting`
    _doubt: tuple[str, list[Item]] | None = None  # a commit whose answer was lost

    def is_idle(self) -> bool:
        """Return whether there is nothing to do."""
        return not self.waiting and not self._doubt

    def withdraw(self, item: Item) -> None:
        """Take a unit back; one whose transaction has begun is committed all the same."""
        with self._guard, suppress(ValueError):
            self.waiting.remove(item)

    def expire(self, now: float) -> None:
        """Fail the units that waited too long; a unit that has begun is answered by its end."""
        with self._guard:
            late = [item for item in self.waiting if now >= item.deadline]
            self.waiting = deque(item for item in self.waiting if now < item.deadline)
        for item in late:
            item.settle(item.fault or DatabaseBusy(self.where))

    def note(self, error: Exception) -> None:
        """Record why units wait after a transaction failed; only passing faults are waited out."""
        fault = explain(error, self.where)
        for item in self.waiting:
            item.fault = fault
        if fault is None or not fault.passing:
            for item in self.waiting:
                item.settle(fault or error)
            self.waiting.clear()

    def abandon(self) -> None:
        """Fail all units: nothing more is committed."""
        _, doubtful = self._doubt or ("", [])
        for item in (*doubtful, *self.waiting):
            item.settle(item.fault or Closed(self.where))
        self._doubt = None
        self.waiting.clear()

    def transact(self, connection: Connection) -> list[Item]:
        """Run and commit what waits; whatever fails outside its units puts them back."""
        if self._doubt:
            return self._resolve(connection, *self._doubt)
        batch: list[Item] = []
        try:
            transaction = connection.begin()  # waits for the lock, so more units gather
            batch = self._take()
            if not _run_plainly(connection, batch):
                transaction.rollback()
                transaction = connection.begin()
                self._run_apart(connection, batch)
            number = _number(connection)
        except BaseException:
            self._put_back(batch)
            raise
        try:
            transaction.commit()
        except BaseException:
            if number:
                self._doubt = (number, batch)
            else:
                self._put_back(batch)
            raise
        return batch

    def _resolve(self, connection: Connection, number: str, batch: list[Item]) -> list[Item]:
        """Ask the server for the outcome of a commit whose answer was lost."""
        query = text("SELECT pg_xact_status(CAST(CAST(:number AS text) AS xid8))")
        status = connection.scalar(query, {"number": number})
        if status == "in progress":
            raise Unreachable(self.where, "a commit is still under way")
        self._doubt = None
        if status == "committed":
            return batch
        self._put_back(batch)
        return []

    def _take(self) -> list[Item]:
        batch: list[Item] = []
        with self._guard:
            while self.waiting and len(batch) < BATCH:
                if batch and (batch[0].alone or self.waiting[0].alone):
                    break
                batch.append(self.waiting.popleft())
        return batch

    def _put_back(self, batch: list[Item]) -> None:
        with self._guard:
            self.waiting.extendleft(reversed(batch))

    def _run_apart(self, connection: Connection, batch: Sequence[Item]) -> None:
        """Run each unit in a savepoint, so that one that raises undoes only itself.

        Raises a `DatabaseFault` when it is the database that fails and not the unit.
        """
        for item in batch:
            savepoint = connection.begin_nested()
            try:
                item.result, item.error = item.unit(connection), None
                savepoint.commit()
            except Exception as error:
                if fault := explain(error, self.where):
                    raise fault from error
                savepoint.rollback()
                item.error = error


def _run_plainly(connection: Connection, batch: Sequence[Item]) -> bool:
    """Run all units; False at the first that raises: the transaction has then failed."""
    try:
        for item in batch:
            item.result, item.error = item.unit(connection), None
    except Exception:
        return False
    return True


def _number(connection: Connection) -> str | None:
    """Return the transaction's number, by which a server tells whether it was committed.

    None for SQLite, where a commit that raises has not happened.
    """
    if connection.dialect.name == "sqlite":
        return None
    return str(connection.scalar(text("SELECT CAST(pg_current_xact_id() AS text)")))
