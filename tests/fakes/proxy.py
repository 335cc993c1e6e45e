"""A proxy on loopback: it carries whatever is asked of it to one server, whatever its name."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

ASKED = re.compile(rb"(?:GET|POST|PATCH|PUT|DELETE) (?:http|ws)s?:\S+")
USER, PASSWORD = "marble", "proxy-pass-word"


@dataclass
class Proxy:
    """Carry requests to a port of this machine, for who knows the password."""

    target: int
    asked: list[str] = field(default_factory=list)  # first lines of requests
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            known = base64.b64encode(f"{USER}:{PASSWORD}".encode())
            if b"proxy-authorization: basic " + known.lower() not in head.lower():
                writer.write(b"HTTP/1.1 407 Who Are You\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
            else:
                self._note(head)
                there, back = await asyncio.open_connection("127.0.0.1", self.target)
                back.write(head)
                await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        writer.close()

    def _note(self, data: bytes) -> None:
        """Note the requests in what is passed on: a connection carries many."""
        self.asked += [found.decode() for found in ASKED.findall(data)]

    async def _pass(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(2**16):
                self._note(data)
                to.write(data)
                await to.drain()
        to.close()


@asynccontextmanager
async def a_proxy(target: int) -> AsyncIterator[Proxy]:
    """Yield a proxy that leads to a port."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
