"""From the outbox to Telegram: the placeholder becomes the picture.

A reply that would have to wait for its chat is tried later, so that others need not wait for it.
An edit may be made twice and leaves one picture, so it comes first. Where there is no placeholder
or it is gone, the picture comes as a message of its own; where a photo is refused, as a document.
Where no picture is taken, the placeholder says so; where it is gone, a message of words alone does,
which has nothing left that could be refused but the chat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakValueDictionary

from telegram import (
    InlineKeyboardMarkup,
    InputMediaAnimation,
    InputMediaDocument,
    InputMediaPhoto,
    Message,
)
from telegram.error import BadRequest, TelegramError
from telegram.ext import ExtBot

from bots.admission.gate import Gate
from bots.admission.visibility import View, Withheld
from bots.chat.errors import excuse
from bots.chat.making_of import making_of_reply, page_address
from bots.presentation.fit import Limit, fit, fit_composed
from bots.presentation.grid import compose
from bots.presentation.lines import best_note, caption, device_note
from bots.presentation.making_of import MakingOf, animation, brief
from bots.presentation.text import cut, fit_lines, quote_names, utf16_length
from bots.telegram import inline_messages, keyboards
from bots.telegram.address import (
    CAPTION,
    TEXT,
    Address,
    at_or_near,
    inline_key,
    key_of,
    message_key,
    read_message_key,
)
from bots.telegram.errors import MEDIA_NOW, NO_PHOTO, SAME, says, translate
from bots.telegram.progress import Placeholders
from bots.telegram.rate_limits import BRIEF, BRIEFLY
from bots.texts import Words, say, tell
from bots.worker.delivery import Shown, TryLater, Undeliverable, Way, WayClosed
from engine.pictures.images import blank
from storage import Job, Jobs, PendingReply, Picture, Status
from storage.errors import LostPicture

PHOTO: Final = Limit(size=10_000_000, sides=10_000, ratio=20.0, formats=frozenset({"png", "jpeg"}))
DOCUMENT: Final = 50_000_000  # bytes
REMOVAL: Final = 10.0  # seconds that the removal of a placeholder may take
NOTHING: Final = (256, 256)  # pixels of the blank that replaces a preview

EDIT: Final = Way("edit", repeatable=True)
MESSAGE: Final = Way("message", repeatable=False)
IN_WORDS: Final = Way("edit in words", repeatable=True)
ALONE: Final = Way("words alone", repeatable=False)
WAYS: Final = (EDIT, MESSAGE, IN_WORDS, ALONE)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a message shows: a text, and with it a picture or none."""

    text: str
    buttons: InlineKeyboardMarkup | None
    photo: bytes | None = None
    animation: bytes | None = None  # a GIF, in place of a photo
    original: bytes | None = None  # what goes out as a document where a photo is refused
    name: str = ""  # the document's, or the animation's
    picture: int | None = None  # the index of the one picture it shows
    spoiler: bool = False
    withheld: bool = False  # there is a picture, which may not be seen


