"""An engine on a machine of a Ray cluster: an actor that runs the engine's loop.

Commands come in and frames go out (`engine.executors.wire`), as they do to and from a child
process. Both are numbered, so that a call that may have been lost can be made again. Pictures that
recipes start from come with their job; models lie in this machine's own folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from engine.device.figures import Figures, add_figures, figures_in
from engine.errors import MissingPicture
from engine.events import Key
from engine.executors import wire
from engine.executors.child import THREADS
from engine.executors.config import EngineConfig
from engine.executors.main import import_engine, make_loop
from engine.models.catalogue import STARTER_FOLDER
from engine.models.fingerprints import Fingerprints
from engine.spec import Spec

LOOK: Final = 60.0  # seconds between two looks at the folder of models
MEASURING: Final = 1.0  # seconds between two looks at what was measured
DRAWING: Final = ("torch", "diffusers", "transformers")  # the bits of pictures follow from them
KEPT: Final = 256  # frames that have not been received
MOST: Final = 2**26  # bytes of frames in an answer, or one frame
MODELS: Final = "MARBLE_MODELS_DIR"  # of this machine, as in Marble's settings
SAFETY: Final = "MARBLE_SAFETY_MODEL"  # the same
HOME: Final = "~/.cache"  # where $XDG_CACHE_HOME is not set


class GivenPictures:
    """Keep the pictures that came with jobs, in memory, until their jobs have ended."""

    def __init__(self) -> None:
        self._pictures: dict[str, bytes] = {}
        self._jobs: dict[Key, set[str]] = {}
        self._lock = threading.Lock()  # jobs come in one thread and end in another

    def read(self, sha256: str) -> bytes:
        """Return a picture's bytes, or raise `MissingPicture`."""
        try:
            return self._pictures[sha256]
        except KeyError:
            raise MissingPicture(sha256) from None

    def keep(self, key: Key, pictures: Mapping[str, bytes]) -> None:
        """Keep the pictures of a job."""
        with self._lock:
            self._jobs[key] = {*pictures}
            self._pictures.update(pictures)

    def drop(self, key: Key) -> None:
        """Drop the pictures of a job that no other needs."""
        with self._lock:
            gone = self._jobs.pop(key, set()).difference(*self._jobs.values())
            for sha256 in gone:
                self._pictures.pop(sha256, None)


class Outbox(logging.Handler):
    """Keep frames until they were received, in order; log records are frames, too.

    The engine waits where too many have not been received: memory is no place for a day's frames.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._asyncio = loop
        self._frames: deque[wire.Frame] = deque()
        self._received = 0  # and dropped
        self._filled = asyncio.Event()
        self._room = threading.BoundedSemaphore(KEPT)

    def send(self, frame: wire.Frame) -> None:
        """Add a frame, from any thread but that of the event loop."""
        self._room.acquire()
        self._asyncio.call_soon_threadsafe(self._add, frame)

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record, with its traceback as text; where there is no room it is left out."""
        if self._room.acquire(blocking=False):
            header = {"log": [record.name, record.levelno, self.format(record)]}
            self._asyncio.call_soon_threadsafe(self._add, wire.Frame(header))

    async def after(self, received: int, patience: float) -> list[wire.Frame]:
        """Return the frames after the first `received`; none if there are none for that long."""
        while self._received < received and self._frames:
            self._frames.popleft()
            self._room.release()
            self._received += 1
        if not self._frames:
            self._filled.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._filled.wait()
            except TimeoutError:
                return []
        found: list[wire.Frame] = []
        size = 0
        for frame in self._frames:
            size += len(frame.payload)
            if found and size > MOST:
                break
            found.append(frame)
        return found

    def _add(self, frame: wire.Frame) -> None:
        self._frames.append(frame)
        self._filled.set()


