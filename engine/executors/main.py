"""The child process: the engine's loop, with a socket to its parent.

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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import BinaryIO, Final

from engine.events import Ended, Key, Report
from engine.executors import wire
from engine.executors.config import EngineConfig
from engine.executors.loop import Loop
from engine.spec import Spec

DEVICE_LOST: Final = 70  # exit code; running jobs then end as lost, and may be tried again
# diffusers imports these where they are installed, for functions that Marble does not use.
UNUSED: Final = ("peft", "scipy")
# Packages whose `__init__` imports all networks of a library, of which Marble uses a few.
CATALOGUES: Final = (
    "diffusers.models.autoencoders",
    "diffusers.models.controlnets",
    "diffusers.models.transformers",
    "diffusers.models.unets",
    "transformers.models",
)


class Parent(logging.Handler):
    """Send reports and log records to the parent; exit when it has died."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, frame: wire.Frame) -> None:
        """Send a frame, from any thread."""
        try:
            with self._lock:
                self._stream.write(frame.to_bytes())
                self._stream.flush()
        except OSError:
            os._exit(0)  # the parent has died

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, with its traceback as text."""
        self.send(wire.Frame({"log": [record.name, record.levelno, self.format(record)]}))


def main(descriptor: int) -> None:
    """Run the engine for the parent until its end of the socket closes."""
    # The parent ends this process; signals to the process group must not.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()
    os.set_inheritable(descriptor, False)
    end = socket.socket(fileno=descriptor)
    commands, parent = end.makefile("rb"), Parent(end.makefile("wb"))
    first = wire.read(commands).header
    logging.basicConfig(level=first["level"], handlers=[parent], format=wire.BARE, force=True)
    config = EngineConfig.from_dict(first["config"])
    loop = make_loop(config, parent.send)
    threading.Thread(
        target=_take_commands, args=(commands, loop), name="commands", daemon=True
    ).start()
    import_engine(config.factory.partition(":")[0])
    loop.run()


def make_loop(config: EngineConfig, send: Callable[[wire.Frame], None]) -> Loop:
    """Return a loop that sends what it reports as frames, and ends a process without a device."""

    def report(report: Report) -> None:
        if isinstance(report.news, Ended):
            send(wire.Frame({"counts": loop.counts, "held": list(loop.held)}))
        send(wire.pack(report))

    def opened() -> None:
        about = asdict(loop.about) if loop.about else {}
        send(wire.Frame({"ready": os.getpid(), "about": about, "fault": loop.fault}))

    def beside(names: Sequence[str]) -> None:
        send(wire.Frame({"beside": list(names)}))

    loop = Loop(config, report, opened, lambda: os._exit(DEVICE_LOST), beside)
    return loop


class _Bare(MetaPathFinder):
    """Find the packages of `CATALOGUES` without running their `__init__`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec without a loader, as namespace packages have."""
        spec = PathFinder.find_spec(fullname, path) if fullname in CATALOGUES else None
        if spec:
            spec.loader = None
        return spec


def import_engine(module: str) -> None:
    """Import a module with little else than it needs of the libraries: in half the time.

    While it is imported, None in `sys.modules` lets unused libraries count as not installed (The
    Python Language Reference, 5.3.1), and the modules of catalogues are found one by one. Garbage
    collection is off, and never examines what was imported.
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
    for name in (*hidden, *bare):  # a later import gets the whole package
        parent, _, own = name.rpartition(".")
        package = sys.modules.pop(name, None)
        if package and vars(sys.modules[parent]).get(own) is package:
            delattr(sys.modules[parent], own)
    gc.freeze()
    gc.enable()


def _take_commands(commands: BinaryIO, loop: Loop) -> None:
    """Pass the parent's commands to the loop; exit at once when the parent has died."""
    try:
        while True:
            header = wire.read(commands).header
            if "run" in header:
                loop.admit(Spec.from_dict(header["run"]))
            else:
                loop.cancel(Key(*header["cancel"]))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
