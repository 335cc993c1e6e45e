"""Tell machines how Marble is: `/livez`, `/readyz` and `/metrics` at `MARBLE_METRICS_PORT`.

/livez     200 while the event loop keeps up: else restart the process
/readyz    200 while work can be done: else a line for each thing that ails
/metrics   Prometheus' text format
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from engine.errors import UserError
from storage import DatabaseFault
from storage.jobs.intake import ROOM

if TYPE_CHECKING:
    from bots.service.metrics import Metrics
    from bots.service.serve import Service

log = logging.getLogger(__name__)

BEAT: Final = 0.5  # seconds between two looks at the loop's lag
KEPT: Final = 120  # of these looks
LATE: Final = 5.0  # seconds of lag with which a process is no longer alive
PATIENCE: Final = 5.0  # seconds that somebody may take to ask
LONGEST: Final = 8192  # bytes of a request
TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what is sent back."""

    status: str
    body: bytes
    kind: str = TEXT


OK: Final = "200 OK"
NOT_NOW: Final = "503 Service Unavailable"


@dataclass(slots=True)
class Monitor:
    """Watch a service, and answer whoever asks how it is."""

    service: Service
    metrics: Metrics
    _lags: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    async def watch_lag(self) -> None:
        """Measure by how much the loop is late, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            self._lags.append(max(0.0, loop.time() - due))
            self.metrics.lag.set(max(self._lags))

    async def livez(self) -> Answer:
        """Say whether the loop keeps up."""
        lag = self._lags[-1] if self._lags else 0.0
        return Answer(OK if lag < LATE else NOT_NOW, f"the loop is {lag:.3f} s late\n".encode())

    async def readyz(self) -> Answer:
        """Say whether work can be done, or what ails."""
        ails = [ail async for ail in self._ails()]
        return Answer(
            NOT_NOW if ails else OK, "".join(f"{ail}\n" for ail in ails or ["ready"]).encode()
        )

    async def scrape(self) -> Answer:
        """Return the metrics."""
        storage, seen = self.service.app.storage, self.metrics.seen
        with suppress(DatabaseFault):  # the other figures are still worth having
            seen.backlog = await storage.outbox.backlog()
            first = await storage.jobs.list_queued(limit=1)
            since = first[0].created_at if first else datetime.now(UTC)
            seen.oldest = max(0.0, (datetime.now(UTC) - since).total_seconds())
        return Answer(OK, self.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")

    async def _ails(self) -> AsyncIterator[str]:
        app = self.service.app
        try:
            await app.storage.database.write(lambda connection: None)
        except UserError as error:
            yield f"database: {error}"
        for name, trouble in self.service.ailing().items():
            yield f"{name}: {trouble}"
        if app.health().failing:
            yield "engine: it does not start"
        if shutil.disk_usage(app.settings.data_dir).free < ROOM:
            yield "disk: it is full"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close."""
        try:
            async with asyncio.timeout(PATIENCE):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(await self._route(request.split(b"\r\n", 1)[0])))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so has no need of an answer
        finally:
            writer.close()

    async def _route(self, line: bytes) -> Answer:
        method, _, rest = line.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        routes: Mapping[str, Callable[[], Awaitable[Answer]]] = {
            "/livez": self.livez,
            "/readyz": self.readyz,
            "/metrics": self.scrape,
        }
        if method != "GET":
            return Answer("405 Method Not Allowed", b"only GET\n")
        if path not in routes:
            return Answer("404 Not Found", b"/livez, /readyz or /metrics\n")
        return await routes[path]()


@asynccontextmanager
async def monitored(service: Service) -> AsyncIterator[None]:
    """Answer at `MARBLE_METRICS_PORT` until the end of the block, unless it is 0."""
    settings = service.app.settings
    if not settings.metrics_port:
        yield
        return
    from bots.service.metrics import Metrics  # whoever does not want it does not wait for it

    monitor = Monitor(service, Metrics(service))
    service.app.worker.watch = monitor.metrics
    try:
        server = await asyncio.start_server(
            monitor.answer, settings.metrics_host, settings.metrics_port, limit=LONGEST
        )
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise UserError(
            f"Nothing can listen at {where} ({error.strerror}); choose another MARBLE_METRICS_PORT."
        ) from error
    lag = asyncio.create_task(monitor.watch_lag(), name="marble-lag")
    try:
        yield
    finally:
        lag.cancel()
        server.close()
        await server.wait_closed()


def _response(answer: Answer) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status}\r\nContent-Type: {answer.kind}\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + answer.body
