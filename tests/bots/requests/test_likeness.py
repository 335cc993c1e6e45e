"""Pictures are found by their meaning; one that cannot be compared is left out with a sentence."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from bots.requests.likeness import Likeness, read_like
from bots.service import indexing
from bots.service.indexing import Indexing
from bots.texts import tell, words_of
from engine.errors import OptionError, UserError
from engine.executors.base import end_task
from engine.executors.embedding import MOST, Embedding, TowersFailed, Vector
from engine.finish.towers import load_towers
from storage import Job, Picture, Status
from storage.records import Tower
from storage.vectors.vectors import NewVector, Vectors
from tests.bots.conftest import ADA, House
from tests.bots.fakes import FakeEmbedding
from tests.towers import make_towers


@pytest.fixture
async def scripted() -> AsyncIterator[FakeEmbedding]:
    async with FakeEmbedding() as found:
        yield found


@pytest.fixture
def likeness(house: House, scripted: FakeEmbedding) -> Likeness:
    return Likeness(house.storage, scripted)


async def draw(house: House, count: int = 1, prompt: str = "a lion") -> Job:
    """Return a job of pictures."""
    values = {"prompt": prompt, "seed": 1, "count": count, "checkpoint": "tiny"}
    job = await house.studio.imagine(values, ADA)
    async for _ in house.worker.follow(job.id):
        pass
    return await house.storage.jobs.get(job.id)


def file_of(house: House, picture: Picture) -> bytes:
    return house.storage.pictures.read(picture)


async def test_the_towers_find_a_picture_by_words_and_by_another_one(
    house: House, tmp_path: Path
) -> None:
    model = str(make_towers(tmp_path / "towers"))
    towers, job = load_towers(model), await draw(house, count=4)
    async with Embedding(model) as embedding:
        likeness = Likeness(house.storage, embedding)
        tower = await likeness.tower()
        assert await likeness.index(job.pictures) == []
        found = await likeness.find("a cat", 4, ADA.person)
        others = await likeness.find(job.pictures[2], 9, None)
    assert {each.picture.index for each in others} == {0, 1, 3}
    question = towers.texts(["a cat"])[0]
    assert [each.cosine for each in found] == sorted((e.cosine for e in found), reverse=True)
    for each in found:
        stored = await house.storage.vectors.of(tower, job.id, each.picture.index)
        assert stored is not None
        assert each.cosine == pytest.approx(float(stored @ question), abs=2e-3)
    prompt = towers.texts(["a lion"])[0]
    for index, match in (await house.storage.vectors.matches(job.id)).items():
        stored = await house.storage.vectors.of(tower, job.id, index)
        assert stored is not None
        assert match == pytest.approx(float(stored @ prompt), abs=2e-3)


async def test_what_cannot_be_compared_is_left_out_with_a_sentence(
    house: House, likeness: Likeness, scripted: FakeEmbedding
) -> None:
    job = await draw(house, count=4)
    gone, damaged, nan, good = job.pictures
    scripted.broken.add(file_of(house, damaged))
    scripted.nan.add(file_of(house, nan))
    house.storage.pictures.path(gone).unlink()
    left_out = {each.name: why for each, why in await likeness.index(job.pictures)}
    assert left_out.keys() == {gone.name, damaged.name, nan.name}
    assert left_out[gone.name] == "its file is missing"
    assert left_out[damaged.name] == "its file cannot be read as a picture"
    assert left_out[nan.name] == "the model's vector of it has values that are no numbers"
    assert [each.picture for each in await likeness.find("x", 9, None)] == [good]
    scripted.broken.clear()
    # A picture need not have a vector to ask by it, but a file.
    assert [each.picture for each in await likeness.find(damaged, 9, None)] == [good]
    with pytest.raises(UserError, match=f"file of picture {gone.name} is missing") as error:
        await likeness.find(gone, 9, None)
    assert gone.name in tell(error.value, words_of("zh"))
    assert (await house.storage.jobs.get(job.id)).pictures == job.pictures


async def test_a_picture_at_which_the_model_fails_keeps_no_other_from_its_vector(
    house: House, likeness: Likeness, scripted: FakeEmbedding
) -> None:
    job = await draw(house, count=4)
    bad = job.pictures[2]
    scripted.deadly.add(file_of(house, bad))
    scripted.fails = True
    with pytest.raises(TowersFailed):
        await likeness.index(job.pictures)
    scripted.fails = False
    assert await likeness.index(job.pictures) == [(bad, "the model fails at it")]
    assert await likeness.storage.vectors.count(await likeness.tower()) == (3, 4)


async def test_a_model_that_is_changed_meanwhile_gives_no_vector_anothers_name(
    house: House, likeness: Likeness, scripted: FakeEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await draw(house)
    first, second = Tower("scripted-1", 4), Tower("scripted-2", 8)

    async def change(text: str) -> Vector:
        scripted._known = second.name, second.width
        return np.ones(8, np.float32)

    monkeypatch.setattr(scripted, "text", change)
    with pytest.raises(UserError, match="was changed meanwhile") as error:
        await likeness.index(job.pictures)
    assert "更换" in tell(error.value, words_of("zh"))
    for tower in (first, second):
        assert await likeness.storage.vectors.count(tower) == (0, 1)


async def test_indexing_goes_on_by_a_model_that_took_anothers_place(
    house: House, likeness: Likeness, scripted: FakeEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    await draw(house, count=MOST)
    await draw(house)
    start, starts = scripted.start, itertools.count()

    async def change() -> None:
        await start()
        scripted._known = f"scripted-{2 if next(starts) else 1}", 4

    monkeypatch.setattr(scripted, "start", change)
    with suppress(UserError):
        await Indexing(likeness, house.worker.rendered)._work()
    await Indexing(likeness, house.worker.rendered)._work()
    assert await likeness.storage.vectors.count(Tower("scripted-2", 4)) == (MOST + 1, MOST + 1)


async def test_nothing_to_find_and_no_numbers_are_said(house: House, likeness: Likeness) -> None:
    job = await draw(house)
    for person in (ADA.person, None):
        for like in ("x", job.pictures[0]):
            with pytest.raises(UserError, match="`marble clip index`") as error:
                await likeness.find(like, 5, person)
            assert "marble clip index" in tell(error.value, words_of("zh"))
    with pytest.raises(UserError, match="numbers are not finite"):
        await likeness.find("nan", 5, None)
    await likeness.index(job.pictures)
    with pytest.raises(UserError, match=f"no other picture to compare {job.id}.1 with") as error:
        await likeness.find(job.pictures[0], 5, None)
    assert f"{job.id}.1" in tell(error.value, words_of("zh"))


@pytest.mark.parametrize("text", ["", " \n", "a\0lion", "a lion \udcff"])
def test_what_is_no_text_finds_nothing(text: str) -> None:
    with pytest.raises(OptionError, match=r"^like must be "):
        read_like(text)


async def test_pictures_are_indexed_after_they_are_stored_and_missed_ones_too(
    house: House, likeness: Likeness, scripted: FakeEmbedding, caplog: pytest.LogCaptureFixture
) -> None:
    missed = await draw(house, count=3)
    bad = missed.pictures[1]
    scripted.nan.add(file_of(house, bad))
    worse = await draw(house, prompt="a wolf")
    house.storage.pictures.remove(worse.pictures[0].sha256)
    scripted.fails = True
    work = Indexing(likeness, house.worker.rendered)
    for _ in range(2):
        with pytest.raises(UserError):
            await work._work()
    scripted.fails = False
    with caplog.at_level(logging.WARNING):
        new = await draw(house, prompt="a bear", count=2)
        await work._work()
    assert new.status is Status.RENDERED
    assert house.worker.rendered.is_set()
    assert await house.storage.vectors.count(await likeness.tower()) == (4, 6)
    assert max(scripted.asked) <= MOST
    said = [each for each in caplog.messages if "cannot be found by their meaning" in each]
    assert len(said) == 1
    assert said[0].startswith("2 pictures ")
    assert any(each.name in said[0] for each in (bad, *worse.pictures))
    caplog.clear()
    await work._work()
    assert not caplog.messages  # what was left out is not tried again and again


async def test_the_task_begins_with_a_new_picture_and_goes_on_after_a_failure(
    house: House, likeness: Likeness, scripted: FakeEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "LATER", 0.0)
    stored, failed = asyncio.Event(), asyncio.Event()
    add, start = likeness.storage.vectors.add, scripted.start

    async def add_and_say(self: Vectors, tower: Tower, new: Sequence[NewVector]) -> int:
        count = await add(tower, new)
        stored.set()
        return count

    async def fail_and_say() -> None:
        failed.set()
        await start()

    monkeypatch.setattr(Vectors, "add", add_and_say)
    monkeypatch.setattr(scripted, "start", fail_and_say)
    scripted.fails = True
    working = asyncio.create_task(Indexing(likeness, house.worker.rendered).run(), name="indexing")
    try:
        await draw(house)
        await failed.wait()
        scripted.fails = False
        await draw(house)
        await stored.wait()
    finally:
        await end_task(working)
    assert await likeness.storage.vectors.count(await likeness.tower()) == (2, 2)