class Engine:
    """The actor: its methods are called from the process that serves, by Ray."""

    async def here(self) -> None:
        """Answer, as soon as there is a process, and as long as it is not stopped."""

    async def start(
        self, config: Mapping[str, Any], level: int, measured: Figures
    ) -> dict[str, Any]:
        """Start the loop in a thread of its own, and return what tells this engine from others.

        measured: what engines of the cluster measured before, which stands.
        """
        for name, value in THREADS.items():
            os.environ.setdefault(name, value)  # before torch is imported
        self._outbox = Outbox(asyncio.get_running_loop())
        logging.basicConfig(level=level, handlers=[self._outbox], format=wire.BARE, force=True)
        logging.getLogger("ray").setLevel(logging.ERROR)
        self._pictures = GivenPictures()
        self._commands = 0
        own = self._config = replace(of_this_machine(config), store=self._pictures)
        self._told: dict[str, Any] = {}  # measurements that the process that serves knows
        self._learn(measured)
        self._loop = make_loop(own, self._send)
        threading.Thread(target=self._run, name="engine", daemon=True).start()
        fingerprints = Fingerprints(own.models_dir, own.starter)
        models = await asyncio.to_thread(fingerprints.all)
        threading.Thread(
            target=self._look, args=(fingerprints, models), name="models", daemon=True
        ).start()
        threading.Thread(target=self._watch_figures, name="measurements", daemon=True).start()
        return {"pid": os.getpid(), "host": platform.node(), "code": code(), "models": models}

    async def command(
        self, number: int, header: Mapping[str, Any], pictures: Mapping[str, bytes]
    ) -> None:
        """Take a command; one that was taken already is not taken again."""
        if number <= self._commands:
            return
        self._commands = number
        if "run" in header:
            spec = Spec.from_dict(header["run"])
            self._pictures.keep(Key(spec.job, spec.epoch), pictures)
            self._loop.admit(spec)
        elif "measured" in header:
            self._learn(header["measured"])
        else:
            self._loop.cancel(Key(*header["cancel"]))

    async def frames(self, received: int, patience: float) -> list[wire.Frame]:
        """Return the frames after the first `received`, waiting for one for so many seconds."""
        return await self._outbox.after(received, patience)

    def _run(self) -> None:
        import_engine(self._config.factory.partition(":")[0])
        self._loop.run()

    def _send(self, frame: wire.Frame) -> None:
        if "ended" in frame.header:
            self._pictures.drop(Key(frame.header["job"], frame.header["epoch"]))
        self._outbox.send(frame)

    def _learn(self, measured: Figures) -> None:
        """Use what was measured elsewhere first, whatever this machine measured itself."""
        self._told |= measured
        if folder := self._config.notes:
            try:
                add_figures(folder, measured, keep=False)
            except OSError as error:
                logging.getLogger(__name__).warning("measurements cannot be saved: %s", error)

    def _watch_figures(self) -> None:
        while True:
            self._tell_figures()
            threading.Event().wait(MEASURING)

    def _tell_figures(self) -> None:
        """Tell what was measured on this machine and not elsewhere."""
        if new := {
            key: figure
            for key, figure in figures_in(self._config.notes).items()
            if key not in self._told
        }:
            self._told |= new
            self._outbox.send(wire.Frame({"measured": new}))

    def _look(self, fingerprints: Fingerprints, told: Mapping[str, str]) -> None:
        """Tell which models are there whenever that has changed."""
        while True:
            threading.Event().wait(LOOK)
            try:
                found = fingerprints.all()
            except Exception as error:  # of one look; the next may succeed
                logging.getLogger(__name__).warning("models cannot be listed: %s", error)
                continue
            if found != told:
                told = found
                self._outbox.send(wire.Frame({"models": found}))


def of_this_machine(config: Mapping[str, Any]) -> EngineConfig:
    """Return the configuration with the folders of this machine.

    The folder of models is the one that this machine's environment names, else the one of the same
    path as where Marble serves, if it is there. Where pictures are checked, this machine's
    environment may name another folder of the classifier, too.
    """
    own = EngineConfig.from_dict({**config, "pictures": None, "pictures_url": None})
    models = Path(text) if (text := os.environ.get(MODELS)) else own.models_dir
    return replace(
        own,
        models_dir=models if models and models.is_dir() else None,
        starter=own.starter if own.starter.is_dir() else STARTER_FOLDER,
        notes=measurements() / own.notes.name if own.notes else None,
        safety_model=own.safety_model and (os.environ.get(SAFETY) or own.safety_model),
    )


def measurements() -> Path:
    """Return the folder of what this machine's devices were measured at, by each Marble."""
    return Path(os.environ.get("XDG_CACHE_HOME") or HOME).expanduser() / "marble" / "engine"


def code() -> str:
    """Return a hash of the engine's source and of the versions of what it draws with.

    Engines of one hash draw the same pictures on one kind of device. What torch was built for,
    like `+cu126`, is no part of its version: where Marble serves, no GPU is needed.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    for package in DRAWING:
        digest.update(f"{package} {version(package).partition('+')[0]}\0".encode())
    return digest.hexdigest()[:16]
