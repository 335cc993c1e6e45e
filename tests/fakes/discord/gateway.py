"""The gateway: HELLO, IDENTIFY, READY, dispatches with sequence numbers, heartbeats, RESUME.

Servers are divided among shards by their ids; what concerns no server goes to shard 0.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from tests.fakes.discord.server import FakeDiscord
    from tests.fakes.discord.world import Guild

DISPATCH, HEARTBEAT, IDENTIFY, RESUME = 0, 1, 2, 6
RECONNECT, INVALID_SESSION, HELLO, ACK = 7, 9, 10, 11
BAD_TOKEN, TOO_FEW_SHARDS, BAD_INTENTS = 4004, 4011, 4014
PRIVILEGED: Final = 1 << 1 | 1 << 8 | 1 << 15  # members, presences, message content
# An event that an intent must ask for: in a server, in a DM.
INTENTS: Final = {
    "MESSAGE_REACTION_ADD": (1 << 10, 1 << 13),
    "MESSAGE_REACTION_REMOVE": (1 << 10, 1 << 13),
    "MESSAGE_DELETE": (1 << 9, 1 << 12),
    "GUILD_CREATE": (1 << 0, 1 << 0),
    "GUILD_ROLE_CREATE": (1 << 0, 1 << 0),
    "GUILD_ROLE_UPDATE": (1 << 0, 1 << 0),
}


@dataclass(eq=False)
class Session:
    """Hold a client's session, which outlives its connections."""

    id: str
    intents: int = 0
    sequence: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    roles: set[str] = field(default_factory=set)  # that the client was told of
    socket: web.WebSocketResponse | None = None
    shard: int = 0


