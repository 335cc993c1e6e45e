"""Migrations equal the tables, up and down, on both databases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events import Verdict
from engine.recipe.parts import Control
from storage import Storage
from storage.care import backups, sqlite_files
from storage.database import engines, schema, urls
from storage.database.tables import Base
from storage.errors import FileThere, NewerSchema, UnknownJob
from tests.conftest import PATIENCE
from tests.factories import add_claimed
from tests.storage.conftest import Home, a_job, a_recipe, drawn

REVISIONS = [
    script.revision for script in ScriptDirectory.from_config(schema.config()).walk_revisions()
]


def _is_common(thing: Any, name: str | None, kind: str, there: bool, other: Any) -> bool:
    """Leave out each database's own full-text index."""
    return not str(name).startswith("search") and name != "ix_jobs_words"


def differences(connection: Connection) -> list[Any]:
    options = {"compare_type": True, "include_object": _is_common}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, Base.metadata))


def names(connection: Connection) -> set[str]:
    """Return everything with a name: tables, indices, constraints and triggers."""
    found: set[str] = set()
    inspector = inspect(connection)
    for table in inspector.get_table_names():
        found.add(table)
        found |= {str(index["name"]) for index in inspector.get_indexes(table)}
        found |= {str(key["name"]) for key in inspector.get_foreign_keys(table)}
        found |= {str(check["name"]) for check in inspector.get_check_constraints(table)}
        found.add(str(inspector.get_pk_constraint(table)["name"]))
    if connection.dialect.name == "sqlite":
        query = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        found |= set(connection.execute(query).scalars())
    return found


async def in_transaction(home: Home, work: Any) -> Any:
    def call(connection: Connection) -> Any:
        with connection.begin():
            return work(connection)

    home.folder.mkdir(parents=True, exist_ok=True)
    writes, reads = engines.create(urls.resolve(home.folder, home.url))
    try:
        if isinstance(writes, AsyncEngine):
            async with writes.connect() as connected:
                return await connected.run_sync(call)
        with writes.connect() as connection:
            return call(connection)
    finally:
        for engine in (reads, writes):
            await engine.dispose() if isinstance(engine, AsyncEngine) else engine.dispose()


async def test_the_migrations_make_the_tables(empty_home: Home) -> None:
    async with empty_home.open():
        pass
    assert await in_transaction(empty_home, differences) == []


async def test_every_named_thing_of_the_tables_is_there(empty_home: Home) -> None:
    def from_metadata(connection: Connection) -> set[str]:
        Base.metadata.create_all(connection)
        return names(connection)

    def from_migrations(connection: Connection) -> set[str]:
        command.upgrade(schema.config(connection), "head")
        return names(connection)

    wanted = await in_transaction(empty_home, from_metadata)
    await in_transaction(empty_home, lambda c: Base.metadata.drop_all(c))
    made = await in_transaction(empty_home, from_migrations)
    extra = {name for name in made if name.startswith(("search", "sqlite_", "alembic_version"))}
    assert made - extra - {"None"} == wanted - {"None"}


async def test_down_and_up_again(empty_home: Home) -> None:
    def down(connection: Connection) -> set[str]:
        command.downgrade(schema.config(connection), "base")
        return names(connection)

    async with empty_home.open():
        pass
    before = await in_transaction(empty_home, names)
    left = await in_transaction(empty_home, down)
    assert {name for name in left if not name.startswith("alembic")} <= {"None", "sqlite_sequence"}
    async with empty_home.open() as storage:
        await storage.jobs.add(a_job())
    assert await in_transaction(empty_home, names) == before


async def test_start_images_are_known_again_after_a_downgrade(empty_home: Home) -> None:
    def down(connection: Connection) -> None:
        command.downgrade(schema.config(connection), "0001")

    def listed(connection: Connection) -> list[tuple[int, str]]:
        query = text("SELECT job, sha256 FROM inputs ORDER BY job, sha256")
        return [(row.job, row.sha256) for row in connection.execute(query)]

    async with empty_home.open() as storage:
        image, mask, edges = (storage.pictures.add(name) for name in (b"i", b"m", b"e"))
        await storage.jobs.add(a_job())
        await storage.jobs.add(a_job(recipe=a_recipe(image=image, mask=mask, strength=0.5)))
        controls = (Control(model="canny", image=edges), Control(model="depth", image=edges))
        await storage.jobs.add(a_job(recipe=a_recipe(controls=controls)))
    before = await in_transaction(empty_home, listed)
    assert before == sorted([(2, image), (2, mask), (3, edges)])
    await in_transaction(empty_home, down)
    async with empty_home.open() as storage:
        assert await storage.care.sweep(unused_for=0) == 0
    assert await in_transaction(empty_home, listed) == before


