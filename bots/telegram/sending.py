"""Send a message to where somebody asked, or as near to it as Telegram still lets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from telegram import Message, ReplyParameters
from telegram.error import BadRequest

from bots.telegram.addresses import Address
from bots.telegram.troubles import NO_SPOT, says


async def post(
    send: Callable[..., Awaitable[Message]], address: Address, *content: Any, **more: Any
) -> Message:
    """Send to an address by a method of the bot, as an answer in its topic.

    Where the topic is closed or deleted, or what is answered is gone, it goes to the chat itself.
    """
    try:
        return await send(
            address.chat,
            *content,
            message_thread_id=address.thread,
            reply_parameters=answering(address),
            **more,
        )
    except BadRequest as error:
        if not says(error, NO_SPOT) or (address.thread is None and address.to is None):
            raise
    return await send(address.chat, *content, **more)


def answering(address: Address) -> ReplyParameters | None:
    """Return what makes a message an answer, if there is still something to answer."""
    if address.to is None:
        return None
    return ReplyParameters(address.to, allow_sending_without_reply=True)
