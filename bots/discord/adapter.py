"""The adapter: connects to Discord, passes its events on to the handler, and delivers replies."""

import asyncio
import logging
from collections.abc import Coroutine, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

import discord
from discord import app_commands

from bots.chat.actions import ACTIONS as TABLE
from bots.chat.actions import KEYCAPS, VARIATION, Once, remove_favourite
from bots.discord.actions import ACTIONS
from bots.discord.address import PLATFORM, message_key, person_key
from bots.discord.buttons import ActionItem, id_of
from bots.discord.commands import add_commands
from bots.discord.commands.describe import SuggestionButton, draw_suggestion
from bots.discord.commands.menus import draw_result
from bots.discord.commands.submitted import submit
from bots.discord.connection import Connection, point_at
from bots.discord.errors import translate, with_retries
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.messages import ORIGINAL, webhook_of
from bots.discord.placeholders import LANGUAGE, WAYS
from bots.discord.reaction import ReactionRequest
from bots.discord.registration import register
from bots.discord.results import ResultMenu
from bots.discord.shards import ShardedConnection
from bots.discord.unanswered import PendingInteraction, Unanswered
from bots.presentation.lines import name_of
from bots.service.adapters import ConnectionState
from bots.service.app import App
from bots.texts import words_of
from bots.worker.delivery import Shown, TryLater, Way, WayClosed
from engine.errors import UserError
from storage import Job, PendingReply, parse_name

RATE_LIMIT: Final = 60.0  # seconds of a rate limit that discord.py waits out by itself
AT_ONCE: Final = 8  # interactions of a former process that are answered at once
REACTIONS: Final[Mapping[str, str]] = {
    emoji: name for name, action in TABLE.items() for emoji in action.reactions
}
_BY_ID: Final = {id_of(action): action for action in ACTIONS}

log = logging.getLogger(__name__)

# Marble has no voice: what it would need for one is missing on purpose.
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False


class DiscordAdapter:
    """Connects Marble to Discord."""

    name: str = PLATFORM
    ways: Sequence[Way] = tuple(WAYS)
    exclusive: bool = True  # Discord sends every event to each gateway session

    def __init__(self, app: App) -> None:
        self._app = app
        self._token = app.settings.discord_token or ""  # without one no adapter is started
        self._client: MarbleClient | None = None
        self._unanswered = Unanswered(app.settings.data_dir)
        point_at(app.settings)

    async def run(self) -> None:
        """Serve until cancelled; raises `AdapterStopped` where Discord refuses the token."""
        try:
            async with (
                self._unanswered.writing(),
                MarbleClient(self._app, self._unanswered) as client,
            ):
                self._client = client
                await client.start(self._token)
        except Exception as error:
            raise translate(error) from error
        finally:
            self._client = None

    async def check(self) -> None:
        """Ask Discord whether it accepts the token; raises as `errors.translate` says."""
        try:
            async with Connection(self._app.settings) as client:
                await client.login(self._token)
        except Exception as error:
            raise translate(error) from None

    def stop_intake(self) -> None:
        """Refuse what people ask for from now on, with a sentence."""
        if self._client:
            self._client.handler.closed = True

    def connections(self) -> Sequence[ConnectionState]:
        """Return how each shard is connected."""
        return self._client.connections() if self._client else ()

    def deliver(self, pending: PendingReply, way: Way) -> Coroutine[Any, Any, Shown]:
        """Show a job's result by one of the `ways`; raises `TryLater` until Marble is logged in."""
        if self._client is None or self._client.user is None:
            raise TryLater(1.0)
        return self._client.handler.placeholders.deliver(pending, way)


