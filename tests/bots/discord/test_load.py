"""Many people at once, all in a burst, with rate limits in between.

Counts are held to. Times are printed (`make bench-discord`, with five times as many commands), for
who knows what else the machine did.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from itertools import pairwise

import pytest

from tests.bots.discord.conftest import Marble
from tests.fakes.discord import FakeDiscord, Person, Reply
from tests.fakes.discord.world import Interaction

BENCH = os.environ.get("MARBLE_BENCH") == "1"
PEOPLE, COMMANDS = (200, 1_000) if BENCH else (50, 200)
PATIENT = 120.0  # seconds for an acknowledgement, where Discord gives 3
PACE = 3.0  # seconds between two edits that show progress
EDITS = 2  # of one message that is drawn at once: perhaps its progress, and its result


async def burst(discord: FakeDiscord, people: list[Person], commands: int) -> list[Reply]:
    """Let people type commands all at once; return their replies once all are finished."""

    async def ask(number: int) -> Reply:
        person = people[number % len(people)]
        deed = await person.typed("imagine", {"prompt": f"scholar {number}", "size": "64"})
        await person.sends(deed)
        return Reply(person, deed)

    replies = await asyncio.gather(*(ask(number) for number in range(commands)))
    await discord.until(lambda: all(map(is_finished, replies)), "all pictures", 150)
    return list(replies)


def is_finished(reply: Reply) -> bool:
    assert reply.interaction
    message = reply.interaction.original
    return bool(message and not message.loading and message.attachments)


def deed_of(reply: Reply) -> Interaction:
    assert reply.interaction
    return reply.interaction


@pytest.mark.slow
async def test_a_burst_loses_and_repeats_nothing(discord: FakeDiscord, cold: Marble) -> None:
    discord.in_time = PATIENT
    cold.settings |= {
        "MARBLE_EXECUTOR": "tests.fakes.instant:make_watched",
        "MARBLE_PER_MINUTE": "0",  # no limit
        "MARBLE_PLACE_PER_MINUTE": "0",
    }
    await cold.start()
    people = [discord.person(f"p{number}") for number in range(PEOPLE)]
    limits = [
        discord.faults.limit("PATCH /webhooks/.*", 0.5, times=30),
        discord.faults.limit("POST /interactions/.*", 0.2, times=10),
        discord.faults.limit("PATCH /webhooks/.*", 0.3, everywhere=True, times=5),
    ]
    began = time.monotonic()
    replies = await burst(discord, people, COMMANDS)
    seconds = time.monotonic() - began
    assert await cold.stop() == 0
    lag = json.loads((cold.data / "lag.json").read_text())
    acknowledged = sorted(reply.acknowledged for reply in replies)
    report(acknowledged, seconds, lag, sum(fault.seen for fault in limits))
    assert len(replies) == COMMANDS
    assert len(discord.shown()) == COMMANDS  # nothing lost, nothing twice
    assert {deed_of(reply).refusals for reply in replies} == {0}
    assert not any(deed_of(reply).followups for reply in replies)
    texts = {reply.text.splitlines()[0] for reply in replies}
    assert texts == {f"scholar {number}" for number in range(COMMANDS)}
    assert all(fault.seen == fault.times for fault in limits)
    for reply in replies:
        edits = reply.message.edits
        assert len(edits) <= EDITS + sum(b - a >= PACE for a, b in pairwise(edits))


def report(acknowledged: list[float], seconds: float, lag: dict[str, float], limits: int) -> None:
    """Print what a burst took, as a table."""
    p50, p99 = (acknowledged[int(len(acknowledged) * part)] for part in (0.5, 0.99))
    commands = f"{len(acknowledged):,} commands of {PEOPLE} people, {limits} × 429"
    rows = (
        (commands, "", "goal"),
        ("all pictures shown", f"{seconds:.1f} s", ""),
        ("to the acknowledgement, p50", f"{p50:.2f} s", ""),
        ("to the acknowledgement, p99", f"{p99:.2f} s", ""),
        ("to the last acknowledgement", f"{acknowledged[-1]:.2f} s", "3 s"),
        ("event loop's lag, p50", f"{lag['p50']:.1f} ms", ""),
        ("event loop's lag, p99", f"{lag['p99']:.1f} ms", "50 ms"),
    )
    lines = (f"{name:<44}{figure:>10}{goal:>8}" for name, figure, goal in rows)
    print("\n" + "\n".join(lines))  # noqa: T201  # shown with -s