async def test_two_processes_may_open_a_new_database_at_once(
    empty_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "storage.database.database.UPGRADE", PATIENCE
    )  # which each of them makes in turn

    async def visit(prompt: str) -> int:
        async with empty_home.open() as storage:
            return (await storage.jobs.add(a_job(prompt))).id

    assert sorted(await asyncio.gather(*(visit(f"{n}") for n in range(4)))) == [1, 2, 3, 4]


async def test_an_upgrade_is_backed_up_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await storage.jobs.add(a_job())
    with monkeypatch.context() as newer:
        newer.setattr(schema, "head", lambda: "a later one")
        newer.setattr(schema, "upgrade", lambda connection, where: None)
        async with Storage.open(tmp_path) as storage:
            await storage.jobs.cancel(job.id)
    [copy] = backups.beside(urls.resolve(tmp_path, None), tmp_path)
    await backups.restore(urls.resolve(tmp_path, None), copy, tmp_path)
    async with Storage.open(tmp_path) as storage:
        assert await storage.jobs.get(job.id) == job


async def test_upgrades_and_restores_of_one_second_keep_all_that_was_before(tmp_path: Path) -> None:
    url, home = urls.resolve(tmp_path, None), tmp_path

    def now() -> datetime:
        return datetime(2026, 6, 1, 12, tzinfo=UTC)

    async with Storage.open(home) as storage:
        await storage.jobs.add(a_job())
    first = await backups.before_upgrade(url, home, now=now)
    second = await backups.before_upgrade(url, home, now=now)
    assert first is not None
    assert second is not None
    assert (first.name, second.name) == (
        "marble.db.before-upgrade-20260601-120000",
        "marble.db.before-upgrade-20260601-120000.002",
    )
    kept = [await backups.restore(url, first, home, now=now) for _ in range(2)]
    assert [path and path.name.rpartition("-")[2] for path in kept] == ["120000", "120000.002"]
    for path in (first, second, *filter(None, kept)):
        assert sqlite_files.look(path) == schema.head()


def test_a_file_that_another_process_wrote_first_is_left(tmp_path: Path) -> None:
    target = tmp_path / "a.backup"
    part = sqlite_files.part_of(target)
    part.write_text("mine")
    target.write_text("theirs")
    with pytest.raises(FileThere):
        sqlite_files.take_name(part, target)
    assert target.read_text() == "theirs"


def test_only_the_latest_backups_of_upgrades_are_kept(tmp_path: Path) -> None:
    for day in range(5):
        (tmp_path / f"marble.db.before-upgrade-2026010{day}").touch()
    sqlite_files.keep_latest(tmp_path / "marble.db", 3)
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["2", "3", "4"]


def test_there_is_one_line_of_revisions() -> None:
    script = ScriptDirectory.from_config(schema.config())
    assert len(script.get_heads()) == len(script.get_bases()) == 1
    assert len(REVISIONS) == len(set(REVISIONS))
    assert schema.known() == set(REVISIONS)
    assert schema.head() == script.get_current_head()


async def test_start_images_and_reactions_of_older_databases_get_their_owners(
    empty_home: Home,
) -> None:
    def down(connection: Connection) -> None:
        command.downgrade(schema.config(connection), "0004")

    def owners(connection: Connection) -> dict[tuple[int, str], str | None]:
        query = text("SELECT job, sha256, owner FROM inputs")
        return {(row.job, row.sha256): row.owner for row in connection.execute(query)}

    def people(connection: Connection) -> dict[str, str | None]:
        query = text("SELECT id, person FROM seen_events")
        return {row.id: row.person for row in connection.execute(query)}

    async with empty_home.open() as storage:
        given = storage.pictures.add(b"given")
        first = await storage.jobs.add(
            a_job(person="x:a", recipe=a_recipe(image=given, strength=1))
        )
        await storage.jobs.add(
            a_job(person="x:b", parent=first.id, recipe=a_recipe(image=given, strength=0.5))
        )
        done = await add_claimed(storage, a_job(person="x:c"))
        [picture] = (await storage.jobs.rendered(done.id, done.epoch, drawn(b"drawn"))).pictures
        own = picture.sha256
        await storage.jobs.add(a_job(person="x:b", recipe=a_recipe(image=own, strength=1)))
        await storage.moderation.first_sight("discord:77:5:⭐", "discord:5")
        await storage.moderation.first_sight("discord:78", "discord:6")
    before = await in_transaction(empty_home, owners)
    assert before == {(1, given): "x:a", (2, given): "x:a", (4, own): None}
    await in_transaction(empty_home, down)
    async with empty_home.open() as storage:
        job = await storage.jobs.get(done.id)
        assert [each.verdict for each in job.pictures] == [Verdict.UNCHECKED]
    assert await in_transaction(empty_home, owners) == before
    assert await in_transaction(empty_home, people) == {
        "discord:77:5:⭐": "discord:5",
        "discord:78": None,
    }