class MarbleClient(ShardedConnection):
    """Receives Discord's events."""

    def __init__(self, app: App, unanswered: Unanswered) -> None:
        super().__init__(
            app.settings,
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_ratelimit_timeout=RATE_LIMIT,
        )
        self.app = app
        self.handler = Handler(app, self, unanswered)
        self._unanswered = unanswered
        self._answering: asyncio.Task[None] | None = None
        self._once = Once(app.storage.moderation)
        self._reacting: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self.tree = app_commands.CommandTree(
            self,
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=True
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
        )
        add_commands(self.tree, self.handler)

    async def setup_hook(self) -> None:
        """Get everything ready before the first event comes."""
        await super().setup_hook()
        self.add_dynamic_items(ActionItem, ResultMenu, SuggestionButton)
        await self.handler.losses.load()
        await register(self.tree, self.app)
        await self._follow_unfinished()
        self._answering = asyncio.create_task(self._answer_left(), name="discord-answer-left")

    async def close(self) -> None:
        """Disconnect, and end all edits of progress."""
        if self._answering:
            self._answering.cancel()
        await self.handler.placeholders.close()
        await super().close()

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Look at what Marble may do in a server that has come."""
        await self.handler.losses.review(guild)

    async def on_guild_role_update(
        self, before: object, after: discord.Role | discord.Member | discord.abc.GuildChannel
    ) -> None:
        """Look at it again where it may have changed; of members, only Marble itself is known."""
        await self.handler.losses.review(after.guild)

    on_guild_join = on_guild_available
    on_guild_channel_update = on_member_update = on_guild_role_update

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Read forms, which discord.py would forget with the process that opened them."""
        if interaction.type is discord.InteractionType.modal_submit:
            await submit(self.handler, interaction)

    async def press(self, interaction: discord.Interaction[Any], id: str, name: str) -> None:
        """Run the action of a button's or menu's id on a picture."""
        async with self.handler.receive(InteractionRequest(interaction)) as request:
            parse_name(name)
            if id not in _BY_ID:
                raise UserError(request.words.unknown_message)
            await ACTIONS[_BY_ID[id]](self.handler, request, name)

    async def draw_suggestion(self, interaction: discord.Interaction[Any], number: str) -> None:
        """Draw a description of a picture that was chosen by its button."""
        async with self.handler.receive(InteractionRequest(interaction)) as request:
            await draw_suggestion(self.handler, request, number)

    async def choose_result(
        self, interaction: discord.Interaction[Any], key: str, result: str
    ) -> None:
        """Draw the result of a graph that was chosen in a menu."""
        async with self.handler.receive(InteractionRequest(interaction)) as request:
            await draw_result(self.handler, request, key, result)

    async def on_raw_reaction_add(self, payload: discord.RawReactionActionEvent) -> None:
        """Run the action of a person's reaction, on Marble's own results only."""
        member = payload.member
        if payload.guild_id and (member is None or member.bot):  # bots send no direct messages
            return
        emoji = (payload.emoji.name or "").replace(VARIATION, "")
        if (action := REACTIONS.get(emoji)) is None:
            return
        async with self._turn(payload, action):
            await self._react(payload, emoji, action)

    async def _react(
        self, payload: discord.RawReactionActionEvent, emoji: str, action: str
    ) -> None:
        if (found := await self._reacted_to(payload)) is None:
            return
        job, picture = found
        name = name_of(job, KEYCAPS.index(emoji) if emoji in KEYCAPS else picture)
        settings = await self.app.storage.people.settings(person_key(payload.user_id))
        request = ReactionRequest(self, payload, emoji, settings.get(LANGUAGE))
        async with self.handler.receive(request):
            self.handler.check_open(request)
            do = partial(ACTIONS[action], self.handler, request, name)
            if TABLE[action].repeatable:
                await do()
            else:
                await self._once(request.event, request.person, do)

    async def on_raw_reaction_remove(self, payload: discord.RawReactionActionEvent) -> None:
        """Remove a favourite whose reaction is taken back; nothing else can be undone.

        Discord does not say here who is a bot, but bots have no favourites.
        """
        emoji = (payload.emoji.name or "").replace(VARIATION, "")
        if (action := REACTIONS.get(emoji)) != "favourite":
            return
        async with self._turn(payload, action):
            if found := await self._reacted_to(payload):
                request = ReactionRequest(self, payload, emoji, None)
                async with self.handler.receive(request):
                    await remove_favourite(self.app, *found, request.person)

    def _turn(self, payload: discord.RawReactionActionEvent, action: str) -> asyncio.Lock:
        """Return the lock by which a person's reactions for an action to a message keep order."""
        key = payload.user_id, payload.message_id, action
        return self._reacting.setdefault(key, asyncio.Lock())

    async def _reacted_to(
        self, payload: discord.RawReactionActionEvent
    ) -> tuple[Job, int | None] | None:
        """Return the job, and the picture if it is one, of a message of Marble's."""
        if self.user is None or payload.user_id == self.user.id:
            return None
        if payload.message_author_id not in (None, self.user.id):
            return None
        return await self.app.storage.jobs.by_message(message_key(payload.message_id))

    async def _follow_unfinished(self) -> None:
        """Go on showing the progress of jobs that a process before this one took in."""
        jobs = self.app.storage.jobs
        unfinished: list[Job] = []
        while page := await jobs.list_queued(unfinished[-1].id if unfinished else 0):
            unfinished += page
        for job in (*await jobs.list_running(), *unfinished):
            if job.adapter == PLATFORM:
                self.handler.placeholders.follow(job)

    async def _answer_left(self) -> None:
        """Answer interactions that an earlier process acknowledged but never answered."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def answer(pending: PendingInteraction) -> None:
            async with slots:
                try:
                    await self._ask_again(pending)
                except Exception as error:
                    found = translate(error)
                    log.warning("%s is not answered: %s", pending.event, found)
                    if not isinstance(found, WayClosed):
                        return
                self._unanswered.answered(pending.event)

        await asyncio.gather(*map(answer, await self._unanswered.left()))

    async def _ask_again(self, pending: PendingInteraction) -> None:
        """Ask the person to try again, if they still see "thinking" and no job will answer."""
        if await self.app.storage.jobs.by_event(pending.event) is None:
            webhook = webhook_of(self, pending.application, pending.token)
            message = await with_retries(lambda: webhook.fetch_message(ORIGINAL), repeatable=True)
            if message.flags.loading:
                text = words_of(pending.language).ask_again
                await with_retries(
                    lambda: webhook.edit_message(ORIGINAL, content=text), repeatable=True
                )
