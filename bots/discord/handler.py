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
from bots.discord.acknowledging import Acknowledgements
from bots.discord.address import guild_key, place_key
from bots.discord.errors import is_gone, log_error
from bots.discord.interaction import Answered, InteractionRequest
from bots.discord.messages import is_adult
from bots.discord.permissions import Losses, MissingPermission
from bots.discord.placeholders import Placeholders
from bots.discord.reaction import ReactionRequest
from bots.discord.replies import local_times, refusal
from bots.discord.request import Request, moderates
from bots.discord.results import Results
from bots.discord.short_choices import FILES, NAMES, whole_names
from bots.discord.unanswered import Unanswered
from bots.presentation.text import ELLIPSIS, escape_sentence
from bots.service.app import App
from bots.texts import tell
from engine.errors import UserError
from storage import DatabaseFault

AT_ONCE: Final = 16  # requests that are committed at once: bursts wait

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
        self.losses = Losses(app, client)
        self.placeholders = Placeholders(app, client, self.losses)
        self.results = Results()
        self.closed = False  # Marble ends
        self._unanswered = unanswered
        self._slots = Slots(AT_ONCE)
        self._acknowledgements = Acknowledgements(unanswered)
        self._places = Places(app.storage.people)

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
        except DatabaseFault as fault:
            log.warning("a request was refused: %s", fault)
            answered = await self._refuse(request, excuse(fault, request.words))
        except UserError as error:
            sentence = local_times(escape_sentence(tell(error, request.words)))
            answered = await self._refuse(request, sentence)
            if isinstance(error, MissingPermission) and not request.guest:
                await self.losses.tell(request.place, error.permission)
        except Exception as error:
            if is_gone(error):
                log.info("a request arrived twice or too late (%s)", request.label)
            else:
                log_error(error, "%s failed", request.label)
                answered = await self._refuse(request, request.words.unexpected)
        if answered:  # else the next process answers it, while the token lives
            self._unanswered.answered(request.event)

    async def _refuse(self, request: Request, sentence: str) -> bool:
        """Answer why not; return False if the answer failed and may be tried again."""
        try:
            await request.answer(refusal(sentence, request.typed, request.words))
        except Exception as error:
            log_error(error, "a refusal could not be sent (%s)", request.label)
            return is_gone(error)
        return True

    async def acknowledge(
        self, request: Request, *, private: bool = False, silent: bool = False
    ) -> None:
        """Acknowledge a request, whose answer all will see, or in `private` the person alone.

        silent: nothing is shown, and the message acted on will be changed. A reaction needs none of
        this.
        """
        if not isinstance(request, InteractionRequest):
            return
        found = await self._acknowledgements.acknowledge(request, private=private, silent=silent)
        request.thinking = found
        shown = Answered.PRIVATE if private else Answered.PUBLIC
        request.answered = Answered.SILENT if silent else shown

    @asynccontextmanager
    async def drawing(self, request: Request) -> AsyncIterator[None]:
        """Acknowledge a request for a picture; its job is committed inside the block.

        Raises `UserError` while Marble ends, and where an answer could not be shown.
        """
        self.check_open(request)
        request.check_permissions()
        await self.acknowledge(request)
        await self._acknowledgements.over()
        if not request.guest:
            await self.losses.find_none(request.place)
        async with self._slots.take():
            await self.add_place(request)  # the gate needs it
            yield

    def check_open(self, request: Request) -> None:
        """Raise `UserError` while Marble ends: no new work is taken in, all else still is done."""
        if self.closed:
            raise UserError(request.words.restarting)

    async def add_place(self, request: Request) -> None:
        """Store where the channel lies, so that the rules of its server apply; writes once."""
        if request.guild is None or request.place in self._places:
            return
        if isinstance(request, ReactionRequest):
            await request.load_channel()
        parent = [place_key(request.guild, request.parent)] if request.parent else []
        await self._places.add(request.place, *parent, guild_key(request.guild))

    async def admit(self, request: Request) -> None:
        """Raise `UserError` for who is banned and where Marble is off; after acknowledging."""
        await self.add_place(request)
        await self.app.gate.admit(request)

    async def find(self, request: Request, action: str, name: str) -> Target:
        """Return the picture of a name for an action; raises `UserError` as `find_picture` does."""
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
        if request.guild is None or not (moderates(request.permissions) or everywhere):
            raise UserError(request.words.moderators_only)
        if not server:
            return request.place
        # Permissions in a channel are not enough: a channel may grant more of its own.
        of_server = request.member.guild_permissions if request.member else None
        if not (moderates(of_server) or everywhere):
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
