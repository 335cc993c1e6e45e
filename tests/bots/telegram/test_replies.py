"""Replies: how one that stands is told from one that does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bots.admission.visibility import View
from bots.telegram import replies
from bots.telegram.replies import MESSAGE, Replies
from bots.texts import words_of
from storage import Job, Status, Storage
from storage.errors import PicturesFault
from tests.conftest import PATIENCE
from tests.factories import add_claimed
from tests.storage.conftest import a_job, drawn


class Bot:
    """Send messages, and never come to delete one, as where Telegram asks to wait for long."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send_message(self, chat: int, *content: Any, **more: Any) -> Any:
        self.sent += content
        return SimpleNamespace(chat=SimpleNamespace(id=chat), message_id=7)

    async def delete_message(self, chat: int, message: int) -> None:
        await asyncio.Event().wait()


async def test_a_reply_stands_though_its_placeholder_is_not_removed_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replies, "REMOVAL", 0.01)
    job = SimpleNamespace(id=1, message="telegram:5/6", reply={"chat": 5})
    pending: Any = SimpleNamespace(job=job, outcome=Status.CANCELLED)
    nobody: Any = None
    bot: Any = Bot()
    async with asyncio.timeout(PATIENCE):
        shown = await Replies(bot, nobody, nobody, nobody).deliver(pending, MESSAGE)
    assert shown == {"telegram:5/7": None}


async def rendered(storage: Storage) -> Job:
    """Return a job whose pictures are stored."""
    job = await add_claimed(storage, replace(a_job(), place="telegram:5", reply={"chat": 5}))
    return await storage.jobs.rendered(job.id, job.epoch, drawn())


async def deliver(storage: Storage, job: Job) -> list[str]:
    """Deliver a job's result; return the texts that were sent."""

    async def view(place: str) -> View:
        return View(storage.pictures)

    nobody: Any = None
    gate: Any = SimpleNamespace(view=view)
    bot: Any = Bot()
    pending: Any = SimpleNamespace(job=job, outcome=Status.RENDERED)
    await Replies(bot, storage.jobs, gate, nobody).deliver(pending, MESSAGE)
    return list(bot.sent)


async def test_a_reply_whose_picture_file_is_gone_says_so_and_is_not_retried(
    tmp_path: Path,
) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await rendered(storage)
        storage.pictures.remove(*(each.sha256 for each in job.pictures))
        assert await deliver(storage, job) == [words_of(None).lost_picture]


async def test_a_reply_whose_picture_store_is_away_sends_nothing_yet(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await rendered(storage)
        storage.pictures.folder.rename(tmp_path / "away")
        with pytest.raises(PicturesFault, match="cannot be read"):
            await deliver(storage, job)
