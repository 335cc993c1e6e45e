"""Buttons, reactions, menus and forms: everything that can be done with a picture."""

from __future__ import annotations

import io

from PIL import Image

from engine.formats.metadata import read_recipe
from storage import Storage
from tests.bots.discord.conftest import Marble
from tests.bots.presentation.test_presentation import png
from tests.fakes.discord import FakeDiscord, Person
from tests.fakes.discord.world import MANAGE_MESSAGES


def pixels_of(png: bytes) -> bytes:
    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()


async def test_a_seed_gives_the_same_pixels_and_the_dice_others(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    first = await ann.imagine("a marble scholar", seed="7")
    png = await first.picture()
    again = await ann.clicks("Same seed", first)
    assert await again.picture() == png
    assert "from 1" in again.text
    assert again.message.reference is first.message  # a result replies to its parent
    other = await bob.clicks("New seed", first)
    assert pixels_of(await other.picture()) != pixels_of(png)
    await ann.reacts("🌱", first)
    grown = await ann.gets_reply_to(first)
    assert await grown.picture() == png
    await ann.reacts("🎲", first)
    diced = await ann.gets_reply_to(first)
    assert pixels_of(await diced.picture()) != pixels_of(png)


async def test_a_reaction_counts_once_however_often_it_is_delivered(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a marble scholar")
    await first.picture()
    await ann.reacts("🎲️", first, times=3)
    await (await ann.gets_reply_to(first)).picture()
    await ann.reacts("🌱", first)
    await (await ann.gets_reply_to(first)).picture()
    assert len(discord.shown()) == 3


async def test_one_of_a_grid_is_picked_and_rerun_alone(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    grid = await ann.imagine("a marble scholar", count=4, size="64", seed="7")
    await grid.picture()
    third = await ann.clicks("3⃣", grid)
    png = await third.picture()
    assert "1.3" in third.text
    assert read_recipe(png).recipe.picture == 2
    again = await ann.clicks("Same seed", third)
    assert pixels_of(await again.picture()) == pixels_of(png)
    assert "from 1.3" in again.text
    await ann.reacts("2️⃣", grid, times=3)  # put, taken back and put faster than it is dealt with
    second = await ann.gets_reply_to(grid)
    assert read_recipe(await second.picture()).recipe.picture == 1
    # A reaction on the picture of a grid means that picture.
    await ann.reacts("🌱", third)
    assert pixels_of(await (await ann.gets_reply_to(third)).picture()) == pixels_of(png)
    shown = discord.messages.values()
    assert sum(each.reference is grid.message and not each.by_interaction for each in shown) == 1


async def test_what_needs_a_picture_says_so_while_none_is_drawn(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    waiting = await ann.imagine("wait for a scholar")
    await waiting.said("Drawing")
    for asked in ("show", "describe", "making_of"):
        told = await ann.types(asked, picture="1")
        assert "{" not in await told.said("."), told.text
    shown = await ann.types("show", picture="1")
    assert await shown.said(".") == "That picture is not drawn yet."


async def test_a_reaction_that_is_refused_is_named_with_a_link_to_its_picture(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    first = await ann.imagine("a marble scholar")
    await first.picture()
    await bob.reacts("❌", first)
    letter = await bob.gets_dm("Only the person who requested it")
    where = f"{discord.guild.id}/{first.message.channel.id}/{first.message.id}"
    assert letter.text.splitlines()[1:] == [f"-# ❌ https://discord.com/channels/{where}"]


async def test_the_recipe_is_told_to_whoever_asks_alone(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    first = await ann.imagine("a **marble** scholar", seed="7")
    await first.picture()
    for told in (await bob.clicks("Recipe", first), await bob.chooses("Recipe", first)):
        text = await told.said("Recipe of 1")
        assert told.ephemeral
        assert "seed: 7" in text
        assert r"prompt: a \*\*marble\*\* scholar" in text


async def test_the_letter_sends_recipe_and_full_size_by_dm(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    grid = await ann.imagine("a marble scholar", count=2, size="64")
    await grid.picture()
    await bob.reacts("✉️", grid)
    letter = await bob.gets_dm("Recipe of 1")
    names = [each.filename for each in letter.message.attachments]
    assert names == ["marble-1.1.png", "marble-1.2.png"]
    assert read_recipe(letter.message.attachments[1].data).recipe.count == 2
    bob.user.takes_dms = False
    refused = await bob.clicks("Original", grid)
    assert "cannot send you a DM" in await refused.said("cannot")
    assert refused.ephemeral


async def test_the_letter_says_why_where_no_channel_for_it_is_opened(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    first = await ann.imagine("a marble scholar")
    await first.picture()
    discord.faults.add("POST /users/@me/channels", 403, 50278)
    refused = await bob.clicks("Original", first)
    assert "cannot send you a DM" in await refused.said("cannot")


async def test_favourites_come_and_go(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    first = await ann.imagine("a marble scholar")
    await first.picture()
    await (await bob.clicks("Favourite", first)).said("your favourites")
    await (await bob.clicks("Favourite", first)).said("was removed from your favourites")
    for emoji in ("⭐", "❤️"):
        await ann.reacts(emoji, first)
        while "No favourites" in await (await ann.types("history", favourites=True)).said(
            "avourites"
        ):
            pass
        await ann.takes_back(emoji, first)
        while "No favourites" not in await (await ann.types("history", favourites=True)).said(
            "avourites"
        ):
            pass


async def test_a_cancel_that_comes_too_late_deletes_nothing(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    first = await ann.imagine("a marble scholar")
    await first.picture()
    message = first.message
    late = await ann.forges("marble:cancel:1", first)
    assert "too late" in (await late.said("too late")).lower()
    strangers = await bob.forges("marble:cancel:1", first)
    assert await strangers.said("Only the person who requested it")
    assert not message.deleted
    # The button of a message that was sent long ago still deletes.
    await ann.forges("marble:drop:1", first)
    await discord.until(lambda: message.deleted, "deleting")


async def test_a_stranger_deletes_nothing_its_owner_and_moderators_do(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    first = await ann.imagine("a marble scholar")
    await first.picture()
    refused = await bob.clicks("Delete", first)
    assert await refused.said("Only the person who requested it")
    assert refused.ephemeral
    await bob.reacts("❌", first)
    assert "Only the person who requested it" in (await bob.gets_dm("Only")).text
    assert not first.message.deleted
    await ann.reacts("❌", first)
    await discord.until(lambda: first.sent is None and first.interaction.original.deleted)  # type: ignore[union-attr]
    second = await ann.imagine("a marble scholar")
    await second.picture()
    message = second.message
    assert await (await judge.clicks("Delete", second)).said("Deleted")
    assert message.deleted


async def test_a_form_edits_the_recipe(discord: FakeDiscord, marble: Marble, ann: Person) -> None:
    first = await ann.imagine("a marble scholar", seed="7")
    png = await first.picture()
    form = await ann.clicks("Change recipe", first)
    edited = await ann.submits(form, prompt="a gold cat --steps 9 --size 64x96")
    recipe = read_recipe(await edited.picture()).recipe
    assert (recipe.prompt, recipe.steps, recipe.height, recipe.seed) == ("a gold cat", 9, 96, 7)
    form = await ann.clicks("Change recipe", first)
    fresh = await ann.submits(form, prompt="a marble scholar --seed new")
    assert pixels_of(await fresh.picture()) != pixels_of(png)
    form = await ann.clicks("Change recipe", first)
    typed = await ann.submits(form, prompt="a gold cat --seed 8 —steps 4")
    recipe = read_recipe(await typed.picture()).recipe
    assert (recipe.prompt, recipe.steps, recipe.seed) == ("a gold cat", 4, 8)
    form = await ann.clicks("Change recipe", first)
    refused = await ann.submits(form, prompt="a gold cat --stesp 9")
    assert "did you mean" in await refused.said("stesp")
    assert refused.ephemeral


async def test_what_waits_and_what_runs_can_be_cancelled(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    first = await ann.imagine("please wait")
    await first.said("Drawing")
    assert await (await bob.clicks("Cancel", first)).said("Only the person who requested it")
    assert await (await ann.clicks("Cancel", first)).said("Job 1 is cancelled")
    assert await first.said("Cancelled.")
    second = await ann.imagine("please wait")
    await second.said("Drawing")
    assert await ann.completes("cancel", "job", "") == ["2"]
    assert await (await bob.types("cancel", job="2")).said("Only the person who requested it")
    assert await (await ann.types("cancel")).said("Job 2 is cancelled")
    assert await second.said("Cancelled.")
    third = await ann.imagine("please wait")
    await third.said("Drawing")
    await ann.reacts("❌", third)
    assert await third.said("Cancelled.")


async def test_buttons_and_forms_work_after_a_crash(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a marble scholar", seed="7")
    png = await first.picture()
    form = await ann.clicks("Change recipe", first)
    waiting = await ann.imagine("please wait", seed="8")
    await waiting.said("Drawing")
    await marble.kill()
    marble.gate.touch()
    await marble.start()
    # What was at work is drawn, in its own message …
    await waiting.picture()
    # … and what was shown before still answers, the open form included.
    assert await (await ann.clicks("Same seed", first)).picture() == png
    assert await (await ann.submits(form)).picture() == png
    await ann.reacts("🌱", first)
    assert await (await ann.gets_reply_to(first)).picture() == png
    await marble.stop()
    async with Storage.open(marble.data) as storage:
        assert (await storage.history.stats()).pictures == 5


async def test_pictures_are_varied_enlarged_and_continued(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    grid = await ann.imagine("a marble scholar", count=4, size="64", seed="7")
    await grid.picture()
    varied = await ann.clicks("V2", grid)
    recipe = read_recipe(await varied.picture()).recipe
    assert varied.message.reference is grid.message
    assert "from 1.2" in varied.text
    assert recipe.image  # subtly: it starts from the picture
    large = await ann.clicks("U3", grid)
    assert read_recipe(await large.picture()).recipe.upscale
    assert "from 1.3" in large.text
    one = await ann.clicks("1⃣", grid)
    await one.picture()
    for label in ("Vary a little", "Vary a lot", "Zoom out", "⬅️", "➡️", "⬆️", "⬇️", "Upscale"):
        made = await ann.clicks(label, one)
        await made.picture()
        assert "from 1.1" in made.text, label
    assert await (await ann.chooses("Vary", one)).picture()
    assert await (await ann.chooses("Upscale", one)).picture()


async def test_a_picture_is_started_from_another(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    given = ann.uploads("start.png", png(96, 64, seed=1))
    started = await ann.imagine("a gold cat", image=given, strength=0.5)
    recipe = read_recipe(await started.picture()).recipe
    assert recipe.image is not None
    assert recipe.strength == 0.5
    form = await ann.chooses("Use as start image", started)
    again = await ann.submits(form, prompt="a jade cat", strength="0.7")
    second = read_recipe(await again.picture()).recipe
    assert (second.prompt, second.strength) == ("a jade cat", 0.7)
    assert second.image not in (None, recipe.image)
    mask = ann.uploads("mask.png", png(96, 64, colour="white"))
    masked = await ann.imagine("a gold cat", image=given, mask=mask)
    assert read_recipe(await masked.picture()).recipe.mask is not None
