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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from telegram import InlineKeyboardMarkup, InputMediaDocument, InputMediaPhoto
from telegram.error import BadRequest, TelegramError
from telegram.ext import ExtBot

from bots.admission.visibility import Screen, View, Withheld
from bots.presentation import Limit, caption, compose, cut, fit, quote_names, utf16_length
from bots.telegram import keyboards
from bots.telegram.address import Address, message_key, message_of
from bots.telegram.errors import MEDIA_NOW, NO_PHOTO, SAME, says, translate
from bots.telegram.progress import Placeholders
from bots.telegram.rate_limits import BRIEFLY
from bots.telegram.sending import at_or_near, post_at
from bots.texts import Words, say, tell
from bots.worker.delivery import Shown, Way, WayClosed
from engine.pictures.images import blank
from storage import DatabaseFault, Job, Parcel, Picture, Status

PHOTO: Final = Limit(size=10_000_000, sides=10_000, ratio=20.0, formats=frozenset({"png", "jpeg"}))
DOCUMENT: Final = 50_000_000  # bytes
CAPTION: Final = 1024  # UTF-16 units
TEXT: Final = 4096
REMOVAL: Final = 10.0  # seconds that a placeholder's removal may take: the reply stands already
NOTHING: Final = (256, 256)  # pixels of what stands where nothing may be seen

