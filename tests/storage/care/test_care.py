"""Care: checked, backed up, restored, pruned, exported and forgotten."""

import asyncio
import hashlib
import json
import os
import sqlite3
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from engine.errors import MissingPicture
from storage import NewJob, StaleEpoch, Status, Storage
from storage.care import backups, server_files
from storage.database import schema, urls
from storage.errors import Corrupt, DatabaseBusy, FileThere, NewerSchema, NoBackup, NoSuchFile
from storage.jobs.picture_files import Pictures
from tests.factories import add_claimed, make_recipe
from tests.storage.conftest import Home, a_job, ban_of, drawn


async def delivered(storage: Storage, new: NewJob, *contents: bytes) -> int:
    job = await add_claimed(storage, new)
    await storage.jobs.rendered(job.id, job.epoch, drawn(*contents))
    await storage.jobs.delivered(job.id, {f"x:{job.id}": None})
    return job.id


def files(storage: Storage) -> set[bytes]:
    return {path.read_bytes() for path in storage.pictures.folder.rglob("*.png")}


async def test_a_sound_storage_has_no_problems(storage: Storage) -> None:
    await delivered(storage, a_job(), b"one", b"two")
    report = await storage.care.check(deep=True)
    assert (report.problems, report.files, report.orphans) == ((), 2, 0)


async def test_a_check_tells_of_missing_changed_and_needless_files(storage: Storage) -> None:
    await delivered(storage, a_job(), b"gone", b"short", b"flip", b"kept")
    one, two, three, _ = (await storage.jobs.get(1)).pictures
    storage.pictures.path(one).unlink()
    storage.pictures.path(two).write_bytes(b"s")
    storage.pictures.path(three).write_bytes(b"flap")
    storage.pictures.add(b"needless")
    report = await storage.care.check()
    assert {problem.split(":")[0] for problem in report.problems} == {"picture 1.1", "picture 1.2"}
    assert (report.files, report.orphans) == (4, 1)
    deep = await storage.care.check(deep=True)
    assert any(line.startswith("picture 1.3") and "changed" in line for line in deep.problems)


async def test_a_check_tells_of_jobs_that_no_step_leads_to(storage: Storage) -> None:
    from storage.database.tables import jobs, outbox  # the test breaks what the API keeps whole

    await delivered(storage, a_job())
    await storage.jobs.add(a_job())

    def damage(connection: object) -> None:
        connection.execute(outbox.delete())  # type: ignore[attr-defined]
        connection.execute(jobs.update().values(status="rendered"))  # type: ignore[attr-defined]

    await storage.database.write(damage)
    problems = (await storage.care.check()).problems
    assert "job 1 has ended without a reply in the outbox" in problems
    assert "job 2 is rendered without a picture" in problems


async def test_a_sweep_removes_what_no_row_names(storage: Storage) -> None:
    await delivered(storage, a_job(), b"kept")
    storage.pictures.add(b"orphan")
    assert await storage.care.sweep(unused_for=0) == 1
    assert files(storage) == {b"kept"}


async def test_small_copies_go_with_their_pictures_however_these_are_removed(
    home: Home,
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: now) as storage:
        small = storage.pictures.thumbnails
        for content in (b"kept", b"old", b"given back", b"forgotten"):
            whose = "terminal:eve" if content == b"forgotten" else "terminal:ada"
            await delivered(storage, a_job(person=whose), content)
            small.add(hashlib.sha256(content).hexdigest(), b"webp of " + content)
        elsewhere = hashlib.sha256(b"removed by another machine").hexdigest()
        small.add(elsewhere, b"webp")
        small.add(storage.pictures.add(b"orphan"), b"webp")
        assert await storage.care.sweep(unused_for=0) == 1
        assert small.get(elsewhere) is None
        await storage.privacy.forget("terminal:eve")
        assert await storage.privacy.forget_job(3)
        assert not await storage.privacy.forget_job(3)
        await storage.favourites.add("x:a", 1, 0)
        now += timedelta(days=2)
        await storage.care.prune(timedelta(days=1), unused_for=0)
        assert [*small.all()] == [hashlib.sha256(b"kept").hexdigest()]
        assert small.get(hashlib.sha256(b"kept").hexdigest()) == b"webp of kept"
        assert files(storage) == {b"kept"}


