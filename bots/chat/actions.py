"""Actions on pictures, on every platform: one table for buttons, reactions and menus.

Adapters map their own ids to these names. What is drawn comes back as a job, all else as the
picture that may be shown or ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from bots.chat.access import Purpose, Requester, Target, find_picture
from bots.requests.derive import DIRECTIONS
from bots.requests.options import parse_values
from bots.requests.studio import Asker, Studio
from bots.service.app import App
from storage import Job, TooLate
from storage.states import OVER

Draw = Callable[[Studio, str, Asker], Awaitable[Job]]  # given the picture's name


NEW_SEED: Final = parse_values([("seed", "new")])
DRAWN: Final[Mapping[str, Draw]] = {
    "rerun": lambda studio, name, asker: studio.rerun(name, {}, asker),  # with the same seed
    "reroll": lambda studio, name, asker: studio.rerun(name, NEW_SEED, asker),
    "vary_subtle": partial(Studio.vary, strong=False),
    "vary_strong": partial(Studio.vary, strong=True),
    "upscale": Studio.upscale,
    "zoom": Studio.zoom,
    **{f"pan_{direction}": partial(Studio.pan, direction=direction) for direction in DIRECTIONS},
}
# What each action needs the picture for.
ACTIONS: Final[Mapping[str, Purpose]] = {
    **dict.fromkeys(DRAWN, Purpose.DRAW),
    "edit": Purpose.DRAW,  # by words
    "change": Purpose.DRAW,  # a form with the recipe
    "show": Purpose.POST,  # again, with its buttons
    "pick": Purpose.TELL,  # … to the asker, or the buttons alone
    "original": Purpose.SEND,  # the files in full size
    "recipe": Purpose.TELL,
    "favourite": Purpose.TELL,
    "cancel": Purpose.END,
    "delete": Purpose.END,  # the message that shows it; first of all, its job is cancelled
}


async def find(
    app: App, action: str, name: str, requester: Requester, message: str | None = None
) -> Target:
    """Return the picture of a name for an action; `message`: the key of the message acted on.

    Raises `UserError` as `find_picture` does.
    """
    return await find_picture(app, name, requester, ACTIONS[action], message)


async def draw(
    app: App,
    action: str,
    name: str,
    requester: Requester,
    asker: Asker,
    message: str | None = None,
) -> Job:
    """Commit a job that makes another picture from the one named; raises `UserError`."""
    target = await find(app, action, name, requester, message)
    return await DRAWN[action](app.studio, target.name, asker)


async def cancel_unfinished(app: App, target: Target, *, by: str) -> bool:
    """Cancel a job that waits or runs; return whether it did."""
    if target.job.status not in OVER:
        with suppress(TooLate):
            await app.worker.cancel(target.job.id, by=by)
            return True
    return False
