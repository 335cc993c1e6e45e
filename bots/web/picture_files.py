"""Thumbnails, originals and previews: bytes, each only for who may see the picture."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import BinaryIO, Final

from aiohttp import web

from bots.admission.visibility import View
from bots.chat.access import Target
from bots.presentation.fit import thumbnail
from bots.presentation.grid import preview_of
from bots.requests.derive import the_picture
from bots.web.request import Request, Route
from bots.web.static_files import has_already
from engine.events import Progress
from storage import Picture
from storage.jobs.picture_files import Pictures

PARALLEL: Final = 2  # thumbnails that are made at once
KEPT: Final = "private, max-age=86400, immutable"  # a picture of a name never changes


class ThumbnailMaker:
    """Makes small copies, each once however many ask for it at the same time."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(PARALLEL)
        self._making: dict[str, asyncio.Task[bytes]] = {}

    async def find(self, picture: Picture, view: View) -> bytes:
        """Return the small copy of a picture that a `View` shows; raises `DatabaseFault`."""
        name, files = picture.sha256, view.files
        if kept := await asyncio.to_thread(files.thumbnails.get, name):
            return kept
        if (task := self._making.get(name)) is None:
            task = asyncio.create_task(self._make(picture, files), name=f"thumbnail-{name}")
            self._making[name] = task
            task.add_done_callback(partial(self._end, name))
        return await asyncio.shield(task)

    async def close(self, _: web.Application) -> None:
        """Wait until what is being made is made: it reads files that are closed afterwards."""
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    def _end(self, name: str, task: asyncio.Task[bytes]) -> None:
        """Forget what has ended; its error is told to who waits for it, and else to nobody."""
        del self._making[name]
        if not task.cancelled():
            task.exception()

    async def _make(self, picture: Picture, files: Pictures) -> bytes:
        async with self._slots:
            return await asyncio.to_thread(_keep_thumbnail, picture, files)


MAKER: Final = web.AppKey("thumbnails", ThumbnailMaker)


async def small(request: Request) -> web.StreamResponse:
    """Answer with a picture's thumbnail, which a list shows as it does the prompt."""
    _, picture, view = await find_shown(request, "recipe")
    maker = request.http.app[MAKER]
    return await _answer(request, picture, "webp", partial(maker.find, picture, view))


async def original(request: Request) -> web.StreamResponse:
    """Answer with a picture's file as it is: every pixel, and the recipe inside."""
    _, picture, view = await find_shown(request, "original")
    request.admit()
    return await _answer(request, picture, "png", partial(asyncio.to_thread, view.open, picture))


async def preview(request: Request) -> web.StreamResponse:
    """Answer with what is there of a job that is being drawn, for who asked for it."""
    target = await request.find("recipe", request.http.match_info["job"])
    job, view = target.job, request.view
    news = dict(request.app.worker.unfinished(job.person)).get(job.id)
    jpeg = None
    if isinstance(news, Progress):
        jpeg = await asyncio.to_thread(preview_of, news, checked=not view.previews)
    if jpeg is None:  # the job has ended, or shows none: the page keeps what it has
        return web.Response(status=204)
    return web.Response(body=jpeg, content_type="image/jpeg")


async def find_shown(request: Request, action: str) -> tuple[Target, Picture, View]:
    """Return the one picture of an address and how it is shown; raises `UserError` if it is not."""
    target = await request.find(action, request.http.match_info["name"])
    picture = the_picture(target.job, target.picture)
    view = request.view
    view.check(picture)
    return target, picture, view


async def _answer(
    request: Request, picture: Picture, kind: str, read: Callable[[], Awaitable[bytes | BinaryIO]]
) -> web.Response:
    """Answer with a file, or that the browser has it already.

    One that is open is sent piece by piece, read in a thread, and closed at the end.
    """
    tag = f"{picture.sha256[:16]}-{kind}"
    headers = {
        "Cache-Control": KEPT,
        "Content-Disposition": f'inline; filename="marble-{picture.name}.{kind}"',
        "ETag": f'"{tag}"',
        "Vary": "Cookie",  # another session of the same browser asks anew
    }
    if has_already(request.http, tag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=await read(), content_type=f"image/{kind}", headers=headers)


def _keep_thumbnail(picture: Picture, files: Pictures) -> bytes:
    """Make and keep a small copy; blocks."""
    webp = thumbnail(files.read(picture))
    files.thumbnails.add(picture.sha256, webp)
    if not files.has(picture.sha256):  # removed meanwhile, with the small copies that there were
        files.thumbnails.remove([picture.sha256])
    return webp


ROUTES: Final = (
    Route("GET", "/thumbnails/{name}.webp", small, head=False),
    Route("GET", "/originals/{name}.png", original, granted=True, head=False),
    Route("GET", "/jobs/{job}/preview", preview, head=False),
)
