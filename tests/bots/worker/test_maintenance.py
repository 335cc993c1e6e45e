import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bots.operations.settings import load_settings
from bots.worker.maintenance import FULL, Maintenance
from engine.files.private import MIN_FREE
from engine.queue.queue import Queue
from storage import NewJob, Storage, UnknownJob
from storage.care import backups
from storage.care.care import Care
from storage.errors import NoProgram, PicturesFault, Unreachable
from storage.people.people import People
from tests.factories import make_recipe

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
async def maintenance(tmp_path: Path) -> AsyncIterator[Maintenance]:
    settings = replace(load_settings({}, env_file=""), data_dir=tmp_path, backups=2)
    async with Storage.open(tmp_path, now=lambda: NOON) as storage:
        yield Maintenance(storage, Queue(lambda: 1), settings, now=lambda: NOON)


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    usage = type(shutil.disk_usage("."))(2**40, 2**40 - size, size)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


async def ended(maintenance: Maintenance, place: str, age: timedelta) -> int:
    """Add a job of that age whose story is over; return its number."""
    storage = maintenance.storage
    async with Storage.open(maintenance.settings.data_dir, now=lambda: NOON - age) as then:
        job = await then.jobs.add(NewJob(recipe=make_recipe(), person="x:a", place=place))
    await storage.jobs.cancel(job.id)
    await storage.jobs.delivered(job.id)
    return job.id


