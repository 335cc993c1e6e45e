"""What goes wrong on the way: a database that is away, an upload that breaks off, a port in use."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData, web

from bots.service.app import App
from bots.service.front_door import listening
from bots.service.kept import KeptAdapter
from bots.service.serve import make_adapters
from bots.texts import web_words_of, words_of
from bots.web.adapter import Web
from bots.web.request import FIELDS, Request
from bots.web.site import explain
from engine.errors import UserError
from engine.formats.metadata import write_png
from storage.errors import DatabaseBusy
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, OWNER, Browser, Served, read
from tests.bots.web.test_pictures import drawn
from tests.conftest import PATIENCE
from tests.factories import make_recipe, pixels

EN, ZH = web_words_of("en"), words_of("zh")


async def test_a_database_that_is_away_is_one_sentence_and_worth_another_try(
    served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object, **__: object) -> None:
        raise DatabaseBusy("marble.db")

    with monkeypatch.context() as away:
        away.setattr(type(served.app.storage.database), "read", busy)
        page = await ada.get("/account")
        assert (page.status, page.headers["Retry-After"]) == (503, "5")
        assert words_of("en").busy in page.words
        script = await ada.get(
            "/account", headers={"Accept": "application/json", "Accept-Language": "zh"}
        )
        assert (script.status, json.loads(script.text)) == (503, {"error": ZH.busy})
    assert (await ada.get("/account")).status == 200


@pytest.mark.parametrize(
    ("path", "field"),
    [("/imagine", "prompt"), ("/brush/1", "words"), ("/pictures/1/change", "prompt")],
)
async def test_a_form_keeps_its_words_while_the_database_takes_nothing(
    house: House,
    served: Served,
    ada: Browser,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    field: str,
) -> None:
    await drawn(house)

    async def busy(*_: object, **__: object) -> None:
        raise DatabaseBusy("/secret/marble.db")

    monkeypatch.setattr(type(served.app.storage.database), "write", busy)
    margin = {"tool": "extend", "left": "64"}
    page = await ada.post(path, {**margin, field: "an owl of marble"})
    assert (page.status, page.headers["Retry-After"]) == (503, "5")
    assert words_of("en").busy in page.words
    assert "an owl of marble" in page.words
    assert "/secret" not in page.text


MULTIPART = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="x"\r\n'
BODIES = [
    ("application/x-www-form-urlencoded", b"x=\xff\xfe"),
    ("application/x-www-form-urlencoded; charset=foo", b"x=1"),
    ("application/x-www-form-urlencoded; charset=utf-16", b"x=1"),
    ("multipart/form-data", PART + b"\r\n1\r\n--b--\r\n"),
    ("multipart/form-data; boundary=", PART + b"\r\n1\r\n--b--\r\n"),
    (MULTIPART, b"no part at all"),
    (MULTIPART, PART + b"\r\n1"),
    (MULTIPART, PART + b"\r\n\xff\r\n--b--\r\n"),
    (MULTIPART, b"--b\r\nContent-Type: text/plain\r\n\r\n1\r\n--b--\r\n"),
    (MULTIPART, PART + b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--\r\n"),
    (MULTIPART, PART + b"Content-Transfer-Encoding: foo\r\n\r\n1\r\n--b--\r\n"),
    (MULTIPART, PART + b"Content-Type: text/plain; charset=foo\r\n\r\n1\r\n--b--\r\n"),
]


@pytest.mark.parametrize(("kind", "body"), BODIES, ids=range(len(BODIES)))
async def test_a_body_that_is_no_form_is_a_bad_request_and_not_logged(
    ada: Browser, caplog: pytest.LogCaptureFixture, kind: str, body: bytes
) -> None:
    headers = {"Origin": ada.origin, "Content-Type": kind}
    async with ada.client.post(ada.origin + "/out", data=body, headers=headers) as answer:
        page = await read(answer)
    assert (page.status, EN.bad_request in page.words) == (400, True)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (await ada.get("/account")).status == 200  # nobody was signed out


async def test_a_body_that_is_not_compressed_as_it_says_is_a_bad_request(
    ada: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Origin": ada.origin, "Content-Encoding": "gzip"}
    headers |= {"Content-Type": "application/x-www-form-urlencoded"}
    async with ada.client.post(ada.origin + "/out", data=b"csrf=1", headers=headers) as answer:
        page = await read(answer)
    assert (page.status, EN.bad_request in page.words) == (400, True)
    assert "a page failed" not in caplog.text  # the server itself logs what it cannot unpack


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
    ],
    ids=["a header with a zero", "a long address", "no header", "TLS"],
)
async def test_what_is_no_request_is_refused_and_not_logged(
    served: Served, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.app.settings.web_port)
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split(b" ", 2)[1] == b"400"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_fault_that_nobody_expected_is_one_sentence_and_stands_in_the_log(
    served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("inner words")

    monkeypatch.setattr(type(served.app.storage.web_access), "end", broken)
    with caplog.at_level(logging.ERROR, "bots.web"):
        page = await ada.post("/out")
    assert (page.status, EN.broken in page.words) == (500, True)
    assert "inner words" not in page.text
    assert "inner words" in caplog.text


async def test_a_tab_that_is_closed_in_mid_upload_leaves_nothing(
    served: Served,
    ada: Browser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert ada.page
    statuses: asyncio.Queue[int] = asyncio.Queue()

    def spy(request: Request, error: Exception, *more: Any) -> web.Response:
        answer = explain(request, error, *more)
        statuses.put_nowait(answer.status)
        return answer

    monkeypatch.setattr("bots.web.site.explain", spy)
    folder = served.app.settings.data_dir
    [(name, token)], before = ada.cookies.items(), files_in(folder)
    fields = {"csrf": ada.page.csrf, "prompt": "a cat"}
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    )
    file = 'name="image"; filename="a.png"\r\nContent-Type: image/png'
    with caplog.at_level(logging.INFO):
        _, writer = await asyncio.open_connection("127.0.0.1", served.app.settings.web_port)
        writer.write(
            f"POST /imagine HTTP/1.1\r\nHost: x\r\nCookie: {name}={token}\r\n"
            f"Origin: {served.origin}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: 100000\r\n\r\n{parts}"
            f"--x\r\nContent-Disposition: form-data; {file}\r\n\r\n".encode()
            + write_png(pixels(3, 64, 64), make_recipe(), 0)[:500]
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(PATIENCE):
            assert await statuses.get() == 400
    assert files_in(folder) == before
    assert not await served.app.storage.history.page(person=ADA)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def files_in(folder: Path) -> set[Path]:
    """Return the files below a folder, but for the database's own."""
    return {path for path in folder.rglob("*") if path.is_file() and "marble.db" not in path.name}


