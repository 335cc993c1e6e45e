"""What a child process runs: the engine's loop between two ends of a socket.

python -m engine.executors.main FD
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
from typing import BinaryIO, Final

from engine.events import Key, Report
from engine.executors import wire
from engine.executors.config import EngineConfig
from engine.executors.loop import Loop

WRECKED: Final = 70  # exit code; the jobs at work then count as lost, and may be tried again


class Outlet(logging.Handler):
    """Send reports and log records to the parent; end with it."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._one_at_a_time = threading.Lock()

    def send(self, frame: wire.Frame) -> None:
        """Send a frame, from any thread."""
        try:
            with self._one_at_a_time:
                self._stream.write(frame.to_bytes())
                self._stream.flush()
        except OSError:
            os._exit(0)  # the parent is gone

    def report(self, report: Report) -> None:
        """Send what happened to a job."""
        self.send(wire.pack(report))

    def count(self, counts: dict[str, int]) -> None:
        """Send what the engine has done so far."""
        self.send(wire.Frame({"counts": counts}))

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, with its traceback as text."""
        self.send(wire.Frame({"log": [record.name, record.levelno, self.format(record)]}))


def main(descriptor: int) -> None:
    """Work for the parent until its end of the socket closes."""
    # Who ends the parent ends us; a signal to the whole group must not come before its orders.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()
    os.set_inheritable(descriptor, False)
    parent = socket.socket(fileno=descriptor)
    orders, outlet = parent.makefile("rb"), Outlet(parent.makefile("wb"))
    first = wire.read(orders).header
    logging.basicConfig(level=first["level"], handlers=[outlet], force=True)
    config = EngineConfig.from_dict(first["config"])

    def opened() -> None:
        outlet.send(wire.Frame({"ready": os.getpid()}))

    loop = Loop(config, outlet.report, outlet.count, opened, wrecked=lambda: os._exit(WRECKED))
    threading.Thread(target=_obey, args=(orders, loop), name="orders", daemon=True).start()
    loop.run()


def _obey(orders: BinaryIO, loop: Loop) -> None:
    """Pass orders on; at the parent's end, end at once, whatever the engine is doing."""
    try:
        while True:
            header = wire.read(orders).header
            if "run" in header:
                loop.admit(wire.read_spec(header["run"]))
            else:
                loop.cancel(Key(*header["cancel"]))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
