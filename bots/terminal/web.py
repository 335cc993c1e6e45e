"""`marble web`: the web page in a browser, signed in as who owns this machine."""

import argparse
import asyncio
import os
import sys
import webbrowser
from contextlib import suppress

from bots.operations.settings import ANY_HOST, LOOPBACK, Settings
from bots.terminal.console import open_console
from bots.terminal.places import person
from engine.errors import UserError
from engine.sentences import fill
from storage import Storage

ENDED = "{n} {n:session|sessions} ended."


async def web(arguments: argparse.Namespace, settings: Settings) -> None:
    """Print a link and open it where there is a browser, or end sessions; raises `UserError`."""
    if (address := settings.web_address) is None:
        raise UserError("There is no web page: set MARBLE_WEB_PORT, and start `marble serve`.")
    console = open_console(soft_wrap=True)
    if not arguments.logout:
        await _check_served(settings)
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        if arguments.logout:
            console.print(fill(ENDED, n=await storage.web_access.end_all(person())))
            return
        url = f"{address}/in/{await storage.web_access.make_link(person())}"
    console.print(f"This link signs you in once, within ten minutes:\n{url}")
    if has_screen():
        await asyncio.to_thread(webbrowser.open, url)


def has_screen() -> bool:
    """Return whether a browser with windows can open: one of text would take this terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


async def _check_served(settings: Settings) -> None:
    """Raise `UserError` where `marble serve` should listen on this machine and does not."""
    if settings.web_url:  # it may run on another one
        return
    host = LOOPBACK if settings.web_host in ANY_HOST else settings.web_host
    try:
        _, writer = await asyncio.open_connection(host, settings.web_port)
    except OSError:
        at = f"{host}:{settings.web_port}"
        raise UserError(f"Nothing answers at {at}: start `marble serve` first.") from None
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