async def test_a_job_is_not_forgotten_before_it_has_ended(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    assert not await storage.privacy.forget_job(job.id)
    await storage.jobs.rendered(job.id, job.epoch, drawn(b"one"))
    assert not await storage.privacy.forget_job(job.id)  # its reply is on its way
    await storage.jobs.delivered(job.id, {})
    await storage.favourites.add("x:eve", job.id, 0)
    child = await storage.jobs.add(a_job(parent=job.id))
    assert await storage.privacy.forget_job(job.id)
    assert files(storage) == set()
    assert await storage.favourites.page("x:eve") == ()
    assert (await storage.jobs.get(child.id)).parent is None


async def test_a_file_swept_before_its_row_is_written_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await add_claimed(storage, a_job())
    keep = type(storage.jobs)._keep
    swept: list[int] = []

    async def keep_and_sweep(*arguments: object) -> object:
        kept = await keep(*arguments)  # type: ignore[arg-type]
        if not swept:
            swept.append(await storage.care.sweep(unused_for=0))
        return kept

    monkeypatch.setattr(type(storage.jobs), "_keep", keep_and_sweep)
    await storage.jobs.rendered(job.id, job.epoch, drawn(b"late"))
    assert swept == [1]
    assert files(storage) == {b"late"}


async def test_pruning_keeps_what_is_young_kept_or_undelivered(home: Home) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: now) as storage:
        old = await delivered(storage, a_job(), b"old", b"shared")
        kept = await delivered(storage, a_job(), b"kept")
        await storage.favourites.add("x:a", kept, 0)
        undelivered = await add_claimed(storage, a_job())
        await storage.jobs.rendered(undelivered.id, undelivered.epoch, drawn(b"waiting"))
        waiting = await storage.jobs.add(a_job())
        child = await storage.jobs.add(a_job(parent=old))
        await storage.moderation.first_sight("x:1", "x:a")
        now += timedelta(days=40)
        young = await delivered(storage, a_job(), b"shared")
        pruned = await storage.care.prune(timedelta(days=30), unused_for=0)
        assert (pruned.jobs, pruned.files) == (1, 1)
        assert files(storage) == {b"shared", b"kept", b"waiting"}
        left = {job.id for job in await storage.history.page()}
        assert left == {kept, undelivered.id, waiting.id, child.id, young}
        assert (await storage.jobs.get(child.id)).parent is None
        assert await storage.jobs.by_message(f"x:{old}") is None
        assert await storage.moderation.first_sight("x:1", "x:a")
        assert (await storage.care.check(deep=True)).problems == ()


async def test_numbers_of_removed_jobs_are_not_used_again(home: Home) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: now) as storage:
        last = await delivered(storage, a_job())
        now += timedelta(days=2)
        await storage.care.prune(timedelta(days=1))
        assert (await storage.jobs.add(a_job())).id == last + 1


async def test_pruning_many_jobs(home: Home) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: now) as storage:
        for _ in range(5):  # no more at once than a slow machine takes in time
            added = await asyncio.gather(*(storage.jobs.add(a_job()) for _ in range(50)))
            await asyncio.gather(*(storage.jobs.cancel(job.id) for job in added))
            await asyncio.gather(*(storage.jobs.delivered(job.id) for job in added))
        now += timedelta(days=2)
        assert (await storage.care.prune(timedelta(days=1))).jobs == 250
        assert await storage.history.page() == ()


