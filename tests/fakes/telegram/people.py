"""People on Telegram: what they do reads as a person's deed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from tests.fakes.telegram.server import BOT, NAME, TelegramServer

Json = dict[str, Any]
# As long as new people's real ids: beyond 32 bits, and in no log or metric by chance.
FIRST_PERSON: Final = 5_870_000_000
FOUNDER: Final = {"id": FIRST_PERSON, "is_bot": False, "first_name": "Founder"}  # of all topics
ANONYMOUS: Final = {"id": 1087968824, "is_bot": True, "first_name": "Group"}


@dataclass(frozen=True)
class Chat:
    """A private chat, a group, or a topic of one, as its members see it."""

    server: TelegramServer
    id: int
    thread: int | None = None

    def topic(self, thread: int) -> Chat:
        """Return a topic of this group."""
        return Chat(self.server, self.id, thread)

    async def becomes_supergroup(self, number: int, *, told: bool = True) -> Chat:
        """Give this group a new id, as Telegram does; the bot is told of it, or only when it asks.

        Messages stay where they are, and who is an administrator stays one.
        """
        server, new = self.server, group(self.server, number)
        server.administrators[new.id] |= server.administrators[self.id]
        server.migrated[self.id] = new.id
        if told:
            ends = server.new_message(self.id, migrate_to_chat_id=new.id)
            begins = server.new_message(new.id, migrate_from_chat_id=self.id)
            for message in (ends, begins):
                anonymous = {"from": ANONYMOUS, "sender_chat": message["chat"]}
                await server.add_update("message", {**message, **anonymous})
        return new

    def promote(self, who: int = BOT) -> None:
        """Make somebody, or the bot, an administrator."""
        self.server.administrators[self.id].add(who)

    @property
    def shown(self) -> list[Json]:
        """Return the bot's messages that stand here."""
        return [
            message
            for message in self.server.of_bot(self.id)
            if self.thread is None or message.get("message_thread_id") == self.thread
        ]

    async def answer(self, said: Json) -> Json:
        """Wait for the bot's first message that answers one, whatever it becomes later."""
        found: Json = await self.server.until(lambda: self._answers(said))
        return found

    async def picture(self, said: Json) -> Json:
        """Wait until a message that answers one is a picture with its buttons."""
        found: Json = await self.server.until(
            lambda: next((m for m in self._all_answers(said) if is_result(m)), None)
        )
        return found

    async def results(self, said: Json, number: int) -> list[Json]:
        """Wait until so many results answer a message."""
        found: list[Json] = await self.server.until(
            lambda: (all_ := [m for m in self._all_answers(said) if is_result(m)])[
                : number if len(all_) >= number else 0
            ]
        )
        return found

    async def picture_file(self, said: Json) -> Json:
        """Wait for a file that answers a message."""
        found: Json = await self.server.until(
            lambda: next((m for m in self._all_answers(said) if "document" in m), None)
        )
        return found

    async def words(self, said: Json, part: str) -> Json:
        """Wait until a message that answers one says something."""
        found: Json = await self.server.until(
            lambda: next((m for m in self._all_answers(said) if part in text_of(m)), None)
        )
        return found

    def _all_answers(self, said: Json) -> list[Json]:
        number = said["message_id"]
        return [
            message
            for message in self.shown
            if message.get("reply_to_message", {}).get("message_id") == number
        ]

    def _answers(self, said: Json) -> Json | None:
        return next(iter(self._all_answers(said)), None)


