"""Drafts: what a job that waits in a private chat is shown as, where the server takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bots.telegram.features import OLD
from tests.bots.telegram.conftest import a_marble
from tests.fakes.process import Marble
from tests.fakes.telegram.faults import refuse
from tests.fakes.telegram.people import Person, group, labels, person, text_of
from tests.fakes.telegram.server import TelegramServer
from tests.ports import free_port


@pytest.fixture
async def marble(telegram: TelegramServer, tmp_path: Path) -> AsyncIterator[Marble]:
    """Yield Marble that draws one picture at a time, on a server that takes drafts."""
    telegram.newer = True
    async with a_marble(telegram, tmp_path, TESTS_SLOTS="1") as marble:
        await telegram.until(lambda: telegram.calls_of("getWebhookInfo"))
        yield marble


@pytest.fixture
async def busy(telegram: TelegramServer, marble: Marble) -> Path:
    """Keep the engine busy; return the file that lets it go on."""
    bob = person(telegram, 50)
    await bob.chat.words(await bob.says("a dog wait"), "1/")
    return marble.folder / "data" / "gate"


def draft_of(somebody: Person) -> tuple[int, str] | None:
    """Return the job and the text of the draft that somebody sees."""
    drafts = somebody.server.drafts.items()
    return next(((job, text) for (chat, job), text in drafts if chat == somebody.id), None)


async def test_a_job_that_waits_is_a_draft_and_then_the_message_that_becomes_its_picture(
    telegram: TelegramServer, busy: Path, ada: Person
) -> None:
    said = await ada.says("a cat")
    _, text = await telegram.until(lambda: draft_of(ada))
    assert text.startswith("Next in line")
    assert ada.chat.shown == []
    [call, *_] = telegram.calls_of("sendMessageDraft")
    assert call.values["can_stop"] is True
    await asyncio.to_thread(busy.touch)
    await ada.chat.picture(said)
    assert draft_of(ada) is None
    assert len(ada.chat.shown) == 1


async def test_a_draft_that_is_stopped_cancels_its_job(
    telegram: TelegramServer, busy: Path, ada: Person
) -> None:
    said = await ada.says("a cat")
    job, _ = await telegram.until(lambda: draft_of(ada))
    await ada.stops_draft(job)
    await ada.chat.words(said, "Cancelled.")
    await asyncio.to_thread(busy.touch)
    await ada.chat.picture(await ada.says("a dog"))
    assert sorted(text_of(each).splitlines()[0] for each in ada.chat.shown) == [
        "Cancelled.",
        "a dog",
    ]


async def test_nobody_stops_a_draft_of_somebody_elses(
    telegram: TelegramServer, busy: Path, ada: Person
) -> None:
    await ada.says("a cat")
    job, _ = await telegram.until(lambda: draft_of(ada))
    eve = person(telegram, 2)
    telegram.drafts[eve.id, job] = ""
    await eve.stops_draft(job)
    await telegram.until(lambda: eve.chat.shown)
    assert text_of(eve.chat.shown[0]).startswith(f"There is no picture {job} that you may see")
    assert draft_of(ada) is not None


async def test_a_second_job_of_the_same_chat_has_a_message_at_once(
    telegram: TelegramServer, busy: Path, ada: Person
) -> None:
    await ada.says("a cat")
    await telegram.until(lambda: draft_of(ada))
    second = await ada.chat.answer(await ada.says("a second cat"))
    assert labels(second) == ["Cancel"]


async def test_a_group_gets_no_drafts(telegram: TelegramServer, busy: Path, ada: Person) -> None:
    statues = group(telegram)
    waiting = await statues.answer(await ada.says("/imagine a cat", to=statues))
    assert labels(waiting) == ["Cancel"]
    assert telegram.drafts == {}


async def test_a_server_without_the_call_is_asked_once(
    telegram: TelegramServer, busy: Path, marble: Marble, ada: Person
) -> None:
    telegram.faults.append(refuse("Not Found", "sendMessageDraft", status=404, times=9))
    for words in ("a cat", "a second cat"):
        await ada.chat.answer(await ada.says(words))
    assert sum(call.method == "sendMessageDraft" for call in telegram.calls) == 1
    assert marble.log.count("takes no drafts") == 1


async def test_a_draft_that_one_chat_refuses_is_a_message_there_and_ends_no_others(
    telegram: TelegramServer, busy: Path, marble: Marble, ada: Person
) -> None:
    telegram.faults.append(refuse("Bad Request: message thread not found", "sendMessageDraft"))
    waiting = await ada.chat.answer(await ada.says("a cat"))
    assert labels(waiting) == ["Cancel"]
    carol = person(telegram, 3)
    await carol.says("a second cat")
    await telegram.until(lambda: draft_of(carol))
    assert "takes no drafts" not in marble.log


async def test_a_server_that_refuses_new_names_of_updates_is_polled_with_the_old_ones(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    telegram.newer = True
    telegram.faults.append(refuse("Bad Request: unknown update type", "getUpdates"))
    async with a_marble(telegram, tmp_path):
        await ada.chat.picture(await ada.says("a cat"))
    assert telegram.allowed == set(OLD)
    assert telegram.drafts == {}


async def test_a_webhook_is_set_with_the_updates_that_the_server_takes(
    telegram: TelegramServer, tmp_path: Path
) -> None:
    telegram.newer = True
    telegram.faults.append(refuse("Bad Request: unknown update type", "setWebhook"))
    settings = {
        "MARBLE_TELEGRAM_WEBHOOK_URL": "https://marble.example/telegram",
        "MARBLE_TELEGRAM_WEBHOOK_LISTEN": f"127.0.0.1:{free_port()}",
    }
    marble = Marble(tmp_path, {**telegram.environment, **settings})
    await marble.start()
    try:
        await telegram.until(lambda: telegram.webhook)
    finally:
        await marble.kill()
    assert telegram.allowed == set(OLD)
