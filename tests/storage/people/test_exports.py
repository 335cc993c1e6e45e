"""Exports: summed up first, shared among parts, one at a time a person, and gone afterwards."""

import asyncio
import json
import os
import shutil
import time
import zipfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from engine.files.private import MIN_FREE
from engine.recipe.recipe import Recipe
from storage import Storage
from storage.errors import DiskFull, ExportUnderWay, NoRoom, TooLargeExport
from storage.jobs.picture_files import Pictures
from storage.liveness.locks import FileLock
from storage.people import exports
from storage.records import Exported
from tests.storage.care.test_care import delivered, from_image
from tests.storage.conftest import Home, a_job, a_recipe

Disk = namedtuple("Disk", "total used free")
MOST = 20_000


async def collect(storage: Storage, person: str, **options: Any) -> list[dict[str, bytes]]:
    """Return what each part holds; every one is looked at as it lies there alone."""
    found = []
    bounds = {"most": MOST, "parts": 50, **options}
    async with storage.exports.begin(person, **bounds) as export:
        for number in range(1, len(export.plan.parts) + 1):
            async with export.part(number) as file:
                assert list(file.parent.iterdir()) == [file]
                assert file.stat().st_size <= bounds["most"]
                assert file.stat().st_size <= export.plan.sizes[number - 1]
                assert file.stat().st_mode & 0o077 == 0
                with zipfile.ZipFile(file) as archive:
                    assert archive.testzip() is None
                    found.append({name: archive.read(name) for name in archive.namelist()})
    return found


def left_behind(storage: Storage) -> list[Path]:
    return named(storage.exports.folder, "*")


