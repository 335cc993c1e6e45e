"""The client: what Discord tells Marble, passed on to the desk."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

import discord
from discord import app_commands

from bots.discord.acts import ACTS
from bots.discord.address import (
    PLATFORM,
    Address,
    message_id,
    message_key,
    person_key,
    place_key,
    read_place,
)
from bots.discord.buttons import KEYCAPS, ActButton, ActMenu
from bots.discord.commands import add_commands
from bots.discord.connection import Connection
from bots.discord.desk import LANGUAGE, Desk
from bots.discord.faults import no_reference, translate
from bots.discord.forms import read_form
from bots.discord.patience import patiently
from bots.discord.progress import Watching
from bots.discord.replies import Reply, progress_reply
from bots.discord.sync import sync
from bots.discord.translate import Tables
from bots.discord.unanswered import Question, Unanswered
from bots.discord.visits import Reaction, Visit
from bots.presentation.lines import name_of
from bots.service.app import App
from bots.texts import words_of
from bots.worker.delivery import WayClosed
from engine.events import News, Progress
from storage import DatabaseFault, Job

PATIENCE: Final = 60.0  # seconds of a rate limit that discord.py waits out by itself
AT_ONCE: Final = 8  # questions of a former process that are answered at once
ORIGINAL: Final = "@original"  # an interaction's first answer, as Discord names it
VARIATION: Final = "\ufe0f"  # what some clients put behind an emoji
ONCE: Final = frozenset({"again", "dice", "pick", "mail"})  # a reaction does these once
REACTIONS: Final = {
    "🌱": "again",
    "🎲": "dice",
    "🔁": "dice",
    "✉": "mail",
    "⭐": "star",
    "❌": "drop",
}
TAKEN_BACK: Final = {"⭐": "unstar"}


log = logging.getLogger(__name__)

# Marble has no voice: what it would need for one is missing on purpose.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False


class MarbleClient(Connection):
    """Speak with Discord."""

    def __init__(self, app: App, unanswered: Unanswered) -> None:
        super().__init__(
            app.settings,
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_ratelimit_timeout=PATIENCE,
        )
        self.app = app
        self.unanswered = unanswered
        self._asking: asyncio.Task[None] | None = None
        self.desk = Desk(app, self)
        self.watching = Watching(app.studio, self._show_progress)
        self.started = asyncio.Event()
        self._doing: set[str] = set()  # what reactions are about, as long as it is done
        self.tree = app_commands.CommandTree(
            self,
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=True
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
        )
        add_commands(self.tree, self.desk)

    async def setup_hook(self) -> None:
        """Get everything ready before the first event comes."""
        await super().setup_hook()
        self.add_dynamic_items(ActButton, ActMenu)
        await self.tree.set_translator(Tables())
        await sync(self.tree, self.app)
        self.started.set()
        await self._watch_again()
        self._asking = asyncio.create_task(self._ask_again(), name="discord-ask-again")

    async def close(self) -> None:
        """End with the watching of jobs."""
        if self._asking:
            self._asking.cancel()
        await self.watching.close()
        await super().close()

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Read forms, which discord.py would forget with the process that opened them."""
        if interaction.type is discord.InteractionType.modal_submit:
            await read_form(interaction)

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """Do what a person's reaction means, on Marble's own results only."""
        member = payload.member
        if payload.guild_id and (member is None or member.bot):  # bots send no direct messages
            return
        emoji = payload.emoji.name.replace(VARIATION, "") if payload.emoji.name else ""
        act = REACTIONS.get(emoji) or ("pick" if emoji in _KEYCAPS else None)
        if act:
            await self._react(payload, act, emoji)

    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        """Undo what a reaction did, where it can be undone."""
        if act := TAKEN_BACK.get((payload.emoji.name or "").replace(VARIATION, "")):
            await self._react(payload, act, "")

    async def _react(self, payload: discord.RawReactionActionEvent, act: str, emoji: str) -> None:
        ours = self.user and payload.message_author_id in (None, self.user.id)
        if not ours or (self.user and payload.user_id == self.user.id):
            return
        found = await self.app.storage.jobs.by_message(message_key(payload.message_id))
        if found is None:
            return
        job, picture = found
        name = name_of(job, picture)
        if emoji in _KEYCAPS:
            name = name_of(job, _KEYCAPS.index(emoji))
        language = await self.language_of(payload.user_id)
        visit = Reaction(self, payload, emoji, language)
        async with self.desk.receive(visit):
            self.desk.require_open(visit)
            await (self._do_once if act in ONCE else self._do)(visit, act, name)

    async def _watch_again(self) -> None:
        """Go on telling of the jobs that were asked for before this client began."""
        jobs = self.app.storage.jobs
        for job in await jobs.list_running():
            self._watch_ours(job)
        after = 0
        while waiting := await jobs.list_queued(after):
            for job in waiting:
                self._watch_ours(job)
            after = waiting[-1].id

    async def _ask_again(self) -> None:
        """Answer what the process before this one acknowledged and left."""
        room = asyncio.Semaphore(AT_ONCE)

        async def answer(question: Question) -> None:
            async with room:
                try:
                    await self._answer_left(question)
                except Exception as error:
                    found = translate(error)
                    log.warning("%s is not answered: %s", question.event, found)
                    if isinstance(found, WayClosed):
                        self.unanswered.answered(question.event)

        await asyncio.gather(*map(answer, await self.unanswered.left()))

    async def _answer_left(self, question: Question) -> None:
        """Ask somebody to ask again who waits for an answer still, and for no job's reply."""
        if await self.app.storage.jobs.by_event(question.event) is None:
            hook = self._hook(question.application, question.token)
            original: Any = ORIGINAL
            message = await patiently(lambda: hook.fetch_message(original), repeatable=True)
            if message.flags.loading:
                text = words_of(question.language).ask_again
                await patiently(lambda: hook.edit_message(original, content=text), repeatable=True)
        self.unanswered.answered(question.event)

    def _watch_ours(self, job: Job) -> None:
        if job.adapter == PLATFORM:
            self.watching.watch(job)

    async def _do(self, visit: Visit, act: str, name: str) -> None:
        await ACTS[act](self.desk, visit, name)

    async def _do_once(self, visit: Visit, act: str, name: str) -> None:
        """Do what was not done before, nor is being done; what was refused may be tried again."""
        moderation = self.app.storage.moderation
        if visit.event in self._doing:
            return
        self._doing.add(visit.event)  # before anything is awaited: another may come meanwhile
        try:
            if await moderation.was_seen(visit.event):
                return
            await self._do(visit, act, name)
            if not visit.refused:
                with suppress(DatabaseFault):  # it is done all the same
                    await moderation.first_sight(visit.event, visit.person)
        finally:
            self._doing.discard(visit.event)

    def is_adult(self, place: str) -> bool:
        """Say whether a place is a channel that is known to be age-restricted.

        Direct messages are not, nor are servers of which Marble is no member. A thread that is not
        known is as what it lies in, which whoever asks goes through (`Gate.in_force`).
        """
        where = read_place(place)
        restricted = getattr(self.get_channel(where[1]) if where else None, "is_nsfw", None)
        return bool(restricted and restricted())

    async def language_of(self, user: int) -> str | None:
        """Return the language that somebody last used with Marble."""
        settings = await self.app.storage.people.settings(person_key(user))
        return settings.get(LANGUAGE)

    async def send(self, address: Address, reply: Reply, **more: Any) -> discord.Message:
        """Send a message to a channel, as a reply where there is something to reply to."""
        channel = self.get_partial_messageable(address.channel)
        if address.answers:
            reference = discord.MessageReference(
                message_id=address.answers, channel_id=address.channel, fail_if_not_exists=False
            )
            try:
                return await channel.send(reference=reference, **reply.new(), **more)
            except discord.HTTPException as error:
                if not no_reference(error):
                    raise
        return await channel.send(**reply.new(), **more)

    async def dm_place(self, user: int) -> str:
        """Return the place of somebody's direct messages."""
        return place_key(None, (await self.create_dm(discord.Object(user))).id)

    async def send_dm(self, user: int, reply: Reply, **more: Any) -> int:
        """Send a direct message; `faults.takes_no_dm` knows the error where none is taken."""
        channel = await self.create_dm(discord.Object(user))
        return (await channel.send(**reply.new(), **more)).id

    async def edit(self, address: Address, message: int, reply: Reply) -> None:
        """Edit one of Marble's own messages in a channel."""
        channel = self.get_partial_messageable(address.channel)
        await channel.get_partial_message(message).edit(**reply.edit())

    async def edit_answer(self, address: Address, message: int | None, reply: Reply) -> int:
        """Edit the answer to an interaction by its token, in whatever process."""
        assert address.token
        hook = self._hook(address.application, address.token)
        which: Any = message or ORIGINAL
        return (await hook.edit_message(which, **reply.edit())).id

    def _hook(self, application: int, token: str) -> discord.Webhook:
        """Return what answers an interaction by its token."""
        hook = discord.Webhook.partial(application, token, client=self)
        hook.proxy = self.http.proxy  # it takes the session alone
        return hook

    async def _show_progress(self, job: Job, news: News) -> None:
        """Edit a job's message, which is known since before the job was watched."""
        address, message = Address.from_dict(job.reply), message_id(job.message)
        guess = await self._guess(job, address, news)
        reply = progress_reply(job, news, guess, words_of(address.language))
        if not address.expired:
            await self.edit_answer(address, message, reply)
        elif message:
            await self.edit(address, message, reply)

    async def _guess(self, job: Job, address: Address, news: News) -> bytes | None:
        """Return the preview that comes with news, as far as the rules of now let it be seen."""
        if not isinstance(news, Progress) or not news.preview:
            return None
        seen = await self.app.screen.of(job.place, self.is_adult)
        return news.preview if seen.previews else None


_KEYCAPS: Final = tuple(each.replace(VARIATION, "") for each in KEYCAPS)
