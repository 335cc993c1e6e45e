"""An owner's way through the engine room in a real browser: `marble serve`, the bundled model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser as Chrome
from playwright.async_api import expect

from bots.texts import say
from engine.sentences import Sentence
from tests.bots.web.visits import (
    SLOWLY,
    Visit,
    Way,
    ask_for_link,
    in_every_way,
    link_in,
    serve,
    sign_in,
)
from tests.fakes.telegram.people import Person

REASON = "a new card"
FLOODS = "floods the queue"
# What `marble models check` says of a stage: its seconds, and the most memory that it took.
STAGE = re.compile(r"starter +([a-z]+) +\d+\.\d +[\d.]+ [MG]B")
FAULT = "p.fault[role=alert]"


async def go(owner: Visit, tab: str) -> None:
    """Follow a tab of the engine room."""
    await owner.hands.press(owner.page.get_by_role("link", name=owner.room.tabs[tab], exact=True))
    await expect(owner.page.locator("h2").first).to_have_text(owner.room.tabs[tab])


async def press(owner: Visit, label: str) -> None:
    """Press the button of a name."""
    await owner.hands.press(owner.page.get_by_role("button", name=label, exact=True))


async def write(owner: Visit, label: str, text: str) -> None:
    """Fill the field of a name."""
    await owner.hands.write(owner.page.get_by_label(label, exact=True), text)


async def pause_and_resume(owner: Visit, member: Visit, ada: Person) -> None:
    """Let jobs of a chat and of the page wait, draw one next, cancel one, and see others drawn."""
    room, page = owner.room, owner.page
    await write(owner, room.pause_reason, REASON)
    await press(owner, room.pause)
    await expect(page.get_by_text(REASON)).to_be_visible()

    said = await ada.says("/imagine a marble scholar --steps 4")
    await ada.chat.words(said, REASON)
    await member.ask("a marble dragon --steps 4")
    unwanted = await member.asked()
    await member.ask("a marble scholar holding a book --steps 4")
    wanted = await member.asked()
    await expect(member.page.locator("[data-line]")).to_contain_text(REASON)

    await press(owner, room.next_job.format(job=wanted))
    await expect(page.locator("tbody tr").first).to_contain_text(room.ahead)
    await expect(page.locator("tbody tr").first).to_contain_text(str(wanted))
    await press(owner, room.cancel_job.format(job=unwanted))
    await expect(page.locator("tbody tr")).to_have_count(2)
    await press(owner, room.resume)
    await expect(page.get_by_text(REASON)).to_have_count(0)

    assert await member.drawn() == str(wanted)
    await ada.chat.picture(said)
    await member.open(f"/pictures/{unwanted}")
    await expect(member.page.locator("[data-line]")).to_contain_text(
        member.words.statuses["cancelled"]
    )


async def narrow_steps(owner: Visit, member: Visit) -> None:
    """Change a rule of all places by its form; it is obeyed."""
    room, page = owner.room, owner.page
    steps = owner.words.fields["steps"]
    await go(owner, "rules")
    await write(owner, steps, "many")
    await press(owner, room.rules_save)
    await expect(page.locator(FAULT)).to_contain_text("many")
    await expect(page.get_by_label(steps, exact=True)).to_have_value("many")
    await write(owner, steps, "1-10")
    await press(owner, room.rules_save)
    await expect(page.get_by_role("status")).to_contain_text(room.everywhere)
    await expect(page.get_by_label(steps, exact=True)).to_have_value("1-10")
    await member.ask("a marble dragon --steps 11")
    await expect(member.page.locator(FAULT)).to_contain_text("10")


async def ban_and_lift(owner: Visit, member: Visit, who: str) -> None:
    """Ban somebody, who is refused on the page until the ban is lifted."""
    room, page = owner.room, owner.page
    await go(owner, "bans")
    await write(owner, room.person, who)
    await write(owner, room.reason, FLOODS)
    await press(owner, room.ban)
    lift = room.lift_of.format(person=who, place=room.everywhere)
    await expect(page.get_by_role("button", name=lift)).to_be_visible()
    await member.ask("a marble dragon --steps 4")
    refused = say(Sentence("banned", reason=FLOODS), member.words)
    await expect(member.page.locator(FAULT)).to_have_text(refused)
    await press(owner, lift)
    await expect(page.get_by_text(room.no_bans)).to_be_visible()
    await member.ask("a marble dragon --steps 4")
    await member.asked()
    await member.drawn()


async def check_model(owner: Visit) -> None:
    """Check the model, and read what each stage took."""
    await go(owner, "models")
    await press(owner, owner.room.check_model.format(name="starter"))
    command = owner.page.locator(".command")
    await expect(command.locator("p.good")).to_be_visible(timeout=SLOWLY)
    said = await command.locator("pre").inner_text()
    assert STAGE.findall(said) == ["load", "encode", "denoise", "decode"]


async def read_log(owner: Visit, who: str) -> None:
    """Find all that was done in the log, the latest first."""
    await go(owner, "log")
    rows = await owner.page.locator("tbody tr").all_inner_texts()
    done = ["lift ban", "ban", "rules", "resume", "cancel", "ahead", "pause"]
    assert [row.split("\t")[2] for row in rows] == [owner.words.acts[each] for each in done]
    assert {row.split("\t")[1].partition(":")[0] for row in rows} == {"terminal"}
    for row, detail in ((0, who), (1, FLOODS), (2, "1-10"), (6, REASON)):
        assert detail in rows[row]


@pytest.mark.slow
@in_every_way
async def test_an_owner_goes_through_the_engine_room(
    way: Way, chrome: Chrome, tmp_path: Path
) -> None:
    async with serve(tmp_path) as (marble, ada):
        owner = await sign_in(chrome, link_in(await marble.command("web")), way)
        member = await sign_in(chrome, await ask_for_link(ada), way)
        await owner.hands.press(owner.page.get_by_role("link", name=owner.room.title))
        await pause_and_resume(owner, member, ada)
        await narrow_steps(owner, member)
        await ban_and_lift(owner, member, f"telegram:{ada.id}")
        if way.language == "en":  # what it says is English everywhere, and it takes a while
            await check_model(owner)
        await read_log(owner, f"telegram:{ada.id}")
        refusals = ("400 (Bad Request)", "403 (Forbidden)")
        faults = [*owner.window.faults, *member.window.faults]
        assert [each for each in faults if not any(part in each for part in refusals)] == []