def named(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


async def test_what_is_more_than_a_message_takes_comes_in_parts(storage: Storage) -> None:
    contents = [bytes([number]) * 7_000 for number in range(5)]
    await delivered(storage, a_job(person="x:a", reply={"token": "secret", "to": 3}), *contents)
    image = storage.pictures.add(b"photo" * 1_000)
    await delivered(storage, from_image(image, person="x:a"), b"small")
    parts = await collect(storage, "x:a")
    assert len(parts) == 3
    whole = {name: data for part in parts for name, data in part.items()}
    assert sum(map(len, parts)) == len(whole)
    assert [whole[f"pictures/1.{number}.png"] for number in range(1, 6)] == contents
    assert whole[f"given/{image}.png"] == b"photo" * 1_000
    assert [job["id"] for job in json.loads(parts[0]["person.json"])["jobs"]] == [2, 1]
    assert json.loads(parts[0]["person.json"])["jobs"][1]["reply"] == {"to": 3}
    assert left_behind(storage) == []


async def test_a_long_history_is_many_files_with_the_messages_of_each(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 2)
    jobs = [await delivered(storage, a_job(person="x:a"), b"%d" % n) for n in range(5)]
    [part] = await collect(storage, "x:a")
    names = ["person.json", "person-2.json", "person-3.json"]
    pages = [json.loads(part[name]) for name in names]
    assert [[job["id"] for job in page["jobs"]] for page in pages] == [
        [jobs[4], jobs[3]],
        [jobs[2], jobs[1]],
        [jobs[0]],
    ]
    for page in pages:
        assert [m["job"] for m in page["messages"]] == sorted(job["id"] for job in page["jobs"])
    assert "known" in pages[0]
    assert "known" not in pages[1]


async def test_a_file_that_no_part_takes_is_named(storage: Storage) -> None:
    await delivered(storage, a_job(person="x:a"), b"large" * MOST, b"small")
    async with storage.exports.begin("x:a", most=MOST, parts=1) as export:
        assert (export.plan.exported.pictures, export.plan.exported.too_large) == (1, 1)
    [part] = await collect(storage, "x:a")
    assert json.loads(part["person.json"])["too_large"] == ["1.1"]
    assert set(part) == {"person.json", "pictures/1.2.png"}


async def test_too_many_parts_are_refused_before_anything_is_written(storage: Storage) -> None:
    await delivered(storage, a_job(person="x:a"), *(bytes([n]) * 15_000 for n in range(3)))
    with pytest.raises(TooLargeExport, match="ask Marble's owner"):
        await collect(storage, "x:a", parts=2)
    assert left_behind(storage) == []


async def test_without_room_nothing_is_written(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await delivered(storage, a_job(person="x:a"), b"drawn" * 400_000)
    free = MIN_FREE + 2**20
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(0, 0, free))
    with pytest.raises(NoRoom, match="needs 2 MB of disk space, and 1 MB are free"):
        await collect(storage, "x:a", most=2**30)
    assert left_behind(storage) == []
    await storage.jobs.add(a_job())  # there is room for that
    free = 2**20
    with pytest.raises(NoRoom):
        await storage.exports.to_file("x:a", tmp_path / "ada.zip")
    assert named(tmp_path, "ada.zip*") == []


async def test_nobody_has_two_exports_at_once_and_others_need_not_wait(storage: Storage) -> None:
    for person in ("x:a", "x:b"):
        await delivered(storage, a_job(person=person), person.encode())
    async with storage.exports.begin("x:a", most=MOST, parts=1):
        with pytest.raises(ExportUnderWay, match="already"):
            await collect(storage, "x:a")
        assert len(await collect(storage, "x:b")) == 1
    assert len(await collect(storage, "x:a")) == 1


async def test_a_part_that_could_not_be_sent_goes_and_holds_up_nobody(storage: Storage) -> None:
    await delivered(storage, a_job(person="x:a"), b"drawn")

    async def fail() -> None:
        async with (
            storage.exports.begin("x:a", most=MOST, parts=1) as export,
            export.part(1) as part,
        ):
            assert part.exists()
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await fail()
    assert left_behind(storage) == []
    assert len(await collect(storage, "x:a")) == 1


async def test_whoever_stops_waiting_leaves_nothing(storage: Storage) -> None:
    await delivered(storage, a_job(person="x:a"), b"drawn")
    written = asyncio.Event()

    async def send() -> None:
        async with (
            storage.exports.begin("x:a", most=MOST, parts=1) as export,
            export.part(1),
        ):
            written.set()
            await asyncio.Event().wait()

    sending = asyncio.create_task(send())
    await written.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert left_behind(storage) == []


async def test_a_disk_that_fills_up_meanwhile_leaves_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await delivered(storage, a_job(person="x:a"), b"drawn")

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(DiskFull):
        await collect(storage, "x:a")
    assert left_behind(storage) == []


async def test_what_a_process_left_that_died_is_swept_and_what_one_writes_is_not(
    home: Home,
) -> None:
    async with home.open() as storage:
        await delivered(storage, a_job(person="x:a"), b"drawn")
        folder = storage.exports.folder
        for name in ("dead", "locked"):
            (folder / name).mkdir(parents=True)
            (folder / name / "marble.zip").write_bytes(b"private")
            (folder / f"{name}.lock").touch()
        held = FileLock(folder / "locked.lock")
        assert held.take()
        async with (
            storage.exports.begin("x:a", most=MOST, parts=1) as export,
            export.part(1) as part,
        ):
            storage.exports.sweep()
            assert part.exists()
        assert {path.name for path in left_behind(storage)} == {"locked", "locked.lock"}
        held.release()
        storage.exports.sweep()
        assert left_behind(storage) == []


async def test_what_an_earlier_version_left_that_died_is_swept(storage: Storage) -> None:
    """It wrote each export to a folder of its own, beside the database."""
    data, hours_ago = storage.exports.folder.parent, time.time() - 30 * 3600
    for name, age in (("tmpold1", hours_ago), ("tmpnew1", time.time())):
        (data / name).mkdir()
        (data / name / "marble.zip.part").write_bytes(b"private")
        os.utime(data / name / "marble.zip.part", (age, age))
    storage.exports.sweep()
    assert [path.parent.name for path in named(data, "tmp*/*")] == ["tmpnew1"]


async def test_a_picture_that_is_removed_meanwhile_is_left_out(storage: Storage) -> None:
    job = await delivered(storage, a_job(person="x:a"), b"one", b"two")
    async with storage.exports.begin("x:a", most=MOST, parts=1) as export:
        [picture, _] = (await storage.jobs.get(job)).pictures
        storage.pictures.remove(picture.sha256)
        async with export.part(1) as part:
            assert zipfile.ZipFile(part).namelist() == ["person.json", "pictures/1.2.png"]


def test_the_sum_is_never_less_than_the_zip(tmp_path: Path) -> None:
    recipe = a_recipe(prompt="学" * 500)
    assert isinstance(recipe, Recipe)
    text = exports._text(2, {"jobs": [recipe.to_dict()] * 50})
    store = Pictures(tmp_path / "pictures")
    kept = store.add(b"png" * 1_000)
    pictures = [
        exports.ExportFile(name=f"pictures/{number}.1.png", size=3_000, picture=kept)
        for number in range(200)
    ]
    plan = exports.Plan(
        parts=((text, *pictures),), exported=Exported(pictures=0, left_out=0, too_large=0)
    )
    exports._write(tmp_path / "a.zip", plan.parts[0], store)
    assert (tmp_path / "a.zip").stat().st_size <= plan.sizes[0]
