"""What is acknowledged is answered, whatever happens to the process."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from bots.discord import unanswered as module
from bots.discord.unanswered import NAME, SPENT, PendingInteraction, Unanswered
from storage import Storage
from tests.bots.discord.conftest import Marble
from tests.conftest import PATIENCE
from tests.fakes.discord import FakeDiscord, Person, Reply

CROWD = 20


async def asks(ann: Person, prompt: str) -> Reply:
    deed = await ann.typed("imagine", {"prompt": prompt})
    await ann.sends(deed)
    return Reply(ann, deed)


def acknowledged(reply: Reply) -> bool:
    assert reply.interaction
    return reply.interaction.acknowledged is not None


def answered(reply: Reply) -> bool:
    assert reply.interaction
    message = reply.interaction.original
    return bool(message and not message.loading)


async def test_who_was_acknowledged_before_a_kill_hears_to_ask_again(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    cold.settings["MARBLE_EXECUTOR"] = "tests.fakes.deadly:held"
    await cold.start()
    replies = await asyncio.gather(*(asks(ann, f"scholar {n}") for n in range(CROWD)))
    await discord.until(lambda: all(map(acknowledged, replies)), "acknowledgements")
    await cold.kill()
    file = cold.data / NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = file.read_text()
    tokens = [reply.interaction.token for reply in replies if reply.interaction]
    assert all(token in kept for token in tokens)
    cold.settings["MARBLE_EXECUTOR"] = "tests.fakes.instant:make"
    await cold.start()
    for reply in replies:
        await reply.said("Please try again")
    await (await ann.imagine("a cat")).picture()
    assert await cold.stop() == 0
    assert file.read_text() == ""
    assert not any(token in cold.log for token in tokens)


async def test_what_was_committed_before_a_kill_is_drawn_and_the_others_hear_so(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    cold.settings["MARBLE_EXECUTOR"] = "tests.fakes.deadly:committed"
    await cold.start()
    replies = await asyncio.gather(*(asks(ann, f"scholar {n}") for n in range(CROWD)))
    assert cold.process
    await cold.process.wait()
    await discord.gateway.drop()
    cold.settings["MARBLE_EXECUTOR"] = "tests.fakes.instant:make"
    heard = [reply for reply in replies if acknowledged(reply)]
    await cold.start()
    await discord.until(
        lambda: all(r.message.attachments or "Please try again" in r.text for r in heard), "answers"
    )
    await cold.stop()
    async with Storage.open(cold.data) as storage:
        committed = {job.recipe.prompt for job in await storage.history.page(limit=50)}
    drawn = {reply.text.splitlines()[0] for reply in heard if reply.message.attachments}
    assert drawn == committed
    assert committed
    others = [reply.text for reply in heard if reply.text.splitlines()[0] not in committed]
    assert all("Please try again" in text for text in others)


async def test_what_was_answered_before_a_kill_stays_as_it_is(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    history = await ann.types("history")
    text = await history.said()
    assert history.interaction
    # As if the process had been killed before it let go of the entry.
    await marble.kill()
    unanswered = Unanswered(marble.data)
    async with unanswered.writing():
        interaction = history.interaction
        question = a_question(f"discord:{interaction.id}", interaction.token)
        await unanswered.keep(question)
        other = a_question("discord:1", "token-1")
        await unanswered.keep(other)
    await marble.start()
    async with asyncio.timeout(PATIENCE):
        while (marble.data / NAME).read_text():
            await asyncio.to_thread(time.sleep, 0.05)
    assert history.text == text


def a_question(event: str, token: str = "token", seconds: float = 900.0) -> PendingInteraction:
    return PendingInteraction(
        event=event, application=1, token=token, language="en", until=time.time() + seconds
    )


@pytest.fixture
async def unanswered(tmp_path: Path) -> AsyncIterator[Unanswered]:
    questions = Unanswered(tmp_path)
    async with questions.writing():
        yield questions


async def left_in(folder: Path) -> set[str]:
    return {question.event for question in await Unanswered(folder).left()}


async def test_a_question_is_there_after_a_kill_until_it_is_answered(
    unanswered: Unanswered, tmp_path: Path
) -> None:
    await unanswered.keep(a_question("a"))
    await unanswered.keep(a_question("b"))
    assert await left_in(tmp_path) == {"a", "b"}
    unanswered.answered("a")
    unanswered.answered("never asked")
    await unanswered.keep(a_question("c"))
    assert await left_in(tmp_path) == {"b", "c"}


async def test_a_token_is_gone_from_the_file_once_it_is_of_no_use(tmp_path: Path) -> None:
    questions = Unanswered(tmp_path)
    async with questions.writing():
        await questions.keep(a_question("a", "first-token"))
        await questions.keep(a_question("b", "late-token", seconds=-1))
        questions.answered("a")
    assert (tmp_path / NAME).read_text() == ""


async def test_a_file_in_use_does_not_grow_without_end(
    unanswered: Unanswered, tmp_path: Path
) -> None:
    await unanswered.keep(a_question("open"))
    for number in range(3 * SPENT):
        await unanswered.keep(a_question(str(number)))
        unanswered.answered(str(number))
    await unanswered.keep(a_question("last"))  # which is written with what came before
    assert len((tmp_path / NAME).read_text().splitlines()) < 3 * SPENT
    assert await left_in(tmp_path) == {"open", "last"}


async def test_many_at_once_share_their_writes(
    unanswered: Unanswered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def sync(handle: int) -> None:
        synced.append(handle)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", sync)
    await asyncio.gather(*(unanswered.keep(a_question(str(n))) for n in range(1000)))
    assert len(await left_in(tmp_path)) == 1000
    assert len(synced) <= 3


async def test_what_is_kept_at_the_end_outlasts_a_rewriting_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()
    replace = module._replace

    def slow(path: Path, lines: Iterable[str]) -> None:
        begun.set()
        go_on.wait(PATIENCE)
        replace(path, lines)
        done.set()

    monkeypatch.setattr(module, "_replace", slow)
    monkeypatch.setattr(module, "BRIEF", 0.0)
    questions = Unanswered(tmp_path)

    async def serve() -> None:
        async with questions.writing():
            await questions.left()  # the file is written anew
            await asyncio.to_thread(begun.wait, PATIENCE)
            await questions.keep(a_question("last"))

    serving = asyncio.create_task(serve())
    await asyncio.wait([serving], timeout=0.5)
    go_on.set()
    await serving
    await asyncio.to_thread(done.wait, PATIENCE)
    assert await left_in(tmp_path) == {"last"}


async def test_a_torn_line_costs_no_other(tmp_path: Path) -> None:
    questions = Unanswered(tmp_path)
    async with questions.writing():
        await questions.keep(a_question("a"))
    file = tmp_path / NAME
    with file.open("a") as opened:
        opened.write('\n{"event": "torn", "tok')
    async with questions.writing():
        await questions.keep(a_question("b"))
    assert await left_in(tmp_path) == {"a", "b"}


async def test_a_disk_that_takes_nothing_holds_up_no_acknowledgement(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / NAME).mkdir()
    questions = Unanswered(tmp_path)
    async with questions.writing():
        await questions.keep(a_question("a"))
    assert "cannot be saved" in caplog.text
    assert "token" not in caplog.text
