"""HTTP of one process: servers at addresses, and paths of the web port that other parts answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from engine.errors import UserError

if TYPE_CHECKING:
    from aiohttp import web

GRACE: Final = 2.0  # seconds that requests have to end in once a server is told to stop

Handler = Callable[["web.Request"], Awaitable["web.StreamResponse"]]


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """The paths of the web port that are no pages; its site answers them by these handlers."""

    paths: dict[str, Handler] = field(default_factory=dict)

    @contextmanager
    def answering(self, handlers: Mapping[str, Handler]) -> Iterator[None]:
        """Answer paths until the end of the block."""
        self.paths.update(handlers)
        try:
            yield
        finally:
            for path in handlers:
                self.paths.pop(path, None)


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, setting: str, *, keepalive: float = 75.0
) -> AsyncIterator[None]:
    """Serve an application at an address until the end of the block.

    setting: which one names the address. keepalive: seconds that an idle connection stays open.
    Raises `UserError` where nothing can listen there.
    """
    from aiohttp import web  # a terminal needs no server, and it takes a while

    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_log_of_faults(),
        keepalive_timeout=keepalive,
        shutdown_timeout=GRACE,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            where = f"{host}:{port} ({error.strerror})"
            text = f"Nothing can listen at {where}; choose another {setting}."
            raise UserError(text) from error
        yield
    finally:
        await runner.cleanup()


def _log_of_faults() -> logging.Logger:
    """Return the servers' log, without what strangers send that is no HTTP: it would fill it."""
    from aiohttp.http_exceptions import HttpProcessingError

    def is_ours(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

    log = logging.getLogger("marble.http")
    if not log.filters:
        log.addFilter(is_ours)
    return log
