"""What people do, on both chats; whatever state Marble is in, and whether or not it hears it."""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from PIL import Image

from tests.chaos.plan import Event
from tests.chaos.witness import Sighting, State, Witness
from tests.fakes.discord import FakeDiscord, Interaction, Message, Waited
from tests.fakes.discord import Person as Discordian
from tests.fakes.telegram.people import Chat, group, person
from tests.fakes.telegram.people import Person as Telegrammer
from tests.fakes.telegram.server import BOT, TelegramServer

PEOPLE: Final = 6  # on each chat
ANIMALS: Final = ("cat", "owl", "fox", "bear", "swan", "horse")
STEPS: Final = 3
TELEGRAM, DISCORD = "telegram", "discord"


@dataclass(eq=False)
class Deed:
    """Hold something that somebody did, and by what its answer is known."""

    kind: str
    platform: str
    at: float
    event: str | None = None  # as storage knows it; None: Marble cannot have heard of it
    seed: int | None = None
    said: str | None = None  # the key of their message
    query: str | None = None
    interaction: Interaction | None = None


@dataclass(eq=False)
class Crowd:
    """Hold the people of both chats, and all that they did."""

    telegram: TelegramServer
    discord: FakeDiscord
    witness: Witness
    deeds: list[Deed] = field(default_factory=list)
    telegrammers: list[Telegrammer] = field(init=False)
    discordians: list[Discordian] = field(init=False)
    group: Chat = field(init=False)

    def __post_init__(self) -> None:
        self.telegrammers = [person(self.telegram, number) for number in range(PEOPLE)]
        self.discordians = [self.discord.person(f"person{number}") for number in range(PEOPLE)]
        self.group = group(self.telegram)
        self.group.promote()

    async def do(self, event: Event) -> None:
        """Let somebody do something, on either chat, if there is anything to do it to."""
        chance = Random(event.dice)
        platform = chance.choice((TELEGRAM, DISCORD))
        with suppress(ConnectionError, NothingThere):
            deed = Deed(event.kind, platform, time.monotonic())
            await ACTS[platform][event.kind](self, deed, chance)

    def pick(self, platform: str, chance: Random, *states: State) -> Sighting:
        """Return one of the messages that say such a thing; raises `NothingThere`."""
        there = [
            each
            for each in self.witness.seen.values()
            if each.stands and each.state in states and each.key.startswith(platform)
        ]
        if not there:
            raise NothingThere
        return chance.choice(there)

    def note(self, deed: Deed, **facts: Any) -> None:
        """Remember a deed."""
        for name, value in facts.items():
            setattr(deed, name, value)
        self.deeds.append(deed)


class NothingThere(Exception):
    """Say that there is nothing yet that this could be done to."""


Act = Callable[[Crowd, Deed, Random], Awaitable[None]]


# ── Telegram ─────────────────────────────────────────────────────────────────────────────────────


async def _says(crowd: Crowd, deed: Deed, chance: Random, words: str, **more: Any) -> None:
    somebody = chance.choice(crowd.telegrammers)
    said = await somebody.says(words, **more)
    key = f"telegram:{said['chat']['id']}/{said['message_id']}"
    crowd.note(deed, said=key, event=_update(crowd))


def _update(crowd: Crowd) -> str:
    return f"telegram:{BOT}/{crowd.telegram.latest}"


def _prompt(deed: Deed, chance: Random, more: str = "") -> str:
    deed.seed = chance.getrandbits(48)
    return f"a marble {chance.choice(ANIMALS)} --seed {deed.seed} --steps {STEPS}{more}"


