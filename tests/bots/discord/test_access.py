"""Who may see and end which picture on Discord: every row of the table, by every path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from PIL import Image

from bots.discord.actions import ACTIONS
from bots.discord.buttons import id_of
from engine.formats.metadata import write_png
from tests.bots.access_table import (
    ASKER,
    BANNED,
    CHANNEL,
    CLOSED,
    DM,
    GONE,
    HERE,
    MARBLES,
    MEMBER,
    MODERATOR,
    OWNER,
    PATHS,
    ROWS,
    STRANGER,
    THERE,
    THREAD,
    UNKNOWN,
    Row,
)
from tests.bots.discord.conftest import Marble
from tests.bots.presentation.test_presentation import png
from tests.factories import make_recipe
from tests.fakes.discord import FakeDiscord, Message, Person, Reply, User
from tests.fakes.discord.world import (
    GROUP_DM,
    INVITED,
    MANAGE_MESSAGES,
    PRIVATE_THREAD,
    VIEW_CHANNEL,
)

OWN: Final = frozenset({"history", "favourites", "forget"})  # about who asks alone
NUMBER_OF_NOTHING: Final = "999"
NO: Final = "that you may see here"
REFUSED: Final = (
    "everybody here may see it",
    "may not request",
    "Only the person who requested it",
)
BUTTONS: Final = {"file": "mail", "recipe": "recipe", "draw": "again", "making_of": "making"}
COMPARED: Final = "Pictures are not compared with words here"  # the picture was found


@dataclass
class World:
    """Hold a server with a channel for all and one for some, and who is in it."""

    discord: FakeDiscord
    people: dict[str, Person]
    pictures: dict[str, Reply]

    def asks(self, row: Row) -> Person:
        """Return who asks, where they ask."""
        who = self.people["member of one thread" if row.posted == THREAD else row.who]
        if row.asked == DM:
            return who.in_dm()
        if row.asked == THERE:
            return who.at(self.people[STRANGER].channel)
        return who.at(self.pictures[row.posted].message.channel)


def name_of(reply: Reply | None) -> str:
    return reply.text.split("-# ")[1].split(" ")[0] if reply else NUMBER_OF_NOTHING


async def by_path(person: Person, path: str, name: str, on: Message) -> Reply:
    """Ask for a picture by a path; buttons are those of a message that may show another."""
    if path == "show":
        return await person.types("show", picture=name)
    if path == "like":
        return await person.types("history", like=name)
    if path == "end":
        return await person.types("cancel", job=name)
    return await person.forges(f"marble:{BUTTONS[path]}:{name}", on)


def came_of(path: str, reply: Reply) -> str | None:
    """Say what came of it as the table does; None while it is not known yet."""
    assert reply.interaction
    messages = [reply.interaction.original, *reply.interaction.followups]
    if not (there := [each for each in messages if each and not (each.deleted or each.loading)]):
        return None
    message = there[-1]
    for came, sentences in (("no", (NO,)), ("refused", REFUSED)):
        if any(sentence in message.content for sentence in sentences):
            assert message.ephemeral, message.content
            return came
    signs = {
        "show": message.attachments,
        "file": "Sent to you" in message.content,
        "recipe": "Recipe of" in message.content,
        "like": COMPARED in message.content,
        "making_of": [each for each in message.attachments if "making-of" in each.filename],
        "draw": " · from " in message.content,
        "end": "too late" in message.content.lower(),
    }
    if not signs[path]:
        return None
    if path == "end":
        return "yes"
    return "alone" if message.ephemeral else "all"


async def build(discord: FakeDiscord, marble: Marble) -> World:
    staff = discord.add_channel(discord.guild, denied=VIEW_CHANNEL)
    thread = discord.add_thread(discord.channel, PRIVATE_THREAD)
    ann = discord.person("ann")
    outsider = User("olga")
    discord.people[outsider.id] = outsider
    people = {
        ASKER: ann,
        MEMBER: discord.person("bob"),
        STRANGER: discord.person("eve"),
        UNKNOWN: Person(discord, outsider, discord.channel),
        MODERATOR: discord.person("warden"),
        MARBLES: discord.person("mo"),
        OWNER: discord.person("owen"),
        BANNED: discord.person("rude"),
        "member of one thread": discord.person("tim"),
    }
    for who in (ann, people[MEMBER], people[BANNED]):
        staff.members[who.id] = INVITED
    staff.members[discord.bot.id] = INVITED
    staff.members[people[MODERATOR].id] = INVITED | MANAGE_MESSAGES
    marble.settings |= {
        "MARBLE_CLIP_MODEL": "off",
        "MARBLE_MODERATORS": f"discord:{people[MARBLES].id}",
        "MARBLE_OWNERS": f"discord:{people[OWNER].id}",
    }
    await marble.start()
    judge = discord.person("judge", MANAGE_MESSAGES)
    await (await judge.types("moderate ban", person=people[BANNED], reason="rude")).said("rude")
    pictures = {}
    for posted, channel in {CHANNEL: staff, THREAD: thread, CLOSED: None}.items():
        there = ann.at(channel) if channel else ann.in_dm()
        pictures[posted] = await there.imagine("a marble scholar", size="64", seed="7")
        await pictures[posted].picture()
    return World(discord, people, pictures)


async def test_every_row_of_the_table_by_every_path(discord: FakeDiscord, cold: Marble) -> None:
    world = await build(discord, cold)
    elsewhere = await world.people[STRANGER].imagine("a marble cat", size="64")
    await elsewhere.picture()
    wrong = []
    for row in ROWS:
        if not (expected := row.cells("discord")):
            continue
        picture = world.pictures.get(row.posted)
        assert (picture is None) == (row.posted == GONE)
        person = world.asks(row)
        on = picture.message if picture and row.asked == HERE else elsewhere.message
        if row.asked == DM:
            on = (await person.types("help")).message
        for path in PATHS:
            reply = await by_path(person, path, name_of(picture), on)
            came = await discord.until(partial(came_of, path, reply), f"{row} {path}")
            if came != expected[path]:
                wrong.append((row, path, came, reply.text))
    assert wrong == []


async def test_what_is_not_there_and_what_may_not_be_seen_are_told_of_in_the_same_words(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    secret = await ann.in_dm().imagine("a secret", size="64")
    await secret.picture()
    own = await bob.imagine("a cat", size="64")
    await own.picture()
    for act in map(id_of, ACTIONS.keys() - OWN):
        told = []
        for name in (name_of(secret), NUMBER_OF_NOTHING):
            reply = await bob.forges(f"marble:{act}:{name}", own)
            told.append((await reply.said("may see here")).replace(name, "N"))
            assert reply.ephemeral, act
        assert told[0] == told[1], act
    assert await (await bob.forges("marble:unheard:1", own)).said("has no picture by Marble")


async def test_a_changed_app_deletes_no_message_that_shows_another_picture(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    others, own = await ann.imagine("a cat", size="64"), await bob.imagine("a dog", size="64")
    await others.picture()
    await own.picture()
    refused = await bob.forges(f"marble:drop:{name_of(own)}", others)
    assert await refused.said("has no picture by Marble")
    assert not others.message.deleted


async def test_a_form_is_held_to_the_same_rules_when_it_comes_back(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    secret = await ann.in_dm().imagine("a secret", size="64")
    await secret.picture()
    own = await bob.imagine("a cat", size="64")
    await own.picture()
    form = await bob.clicks("Change recipe", own)
    assert form.interaction
    assert form.interaction.answer
    form.interaction.answer["custom_id"] = f"marble-form:change:{name_of(secret)}"
    refused = await bob.submits(form, prompt="a dog")
    assert await refused.said("may see here")
    assert refused.ephemeral


async def test_a_start_image_is_one_that_somebody_chose_themselves(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    secret, own = (who.posts("a.png", png(64, 64, seed=n)) for n, who in enumerate((ann, bob)))
    forms = [await who.chooses("Use as start image", on) for who, on in ((ann, secret), (bob, own))]
    theirs, his = (form.interaction.answer for form in forms if form.interaction)
    assert theirs
    assert his
    good = his["custom_id"]
    *_, image, _ = theirs["custom_id"].split(":")
    *_, seal = good.split(":")
    for forged in (theirs["custom_id"], f"marble-form:start:{image}:{seal}", good[:-17]):
        his["custom_id"] = forged
        refused = await bob.submits(forms[1], prompt="a dog")
        assert await refused.said("form is not valid any more")
        assert refused.ephemeral
    his["custom_id"] = good
    assert await (await bob.submits(forms[1], prompt="a dog")).picture()


async def test_in_direct_messages_of_others_pictures_of_elsewhere_are_shown_alone(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    first = await ann.imagine("a marble scholar", size="64")
    await first.picture()
    among_friends = bob.at(discord.add_channel(None, kind=GROUP_DM))
    shown = await among_friends.types("show", picture=name_of(first))
    await shown.said("a marble scholar")
    assert shown.ephemeral
    assert shown.message.attachments
    refused = await among_friends.clicks("Same seed", shown)
    assert await refused.said("everybody here may see it")


async def test_nothing_is_fetched_for_who_may_not_ask(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    message = ann.posts("a.png", write_png(Image.new("RGB", (64, 64)), make_recipe(), 0))
    await (await judge.types("moderate ban", person=bob, reason="rude")).said("rude")
    given = bob.uploads("a.png", png(64, 64))
    for reply in (
        await bob.chooses("Rerun", message),
        await bob.chooses("Use as start image", message),
        await bob.imagine("a cat", image=given),
    ):
        assert await reply.said("may not request pictures here")
    assert discord.downloads == []


async def test_favourites_show_what_may_still_be_seen(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    staff = discord.add_channel(discord.guild)
    await discord.gateway.emit("GUILD_CREATE", discord.guild.json(discord.bot))
    first = await ann.at(staff).imagine("a staff cat", size="64")
    second = await ann.imagine("a dog for all", size="64")
    await first.picture()
    await second.picture()
    await (await bob.at(staff).clicks("Favourite", first)).said("your favourites")
    await (await bob.clicks("Favourite", second)).said("your favourites")
    page = await bob.in_dm().types("history", favourites=True)
    assert "a staff cat" in await page.said("a dog for all")
    staff.denied = VIEW_CHANNEL
    await discord.gateway.emit("GUILD_CREATE", discord.guild.json(discord.bot))
    page = await bob.types("history", favourites=True)
    assert "a staff cat" not in await page.said("a dog for all")
    # What one may no longer see, one may still let go of.
    await bob.takes_back("⭐", first)
    staff.denied = 0
    await discord.gateway.emit("GUILD_CREATE", discord.guild.json(discord.bot))
    while "a staff cat" in await (await bob.types("history", favourites=True)).said("a dog"):
        pass


async def test_reactions_of_bots_do_nothing(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    robot = discord.person("robot", bot=True)
    first = await ann.imagine("a marble scholar", count=2, size="64")
    await first.picture()
    for emoji in ("🎲", "1️⃣", "✉️", "⭐", "❌"):
        await robot.reacts(emoji, first)
    await ann.reacts("🌱", first)  # events are dealt with in their order
    again = await ann.gets_reply_to(first)
    await again.picture()
    assert [each for each in discord.shown() if each is not first.message] == [again.message]
    async for storage in marble.storage():
        assert (await storage.history.stats()).people == 1
