"""The message of each job: it is announced, its progress is shown, its result takes their place."""

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import discord

from bots.admission.visibility import View
from bots.chat.making_of import making_of_reply
from bots.discord.address import Address, message_id, message_key
from bots.discord.errors import UNKNOWN_MESSAGE, log_error, refused_by, translate
from bots.discord.interaction import InteractionRequest
from bots.discord.messages import ORIGINAL, dm_place, is_adult, send, send_dm, webhook_of
from bots.discord.permissions import Losses, missing_at, moved_note
from bots.discord.replies import CONTENT, Reply, outcome_reply, progress_reply, reply_in_words
from bots.discord.request import Request
from bots.presentation.grid import pictures_of, preview_of
from bots.presentation.text import cut, escape_sentence
from bots.service.app import App
from bots.texts import DEFAULT, say, words_of
from bots.worker.delivery import Shown, Way, WayClosed
from engine.events import News, Progress
from storage import Job, PendingReply

EVERY: Final = 3.0  # seconds between two edits of one message
LANGUAGE: Final = "language"  # a person's setting, for when they react: a reaction brings none
SMALLER: Final = 0.5  # of the limit in bytes, after Discord found an upload too large
SHRINKS: Final = 4
RESULTS: Final = 16  # that are kept for a further try

log = logging.getLogger(__name__)

Send = Callable[[discord.Client, Job, Address, Reply], Awaitable[discord.Message]]


async def _by_token(
    client: discord.Client, job: Job, address: Address, reply: Reply
) -> discord.Message:
    if address.token is None or address.expired:
        raise WayClosed("the interaction's token expired")
    if job.message is None and not address.original:
        raise WayClosed("no message of its own is known")
    webhook = webhook_of(client, address.application, address.token)
    return await webhook.edit_message(message_id(job.message) or ORIGINAL, **reply.edit())


async def _by_edit(
    client: discord.Client, job: Job, address: Address, reply: Reply
) -> discord.Message:
    message = message_id(job.message)
    if message is None:
        raise WayClosed("no placeholder is known")
    channel = client.get_partial_messageable(address.channel)
    return await channel.get_partial_message(message).edit(**reply.edit())


async def _by_message(
    client: discord.Client, job: Job, address: Address, reply: Reply
) -> discord.Message:
    message = await send(client, address, reply, nonce=str(job.id))
    if message.content == reply.content and len(message.attachments) == len(reply.files):
        return message
    # Discord answers a repeated nonce with the first message: this is the placeholder.
    try:
        await message.edit(**reply.edit())
    except discord.HTTPException as error:
        if not refused_by(error, UNKNOWN_MESSAGE):  # which somebody has deleted
            raise
        message = await send(client, address, reply, nonce=f"{job.id}-anew")
    return message


async def _by_dm(
    client: discord.Client, job: Job, address: Address, reply: Reply
) -> discord.Message:
    # Nonces count in all channels: with the job's, Discord would answer with the placeholder.
    return await send_dm(client, address.person, reply, nonce=f"{job.id}-dm")


async def _in_words(
    client: discord.Client, job: Job, address: Address, reply: Reply
) -> discord.Message:
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


@dataclass(slots=True)
class _Message:
    """What a job's message shows, as far as that is known."""

    content: str | None = None
    pictures: Hashable = None  # which of the job, as `pictures_of` tells them
    preview: bytes | None = None  # … laid out
    files: Sequence[discord.Attachment] | None = None  # … as the message has it


