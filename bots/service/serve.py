"""`marble serve`: draw and deliver all jobs until a signal.

One event loop runs the engine's queue, the delivery and the adapters (`bots.service.adapters`). The
first SIGTERM or Ctrl-C ends it in good order, the second at once.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pkgutil import resolve_name
from typing import Final

from bots.operations.settings import Settings
from bots.service.adapters import ConnectionState, ServedAdapter, Service
from bots.service.app import App, open_app
from bots.worker.delivery import Shown, Way
from storage import PendingReply

# New objects after which Python looks for garbage: bursts make many, and hardly any in circles.
GARBAGE: Final = 10_000


class TerminalAdapter:
    """Deliver to terminals that did not wait: their pictures are in their history."""

    name: str = "terminal"
    ways: Sequence[Way] = (Way("keep", repeatable=True),)
    exclusive: bool = False

    async def run(self) -> None:
        """Do nothing: what terminals ask for is found in the database."""

    def stop_intake(self) -> None:
        """Do nothing: what is asked for now waits for the next process that serves."""

    def connections(self) -> Sequence[ConnectionState]:
        """Return nothing: there is no connection."""
        return ()

    async def deliver(self, pending: PendingReply, way: Way) -> Shown:
        """Do nothing: there is no message to send."""
        return {}

    async def check(self) -> None:
        """Do nothing: there is no token."""


# By the setting that asks for them. Imported by name: a chat that is not used costs no import.
ADAPTERS: Final = {
    "discord_token": "bots.discord.adapter:DiscordAdapter",
    "telegram_token": "bots.telegram.adapter:Telegram",
}


def make_adapters(app: App) -> list[ServedAdapter]:
    """Return the adapters that the settings ask for, and the terminal's."""
    wanted = [place for setting, place in ADAPTERS.items() if getattr(app.settings, setting)]
    return [TerminalAdapter(), *(resolve_name(place)(app) for place in wanted)]


async def serve(settings: Settings) -> None:
    """Serve until a signal, or cancelled."""
    async with open_app(settings, serving=True) as app:
        adapters = make_adapters(app)
        gc.freeze()  # what is imported stays
        gc.set_threshold(GARBAGE)
        await serving(app, adapters)


async def serving(app: App, adapters: Sequence[ServedAdapter]) -> None:
    """Serve with these adapters until a signal, or cancelled."""
    from bots.service.monitor import monitored  # with Prometheus' client and aiohttp's server

    service = Service(app, adapters)
    async with _stopped_by_signals(service.stop), monitored(service):
        await service.run()


@asynccontextmanager
async def _stopped_by_signals(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Call `stop` at the first signal; cancel the block at the second.

    Further ones are ignored: closing gives jobs back to the queue, which the signal's default
    action would cut off.
    """
    loop, inside = asyncio.get_running_loop(), asyncio.current_task()
    assert inside is not None
    signals = (signal.SIGTERM, signal.SIGINT)

    def on_first_signal() -> None:
        stop()
        for each in signals:
            loop.add_signal_handler(each, inside.cancel)

    for each in signals:
        loop.add_signal_handler(each, on_first_signal)
    try:
        yield
    finally:
        for each in signals:
            loop.add_signal_handler(each, lambda: None)
