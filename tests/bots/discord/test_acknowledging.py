"""Acknowledgements come first in a burst, over few connections."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bots.discord import acknowledging
from bots.discord.acknowledging import AT_ONCE, Acknowledgements
from bots.discord.unanswered import Unanswered

CROWD = 3 * AT_ONCE


class Discord:
    """Take acknowledgements, and answer none before it is told to."""

    def __init__(self, expected: int) -> None:
        self.expected = expected  # acknowledgements under way
        self.full = asyncio.Event()
        self.answers = asyncio.Event()
        self.under_way = self.most = 0
        self.refuses = False

    async def defer(self, *, ephemeral: bool, thinking: bool) -> Any:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if self.under_way == self.expected:
            self.full.set()
        await self.answers.wait()
        self.under_way -= 1
        if self.refuses:
            raise RuntimeError("no")
        return SimpleNamespace(message_id=1)

    def request(self, number: int) -> Any:
        """Return a request whose acknowledgement comes here."""
        interaction = SimpleNamespace(token="token", response=self)
        address = SimpleNamespace(application=1, language="en", until=0.0)
        facts = {"interaction": interaction, "address": address}
        return SimpleNamespace(event=f"discord:{number}", label="a request", **facts)


@pytest.fixture
def acknowledgements(tmp_path: Path) -> Acknowledgements:
    return Acknowledgements(Unanswered(tmp_path))


def begin(
    acknowledgements: Acknowledgements, discord: Discord, count: int
) -> list[asyncio.Task[int | None]]:
    return [
        asyncio.create_task(
            acknowledgements.acknowledge(discord.request(number), private=False, silent=True)
        )
        for number in range(count)
    ]


async def test_a_burst_takes_few_connections_and_other_work_waits_for_it(
    acknowledgements: Acknowledgements,
) -> None:
    discord = Discord(AT_ONCE)
    await acknowledgements.over()  # nothing is under way
    burst = begin(acknowledgements, discord, CROWD)
    await discord.full.wait()
    work = asyncio.create_task(acknowledgements.over())
    await asyncio.sleep(0)
    assert not work.done()
    discord.answers.set()
    assert await asyncio.gather(*burst) == [1] * CROWD
    await work
    assert discord.most == AT_ONCE


async def test_work_does_not_wait_for_a_burst_without_end(
    acknowledgements: Acknowledgements, monkeypatch: pytest.MonkeyPatch
) -> None:
    discord = Discord(1)
    monkeypatch.setattr(acknowledging, "LONGEST", 0.0)
    burst = begin(acknowledgements, discord, 1)
    await discord.full.wait()
    await acknowledgements.over()
    assert not burst[0].done()
    discord.answers.set()
    await burst[0]


async def test_what_is_refused_holds_nobody_up(
    acknowledgements: Acknowledgements,
) -> None:
    discord = Discord(2)
    discord.refuses = True
    burst = begin(acknowledgements, discord, 2)
    discord.answers.set()
    results = await asyncio.gather(*burst, return_exceptions=True)
    assert [type(each) for each in results] == [RuntimeError, RuntimeError]
    await acknowledgements.over()
