"""Live progress of one's jobs by server-sent events (WHATWG HTML, 9.2), and cancelling.

A stream tells of all unfinished jobs of who is signed in:

    hello      the stream has begun; a browser that hears nothing asks by `?once` from then on
    progress   {job, line, step, total, preview}: a job waits or is being drawn
    end        {job, status, line}: it is over, or gone

The id of an event names the jobs that the stream tells of, so that a stream that is opened again
tells of the end of those that ended meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from bots.chat.commands import cancel
from bots.presentation.lines import progress_line
from bots.texts import say
from bots.web.errors import Refused
from bots.web.request import Request, Route, see_other
from engine.events import News, Waiting
from storage import DatabaseFault, Job
from storage.states import OVER

LOOK: Final = 0.5  # seconds between two looks at a person's jobs
AGAIN: Final = 2.0  # … at the database, for the end of one
BEAT: Final = 15.0  # … between two signs of life, at which session and rules are read again
MOST: Final = 4  # streams of a session; browsers open six connections at most to a site without TLS
JOBS: Final = 50  # that one stream tells of
GONE: Final = "gone"
HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",  # a proxy that compresses would keep events back
    "X-Accel-Buffering": "no",  # nginx would keep events back
}

Event = tuple[str, dict[str, Any]]  # its name and what it says

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Streams:
    """The streams that are open, by session."""

    closing: asyncio.Event = field(default_factory=asyncio.Event)
    _open: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def opened(self, session: str) -> Iterator[None]:
        """Count a stream until the end of the block; raises `Refused` for one too many."""
        if self._open[session] >= MOST:
            raise Refused(429, "too_many_streams")
        self._open[session] += 1
        try:
            yield
        finally:
            self._open[session] -= 1
            if not self._open[session]:
                del self._open[session]

    async def close(self, _: web.Application) -> None:
        """Let all streams end."""
        self.closing.set()


STREAMS: Final = web.AppKey("streams", Streams)


class Watch:
    """Tells what is new of somebody's unfinished jobs.

    jobs: those that the reader's page shows as unfinished.
    """

    def __init__(self, request: Request, jobs: Iterable[int] = ()) -> None:
        self._request = request
        self._worker = request.app.worker
        self.jobs = set(jobs)
        self._news: dict[int, News | None] = {}
        self._not_before = 0.0

    async def look(self) -> list[Event]:
        """Return what is new since the last look."""
        unfinished = dict(self._worker.unfinished(self._request.person)[:JOBS])
        events = [
            self._progress(job, news)
            for job, news in unfinished.items()
            if job not in self._news or self._news[job] is not news
        ]
        self._news = unfinished
        self.jobs |= unfinished.keys()
        return [*events, *[event async for event in self._ended(self.jobs - unfinished.keys())]]

    def _progress(self, job: int, news: News | None) -> Event:
        words = self._request.words
        facts: dict[str, Any] = {"job": job, "line": words.submitted}
        if isinstance(news, Waiting):
            facts["line"] = progress_line(news, words)
        elif news is not None:  # the page has a bar of its own
            line = f"{words.stages[news.stage]} {news.step}/{news.total}"
            facts |= {"line": line, "step": news.step, "total": news.total}
            if news.finished or (news.preview and self._request.view.previews):
                facts["preview"] = f"/jobs/{job}/preview?{len(news.finished)}-{news.step}"
        return "progress", facts

    async def _ended(self, jobs: Iterable[int]) -> AsyncIterator[Event]:
        """Yield the ends of jobs that wait and run no more; others are looked at again later."""
        now = asyncio.get_running_loop().time()
        if now < self._not_before:
            return
        if not (numbers := sorted(jobs)):
            return
        try:
            found = await self._request.app.storage.jobs.several(numbers)
        except DatabaseFault:
            self._not_before = now + AGAIN
            return
        for number in numbers:
            if event := self._end(number, found.get(number)):
                self.jobs.discard(number)
                yield event
            else:
                self._not_before = now + AGAIN

    def _end(self, number: int, job: Job | None) -> Event | None:
        """Return how a job ended; one that is not theirs is answered like one that is gone."""
        words = self._request.words
        if job is None or job.person != self._request.person:
            return "end", {"job": number, "status": GONE, "line": ""}
        if job.status not in OVER:
            return None
        line = say(job.error, words) if job.error else words.statuses[job.status.value]
        return "end", {"job": number, "status": job.status.value, "line": line}


async def events(request: Request) -> web.StreamResponse:
    """Stream what is new of the reader's jobs, or with `?once` tell how they are now."""
    query = request.http.query
    jobs = {*_numbers(query.get("jobs", "")), *_numbers(request.http.headers.get("Last-Event-ID"))}
    watch = Watch(request, jobs)
    if "once" in query:
        found = await watch.look()
        return web.json_response([{"event": name, **facts} for name, facts in found])
    streams = request.http.app[STREAMS]
    with streams.opened(request.token):
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request.http)
        try:
            await _stream(response, watch, request, streams.closing)
        except ConnectionError:
            pass  # the page is closed
        except Exception as error:  # it has begun: another answer would be written into it
            log.error("a stream of events failed", exc_info=error)
    return response


async def _stream(
    response: web.StreamResponse, watch: Watch, request: Request, closing: asyncio.Event
) -> None:
    """Write events until the session or the process ends, or the reader goes away."""
    loop = asyncio.get_running_loop()
    await response.write(_to_bytes("hello", {}, watch.jobs))
    beat = loop.time() + BEAT
    while not closing.is_set() and not _is_closed(request.http):
        for name, facts in await watch.look():
            await response.write(_to_bytes(name, facts, watch.jobs))
        if loop.time() >= beat:
            with suppress(DatabaseFault):  # meanwhile what was found last counts
                await request.recognise()
            if request.session is None:
                return
            await response.write(b": still here\n\n")
            beat = loop.time() + BEAT
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                await closing.wait()


async def stop(request: Request) -> web.StreamResponse:
    """Cancel a job that waits or runs."""
    number = request.http.match_info["job"]
    text = await cancel(request.app, request, request.words, number)
    if request.wants_json:
        return web.json_response({"said": text})
    return see_other(f"/pictures/{number}")


def _is_closed(http: web.Request) -> bool:
    """Return whether the reader has gone away."""
    return http.transport is None or http.transport.is_closing()


def _to_bytes(name: str, facts: dict[str, Any], jobs: Iterable[int]) -> bytes:
    """Return an event as it is sent."""
    numbers = "-".join(map(str, sorted(jobs)[:JOBS]))
    return f"id: {numbers}\nevent: {name}\ndata: {json.dumps(facts)}\n\n".encode()


def _numbers(text: str | None) -> set[int]:
    """Return the numbers of jobs in a text such as `12-13`; anything else is ignored."""
    parts = (text or "")[:1000].split("-")[:JOBS]
    return {int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 19}


ROUTES: Final = (
    Route("GET", "/events", events, head=False),
    Route("POST", "/jobs/{job}/cancel", stop),
)
