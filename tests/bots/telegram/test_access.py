"""Who may see and end which picture on Telegram: every row of the table, by every path."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from PIL import Image

from tests.bots.access_table import (
    ASKER,
    BANNED,
    CHANNEL,
    DM,
    GONE,
    HERE,
    MARBLES,
    MODERATOR,
    OWNER,
    PATHS,
    ROWS,
    STRANGER,
    UNKNOWN,
    Row,
)
from tests.bots.telegram.conftest import a_marble
from tests.fakes.telegram.faults import Fault
from tests.fakes.telegram.people import FIRST_PERSON, Chat, Person, group, person, text_of
from tests.fakes.telegram.server import BOT, TelegramServer

Json = dict[str, Any]
NUMBER_OF_NOTHING: Final = "99999"
MO, OWEN, ADMIN = 900, 901, 902
NO: Final = "that you may see here"
REFUSED: Final = ("may not request", "Only the person who requested it", "in a private chat")
BUTTONS: Final = {"file": "original", "recipe": "recipe", "draw": "same", "making_of": "making"}
COMMANDS: Final = {"show": "show", "like": "history like", "end": "cancel"}


class Scene:
    """Play one row in chats of its own, with a picture that somebody asked for."""

    def __init__(self, server: TelegramServer, row: Row, numbers: Iterator[int]) -> None:
        self.server, self.row = server, row
        self.ann = person(server, next(numbers))
        known = {ASKER: self.ann, MARBLES: person(server, MO), OWNER: person(server, OWEN)}
        self.who = known.get(row.who) or person(server, next(numbers))
        self.posted = group(server, next(numbers)) if row.posted == CHANNEL else self.ann.chat
        if row.asked == HERE:
            self.here = self.posted
        else:
            self.here = self.who.chat if row.asked == DM else group(server, next(numbers))
        if row.who in (STRANGER, MARBLES, OWNER):
            server.strangers.add((self.posted.id, self.who.id))
        if row.who == MODERATOR:
            self.posted.promote(self.who.id)
        if row.who == UNKNOWN:
            says = "Bad Request: member list is inaccessible"
            refusal = Fault(("getChatMember",), 99, self.posted.id, status=400, says=says)
            server.faults.append(refusal)

    async def drawn(self) -> tuple[str, Json]:
        """Return the name of the picture, and a message of Marble's where it is asked for."""
        if self.row.posted == GONE:
            said = await self.who.says("/help", to=self.here)
            return NUMBER_OF_NOTHING, await self.here.answer(said)
        said = await self.ann.says("/imagine a marble scholar --size 64", to=self.posted)
        shown = await self.posted.picture(said)
        name = text_of(shown).splitlines()[1].partition(" ")[0]
        if self.row.who == BANNED:
            admin = person(self.server, ADMIN)
            self.posted.promote(admin.id)
            said = await admin.says(f"/ban telegram:{self.who.id} rude", to=self.posted)
            await self.posted.answer(said)
        if self.here == self.posted:
            return name, shown
        return name, await self.here.answer(await self.who.says("/help", to=self.here))

    async def by(self, path: str, name: str, on: Json) -> str:
        """Ask for the picture by a path, and say what came of it as the table does."""
        if path in BUTTONS:
            before = len(self.here.shown)
            query = await self.who.sends_data(on, f"{BUTTONS[path]}:{name}")
            return await self._came(path, lambda: self.here.shown[before:], query)
        said = await self.who.says(f"/{COMMANDS[path]} {name}", to=self.here)
        number = said["message_id"]
        return await self._came(
            path,
            lambda: [
                each
                for each in self.here.shown
                if each.get("reply_to_message", {}).get("message_id") == number
            ],
        )

    async def _came(self, path: str, answers: Any, query: str = "") -> str:
        def known() -> str:
            texts = [text_of(each) for each in answers()]
            texts.append(self.server.answers.get(query) or "")
            for came, sentences in (("no", (NO,)), ("refused", REFUSED)):
                if any(sentence in text for sentence in sentences for text in texts):
                    return came
            signs = {
                "show": any("photo" in each for each in answers()),
                "file": any("document" in each for each in answers()),
                "recipe": any("Recipe of" in text for text in texts),
                "like": any("Pictures are not compared with words here" in text for text in texts),
                "making_of": any("animation" in each for each in answers()),
                "draw": any("in line" in text or " · from " in text for text in texts),
                "end": any("too late" in text for text in texts),
            }
            return ("yes" if path == "end" else "all") if signs[path] else ""

        return str(await self.server.until(known))