@dataclass(eq=False)
class Gateway:
    """Serve one client at a time, with one session for each of its shards."""

    discord: FakeDiscord
    shards: int = 1  # that a client must have
    at_once: int = 16  # sessions that may begin within 5 s
    starts_left: int = 1000
    sessions: dict[int, Session] = field(default_factory=dict)
    identities: list[list[int]] = field(default_factory=list)  # the [shard, count] of each
    identified: int = 0
    resumed: int = 0
    heartbeats: int = 0

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Speak with a client until either side has enough."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        try:
            await _send(socket, {"op": HELLO, "d": {"heartbeat_interval": 41_250}})
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(socket, json.loads(message.data))
        finally:
            for session in self.sessions.values():
                if session.socket is socket:
                    session.socket = None
            await self.discord.happened()
        return socket

    @property
    def connected(self) -> bool:
        """Return whether all shards are."""
        there = [each for each in self.sessions.values() if each.socket is not None]
        return len(there) == self.shards

    @property
    def about(self) -> dict[str, Any]:
        """Return what `/gateway/bot` answers."""
        limits = {
            "total": 1000,
            "remaining": self.starts_left,
            "reset_after": 3_600_000,
            "max_concurrency": self.at_once,
        }
        return {
            "url": self.discord.gateway_url,
            "shards": self.shards,
            "session_start_limit": limits,
        }

    def shard_of(self, guild: int) -> int:
        """Return the shard that a server belongs to."""
        return (guild >> 22) % self.shards

    async def emit(self, event: str, data: dict[str, Any], *, times: int = 1) -> None:
        """Dispatch an event, or keep it for when the session is resumed.

        `times` delivers the same event more than once, as Discord may.
        """
        guild = data.get("guild_id") or (data["id"] if event == "GUILD_CREATE" else 0)
        session = self.sessions.get(self.shard_of(int(guild)))
        if session is not None and _asked_for(session.intents, event, data):
            await self._dispatch(session, event, data, times)

    async def _dispatch(
        self, session: Session, event: str, data: dict[str, Any], times: int = 1
    ) -> None:
        if event == "GUILD_CREATE":
            session.roles |= {role["id"] for role in data["roles"]}
        for _ in range(times):
            session.sequence += 1
            payload = {"op": DISPATCH, "t": event, "s": session.sequence, "d": data}
            session.events.append(payload)
            if session.socket is not None:
                await _send(session.socket, payload)

    async def introduce(self, guild: Guild, person: int) -> None:
        """Tell of the role of somebody who joined a server after the client."""
        session = self.sessions.get(self.shard_of(guild.id))
        known = session.roles if session else set()
        if guild.joined and person in guild.members and str(person) not in known:
            known.add(str(person))
            role = guild.role(person)
            await self.emit("GUILD_ROLE_CREATE", {"guild_id": str(guild.id), "role": role})

    async def drop(self, code: int = 4000, *, shard: int | None = None) -> None:
        """Close the connection of a shard, or of all; the sessions can be resumed."""
        for session in list(self.sessions.values()):
            if shard in (None, session.shard) and (socket := session.socket):
                session.socket = None
                await socket.close(code=code)

    async def ask_to_reconnect(self, shard: int = 0) -> None:
        """Send RECONNECT, as before maintenance."""
        socket = self.sessions[shard].socket
        assert socket
        await _send(socket, {"op": RECONNECT, "d": None})

    async def invalidate(self, shard: int = 0) -> None:
        """Say that the session is no longer valid and cannot be resumed."""
        socket = self.sessions.pop(shard).socket
        assert socket
        await _send(socket, {"op": INVALID_SESSION, "d": False})

    async def _receive(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["op"] == HEARTBEAT:
            self.heartbeats += 1
            await _send(socket, {"op": ACK, "d": None})
        elif message["op"] == IDENTIFY:
            await self._identify(socket, message["d"])
        elif message["op"] == RESUME:
            await self._resume(socket, message["d"])

    async def _identify(self, socket: web.WebSocketResponse, data: dict[str, Any]) -> None:
        if data["token"] != self.discord.token:
            self.discord.refused += 1
            await socket.close(code=BAD_TOKEN)
            await self.discord.happened()
            return
        if data["intents"] & PRIVILEGED:
            await socket.close(code=BAD_INTENTS)
            return
        shard, count = data.get("shard", [0, 1])
        if count < self.shards:
            await socket.close(code=TOO_FEW_SHARDS)
            return
        self.identified += 1
        self.identities.append([shard, count])
        session = Session(f"session-{self.identified}", data["intents"], socket=socket, shard=shard)
        self.sessions[shard] = session
        guilds = [
            guild
            for guild in self.discord.guilds
            if guild.joined and self.shard_of(guild.id) == shard
        ]
        ready = {
            "v": 10,
            "user": self.discord.bot.json,
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "shard": [shard, count],
            "resume_gateway_url": self.discord.gateway_url,
            "application": {"id": str(self.discord.bot.id), "flags": 0},
        }
        await self._dispatch(session, "READY", ready)
        for guild in guilds:
            await self.emit("GUILD_CREATE", guild.json(self.discord.bot))
        await self.discord.happened()

    async def _resume(self, socket: web.WebSocketResponse, data: dict[str, Any]) -> None:
        ids = {each.id: each for each in self.sessions.values()}
        session = ids.get(data["session_id"])
        if session is None:
            await _send(socket, {"op": INVALID_SESSION, "d": False})
            return
        self.resumed += 1
        session.socket = socket
        for payload in session.events:
            if payload["s"] > data["seq"]:
                await _send(socket, payload)
        session.sequence += 1
        await _send(socket, {"op": DISPATCH, "t": "RESUMED", "s": session.sequence, "d": {}})
        await self.discord.happened()


def _asked_for(intents: int, event: str, data: dict[str, Any]) -> bool:
    in_guild, in_dm = INTENTS.get(event, (0, 0))
    needed = in_guild if data.get("guild_id") or event == "GUILD_CREATE" else in_dm
    return intents & needed == needed


async def _send(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    """Send a message to a client, unless it is gone, be it killed at this moment."""
    if not socket.closed:
        with suppress(ConnectionResetError):
            await socket.send_str(json.dumps(message))
