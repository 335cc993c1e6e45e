"""Live progress: places, steps, previews and ends, by a stream or by asking; and cancelling."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientResponse

from bots.requests.studio import Asker
from bots.texts import EN, web_words_of
from bots.web import live
from bots.web.request import Request
from engine.events import Stage
from storage import Job, Storage
from storage.database.database import Database
from storage.records import EVERYWHERE
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, BOB, HOST, OWNER, Browser, Served
from tests.bots.web.test_pictures import drawn, finished
from tests.conftest import PATIENCE

Told = tuple[str, dict[str, Any], str]  # an event's name, what it says, and its id


async def imagined(house: House, person: str = ADA, prompt: str = "a cat") -> Job:
    return await house.studio.imagine(
        {"prompt": prompt}, Asker(person=person, place=f"web:{person}")
    )


@asynccontextmanager
async def streaming(
    browser: Browser, query: str = "", **headers: str
) -> AsyncIterator[AsyncIterator[Told]]:
    async with browser.client.get(f"{browser.origin}/events{query}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield told_by(answer)


async def told_by(answer: ClientResponse) -> AsyncIterator[Told]:
    """Yield events as a browser reads them."""
    fields: dict[str, str] = {}
    async for line in answer.content:
        name, _, text = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = text
        elif "event" in fields:
            yield fields["event"], json.loads(fields["data"]), fields["id"]
            fields = {}


async def until(told: AsyncIterator[Told], name: str, job: int, **said: Any) -> Told:
    """Read events until one says that of a job."""
    async for event in told:
        if event[0] == name and event[1]["job"] == job and said.items() <= event[1].items():
            return event
    raise AssertionError("the stream has ended")


async def test_a_stream_tells_place_steps_and_end(house: House, ada: Browser) -> None:
    house.executor.gate.clear()
    async with streaming(ada) as told:
        assert (await anext(told))[0] == "hello"
        one, two = await imagined(house), await imagined(house)
        steps = one.recipe.steps
        drawing = await until(told, "progress", one.id, step=0, total=steps)
        assert EN.stages[Stage.DENOISE].lower() in drawing[1]["line"].lower()
        waiting = await until(told, "progress", two.id, line="Next in line")
        assert waiting[2] == f"{one.id}-{two.id}"
        house.executor.gate.set()
        end = await until(told, "end", one.id)
        assert end[1] == {"job": one.id, "status": "rendered", "line": EN.statuses["rendered"]}
        await until(told, "end", two.id)


async def test_what_another_process_draws_is_said_to_be_drawn_until_its_end(
    house: House, ada: Browser
) -> None:
    house.worker.queue.pause("until the other has it")
    async with (
        streaming(ada) as told,
        Storage.open(house.storage.pictures.folder.parent) as other,
    ):
        job = await imagined(house)
        await until(told, "progress", job.id)
        assert await other.worker.claim(job.id)
        await house.worker.stop_ended()
        await until(told, "progress", job.id, line="Being drawn")
        await other.jobs.rendered(job.id, 1, [])
        await house.worker.stop_ended()
        end = await until(told, "end", job.id)
    assert end[1]["status"] == "rendered"


async def test_a_stream_that_is_opened_again_tells_what_ended_meanwhile(
    house: House, served: Served, ada: Browser
) -> None:
    job = await imagined(house)
    await finished(served, job.id)
    async with streaming(ada, **{"Last-Event-ID": str(job.id)}) as told:
        assert (await until(told, "end", job.id))[1]["status"] == "rendered"
    async with streaming(ada, f"?jobs={job.id}") as told:
        assert (await until(told, "end", job.id))[1]["status"] == "rendered"


async def test_asking_once_tells_the_same(house: House, served: Served, ada: Browser) -> None:
    house.executor.gate.clear()
    one = await imagined(house)
    await house.executor.begun.wait()
    async with ada.client.get(f"{ada.origin}/events?once") as answer:
        [told] = await answer.json()
    assert told.items() >= {"event": "progress", "job": one.id, "total": one.recipe.steps}.items()
    house.executor.gate.set()
    await finished(served, one.id)
    async with ada.client.get(f"{ada.origin}/events?once&jobs={one.id}") as answer:
        [told] = await answer.json()
    assert (told["event"], told["status"]) == ("end", "rendered")


async def test_others_jobs_are_told_like_those_that_do_not_exist(
    house: House, served: Served, ada: Browser
) -> None:
    house.executor.gate.clear()
    secret = await imagined(house, BOB, "a secret")
    await house.executor.begun.wait()
    done = await drawn(house, "another secret", person=BOB)
    numbers = f"{secret.id}-{done.id}-99999-x-12345678901234567890"
    async with ada.client.get(f"{ada.origin}/events?once&jobs={numbers}") as answer:
        told = await answer.json()
    assert told == [
        {"event": "end", "job": number, "status": "gone", "line": ""}
        for number in (secret.id, done.id, 99999)
    ]


async def test_a_preview_is_shown_to_who_asked_where_nothing_is_checked(
    house: House, served: Served, ada: Browser
) -> None:
    house.executor.gate.clear()
    house.executor.preview = b"a jpeg"
    job = await imagined(house)
    await house.executor.begun.wait()
    async with streaming(ada) as told:
        said = (await until(told, "progress", job.id, step=0))[1]
    async with ada.client.get(ada.origin + said["preview"]) as answer:
        assert (await answer.read(), answer.headers["Content-Type"]) == (b"a jpeg", "image/jpeg")
        assert answer.headers["Cache-Control"] == "no-store"
    bob = await served.sign_in(BOB)
    assert (await bob.get(said["preview"])).status == 404
    await served.app.gate.change(EVERYWHERE, {"safety": "spoiler"}, OWNER)
    async with streaming(ada) as told:
        assert "preview" not in (await until(told, "progress", job.id, step=0))[1]
    assert (await ada.get(said["preview"])).status == 204


async def test_an_open_stream_follows_a_rule_that_changes(
    house: House, served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT", 0.0)
    read: asyncio.Queue[None] = asyncio.Queue()
    recognise = Request.recognise

    async def noted(request: Request) -> None:
        await recognise(request)
        read.put_nowait(None)

    monkeypatch.setattr(Request, "recognise", noted)
    house.executor.gate.clear()
    house.executor.preview = b"a jpeg"
    async with streaming(ada) as told:
        one = await imagined(house)
        assert "preview" in (await until(told, "progress", one.id, step=0))[1]
        await served.app.gate.change(EVERYWHERE, {"safety": "spoiler"}, OWNER)
        for _ in range(read.qsize() + 2):  # one may have begun before the change
            await read.get()
        house.executor.gate.set()
        await finished(served, one.id)
        house.executor.gate.clear()
        two = await imagined(house)
        assert "preview" not in (await until(told, "progress", two.id, step=0))[1]
    house.executor.gate.set()


async def test_streams_of_a_session_are_few_and_another_may_be_opened_once_one_is_closed(
    served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT", 10 * PATIENCE)  # the end is seen at the next look
    ended: list[asyncio.Event] = []
    stream = live._stream

    async def noted(*arguments: Any) -> None:
        ended.append(over := asyncio.Event())
        try:
            await stream(*arguments)
        finally:
            asyncio.get_running_loop().call_soon(over.set)

    monkeypatch.setattr(live, "_stream", noted)
    open_ones = [streaming(ada) for _ in range(live.MOST)]
    for each in open_ones:
        await anext(await each.__aenter__())
    page = await ada.get("/events")
    assert (page.status, web_words_of("en").too_many_streams in page.words) == (429, True)
    async with streaming(await served.sign_in(ADA)) as told:  # another session's
        await anext(told)
    for stream_of_one in open_ones:
        await stream_of_one.__aexit__(None, None, None)
    async with asyncio.timeout(PATIENCE):
        for over in ended:
            await over.wait()
    async with streaming(ada) as told:
        await anext(told)


async def test_a_fault_ends_a_stream_and_writes_no_page_into_it(
    served: Served,
    ada: Browser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("inner words")

    monkeypatch.setattr(live.Watch, "look", broken)
    [(name, token)] = ada.cookies.items()
    reader, writer = await asyncio.open_connection(HOST, served.app.settings.web_port)
    asked = (
        f"GET /events HTTP/1.1\r\nHost: x\r\nCookie: {name}={token}\r\nConnection: close\r\n\r\n"
    )
    with caplog.at_level(logging.ERROR, "bots.web"):
        writer.write(asked.encode())
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert (answer.count(b"HTTP/1.1"), b"<html" in answer) == (1, False)
    assert answer.endswith(b"0\r\n\r\n")  # it is whole
    assert "inner words" in caplog.text


async def test_many_jobs_are_looked_up_at_once(
    served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = Database.read

    async def counted(self: Database, *arguments: Any) -> Any:
        reads.append(arguments)
        return await read(self, *arguments)

    monkeypatch.setattr(Database, "read", counted)

    async def cost(count: int) -> int:
        reads.clear()
        jobs = "-".join(str(number) for number in range(1, count + 1))
        assert (await ada.get(f"/events?once&jobs={jobs}")).status == 200
        return len(reads)

    assert await cost(50) == await cost(1)


async def test_a_stream_ends_with_its_session(
    served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT", 0.0)
    async with streaming(ada) as told:
        assert (await anext(told))[0] == "hello"
        await served.app.storage.web_access.end_all(ADA)
        assert [event async for event in told] == []


async def test_streams_end_when_the_page_is_closed(app: Any) -> None:
    from bots.service.front_door import listening
    from bots.web.site import Site
    from tests.bots.web.conftest import HOST

    origin = app.settings.web_address
    ended = asyncio.get_running_loop().create_future()
    async with listening(Site(app, origin).application(), HOST, app.settings.web_port, "X"):
        served = Served(app, origin)
        ada = await served.sign_in(ADA)
        answer = await ada.client.get(origin + "/events")
        told = told_by(answer)
        assert (await anext(told))[0] == "hello"

        async def read() -> None:
            ended.set_result([event async for event in told])

        reading = asyncio.create_task(read())
    assert await ended == []
    await reading
    await ada.client.close()


async def test_ones_own_job_is_cancelled_and_anothers_is_not(
    house: House, served: Served, ada: Browser
) -> None:
    house.executor.gate.clear()
    mine = await imagined(house)
    await house.executor.begun.wait()
    theirs = await imagined(house, BOB)
    await ada.get("/pictures")
    page = await ada.post(f"/jobs/{theirs.id}/cancel")
    assert page.status == 404
    answer = await ada.post(
        f"/jobs/{mine.id}/cancel",
        headers={"Origin": ada.origin, "Accept": "application/json"},
    )
    assert json.loads(answer.text) == {"said": EN.cancel_asked.format(job=mine.id)}
    assert (await finished(served, mine.id)).status == "cancelled"
    assert (await house.storage.jobs.get(theirs.id)).status != "cancelled"
