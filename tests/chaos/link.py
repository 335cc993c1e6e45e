"""The network between Marble and a chat: a relay on loopback that can be spoilt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

CHUNK: Final = 65_536


class Mode(Enum):
    """Name what becomes of what is sent."""

    OPEN = "open"
    REFUSED = "refused"  # every connection is cut, and none is taken
    HELD = "held up"  # nothing moves until it is open again; then all arrives
    SILENT = "silent"  # what is sent is gone, and nobody is told, as behind a dead router
    DEAF = "answers lost"  # what Marble sends arrives, and the answer cuts the connection


@dataclass(eq=False)
class Link:
    """Relay connections to a server of this machine."""

    target: int
    port: int = 0
    mode: Mode = Mode.OPEN
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _wires: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter | None]] = field(
        default_factory=set
    )

    @classmethod
    @asynccontextmanager
    async def to(cls, target: int) -> AsyncIterator[Link]:
        """Relay to a port until the block ends."""
        link = cls(target)
        link._flowing.set()
        server = await asyncio.start_server(link._connect, "127.0.0.1", 0)
        link.port = server.sockets[0].getsockname()[1]
        try:
            yield link
        finally:
            server.close()
            link._cut()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def become(self, mode: Mode) -> None:
        """Let the network be so from now on."""
        self.mode = mode
        if mode is Mode.HELD:
            self._flowing.clear()
        else:
            self._flowing.set()
        if mode is Mode.REFUSED:
            self._cut()

    def _cut(self) -> None:
        for wire in self._wires:
            _abort(*wire)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.REFUSED:
            _abort(writer)
        elif self.mode is Mode.SILENT:
            await self._swallow(reader, writer)
        else:
            with suppress(OSError):
                await self._relay(reader, writer)

    async def _swallow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take all and answer nothing, until the other side has enough."""
        wire = (writer, None)
        self._wires.add(wire)
        with suppress(OSError):
            while await reader.read(CHUNK):
                pass
        self._wires.discard(wire)
        _abort(writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        wire = (writer, far_writer)
        self._wires.add(wire)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer, wire), name="chaos-there")
                both.create_task(self._pump(far_reader, writer, wire, answers=True), name="back")
        finally:
            self._wires.discard(wire)
            _abort(*wire)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        wire: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        answers: bool = False,
    ) -> None:
        lost = False  # once bytes are gone, the connection makes no sense any more
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await self._flowing.wait()
                if answers and self.mode is Mode.DEAF:
                    break
                lost = lost or self.mode is Mode.SILENT
                if not lost:
                    writer.write(chunk)
                    await writer.drain()
        _abort(*wire)


def _abort(*writers: asyncio.StreamWriter | None) -> None:
    for writer in writers:
        if writer:
            writer.transport.abort()
