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
from engine.events import News, Picture, Progress, Stage, Waiting
from storage import Status
from tests.bots.presentation.test_presentation import png

JOB: Any = SimpleNamespace(id=1, message=None, reply={"chat": 5})


class Bot:
    """Take edits and drafts."""

    def __init__(self) -> None:
        self.drafts: list[str] = []
        self.edits: list[str] = []
        self.busy = 0  # calls for which there is no room

    async def send_message_draft(self, chat: int, draft: int, text: str, **more: Any) -> bool:
        if self.busy:
            self.busy -= 1
            raise Dropped
        self.drafts.append(text)
        return True

    async def edit_message_text(self, text: str, **more: Any) -> None:
        self.edits.append("text")

    async def edit_message_media(self, media: Any, **more: Any) -> None:
        self.edits.append("media")

    async def edit_message_caption(self, caption: str, **more: Any) -> None:
        self.edits.append("caption")


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


async def test_a_grid_is_sent_once_for_each_number_of_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bots.telegram.progress.PRIVATE", 0)
    picture = Picture(png=png(8, 8), index=0, width=8, height=8)

    async def follow(job: int) -> AsyncIterator[News]:
        for step, finished in ((1, 0), (2, 1), (3, 1), (3, 1), (4, 2), (5, 2)):
            drawn = (picture,) * finished
            yield Progress(stage=Stage.DENOISE, step=step, total=9, finished=drawn)

    async def view(place: str) -> Any:
        return SimpleNamespace(previews=True)

    nobody: Any = None
    worker, gate = (
        cast(Any, SimpleNamespace(**each)) for each in ({"follow": follow}, {"view": view})
    )
    bot = Bot()
    placeholders = Placeholders(cast(Any, bot), nobody, worker, gate, nobody, Features())
    job = cast(Any, SimpleNamespace(id=1, place="telegram:5", status=Status.RUNNING))
    await placeholders._follow(job, Placeholder("telegram:5/2"), Address(chat=5))
    assert bot.edits == ["text", "media", "caption", "media", "caption"]


async def test_what_is_recorded_of_two_who_turn_a_message_at_once_is_what_it_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shows, recorded = list[int](), list[int | None]()

    class Turning(Replies):
        async def _become(self, reply: Any, where: Any) -> bool:
            shows.append(reply.picture)
            return True

    async def shown(job: int, messages: Shown) -> None:
        if len(shows) == 1:  # the second person's press comes now
            for _ in range(5):
                await asyncio.sleep(0)
        recorded.extend(messages.values())

    async def view(place: str) -> None:
        return None

    async def at_once(read: Any, job: Any, pictures: Any, *more: Any, **also: Any) -> Any:
        return SimpleNamespace(picture=pictures, buttons=None)

    monkeypatch.setattr("bots.telegram.replies.asyncio.to_thread", at_once)
    nobody: Any = None
    jobs, gate = (cast(Any, SimpleNamespace(**each)) for each in ({"shown": shown}, {"view": view}))
    replies = Turning(nobody, jobs, gate, nobody)
    both: Any = (2, 3)
    await asyncio.gather(*(replies.turn(Address(chat=5), 1, JOB, each) for each in both))
    assert shows == recorded == [2, 3]