async def test_more_than_was_announced_is_refused(served: Served, ada: Browser) -> None:
    """Sent in chunks, whose length no header tells."""

    async def chunks() -> object:
        yield b"csrf="
        for _ in range(200):
            yield b"x" * 1000

    headers = {"Origin": ada.origin, "Content-Type": "application/x-www-form-urlencoded"}
    async with ada.client.post(ada.origin + "/out", data=chunks(), headers=headers) as answer:
        assert answer.status == 413
    assert (await ada.get("/account")).status == 200


@pytest.mark.parametrize("is_multipart", [True, False], ids=["multipart", "urlencoded"])
async def test_a_form_holds_so_many_fields(ada: Browser, is_multipart: bool) -> None:
    assert ada.page
    for count, status in ((FIELDS, 303), (FIELDS + 1, 413)):
        form = FormData({"csrf": ada.page.csrf}, default_to_multipart=is_multipart)
        for number in range(count - 1):
            form.add_field(str(number), "1")
        headers, url = {"Origin": ada.origin}, ada.origin + "/language"
        asked = ada.client.post(url, data=form, headers=headers, allow_redirects=False)
        async with asked as answer:
            assert answer.status == status


async def test_the_longest_form_is_within_what_a_form_holds(served: Served) -> None:
    owner = await served.sign_in(OWNER)
    page = await owner.get("/engine/rules?place=*")
    assert FIELDS / 4 < page.text.count(' name="') < FIELDS


async def reached(port: int) -> bool:
    """Return whether something listens at a port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_the_adapter_serves_until_it_is_told_to_stop(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters = {adapter.name: adapter for adapter in make_adapters(app)}
    adapter, port = adapters["web"], app.settings.web_port
    assert isinstance(adapter, Web)
    assert isinstance(adapters["terminal"], KeptAdapter)
    begun, start = asyncio.Event(), web.TCPSite.start

    async def told(site: web.TCPSite) -> None:
        await start(site)
        begun.set()

    monkeypatch.setattr(web.TCPSite, "start", told)
    running = asyncio.create_task(adapter.run())
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        assert await reached(port)
        assert not running.done()
        adapter.stop_intake()
        await running
    assert not await reached(port)


async def test_a_port_in_use_is_named_with_its_setting(app: App) -> None:
    port = app.settings.web_port
    async with listening(web.Application(), "127.0.0.1", port, "MARBLE_METRICS_PORT"):
        with pytest.raises(UserError, match="choose another MARBLE_WEB_PORT"):
            await Web(app).run()