async def test_an_export_holds_everything_of_one_person(storage: Storage, tmp_path: Path) -> None:
    mine = await delivered(storage, a_job("大理石", person="x:a"), b"one", b"two")
    await delivered(storage, a_job("secret", person="x:b"), b"three")
    await storage.people.change_settings("x:a", {"steps": 9})
    await storage.moderation.ban("x:a", by="x:mod", reason="spam")
    await storage.favourites.add("x:a", mine, 1)
    target = tmp_path / "ada.zip"
    assert (await storage.exports.to_file("x:a", target)).pictures == 2
    with zipfile.ZipFile(target) as archive:
        assert archive.read("pictures/1.2.png") == b"two"
        assert len(archive.namelist()) == 3
        text = archive.read("person.json").decode()
    about = json.loads(text)
    assert about["jobs"][0]["recipe"]["prompt"] == "大理石"
    assert about["settings"][0]["values"] == {"steps": 9}
    assert [len(about[name]) for name in ("favourites", "bans", "acts", "messages")] == [1] * 4
    assert "secret" not in text
    with pytest.raises(FileThere, match=r"ada\.zip exists already"):
        await storage.exports.to_file("x:a", target)


async def test_whoever_asks_is_forgotten_in_every_status(home: Home) -> None:
    secret = "verysecretprompt"
    async with home.open() as storage:
        mine = await delivered(storage, a_job(secret, person="x:a"), b"mine", b"shared")
        theirs = await delivered(storage, a_job(person="x:b", parent=mine), b"shared")
        await storage.jobs.add(a_job(secret, person="x:a"))
        running = await add_claimed(storage, a_job(secret, person="x:a"))
        done = await add_claimed(storage, a_job(secret, person="x:a"))
        await storage.jobs.rendered(done.id, done.epoch, drawn(b"undelivered"))
        await storage.people.change_settings("x:a", {"note": secret})
        await storage.favourites.add("x:a", theirs, 0)
        await storage.favourites.add("x:b", mine, 0)
        ban = await storage.moderation.ban("x:a", by="x:mod", reason="spam")
        forgotten = await storage.privacy.forget("x:a")
        assert (forgotten.jobs, forgotten.files) == (4, 2)
        assert files(storage) == {b"shared"}
        assert [job.id for job in await storage.history.page()] == [theirs]
        assert await storage.outbox.list_due(["terminal"]) == ()
        assert await storage.history.search(secret) == ()
        assert await storage.people.settings("x:a") == {}
        assert await storage.favourites.page("x:b") == ()
        assert await ban_of(storage, "x:a", "x:1") == ban
        assert [act.target for act in await storage.moderation.acts()] == ["forgotten"]
        with pytest.raises(StaleEpoch, match="was removed while it ran"):
            await storage.jobs.rendered(running.id, running.epoch, drawn())
        again = await storage.jobs.add(a_job(person="x:a"))  # a new acquaintance
        assert again.status is Status.QUEUED
        assert (await storage.care.check(deep=True)).problems == ()
    if home.url is None:
        traces = [path for path in home.folder.rglob("*") if path.is_file()]
        assert not [path for path in traces if secret.encode() in path.read_bytes()]


