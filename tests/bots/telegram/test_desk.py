from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from telegram import Bot

from bots.telegram.desk import Desk
from bots.telegram.moves import Moves
from bots.texts import words_of
from storage import Letter
from storage.errors import DatabaseBusy

NOW = 1_800_000_000


class Locked:
    """Be a storage in which places cannot be written, and a bot that notes what is said."""

    def __init__(self) -> None:
        self.bot = Bot("1:x")
        self.said: list[str] = []
        self.done_with: list[str] = []

    async def add_place(self, place: str, parent: str) -> None:
        raise DatabaseBusy("marble.db")

    async def done(self, letter: str) -> None:
        self.done_with.append(letter)

    async def send_message(self, chat: int, text: str, **more: Any) -> None:
        self.said.append(text)


async def hear(text: str) -> Any:
    """Return the chat in whose topic something was said while the database is locked."""
    locked: Any = Locked()
    app: Any = SimpleNamespace(storage=SimpleNamespace(people=locked, inbox=locked))
    tasks: list[Any] = []
    moves = Moves(locked, locked)
    desk = Desk(app, locked, locked, locked, lambda task, name: tasks.append(task), {}, moves)
    chat = {"id": -5, "type": "supergroup", "title": "Statues", "is_forum": True}
    ada = {"id": 7, "is_bot": False, "first_name": "Ada"}
    message = {"message_id": 1, "date": NOW, "chat": chat, "from": ada, "text": text}
    message |= {"message_thread_id": 3, "is_topic_message": True}
    body = {"update_id": 1, "message": message}
    desk.hand_in(Letter(id="telegram:1/1", adapter="telegram", person="telegram:7", body=body))
    await tasks.pop()
    assert locked.done_with == ["telegram:1/1"]
    return locked


async def test_nothing_is_done_in_a_topic_whose_group_is_not_known() -> None:
    assert (await hear("/imagine a cat")).said == [words_of("en").busy]


async def test_talk_that_is_not_for_marble_is_not_answered_while_the_database_is_locked() -> None:
    assert (await hear("hello, all of you")).said == []
