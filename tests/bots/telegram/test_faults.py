"""Everything that goes wrong between Marble and Telegram, one test a fault.

Most spoil the calls of one chat, and share a process; the others have one of their own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from bots.worker.delivery import AT_ONCE
from tests.bots.presentation.test_presentation import png
from tests.bots.telegram.conftest import TOKEN_SECRET, a_marble, a_server
from tests.fakes.process import Marble
from tests.fakes.telegram.faults import Fault, flood, lose_answer, page, refuse
from tests.fakes.telegram.people import Person, group, is_result, labels, person, text_of
from tests.fakes.telegram.server import TelegramServer
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")
NUMBERS = itertools.count(1)
EDITS = "editMessageMedia"
Json = dict[str, Any]
LONG = 900  # seconds, more than any test takes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def telegram() -> AsyncIterator[TelegramServer]:
    async with a_server() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def marble(
    telegram: TelegramServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Marble]:
    folder = tmp_path_factory.mktemp("faults")
    async with a_marble(telegram, folder, MARBLE_RUNNING_PER_PERSON="64") as marble:
        yield marble


@pytest.fixture
def ada(telegram: TelegramServer, marble: Marble) -> Person:
    return person(telegram, next(NUMBERS))


@pytest.fixture
def bob(telegram: TelegramServer, marble: Marble) -> Person:
    return person(telegram, next(NUMBERS))


@pytest.fixture
def spoil(telegram: TelegramServer, ada: Person) -> Callable[[Fault], Fault]:
    """Return a function that spoils the next calls about Ada's chat."""

    def begin(fault: Fault) -> Fault:
        fault = replace(fault, chat=ada.id)
        telegram.faults.append(fault)
        return fault

    return begin


@pytest.fixture
def gate(marble: Marble) -> Iterator[Path]:
    """Return the file that lets what waits be drawn; it is gone after the test."""
    file = marble.folder / "data" / "gate"
    yield file
    file.unlink(missing_ok=True)


Spoil = Callable[[Fault], Fault]


async def asks(somebody: Person, gate: Path, fault: Fault, prompt: str = "a cat") -> Json:
    """Ask for a picture that is drawn once its placeholder stands or is spoilt, no sooner."""
    said = await somebody.says(f"{prompt} wait")
    await somebody.server.until(lambda: fault.hits or somebody.chat.shown)
    await asyncio.to_thread(gate.touch)
    return said


def results(somebody: Person) -> int:
    return sum(is_result(message) for message in somebody.chat.shown)


@pytest.mark.parametrize("method", ["sendMessage", EDITS])
async def test_a_flood_wait_holds_up_its_own_chat_only(
    ada: Person, bob: Person, spoil: Spoil, gate: Path, method: str
) -> None:
    fault = spoil(flood(ada.id, LONG, method))
    await asks(ada, gate, fault)
    await ada.server.until(lambda: fault.hits)
    await bob.chat.picture(await bob.says("a dog"))
    assert results(ada) == 0


@pytest.mark.parametrize("method", ["sendMessage", EDITS])
async def test_what_a_flood_wait_held_up_comes_once(
    ada: Person, spoil: Spoil, gate: Path, method: str
) -> None:
    fault = spoil(flood(ada.id, 2, method))
    await ada.chat.picture(await asks(ada, gate, fault))
    assert fault.hits == 1
    assert (results(ada), len(ada.chat.shown)) == (1, 1)


async def test_many_pictures_that_wait_for_groups_leave_room_for_others(
    ada: Person, bob: Person, telegram: TelegramServer, gate: Path
) -> None:
    crowded = [group(telegram, next(NUMBERS)) for _ in range(2)]
    floods = [flood(each.id, LONG, EDITS) for each in crowded]
    telegram.faults.extend(floods)
    for number in range(AT_ONCE + 2):  # more than may be delivered at once
        await ada.says(f"/imagine cat {number} wait", to=crowded[number % 2])
    await telegram.until(lambda: sum(len(each.shown) for each in crowded) == AT_ONCE + 2)
    await asyncio.to_thread(gate.touch)
    await telegram.until(lambda: all(each.hits for each in floods))
    for number in range(2):
        await bob.chat.picture(await bob.says(f"dog {number}"))
    # What was on its way with the first one may have arrived; the rest waits.
    shown = [is_result(message) for each in crowded for message in each.shown]
    assert not all(shown)


