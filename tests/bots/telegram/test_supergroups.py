"""A group that becomes a supergroup: the same group, under a new id."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from storage import Storage
from tests.bots.telegram.conftest import a_marble
from tests.fakes.process import Marble
from tests.fakes.telegram.people import Chat, Person, basic_group, is_result, person, text_of
from tests.fakes.telegram.server import BOT, TelegramServer


@pytest.fixture
def bob(telegram: TelegramServer) -> Person:
    return person(telegram, 2)


@pytest.fixture
def old(telegram: TelegramServer, ada: Person) -> Chat:
    """Return a group whose administrator is Ada."""
    chat = basic_group(telegram, 77)
    chat.promote(ada.id)
    return chat


async def furnish(old: Chat, ada: Person, bob: Person) -> None:
    """Have rules, a ban and a style in a group."""
    for text, answer in (
        ("/rules --steps 1-9 --per-minute 4", "steps: 1-9"),
        (f"/ban telegram:{bob.id} spam", "spam"),
        ("/style add noir film noir", "noir"),
    ):
        await old.words(await ada.says(text, to=old), answer)


async def is_furnished(new: Chat, ada: Person, bob: Person) -> None:
    """Find all of it in the group under its new id."""
    await new.words(await ada.says("/rules", to=new), "steps: 1-9")
    await new.words(await bob.says("/imagine a cat --steps 5", to=new), "spam")
    await new.words(await ada.says("/style", to=new), "film noir")
    told = await new.words(await ada.says("/log", to=new), "spam")
    assert "noir" in text_of(told)


async def waiting(old: Chat, ada: Person, marble: Marble) -> None:
    """Ask for a picture that is drawn once the test lets it be."""
    said = await ada.says("/imagine a marble owl wait --steps 5", to=old)
    await old.answer(said)


async def arrives(new: Chat, marble: Marble) -> None:
    """Let what waits be drawn, and wait for it."""
    await asyncio.to_thread((marble.folder / "data" / "gate").touch)
    await new.server.until(lambda: any(map(is_result, new.shown)), "the picture")


async def test_waiting_pictures_arrive_in_the_new_group_and_what_was_kept_is_there(
    telegram: TelegramServer, marble: Marble, old: Chat, ada: Person, bob: Person
) -> None:
    await furnish(old, ada, bob)
    await waiting(old, ada, marble)
    new = await old.becomes_supergroup(5)
    await is_furnished(new, ada, bob)  # what is asked for at once waits for the move
    await arrives(new, marble)
    [result] = filter(is_result, new.shown)
    await ada.presses(result, "Same seed")
    await new.picture(result)
    assert not [message for message in old.shown if is_result(message)]
    assert "became a supergroup" in marble.log


async def test_a_group_of_whose_move_nobody_told_is_moved_when_something_is_sent_to_it(
    telegram: TelegramServer, marble: Marble, old: Chat, ada: Person, bob: Person
) -> None:
    await furnish(old, ada, bob)
    await waiting(old, ada, marble)
    new = await old.becomes_supergroup(6, told=False)
    await arrives(new, marble)
    await is_furnished(new, ada, bob)
    assert telegram.rejected == []


async def test_what_was_said_in_the_old_group_before_the_move_is_answered_in_the_new(
    telegram: TelegramServer, tmp_path: Path, old: Chat, ada: Person, bob: Person
) -> None:
    async with a_marble(telegram, tmp_path) as marble:
        await furnish(old, ada, bob)
        picture = await old.picture(await ada.says("/imagine an owl --steps 5", to=old))
        await marble.kill()
        await ada.says("/imagine a cat --steps 6", to=old)
        await ada.says("--steps 7", to=old, answering=picture)
        await bob.says("/imagine a dog --steps 8", to=old)
        new = await old.becomes_supergroup(7)
        await marble.start()
        await telegram.until(lambda: sum(map(is_result, new.shown)) == 2)
        await telegram.until(lambda: any("spam" in text_of(each) for each in new.shown))
        await is_furnished(new, ada, bob)
    async with Storage.open(tmp_path / "data") as storage:
        places = {(await storage.jobs.get(job)).place for job in (1, 2, 3)}
        assert places == {f"telegram:{new.id}"}
        assert (await storage.jobs.get(3)).recipe.prompt == "an owl"
    assert BOT not in telegram.administrators[new.id]


async def test_a_group_whose_new_id_was_replaced_as_well_is_moved_along(
    telegram: TelegramServer, marble: Marble, old: Chat, ada: Person, bob: Person
) -> None:
    await furnish(old, ada, bob)
    await waiting(old, ada, marble)
    second = await old.becomes_supergroup(5)
    await is_furnished(second, ada, bob)
    third = await second.becomes_supergroup(6, told=False)
    await ada.says("/help", to=old)  # what meets the move was meant for the first id
    await telegram.until(lambda: third.shown, "the answer")
    await is_furnished(third, ada, bob)
    await arrives(third, marble)
    assert not [message for message in (*old.shown, *second.shown) if is_result(message)]
