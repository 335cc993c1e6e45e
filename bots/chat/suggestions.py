"""Descriptions of a picture as a numbered list, each of which can be drawn.

What a button draws stands in the list above it, so that it outlives restarts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from bots.admission.visibility import View
from bots.chat.access import Target
from bots.presentation.text import cut
from bots.requests.derive import the_picture
from bots.requests.studio import Asker
from bots.service.app import App
from bots.texts import Words
from engine.errors import UserError

LONGEST = 250  # characters of a description


async def read_target(target: Target, view: View) -> tuple[bytes, bool]:
    """Return the file of one of Marble's pictures, as the place of a `View` lets it be shown.

    And whether it is shown there behind a spoiler, behind which then belongs what it shows in
    words, too. Raises `UserError` for several pictures and for none, and as `View.read` does.
    """
    picture = the_picture(target.job, target.picture)
    return await asyncio.to_thread(view.read, picture), view.needs_spoiler([picture])


async def describe(app: App, asker: Asker, data: bytes, words: Words) -> list[str]:
    """Return what a picture file shows in words; it counts as a job towards rates if that works.

    words: in the language that the bundled model's pictures are described in.

    Raises `UserError`.
    """
    app.descriptions.check()
    async with app.gate.counting(asker):
        found = await app.descriptions.suggest(data, asker.person, words.language)
    return [cut(each, LONGEST) for each in found]


def numbered(suggestions: Iterable[str]) -> list[str]:
    """Return the lines of a list."""
    return [f"{number}. {words}" for number, words in enumerate(suggestions, 1)]


def suggestion_in(text: str, number: str, words: Words) -> str:
    """Return the description of a number in a list that was shown; raises `UserError`."""
    for line in text.splitlines():
        if found := re.fullmatch(rf"{re.escape(number)}\. (.+)", line):
            return found[1]
    raise UserError(words.unknown_message)
