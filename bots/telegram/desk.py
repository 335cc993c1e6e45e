"""Deal with letters: read each, do what it asks for, answer; then let go of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from weakref import WeakValueDictionary

from telegram import CallbackQuery, Message, MessageReactionUpdated, Update
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bots.chat.errors import excuse
from bots.presentation import cut, name_of, quote_names, utf16_length
from bots.requests.studio import Asker
from bots.service.app import App
from bots.telegram import commands
from bots.telegram.acts import Act, perform, press
from bots.telegram.addresses import Address, message_key, person_of, place_of
from bots.telegram.albums import Albums
from bots.telegram.errand import Errand
from bots.telegram.moves import Moves
from bots.telegram.progress import Placeholders
from bots.telegram.reading import Said, is_bot, move_of, new_emoji, read, tells_of_move
from bots.telegram.replies import Replies
from bots.telegram.sending import post
from bots.telegram.troubles import explain
from bots.texts import Words, tell, words_of
from bots.worker.delivery import WayClosed
from engine.errors import UserError
from storage import DatabaseFault, Letter, StorageError
from storage.errors import DatabaseBusy

ALERT: Final = 200  # characters that are shown above a chat
PROMPTLY: Final = 1.0  # seconds after which a button is answered whatever its act does

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """Deal with letters, each in a task of its own; `spawn` owns the tasks."""

    app: App
    bot: ExtBot[str] = field(repr=False)  # it shows its token
    placeholders: Placeholders
    replies: Replies
    spawn: Callable[[Coroutine[Any, Any, None], str], object]
    reactions: Mapping[str, Act]
    moves: Moves
    _albums: Albums = field(default_factory=Albums)
    _topics: set[str] = field(default_factory=set)  # known to lie in their groups
    _turns: WeakValueDictionary[int, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def hand_in(self, letter: Letter) -> None:
        """Deal with a letter soon; whatever comes after a group's move waits for that."""
        if tells_of_move(letter.body):
            self.moves.announce()
        self._albums.note(letter.body)
        self.spawn(self._deal(letter), f"telegram-letter-{letter.id}")

    def put_off(self, update: Update, fault: DatabaseFault) -> None:
        """Say soon why what has come in cannot be kept yet, and so is not dealt with."""
        if not isinstance(fault, DatabaseBusy):  # that passes in seconds
            name = f"telegram-put-off-{update.update_id}"
            self.spawn(self._put_off(update, fault), name)

    async def _put_off(self, update: Update, fault: DatabaseFault) -> None:
        if query := update.callback_query:
            words = words_of(query.from_user.language_code)
            await self._answer(query, words.put_off.format(why=excuse(fault, words)))
        elif message := update.message:
            address = Address.of(message)
            why = excuse(fault, address.words)
            await post(self.bot.send_message, address, address.words.put_off.format(why=why))

    async def _deal(self, letter: Letter) -> None:
        """Deal with a letter; one that a process did not finish is found again by the next."""
        moves = tells_of_move(letter.body)
        try:
            if not moves:
                await self.moves.settled()
            update = Update.de_json(dict(letter.body), self.bot)
            if update.message and (move := move_of(update.message)):
                await self.moves.move(*move)
            elif update.callback_query:
                await self._press(letter, update.callback_query)
            elif update.message_reaction:
                await self._react(letter, update.message_reaction)
            elif update.message:
                await self._hear(letter, update.message)
        except TelegramError as error:  # the answer could not be sent: it is no more than that
            log.warning("%s was not answered: %s", letter.id, explain(error))
        except Exception:  # it would fail again
            log.exception("%s cannot be dealt with", letter.id)
        finally:
            if moves:
                self.moves.conclude()
        try:
            await self.app.storage.inbox.done(letter.id)
        except StorageError as error:
            log.error("%s is dealt with, which cannot be recorded: %s", letter.id, error)

    async def _know(self, address: Address) -> None:
        """Tell storage which group a topic lies in, so that what holds there holds here.

        Raises `DatabaseFault`: before that is known, nothing may be done there.
        """
        topic = address.place
        if address.thread is not None and topic not in self._topics:
            await self.app.storage.people.add_place(topic, place_of(address.chat))
            self._topics.add(topic)

    async def _hear(self, letter: Letter, message: Message) -> None:
        """Do what a message says; those of one chat in the order in which they came."""
        address = Address.of(message)
        errand = self._errand(letter, address, person_of(message.from_user, message.sender_chat))
        said = read(message, self.bot.bot)
        turn = self._turns.setdefault(message.chat.id, asyncio.Lock())
        async with turn:
            act = self._obey(errand, message, said)
            sentence = await _sentence(act, errand.words)
        if sentence:
            await errand.say(sentence)

    async def _obey(self, errand: Errand, message: Message, said: Said | None) -> str | None:
        if said is None:  # talk that is not for us costs nothing, and is never answered
            return None
        if said.wordless:
            return errand.words.album if self._albums.needs_answer(message) else None
        await self._know(errand.address)
        return await commands.obey(errand, said)

    async def _press(self, letter: Letter, query: CallbackQuery) -> None:
        """Do what a button says, and answer it at once."""
        words = words_of(query.from_user.language_code)
        if not isinstance(query.message, Message) or query.data is None:  # too old to be seen
            await self._answer(query, words.unknown_message)
            return
        address = Address.of(query.message, query.from_user)
        errand = self._errand(letter, address, person_of(query.from_user))
        doing = asyncio.create_task(
            _sentence(self._pressed(errand, query.message, query.data), words),
            name=f"telegram-press-{letter.id}",
        )
        try:
            await asyncio.wait([doing], timeout=PROMPTLY)
            prompt = doing.done()
            await self._answer(query, doing.result() if prompt else None)
            sentence = await doing
        finally:
            doing.cancel()
        if sentence and not prompt:
            await errand.say(sentence)

    async def _pressed(self, errand: Errand, message: Message, data: str) -> str | None:
        await self._know(errand.address)
        return await press(errand, data, message.message_id)

    async def _react(self, letter: Letter, reaction: MessageReactionUpdated) -> None:
        """Do what a new reaction on one of our pictures says."""
        if is_bot(reaction.user):  # or a channel, or an anonymous administrator
            return
        chat, message = reaction.chat.id, reaction.message_id
        found = await self.app.storage.jobs.by_message(message_key(chat, message))
        emoji = new_emoji(reaction.old_reaction, reaction.new_reaction)
        wanted = [self.reactions[each] for each in emoji if each in self.reactions]
        if found is None or not wanted:
            return
        language = reaction.user.language_code if reaction.user else None
        reply = found[0].reply
        there = reply.get("chat") == self.moves.now(chat)  # else it was shown again elsewhere
        thread = reply.get("thread") if there else None
        address = Address(chat=chat, thread=thread, to=message, language=language)
        errand = self._errand(letter, address, person_of(reaction.user))
        act = self._reacted(errand, wanted[0], name_of(*found), message)
        if sentence := await _sentence(act, errand.words, quiet=True):
            await errand.say(sentence)

    async def _reacted(self, errand: Errand, act: Act, name: str, message: int) -> str | None:
        await self._know(errand.address)
        return await perform(errand, act, name, message)

    def _errand(self, letter: Letter, address: Address, person: str) -> Errand:
        now = self.moves.now(address.chat)
        there = address if now == address.chat else replace(address, chat=now, to=None)
        asker = Asker(
            person=self.moves.now_called(person),
            place=there.place,
            reply=there.to_reply(),
            event=letter.id,
        )
        return Errand(
            app=self.app,
            bot=self.bot,
            placeholders=self.placeholders,
            replies=self.replies,
            asker=asker,
            address=address,
        )

    async def _answer(self, query: CallbackQuery, text: str | None) -> None:
        """Answer a button; Telegram refuses that where it comes too late, which harms nobody."""
        try:
            text = cut(text, ALERT, utf16_length) if text else None
            await self.bot.answer_callback_query(query.id, text=text)
        except TelegramError as error:
            log.info("a button was not answered: %s", explain(error))


async def _sentence(act: Awaitable[str | None], words: Words, *, quiet: bool = False) -> str | None:
    """Do something and return what is to be said: what it says itself, or why it cannot be.

    A `quiet` act says nothing of its own.
    """
    try:
        said = await act
        return None if quiet else said
    except DatabaseFault as fault:
        log.warning("somebody was turned away: %s", fault)
        return excuse(fault, words)
    except UserError as error:
        return quote_names(tell(error, words))
    except TelegramError as error:
        if not isinstance(found := explain(error), WayClosed):
            raise  # it may have arrived, or nobody is there
        log.warning("an errand was refused by Telegram: %s", found)
        return words.unexpected
    except Exception:
        log.exception("an errand failed")
        return words.unexpected
