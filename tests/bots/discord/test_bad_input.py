"""Bad input: one friendly sentence, visible only to its author, and no job."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Final

from bots.texts import EN
from storage import Storage
from tests.bots.discord.conftest import Marble
from tests.bots.presentation.test_presentation import png
from tests.fakes.discord import FakeDiscord, Person, Reply
from tests.fakes.discord.world import INVITED, SEND

Deed = Callable[[Person], Awaitable[Reply]]


def bomb(side: int) -> bytes:
    """Return a small PNG of side × side pixels of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (1 + (side + 7) // 8)), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def given(filename: str, data: bytes) -> Deed:
    return lambda ann: ann.imagine("a cat", image=ann.uploads(filename, data))


# What somebody does, and what their sentence must say.
DEEDS: Final[dict[str, tuple[Deed, str]]] = {
    "an 89-Mpx image bomb": (given("bomb.png", bomb(9434)), "9,434 × 9,434"),
    "a truncated PNG": (given("cut.png", png(256, 256, seed=1)[:5000]), "damaged"),
    "a text file named .png": (given("notes.png", b"buy milk"), "PNG, JPEG"),
    "an empty file": (given("empty.png", b""), "empty"),
    "a 5,000-character prompt": (lambda ann: ann.imagine("word " * 1000), "2,000 characters"),
    "a flag that nobody knows": (
        lambda ann: ann.imagine("a cat --stepps 5"),
        "There is no option '--stepps' (did you mean '--steps'?)",
    ),
    "a flag beside the option": (
        lambda ann: ann.imagine("a cat —seed 8", seed="7"),
        "seed is given twice, as '7' and as '8'",
    ),
    "a flag without its value": (lambda ann: ann.imagine("a cat --seed"), "followed by a value"),
    "a flag's bad value": (lambda ann: ann.imagine("a cat --ar big"), "like 512"),
    "seed abc": (lambda ann: ann.imagine("a cat", seed="abc"), "whole number"),
    "an unknown model": (lambda ann: ann.imagine("a cat", model="startr"), "did you mean"),
    "a size that is none": (lambda ann: ann.imagine("a cat", size="big"), "like 512"),
    "a mask without an image": (
        lambda ann: ann.imagine("a cat", mask=ann.uploads("mask.png", png())),
        "start image",
    ),
    "a job that is none": (lambda ann: ann.types("cancel", job="bird"), "have names like"),
    "a missing permission": (lambda ann: _without_permission(ann), "Send Messages"),
}


async def _without_permission(ann: Person) -> Reply:
    ann.app_permissions = INVITED & ~SEND
    try:
        return await ann.imagine("a cat")
    finally:
        ann.app_permissions = None


async def test_every_mistake_costs_one_sentence(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    for name, (deed, words) in DEEDS.items():
        reply = await deed(ann)
        text = await reply.said()
        assert words in text, f"{name}: {text}"
        assert reply.ephemeral, name
        assert "Traceback" not in text
        sentence, _, given_back = text.partition(f"\n-# {EN.your_words}\n")
        assert "\n" not in sentence, name
        assert len(sentence) < 400, name
        assert not given_back or re.fullmatch(r"```\n.+\n```", given_back, re.DOTALL), name
        assert discord.shown() == [], name
        print(f"{name:28} → {text}")  # noqa: T201  # shown with -s
    await marble.stop()
    assert "Traceback" not in marble.log
    async with Storage.open(marble.data) as storage:
        assert not (await storage.history.stats()).jobs
