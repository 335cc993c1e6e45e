"""Inline and guest mode: pictures in chats in which the bot is no member.

One process serves all of these tests: each has people of its own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from bots.admission.rulebook import PREFIX, read_rule
from bots.telegram.address import INLINE
from storage import Storage
from tests.bots.presentation.test_presentation import png
from tests.bots.telegram.conftest import a_marble, a_server
from tests.fakes.process import Marble
from tests.fakes.telegram.faults import Fault, refuse
from tests.fakes.telegram.people import FIRST_PERSON, Person, is_result, person, text_of
from tests.fakes.telegram.server import TelegramServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
NUMBERS = itertools.count(1)
Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def telegram() -> AsyncIterator[TelegramServer]:
    async with a_server() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def marble(
    telegram: TelegramServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Marble]:
    folder = tmp_path_factory.mktemp("inline")
    async with a_marble(telegram, folder, MARBLE_BLOCKED_WORDS="gore") as marble:
        yield marble


@pytest.fixture
def somebody(telegram: TelegramServer, marble: Marble) -> Callable[[], Person]:
    return lambda: person(telegram, next(NUMBERS))


@pytest.fixture
def ada(somebody: Callable[[], Person]) -> Person:
    return somebody()


@pytest.fixture
def stranger(telegram: TelegramServer, marble: Marble) -> Person:
    """Return somebody who has never started the bot."""
    return Person(telegram, FIRST_PERSON + 1_000 + next(NUMBERS))


async def drawn(server: TelegramServer, message: str) -> Json:
    """Wait until a message that was sent through the bot shows a picture."""
    await server.until(lambda: "photo" in server.inline[message])
    return server.inline[message]


async def test_a_message_sent_through_the_bot_becomes_the_picture(
    telegram: TelegramServer, ada: Person
) -> None:
    message = await ada.sends_inline("a marble owl --seed 7")
    shown = await drawn(telegram, message)
    assert shown["caption"].startswith("a marble owl\n")
    assert "reply_markup" not in shown
    [private] = ada.chat.shown
    assert is_result(private)
    file = private["photo"][0]["file_id"]
    assert telegram.files[shown["photo"][0]["file_id"]] == telegram.files[file]


async def test_it_waits_with_a_button_that_cancels_it_for_who_sent_it_alone(
    telegram: TelegramServer, ada: Person, somebody: Callable[[], Person]
) -> None:
    message = await ada.sends_inline("an owl wait")
    assert telegram.inline[message]["text"] == "an owl wait\n\nIn line …"
    await telegram.until(lambda: ada.chat.shown)
    refusal = await telegram.answer_to(await somebody().presses_inline(message, "Cancel"))
    assert "only" in refusal.lower()
    await telegram.answer_to(await ada.presses_inline(message, "Cancel"))
    await telegram.until(lambda: telegram.inline[message] == {"text": "Cancelled."})


async def test_without_feedback_the_button_says_so_and_cancels_nothing_else(
    telegram: TelegramServer, ada: Person
) -> None:
    other = await ada.chat.words(await ada.says("a cat wait"), "1/")
    message = await ada.sends_inline("an owl", told=False)
    said = await telegram.answer_to(await ada.presses_inline(message, "Cancel"))
    assert "inline feedback" in said
    assert "Cancelled" not in text_of(other)
    await ada.presses(other, "Cancel")


async def test_who_never_started_the_bot_is_offered_to(
    telegram: TelegramServer, stranger: Person
) -> None:
    answer = await stranger.types_inline("an owl")
    assert answer["results"] == []
    assert answer["button"]["text"].startswith("Start a chat with me first")
    assert answer["button"]["start_parameter"] == "inline"


async def test_nothing_typed_yet_is_answered_by_what_to_type(ada: Person) -> None:
    answer = await ada.types_inline("  ")
    assert (answer["results"], answer["button"]["text"]) == ([], "Describe a picture")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("an owl --sted 3", "--sted"),
        ("gore", "not allowed"),
        ("U1", "'U1' names a button below Marble's pictures"),
    ],
)
async def test_what_may_not_be_drawn_is_not_offered(ada: Person, typed: str, says: str) -> None:
    answer = await ada.types_inline(typed)
    assert answer["results"] == []
    assert says in answer["button"]["text"]


async def test_a_failure_is_said_in_both_places(telegram: TelegramServer, ada: Person) -> None:
    message = await ada.sends_inline("an owl fail")
    await telegram.until(lambda: "cracked" in telegram.inline[message]["text"])
    await telegram.until(lambda: any("cracked" in text_of(each) for each in ada.chat.shown))


async def test_who_blocks_the_bot_before_the_picture_comes_is_told_in_the_other_chat(
    telegram: TelegramServer, ada: Person
) -> None:
    await ada.types_inline("a cat")  # the bot knows then that it may write
    ada.blocks_the_bot()
    message = await ada.sends_inline("an owl")
    await telegram.until(lambda: "Start a chat" in telegram.inline[message]["text"])


async def test_a_message_that_is_deleted_leaves_the_picture_in_private(
    telegram: TelegramServer, ada: Person, marble: Marble
) -> None:
    message = await ada.sends_inline("an owl wait")
    await telegram.until(lambda: ada.chat.shown)
    del telegram.inline[message]
    gate = marble.folder / "data" / "gate"
    await asyncio.to_thread(gate.touch)
    try:
        await telegram.until(lambda: any(map(is_result, ada.chat.shown)))
    finally:
        await asyncio.to_thread(gate.unlink)


async def test_an_edit_whose_answer_is_lost_is_made_again(
    telegram: TelegramServer, ada: Person
) -> None:
    telegram.faults.append(Fault(("editMessageMedia",), times=1, chat=ada.id, cut=True))
    message = await ada.sends_inline("an owl")
    await drawn(telegram, message)
    assert len([each for each in ada.chat.shown if is_result(each)]) == 1


async def test_a_picture_that_stands_in_private_already_is_shown_in_the_other_chat(
    telegram: TelegramServer, ada: Person
) -> None:
    lost = Fault(("editMessageMedia",), chat=ada.id, cut=True)
    same = replace(refuse("Bad Request: message is not modified", *lost.methods), chat=ada.id)
    telegram.faults += [lost, same]
    await drawn(telegram, await ada.sends_inline("an owl"))
    assert same.hits == 1
    assert [is_result(each) for each in ada.chat.shown] == [True]


async def test_its_number_tells_others_nothing_and_its_buttons_work_in_private(
    telegram: TelegramServer, ada: Person, somebody: Callable[[], Person]
) -> None:
    shown = await drawn(telegram, await ada.sends_inline("an owl"))
    number = shown["caption"].splitlines()[1].split()[0]
    bob = somebody()
    await bob.chat.words(await bob.says(f"/show {number}"), f"There is no picture {number} that")
    [private] = ada.chat.shown
    await ada.presses(private, "Same seed")
    await ada.chat.picture(private)


async def test_inline_mode_is_a_place_with_rules_of_its_own(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    async with Storage.open(marble.folder / "data") as storage:
        rule = {f"{PREFIX}blocked": read_rule("blocked", "weasel")}
        await storage.people.change_place_settings(INLINE, rule)
    assert (await ada.types_inline("a weasel"))["results"] == []
    await ada.chat.picture(await ada.says("a weasel"))


async def test_a_guest_is_answered_with_a_picture(telegram: TelegramServer, ada: Person) -> None:
    query = await ada.mentions("a marble owl --seed 7")
    message = await telegram.until(lambda: telegram.guests[query])
    assert (await drawn(telegram, message))["caption"].startswith("a marble owl\n")
    assert [is_result(each) for each in ada.chat.shown] == [True]


async def test_a_guest_who_never_started_the_bot_is_told_to(
    telegram: TelegramServer, stranger: Person
) -> None:
    query = await stranger.mentions("an owl")
    message = await telegram.until(lambda: telegram.guests[query])
    assert telegram.inline[message]["text"].startswith("Start a chat with me first")


async def test_a_guest_who_asks_for_what_there_is_not_is_told_so(
    telegram: TelegramServer, ada: Person
) -> None:
    query = await ada.mentions("an owl --sted 3")
    message = await telegram.until(lambda: telegram.guests[query])
    assert "--sted" in telegram.inline[message]["text"]
    assert ada.chat.shown == []


async def test_a_guest_who_answers_a_picture_is_told_that_the_words_alone_are_drawn(
    telegram: TelegramServer, ada: Person, somebody: Callable[[], Person]
) -> None:
    photo = await somebody().sends_photo(png(80, 80))
    query = await ada.mentions("make it bronze", answering=photo)
    message = await telegram.until(lambda: telegram.guests[query])
    await drawn(telegram, message)
    told = "Where I am no member I draw the words alone"
    await telegram.until(lambda: any(told in text_of(each) for each in ada.chat.shown))


async def test_a_guest_whose_query_cannot_be_answered_hears_in_private_why_nothing_is_drawn(
    telegram: TelegramServer, ada: Person
) -> None:
    telegram.faults.append(refuse("Bad Request: query is too old", "answerGuestQuery"))
    await ada.mentions("an owl --sted 3")
    await telegram.until(lambda: any("--sted" in text_of(each) for each in ada.chat.shown))
