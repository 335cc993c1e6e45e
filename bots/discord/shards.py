"""The connections to the gateway (shards): how many Discord asks for, and how each one is.

Discord divides servers among shards by their ids and sends direct messages to shard 0; a bot in
more than 2,500 servers must have several. discord.py's own client for them starts a new session
where the one for a single shard resumes, so that what happened meanwhile would be lost, lets all
shards wait for one that cannot be reached, and tries without end what fails at the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import discord
from discord.gateway import DiscordWebSocket, ReconnectWebSocket
from discord.shard import EventItem, Shard
from yarl import URL

from bots.discord.connection import Backoff, Connection
from bots.service.adapters import ConnectionState
from bots.worker.delivery import TryLater

CONNECT: Final = 60.0  # seconds that one try to connect may take
PAUSE: Final = 5.0  # seconds between two sessions that begin in the same bucket

log = logging.getLogger(__name__)


class ResumingShard(Shard):
    """A shard that resumes its session if it can, while the others go on."""

    def __init__(
        self, ws: DiscordWebSocket, client: ShardedConnection, put: Callable[[EventItem], None]
    ) -> None:
        super().__init__(ws, client, put)
        self._backoff = Backoff()
        self._connecting: asyncio.Task[None] | None = None

    async def reidentify(self, exc: ReconnectWebSocket) -> None:
        """Connect again, in a task: the client calls this for one shard after the other."""
        work = super().reidentify(exc)
        self._connecting = asyncio.create_task(work, name=f"discord-shard-{self.id}")

    async def reconnect(self) -> None:
        """Connect again after a failure of the network; sessions that ended have no id."""
        await self.reidentify(ReconnectWebSocket(self.id, resume=self.ws.session_id is not None))

    async def close(self) -> None:
        """Disconnect."""
        if self._connecting:
            self._connecting.cancel()
        await super().close()


class ShardedConnection(Connection, discord.AutoShardedClient):
    """A connection that receives events, over as many shards as Discord asks for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._at_once = 1  # sessions that may begin at once: shards n, n + _at_once … take turns
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._due: dict[int, float] = {}  # when the next session may begin, by bucket
        self._away: dict[int, float] = {}  # shards that are not connected, and since when
        self._launching: asyncio.Task[None] | None = None

    def connections(self) -> list[ConnectionState]:
        """Return how each shard is."""
        now, latencies = asyncio.get_running_loop().time(), dict(self.latencies)
        return [
            ConnectionState(
                name=f"shard {shard}",
                away=now - self._away[shard] if shard in self._away else None,
                latency=latencies.get(shard, float("inf")),
            )
            for shard in range(self.shard_count or 0)
        ]

    async def launch_shards(self) -> None:
        """Begin to connect all shards, one after the other, while those that are get events.

        Raises `TryLater` where Discord allows fewer sessions for now: it would revoke the token.
        """
        count, _, limits = await self.http.get_bot_gateway()
        count, left = max(count, 1), limits["remaining"]
        if left < count:
            seconds = limits["reset_after"] / 1000
            text = "Discord wants %d connections but allows %d for now; more in %.0f s"
            log.error(text, count, left, seconds)
            raise TryLater(seconds)
        if count > 1:
            log.info("Discord asks for %d connections", count)
        self._at_once = max(limits["max_concurrency"], 1)
        self.shard_count = self._connection.shard_count = count
        self._connection.shard_ids = range(count)
        self._away = dict.fromkeys(range(count), asyncio.get_running_loop().time())
        self._launching = asyncio.create_task(self._launch_all(count), name="discord-shards")

    async def _launch_all(self, count: int) -> None:
        for shard in range(count):
            await self.launch_shard(DiscordWebSocket.DEFAULT_GATEWAY, shard, initial=shard == 0)

    async def launch_shard(self, gateway: URL, shard_id: int, *, initial: bool = False) -> None:
        """Connect one shard for the first time, again and again until it works."""
        backoff = Backoff()
        while True:
            try:
                async with asyncio.timeout(CONNECT):
                    ws = await DiscordWebSocket.from_client(
                        self, initial=initial, gateway=gateway, shard_id=shard_id
                    )
                break
            except Exception as error:
                wait = backoff.delay()
                why = str(error) or type(error).__name__
                log.warning("shard %d is not connected (%s); retry in %.0f s", shard_id, why, wait)
            await asyncio.sleep(wait)
        queue = self._AutoShardedClient__queue  # type: ignore[attr-defined]
        shard = ResumingShard(ws, self, queue.put_nowait)
        self._AutoShardedClient__shards[shard_id] = shard  # type: ignore[attr-defined]
        shard.launch()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Wait until Discord lets the session of a shard begin."""
        shard = shard_id or 0
        bucket, loop = shard % self._at_once, asyncio.get_running_loop()
        async with self._turns[bucket]:
            due = self._due.get(bucket, 0.0)
            if self.get_shard(shard):  # the former session is invalid
                due = max(due, loop.time() + PAUSE)
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._due[bucket] = loop.time() + PAUSE

    async def on_shard_connect(self, shard: int) -> None:
        """Note that a shard's session has begun."""
        self._away.pop(shard, None)

    async def on_shard_resumed(self, shard: int) -> None:
        """Note that a shard's session goes on."""
        self._away.pop(shard, None)

    async def on_shard_disconnect(self, shard: int) -> None:
        """Note that a shard lost its connection."""
        self._away.setdefault(shard, asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Disconnect all shards."""
        if self._launching:
            self._launching.cancel()
        await super().close()
