"""Load Telegram: 200 chats write 1,000 messages at once, to an engine that answers at once.

    python -m tests.bench.telegram [CHATS MESSAGES]

The fake enforces the flood limits. Told are how long it takes until a message has its placeholder
and its picture, what was lost or came twice, and how a chat's flood wait delays the others.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fakes.process import Marble
from tests.fakes.telegram import server as servers
from tests.fakes.telegram.faults import flood
from tests.fakes.telegram.people import Person, is_result, person
from tests.fakes.telegram.server import TelegramServer

# Nobody's limits are to be measured but Telegram's.
OPEN = {
    "MARBLE_PER_MINUTE": "0",
    "MARBLE_PLACE_PER_MINUTE": "0",
    "MARBLE_WAITING_PER_PERSON": "1000",
    "MARBLE_QUEUE_LENGTH": "10000",
}


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def centile(values: list[float], share: float) -> float:
    """Return the value below which a share of all lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def burst(server: TelegramServer, chats: int, messages: int) -> None:
    """Let everybody write at once, and watch what comes."""
    people = [person(server, number) for number in range(chats)]
    began = time.monotonic()
    said = [await people[n % chats].says(f"picture {n} --size 64") for n in range(messages)]
    await server.until(lambda: not server.updates or None, "all fetched")
    kept = time.monotonic() - began
    await server.until(lambda: sum(map(is_result, server.of_bot())) >= messages)
    placed, drawn = arrivals(server, began)
    shown = Counter(m["reply_to_message"]["message_id"] for m in server.of_bot())
    lost = sum(message["message_id"] not in shown for message in said)
    twice = sum(count > 1 for count in shown.values())
    say(f"{messages} messages of {chats} chats, all stored after {kept:.2f} s")
    for name, times in (("placeholder", placed), ("picture", drawn)):
        say(
            f"  {name:12} p50 {centile(times, 0.5):6.2f} s   p99 {centile(times, 0.99):6.2f} s   "
            f"last {max(times):6.2f} s"
        )
    least = messages / servers.ALL[0]
    say(f"  Telegram's own limit of {servers.ALL[0]} messages/s makes {least:.1f} s the least")
    say(f"  lost {lost}, twice {twice}, above the flood limits {len(server.floods)}")


def arrivals(server: TelegramServer, began: float) -> tuple[list[float], list[float]]:
    """Return after how long each placeholder and each result was taken."""
    placed, drawn = (
        [call.at - began for call in server.calls_of(method)]
        for method in ("sendMessage", "editMessageMedia")
    )
    return placed, drawn


async def beside_a_flood_wait(server: TelegramServer, one: Person, others: list[Person]) -> None:
    """Tell how long a chat waits for its picture while another is in a flood wait of 10 s."""
    times: list[float] = []
    for other in others:  # each has a chat's limit of their own
        if times:
            server.faults.append(flood(one.id, 10, "sendMessage"))
            held_up = await one.says("a cat --size 64")
            await server.until(lambda: server.faults[-1].hits)
        for number in range(4):
            began = time.monotonic()
            await other.chat.picture(await other.says(f"dog {number} --size 64"))
            times.append(time.monotonic() - began)
    await one.chat.picture(held_up)
    say(
        f"to a picture: median {centile(times[:4], 0.5):.2f} s alone, "
        f"{centile(times[4:], 0.5):.2f} s (at most {max(times[4:]):.2f} s) beside a flood wait"
    )


async def group_minute(server: TelegramServer, messages: int) -> None:
    """Ask in one group for more than its 20 messages a minute."""
    from tests.fakes.telegram.people import group

    somebody, chat = person(server, 5000), group(server, 1)
    began = time.monotonic()
    said: list[dict[str, Any]] = [
        await somebody.says(f"/imagine cat {n} --size 64", to=chat) for n in range(messages)
    ]
    await server.until(lambda: len([m for m in chat.shown if is_result(m)]) == len(said))
    say(
        f"one group: {messages} pictures ({2 * messages} messages at least) in "
        f"{time.monotonic() - began:.0f} s, above the flood limits {len(server.floods)}"
    )


async def main(chats: int = 200, messages: int = 1000) -> None:
    """Run it."""
    servers.PATIENCE = 300.0  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        server = TelegramServer()
        await server.start()
        marble = Marble(Path(folder), {**server.environment, **OPEN}, fresh=True)
        await marble.start()
        try:
            await server.until(lambda: server.polls)
            await beside_a_flood_wait(
                server, person(server, 8000), [person(server, 9000), person(server, 9001)]
            )
            server.calls.clear()
            server.messages.clear()
            await burst(server, chats, messages)
            # A minute of its own, so that nothing of the burst counts.
            server.floods.clear()
            await group_minute(server, 15)
        finally:
            await marble.stop()
            await server.stop()
        say(f"{len(server.calls)} calls, {len(server.rejected)} rejected")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