async def test_an_edit_whose_answer_is_lost_is_made_again_and_leaves_one_picture(
    ada: Person, spoil: Spoil, gate: Path
) -> None:
    fault = spoil(lose_answer(EDITS, times=2))
    said = await asks(ada, gate, fault)
    await ada.server.until(lambda: fault.hits == 2)
    await ada.chat.picture(said)
    assert len(ada.chat.shown) == 1


async def test_a_placeholder_whose_answer_is_lost_is_not_sent_again(
    ada: Person, spoil: Spoil, gate: Path
) -> None:
    fault = spoil(lose_answer("sendMessage"))
    picture = await ada.chat.picture(await asks(ada, gate, fault))
    assert [text_of(each) for each in ada.chat.shown] == ["In line …", text_of(picture)]


async def test_what_is_not_modified_is_delivered(
    ada: Person, bob: Person, spoil: Spoil, telegram: TelegramServer, gate: Path
) -> None:
    fault = spoil(refuse("Bad Request: message is not modified: exactly the same", EDITS))
    await asks(ada, gate, fault)
    await telegram.until(lambda: fault.hits)
    await bob.chat.picture(await bob.says("a dog"))
    assert len(ada.chat.shown) == 1
    tried = [call for call in telegram.calls if call.values.get("chat_id") == ada.id]
    assert [call.method for call in tried].count(EDITS) == 1


async def test_a_picture_whose_placeholder_was_deleted_comes_as_a_message_of_its_own(
    ada: Person, gate: Path
) -> None:
    said = await ada.says("a cat wait")
    placeholder = await ada.chat.words(said, "1/")
    del ada.server.messages[ada.id, placeholder["message_id"]]
    await asyncio.to_thread(gate.touch)
    await ada.chat.picture(said)
    assert len(ada.chat.shown) == 1


@pytest.mark.parametrize("says", ["PHOTO_INVALID_DIMENSIONS", "IMAGE_PROCESS_FAILED"])
async def test_a_photo_that_is_refused_comes_as_a_document(
    ada: Person, spoil: Spoil, gate: Path, says: str
) -> None:
    fault = spoil(refuse(f"Bad Request: {says}", EDITS))
    result = await ada.chat.picture(await asks(ada, gate, fault))
    assert "document" in result
    assert "Same seed" in labels(result)
    assert len(ada.chat.shown) == 1


async def test_a_button_that_is_answered_too_late_does_its_work(
    ada: Person, telegram: TelegramServer
) -> None:
    first = await ada.chat.picture(await ada.says("a cat"))
    says = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    telegram.faults.append(refuse(says, "answerCallbackQuery"))
    await ada.presses(first, "Same seed")
    await ada.chat.picture(first)


async def test_a_slow_answer_holds_up_nobody_else(
    ada: Person, bob: Person, spoil: Spoil, telegram: TelegramServer, gate: Path
) -> None:
    go_on = asyncio.Event()
    fault = spoil(Fault(("sendMessage", EDITS), times=2, before=go_on.wait))
    said = await asks(ada, gate, fault)
    first = await bob.chat.picture(await bob.says("a dog"))
    query = await bob.presses(first, "Same seed")
    await telegram.answer_to(query)
    await bob.chat.picture(first)
    assert ada.chat.shown == []
    go_on.set()
    await ada.chat.picture(said)


async def test_a_server_that_fails_is_asked_again(ada: Person, spoil: Spoil, gate: Path) -> None:
    fault = spoil(refuse("Internal Server Error", EDITS, status=500, times=2))
    await ada.chat.picture(await asks(ada, gate, fault))
    assert fault.hits == 2
    assert len(ada.chat.shown) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 407, 413, 503])
async def test_a_page_of_a_proxy_is_no_verdict(
    ada: Person, spoil: Spoil, gate: Path, marble: Marble, status: int
) -> None:
    fault = spoil(page(EDITS, "sendPhoto", status=status, times=2))
    await ada.chat.picture(await asks(ada, gate, fault))
    assert fault.hits == 2
    assert len(ada.chat.shown) == 1
    assert "refuses Marble" not in marble.log


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_page_instead_of_a_placeholder_or_an_answer_is_outlasted(
    ada: Person, spoil: Spoil, gate: Path, status: int
) -> None:
    spoil(page("sendMessage", status=status, times=2))
    said = await ada.says("a cat wait")
    await ada.chat.words(said, "1/")
    await asyncio.to_thread(gate.touch)
    await ada.chat.picture(said)
    spoil(page("sendMessage", status=status, times=2))
    await ada.chat.words(await ada.says("/stats"), "You")


