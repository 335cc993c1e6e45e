from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from telegram import Message, Update, User

from bots.chat.actions import Once
from bots.chat.errors import excuse
from bots.chat.places import Places
from bots.telegram.commands import COMMANDS
from bots.telegram.features import Features
from bots.telegram.handler import Handler, run_command
from bots.telegram.inline import Acquaintances
from bots.telegram.messages import Incoming, ParsedMessage, parse_message, read_update
from bots.telegram.request import Request
from bots.telegram.supergroups import Supergroups
from bots.telegram.updates import Updates
from bots.texts import LANGUAGES, words_of
from engine.errors import UserError
from storage import DatabaseFault, InboxEntry
from storage.errors import DatabaseBusy, DiskFull, DiskTrouble, ReadOnly, Unreachable

NOW = 1_800_000_000
ADA: Any = {"id": 7, "is_bot": False, "first_name": "Ada"}
PRIVATE: Any = {"id": 7, "type": "private", "first_name": "Ada"}
SAID: Any = {
    "update_id": 1,
    "message": {"message_id": 1, "date": NOW, "chat": PRIVATE, "from": ADA, "text": "a cat"},
}
PHOTO: Any = {"file_unique_id": "1", "width": 8, "height": 8}
PRESSED: Any = {
    "update_id": 2,
    "callback_query": {"id": "3", "from": ADA, "chat_instance": "1", "data": "again:1"},
}


class Locked:
    """Be a storage in which places cannot be written, and a bot that notes what is said."""

    def __init__(self, fault: type[DatabaseFault] = DatabaseBusy) -> None:
        self.fault = fault
        self.bot = User(1, "Marble", True)
        self.said: list[str] = []
        self.done_with: list[str] = []

    async def add_place(self, place: str, parent: str) -> None:
        raise self.fault("marble.db")

    async def done(self, letter: str) -> None:
        self.done_with.append(letter)

    async def send_message(self, chat: int, text: str, **more: Any) -> None:
        self.said.append(text)

    async def answer_callback_query(self, query: str, text: str) -> None:
        self.said.append(text)


def handler_of(locked: Any, tasks: list[Any]) -> Handler:
    app: Any = SimpleNamespace(storage=SimpleNamespace(people=locked, inbox=locked))
    groups, places = Supergroups(locked), Places(locked)
    return Handler(
        *(app, locked, locked, locked, lambda task, name: tasks.append(task)),
        *({}, groups, places),
        *(Features(), Once(locked), Acquaintances(locked)),
    )


async def hear(text: str, fault: type[DatabaseFault] = DatabaseBusy) -> Any:
    """Return the chat in whose topic something was said while the database is locked."""
    locked: Any = Locked(fault)
    tasks: list[Any] = []
    handler = handler_of(locked, tasks)
    chat = {"id": -5, "type": "supergroup", "title": "Statues", "is_forum": True}
    ada = {"id": 7, "is_bot": False, "first_name": "Ada"}
    message = {"message_id": 1, "date": NOW, "chat": chat, "from": ada, "text": text}
    message |= {"message_thread_id": 3, "is_topic_message": True}
    body = {"update_id": 1, "message": message}
    handler.resume(
        InboxEntry(id="telegram:1/1", adapter="telegram", person="telegram:7", body=body)
    )
    await tasks.pop()
    assert locked.done_with == ["telegram:1/1"]
    return locked


async def test_nothing_is_done_in_a_topic_whose_group_is_not_known() -> None:
    assert (await hear("/imagine a cat")).said == [words_of("en").busy]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_people_hear_what_keeps_the_database_from_keeping_anything(language: str) -> None:
    words = words_of(language)
    assert excuse(DatabaseBusy("marble.db"), words) == words.busy
    assert excuse(DiskFull("marble.db"), words) == words.disk_full
    for fault in (Unreachable, DiskTrouble, ReadOnly):
        assert excuse(fault("marble.db"), words) == words.database_out
    if language == "en":
        assert (await hear("/imagine a cat", DiskFull)).said == [words.disk_full]


