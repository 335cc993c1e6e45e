"""The adapter: serves the pages while this process takes anything in."""

from __future__ import annotations

import asyncio

from bots.service.app import App
from bots.service.front_door import listening
from bots.service.kept import KeptAdapter
from bots.web.request import PLATFORM
from bots.web.site import Site


class Web(KeptAdapter):
    """Serves the pages at the web port; pictures that are asked for there are shown there."""

    def __init__(self, app: App) -> None:
        super().__init__(PLATFORM)
        self._app = app
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop; raises `UserError` where nothing can listen."""
        settings = self._app.settings
        assert settings.web_address is not None
        site = Site(self._app, settings.web_address).application()
        host, port = settings.web_host, settings.web_port
        async with listening(site, host, port, "MARBLE_WEB_PORT"):
            await self._closing.wait()

    def stop_intake(self) -> None:
        """Serve no more pages; what was asked for is drawn by this process or the next."""
        self._closing.set()
