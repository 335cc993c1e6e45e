"""`marble db`: upgrade, check, back up, restore and prune the database, export, forget."""

import argparse
import re
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from bots.operations.settings import Settings
from bots.terminal.arguments import FAILED, OK
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
UNKNOWN: Final = "Nothing is stored about {}; people are named like discord:123."
DELETED: Final = "{jobs} {jobs:job|jobs} and {files} picture {files:file|files} were deleted."


def parse_age(text: str) -> timedelta:
    """Read "90d", "12w", "6m" or "1y", or raise `OptionError`."""
    found = re.fullmatch(r"([1-9]\d{0,4})([dwmy])", text.strip().lower(), re.ASCII)
    if not found:
        raise OptionError("older-than", text, "an age like 90d, 12w, 6m or 1y")
    return timedelta(days=int(found[1]) * DAYS[found[2]])


def _say(text: str) -> None:
    sys.stdout.write(f"{printable(text)}\n")


async def upgrade(arguments: argparse.Namespace, settings: Settings) -> None:
    """Upgrade the database, as opening it does."""
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        _say(f"{storage.database.where} is up to date (revision {schema.head()}).")


async def check(arguments: argparse.Namespace, settings: Settings) -> int:
    """Look for damage; return 1 if there is any."""
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        report = await storage.care.check(deep=arguments.deep)
        where = storage.database.where
    for problem in report.problems:
        _say(f"- {problem}")
    if report.orphans:
        _say(fill(ORPHANS, n=report.orphans))
    if report.problems:
        _say(fill("{where} has {n} {n:problem|problems}.", where=where, n=len(report.problems)))
    else:
        _say(where + fill(" and its {n} picture {n:file|files} are intact.", n=report.files))
    return FAILED if report.problems else OK


async def backup(arguments: argparse.Namespace, settings: Settings) -> None:
    """Copy the database to a file."""
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        size = await backups.backup(storage.database.url, arguments.file)
        _say(f"{storage.database.where} was copied to {arguments.file} ({size / MEGABYTE:.1f} MB).")
        where = storage.pictures.where
        what = f"the objects of {where}" if storage.pictures.is_shared else where
        _say(f"It has no pictures: copy {what} as well, after this.")


async def restore(arguments: argparse.Namespace, settings: Settings) -> int:
    """Replace the database with a backup; return 1 if that is damaged."""
    url = urls.resolve(settings.data_dir, settings.database_url)
    before = await backups.restore(url, arguments.file, settings.data_dir)
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        await storage.vectors.clear()
        report = await storage.care.check()
    _say(f"{arguments.file} was restored to {urls.show(url)}.")
    if before:
        _say(f"The previous database is kept as {before}; delete it when all is well.")
    for problem in report.problems:
        _say(f"- {problem}")
    return FAILED if report.problems else OK


async def prune(arguments: argparse.Namespace, settings: Settings) -> None:
    """Delete old jobs, and picture files that belong to none."""
    age = parse_age(arguments.older_than)
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        pruned = await storage.care.prune(age)
        await storage.vectors.prune()
        swept = await storage.care.sweep()
    _say(fill(DELETED, jobs=pruned.jobs, files=pruned.files + swept))


async def export(arguments: argparse.Namespace, settings: Settings) -> None:
    """Write what is stored about a person to a zip file; raises `UserError` for an unknown one."""
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        if not await storage.privacy.knows(arguments.person):
            raise UserError(UNKNOWN.format(arguments.person))
        found = await storage.exports.to_file(arguments.person, arguments.file)
    pictures = fill("{n} {n:picture|pictures}", n=found.pictures)
    _say(f"Everything stored about {arguments.person} is in {arguments.file}, with {pictures}.")


async def forget(arguments: argparse.Namespace, settings: Settings) -> None:
    """Delete what is stored about a person; raises `UserError` for an unknown one."""
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        forgotten = await storage.privacy.forget(arguments.person)
        older = backups.beside(storage.database.url, settings.data_dir)
    if not forgotten.known:
        raise UserError(UNKNOWN.format(arguments.person))
    _say(f"{arguments.person}: {fill(DELETED, jobs=forgotten.jobs, files=forgotten.files)}")
    _say("Bans stay. Backups keep what they contain until you delete them.")
    for file in older:
        _say(f"- {file}")
