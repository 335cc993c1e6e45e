"""Handles every request: runs it, answers it, reports errors."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import discord

from bots.admission.roles import Role
from bots.admission.visibility import View
from bots.chat import actions
from bots.chat.access import Target
from bots.chat.errors import excuse
from bots.chat.places import Places
from bots.discord.address import guild_key, message_key, place_key
from bots.discord.errors import NETWORK
from bots.discord.interaction import InteractionRequest
from bots.discord.messages import is_adult
from bots.discord.progress import Placeholders
from bots.discord.replies import CONTENT, local_times
from bots.discord.request import Gone, Request
from bots.discord.short_choices import FILES, NAMES, whole_names
from bots.discord.unanswered import PendingInteraction, Unanswered
from bots.presentation.text import ELLIPSIS, cut, escape_sentence
from bots.service.app import App
from bots.texts import DEFAULT, tell
from engine.errors import UserError
from storage import DatabaseFault, Job

AT_ONCE: Final = 16  # requests that are committed at once: bursts wait
PEOPLE: Final = 10_000  # whose languages are remembered
LANGUAGE: Final = "language"  # a person's setting

log = logging.getLogger(__name__)
AnyRequest = TypeVar("AnyRequest", bound=Request)
Callback = Callable[..., Coroutine[Any, Any, None]]
Answer = Callable[..., Coroutine[Any, Any, None]]  # given the handler, the request, what was typed


class Handler:
    """Handles every request."""

    def __init__(self, app: App, client: discord.Client, unanswered: Unanswered) -> None:
        self.app = app
        self.studio = app.studio
        self.storage = app.storage
        self.client = client
        self.progress = Placeholders(app, client)
        self.closed = False  # Marble ends
        self._unanswered = unanswered
        self._slots = Slots(AT_ONCE)
        self._announcing: dict[int, asyncio.Event] = {}
        self._places = Places(app.storage.people)
        self._languages: dict[str, str] = {}

    def answering(self, answer: Answer, *, defer: bool = True) -> Callback:
        """Return a command's callback, as discord.py calls it.

        The command is acknowledged, for the person alone, before anything is done: Discord waits
        for 3 s, and a database may be locked for longer. Without `defer` the answer does that, or
        comes at once.
        """

        async def callback(interaction: discord.Interaction[Any], **typed: Any) -> None:
            async with self.receive(InteractionRequest(interaction)) as request:
                if defer:
                    await self.acknowledge(request, private=True)
                values = {NAMES.get(k, k): value for k, value in typed.items() if value is not None}
                if any(ELLIPSIS in str(values.get(name)) for name in FILES):
                    values = await asyncio.to_thread(whole_names, self.studio.builder, values)
                await answer(self, request, **values)

        return callback

    @asynccontextmanager
    async def receive(self, request: AnyRequest) -> AsyncIterator[AnyRequest]:
        """Answer any error inside the block with one sentence."""
        answered = True
        try:
            yield request
        except Gone:
            log.info("a request arrived twice or too late (%s)", request.label)
        except DatabaseFault as fault:
            log.warning("a request was refused: %s", fault)
            answered = await self._refuse(request, excuse(fault, request.words))
        except UserError as error:
            answered = await self._refuse(
                request, local_times(escape_sentence(tell(error, request.words)))
            )
        except Exception as error:
            _log_error(error, "%s failed", request.label)
            answered = await self._refuse(request, request.words.unexpected)
        if answered:  # else the next process answers it, while the token lives
            self._unanswered.answered(request.event)

    async def _refuse(self, request: Request, sentence: str) -> bool:
        """Answer why not; return False if the answer failed and may be tried again."""
        request.refused = True
        try:
            await request.answer(cut(sentence, CONTENT))
        except Gone:
            log.info("a request arrived twice or too late (%s)", request.label)
        except Exception as error:
            _log_error(error, "a refusal could not be sent (%s)", request.label)
            return False
        return True

    async def acknowledge(self, request: Request, *, private: bool = False) -> None:
        """Acknowledge a request, whose answer all will see, or in `private` the person alone.

        What an answer takes is stored before: if this process dies, the next one answers. Raises
        `Gone`.
        """
        if isinstance(request, InteractionRequest):
            await self._unanswered.keep(
                PendingInteraction(
                    event=request.event,
                    application=request.address.application,
                    token=request.interaction.token,
                    language=request.address.language,
                    until=request.address.until,
                )
            )
        await request.defer(private=private)

    @asynccontextmanager
    async def drawing(self, request: Request) -> AsyncIterator[None]:
        """Acknowledge a request for a picture; its job is committed inside the block.

        Raises `UserError` while Marble ends, and where an answer could not be shown.
        """
        self.check_open(request)
        request.check_permissions()
        await self.acknowledge(request)
        async with self._slots.take():
            await self.add_place(request)  # the gate needs it
            yield

    async def announce(self, request: Request, job: Job) -> None:
        """Show that a job is committed, and from now on how far it is.

        Whatever fails here is no refusal: the job is there, and its reply will come.
        """
        self._announcing[job.id] = announced = asyncio.Event()
        try:
            if message := await request.announce(job):
                job = await self.storage.jobs.acknowledged(job.id, message_key(message))
            if isinstance(request, InteractionRequest):
                await self._save_language(request)
        except Exception as error:
            _log_error(error, "job %d could not be announced", job.id)
        finally:
            del self._announcing[job.id]
            announced.set()
        self.progress.follow(job)

    async def announced(self, job: int) -> None:
        """Wait until a job's placeholder is there, if it is about to be."""
        if event := self._announcing.get(job):
            await event.wait()

    async def _save_language(self, request: InteractionRequest) -> None:
        """Store the person's language for when they react: a reaction brings none."""
        language, people = request.address.language, self.storage.people
        if self._languages.get(request.person) != language:
            if (await people.settings(request.person)).get(LANGUAGE, DEFAULT) != language:
                await people.change_settings(request.person, {LANGUAGE: language})
            if len(self._languages) >= PEOPLE:
                self._languages.clear()
            self._languages[request.person] = language

    def check_open(self, request: Request) -> None:
        """Raise `UserError` while Marble ends: no new work is taken in, all else still is done."""
        if self.closed:
            raise UserError(request.words.restarting)

    async def add_place(self, request: Request) -> None:
        """Store where the channel lies, so that the rules of its server apply; writes once."""
        if request.guild is None or request.place in self._places:
            return
        await request.load_channel()
        parent = [place_key(request.guild, request.parent)] if request.parent else []
        await self._places.add(request.place, *parent, guild_key(request.guild))

    async def admit(self, request: Request) -> None:
        """Raise `UserError` for who is banned and where Marble is off; after acknowledging."""
        await self.add_place(request)
        await self.app.gate.admit(request)

    async def find(self, request: Request, action: str, name: str) -> Target:
        """Return the picture of a name for an action; raises `UserError` as `Access.find` does."""
        return await actions.find(self.app, action, name, request, request.message)

    async def view(self, request: Request) -> View:
        """Return the view for the place where a request is answered."""
        await self.add_place(request)
        return await self.app.gate.view(request.place, partial(is_adult, self.client))

    def moderated_place(self, request: Request, *, server: bool = True) -> str:
        """Return the place that a moderator's command applies to: the `server` or the channel.

        Raises `UserError` for others, and for moderators of a channel who name the server.
        """
        everywhere = self.app.gate.roles.of(request.person) >= Role.MODERATOR
        if request.guild is None or not (request.moderates_channel or everywhere):
            raise UserError(request.words.moderators_only)
        if not server:
            return request.place
        if not (request.moderates_server or everywhere):
            raise UserError(request.words.not_of_server)
        return guild_key(request.guild)


class Slots:
    """A semaphore that passes a `DatabaseFault` on to whoever waited while it was raised.

    A locked database takes seconds to fail. Without this, each of many who wait would find out
    only in their own slot. Whoever comes later tries again.
    """

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._fault: DatabaseFault | None = None  # the last one

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it; raises the `DatabaseFault` raised during the wait."""
        known = self._fault
        async with self._free:
            if self._fault is not None and self._fault is not known:
                raise self._fault.with_traceback(None)
            try:
                yield
            except DatabaseFault as fault:
                self._fault = fault
                raise


def _log_error(error: Exception, what: str, which: object) -> None:
    """Log an error, without a traceback if it came from Discord or on the way there."""
    outside = isinstance(error, (UserError, discord.DiscordException, *NETWORK))
    log.log(
        logging.WARNING if outside else logging.ERROR,
        f"{what}: %s",
        which,
        error,
        exc_info=None if outside else error,
    )
