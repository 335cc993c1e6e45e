"""Vectors in the database: of one model each, gone with their pictures, and searched exactly."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from storage import Job, Picture, Storage
from storage.database.tables import vectors as table
from storage.errors import DatabaseFault
from storage.records import Alike, Tower
from storage.vectors import vectors
from storage.vectors.scan import unfinished
from storage.vectors.vectors import NewVector
from tests.factories import add_claimed
from tests.storage.conftest import Home, a_job, drawn
from tests.storage.vectors.test_scan import full, units

SMALL, WIDE = Tower("small-1", 16), Tower("wide-1", 512)


async def draw(storage: Storage, person: str = "terminal:ada", count: int = 1) -> Job:
    """Store a job with pictures."""
    job = await add_claimed(storage, a_job(person=person))
    contents = (f"{job.id}.{index}".encode() for index in range(count))
    return await storage.jobs.rendered(job.id, job.epoch, drawn(*contents))


async def keep(
    storage: Storage, tower: Tower, pictures: list[Picture], found: vectors.Floats
) -> int:
    new = [
        NewVector(job=each.job, picture=each.index, vector=vector, match=float(vector[0]))
        for each, vector in zip(pictures, found, strict=True)
    ]
    return await storage.vectors.add(tower, new)


async def rows(storage: Storage) -> int:
    return len(await storage.database.read(lambda c: c.execute(select(table.c.id)).all()))


def names(found: tuple[Alike, ...]) -> list[str]:
    return [each.picture.name for each in found]


@pytest.mark.parametrize("tower", [SMALL, WIDE])
async def test_the_nearest_pictures_come_first(
    storage: Storage, tower: Tower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "PAGE", 3)
    monkeypatch.setattr(vectors, "JOBS", 1)
    people = ("terminal:ada", "terminal:bo", "terminal:bo")
    drawn_by = [await draw(storage, person=person, count=3) for person in people]
    pictures = [picture for job in drawn_by for picture in job.pictures][:8]
    found = units(8, tower.width)
    assert await keep(storage, tower, pictures, found) == 8
    question = units(1, tower.width, seed=3)[0]
    kept = found.astype(np.float16).astype(np.float32)
    stored = kept @ question / np.linalg.norm(kept, axis=1)
    ordered = [pictures[at].name for at in np.argsort(-stored)]
    everybodys = await storage.vectors.nearest(tower, question, 5)
    assert names(everybodys) == ordered[:5]
    assert [each.cosine for each in everybodys] == pytest.approx(np.sort(stored)[::-1][:5])
    own = await storage.vectors.nearest_of(tower, "terminal:bo", question, 9)
    assert names(own) == [name for name in ordered if not name.startswith("1.")]
    assert {each.job.person for each in own} == {"terminal:bo"}


@pytest.mark.parametrize("width", [16, 64, 128])
async def test_of_many_that_are_nearly_the_same_none_is_missed(
    storage: Storage, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "CANDIDATES", 5)
    tower = Tower("near", width)
    pictures = [p for _ in range(5) for p in (await draw(storage, count=64)).pictures]
    found = units(1, width) + 0.005 * units(len(pictures), width, seed=1)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    await keep(storage, tower, pictures, found)
    kept = found.astype(np.float16).astype(np.float32)
    for question in units(10, width, seed=2) + units(1, width):
        cosines = kept @ question / np.linalg.norm(kept, axis=1) / np.linalg.norm(question)
        nearest = await storage.vectors.nearest(tower, question, 3)
        assert [each.cosine for each in nearest] == pytest.approx(np.sort(cosines)[:-4:-1])


async def test_a_making_of_is_not_found_beside_the_picture_that_it_shows(storage: Storage) -> None:
    first = await draw(storage, count=2)
    again = a_job(person=first.person, parent=first.id, parent_picture=1, making_of=True)
    claimed = await add_claimed(storage, again)
    made = await storage.jobs.rendered(claimed.id, claimed.epoch, drawn(b"again"))
    found = units(2, 16)
    await keep(storage, SMALL, [*first.pictures, *made.pictures], found[[0, 1, 1]])
    for alike in (
        await storage.vectors.nearest_of(SMALL, first.person, found[1], 9),
        await storage.vectors.nearest(SMALL, found[1], 9),
    ):
        assert names(alike) == ["1.2", "1.1"]


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("tower", [SMALL, WIDE])
async def test_a_vector_without_a_direction_is_like_nothing(
    storage: Storage, tower: Tower, value: float
) -> None:
    job = await draw(storage, count=4)
    found = units(4, tower.width)
    found[1:3] = value
    await keep(storage, tower, list(job.pictures), found)
    for limit in (1, 9):
        own = await storage.vectors.nearest_of(tower, job.person, found[0], limit)
        everybodys = await storage.vectors.nearest(tower, found[0], limit)
        assert names(own) == names(everybodys) == ["1.1", "1.4"][:limit]


async def test_vectors_of_another_model_or_width_are_not_mixed(storage: Storage) -> None:
    job = await draw(storage, count=2)
    first, second = job.pictures
    question = units(1, 16)[0]
    await keep(storage, SMALL, [first], units(1, 16))
    for other in (Tower("small-2", 16), Tower("small-1", 512)):
        assert await storage.vectors.nearest(other, units(1, other.width)[0], 5) == ()
        assert await storage.vectors.nearest_of(other, job.person, question, 5) == ()
        assert await storage.vectors.of(other, job.id, 0) is None
        assert await storage.vectors.lacking(other) == (second, first)
    assert await storage.vectors.lacking(SMALL) == (second,)
    assert await storage.vectors.count(SMALL) == (1, 2)
    assert await keep(storage, SMALL, [first], units(1, 16)) == 0  # it has one


async def test_pictures_without_a_vector_are_listed_page_by_page(storage: Storage) -> None:
    jobs = [await draw(storage, count=2) for _ in range(3)]
    every = [picture for job in jobs for picture in job.pictures][::-1]
    await keep(storage, SMALL, [every[1], every[4]], units(2, 16))
    lacking = [every[0], every[2], every[3], every[5]]
    assert await storage.vectors.lacking(SMALL) == tuple(lacking)
    assert await storage.vectors.lacking(SMALL, limit=2) == tuple(lacking[:2])
    before = (lacking[1].job, lacking[1].index)
    assert await storage.vectors.lacking(SMALL, before=before) == tuple(lacking[2:])
    assert await storage.vectors.lacking(SMALL, latest=3) == tuple(lacking[:2])


async def test_a_vector_is_stored_in_fp16_with_its_match(storage: Storage) -> None:
    job = await draw(storage, count=2)
    vector = units(1, 16)[0]
    await keep(storage, SMALL, [job.pictures[1]], vector[None])
    stored = await storage.vectors.of(SMALL, job.id, 1)
    assert stored is not None
    assert (stored == vector.astype(np.float16)).all()
    assert await storage.vectors.matches(job.id) == {1: pytest.approx(float(vector[0]))}


async def test_vectors_go_with_their_pictures_from_the_file_too(storage: Storage) -> None:
    ada, bo = await draw(storage, count=2), await draw(storage, person="terminal:bo", count=2)
    found = units(4, 512)
    await keep(storage, WIDE, [*ada.pictures, *bo.pictures], found)
    assert len(await storage.vectors.nearest(WIDE, found[0], 9)) == 4
    [file] = storage.vectors.folder.glob("*.rows")
    before = file.stat().st_size
    await storage.privacy.forget("terminal:ada")
    assert await rows(storage) == 2
    assert file.stat().st_size == before // 2
    assert names(await storage.vectors.nearest(WIDE, found[0], 9)) == [
        each.picture.name
        for each in await storage.vectors.nearest_of(WIDE, "terminal:bo", found[0], 9)
    ]
    # One that is embedded while it is deleted is not stored.
    assert await keep(storage, WIDE, list(ada.pictures), found[:2]) == 0
    for picture in bo.pictures[:1]:
        await storage.jobs.delivered(picture.job)
    assert await storage.privacy.forget_job(bo.id)
    assert await rows(storage) == 0
    assert list(storage.vectors.folder.glob("*.rows")) == []


async def test_a_restart_goes_on_with_the_file(home: Home) -> None:
    found = units(3, 512)
    async with home.open() as storage:
        job = await draw(storage, count=3)
        await keep(storage, WIDE, list(job.pictures[:2]), found[:2])
        await storage.vectors.nearest(WIDE, found[0], 1)
    async with home.open() as storage:
        await keep(storage, WIDE, list(job.pictures[2:]), found[2:])
        assert names(await storage.vectors.nearest(WIDE, found[2], 1)) == [f"{job.id}.3"]
        assert names(await storage.vectors.nearest(WIDE, found[1], 1)) == [f"{job.id}.2"]


async def test_a_number_that_was_committed_late_is_found(storage: Storage) -> None:
    job = await draw(storage, count=2)
    found = units(2, 16)
    await keep(storage, SMALL, list(job.pictures), found)
    late = await storage.database.read(lambda c: c.execute(select(table).order_by("id")).first())
    assert late is not None
    await storage.database.write(lambda c: c.execute(table.delete().where(table.c.id == late.id)))
    assert len(await storage.vectors.nearest(SMALL, found[0], 2)) == 1
    await storage.database.write(lambda c: c.execute(table.insert().values(**late._mapping)))
    assert len(await storage.vectors.nearest(SMALL, found[0], 2)) == 2


def fill_the_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.unlink()
    monkeypatch.setattr(os, "fsync", full)


def put_a_folder_in_its_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.unlink()
    file.mkdir()


def put_a_file_in_the_folders_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("")


@pytest.mark.parametrize(
    "break_it", [fill_the_disk, put_a_folder_in_its_place, put_a_file_in_the_folders_place]
)
async def test_a_file_that_cannot_be_used_is_said_and_what_is_deleted_is_gone(
    storage: Storage,
    break_it: Callable[[Path, pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = await draw(storage, count=2)
    found = units(2, 512)
    await keep(storage, WIDE, list(job.pictures), found)
    await storage.vectors.nearest(WIDE, found[0], 1)
    [file] = storage.vectors.folder.glob("*.rows")
    break_it(file, monkeypatch)
    with pytest.raises(DatabaseFault, match=file.name):
        await storage.vectors.nearest(WIDE, found[0], 1)
    assert len(await storage.vectors.nearest_of(WIDE, job.person, found[0], 2)) == 2
    with suppress(DatabaseFault):
        await storage.privacy.forget(job.person)
    assert not await storage.privacy.knows(job.person)
    assert await rows(storage) == 0


async def test_what_a_killed_process_left_of_a_file_is_removed(storage: Storage) -> None:
    ada, bo = await draw(storage), await draw(storage, person="terminal:bo")
    found = units(2, 512)
    await keep(storage, WIDE, [*ada.pictures, *bo.pictures], found)
    await storage.vectors.nearest(WIDE, found[0], 1)
    [file] = storage.vectors.folder.glob("*.rows")
    copy = unfinished(file)
    shutil.copy(file, copy)
    await storage.privacy.forget("terminal:bo")
    assert not copy.exists()
    assert file.exists()
    shutil.copy(file, copy)
    await storage.privacy.forget("terminal:ada")
    assert not list(storage.vectors.folder.iterdir())
