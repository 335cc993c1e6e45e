"""An engine that answers at once in a process that dies, once, at a point that is named.

`MARBLE_EXECUTOR=tests.fakes.deadly:POINT`; a file `dead` in the data folder says that it has.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from engine.executors.config import EngineConfig
from storage.jobs.jobs import Jobs
from storage.people.favourites import Favourites
from storage.people.inbox import Inbox
from tests.fakes.instant import InstantExecutor, make

Method = Callable[..., Coroutine[Any, Any, Any]]


def die(marker: Path) -> None:
    """End this process as a power cut does, unless it did so before."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: type, name: str, config: EngineConfig) -> InstantExecutor:
    return _at(owner, name, config, before=True)


def _after(owner: type, name: str, config: EngineConfig) -> InstantExecutor:
    return _at(owner, name, config, before=False)


def _at(owner: type, name: str, config: EngineConfig, *, before: bool) -> InstantExecutor:
    """Let a method of storage be the last that is called, or the last that has returned."""
    assert config.notes is not None
    marker = config.notes.parent / "dead"
    method: Method = getattr(owner, name)

    @functools.wraps(method)
    async def deadly(self: Any, *args: Any, **more: Any) -> Any:
        if before:
            die(marker)
        done = await method(self, *args, **more)
        die(marker)
        return done

    setattr(owner, name, deadly)
    return make(config)


def fetched(config: EngineConfig) -> InstantExecutor:
    """Die with updates in hand that are not kept yet."""
    return _before(Inbox, "add", config)


def kept(config: EngineConfig) -> InstantExecutor:
    """Die when updates are kept, before Telegram is told."""
    return _after(Inbox, "add", config)


def committed(config: EngineConfig) -> InstantExecutor:
    """Die when a job is committed, before its placeholder is sent."""
    return _after(Jobs, "add_all", config)


def placed(config: EngineConfig) -> InstantExecutor:
    """Die when a placeholder stands, before that is recorded."""
    return _before(Jobs, "acknowledged", config)


def drafted(config: EngineConfig) -> InstantExecutor:
    """Die when a draft is shown that says that a job waits."""
    from telegram.ext import ExtBot

    return _after(ExtBot, "send_message_draft", config)


def linked(config: EngineConfig) -> InstantExecutor:
    """Die when it is recorded which message in another chat waits for a picture."""
    return _after(Jobs, "shown", config)


def said(config: EngineConfig) -> InstantExecutor:
    """Die when a message is sent, before anything of it is recorded."""
    from telegram.ext import ExtBot

    return _after(ExtBot, "send_message", config)


def answered(config: EngineConfig) -> InstantExecutor:
    """Die when a guest query is answered, before its picture is asked for."""
    from telegram.ext import ExtBot

    return _after(ExtBot, "answer_guest_query", config)


def edited(config: EngineConfig) -> InstantExecutor:
    """Die when a message shows a picture: the first of several, or before that is recorded."""
    from telegram.ext import ExtBot

    return _after(ExtBot, "edit_message_media", config)


def marked(config: EngineConfig) -> InstantExecutor:
    """Die when a favourite is added or removed, before the press is done with."""
    return _after(Favourites, "toggle", config)


def rendered(config: EngineConfig) -> InstantExecutor:
    """Die when pictures are drawn, before that is recorded."""
    return _before(Jobs, "rendered", config)


def sent(config: EngineConfig) -> InstantExecutor:
    """Die when a picture is sent, before that is recorded."""
    return _before(Jobs, "delivered", config)


def recorded(config: EngineConfig) -> InstantExecutor:
    """Die when a delivery is recorded, before anything else."""
    return _after(Jobs, "delivered", config)


def held(config: EngineConfig) -> InstantExecutor:
    """Commit no job, for whoever kills this process from outside."""

    async def wait(self: Jobs, *args: Any, **more: Any) -> Any:
        await asyncio.Event().wait()

    setattr(Jobs, "add_all", wait)  # noqa: B010  # as `_at` does
    return make(config)