async def test_every_row_of_the_table_by_every_path(
    telegram: TelegramServer, tmp_path: Path
) -> None:
    roles = {
        "MARBLE_MODERATORS": f"telegram:{FIRST_PERSON + MO}",
        "MARBLE_OWNERS": f"telegram:{FIRST_PERSON + OWEN}",
        "MARBLE_CLIP_MODEL": "off",
    }
    numbers, wrong = itertools.count(1), []
    turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # in chats that rows share

    async def play(row: Row, expected: dict[str, str]) -> None:
        scene = Scene(telegram, row, numbers)
        async with turns[scene.here.id]:
            name, on = await scene.drawn()
            for path in PATHS:
                came = await scene.by(path, name, on)
                if came != expected[path]:
                    wrong.append((row, path, came))

    async with a_marble(telegram, tmp_path, **roles), asyncio.TaskGroup() as plays:
        for row in ROWS:
            if expected := row.cells("telegram"):
                plays.create_task(play(row, expected))
    assert wrong == []


def said_as(server: TelegramServer, chat: Chat, sender: int, kind: str, text: str) -> Json:
    """Return a message that was written to a group in the name of it, or of a channel."""
    anonymous = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
    if kind == "channel":
        anonymous = {"id": 136817688, "is_bot": True, "first_name": "Channel"}
    of = {"id": sender, "type": kind, "title": "Casts"}
    return server.new_message(chat.id, **{"from": anonymous, "sender_chat": of, "text": text})


