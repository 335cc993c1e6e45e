"""kill -9 at every point that matters: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bots.telegram.rate_limits import GROUP
from tests.bots.presentation.test_presentation import png
from tests.describers import make_describer
from tests.fakes.process import Marble
from tests.fakes.telegram.people import Person, group, is_result, labels, person, text_of
from tests.fakes.telegram.server import TelegramServer

MESSAGES = 8
POINTS = ("fetched", "kept", "committed", "placed", "edited", "rendered", "sent", "recorded")
WAITING = 4
IN_GROUP = GROUP[0] + 4  # more than Telegram takes in a minute
# Later, a placeholder may stand that is not recorded: its picture comes with another one.
BEFORE_ANY_MESSAGE = ("fetched", "kept", "committed")


def pictures(server: TelegramServer) -> Counter[str]:
    """Count the results by what they show."""
    return Counter(text_of(m).splitlines()[0] for m in server.of_bot() if is_result(m))


def told(server: TelegramServer) -> set[int]:
    """Return the chats that have a message or a draft."""
    return {chat for chat, _ in server.drafts} | {each["chat"]["id"] for each in server.of_bot()}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.slow
async def test_a_kill_there_loses_nothing_and_doubles_nothing(
    telegram: TelegramServer, tmp_path: Path, point: str
) -> None:
    marble = Marble(tmp_path, telegram.environment)
    people = [person(telegram, number) for number in range(MESSAGES)]
    gate = tmp_path / "data" / "gate"
    gate.parent.mkdir(mode=0o700)
    if point not in ("placed", "edited"):  # no placeholder where the picture was quicker
        gate.touch()
    for number, somebody in enumerate(people):
        how = "slowly --count 2 --size 64" if point == "edited" else "wait"
        await somebody.says(f"picture {number} {how}")
    await marble.start(MARBLE_EXECUTOR=f"tests.fakes.deadly:{point}")
    assert await marble.ended() < 0
    gate.touch()
    await marble.start()
    try:
        await telegram.until(lambda: len(pictures(telegram)) == MESSAGES)
        # What would come twice has come before the answer to this.
        last = person(telegram, MESSAGES)
        await last.chat.picture(await last.says("the end"))
    finally:
        await marble.kill()
    assert set(pictures(telegram).values()) == {1}
    if point in BEFORE_ANY_MESSAGE:
        assert len(telegram.of_bot()) == MESSAGES + 1


@pytest.mark.parametrize("point", ["drafted", "rendered", "edited", "sent", "recorded"])
@pytest.mark.slow
async def test_a_kill_while_drafts_show_who_waits_loses_and_doubles_nothing(
    telegram: TelegramServer, tmp_path: Path, point: str
) -> None:
    telegram.newer = True
    marble = Marble(tmp_path, telegram.environment)
    await marble.start(MARBLE_EXECUTOR=f"tests.fakes.deadly:{point}", TESTS_SLOTS="1")
    await telegram.until(lambda: telegram.calls_of("getWebhookInfo"))
    for number in range(WAITING):
        await person(telegram, number).says(f"picture {number} wait")
    await telegram.until(lambda: telegram.drafts)
    if point != "drafted":  # where Marble is slow to say who waits, some have a message instead
        await telegram.until(lambda: len(told(telegram)) == WAITING)
    await asyncio.to_thread((tmp_path / "data" / "gate").touch)
    assert await marble.ended() < 0
    await marble.start()
    try:
        await telegram.until(lambda: len(pictures(telegram)) == WAITING)
        last = person(telegram, WAITING)
        await last.chat.picture(await last.says("the end"))
    finally:
        await marble.kill()
    assert set(pictures(telegram).values()) == {1}


@pytest.mark.slow
async def test_buttons_reactions_and_groups_survive_a_kill(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    marble = Marble(tmp_path, telegram.environment)
    await marble.start()
    statues = group(telegram)
    statues.promote()
    first = await statues.picture(await ada.says("/imagine a cat --seed 3", to=statues))
    await marble.kill()
    await ada.presses(first, "Same seed")
    await ada.reacts(first, "🔥")
    said = await ada.says("a dog", to=statues, answering=first)
    await marble.start(MARBLE_EXECUTOR="tests.fakes.deadly:committed")
    assert await marble.ended() < 0
    await marble.start()
    try:
        await statues.results(first, 2)
        assert text_of(await statues.picture(said)).startswith("a dog")
    finally:
        await marble.kill()
    assert len([m for m in statues.shown if is_result(m)]) == 4


@pytest.mark.parametrize("point", ["edited", "linked", "marked"])
@pytest.mark.slow
async def test_a_press_behind_which_marble_is_killed_does_what_it_does_once(
    telegram: TelegramServer, tmp_path: Path, ada: Person, point: str
) -> None:
    marble = Marble(tmp_path, telegram.environment)
    await marble.start()
    grid = await ada.chat.picture(await ada.says("owls --count 2 --size 64"))
    await ada.chat.words(await ada.says("/queue"), "Nothing is running")  # its delivery is recorded
    await marble.kill()
    query = await ada.presses(grid, "Favourite" if point == "marked" else "2")
    await marble.start(MARBLE_EXECUTOR=f"tests.fakes.deadly:{point}")
    assert await marble.ended() < 0
    await marble.start()
    try:
        await telegram.answer_to(query)
        if point == "marked":
            listed = await ada.chat.words(await ada.says("/history favourites"), "avourites")
            assert text_of(listed).count("owls") == 2
        else:
            again: dict[str, Any] = {"text": "\n "}  # it is recorded a moment after it is shown
            while not text_of(again).splitlines()[1].endswith("from 1.2"):
                again = await ada.chat.picture(await ada.says("--seed 1", answering=grid))
            assert "Everything" in labels(grid)
        assert next(m for m in ada.chat.shown if is_result(m)) is grid
    finally:
        await marble.kill()


@pytest.mark.slow
async def test_random_kills_lose_nothing_and_double_nothing(
    telegram: TelegramServer, tmp_path: Path
) -> None:
    telegram.limits = False
    chance = random.Random(7)
    marble = Marble(tmp_path, telegram.environment)
    try:
        for start in range(4):
            for number in range(MESSAGES):
                somebody = person(telegram, start * MESSAGES + number)
                await somebody.says(f"picture {somebody.id}")
            # Each message takes two calls at least, so that many are always made.
            calls = len(telegram.calls) + chance.randrange(1, 2 * MESSAGES)
            await marble.start()
            await telegram.until(lambda calls=calls: len(telegram.calls) >= calls)  # type: ignore[misc]
            await marble.kill()
        await marble.start()
        await telegram.until(lambda: len(pictures(telegram)) == 4 * MESSAGES)
        last = person(telegram, 99)
        await last.chat.picture(await last.says("the end"))
    finally:
        await marble.kill()
    assert set(pictures(telegram).values()) == {1}


async def killed_once(
    telegram: TelegramServer,
    folder: Path,
    ada: Person,
    point: str,
    true: Callable[[], object],
    **more: str,
) -> None:
    """Let Marble handle what waits and die at a point, and then handle the rest till it is true.

    more: its settings.
    """
    marble = Marble(folder, {**telegram.environment, **more})
    gate = folder / "data" / "gate"
    await asyncio.to_thread(gate.parent.mkdir, mode=0o700, exist_ok=True)
    await asyncio.to_thread(gate.touch)
    await marble.start(MARBLE_EXECUTOR=f"tests.fakes.deadly:{point}")
    assert await marble.ended() < 0
    await marble.start()
    try:
        await telegram.until(true)
        last = person(telegram, MESSAGES)  # what would come twice has come before this
        await last.chat.picture(await last.says("the end"))
    finally:
        await marble.kill()


@pytest.mark.parametrize(
    "point", ["kept", "committed", "linked", "placed", "rendered", "edited", "sent", "recorded"]
)
@pytest.mark.slow
async def test_a_picture_for_another_chat_comes_once_to_both_at_a_kill_there(
    telegram: TelegramServer, tmp_path: Path, ada: Person, point: str
) -> None:
    waiting = {"inline_keyboard": [[{"text": "Cancel", "callback_data": "cancel"}]]}
    message = telegram.send_inline(
        {"input_message_content": {"message_text": "waits"}, "reply_markup": waiting}
    )
    chosen = {"result_id": "picture", "from": ada.user, "query": "an owl"}
    await telegram.add_update("chosen_inline_result", {**chosen, "inline_message_id": message})
    shown = telegram.inline[message]
    await killed_once(telegram, tmp_path, ada, point, lambda: "photo" in shown)
    assert len([each for each in ada.chat.shown if is_result(each)]) == 1


@pytest.mark.parametrize("point", ["kept", "answered", "committed", "linked", "edited", "sent"])
@pytest.mark.slow
async def test_a_guest_gets_one_picture_at_a_kill_there(
    telegram: TelegramServer, tmp_path: Path, ada: Person, point: str
) -> None:
    await ada.mentions("an owl")

    def results() -> list[object]:
        return [each for each in ada.chat.shown if is_result(each)]

    await killed_once(telegram, tmp_path, ada, point, results)
    assert len(results()) == 1
    assert len(telegram.inline) == 1


@pytest.mark.parametrize("point", ["kept", "committed", "placed", "rendered", "sent", "recorded"])
@pytest.mark.slow
async def test_each_choice_in_braces_comes_once_at_a_kill_there(
    telegram: TelegramServer, tmp_path: Path, ada: Person, point: str
) -> None:
    await ada.says("a {red, blue} cat")
    await killed_once(telegram, tmp_path, ada, point, lambda: len(pictures(telegram)) == 2)
    assert pictures(telegram) == {"a red cat": 1, "a blue cat": 1, "the end": 1}


@pytest.mark.parametrize("point", ["kept", "committed", "rendered", "sent"])
@pytest.mark.slow
async def test_an_album_is_blended_once_at_a_kill_there(
    telegram: TelegramServer, tmp_path: Path, ada: Person, point: str
) -> None:
    await ada.sends_photo(png(64, 64), "/blend a hat", album="9")
    await ada.sends_photo(png(80, 80), album="9")
    await killed_once(telegram, tmp_path, ada, point, lambda: pictures(telegram))
    assert pictures(telegram) == {"a hat": 1, "the end": 1}


@pytest.mark.parametrize("point", ["kept", "said"])
@pytest.mark.slow
async def test_a_picture_is_described_once_at_a_kill_there(
    telegram: TelegramServer, tmp_path: Path, ada: Person, point: str
) -> None:
    model = str(await asyncio.to_thread(make_describer, tmp_path / "blip"))
    photo = await ada.sends_photo(png(80, 80), "/describe")

    def described() -> list[Any]:
        return [each for each in ada.chat.shown if text_of(each).startswith("In words")]

    await killed_once(telegram, tmp_path, ada, point, described, MARBLE_DESCRIBE_MODEL=model)
    assert [each["reply_to_message"]["message_id"] for each in described()] == [photo["message_id"]]


@pytest.mark.parametrize("point", ["kept", "said", "linked"])
@pytest.mark.slow
async def test_a_question_is_asked_once_and_its_answer_is_taken_at_a_kill_there(
    telegram: TelegramServer, tmp_path: Path, ada: Person, point: str
) -> None:
    marble = Marble(tmp_path, telegram.environment)
    await marble.start()
    owl = await ada.chat.picture(await ada.says("an owl --size 64"))
    await ada.chat.words(await ada.says("/queue"), "Nothing is running")  # its delivery is recorded
    await marble.kill()
    await ada.presses(owl, "Edit")

    def questions() -> list[Any]:
        return [each for each in ada.chat.shown if "What should be changed" in text_of(each)]

    await killed_once(telegram, tmp_path, ada, point, questions)
    [question] = questions()
    await marble.start()
    try:
        changed = await ada.chat.picture(await ada.says("bronze", answering=question))
        assert text_of(changed).splitlines()[1].endswith("from 1.1")
    finally:
        await marble.kill()


@pytest.mark.slow
async def test_a_kill_while_messages_wait_for_telegrams_limits_loses_and_doubles_nothing(
    telegram: TelegramServer, tmp_path: Path
) -> None:
    statues = group(telegram)
    people = [person(telegram, number) for number in range(IN_GROUP)]
    for number, somebody in enumerate(people):
        await somebody.says(f"/imagine picture {number}", to=statues)
    marble = Marble(tmp_path, telegram.environment)
    await marble.start()
    counted = ("sendMessage", "editMessageText", "editMessageMedia")
    await telegram.until(lambda: len(telegram.calls_of(*counted)) >= GROUP[0])
    await marble.kill()
    telegram.limits = False  # which start anew only after a minute
    await marble.start()
    try:
        await telegram.until(lambda: len(pictures(telegram)) == IN_GROUP)
        last = person(telegram, IN_GROUP)
        await last.chat.picture(await last.says("the end"))
    finally:
        await marble.kill()
    assert set(pictures(telegram).values()) == {1}
