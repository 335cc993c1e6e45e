"""Sending a message to where somebody asked, or as near to it as Telegram still allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from telegram import Message, ReplyParameters
from telegram.error import BadRequest

from bots.telegram.address import Address
from bots.telegram.errors import NO_SPOT, says

T = TypeVar("T")


async def at_or_near(attempt: Callable[[Address], Awaitable[T]], address: Address) -> T:
    """Send at an address, or in the chat itself where its topic or what is answered is gone.

    attempt: sends at the address that it is given; other rules may be in force in the chat itself.
    """
    try:
        return await attempt(address)
    except BadRequest as error:
        if not says(error, NO_SPOT) or (address.thread is None and address.to is None):
            raise
    return await attempt(replace(address, thread=None, to=None))


async def post_at(
    send: Callable[..., Awaitable[Message]], address: Address, *content: Any, **more: Any
) -> Message:
    """Send by a method of the bot, as a reply in its topic; nowhere else."""
    reply = address.to and ReplyParameters(address.to, allow_sending_without_reply=True)
    where = {"message_thread_id": address.thread, "reply_parameters": reply}
    return await send(address.chat, *content, **where, **more)


async def post(
    send: Callable[..., Awaitable[Message]], address: Address, *content: Any, **more: Any
) -> Message:
    """Send by a method of the bot what may be seen in the whole chat: `at_or_near`."""
    return await at_or_near(lambda near: post_at(send, near, *content, **more), address)
