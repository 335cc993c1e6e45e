"""Pictures are described in a process of their own, one at a time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bots.requests import descriptions
from bots.requests.descriptions import Descriptions
from bots.texts import tell, words_of
from engine.errors import ImageError, UserError
from tests.bots.presentation.test_presentation import png
from tests.describers import make_describer


@pytest.fixture
async def described(tmp_path: Path) -> AsyncIterator[Descriptions]:
    found = Descriptions(str(make_describer(tmp_path / "blip")))
    yield found
    await found.close()


async def test_pictures_are_described_one_after_another_and_a_dead_process_is_replaced(
    described: Descriptions,
) -> None:
    first, same = await asyncio.gather(*(described.suggest(png(64, 48)) for _ in range(2)))
    assert first == same
    assert len(first) == 4
    process = described._process
    assert process
    with pytest.raises(ImageError):
        await described.suggest(b"no picture")
    assert described._process is process
    process.kill()
    await process.wait()
    with pytest.raises(UserError, match="could not be described"):
        await described.suggest(png(64, 48))
    assert await described.suggest(png(64, 48)) == first


async def test_its_memory_is_given_back_while_nobody_asks(
    described: Descriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await described.suggest(png(64, 48))
    process = described._process
    assert process
    assert process.returncode is None
    monkeypatch.setattr(descriptions, "IDLE", 0.0)
    assert await described.suggest(png(64, 48)) == first
    assert await process.wait() < 0
    assert described._process is None


async def test_what_cannot_be_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        await Descriptions(None).suggest(png(64, 48))
    assert str(error.value) == (
        "Nothing here can describe pictures: Marble's owner has to name a model in "
        "MARBLE_DESCRIBE_MODEL."
    )
    assert "MARBLE_DESCRIBE_MODEL" in tell(error.value, words_of("zh"))
    broken = Descriptions(str(tmp_path))
    with caplog.at_level(logging.ERROR), pytest.raises(UserError, match="`marble doctor` tells"):
        await broken.suggest(png(64, 48))
    assert "cannot describe pictures: " in caplog.text
    monkeypatch.setattr(descriptions, "MOST", 0)
    with pytest.raises(UserError, match="Many pictures are being described"):
        await broken.suggest(png(64, 48))
    await broken.close()
