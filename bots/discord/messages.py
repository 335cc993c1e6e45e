"""Messages in channels, direct messages, and answers to interactions by their token."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import discord

from bots.discord.address import Address, place_key, read_place
from bots.discord.errors import no_reference, takes_no_dm
from bots.discord.replies import Reply
from bots.texts import Words
from engine.errors import UserError

ORIGINAL: Final[Any] = "@original"  # an interaction's first answer, as Discord names it


async def send(
    client: discord.Client, address: Address, reply: Reply, **more: Any
) -> discord.Message:
    """Send a message to a channel, as a reply where there is something to reply to."""
    channel = client.get_partial_messageable(address.channel)
    if address.answers:
        answered = channel.get_partial_message(address.answers)
        reference = answered.to_reference(fail_if_not_exists=False)
        try:
            return await channel.send(reference=reference, **reply.new(), **more)
        except discord.HTTPException as error:
            if not no_reference(error):
                raise
    return await channel.send(**reply.new(), **more)


def webhook_of(client: discord.Client, application: int, token: str) -> discord.Webhook:
    """Return what edits answers to the interaction of a token."""
    webhook = discord.Webhook.partial(application, token, client=client)
    webhook.proxy = client.http.proxy  # it takes the session alone
    return webhook


async def send_dm(client: discord.Client, user: int, reply: Reply, **more: Any) -> discord.Message:
    """Send a direct message; `errors.takes_no_dm` recognises the error where none is taken."""
    channel = await client.create_dm(discord.Object(user))
    return await channel.send(**reply.new(), **more)


async def dm_place(client: discord.Client, user: int) -> str:
    """Return the place of somebody's direct messages."""
    return place_key(None, (await client.create_dm(discord.Object(user))).id)


@contextmanager
def dm_errors(words: Words) -> Iterator[None]:
    """Raise `UserError` where Discord says that somebody takes no direct messages."""
    try:
        yield
    except discord.HTTPException as error:
        if not takes_no_dm(error):
            raise
        raise UserError(words.dm_closed) from None


def is_adult(client: discord.Client, place: str) -> bool:
    """Return whether a place is a channel that is known to be age-restricted.

    Direct messages are not, nor are servers of which Marble is no member. A thread that is not
    known takes after its channel (`Gate.in_force`).
    """
    where = read_place(place)
    restricted = getattr(client.get_channel(where[1]) if where else None, "is_nsfw", None)
    return bool(restricted and restricted())
