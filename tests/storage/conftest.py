"""A storage to work with, and the things that go into it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.events import Picture as Drawn
from engine.recipe.recipe import Recipe
from storage import NewJob, Storage
from storage.clock import utc_now
from storage.database.audit import AuditEntry, note
from storage.people.moderation import admission
from storage.records import Ban
from tests.storage import postgres

STANDARD: dict[str, Any] = {
    "prompt": "a marble scholar holding a book",
    "seed": 5,
    "steps": 20,
    "guidance_scale": 5.0,
    "width": 64,
    "height": 64,
    "sampler": "euler",
    "schedule": "normal",
    "checkpoint": "starter",
}


def a_recipe(**changes: Any) -> Recipe:
    """Make a valid recipe."""
    return Recipe(**{**STANDARD, **changes})


def a_job(prompt: str = STANDARD["prompt"], **changes: Any) -> NewJob:
    """Make a valid request."""
    recipe = changes.pop("recipe", None) or a_recipe(prompt=prompt)
    standard = {"person": "terminal:ada", "place": "terminal", "reply": {"chat": 1}}
    return NewJob(recipe=recipe, **{**standard, **changes})


async def record(storage: Storage, entry: AuditEntry) -> None:
    """Write an entry of the moderators' log."""
    await storage.database.write(lambda c: note(c, entry, utc_now()))


async def ban_of(storage: Storage, person: str, place: str) -> Ban | None:
    """Return the ban that keeps somebody from asking in a place."""
    now = storage.moderation.now()
    return (await storage.database.read(lambda c: admission(c, person, place, now)))[0]


def drawn(*contents: bytes) -> list[Drawn]:
    """Make pictures whose bytes are not worth decoding."""
    return [
        Drawn(index=index, width=64, height=64, png=content)
        for index, content in enumerate(contents or (b"png",))
    ]


@dataclass(frozen=True)
class Home:
    """Say where a test's storage lives; it may be opened many times."""

    folder: Path
    url: str | None
    pictures_url: str | None = None

    @property
    def address(self) -> str:
        """Return the URL of a server's database."""
        assert self.url is not None
        return self.url

    def open(self, **options: Any) -> AbstractAsyncContextManager[Storage]:
        """Open it, as a process would."""
        return Storage.open(self.folder, self.url, self.pictures_url, **options)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the URL of a PostgreSQL server for tests, or skip where there is none."""
    if url := os.environ.get("MARBLE_TEST_POSTGRES_URL"):
        yield url
        return
    programs = postgres.binaries()
    if programs is None:
        message = "no PostgreSQL: install its server or set MARBLE_TEST_POSTGRES_URL"
        if os.environ.get("MARBLE_REQUIRE_POSTGRES"):
            pytest.fail(message)
        pytest.skip(message)
    with postgres.server(programs) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database file that has the newest schema: to copy one is quicker."""
    folder = tmp_path_factory.mktemp("template")
    asyncio.run(_visit(Home(folder, None)))
    return folder / "marble.db"


@pytest.fixture(scope="session")
def postgres_url(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a database that has the newest schema: to empty one is quicker."""
    with postgres.database(postgres_server) as url:
        asyncio.run(_visit(Home(tmp_path_factory.mktemp("template"), url)))
        yield url


async def _visit(home: Home) -> None:
    async with home.open():
        pass


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """Return a place where no storage ever was, on either database."""
    if request.param == "sqlite":
        yield Home(tmp_path / "data", None)
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as url:
        yield Home(tmp_path / "data", url)


@pytest.fixture
def server_home(postgres_server: str, tmp_path: Path) -> Iterator[Home]:
    """Return a place where no storage ever was, on PostgreSQL."""
    with postgres.database(postgres_server) as url:
        yield Home(tmp_path / "data", url)


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """Return a fresh place for a storage, on either database."""
    folder = tmp_path / "data"
    if request.param == "sqlite":
        folder.mkdir()
        shutil.copy(request.getfixturevalue("sqlite_template"), folder)
        yield Home(folder, None)
        return
    url = request.getfixturevalue("postgres_url")
    postgres.empty(url)
    yield Home(folder, url)


@pytest.fixture
async def storage(home: Home) -> AsyncIterator[Storage]:
    """Open a storage in a fresh place."""
    async with home.open() as storage:
        yield storage
