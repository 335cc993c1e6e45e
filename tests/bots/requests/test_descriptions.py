"""Pictures are described in a process of their own, one at a time."""

import asyncio
import io
import logging
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bots.requests import descriptions
from bots.requests.descriptions import Descriptions
from bots.texts import tell, words_of
from engine.errors import ImageError, UserError
from engine.executors import helper
from engine.executors.embedding import Embedding
from engine.finish.describe import load_describer
from engine.models.catalogue import STARTER
from engine.pictures.images import to_png
from engine.starter.render.picture import render
from engine.starter.world import Spec
from tests.bots.presentation.test_presentation import png
from tests.describers import make_describer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_describer(tmp_path_factory.mktemp("describers") / "blip"))


@pytest.fixture
async def described(model: str) -> AsyncIterator[Descriptions]:
    found = Descriptions(model)
    yield found
    await found.close()


def process_of(described: Descriptions) -> Process | None:
    assert described._helper
    return described._helper._process


def turn_of(described: Descriptions) -> asyncio.Lock:
    assert described._helper
    return described._helper._turn


def words_for(model: str, data: bytes) -> list[str]:
    """Return what the model says of a picture, in this process."""
    return load_describer(model).suggest(Image.open(io.BytesIO(data)).convert("RGB"))


def ask(described: Descriptions, number: int, data: bytes) -> asyncio.Task[list[str]]:
    """Ask for somebody else than any other number does."""
    return asyncio.create_task(described.suggest(data, f"person {number}"))


async def until_waiting(described: Descriptions, count: int) -> None:
    while len(described._waiting) < count:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_pictures_are_described_one_after_another_and_a_dead_process_is_replaced(
    described: Descriptions, model: str
) -> None:
    pictures = [png(64, 48), png(64, 48, seed=1)]
    expected = [words_for(model, each) for each in pictures]
    assert expected[0] != expected[1]
    asked = [ask(described, number, each) for number, each in enumerate(pictures)]
    assert await asyncio.gather(*asked) == expected
    process = process_of(described)
    assert process
    with pytest.raises(ImageError):
        await ask(described, 1, b"no picture")
    assert process_of(described) is process
    process.kill()
    await process.wait()
    assert await ask(described, 1, pictures[0]) == expected[0]


async def test_ten_may_wait_and_make_room_whether_described_or_not(
    described: Descriptions, model: str
) -> None:
    await turn_of(described).acquire()  # one is being described
    pictures = [png(64, 48)] * 9 + [b"no picture"]
    asked = [ask(described, number, each) for number, each in enumerate(pictures[:9])]
    await until_waiting(described, 9)
    asked.append(ask(described, 9, pictures[9]))
    await until_waiting(described, 10)
    with pytest.raises(UserError, match="Many pictures are being described"):
        await ask(described, 10, png(64, 48))
    with pytest.raises(ImageError):
        await asked.pop()
    asked.append(ask(described, 10, png(64, 48)))  # in the room of the one that failed
    await until_waiting(described, 10)
    turn_of(described).release()
    assert await asyncio.gather(*asked) == [words_for(model, png(64, 48))] * 10
    assert not described._waiting


async def test_a_person_has_one_described_at_a_time(described: Descriptions) -> None:
    await turn_of(described).acquire()
    first = ask(described, 1, png(64, 48))
    await until_waiting(described, 1)
    with pytest.raises(UserError, match="Another picture of yours is being described"):
        await ask(described, 1, png(64, 48))
    turn_of(described).release()
    assert await ask(described, 2, png(64, 48)) == await first
    assert await ask(described, 1, png(64, 48)) == await first


async def test_who_waits_for_too_long_is_told_so(
    described: Descriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert descriptions.WAIT + helper.PATIENCE < 15 * 60  # Discord takes no answer then
    monkeypatch.setattr(descriptions, "WAIT", 0.0)
    await turn_of(described).acquire()  # and it never ends
    with pytest.raises(UserError, match="Many pictures are being described"):
        await ask(described, 1, png(64, 48))
    assert not described._waiting


async def test_who_stops_waiting_leaves_no_answer_to_the_next(
    described: Descriptions, model: str
) -> None:
    await ask(described, 1, png(64, 48))
    process = process_of(described)
    assert process
    stopped = ask(described, 1, png(64, 48))
    while not turn_of(described).locked():  # noqa: ASYNC110
        await asyncio.sleep(0)
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    assert await process.wait() < 0
    assert await ask(described, 2, png(64, 48, seed=1)) == words_for(model, png(64, 48, seed=1))


async def test_a_process_that_cannot_be_started_is_an_error_in_one_sentence(
    described: Descriptions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def start(*args: Any, **more: Any) -> None:
        raise BlockingIOError("no process is left")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    with caplog.at_level(logging.ERROR), pytest.raises(UserError, match="`marble doctor` tells"):
        await ask(described, 1, png(64, 48))
    assert "no process is left" in caplog.text


async def test_its_memory_is_given_back_while_nobody_asks(
    described: Descriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await ask(described, 1, png(64, 48))
    process = process_of(described)
    assert process
    assert process.returncode is None
    monkeypatch.setattr(helper, "IDLE", 0.0)
    assert await ask(described, 1, png(64, 48)) == first
    assert await process.wait() < 0
    assert process_of(described) is None


async def test_without_a_model_the_bundled_towers_choose_among_the_worlds_captions() -> None:
    lion = Spec(subject="lion", material="bronze", object="none", ground="night")
    king = Spec(subject="king", material="marble", object="sword", ground="sea")
    rng = np.random.default_rng(1)
    seen = [to_png(Image.fromarray(render(spec, rng))) for spec in (lion, king)]
    async with Embedding(STARTER) as towers:
        described = Descriptions(None, towers)
        english = [await described.suggest(each, "person 1", "en") for each in seen]
        chinese = [await described.suggest(each, "person 1", "zh") for each in seen]
        other = await described.suggest(seen[0], "person 1", "fr")  # the world has no French
        await described.close()
    assert [found[0] for found in english] == [
        "a bronze lion at night",
        "a marble king holding a sword by the sea",
    ]
    assert [found[0] for found in chinese] == ["青铜狮子，夜晚", "拿着剑的大理石国王，海边"]
    assert other == english[0]
    assert len(set(english[0])) == descriptions.NEAREST


async def test_what_cannot_be_is_said_in_one_sentence(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        await ask(Descriptions(None), 1, png(64, 48))
    assert str(error.value) == (
        "Nothing here can describe pictures: Marble's owner has to name a model in "
        "MARBLE_DESCRIBE_MODEL."
    )
    assert "MARBLE_DESCRIBE_MODEL" in tell(error.value, words_of("zh"))
    broken = Descriptions(str(tmp_path))
    with caplog.at_level(logging.ERROR), pytest.raises(UserError, match="`marble doctor` tells"):
        await ask(broken, 1, png(64, 48))
    assert "cannot describe pictures: " in caplog.text
    await broken.close()
