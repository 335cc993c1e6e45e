"""Several connections to Discord, between which servers are divided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord as library
import pytest
from discord.gateway import DiscordWebSocket, ReconnectWebSocket

from bots.discord.connection import Backoff
from bots.discord.shards import PAUSE, ResumingShard, ShardedConnection
from bots.operations.doctor import State
from bots.operations.settings import load_settings
from bots.worker.delivery import TryLater
from tests.bots.discord.conftest import Marble
from tests.bots.discord.test_doctor import found, nothing_stays
from tests.fakes.discord import Channel, FakeDiscord, Person
from tests.ports import free_port

__all__ = ["nothing_stays"]
SHARDS = 3


@pytest.fixture
def places(discord: FakeDiscord) -> list[Channel]:
    """Return a channel in a server of each shard; Discord asks for three, one every 5 s."""
    gateway = discord.gateway
    gateway.shards, gateway.at_once = SHARDS, 1
    base = discord.guild.id >> 22
    guilds = [discord.add_guild(id=base + n << 22) for n in range(1, SHARDS + 1)]
    return sorted((each.channels[0] for each in guilds), key=lambda each: shard_of(discord, each))


def shard_of(discord: FakeDiscord, channel: Channel) -> int:
    assert channel.guild
    return discord.gateway.shard_of(channel.guild.id)


async def metrics(marble: Marble) -> list[str]:
    """Return the metrics of connections that are or are not there."""
    address = f"http://127.0.0.1:{marble.settings['MARBLE_METRICS_PORT']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        text = await answer.text()
    return [line for line in text.splitlines() if line.startswith("marble_connection_up{")]


async def test_servers_of_all_shards_are_served_and_one_resumes_beside_the_others(
    discord: FakeDiscord, cold: Marble, ann: Person, places: list[Channel]
) -> None:
    gateway = discord.gateway
    cold.settings["MARBLE_METRICS_PORT"] = str(free_port())
    await cold.start()
    # The first is of use while the others wait for their turn.
    await (await ann.in_dm().imagine("a marble owl")).picture()
    await discord.ready()
    assert gateway.identities == [[0, 3], [1, 3], [2, 3]]
    assert [shard_of(discord, each) for each in places] == [0, 1, 2]
    for place in places:
        there = ann.at(place)
        first = await there.imagine("a marble owl")
        png = await first.picture()
        await there.reacts("🌱", first)
        assert await (await there.gets_reply_to(first)).picture() == png
    await gateway.drop(shard=1)
    away = await ann.at(places[1]).imagine("a cat")  # sent once it has resumed
    for place in (places[0], places[2]):
        await (await ann.at(place).imagine("a dog")).picture()
    await away.picture()
    assert (gateway.identified, gateway.resumed) == (3, 1)
    label = 'adapter="discord",connection="shard'
    up = [f'marble_connection_up{{{label} {shard}"}} 1.0' for shard in range(SHARDS)]
    assert await metrics(cold) == up


async def test_killed_it_loses_nothing_and_says_nothing_twice_in_any_shard(
    discord: FakeDiscord, cold: Marble, ann: Person, places: list[Channel]
) -> None:
    discord.gateway.at_once = SHARDS
    await cold.launch()
    await discord.ready()
    there = [*(ann.at(place) for place in places), ann.in_dm()]
    waiting = [await each.imagine("a cat wait") for each in there]
    for each in waiting:
        await each.said("1/")
    await cold.kill()
    cold.gate.touch()
    await cold.launch()
    for each in waiting:
        await each.picture()
    await discord.ready()
    for person in there:
        await (await person.imagine("a dog")).picture()
    assert [len(discord.shown(each.channel)) for each in there] == [2, 2, 2, 2]


async def test_more_servers_than_its_shards_may_have_make_it_ask_for_more(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    discord.gateway.shards = SHARDS
    discord.gateway.at_once = SHARDS
    await discord.gateway.drop(4011)
    await discord.ready()
    assert discord.gateway.identities == [[0, 1], [0, 3], [1, 3], [2, 3]]
    await (await ann.imagine("a cat")).picture()


async def test_doctor_tells_of_shards_and_of_starts_that_are_used_up(discord: FakeDiscord) -> None:
    discord.gateway.shards = SHARDS
    texts = [each.text for each in await found(discord)]
    assert "connections (shards) that Discord asks for: 3; starts left: 1000 of 1000" in texts
    discord.gateway.starts_left = 2
    [finding] = [each for each in await found(discord) if each.state is State.BAD]
    assert "starts left: 2 of 1000" in finding.text
    assert finding.cure == "wait (hours: 1.0), and find out what starts the bot so often"


async def test_nothing_starts_while_discord_allows_too_few_sessions(discord: FakeDiscord) -> None:
    gateway = discord.gateway
    gateway.shards, gateway.starts_left = SHARDS, 2
    settings = load_settings(discord.environment, env_file="")
    library.http.Route.BASE = settings.discord_api_base
    async with ShardedConnection(settings) as client:
        with pytest.raises(TryLater) as refused:
            await client.start(discord.token)
    assert (refused.value.seconds, gateway.identified) == (3600.0, 0)


@pytest.fixture
async def client() -> AsyncIterator[ShardedConnection]:
    async with ShardedConnection(load_settings({}, env_file="")) as client:
        client._reconnect = True
        yield client


async def test_sessions_of_one_bucket_take_turns(
    client: ShardedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    client._at_once = 2
    for shard in range(4):
        await client.before_identify_hook(shard, initial=shard == 0)
    assert waits == [0, 0, PAUSE, PAUSE]


class FakeSocket:
    """Be a connection whose session has this id."""

    def __init__(self, session: str | None) -> None:
        self.shard_id, self.session_id, self.sequence, self.gateway = 1, session, 7, None


@pytest.mark.parametrize(("session", "resumes"), [("s", True), (None, False)])
async def test_after_a_failed_try_it_resumes_as_long_as_there_is_a_session(
    client: ShardedConnection,
    monkeypatch: pytest.MonkeyPatch,
    session: str | None,
    resumes: bool,
) -> None:
    asked: list[Any] = []
    done = asyncio.Event()

    async def connect(client: object, **how: Any) -> None:
        asked.append(how["resume"])
        done.set()
        raise ReconnectWebSocket(1)

    monkeypatch.setattr(DiscordWebSocket, "from_client", connect)
    shard = ResumingShard(FakeSocket(session), client, lambda item: None)  # type: ignore[arg-type]
    await shard.reconnect()
    await done.wait()
    assert asked == [resumes]


async def test_a_shard_that_cannot_be_reached_keeps_no_other_waiting(
    client: ShardedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = asyncio.Event()

    async def connect(client: object, **how: Any) -> None:
        hangs.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(DiscordWebSocket, "from_client", connect)
    shard = ResumingShard(FakeSocket("s"), client, lambda item: None)  # type: ignore[arg-type]
    await shard.reidentify(ReconnectWebSocket(1))  # which returns all the same
    await hangs.wait()
    assert shard._connecting
    shard._connecting.cancel()


async def test_a_first_connection_that_fails_is_tried_again(
    client: ShardedConnection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError("no route"), TimeoutError()]

    async def connect(client: object, **how: Any) -> FakeSocket:
        if failures:
            raise failures.pop(0)
        return FakeSocket(None)

    monkeypatch.setattr(DiscordWebSocket, "from_client", connect)
    monkeypatch.setattr(Backoff, "delay", lambda self: 0.0)
    monkeypatch.setattr(ResumingShard, "launch", lambda self: None)
    await client.launch_shard(None, 1)  # type: ignore[arg-type]
    assert list(client.shards) == [1]
    client._AutoShardedClient__shards.clear()  # type: ignore[attr-defined]
    assert "shard 1 is not connected (no route); retry in 0 s" in caplog.text
    assert "shard 1 is not connected (TimeoutError); retry in 0 s" in caplog.text
