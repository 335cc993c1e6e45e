"""What is in force in a group or one of its topics: shown as it is enforced, on every way."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from storage import Storage
from tests.bots.telegram.conftest import a_marble
from tests.bots.telegram.test_safety import refusal
from tests.fakes.telegram.methods import VEIL
from tests.fakes.telegram.people import Chat, Person, group, text_of
from tests.fakes.telegram.server import TelegramServer

Json = dict[str, Any]
TOPIC: Final = 7
UNSAFE: Final = "unsafe pictures"
WITHHELD: Final = "the safety check could not read it"
NO_SPOILER: Final = "must be behind a spoiler"
# The rules of a group and of its topic, and what becomes of unsafe pictures in the topic.
KINDS: Final = {
    "by the setting": ({}, {}, "refuse", ""),
    "by its group": ({"rules.safety": "spoiler"}, {}, "spoiler", "(set for this group)"),
    "by its moderators": ({"rules.safety": "off"}, {"policy.safety": "refuse"}, "refuse", ""),
    "by its owner": ({"policy.safety": "off"}, {"rules.safety": "off"}, "off", ""),
    "by its group's moderators": (
        {"policy.safety": "spoiler"},
        {"rules.safety": "off"},
        "spoiler",
        "(set for this group)",
    ),
}
DRAWN: Final = 4  # kinds that are drawn beside these


def drawn(chance: Random) -> dict[str, str]:
    """Return safety rules that a place may have, of the owner's and of its moderators'."""
    kinds = ("", "off", "spoiler", "refuse")
    chosen = {name: chance.choice(kinds) for name in ("rules.safety", "policy.safety")}
    return {name: kind for name, kind in chosen.items() if kind}


def kind_of(message: Json) -> str:
    """Return what a message shows of a picture that is unsafe."""
    if "photo" not in message:
        return "refuse" if WITHHELD in text_of(message) else text_of(message)
    return "spoiler" if VEIL in message else "off"


async def shown(topic: Chat, said: Json) -> Json:
    """Wait for what comes of a job, or is shown of it."""
    found: Json = await topic.server.until(
        lambda: next((m for m in topic._all_answers(said) if "seed" in text_of(m)), None)
    )
    return found


async def in_force(
    topic: Chat, ada: Person, data: Path, of_group: dict[str, str], of_topic: dict[str, str]
) -> str:
    """Give a group and its topic rules, and return the line that says what is in force there."""
    async with Storage.open(data) as storage:
        group = f"telegram:{topic.id}"
        for place, values in ((group, of_group), (f"{group}/{TOPIC}", of_topic)):
            await storage.people.change_place_settings(place, values)
    listed = text_of(await topic.words(await ada.says("/rules", to=topic), UNSAFE))
    [line] = [line for line in listed.splitlines() if line.startswith(UNSAFE)]
    return line


async def check_every_way(telegram: TelegramServer, ada: Person, topic: Chat, rule: str) -> None:
    """Hold all that leaves for a topic to a rule."""
    first = await shown(topic, await ada.says("/imagine an owl", to=topic))
    job = text_of(first).splitlines()[1].split()[0]
    again = await shown(topic, await ada.says(f"/show {job}", to=topic))
    await ada.presses(again, "Same seed")
    by_button = await shown(topic, again)
    await ada.reacts(by_button, "👍")
    by_reaction = await shown(topic, by_button)
    for way, message in {
        "answer": first,
        "show": again,
        "button": by_button,
        "reaction": by_reaction,
    }.items():
        assert kind_of(message) == rule, way
    if rule == "off":
        await ada.presses(again, "Original")
        await topic.picture_file(again)
    else:
        told = await refusal(telegram, ada, again, "Original")
        assert (WITHHELD if rule == "refuse" else NO_SPOILER) in told


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_shown_as_in_force_is_what_leaves_on_every_way(
    telegram: TelegramServer, tmp_path: Path, ada: Person, kind: str
) -> None:
    of_group, of_topic, rule, note = KINDS[kind]
    statues = group(telegram, 9)
    statues.promote()
    statues.promote(ada.id)
    topic = statues.topic(TOPIC)
    async with a_marble(telegram, tmp_path, MARBLE_SAFETY="refuse"):
        line = await in_force(topic, ada, tmp_path / "data", of_group, of_topic)
        assert (line, note in line) == (f"{UNSAFE}: {rule} {note}".strip(), True)
        await check_every_way(telegram, ada, topic, rule)


async def test_whatever_rules_are_drawn_what_is_shown_as_in_force_leaves_on_every_way(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    chance, seen = Random(15), set()
    async with a_marble(telegram, tmp_path, MARBLE_SAFETY="spoiler"):
        for number in range(DRAWN):
            statues = group(telegram, 20 + number)
            statues.promote()
            statues.promote(ada.id)
            topic = statues.topic(TOPIC)
            line = await in_force(topic, ada, tmp_path / "data", drawn(chance), drawn(chance))
            rule = line.removeprefix(f"{UNSAFE}: ").split()[0]
            seen.add(rule)
            await check_every_way(telegram, ada, topic, rule)
    assert seen == {"off", "spoiler", "refuse"}


async def test_a_reaction_is_answered_in_the_group_where_the_picture_was_shown(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    statues, other = group(telegram, 9), group(telegram, 10)
    other.promote()
    async with a_marble(telegram, tmp_path):
        topic = statues.topic(TOPIC)
        first = await topic.picture(await ada.says("/imagine an owl", to=topic))
        job = text_of(first).splitlines()[1].split()[0]
        again = await other.picture(await ada.says(f"/show {job}", to=other))
        await ada.reacts(again, "👍")
        answer = await other.picture(again)
        assert "message_thread_id" not in answer
    async with Storage.open(tmp_path / "data") as storage:
        assert (await storage.jobs.get(int(job) + 1)).place == f"telegram:{other.id}"


async def test_what_a_closed_topic_does_not_take_follows_the_rules_of_its_group(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    statues = group(telegram, 9)
    statues.promote()
    statues.promote(ada.id)
    topic = statues.topic(TOPIC)
    async with a_marble(telegram, tmp_path, MARBLE_SAFETY="refuse"):
        await in_force(topic, ada, tmp_path / "data", {}, {"rules.safety": "off"})
        first = await shown(topic, await ada.says("/imagine an owl", to=topic))
        telegram.closed_topics[statues.id, TOPIC] = "TOPIC_CLOSED"
        before = len(statues.shown)
        await ada.says("/imagine a fox", to=topic)
        drawn = await telegram.until(lambda: [m for m in statues.shown[before:] if seeded(m)])
        assert [kind_of(each) for each in (first, *drawn)] == ["off", "refuse"]
        told = await refusal(telegram, ada, first, "Original")
        assert WITHHELD in told


def seeded(message: Json) -> bool:
    """Return whether a message tells the seed of a picture."""
    return "seed" in text_of(message)
