"""Turns: so many at once, and nobody waits for what has just failed for all before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storage import DatabaseFault


class Turns:
    """Let so many in at once; the others wait.

    A locked database takes seconds to turn somebody away. Once it did, all who waited behind them
    hear so, too, rather than each find out for themselves; whoever comes later tries again.
    """

    def __init__(self, at_once: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._fault: DatabaseFault | None = None  # the last that was met

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it; raises the `DatabaseFault` met while one waited."""
        known = self._fault
        async with self._room:
            if self._fault is not None and self._fault is not known:
                raise self._fault.with_traceback(None)
            try:
                yield
            except DatabaseFault as fault:
                self._fault = fault
                raise