class Placeholders:
    """Announces jobs, shows how far they are, and delivers their results."""

    def __init__(self, app: App, client: discord.Client, losses: Losses) -> None:
        self._app = app
        self._client = client
        self._losses = losses
        self._results = OrderedDict[int, tuple[object, Reply]]()  # by job, while they are sent
        self._followers: dict[int, asyncio.Task[None]] = {}  # by job
        self._editing: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def announce_each(self, request: InteractionRequest, jobs: Sequence[Job]) -> None:
        """Announce the jobs of one request, each in a message of its own."""
        first, *others = jobs
        await self.announce(request, first)
        for job in others:
            async with self._editing[job.id]:
                try:
                    reply = Reply(content=request.words.submitted)
                    if request.guest:
                        message = await request.post_further(reply)
                    else:
                        nonce = str(job.id)
                        message = (await send(self._client, request.address, reply, nonce=nonce)).id
                    job = await self._app.storage.jobs.acknowledged(job.id, message_key(message))
                except Exception as error:
                    log_error(error, "job %d could not be announced", job.id)
                self.follow(job)

    async def announce(self, request: Request, job: Job) -> None:
        """Show that a job is committed, and from now on how far it is.

        Whatever fails here is no refusal: the job is there, and its reply will come.
        """
        async with self._editing[job.id]:
            said = (escape_sentence(say(each, request.words)) for each in request.asker.notes)
            if note := "\n".join(filter(None, (request.note, *said))):
                try:
                    await request.show_note(cut(note, CONTENT))
                except Exception as error:
                    log_error(error, "the note of job %d could not be shown", job.id)
            try:
                if isinstance(request, InteractionRequest):
                    message = request.thinking  # which the first news replace
                else:
                    reply = Reply(content=request.words.submitted)
                    sent = await send(self._client, request.address, reply, nonce=str(job.id))
                    message = sent.id
                if message:
                    job = await self._app.storage.jobs.acknowledged(job.id, message_key(message))
                if isinstance(request, InteractionRequest):
                    language, people = request.address.language, self._app.storage.people
                    if (await people.settings(request.person)).get(LANGUAGE, DEFAULT) != language:
                        await people.change_settings(request.person, {LANGUAGE: language})
            except Exception as error:
                log_error(error, "job %d could not be announced", job.id)
            self.follow(job)

    def follow(self, job: Job) -> None:
        """Begin to show the progress of a job; a second call changes nothing."""
        if job.id in self._followers:
            return

        def forget(_: object) -> None:
            del self._followers[job.id], self._editing[job.id]

        task = asyncio.create_task(
            self._follow(job, self._editing[job.id]), name=f"discord-follow-{job.id}"
        )
        self._followers[job.id] = task
        task.add_done_callback(forget)

    async def close(self) -> None:
        """End all edits."""
        for task in self._followers.values():
            task.cancel()
        await asyncio.gather(*self._followers.values(), return_exceptions=True)

    async def _follow(self, job: Job, editing: asyncio.Lock) -> None:
        """Read all news of a job, and show the latest now and then until it is over."""
        latest = asyncio.Queue[News](1)
        preview: bytes | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                name = f"discord-edit-{job.id}"
                shower = tasks.create_task(self._show_latest(job, latest, editing), name=name)
                async for news in self._app.worker.follow(job.id):
                    if isinstance(news, Progress):  # most carry no preview
                        preview = news.preview or preview
                        news = replace(news, preview=preview)
                    if latest.full():
                        latest.get_nowait()
                    latest.put_nowait(news)
                async with editing:
                    shower.cancel()
        except* Exception as errors:
            log.info("job %d: its progress is no longer shown: %s", job.id, errors.exceptions[0])

    async def _show_latest(
        self, job: Job, latest: asyncio.Queue[News], editing: asyncio.Lock
    ) -> None:
        message = _Message()
        while True:
            news = await latest.get()
            async with editing:
                try:
                    await self._show(job, news, message)
                except Exception as error:  # the result will come all the same
                    log.info("the progress of job %d could not be shown: %s", job.id, error)
            await asyncio.sleep(EVERY)

    async def _show(self, job: Job, news: News, message: _Message) -> None:
        """Edit a job's message unless it shows the news already.

        A preview is shown if the rules of now allow it. What the message has is not sent again.
        """
        address = Address.from_dict(job.reply)
        # No way is left to show progress.
        if job.message is None and (address.expired or not address.original):
            return
        await self._lay_out(job, news, message)
        reply = progress_reply(job, news, message.preview, words_of(address.language))
        if message.files is not None:
            if reply.content == message.content:
                return
            reply = replace(reply, files=(), kept=message.files)
        message.content = message.files = None  # until the edit is known to have arrived
        by = _by_edit if address.expired else _by_token
        edited = await by(self._client, job, address, reply)
        message.content, message.files = reply.content, edited.attachments

    async def _lay_out(self, job: Job, news: News, message: _Message) -> None:
        """Lay out the pictures of the news, if they are others than the message shows."""
        pictures, preview = None, None
        if isinstance(news, Progress) and (news.preview or news.finished):
            view = await self._app.gate.view(job.place, partial(is_adult, self._client))
            checked = not view.previews
            pictures = pictures_of(news, checked=checked)
            if pictures == message.pictures:
                return
            preview = await asyncio.to_thread(preview_of, news, checked=checked)
        if pictures != message.pictures:
            message.pictures, message.preview, message.files = pictures, preview, None

    async def deliver(self, pending: PendingReply, way: Way) -> Shown:
        """Show a job's result in its message, by one of the `WAYS`."""
        await self._stop(pending.job.id)
        job = pending.job
        if job.message is None:  # it may have been read before its placeholder was recorded
            job = await self._app.storage.jobs.get(job.id)
        address = Address.from_dict(job.reply)
        lost = missing_at(self._client, job.place) if way == BY_DM else None
        try:
            message = await self._send(replace(pending, job=job), address, way, lost)
        except Exception as error:
            raise translate(error) from error
        self._results.pop(job.id, None)
        if lost:
            await self._losses.tell(job.place, lost)
        if way in (BY_MESSAGE, BY_DM) and job.message not in (None, message_key(message.id)):
            await self._end_placeholder(job, address, way)
        return {message_key(message.id): None}

    async def _stop(self, job: int) -> None:
        """End the edits of a job's message; one under way ends first, and so does announcing it.

        Cut off, it might still be carried out by Discord after the result.
        """
        if job in self._editing:
            async with self._editing[job]:
                if task := self._followers.get(job):
                    task.cancel()

    async def _send(
        self, pending: PendingReply, address: Address, way: Way, lost: str | None
    ) -> discord.Message:
        """Send a reply, smaller each time that Discord finds it too large.

        lost: the permission without which it is sent elsewhere than asked for.
        """
        job, client, limit = pending.job, self._client, address.limit
        if way == IN_WORDS:
            return await _in_words(client, job, address, reply_in_words(pending))
        if way == BY_DM:
            view = await self._app.gate.view(await dm_place(client, address.person))
        else:
            view = await self._app.gate.view(job.place, partial(is_adult, client))
        for _ in range(SHRINKS):
            reply = await self._outcome(pending, view, limit)
            if way == BY_DM:
                reply = reply.noted(moved_note(job.place, lost, words_of(address.language)))
            try:
                return await WAYS[way](client, job, address, reply)
            except discord.HTTPException as error:
                if error.status != 413:  # by Discord, or by a proxy before it
                    raise
                size = sum(len(each.data) for each in reply.files)
                limit = int(min(limit, size) * SMALLER)
                log.info("job %d: Discord rejects %d bytes; trying %d", job.id, size, limit)
        return await WAYS[way](client, job, address, replace(reply, files=()))

    async def _outcome(self, pending: PendingReply, view: View, limit: int) -> Reply:
        """Return a job's result, laid out once for all ways and tries that show the same."""
        job = pending.job.id
        asked = pending.outcome, pending.job.pictures, view, limit
        known = self._results.pop(job, None)
        if known is None or known[0] != asked:
            making = await making_of_reply(self._app.storage.jobs, pending.job, view)
            site = self._app.settings.web_address
            lay_out = partial(outcome_reply, pending, view, limit, site=site, making=making)
            reply = await asyncio.to_thread(lay_out)
            known = asked, reply
        self._results[job] = known
        if len(self._results) > RESULTS:
            self._results.popitem(last=False)
        return known[1]

    async def _end_placeholder(self, job: Job, address: Address, way: Way) -> None:
        """Say in a placeholder that took no picture that the result is elsewhere."""
        words = words_of(address.language)
        text = words.sent_by_dm if way == BY_DM else words.sent_anew
        try:
            await _in_words(self._client, job, address, Reply(content=text))
        except Exception as error:  # it is gone, or cannot be reached any more
            log.info("the placeholder of job %d could not be changed: %s", job.id, translate(error))
