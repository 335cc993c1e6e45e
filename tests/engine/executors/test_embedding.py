"""Pictures and texts become vectors in a process of their own."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from PIL import Image

from bots.texts import tell, words_of
from engine.errors import UserError
from engine.executors import embedder, embedding, helper, wire
from engine.executors.embedding import DamagedPicture, Embedding, TowersFailed
from engine.finish.towers import Towers, load_towers
from engine.pictures.images import read_stored_image, to_png
from tests.towers import make_towers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_towers(tmp_path_factory.mktemp("towers") / "small"))


@pytest.fixture(scope="module")
def towers(model: str) -> Towers:
    return load_towers(model)


@pytest.fixture
async def compared(model: str) -> AsyncIterator[Embedding]:
    async with Embedding(model) as found:
        yield found


def images(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)) for _ in range(count)]


async def test_vectors_are_the_models_whatever_is_sent_together(
    compared: Embedding, towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await compared.start()
    assert (compared.name, compared.width) == (towers.name, towers.width)
    assert np.abs(await compared.text("a lion") - towers.texts(["a lion"])[0]).max() <= 1e-5
    seen = images(5)
    files = [to_png(image) for image in seen]
    monkeypatch.setattr(embedding, "MOST", 3)
    monkeypatch.setattr(embedding, "BYTES", len(files[0]) * 2)
    found = await compared.pictures(files)
    assert np.abs(np.stack(found) - towers.pictures(seen)).max() <= 1e-5
    assert await compared.pictures([]) == []
    assert len(await compared.pictures(files[:1])) == 1  # larger alone than `BYTES`, it is sent


def test_large_pictures_that_are_sent_together_are_not_in_memory_together(
    towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [to_png(image) for image in images(9)]
    read_ones: list[ref[Image.Image]] = []
    most = 0

    def read(data: bytes) -> Image.Image:
        nonlocal most
        image = read_stored_image(data)
        read_ones.append(ref(image))
        most = max(most, sum(one() is not None for one in read_ones))
        return image

    monkeypatch.setattr(embedder, "read_stored_image", read)
    monkeypatch.setattr(embedder, "flatten", lambda image: image)
    question = wire.Frame({"pictures": [len(file) for file in files]}, b"".join(files))
    answer = embedder._answer(towers, question)
    assert len(answer.payload) == 9 * towers.width * 4
    assert most <= 2


async def test_a_damaged_picture_is_named_by_its_number(
    compared: Embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "MOST", 2)
    files = [to_png(image) for image in images(3)]
    files[2] = files[2][: len(files[2]) // 2]
    with pytest.raises(DamagedPicture) as error:
        await compared.pictures(files)
    assert error.value.number == 2
    assert len(await compared.pictures(files[:2])) == 2


async def test_a_process_that_dies_costs_one_answer(
    compared: Embedding, caplog: pytest.LogCaptureFixture
) -> None:
    first = await compared.text("a lion")
    assert compared._helper
    process = compared._helper._process
    assert process
    process.send_signal(signal.SIGSTOP)  # it will not answer before it dies
    asked = asyncio.create_task(compared.text("a lion"))
    while not compared._helper._turn.locked():  # noqa: ASYNC110
        await asyncio.sleep(0)
    process.kill()
    with caplog.at_level(logging.ERROR), pytest.raises(TowersFailed, match="`marble doctor` tells"):
        await asked
    assert "its process ended" in caplog.text
    assert np.array_equal(await compared.text("a lion"), first)


async def test_it_ends_when_nobody_asks_and_starts_again(
    compared: Embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "IDLE", 0.0)
    first = await compared.text("a lion")
    assert compared._helper
    process = compared._helper._process
    assert process
    assert await process.wait() < 0
    assert np.array_equal(await compared.text("a lion"), first)


async def test_what_cannot_be_is_said_in_one_sentence(
    compared: Embedding,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match="has turned that off in MARBLE_CLIP_MODEL") as error:
        await Embedding(None).text("a lion")
    assert "MARBLE_CLIP_MODEL" in tell(error.value, words_of("zh"))
    async with Embedding(str(tmp_path)) as broken:
        with caplog.at_level(logging.ERROR), pytest.raises(UserError, match="`marble doctor`"):
            await broken.start()
    assert "cannot compare pictures with texts: its configuration cannot be read" in caplog.text
    monkeypatch.setattr(embedding, "WAIT", 0.0)
    assert compared._helper
    await compared._helper._turn.acquire()  # and it never ends
    with pytest.raises(UserError, match="try again in a moment"):
        await compared.text("a lion")
