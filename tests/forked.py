"""Processes that fork from one which has imported all they need: each is up in a moment."""

from __future__ import annotations

import asyncio
import faulthandler
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from bots.terminal.cli import main
from tests.bots.fakes import EDITING, alter

LATER = 3600.0  # seconds until vectors of new pictures are made

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    [
        "bots.discord.adapter",
        "bots.service.serve",
        "bots.telegram.adapter",
        "tests.fakes.instant",
        "tests.forked",
        "tests.storage.kill_worker",
        "tests.storage.suspect_service",
    ]
)


class Process:
    """A process that calls a function; it ends with this one at the latest."""

    def __init__(self, target: Callable[..., object], *arguments: object) -> None:
        self._process = context.Process(target=target, args=arguments, daemon=True)
        self._process.start()
        self._ended = asyncio.create_task(self._watch(), name="forked-process")

    @property
    def pid(self) -> int:
        """Return its number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Return its exit code, or None while it runs; less than 0 names a signal."""
        return self._process.exitcode

    def send_signal(self, sent: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        with suppress(ProcessLookupError):
            if self.returncode is None:
                os.kill(self.pid, sent)

    async def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        return await asyncio.shield(self._ended)

    async def _watch(self) -> int:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def serve(environment: Mapping[str, str], folder: Path, log: Path) -> None:
    """Be `marble serve` with such an environment, in a folder; the log is appended to."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # Nobody's vectors are made: each service would start a process with torch for them.
    pytest.MonkeyPatch().setattr("bots.service.indexing.LATER", LATER)
    if editing := environment.get("MARBLE_TEST_EDITING"):  # a model that edits by words
        alter(pytest.MonkeyPatch(), **{editing: EDITING})
    faulthandler.enable()
    sys.argv = ["marble", "serve"]
    sys.exit(main(sys.argv[1:]))