EDIT: Final = Way("edit", repeatable=True)
MESSAGE: Final = Way("message", repeatable=False)
IN_WORDS: Final = Way("edit in words", repeatable=True)
ALONE: Final = Way("words alone", repeatable=False)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a message shows: a text, and with it a picture or none."""

    text: str
    buttons: InlineKeyboardMarkup | None
    photo: bytes | None = None
    original: bytes | None = None  # what goes out as a document where a photo is refused
    name: str = ""  # the document's
    picture: int | None = None  # the index of the one picture it shows
    spoiler: bool = False
    withheld: bool = False  # there is a picture, which may not be seen


@dataclass(frozen=True, slots=True)
class Replies:
    """Sends replies, each by the first of `ways` that works."""

    bot: ExtBot[str] = field(repr=False)  # it shows its token
    screen: Screen
    placeholders: Placeholders
    ways: Sequence[Way] = (EDIT, MESSAGE, IN_WORDS, ALONE)

    async def deliver(self, parcel: Parcel, way: Way) -> Shown:
        """Send a reply and return the message that shows it, or raise as `delivery` says."""
        send: Mapping[Way, Callable[[Parcel], Awaitable[Shown]]] = {
            EDIT: self._edit,
            MESSAGE: self._send,
            IN_WORDS: self._edit_in_words,
            ALONE: self._say,
        }
        try:
            return await send[way](parcel)
        except TelegramError as error:
            raise translate(error) from None

    async def _edit(self, parcel: Parcel) -> Shown:
        return await self._turn_into(parcel, await self.compose(parcel))

    async def _edit_in_words(self, parcel: Parcel) -> Shown:
        return await self._turn_into(parcel, self.compose_in_words(parcel))

    async def _turn_into(self, parcel: Parcel, reply: Reply) -> Shown:
        """Turn the placeholder into a reply."""
        placeholder = await self.placeholders.settle(parcel.job)
        if placeholder.message is None:
            raise WayClosed("there is no placeholder")
        chat, message = message_of(placeholder.message)
        where = {
            "chat_id": chat,
            "message_id": message,
            "reply_markup": reply.buttons,
            "rate_limit_args": BRIEFLY,
        }
        try:
            await self._become(reply, where)
        except BadRequest as error:
            if not says(error, SAME):
                raise
        return {placeholder.message: reply.picture}

    async def _become(self, reply: Reply, where: dict[str, Any]) -> None:
        """Turn a message into a reply, whatever it shows now."""
        if reply.photo is None:
            try:
                await self.bot.edit_message_text(cut(reply.text, TEXT, utf16_length), **where)
            except BadRequest as error:  # a preview stands there
                if not says(error, MEDIA_NOW):
                    raise
                text = cut(reply.text, CAPTION, utf16_length)
                if reply.withheld:  # and so must what led to it
                    nothing = InputMediaPhoto(blank(*NOTHING), caption=text)
                    await self.bot.edit_message_media(nothing, **where)
                else:
                    await self.bot.edit_message_caption(caption=text, **where)
            return
        try:
            media = InputMediaPhoto(reply.photo, caption=reply.text, has_spoiler=reply.spoiler)
            await self.bot.edit_message_media(media, **where)
        except BadRequest as error:
            if not says(error, NO_PHOTO):
                raise
            document = InputMediaDocument(_file(reply), caption=reply.text, filename=reply.name)
            await self.bot.edit_message_media(document, **where)

    async def show(
        self, address: Address, job: Job, pictures: Sequence[Picture]
    ) -> tuple[str, int | None]:
        """Send a job's pictures again; return the message and the one picture that it shows."""

        async def send(near: Address) -> tuple[str, int | None]:
            seen = await self.screen.of(near.place)
            reply = await asyncio.to_thread(self._picture, job, pictures, seen, address.words)
            return await self._post(reply, near), reply.picture

        return await at_or_near(send, address)

    async def _send(self, parcel: Parcel) -> Shown:
        address = _address(parcel)

        async def send(near: Address) -> tuple[str, int | None]:
            reply = await self.compose(parcel, None if near == address else near.place)
            return await self._post(reply, near, BRIEFLY), reply.picture

        sent, picture = await at_or_near(send, address)
        await self._remove_placeholder(parcel)
        return {sent: picture}

    async def _say(self, parcel: Parcel) -> Shown:
        reply, address = self.compose_in_words(parcel), _address(parcel)
        text = cut(reply.text, TEXT, utf16_length)
        message = await self.bot.send_message(address.chat, text, rate_limit_args=BRIEFLY)
        await self._remove_placeholder(parcel)
        return {message_key(message.chat.id, message.message_id): None}

    async def _remove_placeholder(self, parcel: Parcel) -> None:
        """Remove a placeholder that could not become the reply, as far as Telegram lets.

        What takes longer would let the whole delivery fail, and the reply be sent again.
        """
        if parcel.job.message is None:
            return
        try:
            async with asyncio.timeout(REMOVAL):
                await self.bot.delete_message(*message_of(parcel.job.message))
        except TelegramError as error:
            log.info("the placeholder of job %d stays: %s", parcel.job.id, translate(error))
        except TimeoutError:
            log.info("the placeholder of job %d stays: that took too long", parcel.job.id)

    async def _post(self, reply: Reply, address: Address, wait: str | None = None) -> str:
        """Send a reply as a new message and return its name."""
        more: dict[str, Any] = {"reply_markup": reply.buttons, "rate_limit_args": wait}
        if reply.photo is None:
            text = cut(reply.text, TEXT, utf16_length)
            message = await post_at(self.bot.send_message, address, text, **more)
            return message_key(message.chat.id, message.message_id)
        more["caption"] = reply.text
        try:
            message = await post_at(
                self.bot.send_photo, address, reply.photo, has_spoiler=reply.spoiler, **more
            )
        except BadRequest as error:
            if not says(error, NO_PHOTO):
                raise
            message = await post_at(
                self.bot.send_document, address, _file(reply), filename=reply.name, **more
            )
        return message_key(message.chat.id, message.message_id)

    async def compose(self, parcel: Parcel, place: str | None = None) -> Reply:
        """Return what a reply shows; `place` is where, if not in the job's own."""
        job, words = parcel.job, _address(parcel).words
        if parcel.outcome is not Status.RENDERED:
            return self._compose_end(parcel, words)
        try:
            seen = await self.screen.of(place or job.place)
            return await asyncio.to_thread(self._picture, job, job.pictures, seen, words)
        except DatabaseFault as fault:
            if fault.passing:
                raise ConnectionError(str(fault)) from fault
            return Reply(text=words.lost_picture, buttons=keyboards.of_failure(job.id, words))

    def compose_in_words(self, parcel: Parcel) -> Reply:
        """Return what a reply says whose picture Telegram does not take."""
        job, words = parcel.job, _address(parcel).words
        if parcel.outcome is not Status.RENDERED:
            return self._compose_end(parcel, words)
        note = words.not_shown.format(name=job.id)
        return Reply(
            text=_captioned(job, words, note), buttons=keyboards.of_result(job, None, words)
        )

    def _compose_end(self, parcel: Parcel, words: Words) -> Reply:
        """Return what a reply says to a job without pictures."""
        job = parcel.job
        if parcel.outcome is Status.CANCELLED:
            return Reply(text=words.cancelled, buttons=None)
        text = words.failed.format(reason=quote_names(say(job.error or "", words)))
        return Reply(text=text, buttons=keyboards.of_failure(job.id, words))

    def _picture(self, job: Job, pictures: Sequence[Picture], seen: View, words: Words) -> Reply:
        """Read pictures, as one grid where there are several; blocks."""
        one = pictures[0] if len(pictures) == 1 else None
        buttons = keyboards.of_result(job, one.index if one else None, words)
        try:
            pngs = seen.read_all(pictures)
        except Withheld as error:
            text = _captioned(job, words, tell(error, words))
            index = one.index if one else None
            return Reply(text=text, buttons=buttons, picture=index, withheld=True)
        shown = pngs[0] if one else compose(pngs)
        return Reply(
            text=_captioned(job, words, say(seen.note(pictures), words)),
            buttons=buttons,
            spoiler=seen.veils(pictures),
            photo=fit(shown, PHOTO).data,
            original=shown,
            name=f"marble-{one.name if one else job.id}.png",
            picture=one.index if one else None,
        )


def _address(parcel: Parcel) -> Address:
    return Address.from_dict(parcel.job.reply)


def _captioned(job: Job, words: Words, note: str) -> str:
    """Return a result's caption, with a note below it where there is one."""
    below = f"\n{note}" if note else ""
    limit = CAPTION - utf16_length(below)
    return caption(job, words, limit=limit, length=utf16_length) + below


def _file(reply: Reply) -> bytes:
    if reply.spoiler:
        raise WayClosed("a document cannot be behind a spoiler")
    if reply.original is None or len(reply.original) > DOCUMENT:
        raise WayClosed("the picture is too large for a document")
    return reply.original
