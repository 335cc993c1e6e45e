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
from bots.service.adapters import ServedAdapter, Service
from bots.service.app import App, open_app
from bots.service.kept import KeptAdapter

# New objects after which Python looks for garbage: bursts make many, and hardly any in circles.
GARBAGE: Final = 10_000


KEPT: Final = ("terminal", "web")  # of each, any process closes the replies
# By the setting that asks for them. Imported by name: a chat that is not used costs no import.
ADAPTERS: Final = {
    "discord_token": "bots.discord.adapter:DiscordAdapter",
    "telegram_token": "bots.telegram.adapter:Telegram",
    "web_port": "bots.web.adapter:Web",
}


def make_adapters(app: App) -> list[ServedAdapter]:
    """Return the adapters that the settings ask for, and those that every process has."""
    wanted = [place for setting, place in ADAPTERS.items() if getattr(app.settings, setting)]
    adapters: list[ServedAdapter] = [resolve_name(place)(app) for place in wanted]
    there = {adapter.name for adapter in adapters}
    return [*(KeptAdapter(name) for name in KEPT if name not in there), *adapters]


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
