"""What a child process runs: the engine's loop between two ends of a socket.

python -m engine.executors.main FD
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import BinaryIO, Final

from engine.events import Key, Report
from engine.executors import wire
from engine.executors.config import EngineConfig
from engine.executors.loop import Loop

WRECKED: Final = 70  # exit code; the jobs at work then count as lost, and may be tried again
# diffusers imports these where they are installed; Marble uses nothing that it does with them.
UNUSED: Final = ("peft", "scipy")
# Packages whose `__init__` reads or imports all networks there are, of which Marble uses a few.
CATALOGUES: Final = (
    "diffusers.models.autoencoders",
    "diffusers.models.controlnets",
    "diffusers.models.transformers",
    "diffusers.models.unets",
    "transformers.models",
)


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
    _import(config.factory.partition(":")[0])
    loop.run()


class _Bare(MetaPathFinder):
    """Find catalogues as packages in which nothing runs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec without a loader, as namespace packages have."""
        spec = PathFinder.find_spec(fullname, path) if fullname in CATALOGUES else None
        if spec:
            spec.loader = None
        return spec


def _import(module: str) -> None:
    """Import a module with what it needs of the libraries, and little else: in half the time.

    While it is imported, None in `sys.modules` lets unused libraries count as not installed (The
    Python Language Reference, 5.3.1), and the modules of catalogues are found one by one. Garbage
    is not collected: what is imported stays, and is never looked through again.
    """
    hidden = {name: None for name in UNUSED if name not in sys.modules}
    bare, finder = [name for name in CATALOGUES if name not in sys.modules], _Bare()
    gc.disable()
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None is allowed, says the reference
    sys.meta_path.insert(0, finder)
    # An error is raised again, and reported, when the loop imports the module.
    with suppress(Exception):
        import_module(module)
    sys.meta_path.remove(finder)
    for name in (*hidden, *bare):  # who imports one later gets it whole
        parent, _, own = name.rpartition(".")
        package = sys.modules.pop(name, None)
        if package and vars(sys.modules[parent]).get(own) is package:
            delattr(sys.modules[parent], own)
    gc.freeze()
    gc.enable()


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
