"""Placeholders and the replies that they become."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bots.telegram.features import Features
from bots.telegram.progress import Placeholder, Placeholders
from bots.telegram.replies import EDIT, Replies
from bots.worker.delivery import Shown, TryLater
from storage import Status

JOB: Any = SimpleNamespace(id=1, message=None, reply={"chat": 5})


class Bot:
    """Take edits."""

    async def edit_message_text(self, text: str, **more: Any) -> None:
        pass


async def deliver(**standing: Placeholder) -> Shown:
    """Deliver job 1 by an edit, where these placeholders stand."""
    nobody: Any = None
    bot: Any = Bot()
    found = {int(name.removeprefix("job")): each for name, each in standing.items()}
    placeholders = Placeholders(nobody, nobody, nobody, nobody, nobody, Features(), found)
    pending: Any = SimpleNamespace(job=JOB, outcome=Status.CANCELLED)
    return await Replies(bot, nobody, nobody, placeholders).deliver(pending, EDIT)


async def test_a_reply_whose_placeholder_waits_for_its_chat_is_put_off() -> None:
    waiting = Placeholder(None)
    async with waiting.lock:
        with pytest.raises(TryLater) as caught:
            await deliver(job1=waiting, job2=Placeholder(None))
    assert caught.value.seconds > 1


async def test_a_reply_waits_for_the_edit_that_is_on_its_way_and_allows_no_other() -> None:
    standing = Placeholder("telegram:5/2")
    async with standing.lock:
        delivering = asyncio.create_task(deliver(job1=standing))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert standing.over
        assert not delivering.done()
    assert await delivering == {"telegram:5/2": None}
