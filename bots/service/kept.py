"""Adapters of places where nobody waits for a message: their pictures are in the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bots.service.adapters import ConnectionState
from bots.worker.delivery import Shown, Way
from storage import PendingReply


@dataclass
class KeptAdapter:
    """Close the replies of terminals that did not wait, and of jobs asked for on the web page."""

    name: str
    ways: Sequence[Way] = (Way("keep", repeatable=True),)
    exclusive: bool = False

    async def run(self) -> None:
        """Do nothing: what is asked for there is found in the database."""

    def stop_intake(self) -> None:
        """Do nothing: what is asked for now waits for the next process that serves."""

    def connections(self) -> Sequence[ConnectionState]:
        """Return nothing: there is no connection."""
        return ()

    async def deliver(self, pending: PendingReply, way: Way) -> Shown:
        """Do nothing: there is no message to send."""
        return {}

    async def check(self) -> None:
        """Do nothing: there is no token."""
