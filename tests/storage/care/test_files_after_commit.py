"""A picture file goes only after the rows that named it are gone for good."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, true
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.errors import MissingPicture
from storage import Storage
from storage.care.care import Care
from tests.storage.care.test_care import delivered, files, from_image
from tests.storage.conftest import a_job


class Died(Exception):
    pass


@contextmanager
def files_at_first_commit(storage: Storage) -> Iterator[set[bytes]]:
    """Yield a set that gets the files that are there as the next transaction is to be committed:
    all that a commit that fails, or the end of the process, could leave."""
    engine = storage.database._writes
    sync = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    found: set[bytes] = set()
    event.listen(sync, "commit", lambda _: found.update(files(storage)), once=True)
    yield found


async def test_whoever_is_not_yet_forgotten_keeps_what_they_gave(storage: Storage) -> None:
    image = storage.pictures.add(b"photo")
    await delivered(storage, from_image(image, person="x:a"), b"drawn")
    with files_at_first_commit(storage) as there:
        assert (await storage.privacy.forget("x:a")).files == 2
    assert there == {b"photo", b"drawn"}
    assert files(storage) == set()


async def test_a_sweep_trusts_no_removal_that_is_not_committed(storage: Storage) -> None:
    job = await delivered(storage, a_job(), b"drawn")
    [picture] = (await storage.jobs.get(job)).pictures
    with files_at_first_commit(storage) as there:
        _, dropped = await asyncio.gather(
            storage.care.remove_jobs(true()),
            storage.care.drop([picture.sha256], unused_for=0),
        )
    assert there == {b"drawn"}
    assert dropped == 1
    assert files(storage) == set()


async def test_nobody_keeps_a_start_image_by_using_it_as_its_giver_is_forgotten(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = storage.pictures.add(b"photo")
    first = await delivered(storage, from_image(image, person="x:a"), b"drawn")
    drop = Care.drop

    async def use_then_drop(self: Care, *arguments: Any, **options: Any) -> int:
        monkeypatch.setattr(Care, "drop", drop)
        await storage.jobs.add(from_image(image, person="x:b", parent=first))
        return await drop(self, *arguments, **options)

    monkeypatch.setattr(Care, "drop", use_then_drop)
    await storage.privacy.forget("x:a")
    assert files(storage) == set()
    assert (await storage.care.check(deep=True)).problems == ()
    with pytest.raises(MissingPicture):
        storage.pictures.fetch(image)


async def test_files_whose_removal_was_cut_short_are_swept(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process dies between the rows and the files."""
    image = storage.pictures.add(b"photo")
    await delivered(storage, from_image(image, person="x:a"), b"drawn")

    async def die(self: Care, *arguments: Any, **options: Any) -> int:
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(Care, "drop", die)
        with pytest.raises(Died):
            await storage.privacy.forget("x:a")
    assert files(storage) == {b"photo", b"drawn"}
    await storage.privacy.forget("x:a")
    await storage.care.sweep(unused_for=0)
    assert files(storage) == set()