def test_a_full_disk_pauses_until_there_is_room_again(
    maintenance: Maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = maintenance.queue
    for size, reason in (
        (MIN_FREE + 1, None),
        (MIN_FREE - 1, FULL),
        (MIN_FREE + 1, FULL),  # not to and fro at the brink
        (2 * MIN_FREE, None),
    ):
        free(monkeypatch, size)
        maintenance.watch_disk()
        assert queue.order.reason == reason


async def test_backups_are_made_once_a_day_can_be_opened_and_are_not_hoarded(
    maintenance: Maintenance, tmp_path: Path
) -> None:
    job = await ended(maintenance, "x:1", timedelta())
    other = tmp_path / "backups" / "mine.backup"
    for day in range(3):
        maintenance.now = lambda day=day: NOON + timedelta(days=day)  # type: ignore[misc]
        await maintenance.back_up()
        again = await maintenance.back_up()
        other.touch()
    names = sorted(file.name for file in (tmp_path / "backups").iterdir())
    assert names == ["marble-2026-06-02.backup", "marble-2026-06-03.backup", "mine.backup"]
    assert again.stat().st_mode & 0o077 == 0
    # Who is forgotten is told where they still stand.
    assert again in backups.beside(maintenance.storage.database.url, tmp_path)
    shutil.copy(again, tmp_path / "copy.db")
    async with Storage.open(tmp_path / "x", f"sqlite:///{tmp_path}/copy.db") as copy:
        assert (await copy.jobs.get(job)).id == job


async def test_what_backups_left_that_died_is_told_and_then_removed(
    maintenance: Maintenance, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    names = ("marble.db.before-upgrade-20260601-120000.7.part", "marble.db.part")
    dead = [folder / "marble-2026-06-01.backup.7.part", *(tmp_path / name for name in names)]
    living = folder / "marble-2026-06-02.backup.8.part"
    mine = tmp_path / "mine.part"
    for path in (*dead, living, mine):
        path.touch()
    for path in (*dead, mine):
        os.utime(path, (0, 0))
    # They hold people's rows.
    assert {*dead, living} <= set(backups.beside(maintenance.storage.database.url, tmp_path))
    await maintenance.back_up()
    assert [path.exists() for path in (*dead, living, mine)] == [False] * 3 + [True] * 2


async def test_a_database_in_which_nobody_asked_yet_is_not_backed_up(
    maintenance: Maintenance, tmp_path: Path
) -> None:
    await maintenance.night()
    assert [file.name for file in (tmp_path / "backups").iterdir()] == [".done"]
    await ended(maintenance, "x:1", timedelta())
    await maintenance.night()
    assert (tmp_path / "backups" / "marble-2026-06-01.backup").exists()


async def test_each_place_keeps_its_jobs_as_long_as_it_says(maintenance: Maintenance) -> None:
    change = maintenance.storage.people.change_place_settings
    await change("x:short", {"rules.keep_days": 10})
    await change("x:ever", {"rules.keep_days": 0})
    maintenance.settings = replace(maintenance.settings, keep_days=100)
    jobs = {
        (place, days): await ended(maintenance, place, timedelta(days=days))
        for place in ("x:short", "x:ever", "x:other")
        for days in (9, 11, 101)
    }
    assert await maintenance.prune() == 3
    left = {job.id for job in await maintenance.storage.history.page()}
    gone = {key for key, job in jobs.items() if job not in left}
    assert gone == {("x:short", 11), ("x:short", 101), ("x:other", 101)}
    await change("*", {"rules.keep_days": 5})
    assert await maintenance.prune() == 2


@pytest.mark.parametrize(
    ("default", "rules", "place", "goes"),
    [
        (30, {"x:1": 3650}, "x:1/2", False),
        (30, {"x:1": 3650}, "x:1/3", False),  # a thread of x:1/2
        (0, {"x:1": 30}, "x:1/3", True),
        (0, {"x:1": 3650, "x:1/2": 30}, "x:1/3", True),
        (30, {"x:1": 30, "x:1/2": 0}, "x:1/3", False),
        (30, {"*": 0, "x:1/2": 30}, "x:1/3", True),
        (30, {"*": 0, "x:1/3": 30}, "x:1/2", False),
    ],
)
async def test_what_a_place_keeps_holds_in_all_that_lies_in_it(
    maintenance: Maintenance, default: int, rules: dict[str, int], place: str, goes: bool
) -> None:
    people = maintenance.storage.people
    await people.add_place("x:1/3", "x:1/2")
    for where, days in rules.items():
        await people.change_place_settings(where, {"rules.keep_days": days})
    maintenance.settings = replace(maintenance.settings, keep_days=default)
    await ended(maintenance, place, timedelta(days=100))
    assert await maintenance.prune() == goes


async def test_without_a_setting_nothing_is_removed(maintenance: Maintenance) -> None:
    await ended(maintenance, "x:1", timedelta(days=5000))
    assert await maintenance.prune() == 0


async def test_a_stop_in_the_night_ends_it_while_the_pictures_are_away(
    maintenance: Maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def back_up(self: Maintenance) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def sweep(self: Care) -> int:
        raise PicturesFault("s3://pictures", "cannot be reached")

    monkeypatch.setattr(Maintenance, "back_up", back_up)
    monkeypatch.setattr(Care, "sweep", sweep)
    task = asyncio.create_task(maintenance.run())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()


async def test_a_file_of_vectors_that_cannot_be_changed_keeps_no_export_for_longer(
    maintenance: Maintenance,
) -> None:
    storage = maintenance.storage
    left = storage.exports.folder / "1"
    left.mkdir(parents=True)
    (storage.vectors.folder / "some.rows").mkdir(parents=True)
    with pytest.raises(Unreachable, match=r"some\.rows"):
        await maintenance.night()
    assert not left.exists()


async def test_a_night_is_done_once(maintenance: Maintenance) -> None:
    assert maintenance._is_due()
    await maintenance.night()
    for moment, due in (
        (timedelta(), False),
        (timedelta(hours=14, minutes=59), False),  # 02:59 of the next day
        (timedelta(hours=15), True),
        (timedelta(hours=-1), False),  # a clock that was set back
    ):
        os.utime(maintenance._mark, (NOON.timestamp(), NOON.timestamp()))
        maintenance.now = lambda moment=moment: NOON + moment  # type: ignore[misc]
        assert maintenance._is_due() is due


async def test_a_backup_that_fails_ends_nothing(
    maintenance: Maintenance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(url: object, target: Path) -> int:
        raise NoProgram("pg_dump")

    async def stop(seconds: float) -> None:
        raise InterruptedError

    old = await ended(maintenance, "x:1", timedelta(days=40))
    maintenance.settings = replace(maintenance.settings, keep_days=30)
    monkeypatch.setattr(backups, "backup", fail)
    monkeypatch.setattr("bots.worker.maintenance.asyncio.sleep", stop)
    with pytest.raises(InterruptedError):
        await maintenance.run()
    assert "pg_dump" in caplog.text
    with pytest.raises(UnknownJob):  # what is to be removed does not wait for backups
        await maintenance.storage.jobs.get(old)


@pytest.mark.parametrize("place", ["x:1", "*"])
async def test_whoever_lets_jobs_be_kept_longer_as_the_night_begins_loses_none(
    maintenance: Maintenance, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    people, job = maintenance.storage.people, await ended(maintenance, "x:1", timedelta(days=40))
    read, rule = type(people).places_with, "rules.keep_days"
    await people.change_place_settings(place, {rule: 30})

    async def change_then_go_on(self: People, name: str) -> dict[str, Any]:
        found = await read(self, name)
        await people.change_place_settings(place, {rule: 3650})
        return found

    monkeypatch.setattr(type(people), "places_with", change_then_go_on)
    assert await maintenance.prune() == 0
    assert await maintenance.storage.jobs.get(job)
    monkeypatch.undo()
    await people.change_place_settings(place, {rule: 30})
    assert await maintenance.prune() == 1


async def test_a_default_that_somebody_overrides_as_the_night_begins_removes_nothing(
    maintenance: Maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, job = maintenance.storage.people, await ended(maintenance, "x:1", timedelta(days=40))
    maintenance.settings = replace(maintenance.settings, keep_days=30)

    async def change_then_go_on(self: People, name: str) -> dict[str, Any]:
        await people.change_place_settings("*", {name: 3650})
        return {}

    monkeypatch.setattr(type(people), "places_with", change_then_go_on)
    assert await maintenance.prune() == 0
    assert await maintenance.storage.jobs.get(job)
