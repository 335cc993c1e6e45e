"""Slots: so many requests are committed at once; the others wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storage import DatabaseFault


class Slots:
    """A semaphore that passes a `DatabaseFault` on to whoever waited while it was raised.

    A locked database takes seconds to fail. Without this, each of many who wait would find out
    only in their own slot. Whoever comes later tries again.
    """

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._fault: DatabaseFault | None = None  # the last one

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it; raises the `DatabaseFault` raised during the wait."""
        known = self._fault
        async with self._free:
            if self._fault is not None and self._fault is not known:
                raise self._fault.with_traceback(None)
            try:
                yield
            except DatabaseFault as fault:
                self._fault = fault
                raise