@dataclass(frozen=True, slots=True)
class Replies:
    """Sends replies, each by the first of `WAYS` that works."""

    bot: ExtBot[str] = field(repr=False)  # it shows its token
    jobs: Jobs
    gate: Gate
    placeholders: Placeholders
    site: str | None = None  # the web page's address, which a button opens
    _turning: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def deliver(self, pending: PendingReply, way: Way) -> Shown:
        """Send a reply and return the messages that show it, or raise as `delivery` says."""
        job, address = pending.job, Address(**pending.job.reply)

        async def send(near: Address) -> tuple[Reply, Message]:
            reply = await self._compose(pending, way, near)
            return reply, await self._post(reply, near, BRIEFLY)

        try:
            if way in (EDIT, IN_WORDS):
                reply = await self._compose(pending, way, address)
                key, sent = await self._edit(job, reply)
            else:
                near = address.chat_itself if way == ALONE else address
                reply, posted = await at_or_near(send, near)
                key, sent = key_of(posted), posted
        except TelegramError as error:
            found = translate(error)
            if address.inline and isinstance(found, Undeliverable):
                await self._show_inline(address.inline, way, address.words.start_first)
            raise found from None
        if way not in (EDIT, IN_WORDS):
            await self._remove_placeholder(job)
        shown = {key: reply.picture}
        if address.inline:
            picture = sent if reply.photo else True  # else it may show a preview, or a blank
            await self._show_inline(address.inline, way, reply.text, picture, spoiler=reply.spoiler)
            shown[inline_key(address.inline)] = reply.picture
        return shown

    async def _show_inline(
        self,
        inline: str,
        way: Way,
        text: str,
        sent: Message | bool = True,
        *,
        spoiler: bool = False,
    ) -> None:
        """Show a message that was sent, or a text, in the other chat that it was asked for in.

        Where the reply would come twice if that was tried again, it is tried once.
        """
        more: dict[str, Any] = {"spoiler": spoiler, "urgency": BRIEFLY}
        try:
            await inline_messages.show(self.bot, inline, sent, text, **more)
        except (TelegramError, TryLater) as error:
            found = translate(error) if isinstance(error, TelegramError) else error
            if way.repeatable and not isinstance(found, (WayClosed, Undeliverable)):
                raise found from None
            log.warning("an inline message could not be changed: %s", found)

    async def show(self, address: Address, job: Job, pictures: Sequence[Picture]) -> Shown:
        """Send a job's pictures again."""

        async def send(near: Address) -> Shown:
            view = await self.gate.view(near.place)
            reply = await self._read(job, pictures, view, near.words)
            return {key_of(await self._post(reply, near)): reply.picture}

        return await at_or_near(send, address)

    async def turn(
        self, address: Address, message: int, job: Job, pictures: Sequence[Picture]
    ) -> None:
        """Let a message that shows a job show other pictures of it, and record which.

        Done twice it is the same. Two who ask at once come one after the other, so that what is
        recorded is what the message shows.
        """
        view = await self.gate.view(address.place)
        reply = await self._read(job, pictures, view, address.words)
        where = {"chat_id": address.chat, "message_id": message, "reply_markup": reply.buttons}
        key = message_key(address.chat, message)
        async with self._turning.setdefault(key, asyncio.Lock()):
            try:
                await self._become(reply, where)
            except BadRequest as error:
                if not says(error, SAME):
                    raise
            await self.jobs.shown(job.id, {key: reply.picture})

    async def _edit(self, job: Job, reply: Reply) -> tuple[str, Message | bool]:
        """Turn a job's placeholder into a reply; return its key, and the message where needed."""
        key = await self._placeholder(job)
        chat, number = read_message_key(key)
        where: dict[str, Any] = {"chat_id": chat, "message_id": number}
        where |= {"reply_markup": reply.buttons, "rate_limit_args": BRIEFLY}
        try:
            return key, await self._become(reply, where)
        except BadRequest as error:
            if not says(error, SAME):
                raise
        if not (job.reply.get("inline") and reply.photo):
            return key, True
        # Telegram returns a message when it changes, and this one has the file.
        await self.bot.edit_message_reply_markup(**{**where, "reply_markup": None})
        return key, await self.bot.edit_message_reply_markup(**where)

    async def _placeholder(self, job: Job) -> str:
        """Return the message that is a job's placeholder, once no edit of it is under way.

        Raises `TryLater` while it waits for its chat, so as not to wait in others' way.
        """
        placeholder = self.placeholders.stop(job)
        try:
            async with asyncio.timeout(None if placeholder.message else BRIEF), placeholder.lock:
                message = placeholder.message
        except TimeoutError:
            raise TryLater(self.placeholders.delay) from None
        # The job may have been read before its placeholder was recorded.
        message = message or (await self.jobs.get(job.id)).message
        if message is None and (job.reply.get("inline") or self.placeholders.drafts(job)):
            message = await self.placeholders.place(job, BRIEFLY)
        if message is None:
            raise WayClosed("there is no placeholder")
        return message

    async def _become(self, reply: Reply, where: dict[str, Any]) -> Message | bool:
        """Turn a message into a reply, whatever it shows now, and return it."""
        bot = self.bot
        if reply.animation:
            shown: dict[str, Any] = {"caption": reply.text, "has_spoiler": reply.spoiler}
            moving = InputMediaAnimation(reply.animation, filename=reply.name, **shown)
            return await bot.edit_message_media(moving, **where)
        if reply.photo is None:
            try:
                text = cut(reply.text, TEXT, utf16_length)
                return await bot.edit_message_text(text, **where)
            except BadRequest as error:  # it shows a preview
                if not says(error, MEDIA_NOW):
                    raise
            text = cut(reply.text, CAPTION, utf16_length)
            if reply.withheld:  # and so must its preview
                nothing = InputMediaPhoto(blank(*NOTHING), caption=text)
                return await bot.edit_message_media(nothing, **where)
            return await bot.edit_message_caption(caption=text, **where)
        try:
            media = InputMediaPhoto(reply.photo, caption=reply.text, has_spoiler=reply.spoiler)
            return await bot.edit_message_media(media, **where)
        except BadRequest as error:
            if not says(error, NO_PHOTO):
                raise
        document = InputMediaDocument(_file(reply), caption=reply.text, filename=reply.name)
        return await bot.edit_message_media(document, **where)

    async def _remove_placeholder(self, job: Job) -> None:
        """Remove a placeholder that could not become the reply, as far as Telegram lets.

        Were it waited for longer, the whole delivery would fail and the reply be sent again.
        """
        if job.message is None:
            return
        try:
            async with asyncio.timeout(REMOVAL):
                await self.bot.delete_message(*read_message_key(job.message))
        except TelegramError as error:
            log.info("the placeholder of job %d could not be changed: %s", job.id, translate(error))
        except TimeoutError:
            log.info("the placeholder of job %d could not be changed in time", job.id)

    async def _post(self, reply: Reply, near: Address, wait: str | None = None) -> Message:
        bot, chat = self.bot, near.chat
        more: dict[str, Any] = {"reply_markup": reply.buttons, "rate_limit_args": wait, **near.spot}
        if reply.animation:
            more |= {"caption": reply.text, "has_spoiler": reply.spoiler, "filename": reply.name}
            return await bot.send_animation(chat, reply.animation, **more)
        if reply.photo is None:
            return await bot.send_message(chat, cut(reply.text, TEXT, utf16_length), **more)
        more["caption"] = reply.text
        try:
            return await bot.send_photo(chat, reply.photo, has_spoiler=reply.spoiler, **more)
        except BadRequest as error:
            if not says(error, NO_PHOTO):
                raise
        return await bot.send_document(chat, _file(reply), filename=reply.name, **more)

    async def _read(self, job: Job, pictures: Sequence[Picture], view: View, words: Words) -> Reply:
        return await asyncio.to_thread(
            _read, job, pictures, view, words, page=self.site is not None
        )

    async def _compose(self, pending: PendingReply, way: Way, near: Address) -> Reply:
        job, words = pending.job, near.words
        retry = None
        if way != ALONE:
            retry = keyboards.for_action("rerun", job, words, label=words.rerun)
        if pending.outcome is Status.CANCELLED:
            return Reply(text=words.cancelled, buttons=None)
        if pending.outcome is not Status.RENDERED:
            reason = quote_names(say(job.error or "", words))
            return Reply(text=words.failed.format(reason=reason), buttons=retry)
        if way in (IN_WORDS, ALONE):
            text = _captioned(job, words, words.not_shown.format(name=job.id))
            buttons = None if way == ALONE else keyboards.of_result(job, None, words)
            return Reply(text=text, buttons=buttons)
        try:
            view = await self.gate.view(near.place)
            if making := await making_of_reply(self.jobs, job, view):
                return await asyncio.to_thread(_moving, job, making, view, words, self.site)
            return await self._read(job, job.pictures, view, words)
        except LostPicture as fault:
            return Reply(text=excuse(fault, words), buttons=retry)