@dataclass(frozen=True)
class Person:
    """Somebody who talks with the bot."""

    server: TelegramServer
    id: int
    language: str = "en"

    @property
    def user(self) -> Json:
        """Return the person as Telegram describes them."""
        return {
            "id": self.id,
            "is_bot": False,
            "first_name": f"Person {self.id}",
            "language_code": self.language,
        }

    @property
    def chat(self) -> Chat:
        """Return the private chat with the bot, which is open from now on."""
        self.server.chats.setdefault(
            self.id, {"id": self.id, "type": "private", "first_name": f"Person {self.id}"}
        )
        return Chat(self.server, self.id)

    async def says(
        self, text: str, to: Chat | None = None, answering: Json | None = None, **more: Any
    ) -> Json:
        """Write a message, in private or to a group."""
        return await self._send(to or self.chat, answering, text=text, **more)

    async def commands_alone(self, text: str, to: Chat) -> None:
        """Choose a command in a group that only the bot sees."""
        number = 1_000 + len(self.server.commanded)
        self.server.commanded.add((to.id, number))
        message = {
            "message_id": 0,
            "ephemeral_message_id": number,
            "receiver_user": self.server.me,
            "date": int(time.time()),
            "chat": self.server.chats[to.id],
            "from": self.user,
            "text": text,
        }
        await self.server.add_update("message", message)

    async def hears_alone(self, part: str, where: Chat) -> None:
        """Wait until the bot has told this person alone something in a group."""
        heard = self.server.ephemeral[where.id, self.id]
        await self.server.until(lambda: any(part in text_of(each) for each in heard))

    async def sends_photo(
        self,
        data: bytes,
        caption: str | None = None,
        to: Chat | None = None,
        answering: Json | None = None,
        album: str | None = None,
    ) -> Json:
        """Send a photo, with words below it or none, alone or as one of an album."""
        words = {} if caption is None else {"caption": caption}
        words |= {} if album is None else {"media_group_id": album}
        photo = self.server.photo(data)
        return await self._send(to or self.chat, answering, photo=photo, **words)

    async def sends_file(
        self, data: bytes, kind: str, caption: str | None = None, name: str | None = None
    ) -> Json:
        """Send a file as it is."""
        document = {"file_id": self.server.keep_file(data), "file_unique_id": "unique"}
        document |= {"mime_type": kind, "file_size": len(data)}  # type: ignore[dict-item]
        document |= {} if name is None else {"file_name": name}
        words = {} if caption is None else {"caption": caption}
        return await self._send(self.chat, None, document=document, **words)

    async def presses(self, message: Json, label: str) -> str:
        """Press a button, and return the number of the press."""
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        button = next(each for row in rows for each in row if each["text"] == label)
        return await self.sends_data(message, button["callback_data"])

    async def sends_data(self, message: Json, data: str) -> str:
        """Send what a button carries, or what a changed app makes of it."""
        return await self._presses(data, message=message)

    def is_asked(self, question: Json) -> bool:
        """Say whether a message opens this person's reply to it."""
        key = question["chat"]["id"], question["message_id"]
        asked = self.server.questions.get(key, frozenset())
        return asked is None or self.id in asked

    async def reacts(self, message: Json, emoji: str, before: tuple[str, ...] = ()) -> None:
        """Put an emoji on a message; the bot hears of it only as a group's administrator."""
        await self._reaction(message, before, (*before, emoji))

    async def takes_back(self, message: Json, emoji: str) -> None:
        """Take an emoji back."""
        await self._reaction(message, (emoji,), ())

    async def _reaction(self, message: Json, old: tuple[str, ...], new: tuple[str, ...]) -> None:
        if BOT not in self.server.administrators[message["chat"]["id"]]:
            return
        body = {
            "chat": message["chat"],
            "message_id": message["message_id"],
            "user": self.user,
            "date": int(time.time()),
            "old_reaction": [{"type": "emoji", "emoji": each} for each in old],
            "new_reaction": [{"type": "emoji", "emoji": each} for each in new],
        }
        await self.server.add_update("message_reaction", body)

    async def types_inline(self, text: str) -> Json:
        """Type the bot's name and some words in any chat; return what is offered."""
        query = f"inline-query-{time.monotonic_ns()}"
        body = {"id": query, "from": self.user, "query": text, "offset": ""}
        await self.server.add_update("inline_query", body)
        found: Json = await self.server.until(lambda: self.server.inline_answers.get(query))
        return found

    async def sends_inline(self, text: str, *, told: bool = True) -> str:
        """Send what is offered for some words; return the message's id.

        told: the bot hears of it, as inline feedback is on.
        """
        [result] = (await self.types_inline(text))["results"]
        message = self.server.send_inline(result)
        body = {
            "result_id": result["id"],
            "from": self.user,
            "query": text,
            "inline_message_id": message,
        }
        if told:
            await self.server.add_update("chosen_inline_result", body)
        return message

    async def presses_inline(self, message: str, label: str) -> str:
        """Press a button of a message that was sent through the bot."""
        rows = self.server.inline[message]["reply_markup"]["inline_keyboard"]
        button = next(each for row in rows for each in row if each["text"] == label)
        return await self._presses(button["callback_data"], inline_message_id=message)

    async def _presses(self, data: str, **where: Any) -> str:
        query = f"query-{len(self.server.answers)}-{time.monotonic_ns()}"
        body = {"id": query, "from": self.user, "chat_instance": "1", **where, "data": data}
        await self.server.add_update("callback_query", body)
        return query

    async def mentions(self, text: str, answering: Json | None = None) -> str:
        """Mention the bot in a chat where it is no member; return the guest query."""
        query = f"guest-query-{len(self.server.guests) + 1}"
        self.server.guests[query] = ""
        chat = {"id": -77, "type": "supergroup", "title": "Elsewhere"}
        body = {"message_id": 5, "date": int(time.time()), "chat": chat, "from": self.user}
        body |= {"text": f"@{NAME} {text}", "guest_query_id": query}
        body |= {} if answering is None else {"reply_to_message": answering}
        await self.server.add_update("guest_message", body)
        return query

    async def stops_draft(self, draft: int) -> None:
        """Press the button below a draft, which disappears."""
        del self.server.drafts[self.id, draft]
        chat = self.server.chats[self.id]
        await self.server.add_update(
            "stopped_message_generation", {"chat": chat, "draft_id": draft}
        )

    def blocks_the_bot(self) -> None:
        """Want to hear nothing more of it."""
        self.server.blocked.add(self.id)

    async def _send(self, chat: Chat, answering: Json | None, **content: Any) -> Json:
        if answering is not None:
            content["reply_to_message"] = {
                key: value for key, value in answering.items() if key != "reply_to_message"
            }
        if chat.thread is not None:
            content |= {"message_thread_id": chat.thread, "is_topic_message": True}
            content.setdefault("reply_to_message", self._beginning(chat))
        message = self.server.new_message(chat.id, **{"from": self.user, **content})
        if self._heard(chat, message):
            await self.server.add_update("message", message)
        return message

    def _beginning(self, chat: Chat) -> Json:
        """Return what begins a topic: all that answers nothing there is sent as its answer."""
        created = {"name": f"Topic {chat.thread}", "icon_color": 0x6FB9F0}
        where = {"message_id": chat.thread, "chat": self.server.chats[chat.id], "date": 1}
        return {**where, "from": FOUNDER, "forum_topic_created": created}

    def _heard(self, chat: Chat, message: Json) -> bool:
        """Say whether Telegram tells the bot of it: its privacy mode is on.

        Then no mention comes, but with a command, whatever @BotFather says of it.
        """
        if chat.id > 0 or BOT in self.server.administrators[chat.id]:
            return True
        text = message.get("text") or message.get("caption") or ""
        to_bot = message.get("reply_to_message", {}).get("from", {}).get("id") == BOT
        return text.startswith("/") or to_bot


def person(server: TelegramServer, number: int = 1, language: str = "en") -> Person:
    """Return somebody new, whose private chat is open."""
    somebody = Person(server, FIRST_PERSON + number, language)
    assert somebody.chat
    return somebody


def basic_group(server: TelegramServer, number: int = 1) -> Chat:
    """Return a group, not yet a supergroup, that the bot is a member of."""
    server.chats[-number] = {"id": -number, "type": "group", "title": f"Group {number}"}
    return Chat(server, -number)


def group(server: TelegramServer, number: int = 1) -> Chat:
    """Return a group that the bot is a member of."""
    chat = -1_000_000_000_000 - number
    server.chats[chat] = {"id": chat, "type": "supergroup", "title": f"Group {number}"}
    return Chat(server, chat)


def is_result(message: Json) -> bool:
    """Say whether a message is a picture with the buttons of a result, no preview."""
    return ("photo" in message or "document" in message) and "Delete" in labels(message)


def labels(message: Json) -> list[str]:
    """Return what the buttons under a message say."""
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    return [button["text"] for row in rows for button in row]


def text_of(message: Json) -> str:
    """Return a message's words, or those below its picture."""
    return str(message.get("text") or message.get("caption") or "")
