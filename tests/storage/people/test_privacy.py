"""Privacy: whose a picture is, and that nothing of a person is left."""

import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from engine.events import Verdict
from storage import Storage
from storage.database.tables import Base
from tests.factories import add_claimed
from tests.storage.care.test_care import delivered, files, from_image
from tests.storage.conftest import Home, a_job, ban_of, drawn


async def test_a_start_image_stays_its_givers_when_their_job_is_pruned(
    home: Home, tmp_path: Path
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: now) as storage:
        image = storage.pictures.add(b"photo")
        first = await delivered(storage, from_image(image, person="x:a"), b"drawn")
        now += timedelta(days=9)
        await delivered(storage, from_image(image, person="x:b", parent=first), b"again")
        assert (await storage.care.prune(timedelta(days=5), unused_for=0)).jobs == 1
        await storage.exports.to_file("x:b", tmp_path / "b.zip")
        await storage.exports.to_file("x:a", tmp_path / "a.zip")
        given = [
            f"given/{image}.png" in zipfile.ZipFile(tmp_path / name).namelist()
            for name in ("a.zip", "b.zip")
        ]
        assert given == [True, False]
        await storage.privacy.forget("x:a")
        assert files(storage) == {b"again"}


async def test_a_picture_that_marble_drew_was_given_by_nobody(home: Home) -> None:
    """Though its job is gone: whoever started from it did not give it."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: now) as storage:
        first = await delivered(storage, a_job(person="x:a"), b"drawn")
        [picture] = (await storage.jobs.get(first)).pictures
        now += timedelta(days=9)
        await delivered(storage, from_image(picture.sha256, person="x:b"), b"variation")
        await storage.jobs.add(from_image(picture.sha256, person="x:c"))
        assert (await storage.care.prune(timedelta(days=5), unused_for=0)).jobs == 1
        await storage.privacy.forget("x:b")
        assert files(storage) == {b"drawn"}


async def test_the_verdict_stays_with_the_picture(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    pictures = [
        replace(each, verdict=verdict)
        for each, verdict in zip(drawn(b"1", b"2", b"3"), Verdict, strict=True)
    ]
    await storage.jobs.rendered(job.id, job.epoch, pictures)
    kept = (await storage.jobs.get(job.id)).pictures
    assert [each.verdict for each in kept] == list(Verdict)


async def test_no_trace_of_the_name_is_left_in_what_others_did_or_saw(storage: Storage) -> None:
    who = "discord:424242"
    await storage.moderation.ban("x:b", by=who, reason="spam")
    await storage.moderation.first_sight("discord:1:424242:⭐", who)
    await storage.jobs.add(a_job(person=who, event="discord:2:424242:🎲"))
    await storage.privacy.forget(who)

    def rows(connection: Connection) -> str:
        return repr(
            [connection.execute(table.select()).all() for table in Base.metadata.sorted_tables]
        )

    assert "424242" not in await storage.database.read(rows)
    assert await ban_of(storage, "x:b", "x:1")
