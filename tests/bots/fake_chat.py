"""A chat platform that exists only in this process, and its adapter."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bots.worker.delivery import Shown, Way
from storage import PendingReply

EDIT = Way("edit", repeatable=True)
MESSAGE = Way("message", repeatable=False)
Trouble = Callable[[PendingReply, Way], None]


@dataclass
class Chat:
    """Keep what was sent; `trouble` is called before, `loss` after each send arrives."""

    name: str = "terminal"
    ways: Sequence[Way] = (EDIT, MESSAGE)
    edits: dict[int, str] = field(default_factory=dict)  # job → what its placeholder became
    messages: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    trouble: Trouble = lambda pending, way: None
    loss: Trouble = lambda pending, way: None
    gate: asyncio.Event | None = None  # sends wait until it is set …
    gated: set[int] | None = None  # … all of them, or those of these jobs
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    verdicts: list[Exception] = field(default_factory=list)  # on the token; then it is known
    checks: int = 0

    async def check(self) -> None:
        """Say whether the token is known."""
        self.checks += 1
        if self.verdicts:
            raise self.verdicts.pop(0)

    async def deliver(self, pending: PendingReply, way: Way) -> Shown:
        """Send one reply."""
        self.begun.set()
        if self.gate and (self.gated is None or pending.job.id in self.gated):
            await self.gate.wait()
        self.trouble(pending, way)
        job = pending.job.id
        if way is EDIT:
            self.edits[job] = pending.outcome
        else:
            self.messages[job].append(pending.outcome)
        self.arrived.set()
        self.loss(pending, way)
        return {f"{self.name}:{way.name}/{job}": None}

    def replies(self, job: int) -> int:
        """Count the final replies that people see."""
        return (job in self.edits) + len(self.messages[job])