async def test_an_ordinary_answer_waits_out_a_flood_wait(ada: Person, spoil: Spoil) -> None:
    fault = spoil(flood(ada.id, 2, "sendMessage"))
    await ada.chat.words(await ada.says("/stats"), "You")
    assert fault.hits == 1


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_page_while_asking_for_updates_is_outlasted(
    ada: Person, telegram: TelegramServer, marble: Marble, status: int
) -> None:
    fault = page("getUpdates", status=status, times=2)
    telegram.faults.append(fault)
    telegram.polls += 1  # ends the poll that is under way
    telegram.change()
    await ada.chat.picture(await ada.says("a cat"))
    assert fault.hits == 2
    assert "refuses Marble" not in marble.log


async def test_a_photo_that_cannot_be_fetched_is_answered(ada: Person, spoil: Spoil) -> None:
    ada.server.faults.append(refuse("Bad Request: file is temporarily unavailable", "getFile"))
    said = await ada.sends_photo(png(), "a cat")
    await ada.chat.words(said, "could not be downloaded")


async def test_a_picture_that_is_not_taken_by_any_way_leaves_a_sentence(
    ada: Person, spoil: Spoil, gate: Path
) -> None:
    said = await ada.says("a cat wait")
    await ada.chat.words(said, "1/")
    for method in (EDITS, "sendPhoto"):
        spoil(refuse("Bad Request: MEDIA_EMPTY", method))
    await asyncio.to_thread(gate.touch)
    sentence = await ada.chat.words(said, "drawn and stored")
    assert ada.chat.shown == [sentence]
    number = text_of(sentence).partition("/show ")[2].rstrip(".")
    await ada.chat.picture(await ada.says(f"/show {number}"))


async def test_where_not_even_that_is_edited_words_alone_arrive(
    ada: Person, spoil: Spoil, gate: Path
) -> None:
    said = await ada.says("a cat wait")
    await ada.chat.words(said, "1/")
    for method in (EDITS, "sendPhoto", "editMessageText"):
        spoil(refuse("Bad Request: MESSAGE_ODD", method))
    await asyncio.to_thread(gate.touch)
    await ada.server.until(lambda: [m for m in ada.chat.shown if "drawn and" in text_of(m)])


@pytest.mark.parametrize("refusal", ["message thread not found", "TOPIC_CLOSED", "TOPIC_DELETED"])
async def test_a_topic_that_is_gone_sends_answers_to_its_group(
    ada: Person, telegram: TelegramServer, gate: Path, refusal: str
) -> None:
    statues = group(telegram, next(NUMBERS))
    topic = statues.topic(7)
    said = await ada.says("/imagine a cat wait", to=topic)
    placeholder = await topic.words(said, "1/")
    telegram.closed_topics[statues.id, 7] = refusal
    del telegram.messages[statues.id, placeholder["message_id"]]
    await asyncio.to_thread(gate.touch)
    await telegram.until(lambda: any(is_result(m) for m in statues.shown))
    other = await ada.says("/imagine a dog", to=topic)
    await telegram.until(lambda: sum(is_result(m) for m in statues.shown) == 2)
    await ada.says("/stats", to=topic)
    await telegram.until(lambda: [m for m in statues.shown if "Here" in text_of(m)])
    assert other


async def test_an_answered_message_that_is_gone_is_left_out(
    ada: Person, spoil: Spoil, gate: Path
) -> None:
    spoil(refuse("Bad Request: message to be replied not found", "sendMessage"))
    await ada.says("/stats")
    await ada.server.until(lambda: [m for m in ada.chat.shown if "You" in text_of(m)])


async def test_a_chat_that_is_gone_is_given_up(
    ada: Person, bob: Person, spoil: Spoil, marble: Marble, gate: Path
) -> None:
    fault = spoil(refuse("Forbidden: bot was kicked from the group chat", EDITS, status=403))
    await asks(ada, gate, fault)
    await ada.server.until(lambda: fault.hits)
    await bob.chat.picture(await bob.says("a dog"))
    await marble.says("cannot be delivered: edit: Forbidden: bot was kicked")