class Inbox:
    """Take letters once there is room."""

    def __init__(self, *faults: DatabaseFault) -> None:
        self.faults = list(faults)

    async def add(self, letters: Sequence[InboxEntry]) -> Sequence[InboxEntry]:
        if self.faults:
            raise self.faults.pop(0)
        return letters


@pytest.mark.parametrize("fault", [DiskFull, DatabaseBusy])
async def test_who_waits_for_room_on_the_disk_hears_so_once_and_is_heard_then(
    monkeypatch: pytest.MonkeyPatch, fault: type[DatabaseFault]
) -> None:
    monkeypatch.setattr("bots.telegram.updates.RETRY", 0)
    locked: Any = Locked()
    tasks: list[Any] = []
    handler, kept = handler_of(locked, tasks), list[Incoming]()
    inbox: Any = Inbox(fault("marble.db"), fault("marble.db"))
    updates = Updates(locked, inbox, Features(), kept.append, handler.put_off)
    await updates.take([Update.de_json(each, locked.bot) for each in (SAID, PRESSED)])
    assert [each.update.update_id for each in kept] == [1, 2]
    for task in tasks:
        await task
    why = words_of("en").put_off.format(why=words_of("en").disk_full)
    assert locked.said == ([why, why] if fault is DiskFull else [])


def photo(handler: Handler, **message: Any) -> None:
    """Hand over a photo of Ada's."""
    body = {**SAID["message"], "photo": [{**PHOTO, "file_id": "1"}], **message}
    del body["text"]
    update = Update.de_json({"update_id": 1, "message": body}, None)
    incoming = read_update(update, User.de_json(ADA, None))
    assert incoming
    handler.start(incoming)


async def test_an_album_is_answered_once_and_not_where_it_has_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bots.telegram.handler.SETTLED", 0)
    locked: Any = Locked()
    tasks: list[Any] = []
    handler = handler_of(locked, tasks)
    photo(handler, media_group_id="9")
    photo(handler, media_group_id="9", message_id=2)
    photo(handler, media_group_id="10")
    photo(handler, media_group_id="10", message_id=4, caption="as jade")
    tasks.pop().close()
    while tasks:
        await tasks.pop(0)
    assert locked.said == [words_of("en").album]
    for number in range(2_000):
        photo(handler, media_group_id=f"later {number}", caption="a")
        tasks.pop().close()
    photo(handler, media_group_id="9")
    await tasks.pop()
    assert locked.said == 2 * [words_of("en").album], "only so many are remembered"


async def test_an_album_whose_words_come_after_a_picture_of_it_is_answered_by_these_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    locked: Any = Locked()
    tasks: list[Any] = []
    handler = handler_of(locked, tasks)

    async def settle(seconds: float) -> None:
        if len(tasks) == 1:  # the words come in a later batch of updates
            photo(handler, media_group_id="9", message_id=2, caption="/blend a hat")

    monkeypatch.setattr("bots.telegram.handler.asyncio.sleep", settle)
    photo(handler, media_group_id="9")
    [wordless] = tasks
    await wordless
    tasks.pop().close()
    assert locked.said == []


async def test_an_album_whose_job_is_there_is_not_read_again() -> None:
    known, shown = object(), list[object]()

    async def by_event(event: str) -> object:
        return known if event == "telegram:1/1" else None

    async def announce(job: object) -> None:
        shown.append(job)

    jobs = SimpleNamespace(by_event=by_event)
    request: Any = SimpleNamespace(
        app=SimpleNamespace(storage=SimpleNamespace(jobs=jobs)),
        asker=SimpleNamespace(event="telegram:1/1"),
        announce=announce,
    )
    caption = {**SAID["message"], "photo": [{**PHOTO, "file_id": "1"}], "media_group_id": "9"}
    del caption["text"]
    message = Message.de_json({**caption, "caption": "/blend a hat"}, None)
    parsed = parse_message(message, User(1, "Marble", True))
    assert parsed
    assert await run_command(request, parsed) is None
    assert shown == [known]


