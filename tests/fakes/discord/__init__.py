"""A fake Discord that speaks the real protocol to the real client."""

from tests.fakes.discord.people import Person, Reply
from tests.fakes.discord.server import FakeDiscord, Waited
from tests.fakes.discord.world import Channel, Guild, Interaction, Message, User

__all__ = [
    "Channel",
    "FakeDiscord",
    "Guild",
    "Interaction",
    "Message",
    "Person",
    "Reply",
    "User",
    "Waited",
]