async def test_an_update_that_cannot_be_read_is_left_out(
    ada: Person, telegram: TelegramServer, marble: Marble
) -> None:
    broken = await telegram.add_update("message", {"message_id": "no message at all"})
    await ada.chat.picture(await ada.says("a cat"))
    await marble.says(f"update {broken} is skipped")


async def test_another_program_with_the_same_token_is_told_of_and_outlasted(
    ada: Person, telegram: TelegramServer, marble: Marble
) -> None:
    telegram.polls += 1  # it has asked for updates: whoever waits for some is sent away
    telegram.change()
    await telegram.until(lambda: any(call.status == 409 for call in telegram.calls))
    await ada.chat.picture(await ada.says("a cat"))
    await marble.says("another program asks Telegram for this bot's updates")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def test_a_page_at_the_start_is_no_verdict_on_the_token(folder: Path) -> None:
    async with a_server() as server:
        pages = [page("getMe", status=status) for status in (401, 403, 404)]
        server.faults.extend(pages)
        async with a_marble(server, folder) as marble:
            ada = person(server)
            await ada.chat.picture(await ada.says("a cat"))
            assert all(each.hits for each in pages)
            assert "refuses Marble" not in marble.log


async def test_one_401_that_is_not_said_again_stops_nothing(folder: Path) -> None:
    async with a_server() as server, a_marble(server, folder) as marble:
        ada = person(server)
        server.faults.append(refuse("Unauthorized", "getUpdates", status=401))
        server.faults.append(refuse("Unauthorized", EDITS, status=401))
        server.polls += 1
        server.change()
        await ada.chat.picture(await ada.says("a cat"))
        assert "refuses Marble" not in marble.log


async def test_a_revoked_token_stops_telegram_alone_and_loudly_until_it_works(
    folder: Path,
) -> None:
    async with a_server() as server, a_marble(server, folder) as marble:
        ada = person(server)
        await ada.chat.picture(await ada.says("a cat"))
        kept, server.token = server.token, "123456789:another-another-another-another"
        server.polls += 1
        server.change()
        await marble.says("telegram refuses Marble")
        said = await ada.says("a dog")
        refused = [call for call in server.calls if call.status == 401]
        assert len(refused) <= 3
        server.token = kept
        await ada.chat.picture(said)
        code = await marble.stop()
    assert code == 0
    assert marble.log.count("telegram refuses Marble") == 1
    assert "put the one that @BotFather shows into MARBLE_TELEGRAM_TOKEN" in marble.log


async def test_results_outlast_a_network_that_is_gone(folder: Path) -> None:
    async with a_server() as server, a_marble(server, folder) as marble:
        ada, bob = person(server, 1), person(server, 2)
        said = await ada.says("a cat wait")
        placeholder = await ada.chat.words(said, "1/")
        await server.stop()
        await asyncio.to_thread((folder / "data" / "gate").touch)
        other = await bob.says("a dog")
        await marble.says("Telegram cannot be reached")
        await server.start()
        assert await ada.chat.picture(said) is placeholder
        await bob.chat.picture(other)
        assert (len(ada.chat.shown), len(bob.chat.shown)) == (1, 1)


async def test_told_to_stop_it_takes_nothing_in_and_sends_what_is_ready(folder: Path) -> None:
    async with a_server() as server, a_marble(server, folder) as marble:
        ada = person(server)
        said = await ada.says("a cat wait")
        placeholder = await ada.chat.words(said, "1/")
        stopping = asyncio.create_task(marble.stop())
        await server.until(lambda: server.poll_cut)
        late = await ada.says("a dog")
        await asyncio.to_thread((folder / "data" / "gate").touch)
        assert await stopping == 0
        assert is_result(placeholder)
        assert said
        await marble.start()
        await ada.chat.picture(late)
        assert len(ada.chat.shown) == 2


async def test_no_metric_has_the_token_or_a_person_in_it(folder: Path) -> None:
    async with (
        a_server() as server,
        a_marble(server, folder, MARBLE_METRICS_PORT=(port := str(free_port()))),
    ):
        ada = person(server)
        fault = flood(ada.id, 1, EDITS)
        server.faults.append(fault)
        await ada.chat.picture(await asks(ada, folder / "data" / "gate", fault, "a secret cat"))
        async with (
            ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            metrics = await answer.text()
    assert "marble_rate_limit_waits_total 1.0" in metrics
    for secret in (TOKEN_SECRET, str(ada.id), "secret cat"):
        assert secret not in metrics
