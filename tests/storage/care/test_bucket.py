"""A storage whose pictures are in an object store: what is promised of files holds there."""

from __future__ import annotations

import asyncio
import threading
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.errors import MissingPicture
from engine.files import bucket as buckets
from storage import DatabaseFault, Status, Storage
from storage.care.moving import Moved, move, open_alone
from storage.errors import OthersPictures, PicturesFault
from storage.jobs import jobs
from storage.jobs.bucket_pictures import FOLDER
from storage.jobs.picture_files import Pictures
from tests.factories import add_claimed
from tests.object_store import CUT, Way
from tests.storage.care.test_care import delivered, from_image
from tests.storage.conftest import Home, a_job, drawn


@pytest.fixture
def there(home: Home, bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a place for a storage whose pictures are in a bucket; every call is tried once."""
    once = (60, 60, 1)
    monkeypatch.setattr(buckets, "LIMITS", {buckets.IN_TIME: once, buckets.PROMPTLY: once})
    monkeypatch.setattr(jobs, "RETRY", 0.01)
    return replace(home, pictures_url=bucket_url)


@pytest.fixture
async def storage(there: Home) -> AsyncIterator[Storage]:
    """Open a storage whose pictures are in a bucket."""
    async with there.open() as storage:
        yield storage


def kept(storage: Storage) -> set[bytes]:
    """Return the contents of all pictures."""
    return {storage.pictures.fetch(name) for name in storage.pictures.all()}


async def test_a_job_from_its_start_image_to_its_end(storage: Storage, tmp_path: Path) -> None:
    image = storage.pictures.add(b"photo")
    job = await delivered(storage, from_image(image, person="x:a"), b"one", b"two")
    report = await storage.care.check(deep=True)
    assert (report.problems, report.files, report.orphans) == ((), 3, 0)
    await storage.exports.to_file("x:a", tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("pictures/1.2.png") == b"two"
        assert archive.read(f"given/{image}.png") == b"photo"
    assert not storage.pictures.folder.exists()
    with pytest.raises(MissingPicture):
        await storage.jobs.add(from_image("0" * 64))
    [picture, _] = (await storage.jobs.get(job)).pictures
    storage.pictures.remove(picture.sha256)
    [problem] = (await storage.care.check()).problems
    assert problem.startswith("picture 1.1: marble/")
    assert problem.endswith(" is missing")


async def test_pictures_of_a_process_that_died_before_the_commit_are_swept_after_an_hour(
    there: Home, way: Way
) -> None:
    async with there.open() as storage:
        job = await add_claimed(storage, a_job())
        await storage.jobs._keep(drawn(b"lost"))  # and there it died
        await delivered(storage, a_job(), b"kept")
    async with there.open() as storage:
        assert (await storage.jobs.get(job.id)).pictures == ()
        assert (await storage.care.check()).orphans == 1
        assert await storage.care.sweep() == 0
        way.ahead = timedelta(hours=2)
        assert await storage.care.sweep() == 1
        assert kept(storage) == {b"kept"}


async def test_nothing_is_recorded_before_the_store_has_acknowledged_it(
    storage: Storage, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "OUTCOME", 0)
    way.fault = lambda method, path: CUT if method == "PUT" else None
    job = await add_claimed(storage, a_job())
    with pytest.raises(PicturesFault, match=r"The picture store s3://.* cannot be reached"):
        await storage.jobs.rendered(job.id, job.epoch, drawn(b"png"))
    assert (await storage.jobs.get(job.id)).status is Status.RUNNING


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
async def test_a_result_waits_until_the_store_is_back(
    storage: Storage, way: Way, method: str
) -> None:
    left = [CUT] * 4
    way.fault = lambda asked, path: left.pop() if left and asked == method else None
    job = await add_claimed(storage, a_job())
    other = asyncio.create_task(storage.jobs.add(a_job("another")))  # waits for no store
    done = await storage.jobs.rendered(job.id, job.epoch, drawn(b"png"))
    assert (done.status, left, (await other).status) == (Status.RENDERED, [], Status.QUEUED)
    assert kept(storage) == {b"png"}


async def test_a_store_that_is_away_refuses_only_jobs_that_need_it(
    storage: Storage, way: Way
) -> None:
    image = storage.pictures.add(b"photo")
    way.fault = lambda method, path: CUT
    with pytest.raises(DatabaseFault, match="The picture store"):
        await storage.jobs.add(from_image(image))
    assert (await storage.jobs.add(a_job())).status is Status.QUEUED
    way.fault = lambda method, path: None
    assert (await storage.jobs.add(from_image(image))).status is Status.QUEUED


async def test_the_store_is_never_asked_in_the_thread_of_the_event_loop(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    threads = set()
    client = buckets.Bucket._client

    def noting(self: buckets.Bucket, limits: str = buckets.IN_TIME) -> object:
        threads.add(threading.current_thread())
        return client(self, limits)

    monkeypatch.setattr(buckets.Bucket, "_client", noting)
    for name in ("look", "remove", "all"):  # their requests are made by a pool, for which they wait
        monkeypatch.setattr(buckets.Bucket, name, _noting(name, threads))
    image = await asyncio.to_thread(storage.pictures.add, b"photo")
    job = await delivered(storage, from_image(image, person="x:a"), b"png")
    await storage.care.check(deep=True)
    await storage.care.sweep(0)
    await storage.exports.to_file("x:a", tmp_path / "a.zip")
    await storage.privacy.forget("x:a")
    assert job == 1
    assert len(threads) > 1
    assert threading.current_thread() not in threads


def _noting(name: str, threads: set[threading.Thread]) -> Callable[..., Any]:
    method: Callable[..., Any] = getattr(buckets.Bucket, name)

    def noting(*arguments: Any) -> Any:
        threads.add(threading.current_thread())
        return method(*arguments)

    return noting


async def test_a_picture_that_is_removed_before_its_commit_is_stored_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await add_claimed(storage, a_job())
    keep, times = type(storage.jobs)._keep, 0

    async def keep_then_lose(self: object, pictures: object) -> object:
        nonlocal times
        times += 1
        rows = await keep(self, pictures)  # type: ignore[arg-type]
        if times == 1:
            await storage.care.sweep(0)
        return rows

    monkeypatch.setattr(type(storage.jobs), "_keep", keep_then_lose)
    await storage.jobs.rendered(job.id, job.epoch, drawn(b"png"))
    assert (times, kept(storage)) == (2, {b"png"})


async def test_what_somebody_gave_and_drew_goes_with_them(storage: Storage) -> None:
    image = storage.pictures.add(b"photo")
    await delivered(storage, from_image(image, person="x:a"), b"theirs", b"shared")
    await delivered(storage, a_job(person="x:b"), b"shared")
    forgotten = await storage.privacy.forget("x:a")
    assert (forgotten.files, kept(storage)) == (2, {b"shared"})


async def test_a_removal_that_fails_midway_is_finished_by_the_sweep(
    storage: Storage, way: Way
) -> None:
    job = await delivered(storage, a_job(person="x:a"), b"one", b"two", b"three")
    [_, two, _] = (await storage.jobs.get(job)).pictures
    way.fault = lambda method, path: CUT if method == "DELETE" and two.sha256 in path else None
    with pytest.raises(PicturesFault):
        await storage.privacy.forget("x:a")
    assert b"two" in kept(storage)
    assert len(await storage.history.page(person="x:a")) == 0
    way.fault = lambda method, path: None
    assert (await storage.privacy.forget("x:a")).files == 0
    way.ahead = timedelta(hours=2)
    await storage.care.sweep()
    assert kept(storage) == set()


async def test_many_are_removed_and_only_old_ones(there: Home, way: Way) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with there.open(now=lambda: now) as storage:
        await delivered(storage, a_job(), *(b"%d" % number for number in range(30)))
        now += timedelta(days=9)
        await delivered(storage, a_job(), b"new")
        pruned = await storage.care.prune(timedelta(days=5))
        assert (pruned.jobs, pruned.files) == (1, 0)  # their files were written just now
        way.ahead = timedelta(hours=2)
        assert await storage.care.sweep() == 30
        assert kept(storage) == {b"new"}


async def test_two_processes_see_the_same_pictures(there: Home, tmp_path: Path) -> None:
    async with there.open() as one, there.open() as two:
        job = await delivered(one, a_job(), b"png")
        [picture] = (await two.jobs.get(job)).pictures
        assert two.pictures.read(picture) == b"png"
        await delivered(two, from_image(picture.sha256), b"next")
        assert kept(one) == {b"png", b"next"}


async def test_no_sweep_touches_what_belongs_to_another_database(
    storage: Storage, bucket_url: str, tmp_path: Path
) -> None:
    await storage.care.sweep()
    await delivered(storage, a_job(), b"png")
    async with Storage.open(tmp_path / "other", None, bucket_url) as other:
        with pytest.raises(OthersPictures, match="are another database's: give each Marble"):
            await other.care.sweep(0)
    assert kept(storage) == {b"png"}


async def test_a_move_is_resumed_while_jobs_are_drawn(
    home: Home, there: Home, way: Way, bucket_url: str
) -> None:
    async with home.open() as storage:
        before = await delivered(storage, a_job(), *(b"%d" % number for number in range(9)))
    folder = Pictures(home.folder / "pictures")
    damaged = folder.add(b"damaged")
    folder._path(damaged).write_bytes(b"damages")
    async with there.open() as storage:
        [first, *_] = (await storage.jobs.get(before)).pictures
        target = open_alone(home.folder, bucket_url)
        left = [None, None, None, CUT, CUT, CUT]  # killed after three or so
        way.fault = lambda method, path: left.pop(0) if left and method == "PUT" else None
        with pytest.raises(PicturesFault):
            await move(folder, target, remove=True, report=lambda moved: None)
        assert storage.pictures.read(first) == b"0"
        way.fault = lambda method, path: None

        drawing = asyncio.create_task(delivered(storage, from_image(first.sha256), b"new"))
        told: list[int] = []
        moved = await move(
            folder, target, remove=True, report=lambda moved: told.append(moved.removed)
        )
        assert (moved.copied + moved.there, moved.removed, told) == (9, 9, [9])
        assert moved.there >= 1
        assert moved.damaged == [damaged]
        assert list(folder.all()) == [damaged]
        await drawing
        report = await storage.care.check(deep=True)
        assert (report.problems, report.files) == ((), 10)
        again = await move(folder, target, remove=True, report=lambda moved: None)
        assert again == Moved(damaged=[damaged])
        target.close()


async def test_pictures_can_come_back_to_the_folder(there: Home, bucket_url: str) -> None:
    async with there.open() as storage:
        job = await delivered(storage, a_job(), b"png")
    source = open_alone(there.folder / "pictures", bucket_url)
    target = open_alone(there.folder / "pictures", FOLDER)
    for copied in (1, 0):
        moved = await move(source, target, remove=False, report=lambda moved: None)
        assert (moved.copied, moved.there, moved.removed) == (copied, 1 - copied, 0)
    source.close()
    async with replace(there, pictures_url=None).open() as storage:
        [picture] = (await storage.jobs.get(job)).pictures
        assert storage.pictures.read(picture) == b"png"
