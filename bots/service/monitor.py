"""The HTTP endpoints `/livez`, `/readyz` and `/metrics`, at `MARBLE_METRICS_PORT` and the web port.

/livez     200 while the event loop keeps up; else 503: restart the process
/readyz    200 while jobs can be done; else 503 with a line for each fault
/metrics   Prometheus' text format
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from bots.service.adapters import Service
from bots.service.front_door import listening
from bots.service.metrics import Metrics
from engine.files.private import MIN_FREE
from storage import DatabaseFault

BEAT: Final = 0.5  # seconds between two measurements of the event loop's lag
KEPT: Final = 120  # measurements
LATE: Final = 5.0  # seconds of lag from which on a process is not alive


@dataclass(slots=True)
class Monitor:
    """Measure a service, and answer requests for its state."""

    service: Service
    metrics: Metrics
    _lags: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    async def watch_lag(self) -> None:
        """Measure by how much the event loop is late, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            self._lags.append(max(0.0, loop.time() - due))
            self.metrics.lag.set(max(self._lags))

    async def livez(self, request: web.Request | None = None) -> web.Response:
        """Answer whether the event loop keeps up."""
        lag = self._lags[-1] if self._lags else 0.0
        return _response(lag < LATE, f"the loop is {lag:.3f} s late\n")

    async def readyz(self, request: web.Request | None = None) -> web.Response:
        """Answer whether jobs can be done, or which parts are at fault."""
        faults = [fault async for fault in self._faults()]
        return _response(not faults, "".join(f"{each}\n" for each in faults or ["ready"]))

    async def scrape(self, request: web.Request | None = None) -> web.Response:
        """Answer with the metrics."""
        storage, metrics = self.service.app.storage, self.metrics
        with suppress(DatabaseFault):  # the other figures are still worth having
            metrics.backlog = await storage.outbox.backlog()
            first = await storage.jobs.list_queued(limit=1)
            since = first[0].created_at if first else datetime.now(UTC)
            metrics.oldest = max(0.0, (datetime.now(UTC) - since).total_seconds())
        return _response(True, metrics.text().decode(), "; version=0.0.4")

    async def _faults(self) -> AsyncIterator[str]:
        app = self.service.app
        try:
            await app.storage.database.write(lambda connection: None)
        except DatabaseFault as error:  # strangers may read this: the sentence names the address
            yield f"database: it {error.wrong}"
        for name, trouble in self.service.ailing().items():
            yield f"{name}: {trouble}"
        engine = app.health()
        if engine.failing:
            yield "engine: it does not start"
        elif engine.waits and not engine.alive:
            yield f"engine: {engine.waits}"
        if shutil.disk_usage(app.settings.data_dir).free < MIN_FREE:
            yield "disk: it is full"


@asynccontextmanager
async def monitored(service: Service) -> AsyncIterator[None]:
    """Answer these paths until the end of the block, where there is a port for them.

    Raises `UserError` where the port is taken.
    """
    app = service.app
    settings = app.settings
    if not (settings.metrics_port or settings.web_port):
        yield
        return
    monitor = Monitor(service, Metrics(service))
    app.worker.observer = monitor.metrics
    handlers = {"/livez": monitor.livez, "/readyz": monitor.readyz, "/metrics": monitor.scrape}
    lag = asyncio.create_task(monitor.watch_lag(), name="marble-lag")
    try:
        async with AsyncExitStack() as stack:
            stack.enter_context(app.front_door.answering(handlers))
            if settings.metrics_port:
                own = web.Application()
                own.add_routes(web.get(path, h, allow_head=False) for path, h in handlers.items())
                host, port = settings.metrics_host, settings.metrics_port
                at = listening(own, host, port, "MARBLE_METRICS_PORT", keepalive=0)
                await stack.enter_async_context(at)
            yield
    finally:
        lag.cancel()


def _response(ok: bool, text: str, version: str = "") -> web.Response:
    kind = f"text/plain{version}; charset=utf-8"
    return web.Response(
        status=200 if ok else 503, body=text.encode(), headers={"Content-Type": kind}
    )