async def test_what_is_described_holds_up_nobody_in_the_chat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran, described = list[str](), asyncio.Event()

    async def describing(request: Request, parsed: ParsedMessage) -> None:
        await described.wait()
        ran.append("describe")

    async def drawing(request: Request, parsed: ParsedMessage) -> None:
        ran.append("imagine")
        described.set()

    commands = {
        "describe": replace(COMMANDS["describe"], do=describing),
        "imagine": replace(COMMANDS["imagine"], do=drawing),
    }
    monkeypatch.setattr("bots.telegram.handler.COMMANDS", commands)
    locked: Any = Locked()
    tasks: list[Any] = []
    handler = handler_of(locked, tasks)
    for text in ("/describe", "/imagine a cat"):
        body = {"update_id": 1, "message": {**SAID["message"], "text": text}}
        incoming = read_update(Update.de_json(body, None), User(1, "Marble", True))
        assert incoming
        handler.start(incoming)
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)
    assert ran == ["imagine", "describe"]


async def test_messages_wait_until_a_question_is_recorded_which_they_may_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = list[str]()
    locked: Any = Locked()
    handler = handler_of(locked, (tasks := list[Any]()))

    def comes(update: Any) -> asyncio.Task[None]:
        incoming = read_update(Update.de_json(update, locked.bot), locked.bot)
        assert incoming
        handler.start(incoming)
        return asyncio.create_task(tasks.pop())

    async def asking(request: Request, data: str, *message: object) -> None:
        answers.append(comes(SAID))
        for _ in range(5):  # the question stands in the chat, but not yet in the database
            await asyncio.sleep(0)
        ran.append(data)

    async def reading(request: Request, parsed: ParsedMessage) -> None:
        ran.append(parsed.text)

    monkeypatch.setattr("bots.telegram.handler.press", asking)
    monkeypatch.setattr("bots.telegram.handler.run_command", reading)
    query, answers = {**PRESSED["callback_query"], "message": SAID["message"]}, list[Any]()
    async with asyncio.timeout(5):
        for data in ("same:1", "edit:1"):
            await comes({**PRESSED, "callback_query": {**query, "data": data}})
            await answers.pop()
    assert ran == ["a cat", "same:1", "edit:1", "a cat"]


async def test_a_reaction_that_is_taken_back_at_once_waits_for_what_it_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    did = list[str]()

    async def answer(handler: Handler, incoming: Incoming, reaction: Any) -> None:
        for _ in range(3 if incoming.emoji else 0):  # it looks more up
            await asyncio.sleep(0)
        did.append("put" if incoming.emoji else "taken back")

    monkeypatch.setattr(Handler, "_answer_reaction", answer)
    locked: Any = Locked()
    tasks: list[Any] = []
    handler = handler_of(locked, tasks)
    heart = {"type": "emoji", "emoji": "❤"}
    for old, new in (([], [heart]), ([heart], [])):
        reaction = {"chat": PRIVATE, "message_id": 1, "user": ADA, "date": NOW}
        reaction |= {"old_reaction": old, "new_reaction": new}
        body = {"update_id": 1, "message_reaction": reaction}
        incoming = read_update(Update.de_json(body, None), User(1, "Marble", True))
        assert incoming
        handler.start(incoming)
    await asyncio.gather(*tasks)
    assert did == ["put", "taken back"]


async def test_talk_that_is_not_for_marble_is_not_answered_while_the_database_is_locked() -> None:
    assert (await hear("hello, all of you")).said == []


async def test_a_draw_that_fails_without_a_message_in_the_other_chat_is_said_in_private(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def draw(request: Request, text: str, *notes: str) -> None:
        raise UserError("You have drawn enough for today.")

    monkeypatch.setattr("bots.telegram.inline.draw", draw)
    bot: Any = Locked()
    user = User.de_json(ADA, None)
    incoming = Incoming(id="telegram:1/1", person="telegram:7", update=Update(1))
    await handler_of(bot, [])._draw_elsewhere(incoming, user, "", "an owl")
    assert bot.said == ["You have drawn enough for today."]
