"""Whatever people type, name or upload: a picture or one sentence; no traceback, no path, no token.

MARBLE_FUZZ=10000 makes so many of each, and with --hypothesis-profile=search others each time; the
default keeps the suite short.
"""

import asyncio
import os
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bots.admission.rulebook import RULES, read_rule
from bots.requests.studio import Asker
from engine.errors import UserError
from tests.bots.conftest import House
from tests.bots.messages import read_typed

MANY = settings(
    max_examples=int(os.environ.get("MARBLE_FUZZ", "60")),
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ADA = Asker(person="x:ada", place="x:1")
LONGEST = 400  # characters of a sentence
WORDS = st.text(max_size=60) | st.sampled_from(
    [
        "a cat",
        "((((",
        "a (b:1.5",
        "\\",
        "\0",
        "\ud800",
        "🗿" * 30,
        "a\u202eb",
        "embedding:x",
        "%s{}",
    ]
)
FLAGS = st.sampled_from(
    [
        "seed",
        "steps",
        "size",
        "count",
        "no",
        "guidance",
        "sampler",
        "model",
        "cfg",
        "style",
        "ar",
        "nonsense",
        "",
    ]
)
VALUES = st.text(max_size=12) | st.sampled_from(
    ["-1", "0", "1e999", "nan", "inf", "9" * 40, "512x", "x512", "½", "٣", "../../etc/passwd"]
)
MESSAGES = st.builds(
    lambda words, options: " ".join([words, *(f"--{flag} {value}" for flag, value in options)]),
    WORDS,
    st.lists(st.tuples(FLAGS, VALUES), max_size=4),
)
NAMES = st.text(max_size=20) | st.from_regex(r"#?\d{1,25}(\.\d{0,22})?", fullmatch=True)


def png(width: int, height: int, body: bytes) -> bytes:
    """Return something that looks like a PNG of that size, whatever it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


FILES = (
    st.binary(max_size=300)
    | st.builds(png, st.integers(0, 2**31), st.integers(0, 2**31), st.binary(max_size=60))
    | st.builds(
        lambda head, rest: head + rest,
        st.sampled_from([b"GIF89a", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBPVP8 ", b"<svg ", b"BM"]),
        st.binary(max_size=200),
    )
)


async def kindly(house: House, request: Callable[[], Awaitable[Any]]) -> None:
    """Make a request; hold a refusal to be one sentence that gives nothing away."""
    try:
        await request()
    except UserError as error:
        sentence = str(error)
        assert 0 < len(sentence) <= LONGEST, sentence
        assert "Traceback" not in sentence
        assert str(house.storage.pictures.folder.parent) not in sentence


@pytest.fixture
async def answer(house: House) -> Callable[[Callable[[], Awaitable[Any]]], None]:
    """Return a function that makes a request in the studio's own loop, from hypothesis' thread."""
    loop = asyncio.get_running_loop()

    def ask(request: Callable[[], Awaitable[Any]]) -> None:
        asyncio.run_coroutine_threadsafe(kindly(house, request), loop).result(60)

    return ask


Ask = Callable[[Callable[[], Awaitable[Any]]], None]


async def test_any_message_is_answered(house: House, answer: Ask) -> None:
    house.worker.queue.pause("only the asking is tested")

    @MANY
    @given(MESSAGES)
    def asked(message: str) -> None:
        async def imagine() -> None:
            job = await house.studio.imagine(read_typed(message), ADA)
            await house.worker.cancel(job.id)

        answer(imagine)

    await asyncio.to_thread(asked)


async def test_any_name_is_answered(house: House, answer: Ask) -> None:
    house.worker.queue.pause("only the asking is tested")

    @MANY
    @given(NAMES)
    def asked(name: str) -> None:
        for verb in (house.studio.get, house.studio.catalogue.get):

            async def named(verb: Any = verb) -> None:
                found = verb(name)
                if asyncio.iscoroutine(found):
                    await found

            answer(named)
        answer(lambda: house.studio.rerun(name, {}, ADA))
        answer(lambda: house.studio.upscale(name, ADA))

    await asyncio.to_thread(asked)


async def test_any_file_is_answered(house: House, answer: Ask) -> None:
    @MANY
    @given(FILES)
    def asked(data: bytes) -> None:
        answer(lambda: house.studio.keep_image(data))

    await asyncio.to_thread(asked)


@MANY
@given(st.sampled_from([*RULES, "nonsense"]), VALUES | st.text(max_size=40))
def test_any_rule_is_answered(name: str, text: str) -> None:
    said = "fine"
    try:
        read_rule(name, text)
    except UserError as error:
        said = str(error)
    assert 0 < len(said) <= LONGEST
