"""Placeholders and the replies that they become."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bots.presentation.lines import progress_line
from bots.telegram.address import Address
from bots.telegram.features import Features
from bots.telegram.progress import Placeholder, Placeholders
from bots.telegram.rate_limits import Dropped
from bots.telegram.replies import EDIT, Replies
from bots.texts import EN
from bots.worker.delivery import Shown, TryLater
from engine.events import News, Waiting
from storage import Status

JOB: Any = SimpleNamespace(id=1, message=None, reply={"chat": 5})


class Bot:
    """Take edits and drafts."""

    def __init__(self) -> None:
        self.drafts: list[str] = []
        self.busy = 0  # calls for which there is no room

    async def send_message_draft(self, chat: int, draft: int, text: str, **more: Any) -> bool:
        if self.busy:
            self.busy -= 1
            raise Dropped
        self.drafts.append(text)
        return True

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


async def draft(bot: Bot, *positions: int) -> None:
    """Show a job that waits at these positions, one after the other, as a draft."""

    async def follow(job: int) -> AsyncIterator[News]:
        for position in positions:
            yield Waiting(position=position)

    nobody: Any = None
    worker: Any = SimpleNamespace(follow=follow)
    features = Features(drafts=True)
    placeholders = Placeholders(cast(Any, bot), nobody, worker, nobody, nobody, features)
    await placeholders._draft(JOB, Placeholder(None), Address(chat=5))


@pytest.mark.parametrize(("fades", "sent"), [(20.0, [2, 1]), (0.0, [2, 2, 1])])
async def test_a_draft_is_sent_again_when_it_says_something_else_or_fades(
    monkeypatch: pytest.MonkeyPatch, fades: float, sent: list[int]
) -> None:
    monkeypatch.setattr("bots.telegram.progress.FADES", fades)
    bot = Bot()
    await draft(bot, 2, 2, 1)
    assert bot.drafts == [progress_line(Waiting(position=each), EN) for each in sent]


async def test_a_draft_for_which_there_is_no_room_is_tried_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bots.telegram.progress.RETRY", 0.0)
    bot = Bot()
    bot.busy = 3
    await draft(bot, 2)
    assert len(bot.drafts) == 1
