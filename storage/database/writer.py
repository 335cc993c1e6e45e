"""One writer that groups commits: everything that waits goes into one transaction.

A unit is a plain function of a connection. Units that arrive while a transaction is under way
share the next one, and so one fsync. A unit may run more than once (a neighbour failed, the
commit failed), so it must do nothing but use its connection, and be right when repeated.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from storage.database.faults import explain
from storage.database.lanes import Lane
from storage.errors import Closed, DatabaseBusy, DatabaseFault, Unreachable

T = TypeVar("T")
Unit = Callable[[Connection], T]

BATCH: Final = 256  # units that share a transaction at most
LOOK: Final = 0.1  # seconds between looks at whose patience has ended
PAUSES: Final = (0.02, 0.05, 0.1, 0.25, 0.5)  # seconds between tries of a database that fails
_log: Final = logging.getLogger("marble.storage")


@dataclass(slots=True, eq=False)
class _Item:
    unit: Unit[Any]
    deadline: float  # of the loop's clock
    done: asyncio.Future[Any]
    alone: bool = False  # shares its transaction with nobody
    begun: bool = False
    withdrawn: bool = False
    fault: DatabaseFault | None = None

    def settle(self, error: BaseException | None, result: Any = None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(result)


Outcome = tuple[Exception | None, Any]


@dataclass(slots=True)
class Writer:
    """Group units and commit them in the lane; where: the database's name in errors."""

    lane: Lane
    where: str
    _waiting: deque[_Item] = field(default_factory=deque)
    _guard: threading.Lock = field(default_factory=threading.Lock)  # of begun and withdrawn
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _closing: bool = False
    _doubt: tuple[str, list[_Item], list[Outcome]] | None = None

    def start(self) -> None:
        """Start the task that commits."""
        self._task = asyncio.create_task(self._run(), name="storage-writer")

    async def close(self) -> None:
        """Commit what waits, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def write(self, unit: Unit[T], patience: float, *, alone: bool = False) -> T:
        """Run a unit in the next transaction and return its result once it is committed.

        alone: in a transaction that it shares with no other unit.

        Waits at most `patience` seconds for a database that is locked, full or out of reach,
        then raises that fault, and nothing of the unit was written. A cancelled caller's unit
        is withdrawn if its transaction has not begun; if it has, it is committed all the same.
        """
        if self._closing or self._task is None:
            raise Closed(self.where)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        item = _Item(unit, loop.time() + patience, done, alone)
        self._waiting.append(item)
        self._wake.set()
        try:
            return await done
        except asyncio.CancelledError:
            self._withdraw(item)
            raise

    def _expire(self) -> None:
        """Fail the units that waited too long; a unit that has begun is answered by its end."""
        now = asyncio.get_running_loop().time()
        for item in list(self._waiting):
            if now >= item.deadline and self._withdraw(item):
                item.settle(item.fault or DatabaseBusy(self.where))

    def _withdraw(self, item: _Item) -> bool:
        with self._guard:
            item.withdrawn = not item.begun
            return item.withdrawn

    async def _run(self) -> None:
        try:
            await self._commit_all()
        finally:
            self._abandon()

    async def _commit_all(self) -> None:
        failures = 0
        while await self._something():
            try:
                batch, results = await self._in_time(self.lane.run(self._transact))
            except Exception as error:
                if not failures:
                    _log.info("%d commits wait for the database", len(self._waiting))
                self._note(error)
                await self._pause(failures)
                failures += 1
            else:
                if failures:
                    _log.info("the database takes commits again")
                failures = 0
                for item, outcome in zip(batch, results, strict=True):
                    item.settle(*outcome)

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work, and fail units that waited too long."""
        running = asyncio.create_task(work, name="storage-writing")
        while not (await asyncio.wait((running,), timeout=LOOK))[0]:
            self._expire()
        return running.result()

    async def _something(self) -> bool:
        """Wait until there is work; return False at the end."""
        while not self._waiting and not self._doubt:
            if self._closing:
                return False
            self._wake.clear()
            await self._wake.wait()
        return True

    def _transact(self, connection: Connection) -> tuple[list[_Item], list[Outcome]]:
        """Run one batch; whatever fails outside its units puts them back in the queue."""
        if self._doubt:
            return self._resolve(connection)
        batch: list[_Item] = []
        try:
            transaction = connection.begin()  # waits for the lock, so more units gather
            batch = self._take()
            results = _run_plainly(connection, batch)
            if results is None:
                transaction.rollback()
                transaction = connection.begin()
                results = _run_apart(connection, batch, self.where)
            mark = self.lane.mark(connection)
        except BaseException:
            self._put_back(batch)
            raise
        try:
            transaction.commit()
        except BaseException:
            if mark:
                self._doubt = (mark, batch, results)
            else:
                self._put_back(batch)
            raise
        return batch, results

    def _resolve(self, connection: Connection) -> tuple[list[_Item], list[Outcome]]:
        """Determine the outcome of a commit whose answer was lost."""
        assert self._doubt is not None
        mark, batch, results = self._doubt
        committed = self.lane.committed(connection, mark)
        if committed is None:
            raise Unreachable(self.where, "a commit is still under way")
        self._doubt = None
        if committed:
            return batch, results
        self._put_back(batch)
        return [], []

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        with self._guard:
            while self._waiting and len(batch) < BATCH:
                if batch and (batch[0].alone or self._waiting[0].alone):
                    break
                item = self._waiting.popleft()
                if not item.withdrawn:
                    item.begun = True
                    batch.append(item)
        return batch

    def _put_back(self, batch: list[_Item]) -> None:
        with self._guard:
            for item in batch:
                item.begun = False
            self._waiting.extendleft(reversed(batch))

    def _note(self, error: Exception) -> None:
        """Record the fault for waiting units; only passing faults are waited out."""
        fault = explain(error, self.where)
        hopeless = fault is None or not fault.passing
        for item in list(self._waiting):
            item.fault = fault
            if (hopeless or self._closing) and self._withdraw(item):
                item.settle(fault or error)
        self._expire()

    async def _pause(self, failures: int) -> None:
        with self._guard:
            self._waiting = deque(item for item in self._waiting if not item.withdrawn)
        if self._closing:
            self._abandon()
            return
        pause = asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
        await self._in_time(pause)

    def _abandon(self) -> None:
        """Fail all waiting units: nothing more is committed."""
        _, doubtful, _ = self._doubt or ("", [], [])
        self._doubt = None
        for item in (*doubtful, *self._waiting):
            item.settle(item.fault or Closed(self.where))
        self._waiting.clear()


def _run_plainly(connection: Connection, batch: Sequence[_Item]) -> list[Outcome] | None:
    """Run all units, or return None at the first that raises: the transaction has then failed."""
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
