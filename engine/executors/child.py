"""The engine in a child process: a crash of the engine does not end this process.

The child is started with the first job. When it dies, its jobs end as `Lost` and it is started
again, after a growing wait. The two processes share a socket pair: the death of either closes it,
so that the other notices at once and no process is left behind.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from engine.executors import wire
from engine.executors.restarting import Death, RestartingExecutor

log = logging.getLogger(__name__)

ROOT: Final = Path(__file__).parents[2]  # folder of the package `engine`
# Threads that spin while they wait for each other are very slow on a processor that others use: a
# picture took 18 s instead of 0.5.
THREADS: Final = {"OMP_WAIT_POLICY": "PASSIVE"}


class ChildExecutor(RestartingExecutor):
    """Runs the engine in one child process, and a task that restarts it."""

    _writer: asyncio.StreamWriter | None = None  # while there is a child

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return f"the engine's process on {self._about.device}"

    def _send(self, header: dict[str, Any]) -> None:
        if self._writer and not self._writer.is_closing():
            self._writer.write(wire.Frame(header).to_bytes())

    async def _run_once(self) -> Death:
        """Start a child, receive its messages until it ends; return how. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        with closing(writer):
            with theirs:
                process = spawn("engine.executors.main", theirs)
            log.info("%s starts", self.name)
            try:
                async with self._watched(process.kill):
                    self._pid, self._writer = process.pid, writer
                    self._send({"config": self._config.to_dict(), "level": log.getEffectiveLevel()})
                    with suppress(EOFError, ConnectionError):
                        while True:
                            self._take(await wire.receive(reader))
            except Exception:  # the stream can no longer be read
                log.exception("%s sent an invalid message", self.name)
            finally:
                self._writer = None
                how = await end(process)
        return Death(how)


def spawn(
    module: str, end: socket.socket, more: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a module of Marble's in a process of its own, with one end of a socket pair.

    more: of its environment, beside what this process has.
    """
    # Not asyncio's: before Python 3.12 its `kill` may lose the exit code.
    return subprocess.Popen(
        # -P: do not import modules from the working folder.
        [sys.executable, "-P", "-m", module, str(end.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[end.fileno()],
        env={**child_environment(), **(more or {})},
        # Ctrl-C at the terminal must reach the parent only, which then ends its child.
        start_new_session=True,
    )


def child_environment() -> dict[str, str]:
    """Return this process's environment, with which another one finds Marble's modules."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**THREADS, **os.environ, "PYTHONPATH": path}


async def end(process: subprocess.Popen[bytes]) -> str:
    """Kill a process, and return how it ended: by which signal or exit code."""
    process.kill()
    code = await asyncio.shield(asyncio.to_thread(process.wait))
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
