"""Measure the way to the eye: from a picture's last step to the message that shows it.

    python -m tests.bench.delivery [ROUNDS]

The real `marble serve` sends to a Discord and a Telegram on loopback, which keep their rate limits;
its engine only takes time for 25 steps, with previews, and then writes pictures like photographs.
Told are, as medians in milliseconds: writing the PNGs; storing them; reading them, composing a
grid and sending the message until the platform has it; all of that; and the bytes that were sent.
Decoding latents is not among them.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from bots.presentation.fit import fit_composed
from bots.presentation.grid import compose
from bots.telegram.replies import PHOTO
from engine.events import Event, Picture, Progress, Stage
from engine.executors.config import EngineConfig
from engine.formats.metadata import write_png
from engine.spec import Spec
from storage import Storage
from tests.conftest import DISCORD_SPEC
from tests.factories import make_recipe
from tests.fakes.discord import FakeDiscord
from tests.fakes.instant import InstantExecutor
from tests.fakes.process import Marble
from tests.fakes.telegram.people import person
from tests.fakes.telegram.server import TelegramServer

ROUNDS: Final = 5
STEPS: Final = 25
STEP: Final = 0.1  # seconds
PREVIEWED: Final = 5  # steps
SIZES: Final = ((1, 1024), (4, 1024), (1, 2048))  # pictures, pixels of each side
NOTES: Final = "delivery.json"  # a line for each job: its number, its last step, its pictures' end

Deliver = Callable[[int, int, int], Awaitable[tuple[float, int]]]  # → when it was there, and bytes


def photograph(seed: int, side: int) -> npt.NDArray[np.uint8]:
    """Return pixels with as much detail on each scale as photographs have, and a little noise."""
    random = np.random.default_rng(seed)
    pixels = random.normal(128, 2, (side, side, 3))
    for cells in (4, 8, 16, 32, 64, 128, 256):
        for channel in range(3):
            coarse = Image.fromarray(random.normal(0, 60 / cells**0.5, (cells, cells)).astype("f4"))
            pixels[..., channel] += np.asarray(coarse.resize((side, side)))
    return np.clip(pixels, 0, 255).astype(np.uint8)


class Photographer(InstantExecutor):
    """Takes time, and notes when each job's last step and its pictures were done."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "gate")
        self._notes = folder / NOTES

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        recipe = spec.recipe
        taken = [
            await asyncio.to_thread(photograph, recipe.seed + n, recipe.width)
            for n in recipe.pictures
        ]
        small = io.BytesIO()
        Image.fromarray(taken[0]).resize((256, 256)).save(small, "JPEG")
        for step in range(1, STEPS + 1):
            await asyncio.sleep(STEP)
            preview = None if step % PREVIEWED else small.getvalue()
            yield Progress(stage=Stage.DENOISE, step=step, total=STEPS, preview=preview)
        times = [spec.job, time.time()]
        pngs = await asyncio.gather(
            *(
                asyncio.to_thread(write_png, pixels, recipe, n)
                for pixels, n in zip(taken, recipe.pictures, strict=True)
            )
        )
        times.append(time.time())
        with self._notes.open("a") as notes:
            notes.write(json.dumps(times) + "\n")
        for png, n in zip(pngs, recipe.pictures, strict=True):
            yield Picture(index=n, width=recipe.width, height=recipe.height, png=png)


def make(config: EngineConfig) -> Photographer:
    """Make the engine of `marble serve`."""
    assert config.notes is not None
    return Photographer(config.notes.parent)


def to_discord(discord: FakeDiscord) -> Deliver:
    async def deliver(seed: int, count: int, side: int) -> tuple[float, int]:
        somebody = discord.person(f"person {seed}")
        reply = await somebody.imagine("a cat", seed=str(seed), count=count, size=str(side))
        data = await reply.picture(60)
        return time.time() - time.monotonic() + reply.message.edits[-1], len(data)

    return deliver


def to_telegram(server: TelegramServer) -> Deliver:
    async def deliver(seed: int, count: int, side: int) -> tuple[float, int]:
        somebody = person(server, seed)
        said = await somebody.says(f"a cat --seed {seed} --count {count} --size {side}")
        shown: dict[str, Any] = await somebody.chat.picture(said)
        [*_, call] = server.calls_of("editMessageMedia")
        return time.time() - time.monotonic() + call.at, shown["photo"][-1]["file_size"]

    return deliver


async def measure(marble: Marble, deliver: Deliver, rounds: int, seed: int) -> None:
    """Deliver pictures of each size, and print a line for each."""
    data = marble.folder / "data"
    for count, side in SIZES:
        parts: list[list[float]] = []
        for number in range(rounds):
            there, size = await deliver(seed + number, count, side)
            [*_, last] = (data / NOTES).read_text().splitlines()
            job, stepped, written = json.loads(last)
            async with Storage.open(data) as storage:
                stored = (await storage.jobs.get(job)).finished_at
            assert stored
            ends = (stepped, written, stored.timestamp(), there)
            gone = [b - a for a, b in pairwise(ends)]
            parts.append([1000 * each for each in (*gone, there - stepped)])
        seed += rounds
        middle = " | ".join(f"{median(part):,.0f}" for part in zip(*parts, strict=True))
        say(f"| {count} of {side}² | {middle} | {size / 1e6:.1f} |")


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def costs() -> None:
    """Print what the parts that compute take of a thread's own time: the best of three, in ms."""
    say("| | processor, ms | MB |")
    for count, side in SIZES:
        recipe = make_recipe(width=side, height=side)
        taken = [photograph(n, side) for n in range(count)]
        pngs = [write_png(pixels, recipe, 0) for pixels in taken]
        if count > 1:
            name, part = f"a grid of {count} of {side}²", partial(grid_of, pngs)
        else:
            name, part = f"a PNG of {side}²", partial(write_png, taken[0], recipe, 0)
        times = []
        for _ in range(3):
            begun = time.thread_time()
            size = len(part())
            times.append(time.thread_time() - begun)
        say(f"| {name} | {1000 * min(times):,.0f} | {size / 1e6:.1f} |")


def grid_of(pngs: Sequence[bytes]) -> bytes:
    """Return a grid as Telegram is sent it."""
    return fit_composed(compose(pngs), PHOTO).data


async def main(rounds: int = ROUNDS) -> None:
    """Run it on both."""
    costs()
    with tempfile.TemporaryDirectory() as folder:
        telegram = TelegramServer()
        await telegram.start()
        async with FakeDiscord.start(DISCORD_SPEC) as discord:
            settings = {"MARBLE_EXECUTOR": "tests.bench.delivery:make", "MARBLE_PER_MINUTE": "0"}
            both = {**discord.environment, **telegram.environment, **settings}
            marble = Marble(Path(folder), both, fresh=True)
            await marble.start()
            await discord.until(lambda: discord.gateway.identified, "connecting", 60)
            await telegram.until(lambda: telegram.polls)
            say("| pictures | PNGs | stored | sent | all, ms | MB |")
            for seed, (name, deliver) in enumerate(
                {"Discord": to_discord(discord), "Telegram": to_telegram(telegram)}.items()
            ):
                say(f"{name}:")
                await measure(marble, deliver, rounds, 1000 * (seed + 1))
            await marble.stop()
        await telegram.stop()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