async def test_what_is_personal_is_told_to_persons_in_private_only(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    statues, topic = group(telegram, 1), group(telegram, 2).topic(3)
    sentence = "use it with your own account, in a private chat"
    commands = ("mydata", "mydata export", "mydata delete", "settings", "settings --steps 3")
    async with a_marble(telegram, tmp_path):
        for command in (*commands, "settings reset", "history"):
            await statues.words(await ada.says(f"/{command}", to=statues), sentence)
            await topic.words(await ada.says(f"/{command}", to=topic), sentence)
        for sender, kind in ((statues.id, "supergroup"), (-1009, "channel")):
            chat = group(telegram, -sender % 97)
            of = chat.id if kind == "supergroup" else sender
            for command in (*commands, "settings reset", "history"):
                said = said_as(telegram, chat, of, kind, f"/{command}")
                await telegram.add_update("message", said)
                await chat.words(said, sentence)
        await ada.chat.words(await ada.says("/settings"), "Nothing is set")
        sent = telegram.calls_of("sendDocument")
    assert sent == []


async def test_a_button_that_removes_everything_does_so_in_private_only(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    statues = group(telegram, 1)
    async with a_marble(telegram, tmp_path):
        shown = await statues.picture(await ada.says("/imagine a cat", to=statues))
        for data in (f"forget:{ada.id}", "older:1"):
            told = await telegram.answer_to(await ada.sends_data(shown, data))
            assert "in a private chat" in told
        page = await ada.chat.words(await ada.says("/history"), "a cat")
        assert text_of(page)


async def test_a_channel_owns_nothing_where_it_did_not_ask_and_has_no_settings(
    telegram: TelegramServer, tmp_path: Path
) -> None:
    one, other = group(telegram, 1), group(telegram, 2)
    async with a_marble(telegram, tmp_path):
        said = said_as(telegram, one, -1009, "channel", "/imagine a cat wait")
        await telegram.add_update("message", said)
        await one.words(said, "1/")
        for text, told in (
            ("/show 1", "that you may see here"),
            ("/show", "No pictures yet"),
            ("/cancel 1", "that you may see here"),
            ("/cancel", "no waiting or running job"),
        ):
            asked = said_as(telegram, other, -1009, "channel", text)
            await telegram.add_update("message", asked)
            await other.words(asked, told)
        asked = said_as(telegram, other, -1009, "channel", "/queue")
        await telegram.add_update("message", asked)
        assert "a cat" not in text_of(await other.words(asked, "The queue"))
        ended = said_as(telegram, one, -1009, "channel", "/cancel")
        await telegram.add_update("message", ended)
        await one.words(said, "Cancelled.")


async def test_in_a_group_nothing_is_told_of_what_somebody_asked_for_in_private(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    statues = group(telegram, 1)
    async with a_marble(telegram, tmp_path):
        await ada.chat.words(await ada.says("a secret wait"), "1/")
        queue = await statues.words(await ada.says("/queue", to=statues), "The queue")
        assert "secret" not in text_of(queue)
        assert "secret" in text_of(await ada.chat.words(await ada.says("/queue"), "The queue"))
        stats = await statues.words(await ada.says("/stats", to=statues), "Here:")
        assert "You:" not in text_of(stats)
        await ada.chat.picture(await ada.says("another secret"))
        await statues.words(await ada.says("/show", to=statues), "No pictures yet")
        assert text_of(await ada.chat.picture(await ada.says("/show"))).startswith("another")


async def test_nothing_is_fetched_for_who_may_not_ask(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(out, "PNG")
    boss = person(telegram, MO)
    async with a_marble(telegram, tmp_path, MARBLE_MODERATORS=f"telegram:{boss.id}"):
        await boss.chat.answer(await boss.says(f"/ban telegram:{ada.id} rude"))
        for said in (
            await ada.sends_photo(out.getvalue(), "as marble"),
            await ada.sends_file(out.getvalue(), "image/png"),
        ):
            await ada.chat.words(said, "You may not request pictures here: rude")
    assert telegram.calls_of("getFile") == []


async def test_a_reaction_in_a_topic_is_held_to_the_bans_of_its_group(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    statues, judge = group(telegram, 1), person(telegram, ADMIN)
    for who in (BOT, judge.id):
        statues.promote(who)
    topic = statues.topic(7)
    async with a_marble(telegram, tmp_path):
        picture = await topic.picture(await ada.says("/imagine a cat --size 64", to=topic))
        banned = await judge.says(f"/ban telegram:{ada.id} rude", to=statues)
        await statues.answer(banned)
        await ada.reacts(picture, "👍")
        await topic.words(picture, "You may not request pictures here: rude")


async def test_reactions_of_bots_channels_and_anonymous_administrators_do_nothing(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    statues = group(telegram, 1)
    statues.promote()
    async with a_marble(telegram, tmp_path):
        picture = await statues.picture(await ada.says("/imagine a cat", to=statues))
        body = {
            "chat": picture["chat"],
            "message_id": picture["message_id"],
            "date": 1,
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": "🔥"}],
        }
        robot = {"id": 77, "is_bot": True, "first_name": "Robot"}
        await telegram.add_update("message_reaction", {**body, "user": robot})
        for chat in (statues.id, -1009):
            actor = {"id": chat, "type": "supergroup", "title": "Casts"}
            await telegram.add_update("message_reaction", {**body, "actor_chat": actor})
        asked = telegram.new_message(statues.id, **{"from": robot, "text": "/imagine a dog"})
        await telegram.add_update("message", asked)
        await ada.reacts(picture, "👍")
        again = await statues.picture(picture)
        last = await statues.picture(await ada.says("/imagine an owl", to=statues))
        assert statues.shown == [picture, again, last]
