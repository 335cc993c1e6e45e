"""The adapter: connects to Discord, and sends replies from the outbox."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

import discord

from bots.admission.visibility import View
from bots.discord.address import PLATFORM, Address, message_id, message_key
from bots.discord.client import MarbleClient
from bots.discord.connection import Connection, point_at
from bots.discord.errors import UNKNOWN_MESSAGE, refused_by, translate
from bots.discord.messages import dm_place, edit, edit_answer, is_adult, send, send_dm
from bots.discord.replies import Reply, outcome_reply, reply_in_words
from bots.discord.unanswered import Unanswered
from bots.service.app import App
from bots.texts import words_of
from bots.worker.delivery import Shown, TryLater, Way, WayClosed
from storage import Job, PendingReply

STARTING: Final = 30.0  # seconds to wait for the client before a reply is put off
SMALLER: Final = 0.5  # of the limit in bytes, after Discord found an upload too large
SHRINKS: Final = 4

log = logging.getLogger(__name__)

Send = Callable[[discord.Client, Job, Address, Reply], Awaitable[int]]


async def _by_token(client: discord.Client, job: Job, address: Address, reply: Reply) -> int:
    if address.expired:
        raise WayClosed("the interaction's token expired")
    return await edit_answer(client, address, message_id(job.message), reply)


async def _by_edit(client: discord.Client, job: Job, address: Address, reply: Reply) -> int:
    message = message_id(job.message)
    if message is None:
        raise WayClosed("no placeholder is known")
    await edit(client, address, message, reply)
    return message


async def _by_message(client: discord.Client, job: Job, address: Address, reply: Reply) -> int:
    message = await send(client, address, reply, nonce=str(job.id))
    if message.content == reply.content and len(message.attachments) == len(reply.files):
        return message.id
    # Discord answers a repeated nonce with the first message: this is the placeholder.
    try:
        await edit(client, address, message.id, reply)
    except discord.HTTPException as error:
        if not refused_by(error, UNKNOWN_MESSAGE):  # which somebody has deleted
            raise
        message = await send(client, address, reply, nonce=f"{job.id}-anew")
    return message.id


async def _by_dm(client: discord.Client, job: Job, address: Address, reply: Reply) -> int:
    # Nonces count in all channels: with the job's, Discord would answer with the placeholder.
    return await send_dm(client, address.person, reply, nonce=f"{job.id}-dm")


async def _in_words(client: discord.Client, job: Job, address: Address, reply: Reply) -> int:
    """Replace the placeholder by text, by token or else by editing the message."""
    try:
        return await _by_token(client, job, address, reply)
    except (WayClosed, discord.HTTPException) as error:
        if not isinstance(translate(error), WayClosed):
            raise
    return await _by_edit(client, job, address, reply)


# Discord drops a repeated nonce, but only for some minutes.
BY_MESSAGE: Final = Way("message", repeatable=False)
BY_DM: Final = Way("direct message", repeatable=False)
IN_WORDS: Final = Way("edit in words", repeatable=True)
WAYS: Final[Mapping[Way, Send]] = {
    Way("token", repeatable=True): _by_token,
    Way("edit", repeatable=True): _by_edit,
    BY_MESSAGE: _by_message,
    BY_DM: _by_dm,
    IN_WORDS: _in_words,
}


class DiscordAdapter:
    """Connects Marble to Discord."""

    name: str = PLATFORM
    ways: Sequence[Way] = tuple(WAYS)

    def __init__(self, app: App) -> None:
        self._app = app
        self._client: MarbleClient | None = None
        self._unanswered = Unanswered(app.settings.data_dir)
        point_at(app.settings)

    async def run(self) -> None:
        """Serve until cancelled; raises `AdapterStopped` where Discord refuses the token."""
        token = self._app.settings.discord_token
        assert token
        try:
            async with (
                self._unanswered.writing(),
                MarbleClient(self._app, self._unanswered) as client,
            ):
                self._client = client
                await client.start(token)
        except Exception as error:
            raise translate(error) from error
        finally:
            self._client = None

    async def check(self) -> None:
        """Ask Discord whether it accepts the token; raises as `errors.translate` says."""
        token = self._app.settings.discord_token
        assert token
        try:
            async with Connection(self._app.settings) as client:
                await client.login(token)
        except Exception as error:
            raise translate(error) from None

    def stop_intake(self) -> None:
        """Refuse what people ask for from now on, with a sentence."""
        if self._client:
            self._client.handler.closed = True

    async def deliver(self, pending: PendingReply, way: Way) -> Shown:
        """Show a job's result in its message, by one of the `ways`."""
        client = await self._started()
        await client.handler.announced(pending.job.id)
        await client.handler.progress.stop(pending.job.id)
        job = await self._app.storage.jobs.get(pending.job.id)
        address = Address.from_dict(job.reply)
        try:
            if way == IN_WORDS:
                message = await _in_words(client, job, address, reply_in_words(pending))
            else:
                view = await self._view(client, job, address, way)
                message = await self._send(client, pending, address, WAYS[way], job, view)
        except Exception as error:
            raise translate(error) from error
        if way in (BY_MESSAGE, BY_DM) and job.message not in (None, message_key(message)):
            await self._end_placeholder(client, job, address, way)
        return {message_key(message): None}

    async def _end_placeholder(
        self, client: MarbleClient, job: Job, address: Address, way: Way
    ) -> None:
        """Say in a placeholder that took no picture that the result is elsewhere."""
        words = words_of(address.language)
        text = words.sent_by_dm if way == BY_DM else words.sent_anew
        try:
            await _in_words(client, job, address, Reply(content=text))
        except Exception as error:  # it is gone, or cannot be reached any more
            log.info("the placeholder of job %d could not be changed: %s", job.id, translate(error))

    async def _started(self) -> MarbleClient:
        """Return the client once it can send; raises `TryLater`."""
        if client := self._client:
            with suppress(TimeoutError):
                async with asyncio.timeout(STARTING):
                    await client.started.wait()
                return client
        raise TryLater(1.0)

    async def _view(self, client: MarbleClient, job: Job, address: Address, way: Way) -> View:
        """Return the view for the place where a reply arrives by a way."""
        if way == BY_DM:
            return await self._app.gate.view(await dm_place(client, address.person))
        return await self._app.gate.view(job.place, partial(is_adult, client))

    async def _send(
        self,
        client: MarbleClient,
        pending: PendingReply,
        address: Address,
        send: Send,
        job: Job,
        view: View,
    ) -> int:
        """Send a reply, smaller each time that Discord finds it too large."""
        limit = address.limit
        for _ in range(SHRINKS):
            reply = await asyncio.to_thread(outcome_reply, pending, view, limit)
            try:
                return await send(client, job, address, reply)
            except discord.HTTPException as error:
                if error.status != 413:  # by Discord, or by a proxy before it
                    raise
                size = sum(len(each.data) for each in reply.files)
                limit = int(min(limit, size) * SMALLER)
                log.info("job %d: Discord rejects %d bytes; trying %d", job.id, size, limit)
        return await send(client, job, address, replace(reply, files=()))
