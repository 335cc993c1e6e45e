"""/mydata on every platform: export a person's stored data, or remove it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bots.admission.visibility import View
from bots.chat.access import Viewer, check_personal
from bots.service.app import App
from bots.texts import Words
from engine.sentences import fill
from storage.records import Exported

PARTS: Final = 50  # messages with a file each; the owner hands out what is larger

Send = Callable[[str, str, bytes], Awaitable[None]]  # a text, a file's name, its bytes


async def export_data(
    app: App, viewer: Viewer, words: Words, *, view: View, most: int, send: Send
) -> None:
    """Send everything that is kept of the viewer, as zip files of at most `most` bytes.

    view: of the place where they arrive; pictures that it withholds are left out. Raises
    `UserError` where others read it, `ExportUnderWay`, `TooLargeExport`, `NoRoom`, and what `send`
    raises.
    """
    check_personal(viewer)
    exports = app.storage.exports
    async with exports.begin(viewer.person, most=most, parts=PARTS, may=view.shows) as made:
        count = len(made.plan.parts)
        for number in range(1, count + 1):
            async with made.part(number) as file:
                data = await asyncio.to_thread(file.read_bytes)
                text = export_text(made.plan.exported, number, count, words)
                await send(text, file.name, data)


async def forget_data(app: App, viewer: Viewer, words: Words) -> tuple[bool, str]:
    """Remove everything that is kept of the viewer; return whether there was any, and the answer.

    Raises `UserError` where others read it.
    """
    check_personal(viewer)
    gone = await app.storage.privacy.forget(viewer.person)
    if not gone.known:
        return False, words.forget_nothing
    return True, fill(words.forgotten, jobs=gone.jobs, files=gone.files)


def export_text(exported: Exported, number: int, count: int, words: Words) -> str:
    """Return the text beside one part of an export; the first also lists the contents of all."""
    said = [words.export_part.format(part=number, count=count)] if count > 1 else []
    if number == 1:
        said.append(fill(words.export_ready, pictures=exported.pictures))
        if exported.left_out:
            said.append(fill(words.export_without, count=exported.left_out))
        if exported.too_large:
            said.append(fill(words.export_too_large, count=exported.too_large))
    return " ".join(said)
