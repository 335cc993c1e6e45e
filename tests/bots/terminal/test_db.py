"""`marble db`: every command, and what it says."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bots.operations.settings import Settings, load_settings
from bots.terminal import db
from bots.terminal.parser import parse
from engine.errors import OptionError, UserError
from storage import Storage
from storage.records import Tower
from storage.vectors import vectors
from storage.vectors.vectors import NewVector
from tests.factories import add_claimed
from tests.storage.conftest import a_job, drawn
from tests.storage.vectors.test_scan import units

Marble = Callable[..., "tuple[int, str]"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(load_settings({}, env_file=""), data_dir=tmp_path / "data", database_url=None)


async def run(settings: Settings, *words: str | Path) -> int:
    handler = getattr(db, str(words[0]))
    return await handler(parse(["db", *map(str, words)]), settings) or 0


async def draw(settings: Settings, person: str = "terminal:ada") -> Path:
    async with Storage.open(settings.data_dir) as storage:
        job = await add_claimed(storage, a_job(person=person))
        job = await storage.jobs.rendered(job.id, job.epoch, drawn(person.encode()))
        await storage.jobs.delivered(job.id)
        return storage.pictures.path(job.pictures[0])


async def test_upgrade_and_check(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(settings, "upgrade") == 0
    assert "is up to date (revision 0" in capsys.readouterr().out
    picture = await draw(settings)
    assert await run(settings, "check", "--deep") == 0
    assert "and its 1 picture file are intact" in capsys.readouterr().out
    picture.unlink()
    assert await run(settings, "check") == 1
    assert "picture 1.1" in capsys.readouterr().out


async def test_backup_and_restore(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await draw(settings)
    assert await run(settings, "backup", tmp_path / "copy") == 0
    assert "It has no pictures" in capsys.readouterr().out
    await draw(settings)
    assert await run(settings, "restore", tmp_path / "copy") == 0
    assert "is kept as" in capsys.readouterr().out
    async with Storage.open(settings.data_dir) as storage:
        assert len(await storage.history.page()) == 1


async def test_pictures_that_are_restored_are_found_by_what_they_show(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "OVERLAP", 0)
    tower, found = Tower("wide-1", 512), units(2, 512)
    for person in ("terminal:ada", "terminal:bo"):
        await draw(settings, person)
    async with Storage.open(settings.data_dir) as storage:
        for job, vector in enumerate(found, 1):
            await storage.vectors.add(tower, [NewVector(job=job, picture=0, vector=vector)])
    assert await run(settings, "backup", tmp_path / "copy") == 0
    async with Storage.open(settings.data_dir) as storage:
        assert len(await storage.vectors.nearest(tower, found[0], 9)) == 2
        await storage.privacy.forget("terminal:ada")
    assert await run(settings, "restore", tmp_path / "copy") == 1  # her file is gone
    async with Storage.open(settings.data_dir) as storage:
        for job, vector in enumerate(found, 1):
            [alike] = await storage.vectors.nearest(tower, vector, 1)
            assert alike.job.id == job


async def test_prune(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    picture = await draw(settings)
    assert await run(settings, "prune", "--older-than", "1d") == 0
    assert picture.exists()
    assert "0 jobs and 0 picture files" in capsys.readouterr().out


async def test_export_and_forget(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = await draw(settings, "terminal:bob")
    assert await run(settings, "export", "--person", "terminal:bob", tmp_path / "bob.zip") == 0
    assert (tmp_path / "bob.zip").stat().st_size > 0
    assert await run(settings, "forget", "--person", "terminal:bob") == 0
    assert not picture.exists()
    assert "Backups keep what they contain" in capsys.readouterr().out
    with pytest.raises(UserError, match="Nothing is stored about terminal:bob"):
        await run(settings, "forget", "--person", "terminal:bob")
    with pytest.raises(UserError, match="Nothing is stored about nobody; people are named like"):
        await run(settings, "export", "--person", "nobody", tmp_path / "nobody.zip")
    assert not (tmp_path / "nobody.zip").exists()


@pytest.mark.parametrize(("text", "days"), [("90d", 90), ("2w", 14), ("6M", 180), (" 1y ", 365)])
def test_an_age_is_read(text: str, days: int) -> None:
    assert db.parse_age(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["", "90", "0d", "-1d", "1h", "999999d", "١d"])
def test_another_age_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="older-than must be an age like 90d"):
        db.parse_age(text)


def test_the_parser_imports_no_database() -> None:
    code = (
        "import sys; from bots.terminal.parser import parse; parse(['db', 'check']); "
        "assert not {'sqlalchemy', 'alembic', 'torch'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