async def test_suspects_and_costs_of_older_databases_are_known(empty_home: Home) -> None:
    def down(connection: Connection) -> dict[int, int]:
        command.downgrade(schema.config(connection), "0007")
        rows = connection.execute(text("SELECT id, attempts FROM jobs"))
        return {row.id: row.attempts for row in rows}

    def kept(connection: Connection) -> dict[int, tuple[bool, int | None]]:
        rows = connection.execute(text("SELECT id, suspect, cost FROM jobs"))
        return {row.id: (bool(row.suspect), row.cost) for row in rows}

    recipe = a_recipe(width=80, height=64, steps=3, count=2)
    cost = 80 * 64 * 3 * 2
    async with empty_home.open(now=lambda: datetime.now(UTC) - timedelta(days=3)) as storage:
        await storage.jobs.add(a_job(recipe=recipe))
    async with empty_home.open() as storage:
        for deaths in (0, 1, 1, 2):
            job = await storage.jobs.add(a_job(recipe=recipe))
            for alone in (False, True)[:deaths]:
                claimed = await storage.worker.claim(job.id)
                assert claimed is not None
                await storage.jobs.lost(job.id, claimed.epoch, alone=alone)
        assert await storage.worker.claim(2)
        assert await storage.worker.claim(3)
    before = await in_transaction(empty_home, kept)
    suspects = {1: False, 2: False, 3: True, 4: True, 5: True}
    assert before == {number: (suspect, cost) for number, suspect in suspects.items()}
    # What the older one knows them by: that a worker died with them, or will have.
    assert await in_transaction(empty_home, down) == {1: 0, 2: 1, 3: 2, 4: 1, 5: 1}
    async with empty_home.open() as storage:
        assert (await storage.jobs.get(3)).suspect
    assert await in_transaction(empty_home, kept) == {**before, 1: (False, None)}


async def test_the_first_schema_is_upgraded_with_its_data_and_there_is_a_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, url = Home(tmp_path, None), urls.resolve(tmp_path, None)
    async with Storage.open(tmp_path) as storage:
        waiting = await storage.jobs.add(a_job())
        job = await add_claimed(storage, a_job())
        await storage.jobs.rendered(job.id, job.epoch, drawn(b"a picture"))
        done = await storage.jobs.delivered(job.id, {"cli:2": 0})
    await in_transaction(home, lambda c: command.downgrade(schema.config(c), REVISIONS[-1]))

    async with Storage.open(tmp_path) as storage:  # as the first start of a newer version does
        assert [await storage.jobs.get(each.id) for each in (waiting, done)] == [waiting, done]
        assert (await storage.care.check(deep=True)).problems == ()
        later = await storage.jobs.add(a_job())

    with monkeypatch.context() as before:  # the version before knows no more than its own schema
        before.setattr(schema, "head", lambda: REVISIONS[-1])
        before.setattr(schema, "known", lambda: frozenset({REVISIONS[-1]}))
        with pytest.raises(NewerSchema, match="restore a backup made by this version"):
            async with Storage.open(tmp_path):
                pass
        [copy] = backups.beside(url, tmp_path)
        await backups.restore(url, copy, tmp_path)
        copy.unlink()  # another one may be made within the same second
        assert await in_transaction(home, schema.revision) == REVISIONS[-1]

    async with Storage.open(tmp_path) as storage:  # what was there before the upgrade, and no more
        assert [await storage.jobs.get(each.id) for each in (waiting, done)] == [waiting, done]
        with pytest.raises(UnknownJob):
            await storage.jobs.get(later.id)
