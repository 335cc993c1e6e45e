"""What breaks: each fault begins, lasts, and ends by itself; `FAULTS` has the plan's names."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from random import Random
from typing import Final

from tests.chaos import cluster
from tests.chaos.link import Mode
from tests.chaos.plan import Event
from tests.chaos.stage import Stage
from tests.fakes.telegram.faults import flood, refuse

Break = Callable[[Stage, Random], Awaitable[None]]
HOUR: Final = 3600.0
# What was asked for just before a process ends may be answered by nobody, and what was sent may be
# recorded by nobody; the next process needs a while to be there.
BEFORE: Final = 5.0
AFTER: Final = 30.0
TIMEOUTS: Final = 45.0  # seconds for which a call may still wait for an answer that is lost
SENDING: Final = ("sendMessage", "sendPhoto", "editMessageMedia", "editMessageText")


async def do(stage: Stage, event: Event) -> None:
    """Let something break, and wait until that is over."""
    chance = Random(event.dice)
    stage.done[event.kind] += 1
    with suppress(ConnectionError, ProcessLookupError):
        if stage.machines and (strike := cluster.FAULTS.get(event.kind)):
            await strike(stage.machines, chance, _while(stage, chance, 20.0))
        else:
            await FAULTS[event.kind](stage, chance)


def _while(stage: Stage, chance: Random, most: float) -> float:
    """Return how long something lasts: most is short, some is long, and a short run has no time."""
    longest = min(most, max(2.0, stage.seconds / 8))
    return min(longest, 1.0 + chance.expovariate(4.0 / longest))


async def kill(stage: Stage, chance: Random) -> None:
    stage.doubt(time.monotonic() - BEFORE, after=AFTER)
    stage.service.kill()


async def kill_engine(stage: Stage, chance: Random) -> None:
    if not stage.service.kill_engine():
        stage.done["kill -9 of the engine"] -= 1


async def halt_engine(stage: Stage, chance: Random) -> None:
    if stage.service.kill_engine(signal.SIGSTOP):
        await asyncio.sleep(_while(stage, chance, 20.0))
        stage.service.kill_engine(signal.SIGCONT)


async def halt_service(stage: Stage, chance: Random) -> None:
    began = time.monotonic()
    stage.service.marble.send(signal.SIGSTOP)
    await asyncio.sleep(_while(stage, chance, 8.0))
    stage.service.marble.send(signal.SIGCONT)
    stage.doubt(began - BEFORE, after=BEFORE)


async def drain(stage: Stage, chance: Random) -> None:
    if stage.service.up.is_set():
        began = time.monotonic()
        await stage.service.drain()
        stage.doubt(began - BEFORE, after=AFTER)


async def drain_twice(stage: Stage, chance: Random) -> None:
    if stage.service.up.is_set():
        began = time.monotonic()
        await stage.service.drain(twice_after=chance.uniform(0.0, 1.0))
        stage.doubt(began - BEFORE, after=AFTER)


def _network(mode: Mode, most: float) -> Break:
    async def spoil(stage: Stage, chance: Random) -> None:
        names = chance.choice((("telegram",), ("discord",), ("telegram", "discord")))
        began = time.monotonic()
        for name in names:
            stage.links[name].become(mode)
        await asyncio.sleep(_while(stage, chance, most))
        for name in names:
            stage.links[name].become(Mode.OPEN)
        stage.doubt(began - BEFORE, *names, after=TIMEOUTS)

    return spoil


async def wait_for_flood(stage: Stage, chance: Random) -> None:
    seconds = chance.randint(1, 6)
    if chance.random() < 0.5:
        somebody = chance.choice(stage.crowd.telegrammers)
        stage.telegram.faults.append(flood(somebody.id, seconds, *SENDING))
        return
    route = chance.choice((r"PATCH .*", r"POST /channels/.*", r"POST /webhooks/.*"))
    everywhere = chance.random() < 0.3
    stage.discord.faults.limit(route, seconds, everywhere=everywhere, times=chance.randint(1, 3))


async def fail(stage: Stage, chance: Random) -> None:
    """Answer some calls with 5xx: done or not, who knows."""
    began, times = time.monotonic(), chance.randint(1, 6)
    if chance.random() < 0.5:
        fault = refuse("Internal Server Error", *SENDING, status=500, times=times)
        stage.telegram.faults.append(fault)
        stage.doubt(began, "telegram", after=AFTER)
        return
    status = chance.choice((500, 502, 503))
    stage.discord.faults.add(r"(PATCH|POST) .*", status, times=times)
    stage.doubt(began, "discord", after=AFTER)


async def expire(stage: Stage, chance: Random) -> None:
    """Let the tokens of all that was asked so far be of no more use."""
    for interaction in [*stage.discord.interactions.values()]:
        if interaction.acknowledged is not None:
            interaction.expired = True


async def disconnect(stage: Stage, chance: Random) -> None:
    gateway = stage.discord.gateway
    if not gateway.connected:
        return
    how = chance.choice((gateway.drop, gateway.ask_to_reconnect, gateway.invalidate))
    stage.doubt(time.monotonic() - 1.0, "discord", after=AFTER)
    await how()


async def revoke(stage: Stage, chance: Random) -> None:
    """Take a token away for a while; Marble goes on by itself when it works again."""
    began = time.monotonic()
    server = chance.choice((stage.telegram, stage.discord))
    kept = server.token
    server.token = "123456789:another-another-another-another"
    stage.telegram.change()
    await stage.discord.gateway.drop()
    await asyncio.sleep(_while(stage, chance, 20.0))
    server.token = kept
    stage.doubt(began - BEFORE, after=AFTER)


async def fill_disk(stage: Stage, chance: Random) -> None:
    began = time.monotonic()
    leave = chance.choice((0, 0, 32 * 2**20))
    await asyncio.to_thread(stage.disk.fill, stage.service.marble.pid or 0, leave)
    await asyncio.sleep(_while(stage, chance, 40.0))
    stage.disk.empty(*stage.service.processes())
    stage.doubt(began, after=BEFORE)


async def lock_database(stage: Stage, chance: Random) -> None:
    seconds = _while(stage, chance, 15.0)
    await asyncio.to_thread(_lock, stage, seconds)


def _lock(stage: Stage, seconds: float) -> None:
    with closing(sqlite3.connect(stage.database, timeout=5.0, isolation_level=None)) as outside:
        try:
            outside.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:  # the disk may be full
            return
        time.sleep(seconds)


async def jump(stage: Stage, chance: Random) -> None:
    stage.set_clock(chance.choice((-HOUR, HOUR)))
    await asyncio.sleep(_while(stage, chance, 60.0))
    stage.set_clock(0)


FAULTS: Final[Mapping[str, Break]] = {
    "kill -9 of the service": kill,
    "kill -9 of the engine": kill_engine,
    "SIGTERM": drain,
    "SIGTERM twice": drain_twice,
    "service halted": halt_service,
    "engine halted": halt_engine,
    "network refused": _network(Mode.REFUSED, 90.0),
    "network held up": _network(Mode.HELD, 40.0),
    "network silent": _network(Mode.SILENT, 90.0),
    "answers lost": _network(Mode.DEAF, 15.0),
    "flood wait": wait_for_flood,
    "server errors": fail,
    "tokens of interactions expired": expire,
    "gateway disconnected": disconnect,
    "token revoked": revoke,
    "disk full": fill_disk,
    "database locked": lock_database,
    "clock jumped": jump,
}
