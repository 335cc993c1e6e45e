"""`marble pictures move`: take the stored pictures to another place while Marble serves."""

import argparse
import asyncio
import sys
from functools import partial
from typing import Final

from bots.operations.settings import PICTURES_URL, Settings
from bots.terminal.arguments import FAILED, OK
from bots.terminal.escaping import printable
from engine.errors import UserError
from engine.sentences import fill
from storage import Storage
from storage.care import moving
from storage.care.moving import Moved
from storage.jobs.bucket_pictures import FOLDER

SO_FAR: Final = "{copied} {copied:picture|pictures} copied, {there} there before"
DONE: Final = (
    "{copied} {copied:picture was|pictures were} copied to {where}; {there} {there:was|were} there "
    "before. {removed} {removed:was|were} removed from {source}."
)
LEFT: Final = (
    "Nothing was removed from {source}, since Marble still keeps pictures there: set {key} to the "
    "new URL, restart Marble, and give this command again."
)
DAMAGED: Final = "{name} in {source} is damaged, and was left there."


async def move(arguments: argparse.Namespace, settings: Settings) -> int:
    """Copy pictures to a URL, and remove them where they were once Marble is set to it.

    Return 1 where some are damaged.
    """
    current = settings.pictures_url or FOLDER
    folder = settings.data_dir / "pictures"
    url = arguments.url
    done = moving.is_same(url, current)
    start = arguments.source or (FOLDER if done else current)
    if moving.is_same(start, url):
        raise UserError("The pictures are there already; say with --from where others are.")
    # Keys that the setting has need not be given again.
    target = moving.open_alone(folder, current if done else url)
    source = moving.open_alone(folder, current if moving.is_same(start, current) else start)
    try:
        async with Storage.open(
            settings.data_dir, settings.database_url, settings.pictures_url
        ) as storage:
            await storage.care.claim(target)
            await storage.care.claim(source)
            moved = await moving.move(source, target, remove=done, report=_report)
    finally:
        for each in (source, target):
            await asyncio.to_thread(each.close)
    say = partial(fill, source=source.where, where=target.where, key=PICTURES_URL)
    for name in moved.damaged:
        _say(say(DAMAGED, name=name))
    _say(say(DONE, copied=moved.copied, there=moved.there, removed=moved.removed))
    if not done:
        _say(say(LEFT))
    return FAILED if moved.damaged else OK


def _report(moved: Moved) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r" + fill(SO_FAR, copied=moved.copied, there=moved.there))


def _say(text: str) -> None:
    sys.stdout.write(f"{printable(text)}\n")
