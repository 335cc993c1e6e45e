"""What commands answer on every platform, as lines of text; adapters fit, mark up and send them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from bots.chat.access import Requester, Viewer, check_personal
from bots.chat.actions import find
from bots.chat.listings import (
    QUEUE,
    model_lines,
    queue_lines,
    settings_lines,
    stats_lines,
    style_lines,
    workflow_lines,
)
from bots.requests.default_options import forget_options, save_options, saved_options
from bots.service.app import App
from bots.texts import Words
from bots.worker.queue_view import load_queue
from engine.errors import UserError
from engine.sentences import fill
from storage import Job
from storage.states import OVER


async def queue(app: App, viewer: Viewer, words: Words) -> Iterable[str]:
    """List the queue; where others read too, own prompts from other places are left out."""
    place = None if viewer.reads_alone else viewer.place
    first = await load_queue(app.storage, app.settings, QUEUE)
    return queue_lines(first, viewer.person, words, place)


async def models(app: App, viewer: Viewer, words: Words) -> Iterable[str]:
    """List the models, and the owner's workflows that may be used in this place."""
    workflows = await app.workflows.offered(viewer.place)
    return [*model_lines(app.studio.catalogue, words), *workflow_lines(workflows, words)]


async def stats(app: App, viewer: Viewer, words: Words) -> Iterable[str]:
    """Count what was drawn in this place, and by the viewer if nobody else reads it."""
    history = app.storage.history
    own = await history.stats(person=viewer.person) if viewer.reads_alone else None
    return stats_lines(own, await history.stats(place=viewer.place), words)


async def styles(app: App, viewer: Viewer, words: Words) -> Iterable[str]:
    """List the styles that can be used in this place."""
    return style_lines(await app.storage.styles.list(viewer.place), words)


ListCommand = Callable[[App, Viewer, Words], Awaitable[Iterable[str]]]
LIST_COMMANDS: Final[Mapping[str, ListCommand]] = {
    "queue": queue,
    "models": models,
    "stats": stats,
    "style": styles,
}


async def settings(
    app: App,
    viewer: Viewer,
    words: Words,
    typed: Mapping[str, str] | None = None,
    written: str = "--{name} {text}",
) -> list[str]:
    """List the viewer's default options, after saving those that were `typed`.

    written: how an option is shown. Raises `UserError`, also where others read it.
    """
    check_personal(viewer)
    people, person = app.storage.people, viewer.person
    if typed is None:
        saved = await saved_options(people, person)
    else:
        saved = await save_options(people, person, typed)
    return list(settings_lines(saved, words, written))


async def reset_settings(app: App, viewer: Viewer, words: Words) -> str:
    """Remove the viewer's default options and return the answer. Raises `UserError`."""
    check_personal(viewer)
    await forget_options(app.storage.people, viewer.person)
    return words.settings_reset


async def cancel(
    app: App, requester: Requester, words: Words, name: str = "", message: str | None = None
) -> str:
    """Cancel a job and return the answer.

    name: the job's, as typed; without it the job that a message shows, else the latest unfinished
    one of the viewer's own. message: the key of the one acted on. Raises `UserError` where there is
    none or it is not theirs to cancel.
    """
    if not name and message and (shown := await app.storage.jobs.by_message(message)):
        name = str(shown[0].id)
    if name:
        job = (await find(app, "cancel", name, requester, message)).job
    elif unfinished := await unfinished_jobs(app, requester.viewer):
        job = unfinished[0]
    else:
        raise UserError(words.nothing_to_cancel)
    await app.worker.cancel(job.id, by=requester.viewer.person)
    return words.cancel_asked.format(job=job.id)


async def web_link(app: App, viewer: Viewer, words: Words) -> str:
    """Return an address that signs the viewer in to the web page, once and for ten minutes.

    Raises `UserError` where others read it, and where there is no page.
    """
    check_personal(viewer)
    if (address := app.settings.web_address) is None:
        raise UserError(words.no_web)
    return f"{address}/in/{await app.storage.web_access.make_link(viewer.person)}"


async def web_logout(app: App, viewer: Viewer, words: Words) -> str:
    """End the viewer's sessions on the web page and return the answer. Raises `UserError`."""
    check_personal(viewer)
    return fill(words.web_ended, n=await app.storage.web_access.end_all(viewer.person))


async def unfinished_jobs(app: App, viewer: Viewer) -> list[Job]:
    """Return the viewer's own jobs that wait or run, newest first.

    Of a group or channel in whose name several people write, those of this place alone.
    """
    place = None if viewer.is_person else viewer.place
    latest = await app.storage.history.page(person=viewer.person, place=place, limit=25)
    return [job for job in latest if job.status not in OVER]
