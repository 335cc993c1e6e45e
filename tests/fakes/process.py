"""The real `marble serve`, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.conftest import PATIENCE, ROOT
from tests.forked import Process, serve

LOOK: Final = 0.05  # seconds between looks at the log


@dataclass
class Marble:
    """Start, stop and kill `marble serve` in a folder; its log is kept from start to start."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    fresh: bool = False  # in a Python that starts anew, as for users; most tests need none
    _process: asyncio.subprocess.Process | Process | None = None

    @property
    def log(self) -> str:
        """Return everything that was logged so far."""
        file = self.folder / "serve.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    @property
    def pid(self) -> int | None:
        """Return the process's number while it runs."""
        running = self._process and self._process.returncode is None
        return self._process.pid if self._process and running else None

    def send(self, sent: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process and self.pid:
            self._process.send_signal(sent)

    async def says(self, words: str) -> None:
        """Wait until it has logged some words."""
        async with asyncio.timeout(PATIENCE):
            while words not in self.log:
                await asyncio.to_thread(time.sleep, LOOK)

    async def start(self, **changes: str) -> None:
        """Start it; `changes` are settings for this time only."""
        environment = {**self._settings(), **changes}
        file = self.folder / "serve.log"
        if not self.fresh:
            self._process = Process(serve, environment, self.folder, file)
            return
        with file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-X", "faulthandler", "-m", "bots", "serve"),
                env=environment,
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def command(self, *words: str) -> str:
        """Return what another command of Marble's prints with the same settings."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bots", *words),
            stdout=asyncio.subprocess.PIPE,
            env=self._settings(),
            cwd=self.folder,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0
        return said.decode()

    def _settings(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MARBLE_")}
        return {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "MARBLE_DATA_DIR": str(self.folder / "data"),
            "MARBLE_EXECUTOR": "tests.fakes.instant:make",
            **self.environment,
        }

    async def ended(self, within: float | None = PATIENCE) -> int:
        """Wait until it has ended; return its exit code."""
        assert self._process
        async with asyncio.timeout(within):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it as a power cut does."""
        await self._signal(signal.SIGKILL)

    async def stop(self) -> int:
        """Ask it to end."""
        return await self._signal(signal.SIGTERM)

    async def _signal(self, sent: signal.Signals) -> int:
        assert self._process
        self.send(sent)
        return await self.ended()
