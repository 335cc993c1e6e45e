"""Kill -9, at every named point and at random: no command is lost, none is answered twice."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterable

import pytest

from storage import Status
from storage.states import MAX_ATTEMPTS
from tests.conftest import PATIENCE
from tests.forked import Process
from tests.storage import kill_worker
from tests.storage.conftest import Home
from tests.storage.kill_chat import POISON, ChatServer
from tests.storage.kill_worker import POINTS, Plan


class Hunt:
    """Start a worker again and again, and end each life as planned."""

    def __init__(self, chat: ChatServer, home: Home, port: int, dice: random.Random) -> None:
        self.chat, self.home, self.port, self.dice = chat, home, port, dice
        self.kills = 0
        self.by_point: set[str] = set()

    async def live(self, plan: Plan, requests: int | None = None) -> None:
        """Live one life; `requests` ends it from outside, after so many."""
        process = Process(kill_worker.main, self.port, self.home.folder, self.home.url, plan)
        end = None if requests is None else self.chat.requests + requests
        self.chat.on_request = lambda: self._kill(process, end)
        finished = asyncio.create_task(self.chat.finished.wait())
        ended = asyncio.create_task(process.wait())
        await asyncio.wait({finished, ended}, return_when=asyncio.FIRST_COMPLETED)
        self.chat.on_request = lambda: None
        over = not ended.done()
        if over:
            process.send_signal(signal.SIGKILL)
        assert await ended == -9, "it ended by itself"
        finished.cancel()
        if not over:
            self.kills += 1
            self.by_point |= {plan.point} if plan.point else set()

    def _kill(self, process: Process, end: int | None) -> None:
        if end is not None and self.chat.requests >= end:
            process.send_signal(signal.SIGKILL)

    async def run(self, plans: Iterable[Plan]) -> None:
        for plan in plans:
            if self.chat.finished.is_set():
                return
            await self.live(plan, None if plan.point else self.dice.randint(8, 30))
        while not self.chat.finished.is_set():  # poison ends a few lives more
            await self.live(Plan())


async def hunt(home: Home, commands: int, each: int, at_random: int) -> Hunt:
    dice = random.Random(4)
    prompts = [f"statue {number}" for number in range(commands)]
    poisonous = {commands // 4, commands // 2, commands - 5}
    for number in poisonous:
        prompts[number] = f"{POISON} {number}"
    chat = ChatServer(prompts)
    found = Hunt(chat, home, await chat.start(), dice)
    plans = [Plan(point, dice.randint(4, 9)) for point in POINTS for _ in range(each)]
    plans += [Plan()] * at_random
    dice.shuffle(plans)
    async with asyncio.timeout(5 * PATIENCE):  # a lost command would be waited for in vain
        await found.run(plans)
    await chat.stop()

    wanted = {
        number: ["failed" if number in poisonous else f"a picture of {prompt}"]
        for number, prompt in enumerate(prompts)
    }
    assert {number: chat.outcome(number) for number in wanted} == wanted
    async with home.open() as storage:
        await storage.worker.requeue_lost()
        jobs = await storage.history.page(limit=commands + 1)
        assert len(jobs) == commands  # none twice
        for job in jobs:
            assert (job.attempts == MAX_ATTEMPTS) or job.reply["command"] not in poisonous
            assert job.status in (Status.DELIVERED, Status.RENDERED, Status.FAILED)
        report = await storage.care.check(deep=True)
        assert report.problems == ()
        await storage.care.sweep(unused_for=0)
        assert (await storage.care.check()).orphans == 0
    return found


@pytest.mark.parametrize("home", ["sqlite"], indirect=True)
@pytest.mark.slow
async def test_no_kill_loses_or_repeats_anything(home: Home) -> None:
    found = await hunt(home, commands=400, each=3, at_random=20)
    assert found.kills >= 50
    assert found.by_point == set(POINTS)


@pytest.mark.parametrize("home", ["postgresql"], indirect=True)
@pytest.mark.slow
async def test_nor_on_a_server(home: Home) -> None:
    found = await hunt(home, commands=70, each=1, at_random=2)
    assert found.kills >= 10
    assert len(found.by_point) >= 5