def _read(
    job: Job, pictures: Sequence[Picture], view: View, words: Words, *, page: bool = False
) -> Reply:
    """Read pictures, as one grid where there are several; blocks."""
    one = pictures[0] if len(pictures) == 1 else None
    index = one.index if one else None
    buttons = keyboards.of_result(job, index, words, page=page)
    try:
        pngs = view.read_all(pictures)
    except Withheld as error:
        text = _captioned(job, words, tell(error, words), picture=index)
        return Reply(text=text, buttons=buttons, picture=index, withheld=True)
    numbers = [each.index + 1 for each in pictures]
    shown = fit(pngs[0], PHOTO) if one else fit_composed(compose(pngs, numbers=numbers), PHOTO)
    best = "" if one else best_note(job, words)
    notes = best, say(view.note(pictures), words), device_note(job, words)
    return Reply(
        text=_captioned(job, words, *notes, picture=index),
        buttons=buttons,
        spoiler=view.needs_spoiler(pictures),
        photo=shown.data,
        original=pngs[0] if one else shown.data,
        name=f"marble-{one.name}.png" if one else f"marble-{job.id}.{shown.suffix}",
        picture=index,
    )


def _moving(job: Job, making: MakingOf, view: View, words: Words, site: str | None) -> Reply:
    """Return how a picture comes about, as an animation; blocks."""
    lines = brief(making, words, page_address(site, job))
    index = job.pictures[0].index
    return Reply(
        text=fit_lines(lines, CAPTION, utf16_length),
        buttons=keyboards.of_result(job, index, words, page=site is not None),
        animation=animation(making, "GIF"),
        name=f"making-of-{making.name}.gif",
        picture=index,
        spoiler=view.needs_spoiler(job.pictures),
    )


def _captioned(job: Job, words: Words, *notes: str, picture: int | None = None) -> str:
    """Return a result's caption, with the notes below it that there are."""
    below = "".join(f"\n{note}" for note in notes if note)
    limit = CAPTION - utf16_length(below)
    return caption(job, words, limit=limit, length=utf16_length, picture=picture) + below


def _file(reply: Reply) -> bytes:
    if reply.spoiler:
        raise WayClosed("a document cannot be behind a spoiler")
    if reply.original is None or len(reply.original) > DOCUMENT:
        raise WayClosed("the picture is too large for a document")
    return reply.original