async def t_imagine(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _says(crowd, deed, chance, _prompt(deed, chance))


async def t_imagine_in_group(crowd: Crowd, deed: Deed, chance: Random) -> None:
    words = f"/imagine {_prompt(deed, chance)}"
    await _says(crowd, deed, chance, words, to=crowd.group)


async def t_imagine_two(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _says(crowd, deed, chance, _prompt(deed, chance, " --count 2"))


async def t_photo(crowd: Crowd, deed: Deed, chance: Random) -> None:
    somebody = chance.choice(crowd.telegrammers)
    said = await somebody.sends_photo(_png(chance), _prompt(deed, chance))
    key = f"telegram:{said['chat']['id']}/{said['message_id']}"
    crowd.note(deed, said=key, event=_update(crowd))


async def t_nonsense(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _says(crowd, deed, chance, "a cat --steps banana")


async def t_queue(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _says(crowd, deed, chance, "/queue")


def _pressing(label: str, *states: State) -> Act:
    async def press(crowd: Crowd, deed: Deed, chance: Random) -> None:
        message = _message(crowd, crowd.pick(TELEGRAM, chance, *states))
        query = await _person(crowd, message, chance).presses(message, label)
        crowd.note(deed, query=query, event=_update(crowd))

    return press


async def t_rerun(crowd: Crowd, deed: Deed, chance: Random) -> None:
    label = chance.choice(("Same seed", "New seed"))
    await _pressing(label, State.PICTURES)(crowd, deed, chance)


async def t_react(crowd: Crowd, deed: Deed, chance: Random) -> None:
    message = _message(crowd, crowd.pick(TELEGRAM, chance, State.PICTURES))
    if message["chat"]["id"] != crowd.group.id:
        raise NothingThere
    await chance.choice(crowd.telegrammers).reacts(message, chance.choice("👍🔥"))
    crowd.note(deed, event=_update(crowd))


async def t_take_away(crowd: Crowd, deed: Deed, chance: Random) -> None:
    sighting = crowd.pick(TELEGRAM, chance, State.WAITING)
    del crowd.telegram.messages[_place(sighting)]
    crowd.telegram.change()
    crowd.note(deed)


async def t_twice(crowd: Crowd, deed: Deed, chance: Random) -> None:
    """Press a button two times in a hurry: two deeds, two jobs."""
    message = _message(crowd, crowd.pick(TELEGRAM, chance, State.PICTURES))
    somebody = _person(crowd, message, chance)
    for _ in range(2):
        query = await somebody.presses(message, "Same seed")
        again = Deed(deed.kind, deed.platform, deed.at)
        crowd.note(again, query=query, event=_update(crowd))


def _place(sighting: Sighting) -> tuple[int, int]:
    chat, _, number = sighting.key.removeprefix("telegram:").partition("/")
    return int(chat), int(number)


def _message(crowd: Crowd, sighting: Sighting) -> dict[str, Any]:
    if found := crowd.telegram.messages.get(_place(sighting)):
        return found
    raise NothingThere


def _person(crowd: Crowd, message: dict[str, Any], chance: Random) -> Telegrammer:
    """Return whose private chat it is; in a group, anybody."""
    for each in crowd.telegrammers:
        if each.id == message["chat"]["id"]:
            return each
    return chance.choice(crowd.telegrammers)


# ── Discord ──────────────────────────────────────────────────────────────────────────────────────


async def _sends(
    crowd: Crowd, deed: Deed, somebody: Discordian, interaction: Interaction, times: int = 1
) -> None:
    crowd.note(deed, interaction=interaction, event=f"discord:{interaction.id}")
    await somebody.sends(interaction, times=times)


async def _imagines(crowd: Crowd, deed: Deed, chance: Random, **more: Any) -> None:
    somebody = chance.choice(crowd.discordians)
    deed.seed = chance.getrandbits(48)
    words = {"prompt": f"a marble {chance.choice(ANIMALS)}", "seed": str(deed.seed)}
    times = more.pop("times", 1)
    try:
        interaction = await somebody.typed("imagine", {**words, "steps": STEPS, **more})
    except AssertionError as error:
        raise Waited(f"/imagine cannot be typed: {error}") from error
    await _sends(crowd, deed, somebody, interaction, times)


async def d_imagine(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _imagines(crowd, deed, chance)


async def d_imagine_two(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _imagines(crowd, deed, chance, count=2)


async def d_twice(crowd: Crowd, deed: Deed, chance: Random) -> None:
    """Let Discord deliver one command two times: one job."""
    await _imagines(crowd, deed, chance, times=2)


async def d_photo(crowd: Crowd, deed: Deed, chance: Random) -> None:
    upload = chance.choice(crowd.discordians).uploads("start.png", _png(chance))
    await _imagines(crowd, deed, chance, image=upload)


async def d_nonsense(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _imagines(crowd, deed, chance, model="no such model")


async def _click(
    crowd: Crowd, deed: Deed, chance: Random, act: str, state: State, times: int = 1
) -> None:
    message = _found(crowd, crowd.pick(DISCORD, chance, state))
    asker = message.by_interaction.user if message.by_interaction else None
    somebody = next((p for p in crowd.discordians if p.user is asker), crowd.discordians[0])
    item = next((b for b in message.buttons().values() if f":{act}:" in b["custom_id"]), None)
    if item is None:  # it was loading
        raise NothingThere
    data = {"custom_id": item["custom_id"], "component_type": item["type"]}
    await _sends(crowd, deed, somebody, somebody._interaction(3, data, message), times)


async def d_rerun(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _click(crowd, deed, chance, chance.choice(("again", "dice")), State.PICTURES)


async def d_cancel(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _click(crowd, deed, chance, "drop", State.WAITING)


async def d_delete(crowd: Crowd, deed: Deed, chance: Random) -> None:
    await _click(crowd, deed, chance, "drop", State.PICTURES)


async def d_react(crowd: Crowd, deed: Deed, chance: Random) -> None:
    message = _found(crowd, crowd.pick(DISCORD, chance, State.PICTURES))
    somebody = chance.choice(crowd.discordians)
    emoji = chance.choice("🌱🎲")
    if (somebody.id, emoji) in message.reactions:
        raise NothingThere
    crowd.note(deed, event=f"discord:{message.id}:{somebody.id}:{emoji}")
    await somebody.reacts(emoji, message, times=chance.choice((1, 2)))


async def d_take_away(crowd: Crowd, deed: Deed, chance: Random) -> None:
    message = _found(crowd, crowd.pick(DISCORD, chance, State.WAITING))
    message.deleted = True
    await crowd.discord.happened()
    crowd.note(deed)


async def d_queue(crowd: Crowd, deed: Deed, chance: Random) -> None:
    somebody = chance.choice(crowd.discordians)
    await _sends(crowd, deed, somebody, await somebody.typed("queue", {}))


def _found(crowd: Crowd, sighting: Sighting) -> Message:
    return crowd.discord.messages[int(sighting.key.removeprefix("discord:"))]


def _png(chance: Random) -> bytes:
    out = io.BytesIO()
    colour = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
    Image.new("RGB", (128, 128), colour).save(out, "PNG")
    return out.getvalue()


ON_TELEGRAM: Final[Mapping[str, Act]] = {
    "imagine": t_imagine,
    "imagine in a group": t_imagine_in_group,
    "imagine two": t_imagine_two,
    "start from a photo": t_photo,
    "rerun": t_rerun,
    "rerun by reaction": t_react,
    "cancel": _pressing("Cancel", State.WAITING),
    "delete": _pressing("Delete", State.PICTURES),
    "take the placeholder away": t_take_away,
    "ask twice at once": t_twice,
    "ask for nonsense": t_nonsense,
    "look at the queue": t_queue,
}
ON_DISCORD: Final[Mapping[str, Act]] = {
    "imagine": d_imagine,
    "imagine in a group": d_imagine,
    "imagine two": d_imagine_two,
    "start from a photo": d_photo,
    "rerun": d_rerun,
    "rerun by reaction": d_react,
    "cancel": d_cancel,
    "delete": d_delete,
    "take the placeholder away": d_take_away,
    "ask twice at once": d_twice,
    "ask for nonsense": d_nonsense,
    "look at the queue": d_queue,
}
ACTS: Final = {TELEGRAM: ON_TELEGRAM, DISCORD: ON_DISCORD}
