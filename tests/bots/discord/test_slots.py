from __future__ import annotations

import asyncio

import pytest

from bots.discord.handler import Slots
from engine.errors import UserError
from storage.errors import DatabaseBusy, DatabaseFault


class Line:
    """People who wait for slots, and what each one's slot ends with."""

    def __init__(self, at_once: int) -> None:
        self.slots = Slots(at_once)
        self.had: list[str] = []
        self._ends: dict[str, asyncio.Future[None]] = {}

    def joins(self, name: str) -> asyncio.Task[None]:
        """Let somebody wait for a slot."""
        self._ends[name] = asyncio.get_running_loop().create_future()
        return asyncio.create_task(self._visit(name), name=name)

    async def ends(self, name: str, error: Exception | None = None) -> None:
        """End a slot, and let who comes next have theirs."""
        end = self._ends[name]
        end.set_exception(error) if error else end.set_result(None)
        await settle()

    async def _visit(self, name: str) -> None:
        async with self.slots.take():
            self.had.append(name)
            await self._ends[name]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_whoever_waited_behind_a_fault_hears_of_it_and_who_comes_later_tries() -> None:
    line = Line(2)
    visits = [line.joins(name) for name in ("ann", "bob", "cat", "dan")]
    await settle()
    assert line.had == ["ann", "bob"]
    fault = DatabaseBusy("marble.db")
    await line.ends("ann", fault)
    await line.ends("bob", DatabaseBusy("marble.db"))
    heard = await asyncio.gather(*visits, return_exceptions=True)
    assert all(isinstance(each, DatabaseFault) for each in heard)
    assert line.had == ["ann", "bob"]
    late = [line.joins("eve"), line.joins("fox"), line.joins("gil")]
    await settle()
    assert line.had[2:] == ["eve", "fox"]
    for name in ("eve", "fox", "gil"):
        await line.ends(name)
    await asyncio.gather(*late)
    assert line.had[2:] == ["eve", "fox", "gil"]


async def test_what_is_no_fault_of_the_database_concerns_nobody_else() -> None:
    line = Line(1)
    ann, bob = line.joins("ann"), line.joins("bob")
    await settle()
    await line.ends("ann", UserError("No."))
    await line.ends("bob")
    await bob
    with pytest.raises(UserError, match="No"):
        await ann
