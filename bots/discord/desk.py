"""The desk, where every visit ends up: it asks the studio, and sees that people are answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import discord

from bots.admission.roles import Role
from bots.admission.visibility import View
from bots.chat.access import ADMITTED, Access, Purpose, Target
from bots.chat.errors import excuse
from bots.discord.acts import ACTS
from bots.discord.address import guild_key, message_key, place_key
from bots.discord.faults import UNKNOWN
from bots.discord.forms import seal_of
from bots.discord.replies import CONTENT
from bots.discord.sight import Onlooker
from bots.discord.turns import Turns
from bots.discord.visits import Click, Gone, Refusal, Visit
from bots.presentation import cut, escape_sentence
from bots.requests.studio import Asker
from bots.service.app import App, roles_of
from bots.texts import DEFAULT, tell
from engine.errors import UserError
from storage import DatabaseFault, Job, parse_name

if TYPE_CHECKING:
    from bots.discord.client import MarbleClient

AT_ONCE: Final = 16  # commands that are committed at once: bursts wait their turn
PLACES: Final = 10_000  # and people, that are remembered as known
LANGUAGE: Final = "language"  # a person's setting

log = logging.getLogger(__name__)

Ask = Callable[[Asker], Awaitable[Job]]


class Desk:
    """Receive visits."""

    def __init__(self, app: App, client: MarbleClient) -> None:
        self.app = app
        self.studio = app.studio
        self.storage = app.storage
        self.access = Access(app.storage.jobs, app.gate)
        self.client = client
        self.roles = roles_of(app.settings)
        self.closed = False
        self._turns = Turns(AT_ONCE)
        self._announcing: dict[int, asyncio.Event] = {}
        self._places: set[str] = set()
        self._languages: dict[str, str] = {}

    async def draw(self, visit: Visit, ask: Ask, about: str | None = None) -> None:
        """Acknowledge, commit what is asked for, and show that it is on its way.

        about: the name of the picture that it is made from.
        """
        async with self.receive(visit):
            self.require_open(visit)
            visit.check_permissions()
            await visit.open()
            async with self._turns.take():
                await self.know_place(visit)  # the studio asks the gate by it
                if about is not None:
                    await self.find(visit, about, Purpose.DRAW)
                job = await ask(visit.asker)
            await self._announce(visit, job)

    async def _announce(self, visit: Visit, job: Job) -> None:
        """Show that a job is on its way, and how far it is.

        It is committed: whatever fails here, it is no refusal, and its reply will come.
        """
        self._announcing[job.id] = announced = asyncio.Event()
        try:
            if message := await visit.announce(job):
                job = await self.storage.jobs.acknowledged(job.id, message_key(message))
            await self._note_language(visit)
        except Exception as error:
            _log_error(error, "job %d could not be announced", job.id)
        finally:
            del self._announcing[job.id]
            announced.set()
        self.client.watching.watch(job)

    async def announced(self, job: int) -> None:
        """Wait until a job's placeholder is there, if it is about to be."""
        if event := self._announcing.get(job):
            await event.wait()

    @asynccontextmanager
    async def receive(self, visit: Visit) -> AsyncIterator[None]:
        """Refuse with one sentence what cannot be done, whatever the reason."""
        answered = True
        try:
            yield
        except Gone:
            log.info("a deed came twice or too late (%s)", visit.deed)
        except DatabaseFault as fault:
            log.warning("somebody was turned away: %s", fault)
            answered = await self._refuse(visit, excuse(fault, visit.words))
        except UserError as error:
            answered = await self._refuse(visit, escape_sentence(tell(error, visit.words)))
        except Exception as error:
            _log_error(error, "%s met an error", visit.deed)
            answered = await self._refuse(visit, visit.words.unexpected)
        if answered:  # else the next process does it, if the token lives so long
            self.client.unanswered.answered(visit.event)

    async def _refuse(self, visit: Visit, sentence: str) -> bool:
        """Say why not; return whether that was said, or could be said to nobody."""
        visit.refused = True
        try:
            await visit.refuse(cut(sentence, CONTENT))
        except Gone:
            log.info("a deed came twice or too late (%s)", visit.deed)
        except Exception as error:
            _log_error(error, "a refusal could not be said (%s)", visit.deed)
            return False
        return True

    def require_open(self, visit: Visit) -> None:
        """Raise `Refusal` for new work while Marble ends; all else is done as long as it can."""
        if self.closed:
            raise Refusal(visit.words.restarting)

    async def admit_to(self, visit: Visit, found: Target) -> None:
        """Raise `UserError` for who is banned from what they want with a picture.

        After it was acknowledged: to make a place known, the database is written to.
        """
        if found.purpose in ADMITTED:
            await self.admit(visit)

    async def admit(self, visit: Visit) -> None:
        """Make the place known; raise `UserError` for who is banned and where Marble is off."""
        await self.know_place(visit)
        await self.app.gate.admit(visit)

    def moderated(self, visit: Visit, *, server: bool = True) -> str:
        """Return what a moderator speaks for: all of the `server`, or the channel.

        Raises `Refusal` for whoever may not; who moderates a channel only speaks for that.
        """
        everywhere = self.roles.of(visit.person) >= Role.MODERATOR
        if visit.guild is None or not (visit.moderates or everywhere):
            raise Refusal(visit.words.moderators_only)
        if not server:
            return visit.place
        if not (visit.governs or everywhere):
            raise Refusal(visit.words.not_of_server)
        return guild_key(visit.guild)

    async def find(self, visit: Visit, name: str, purpose: Purpose) -> Target:
        """Return the picture that somebody names, for what they want with it.

        Raises `UserError` as `bots.chat.access.Access.find` does.
        """
        return await self.access.find(name, Onlooker(visit), purpose, visit.message)

    def seal(self, visit: Visit, image: str) -> str:
        """Return the seal of a form in which somebody starts from an image that they chose."""
        token = self.app.settings.discord_token
        assert token
        return seal_of(token, visit.person, image)

    async def seen(self, visit: Visit) -> View:
        """Return what may be seen where a visit is answered."""
        await self.know_place(visit)
        return await self.app.screen.of(visit.place, self.client.is_adult)

    async def press(
        self, interaction: discord.Interaction[MarbleClient], act: str, name: str
    ) -> None:
        """Do what a button or menu says."""
        visit = Click(interaction)
        async with self.receive(visit):
            parse_name(name)
            if act not in ACTS:
                raise Refusal(visit.words.unknown_message)
            await ACTS[act](self, visit, name)

    async def _note_language(self, visit: Visit) -> None:
        """Remember somebody's language for when a reaction, which has none, is answered."""
        language, people = visit.address.language, self.storage.people
        if isinstance(visit, Click) and self._languages.get(visit.person) != language:
            if (await people.settings(visit.person)).get(LANGUAGE, DEFAULT) != language:
                await people.change_settings(visit.person, {LANGUAGE: language})
            if len(self._languages) >= PLACES:
                self._languages.clear()
            self._languages[visit.person] = language

    async def know_place(self, visit: Visit) -> None:
        """Tell storage what the place lies in, so that what holds there holds here."""
        if visit.guild is None or visit.place in self._places:
            return
        await visit.find_channel()
        server = guild_key(visit.guild)
        above = server
        if visit.parent:
            above = place_key(visit.guild, visit.parent)
            await self.storage.people.add_place(above, server)
        await self.storage.people.add_place(visit.place, above)
        if len(self._places) >= PLACES:
            self._places.clear()
        self._places.add(visit.place)


def _log_error(error: Exception, what: str, which: object) -> None:
    """Log an error: in a sentence where it came from Discord or on the way there."""
    outside = isinstance(error, (UserError, discord.DiscordException, *UNKNOWN))
    message = f"{what}: %s"
    log.log(
        logging.WARNING if outside else logging.ERROR,
        message,
        which,
        error,
        exc_info=None if outside else error,
    )
