"""`marble db`: upgrade, check, back up, restore and prune the database, export, forget."""

import argparse
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from bots.operations.settings import Settings
from bots.terminal.escaping import printable
from engine.errors import OptionError, UserError
from engine.sentences import fill
from storage import Storage
from storage.care import backups
from storage.database import schema, urls

DAYS: Final[Mapping[str, int]] = {"d": 1, "w": 7, "m": 30, "y": 365}
MEGABYTE: Final = 1_000_000
ORPHANS: Final = (
    "{n} picture {n:file belongs|files belong} to no job; `marble db prune` deletes {n:it|them}."
)
DELETED: Final = "{jobs} {jobs:job|jobs} and {files} picture {files:file|files} were deleted."


class UnknownPerson(UserError):
    """Says that nothing is stored of a person, and how people are named."""

    def __init__(self, person: str) -> None:
        super().__init__(f"Nothing is stored about {person}; people are named like discord:123.")


async def db(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run a command of `marble db`; return its exit code: 1 if a check found a problem.

    Raises `UserError`.
    """
    return await ACTS[arguments.act](arguments, settings)


def parse_age(text: str) -> timedelta:
    """Read "90d", "12w", "6m" or "1y", or raise `OptionError`."""
    found = re.fullmatch(r"([1-9]\d{0,4})([dwmy])", text.strip().lower(), re.ASCII)
    if not found:
        raise OptionError("older-than", text, "an age like 90d, 12w, 6m or 1y")
    return timedelta(days=int(found[1]) * DAYS[found[2]])


def _say(text: str) -> None:
    sys.stdout.write(f"{printable(text)}\n")


async def _upgrade(arguments: argparse.Namespace, settings: Settings) -> int:
    async with Storage.open(settings.data_dir, settings.database_url) as storage:
        _say(f"{storage.database.where} is up to date (revision {schema.head()}).")
    return 0


async def _check(arguments: argparse.Namespace, settings: Settings) -> int:
    async with Storage.open(settings.data_dir, settings.database_url) as storage:
        report = await storage.care.check(deep=arguments.deep)
        where = storage.database.where
    for problem in report.problems:
        _say(f"- {problem}")
    if report.orphans:
        _say(fill(ORPHANS, n=report.orphans))
    if report.problems:
        _say(fill("{where} has {n} {n:problem|problems}.", where=where, n=len(report.problems)))
        return 1
    _say(where + fill(" and its {n} picture {n:file|files} are intact.", n=report.files))
    return 0


async def _backup(arguments: argparse.Namespace, settings: Settings) -> int:
    async with Storage.open(settings.data_dir, settings.database_url) as storage:
        size = await backups.backup(storage.database.url, arguments.file)
        _say(f"{storage.database.where} was copied to {arguments.file} ({size / MEGABYTE:.1f} MB).")
        _say(f"It has no pictures: copy {storage.pictures.folder} as well, after this.")
    return 0


async def _restore(arguments: argparse.Namespace, settings: Settings) -> int:
    url = urls.resolve(settings.data_dir, settings.database_url)
    before = await backups.restore(url, arguments.file, settings.data_dir)
    async with Storage.open(settings.data_dir, settings.database_url) as storage:
        report = await storage.care.check()
    _say(f"{arguments.file} was restored to {urls.show(url)}.")
    if before:
        _say(f"The previous database is kept as {before}; delete it when all is well.")
    for problem in report.problems:
        _say(f"- {problem}")
    return 1 if report.problems else 0


async def _prune(arguments: argparse.Namespace, settings: Settings) -> int:
    age = parse_age(arguments.older_than)
    async with Storage.open(settings.data_dir, settings.database_url) as storage:
        pruned = await storage.care.prune(age)
        swept = await storage.care.sweep()
    _say(fill(DELETED, jobs=pruned.jobs, files=pruned.files + swept))
    return 0


async def _export(arguments: argparse.Namespace, settings: Settings) -> int:
    async with Storage.open(settings.data_dir, settings.database_url) as storage:
        if not await storage.privacy.knows(arguments.person):
            raise UnknownPerson(arguments.person)
        found = await storage.exports.to_file(arguments.person, arguments.file)
    pictures = fill("{n} {n:picture|pictures}", n=found.pictures)
    _say(f"Everything stored about {arguments.person} is in {arguments.file}, with {pictures}.")
    return 0


async def _forget(arguments: argparse.Namespace, settings: Settings) -> int:
    async with Storage.open(settings.data_dir, settings.database_url) as storage:
        forgotten = await storage.privacy.forget(arguments.person)
        older = backups.beside(storage.database.url, settings.data_dir)
    if not forgotten.known:
        raise UnknownPerson(arguments.person)
    _say(f"{arguments.person}: {fill(DELETED, jobs=forgotten.jobs, files=forgotten.files)}")
    _say("Bans stay. Backups keep what they contain until you delete them.")
    for file in older:
        _say(f"- {file}")
    return 0


Act = Callable[[argparse.Namespace, Settings], Awaitable[int]]
ACTS: Final[Mapping[str, Act]] = {
    "upgrade": _upgrade,
    "check": _check,
    "backup": _backup,
    "restore": _restore,
    "prune": _prune,
    "export": _export,
    "forget": _forget,
}
