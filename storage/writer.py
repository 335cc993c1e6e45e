"""One writer that groups commits: everything that waits goes into one transaction.

A unit is a plain function of a connection. Units that arrive while a transaction is under way
share the next one, and so one fsync. A unit may run more than once (a neighbour failed, the
commit failed), so it must do nothing but use its connection, and be right when repeated.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.errors import Closed, DatabaseBusy, DatabaseFault
from storage.faults import explain

T = TypeVar("T")
Unit = Callable[[Connection], T]

BATCH: Final = 256  # units that share a transaction at most
PAUSES: Final = (0.02, 0.05, 0.1, 0.25, 0.5)  # seconds between tries of a database that fails


@dataclass(slots=True, eq=False)
class _Item:
    unit: Unit[Any]
    deadline: float  # of the loop's clock
    done: asyncio.Future[Any]
    begun: bool = False
    withdrawn: bool = False
    fault: DatabaseFault | None = None

    def settle(self, result: Any) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(slots=True)
class Writer:
    """Own the connection that writes; `where` names the database in errors."""

    engine: AsyncEngine
    where: str
    _waiting: deque[_Item] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _closing: bool = False

    def start(self) -> None:
        """Start the task that commits."""
        self._task = asyncio.create_task(self._run(), name="storage-writer")

    async def close(self) -> None:
        """Commit what waits, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def write(self, unit: Unit[T], patience: float) -> T:
        """Run a unit in the next transaction and return its result once it is committed.

        Waits at most `patience` seconds for a database that is locked, full or out of reach,
        then raises that fault, and nothing of the unit was written. A cancelled caller's unit
        is withdrawn if its transaction has not begun; if it has, it is committed all the same.
        """
        if self._closing or self._task is None:
            raise Closed(self.where)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        item = _Item(unit, loop.time() + patience, done)
        # Nobody may be left to look at the outcome.
        done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting.append(item)
        self._wake.set()
        try:
            async with asyncio.timeout_at(item.deadline) as waiting:
                return await asyncio.shield(done)
        except TimeoutError:
            if not waiting.expired() or done.done():
                return await done
            if item.begun:  # committing: only the end of it tells the truth
                return await asyncio.shield(done)
            item.withdrawn = True
            raise item.fault or DatabaseBusy(self.where) from None
        except asyncio.CancelledError:
            item.withdrawn = not item.begun
            raise

    async def _run(self) -> None:
        failures = 0
        while await self._something():
            try:
                async with self.engine.connect() as connection:
                    while await self._something():
                        await self._commit(connection)
                        failures = 0
            except Exception as error:
                self._note(error)
                await self._pause(failures)
                failures += 1

    async def _something(self) -> bool:
        """Wait until there is work; return False at the end."""
        while True:
            while self._waiting and self._waiting[0].withdrawn:
                self._waiting.popleft()
            if self._waiting:
                return True
            if self._closing:
                return False
            self._wake.clear()
            await self._wake.wait()

    async def _commit(self, connection: AsyncConnection) -> None:
        """Run one batch; whatever fails outside its units puts them back in the queue."""
        transaction = await connection.begin()  # waits for the lock, so more units gather
        batch = self._take()
        try:
            results = await connection.run_sync(_run_plainly, batch)
            if results is None:
                await transaction.rollback()
                transaction = await connection.begin()
                results = await connection.run_sync(_run_apart, batch, self.where)
            await transaction.commit()
        except BaseException:
            for item in batch:
                item.begun = False
            self._waiting.extendleft(reversed(batch))
            if transaction.is_active:
                await transaction.rollback()
            raise
        for item, (error, result) in zip(batch, results, strict=True):
            item.fail(error) if error else item.settle(result)

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        while self._waiting and len(batch) < BATCH:
            item = self._waiting.popleft()
            if not item.withdrawn:
                item.begun = True
                batch.append(item)
        return batch

    def _note(self, error: Exception) -> None:
        """Let waiting units know what is wrong; only faults that may pass are waited out."""
        fault = explain(error, self.where)
        now = asyncio.get_running_loop().time()
        for item in self._waiting:
            item.fault = fault
            if fault is None or not fault.passing or now >= item.deadline:
                item.withdrawn = True
                item.fail(fault or error)

    async def _pause(self, failures: int) -> None:
        if self._closing:  # no time is left to wait: say what is wrong
            while self._waiting:
                item = self._waiting.popleft()
                item.fail(item.fault or Closed(self.where))
            return
        await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])


Outcome = tuple[Exception | None, Any]


def _run_plainly(connection: Connection, batch: Sequence[_Item]) -> list[Outcome] | None:
    """Run all units, or return None at the first that raises: the transaction is then spoilt."""
    results: list[Outcome] = []
    for item in batch:
        try:
            results.append((None, item.unit(connection)))
        except Exception:
            return None
    return results


def _run_apart(connection: Connection, batch: Sequence[_Item], where: str) -> list[Outcome]:
    """Run each unit in a savepoint, so that one that raises undoes only itself.

    Raises a `DatabaseFault` when it is the database that fails and not the unit.
    """
    results: list[Outcome] = []
    for item in batch:
        savepoint = connection.begin_nested()
        try:
            result = item.unit(connection)
            savepoint.commit()
        except Exception as error:
            if fault := explain(error, where):
                raise fault from error
            savepoint.rollback()
            results.append((error, None))
        else:
            results.append((None, result))
    return results
