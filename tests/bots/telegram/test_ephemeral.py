"""What one person alone sees in a group, where the server can do so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bots.telegram.conftest import a_marble
from tests.fakes.process import Marble
from tests.fakes.telegram.faults import Fault
from tests.fakes.telegram.people import ANONYMOUS, Chat, Person, group, person
from tests.fakes.telegram.server import TelegramServer

IN_PRIVATE = "This concerns personal data"
UNKNOWN = "--sted"


@pytest.fixture
async def marble(telegram: TelegramServer, tmp_path: Path) -> AsyncIterator[Marble]:
    """Yield Marble on a server that has messages for one person."""
    telegram.newer = True
    async with a_marble(telegram, tmp_path) as marble:
        await telegram.until(lambda: telegram.calls_of("setMyCommands"))
        yield marble


@pytest.fixture
def statues(telegram: TelegramServer, marble: Marble) -> Chat:
    """Return a group where the bot is a member like any other."""
    return group(telegram)


async def test_an_administrator_bot_refuses_for_who_asked_alone(statues: Chat, ada: Person) -> None:
    statues.promote()
    await ada.says("/imagine a cat --sted 3", to=statues)
    await ada.hears_alone(UNKNOWN, statues)
    assert statues.shown == []


async def test_a_bot_that_is_no_administrator_refuses_as_ever(statues: Chat, ada: Person) -> None:
    said = await ada.says("/imagine a cat --sted 3", to=statues)
    await statues.words(said, UNKNOWN)


async def test_a_refusal_in_private_is_a_message(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    await ada.chat.words(await ada.says("a cat --sted 3"), UNKNOWN)
    assert not telegram.ephemeral


async def test_a_press_that_took_long_is_refused_for_who_pressed_alone(
    telegram: TelegramServer, statues: Chat, ada: Person
) -> None:
    waiting = await statues.answer(await ada.says("/imagine a cat wait", to=statues))
    slow = Fault(("getChatMember",), before=lambda: telegram.until(lambda: telegram.answers))
    telegram.faults.append(slow)
    bob = person(telegram, 2)
    await bob.presses(waiting, "Cancel")
    await bob.hears_alone("Only", statues)
    assert statues.shown == [waiting]


async def test_settings_in_a_group_are_seen_and_changed_by_one_person_alone(
    telegram: TelegramServer, statues: Chat, ada: Person
) -> None:
    await ada.commands_alone("/settings --steps 7", to=statues)
    await ada.hears_alone("--steps 7", statues)
    await ada.commands_alone("/settings reset", to=statues)
    await ada.hears_alone("reset", statues)
    await ada.commands_alone("/settings --sted 7", to=statues)
    await ada.hears_alone(UNKNOWN, statues)
    assert statues.shown == []


async def test_settings_that_all_can_read_are_refused(statues: Chat, ada: Person) -> None:
    await statues.words(await ada.says("/settings", to=statues), IN_PRIVATE)


async def test_an_anonymous_administrator_is_refused_before_all(
    telegram: TelegramServer, statues: Chat
) -> None:
    statues.promote()
    boss = person(telegram, 9)
    said = await boss.says(
        "/imagine a cat --sted 3",
        to=statues,
        **{"from": ANONYMOUS, "sender_chat": telegram.chats[statues.id]},
    )
    await statues.words(said, UNKNOWN)


async def test_what_is_personal_is_listed_as_seen_by_the_bot_alone(
    telegram: TelegramServer, marble: Marble
) -> None:
    lists = await telegram.until(lambda: telegram.commands if len(telegram.commands) == 6 else None)
    for (scope, _), commands in lists.items():
        alone = {each["command"] for each in commands if each.get("is_ephemeral")}
        assert alone == (set() if scope == "all_private_chats" else {"settings", "web"})


async def test_a_server_that_shows_to_all_what_was_for_one_is_found_out(
    telegram: TelegramServer, statues: Chat, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    statues.promote()
    monkeypatch.setattr(
        "tests.fakes.telegram.methods._send_alone",
        lambda server, values: server.new_message(
            values["chat_id"], **{"from": server.me}, text=values["text"]
        ),
    )
    said = await ada.says("/imagine a cat --sted 3", to=statues)
    await statues.words(said, UNKNOWN)
    assert len(statues.shown) == len(telegram.deleted) == 1
