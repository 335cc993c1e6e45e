"""Handles every update: does what it asks for, answers it, then removes it from the inbox."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from telegram import CallbackQuery, InlineQuery, Message, MessageReactionUpdated, Update, User
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bots.chat.actions import ACTIONS, Once, remove_favourite
from bots.chat.errors import excuse
from bots.chat.places import Places
from bots.presentation.lines import name_of
from bots.presentation.text import cut, quote_names, utf16_length
from bots.requests.studio import Asker
from bots.service.app import App
from bots.telegram import inline, inline_messages
from bots.telegram.actions import (
    is_question,
    named_action,
    no_command,
    perform,
    press,
    stop,
)
from bots.telegram.address import Address, message_key, number_of, place_key, post
from bots.telegram.commands import COMMANDS
from bots.telegram.errors import translate
from bots.telegram.features import EPHEMERAL, Features
from bots.telegram.messages import Incoming, ParsedMessage, Picture, StoppedDraft, read_update
from bots.telegram.progress import Placeholders
from bots.telegram.replies import Replies
from bots.telegram.request import Request
from bots.telegram.supergroups import Supergroups
from bots.texts import say, tell, words_of
from bots.worker.delivery import WayClosed
from engine.errors import UserError
from storage import DatabaseFault, InboxEntry, StorageError
from storage.errors import DatabaseBusy

ALERT: Final = 200  # characters that are shown above a chat
PATIENCE: Final = 5.0  # seconds that updates wait for a migration that came in
ALBUMS: Final = 1_000  # that are remembered
SETTLED: Final = 1.0  # seconds after the last picture of an album in which another may come
PROMPTLY: Final = 1.0  # seconds after which a button is answered, finished or not

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """The answer to a request, if any; `refused`: it says why nothing was done."""

    text: str | None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Handler:
    """Handles updates, each in a task of its own; `spawn` owns the tasks."""

    app: App
    bot: ExtBot[str] = field(repr=False)  # it shows its token
    placeholders: Placeholders
    replies: Replies
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None] | None]
    reactions: Mapping[str, str]  # actions, by emoji
    supergroups: Supergroups
    places: Places
    features: Features
    once: Once
    acquaintances: inline.Acquaintances
    # By album, the pictures that have come, by their messages.
    _pictures: dict[str, dict[int, Picture]] = field(default_factory=dict)
    _albums: deque[str] = field(default_factory=lambda: deque(maxlen=ALBUMS))
    _migrations: set[asyncio.Task[None]] = field(default_factory=set)
    # By chat, for what makes jobs; by person and message, for reactions.
    _locks: WeakValueDictionary[Hashable, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def start(self, incoming: Incoming) -> None:
        """Handle an update soon; all others wait for a group's migration."""
        self._note_picture(incoming)
        if incoming.message and not incoming.message.wordless:
            self._needs_answer(incoming.message.album)  # its words are those of the whole album
        task = self.spawn(self._handle(incoming), f"telegram-update-{incoming.id}")
        if incoming.migration and task:
            self._migrations.add(task)
            task.add_done_callback(self._migrations.discard)

    def resume(self, letter: InboxEntry) -> None:
        """Handle an update that is stored and that an earlier process did not finish."""
        try:
            incoming = read_update(Update.de_json(dict(letter.body), self.bot), self.bot.bot)
        except Exception:
            log.exception("%s cannot be read", letter.id)
            incoming = None
        if incoming:
            self.start(replace(incoming, id=letter.id))
        else:
            self.spawn(self._finish(letter.id), f"telegram-update-{letter.id}")

    def put_off(self, update: Update, fault: DatabaseFault) -> None:
        """Answer soon why an update cannot be stored yet, and so is not handled."""
        if not isinstance(fault, DatabaseBusy):  # that passes in seconds
            self.spawn(self._put_off(update, fault), f"telegram-put-off-{update.update_id}")

    async def _put_off(self, update: Update, fault: DatabaseFault) -> None:
        words = words_of(update.effective_user.language_code if update.effective_user else None)
        text = words.put_off.format(why=excuse(fault, words))
        if update.callback_query:
            await self._answer(update.callback_query, text)
        elif update.message:
            await post(self.bot.send_message, Address.of(update.message), text)

    async def _handle(self, incoming: Incoming) -> None:
        """Handle an update; one that a process did not finish is resumed by the next."""
        update = incoming.update
        try:
            if incoming.migration:
                await self.supergroups.migrate(*incoming.migration)
            elif self._migrations:
                await asyncio.wait(self._migrations, timeout=PATIENCE)
            if update.callback_query:
                await self._answer_button(incoming, update.callback_query)
            elif update.message_reaction:
                reaction = update.message_reaction
                here = (incoming.person, reaction.chat.id, reaction.message_id)
                async with self._locks.setdefault(here, asyncio.Lock()):
                    await self._answer_reaction(incoming, reaction)
            elif update.message and incoming.message:
                await self._answer_message(incoming, update.message, incoming.message)
            elif incoming.stopped:
                await self._answer_stop(incoming, incoming.stopped)
            elif update.inline_query:
                await self._answer_inline(incoming, update.inline_query)
            elif chosen := update.chosen_inline_result:
                sent = chosen.inline_message_id or ""
                await self._draw_elsewhere(incoming, chosen.from_user, sent, chosen.query)
            elif update.guest_message:
                await self._answer_guest(incoming, update.guest_message)
        except TelegramError as error:  # the answer could not be sent: nothing else is lost
            log.warning("%s was not answered: %s", incoming.id, translate(error))
        except Exception:  # it would fail again
            log.exception("%s cannot be handled", incoming.id)
        if not update.inline_query:  # which is not stored
            await self._finish(incoming.id)  # not where this task was cancelled

    async def _finish(self, update: str) -> None:
        try:
            await self.app.storage.inbox.done(update)
        except StorageError as error:
            log.error("%s is handled, but that could not be recorded: %s", update, error)

    async def _answer_message(
        self, incoming: Incoming, message: Message, parsed: ParsedMessage
    ) -> None:
        """Handle a message; those of one chat in the order in which they came.

        What takes its time and makes no job holds nobody up.
        """
        request = self._request(incoming, Address.of(message))
        command = COMMANDS.get(parsed.command or "")
        if command and command.personal:
            request = replace(request, command=message.api_kwargs.get(EPHEMERAL))
        if parsed.album is not None and (parsed.wordless or (command and command.albums)):
            parsed = replace(parsed, album_pictures=await self._album(parsed.album))
        if parsed.wordless:
            needed = self._needs_answer(parsed.album)  # its words may have come by now
            outcome = Outcome(request.words.album if needed else None)
        elif command and not command.in_turn:
            outcome = await self._run(request, run_command, parsed)
        else:
            async with self._locks.setdefault(message.chat.id, asyncio.Lock()):
                outcome = await self._run(request, run_command, parsed)
        await _answer(request, outcome)

    def _note_picture(self, incoming: Incoming) -> None:
        """Remember a picture of an album until its command wants all of them."""
        parsed, message = incoming.message, incoming.update.message
        if parsed and message and parsed.picture and parsed.album is not None:
            self._pictures.setdefault(parsed.album, {})[message.message_id] = parsed.picture
            if len(self._pictures) > ALBUMS:
                del self._pictures[next(iter(self._pictures))]

    async def _album(self, album: str) -> tuple[Picture, ...]:
        """Return an album's pictures in order, once no more come: each is a message of its own."""
        known = 0
        while known < len(found := self._pictures.get(album, {})):
            known = len(found)
            await asyncio.sleep(SETTLED)
        return tuple(picture for _, picture in sorted(found.items()))

    def _needs_answer(self, album: str | None) -> bool:
        """Return whether an album has neither words nor an answer yet; it counts as answered then.

        Telegram sends an album as one message a picture: one answer is enough for all.
        """
        if album is None or album in self._albums:
            return False
        self._albums.append(album)
        return True

    async def _answer_button(self, incoming: Incoming, query: CallbackQuery) -> None:
        """Run a button's action, and acknowledge the press at once."""
        if query.inline_message_id and query.data == inline.CANCEL:
            message = query.inline_message_id
            elsewhere = self._elsewhere(incoming, query.from_user, message)
            outcome = await self._run(elsewhere, inline.stop, message)
            await self._answer(query, outcome.text)
            return
        if not isinstance(query.message, Message) or query.data is None:  # too old to be seen
            words = words_of(query.from_user.language_code)
            await self._answer(query, words.unknown_message)
            return
        request = self._request(incoming, Address.of(query.message, query.from_user))
        shows = query.message
        doing = asyncio.create_task(
            self._run(
                request, self._press, query.data, shows.chat.id, shows.message_id, shows.text
            ),
            name=f"telegram-press-{incoming.id}",
        )
        try:
            await asyncio.wait([doing], timeout=PROMPTLY)
            prompt = doing.done()
            await self._answer(query, doing.result().text if prompt else None)
            outcome = await doing
        finally:
            doing.cancel()
        if not prompt:
            await _answer(request, outcome, query.id)

    async def _press(
        self, request: Request, data: str, chat: int, message: int, text: str | None
    ) -> str | None:
        """Run a button's action; messages wait for a question until it is known what it is about.

        An answer that came earlier would be taken for talk.
        """
        turn = self._locks.setdefault(chat, asyncio.Lock()) if is_question(data) else nullcontext()
        async with turn:
            return await press(request, data, message, text or "")

    async def _answer_reaction(self, incoming: Incoming, reaction: MessageReactionUpdated) -> None:
        """Run the action of a new reaction to one of our pictures; only errors are answered."""
        chat, message = reaction.chat.id, reaction.message_id
        key = message_key(chat, message)
        wanted = [each for each in incoming.emoji if each in self.reactions]
        # Nothing else can be undone.
        undone = any(self.reactions.get(each) == "favourite" for each in incoming.taken_back)
        found = await self.app.storage.jobs.by_message(key)
        if found is None or not (wanted or undone):
            return
        language = reaction.user.language_code if reaction.user else None
        reply = found[0].reply
        there = reply.get("chat") == self.supergroups.now(chat)  # else it was shown again elsewhere
        thread = reply.get("thread") if there else None
        address = Address(chat=chat, thread=thread, to=message, language=language)
        request = self._request(incoming, address, by_reaction=True)

        async def act(request: Request) -> None:
            person = request.asker.person
            if undone:
                await remove_favourite(self.app, *found, person)
            if not wanted:
                return
            action = self.reactions[wanted[0]]
            do = partial(perform, request, action, name_of(*found), message)
            if ACTIONS[action].repeatable:
                await do()
            else:
                await self.once(f"{key}:{person}:{wanted[0]}", person, do)

        await _answer(request, await self._run(request, act))

    async def _answer_stop(self, incoming: Incoming, stopped: StoppedDraft) -> None:
        """Cancel the job of a draft that was stopped; only errors are answered."""
        request = self._request(incoming, Address(chat=stopped.chat, thread=stopped.thread))
        await _answer(request, await self._run(request, stop, str(stopped.job)))

    async def _answer_inline(self, incoming: Incoming, query: InlineQuery) -> None:
        """Offer the message that becomes a picture, or say why there is none."""
        request = self._elsewhere(incoming, query.from_user, "")
        text = query.query.strip()
        outcome = await self._run(request, inline.check, text, self.acquaintances)
        await inline.answer(request, query, outcome.text)

    async def _answer_guest(self, incoming: Incoming, message: Message) -> None:
        """Answer a message that mentions Marble in a chat in which it is no member."""
        assert message.from_user
        assert message.guest_query_id
        request = self._elsewhere(incoming, message.from_user, "")
        text = inline.words_for(message, self.bot.bot)
        why = (await self._run(request, inline.check, text, self.acquaintances)).text
        sent = await inline.answer_guest(request, message.guest_query_id, text, why)
        if why and not sent:
            await request.say(why)
        elif not why:
            notes = [request.words.guest_picture] if inline.has_picture(message) else []
            await self._draw_elsewhere(incoming, message.from_user, sent, text, *notes)

    async def _draw_elsewhere(
        self, incoming: Incoming, user: User, message: str, text: str, *notes: str
    ) -> None:
        """Draw what a message in another chat waits for; where that fails, it says why.

        Without a message that is said in private, and so are the notes.
        """
        request = self._elsewhere(incoming, user, message)
        outcome = await self._run(request, inline.draw, text, *notes)
        if outcome.text and message:
            await inline_messages.say(self.bot, message, outcome.text)
        elif outcome.text:
            await request.say(outcome.text)

    def _elsewhere(self, incoming: Incoming, user: User, message: str) -> Request:
        """Return a request from another chat, whose picture is sent in private as well.

        message: that chat's id of the message that shows it, or nothing.
        """
        address = Address(chat=user.id, language=user.language_code, inline=message)
        return self._request(incoming, address)

    def _request(
        self, incoming: Incoming, address: Address, *, by_reaction: bool = False
    ) -> Request:
        now = self.supergroups.now(address.chat)
        there = address if now == address.chat else replace(address, chat=now, to=None)
        asker = Asker(
            person=place_key(self.supergroups.now(number_of(incoming.person))),  # or a group
            place=there.place,
            reply=asdict(there),
            event=incoming.id,
        )
        return Request(
            app=self.app,
            bot=self.bot,
            placeholders=self.placeholders,
            replies=self.replies,
            asker=asker,
            address=address,
            features=self.features,
            by_reaction=by_reaction,
        )

    async def _run(
        self, request: Request, do: Callable[..., Awaitable[str | None]], *args: Any
    ) -> Outcome:
        """Run an action; return its answer, or the reason why it failed."""
        words, address = request.words, request.address
        try:
            if address.thread is not None:
                await self.places.add(address.place, place_key(address.chat))
            return Outcome(await do(request, *args))
        except DatabaseFault as fault:
            log.warning("a request was refused: %s", fault)
            return Outcome(excuse(fault, words), refused=True)
        except UserError as error:
            # What was read in another way than people may have meant can be the reason.
            said = [tell(error, words), *(say(each, words) for each in request.asker.notes)]
            return Outcome(quote_names("\n".join(said)), refused=True)
        except TelegramError as error:
            if not isinstance(found := translate(error), WayClosed):
                raise  # it may have arrived, or nobody is there
            log.warning("a request was refused by Telegram: %s", found)
            return Outcome(words.unexpected, refused=True)
        except Exception:
            log.exception("a request failed")
            return Outcome(words.unexpected, refused=True)

    async def _answer(self, query: CallbackQuery, text: str | None) -> None:
        """Answer a button; Telegram may refuse that as too late, which is ignored."""
        try:
            text = cut(text, ALERT, utf16_length) if text else None
            await self.bot.answer_callback_query(query.id, text=text)
        except TelegramError as error:
            log.info("a button was not answered: %s", translate(error))


async def _answer(request: Request, outcome: Outcome, query: str | None = None) -> None:
    """Send an answer, if there is one; query: the press of a button that it answers."""
    if outcome.text and outcome.refused:
        await request.refuse(outcome.text, query)
    elif outcome.text:
        await request.say(outcome.text)


async def run_command(request: Request, parsed: ParsedMessage) -> str | None:
    """Run a message's command and return the answer; raises `UserError` if it fails."""
    if do := await named_action(request, parsed):
        return await do()
    if command := COMMANDS.get(parsed.command or "imagine"):
        if command.moderators and not await request.moderates():
            raise UserError(request.words.moderators_only)
        if command.albums and parsed.album is not None and (event := request.asker.event):
            # Marble may have been killed behind the job, and the album's other pictures be handled.
            job = await request.app.storage.jobs.by_event(event)
            if job is not None:
                await request.announce(job)
                return None
        return await command.do(request, parsed)
    if request.address.private or parsed.called:
        raise no_command(request, parsed.command or "")
    return None  # it may be another bot's