async def test_a_backup_taken_under_load_restores_and_checks_clean(
    home: Home, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    async with home.open() as storage:
        for number in range(20):
            await delivered(storage, a_job(f"marble {number}"), b"%d" % number)
        stop = asyncio.Event()

        async def load() -> int:
            count = 0
            while not stop.is_set():
                await storage.jobs.add(a_job())
                count += 1
            return count

        tasks = [asyncio.create_task(load()) for _ in range(4)]
        assert await backups.backup(storage.database.url, file) > 0
        stop.set()
        assert sum(await asyncio.gather(*tasks)) > 0
        count = sum((await storage.history.stats()).jobs.values())
    before = await backups.restore(urls.resolve(home.folder, home.url), file, home.folder)
    assert before
    assert before.parent == home.folder
    async with home.open() as storage:
        assert (await storage.care.check(deep=True)).problems == ()
        assert 20 <= sum((await storage.history.stats()).jobs.values()) <= count
        assert [job.id for job in await storage.history.search('"marble 7"')] == [8]
        [newest] = await storage.history.page(limit=1)
        assert (await storage.jobs.add(a_job())).id > newest.id


async def test_a_backup_overwrites_nothing(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    file.write_bytes(b"precious")
    with pytest.raises(FileThere):
        await backups.backup(storage.database.url, file)
    assert file.read_bytes() == b"precious"


async def test_orphans_stay_while_a_replaced_database_is_kept(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    async with home.open() as storage:
        await backups.backup(storage.database.url, file)
        await delivered(storage, a_job(), b"newer than the backup")
    before = await backups.restore(urls.resolve(home.folder, home.url), file, home.folder)
    assert before
    async with home.open() as storage:
        assert await storage.history.page() == ()
        assert await storage.care.sweep(unused_for=0) == 0
        before.unlink()
        assert await storage.care.sweep(unused_for=0) == 1


async def test_what_was_there_before_a_restore_can_be_restored(home: Home, tmp_path: Path) -> None:
    file, url = tmp_path / "backup", urls.resolve(home.folder, home.url)
    async with home.open() as storage:
        await backups.backup(storage.database.url, file)
        job = await storage.jobs.add(a_job("newer than the backup"))
    kept = await backups.restore(url, file, home.folder)
    assert kept
    again = await backups.restore(url, kept, home.folder)
    assert again != kept
    async with home.open() as storage:
        assert await storage.history.page() == (job,)
        assert [each.id for each in await storage.history.search("newer")] == [job.id]


async def test_nothing_is_restored_over_a_database_in_use(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    async with home.open() as storage:
        await backups.backup(storage.database.url, file)
        job = await storage.jobs.add(a_job())
        with pytest.raises(DatabaseBusy, match="locked by another program"):
            await backups.restore(storage.database.url, file, home.folder)
        assert await storage.jobs.get(job.id) == job
        assert await storage.jobs.add(a_job())
    assert backups.beside(urls.resolve(home.folder, home.url), home.folder) == []


async def test_tables_of_a_newer_version_do_not_outlive_a_restore(
    home: Home, tmp_path: Path
) -> None:
    """As where an upgrade is taken back, whose tables point at those that it found."""
    file = tmp_path / "backup"
    async with home.open() as storage:
        await backups.backup(storage.database.url, file)
        newer = text("CREATE TABLE newer (job INTEGER REFERENCES jobs (id))")
        await storage.database.write(lambda c: c.execute(newer))
    await backups.restore(urls.resolve(home.folder, home.url), file, home.folder)
    async with home.open() as storage:
        names = await storage.database.read(lambda c: inspect(c).get_table_names())
        assert "newer" not in names
        assert "jobs" in names


async def test_only_a_whole_backup_of_this_version_is_restored_to_a_server(
    server_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, url = tmp_path / "backup", urls.resolve(server_home.folder, server_home.url)

    async def restore() -> None:
        await backups.restore(url, file, server_home.folder)

    with pytest.raises(NoSuchFile, match="There is no file"):
        await restore()
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(NoBackup, match=r"backup is damaged or no backup of .* db backup FILE`"):
        await restore()
    file.unlink()
    await asyncio.to_thread(server_files.dump, url, file)
    with pytest.raises(NoBackup, match="no tables of Marble's"):
        await restore()
    file.unlink()
    async with server_home.open() as storage:
        job = await storage.jobs.add(a_job())
        await backups.backup(storage.database.url, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NoBackup, match="damaged"):
        await restore()
    file.write_bytes(whole)
    with monkeypatch.context() as older:
        older.setattr(schema, "known", lambda: frozenset({"0001"}))
        with pytest.raises(NewerSchema, match="newer Marble"):
            await restore()
    async with server_home.open() as storage:
        assert await storage.jobs.get(job.id) == job
    assert not list(server_home.folder.glob("postgres*"))


async def test_backups_and_what_holds_rows_are_closed_to_others(home: Home, tmp_path: Path) -> None:
    backup, fresh = tmp_path / "new" / "backup", tmp_path / "fresh"
    url = urls.resolve(home.folder, home.url)
    usual = os.umask(0)
    try:
        async with home.open() as storage:
            await storage.jobs.add(a_job())
            await backups.backup(storage.database.url, backup)
        upgraded = await backups.before_upgrade(url, home.folder)
        before = await backups.restore(url, backup, home.folder)
        async with Storage.open(fresh) as storage:
            await storage.jobs.add(a_job())
            made = [backup, upgraded, *filter(Path.is_file, fresh.glob("marble.db*"))]
            if home.url:  # a file keeps the rights that its owner gave it
                made.append(before)
            modes = {path.name: path.stat().st_mode & 0o077 for path in made if path}
        folders = [path.stat().st_mode & 0o077 for path in (backup.parent, fresh)]
    finally:
        os.umask(usual)
    assert len(modes) >= 5
    assert set(modes.values()) == {0}
    assert folders == [0, 0]


def test_backups_are_of_the_server_that_marble_works_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its address is written, and with the password where no other user sees it."""
    told = tmp_path / "told"
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$@" "$PGPASSWORD" "$PGSSLMODE" >> {told}\n')
    program.chmod(0o755)
    monkeypatch.setattr(server_files, "_find", lambda name: str(tmp_path / name))
    for number, address in enumerate(
        (
            "postgresql://ada:p%20w@host:5/marble?ssl=require",
            "postgresql://ada@/marble?host=host&port=5&password=p%20w&ssl=require",
        )
    ):
        target = tmp_path / str(number)
        server_files.dump(urls.resolve(tmp_path, address), target)
        written = told.read_text()
        told.unlink()
        options, _, rest = written.partition(" --format")
        assert options == "--host=host --port=5 --username=ada --dbname=marble"
        assert rest.endswith("p w require\n")


async def test_only_a_sound_backup_is_restored(tmp_path: Path) -> None:
    url = urls.resolve(tmp_path / "data", None)
    file = tmp_path / "backup"
    with pytest.raises(NoSuchFile, match="There is no file"):
        await backups.restore(url, file, tmp_path)
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(NoBackup, match=r"backup is damaged or no backup of .* db backup FILE`"):
        await backups.restore(url, file, tmp_path)
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(NoBackup, match="no tables of Marble's"):
        await backups.restore(url, file, tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
        connection.commit()
    with pytest.raises(NewerSchema, match="newer Marble"):
        await backups.restore(url, file, tmp_path)
    assert not (tmp_path / "data" / "marble.db").exists()


async def test_a_damaged_database_can_be_replaced(tmp_path: Path) -> None:
    folder, file = tmp_path / "data", tmp_path / "backup"
    async with Storage.open(folder) as storage:
        job = await storage.jobs.add(a_job())
        await backups.backup(storage.database.url, file)
    (folder / "marble.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(Corrupt, match="marble db restore FILE"):
        async with Storage.open(folder):
            pass
    await backups.restore(urls.resolve(folder, None), file, folder)
    async with Storage.open(folder) as storage:
        assert (await storage.jobs.get(job.id)).id == job.id


async def test_start_images_live_as_long_as_a_job_that_starts_from_them(home: Home) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: now) as storage:
        image = storage.pictures.add(b"start")
        job = await delivered(storage, from_image(image), b"drawn")
        assert await storage.care.sweep(unused_for=0) == 0
        assert (await storage.care.check(deep=True)).problems == ()
        now += timedelta(days=2)
        pruned = await storage.care.prune(timedelta(days=1), unused_for=0)
        assert (job, pruned.jobs, pruned.files) == (1, 1, 2)
        assert files(storage) == set()


async def test_a_missing_start_image_is_found(storage: Storage) -> None:
    image = storage.pictures.add(b"start")
    await storage.jobs.add(from_image(image))
    storage.pictures.remove(image)
    assert f"start image {image} is missing" in (await storage.care.check()).problems


async def test_a_job_whose_start_image_is_not_there_is_refused(storage: Storage) -> None:
    with pytest.raises(MissingPicture, match="give its file again"):
        await storage.jobs.add(from_image("0" * 64))
    assert await storage.history.page() == ()


async def test_a_file_that_was_just_written_waits_for_its_job(storage: Storage) -> None:
    storage.pictures.add(b"upload")
    assert await storage.care.sweep() == 0
    assert files(storage) == {b"upload"}


async def test_a_file_that_is_wanted_again_while_a_sweep_looks_stays(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = storage.pictures.add(b"upload")
    hours_ago = time.time() - 3 * 3600
    os.utime(storage.pictures.folder / image[:2] / f"{image}.png", (hours_ago, hours_ago))
    look = Pictures.all

    def look_then_add(self: Pictures, *, unused_for: float = 0.0) -> Iterator[str]:
        yield from look(self, unused_for=unused_for)
        self.add(b"upload")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Pictures, "all", look_then_add)
        assert await storage.care.sweep() == 0
    await storage.jobs.add(from_image(image))
    assert files(storage) == {b"upload"}


async def test_pruning_leaves_a_file_that_was_just_given_again(home: Home) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: now) as storage:
        image = storage.pictures.add(b"start")
        await delivered(storage, from_image(image), b"drawn")
        now += timedelta(days=2)
        storage.pictures.add(b"start")
        pruned = await storage.care.prune(timedelta(days=1))
        assert (pruned.jobs, b"start" in files(storage)) == (1, True)
        await storage.jobs.add(from_image(image))


def test_a_file_that_vanishes_as_it_is_added_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Pictures(tmp_path)
    name = store.add(b"start")
    touch = os.utime

    def vanish(path: Path) -> None:
        store.remove(name)
        touch(path)

    monkeypatch.setattr(os, "utime", vanish)
    store.add(b"start")
    assert store.fetch(name) == b"start"


async def test_a_start_image_is_exported_to_whoever_gave_it_alone(
    storage: Storage, tmp_path: Path
) -> None:
    image = storage.pictures.add(b"photo")
    first = await delivered(storage, from_image(image, person="x:a"), b"drawn")
    await delivered(storage, from_image(image, person="x:b", parent=first), b"again")
    given = f"given/{image}.png"
    for person, has_it in (("x:a", True), ("x:b", False)):
        target = tmp_path / f"{person[2:]}.zip"
        await storage.exports.to_file(person, target)
        with zipfile.ZipFile(target) as archive:
            assert (given in archive.namelist()) == has_it


async def test_a_start_image_is_forgotten_with_whoever_gave_it(storage: Storage) -> None:
    image = storage.pictures.add(b"photo")
    first = await delivered(storage, from_image(image, person="x:a"), b"drawn")
    rerun = await delivered(storage, from_image(image, person="x:b", parent=first), b"again")
    await storage.privacy.forget("x:b")
    assert b"photo" in files(storage)
    rerun = await delivered(storage, from_image(image, person="x:b", parent=first), b"again")
    forgotten = await storage.privacy.forget("x:a")
    assert (forgotten.jobs, forgotten.files) == (1, 2)
    assert files(storage) == {b"again"}
    assert [job.id for job in await storage.history.page()] == [rerun]
    assert (await storage.care.check(deep=True)).problems == ()
    with pytest.raises(MissingPicture, match="give its file again"):
        await storage.jobs.add(from_image(image, person="x:b", parent=rerun))


async def test_a_drawn_picture_that_somebody_starts_from_is_not_theirs_to_forget(
    storage: Storage,
) -> None:
    first = await delivered(storage, a_job(person="x:a"), b"drawn")
    [picture] = (await storage.jobs.get(first)).pictures
    await delivered(storage, from_image(picture.sha256, person="x:b", parent=first), b"variation")
    await storage.privacy.forget("x:b")
    assert files(storage) == {b"drawn"}
    assert (await storage.care.check(deep=True)).problems == ()


def from_image(sha256: str, **changes: Any) -> NewJob:
    return a_job(recipe=make_recipe(image=sha256, strength=0.5), **changes)


async def test_a_file_that_was_cut_short_is_written_again(storage: Storage) -> None:
    stored = storage.pictures.add(b"whole")
    path = storage.pictures.folder / stored[:2] / f"{stored}.png"
    path.write_bytes(b"wh")
    assert storage.pictures.add(b"whole") == stored
    assert path.read_bytes() == b"whole"
