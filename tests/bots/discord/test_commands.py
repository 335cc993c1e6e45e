"""Commands beside /imagine: history, settings, queue, data, moderators."""

from __future__ import annotations

import io
import json
import re
import zipfile

from bots.discord.pages import PAGE
from bots.requests.likeness import Likeness
from bots.texts import EN
from engine.executors.embedding import Embedding
from storage import Storage
from tests.bots.discord.conftest import Marble
from tests.fakes.discord import FakeDiscord, Person
from tests.fakes.discord.world import MANAGE_MESSAGES


async def test_history_turns_pages_and_opens_pictures(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    for number in range(1, 9):
        await (await ann.imagine(f"scholar number {number}", size="64")).picture()
    page = await ann.types("history")
    text = await page.said("Your pictures")
    assert page.ephemeral
    assert text.index("**8** scholar number 8") < text.index("**3** scholar number 3")
    assert "**2**" not in text
    assert page.message.attachments[0].filename == "pictures.jpg"
    assert "1: scholar number 8" in str(page.message.attachments[0].description)
    older = await ann.clicks("Older", page)
    assert "**2** scholar number 2" in await older.said("**1**")
    opened = await ann.clicks("Open one", page, value="5")
    assert "scholar number 5" in await opened.said("scholar")
    assert opened.message.attachments
    assert "Same seed" in opened.message.buttons()
    several = await ann.types("history", search="scholar")
    assert (await several.said("… and 2 more")).endswith("… and 2 more")
    found = await ann.types("history", search="number 4")
    assert "**8**" not in await found.said("**4**")
    assert await (await bob.types("history")).said("No pictures yet")


async def test_a_history_says_what_there_is_and_offers_no_page_that_is_empty(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    nothing = await ann.types("history", search="zebra")
    assert await nothing.said("words") == "No prompt of yours has these words."
    await (await ann.imagine("a scholar", size="64")).picture()
    one = await ann.types("history")
    await one.said("Your pictures")
    assert one.message.attachments[0].description == "Generated picture: a scholar"
    for _ in range(PAGE - 1):
        await (await ann.imagine("a scholar", size="64")).picture()
    full = await ann.types("history")
    await full.said("**1** a scholar")
    assert "Older" not in full.message.buttons()


async def test_settings_are_saved_only_where_some_are_given(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    nothing = await ann.types("settings set")
    assert await nothing.said("Nothing is set") == EN.settings_empty
    assert "Saved" in await (await ann.types("settings set", count=4)).said("count")
    again = await ann.types("settings set")
    assert "Saved" not in await again.said("count: 4")


async def test_own_pictures_are_found_by_what_they_show(
    marble: Marble, ann: Person, bob: Person
) -> None:
    hers = await ann.imagine("a lion", size="64")
    await hers.picture()  # so that hers is the first
    await (await bob.imagine("a lion", size="64")).picture()
    refused = await ann.types("history", like="a lion")
    assert "`marble clip index`" in await refused.said("compared")
    async with Storage.open(marble.data) as storage, Embedding("starter") as embedding:
        likeness = Likeness(storage, embedding)
        lacking = await storage.vectors.lacking(await likeness.tower())
        assert await likeness.index(lacking) == []
        [match] = (await storage.vectors.matches(1)).values()
    page = await ann.types("history", like="a lion")
    text = await page.said("most like it")
    assert page.ephemeral
    assert "**1.1** a lion" in text
    assert "**2.1**" not in text
    assert page.message.attachments[0].filename == "pictures.jpg"
    # Both see this channel: hers that are like his.
    assert "**1.1**" in await (await ann.types("history", like="2.1")).said("most like it")
    assert "no picture 9" in await (await ann.types("history", like="9")).said("There is")
    bob.user.locale = "zh-CN"
    found = await (await bob.types("history", like="狮子")).said("与之最相似的你的图片")
    assert "**2.1** a lion" in found
    assert "**1.1**" not in found
    recipe = await (await ann.clicks("Recipe", hers)).said("Recipe of")
    assert f"match with the prompt: {match:.3f}" in recipe


async def test_a_picture_is_shown_again_where_it_was_drawn_only(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    await (await ann.imagine("a marble scholar", size="64")).picture()
    secret = await ann.in_dm().imagine("a secret", size="64")
    await secret.picture()
    shown = await bob.types("show", picture="1")
    assert await shown.picture()
    assert not shown.ephemeral
    assert await (await bob.types("show", picture="2")).said("no picture 2")
    assert await (await bob.types("show", picture="1.7")).said("no picture")
    assert await (await bob.types("show", picture="bird")).said("have names like 12")


async def test_settings_hold_wherever_nothing_else_is_typed(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    assert await (await ann.types("settings show")).said("Nothing is set")
    saved = await ann.types("settings set", steps=9, size="64x96")
    assert "steps: 9" in await saved.said("Saved")
    reply = await ann.imagine("a cat")
    await reply.picture()
    assert "64×96" in reply.text
    reply = await ann.imagine("a cat", size="64x64")
    await reply.picture()
    assert "64×64" in reply.text
    refused = await ann.types("settings set", model="nope")
    assert await refused.said("Saved")  # a model may come later …
    refused = await ann.imagine("a cat")
    assert "no model 'nope'" in await refused.said("nope")  # … until then it is said
    assert refused.ephemeral
    await (await ann.types("settings reset")).said("have been cleared")
    reply = await bob.imagine("a cat")
    await reply.picture()
    assert "128×128" in reply.text


async def test_the_queue_tells_of_others_no_more_than_their_size(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    assert await (await ann.types("queue")).said("Nothing is running")
    for person, prompt in ((ann, "wait for my scholar"), (bob, "wait in secret")):
        await (await person.imagine(prompt)).said("Drawing")
    queue = await ann.types("queue")
    text = await queue.said("The queue")
    assert queue.ephemeral
    assert "wait for my scholar" in text
    assert "somebody" in text
    assert "secret" not in text
    marble.gate.touch()


async def test_what_marble_is_and_keeps_is_told(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    assert "/imagine" in (await ann.types("help")).text
    assert "/mydata" in (await ann.types("privacy")).text
    (marble.data / "privacy.md").write_text("Ask **Eve**.", encoding="utf-8")
    assert (await ann.types("privacy")).text == "Ask **Eve**."  # the owner's own words
    assert await (await ann.types("models")).said("starter (")
    await (await ann.imagine("a cat", count=2, size="64")).picture()
    stats = await (await ann.types("stats")).said("You")
    assert "You: 1 job, 2 pictures" in stats
    assert "by 1 person" in stats


async def test_people_get_their_data_and_have_it_removed(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    first = await ann.imagine("a cat", count=2, size="64")
    await first.picture()
    await (await bob.imagine("a dog", size="64")).picture()
    export = await ann.types("mydata export")
    assert "2 pictures" in await export.said("stored about you")
    assert export.ephemeral
    archive = zipfile.ZipFile(io.BytesIO(export.message.attachments[0].data))
    assert {"pictures/1.1.png", "pictures/1.2.png"} < set(archive.namelist())
    about = json.loads(archive.read("person.json"))
    assert [job["recipe"]["prompt"] for job in about["jobs"]] == ["a cat"]
    question = await ann.types("mydata delete")
    assert "Deleted: 1 job and 2" in await (await ann.clicks("Delete everything", question)).said(
        "Deleted:"
    )
    assert await (await ann.types("history")).said("No pictures yet")
    assert await (await bob.types("history")).said("a dog")
    gone = await ann.clicks("Same seed", first)
    assert await gone.said("There is no picture 1 that you may see here.")


async def test_an_export_that_one_message_cannot_carry_comes_in_several(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    await (await ann.imagine("a cat", count=4, size="64")).picture()
    files = [path.read_bytes() for path in (marble.data / "pictures").rglob("*.png")]
    discord.guild.filesize_limit = max(map(len, files)) + 4_000
    export = await ann.types("mydata export")
    assert export.interaction
    parts = export.interaction.followups
    await discord.until(
        lambda: parts and re.fullmatch(r"Part (\d+) of \1\.", parts[-1].content), "all parts"
    )
    assert export.interaction.original
    messages = [export.interaction.original, *parts]
    assert all(each.ephemeral for each in messages)
    assert "4 pictures" in messages[0].content
    assert len(messages) > 1
    names: list[str] = []
    for number, each in enumerate(messages, 1):
        [attached] = each.attachments
        assert attached.filename == f"marble-{number}-of-{len(messages)}.zip"
        names += zipfile.ZipFile(io.BytesIO(attached.data)).namelist()
    assert sorted(names) == ["person.json", *(f"pictures/1.{n}.png" for n in range(1, 5))]
    await marble.stop()
    assert not list((marble.data / "exports").iterdir())


async def test_what_was_handed_over_of_an_export_outlasts_a_part_that_is_refused(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    await (await ann.imagine("a cat", count=4, size="64")).picture()
    files = [path.read_bytes() for path in (marble.data / "pictures").rglob("*.png")]
    discord.guild.filesize_limit = max(map(len, files)) + 4_000
    refusal = discord.faults.add("POST /webhooks/.*", 400, 50006)
    export = await ann.types("mydata export")
    assert export.interaction
    await discord.until(lambda: refusal.seen, "a refusal")
    assert export.interaction.original
    first, told = export.interaction.original, export.interaction.followups
    await discord.until(lambda: told or len(first.edits) > 1, "a sentence")
    assert first.attachments
    assert "went wrong" in told[0].content


async def test_moderators_ban_and_lift_bans(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    refused = await bob.types("moderate ban", person=ann, reason="x")
    assert await refused.said("Only moderators")
    first = await ann.imagine("a cat")
    await first.picture()
    banned = await judge.types("moderate ban", person=ann, reason="too many *cats*", hours=2)
    await banned.said("may no longer request")
    refused = await ann.imagine("a cat")
    assert r"too many \*cats\*" in await refused.said("may not request")
    assert refused.ephemeral
    refused = await ann.clicks("Same seed", first)
    assert await refused.said("may not request")
    assert re.search(r"here until <t:\d+:f>: too many", refused.text), "in the reader's time zone"
    thread = discord.add_thread(discord.channel)
    assert await (await ann.at(thread).imagine("a cat")).said("may not request")
    log = await (await judge.types("moderate log")).said("moderators did")
    assert f"<@{judge.id}> ban <@{ann.id}>" in log
    assert re.search(r"reason: .*, until: <t:\d+:f>", log)
    await (await bob.imagine("a dog", size="64")).picture()
    assert bob.last
    await (await judge.clicks("Delete", bob.last)).said("Deleted")
    log = await (await judge.types("moderate log")).said("delete")
    assert f"<@{judge.id}> delete a picture of <@{bob.id}> job: " in log
    assert await (await judge.types("moderate unban", person=ann)).said("again")
    await (await ann.imagine("a cat")).picture()


async def test_who_moderates_one_channel_does_not_speak_for_the_server(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    warden = discord.person("warden")
    discord.channel.members[warden.id] = MANAGE_MESSAGES
    for command, options in (
        ("moderate ban", {"person": ann, "reason": "x"}),
        ("moderate unban", {"person": ann}),
        ("moderate log", {}),
        ("moderate channel", {"open": False, "server": True}),
        ("style add", {"name": "noir", "prompt": "film noir"}),
    ):
        refused = await warden.types(command, **options)
        assert await refused.said("the whole server"), command
        assert refused.ephemeral
    assert await (await warden.types("moderate channel", steps="1-9")).said("1-9")
    elsewhere = warden.at(discord.add_channel(discord.guild))
    assert await (await elsewhere.types("moderate channel", open=False)).said("Only moderators")
    await (await ann.imagine("a cat", steps=9)).picture()


async def test_a_channel_is_closed_with_its_threads(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    other = discord.add_channel(discord.guild)
    thread = discord.add_thread(discord.channel)
    await discord.gateway.emit("GUILD_CREATE", discord.guild.json(discord.bot))
    assert await (await judge.types("moderate channel", open=False)).said("no")
    for person in (ann, ann.at(thread)):
        refused = await person.imagine("a cat")
        assert await refused.said("turned off")
        assert refused.ephemeral
    await (await ann.at(other).imagine("a cat")).picture()
    await (await judge.types("moderate channel", open=True)).said("yes")
    await (await ann.imagine("a cat")).picture()
    chief = discord.person("chief", MANAGE_MESSAGES, locale="zh-CN")
    log = await (await chief.types("moderate log")).said("管理员的操作")
    assert [line.partition("允许生成图片: ")[2] for line in log.splitlines()[1:]] == ["是", "否"]


async def test_a_channel_has_bounds_that_its_moderators_set_and_see(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    other = discord.add_channel(discord.guild)
    assert await (await ann.types("moderate channel")).said("Only moderators")
    told = await judge.types("moderate channel", steps="1-9", blocked="dragon", models="starter")
    text = await told.said("Rules for this channel")
    assert told.ephemeral
    for line in ("steps: 1-9", "blocked words: dragon", "models: starter"):
        assert line in text
    refused = await ann.imagine("a cat", steps=10)
    said = await refused.said("must be between")
    assert said.splitlines()[0] == "Here steps must be between 1 and 9, not 10."
    assert refused.ephemeral
    li = discord.person("li", locale="zh-CN")
    assert await (await li.imagine("a dragon", steps=5)).said("不允许")
    await (await ann.at(other).imagine("a dragon", steps=10)).picture()
    await (await judge.types("moderate channel", server=True, count="1-2")).said("Rules for")
    assert await (await ann.at(other).imagine("a cat", count=3)).said("count must be")
    told = await judge.types("moderate channel", steps="none", blocked="none", models="none")
    assert "steps" not in await told.said("Rules for")
    await (await ann.imagine("a dragon", steps=10)).picture()
    log = await (await judge.types("moderate log")).said("moderators did")
    assert "rules steps: –, models: –, blocked words: –" in log
    assert "rules steps: 1-9, models: starter, blocked words: dragon" in log
    told = await judge.types("moderate channel", rule="sampler", value="lms")
    assert re.search("^sampler.*: lms$", await told.said("Rules for"), re.MULTILINE)
    refused = await ann.imagine("a dragon", sampler="heun")
    assert "sampler must be one of lms" in await refused.said("must be")
    told = await judge.types("moderate channel", rule="sampler", value="none")
    assert "sampler" not in await told.said("Rules for")
    for half in ({"rule": "sampler"}, {"value": "lms"}):
        said = await (await judge.types("moderate channel", **half)).said("together")
        assert said == "Give `rule` and `value` together."
    for wrong in ({"steps": "9"}, {"models": "startr"}, {"per_minute": "many"}):
        assert await (await judge.types("moderate channel", **wrong)).said(".")


async def test_only_marbles_own_moderators_pause_the_queue(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    mo = discord.person("mo", MANAGE_MESSAGES)
    cold.settings["MARBLE_MODERATORS"] = f"discord:{mo.id}"
    await cold.start()
    assert await (await judge.types("moderate pause", reason="Lunch.")).said("Only moderators")
    assert await (await mo.types("moderate pause", reason="Lunch.")).said("paused")
    reply = await ann.imagine("a cat")
    assert await reply.said("paused: Lunch.")
    assert await (await mo.types("moderate resume")).said("has been resumed")
    await reply.picture()
