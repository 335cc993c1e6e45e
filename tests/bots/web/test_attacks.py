"""Attacks on the page: each is answered with a sentence, and nothing is changed or shown."""

from __future__ import annotations

import asyncio
import re
import secrets
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar, FormData, web

from bots.service.app import App
from bots.service.front_door import listening
from bots.texts import web_words_of
from bots.web.guard import CHANGES, GUESSES, client_of, csrf_of, local_path
from bots.web.request import LONGEST, place_of
from bots.web.sessions import Cookies
from bots.web.site import ROUTES, Site
from bots.web.static_files import FOLDER
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, BOB, Browser, Served
from tests.bots.web.test_pictures import drawn

EN = web_words_of("en")
SAME = "same-origin"


async def alive(served: Served, browser: Browser) -> bool:
    return (await browser.get("/account")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": SAME},
    ],
)
async def test_no_other_page_makes_a_change_though_it_knew_the_token(
    served: Served, ada: Browser, headers: dict[str, str]
) -> None:
    page = await ada.post("/out", headers=headers)
    sentence = EN.forged.format(address=served.origin)
    assert (page.status, sentence in page.words) == (403, True)
    assert await alive(served, ada)


@pytest.mark.parametrize("given", ["", "x", "\u00e9", "0" * 64, csrf_of("another session")])
async def test_no_form_without_the_sessions_token_makes_a_change(
    served: Served, ada: Browser, given: str
) -> None:
    page = await ada.post("/out", {"csrf": given})
    assert (page.status, EN.form_ended in page.words) == (403, True)
    bob = await served.sign_in(BOB)
    assert bob.page
    assert (await ada.post("/out", {"csrf": bob.page.csrf})).status == 403
    assert await alive(served, ada)


def filled(path: str) -> str:
    """Return an address of a route: each of its parts names a picture."""
    return re.sub(r"{.*?}", "1", path)


async def test_no_page_but_the_public_ones_answers_a_stranger(served: Served) -> None:
    stranger = served.browser()
    closed = [route for route in ROUTES if not route.public]
    assert closed
    for route in closed:
        ask = stranger.get if route.method == "GET" else stranger.post
        page = await ask(filled(route.path))
        assert page.status == 401, route.path
        assert EN.sign_in_how in page.words, route.path


async def test_every_change_needs_the_sessions_token(
    served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.web.site.CHANGES", 1000)
    changes = [route for route in ROUTES if route.method != "GET" and route.least < 2]
    assert changes
    for route in changes:
        page = await ada.post(filled(route.path), {"csrf": "0" * 64})
        assert (page.status, EN.form_ended in page.words) == (403, True), route.path
    assert await alive(served, ada)


async def test_nobody_is_signed_in_by_another_page(served: Served) -> None:
    """An attacker's own link, sent by a form of theirs, would make a victim draw as them."""
    path = f"/in/{await served.app.storage.web_access.make_link(BOB)}"
    victim = served.browser()
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        assert (await victim.post(path, headers=headers)).status == 403
    assert not victim.cookies
    assert (await victim.post(path)).status == 200  # it is not spent


async def test_nothing_is_changed_by_looking(served: Served, ada: Browser) -> None:
    changes = {route.path for route in ROUTES if route.method != "GET"}
    for path in changes - {route.path for route in ROUTES if route.method == "GET"}:
        assert (await ada.get(filled(path))).status in (404, 405)
    assert await alive(served, ada)


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\r\nSet-Cookie: a=b",
        "/a\tb",
        "javascript:alert(1)",
        "evil",
        "",
        None,
        "/\u00e9",
    ],
)
async def test_no_way_leads_off_the_site(served: Served, ada: Browser, to: str | None) -> None:
    assert local_path(to) == "/"
    link = f"/in/{await served.app.storage.web_access.make_link(ADA, to or '')}"
    for answer in (
        await ada.post("/language", {"language": "en", "back": to or ""}, allow_redirects=False),
        await served.browser().post(link, allow_redirects=False),
    ):
        assert (answer.status, answer.headers["Location"]) == (303, "/")


def test_a_path_of_the_site_is_kept() -> None:
    assert local_path("/brush/12.3?from=abc_-") == "/brush/12.3?from=abc_-"


@pytest.mark.parametrize("value", ["zh\r\nSet-Cookie: a=b", "zh; Domain=evil.example", "<b>"])
async def test_no_header_is_written_by_what_is_sent(ada: Browser, value: str) -> None:
    page = await ada.post("/language", {"language": value, "back": "/"}, allow_redirects=False)
    assert (page.status, page.headers.getall("Set-Cookie", [])) == (303, [])


async def test_a_style_that_a_browser_keeps_is_sent_once(served: Served) -> None:
    stranger = served.browser()
    tag = (await stranger.get("/static/marble.css")).headers["ETag"]
    for known, status in ((tag, 304), ('"another"', 200)):
        page = await stranger.get("/static/marble.css", headers={"If-None-Match": known})
        assert (page.status, page.headers["ETag"], bool(page.text)) == (status, tag, status == 200)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../site.py",
        "/static/..%2fsite.py",
        "/static/%2e%2e/site.py",
        "/static/..%5csite.py",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/marble.css%00.js",
        "/static/",
        "/templates/base.html",
    ],
)
async def test_only_the_static_files_are_served(served: Served, path: str) -> None:
    """Written as it is: a client of HTTP would tidy the path up."""
    host, port = "127.0.0.1", served.app.settings.web_port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] in (b"404", b"400")
    assert b"class Site" not in answer
    assert b"root:" not in answer


async def test_a_session_is_never_one_that_was_brought_along(served: Served) -> None:
    fixed = secrets.token_urlsafe(32)
    name = Cookies(secure=False).name()
    jar = CookieJar(unsafe=True)
    jar.update_cookies({name: fixed})
    browser = Browser(served.origin, ClientSession(cookie_jar=jar))
    served.clients.append(browser.client)
    assert (await browser.get("/account")).status == 401
    await browser.post(f"/in/{await served.app.storage.web_access.make_link(ADA)}")
    assert browser.cookies[name] != fixed
    assert await served.app.storage.web_access.signed_in(fixed, place_of) is None


async def test_links_and_sessions_cannot_be_guessed_fast(served: Served, ada: Browser) -> None:
    for guess in ("link", "session"):
        client = ClientSession(headers={"X-Forwarded-For": f"192.0.2.{len(guess)}"})
        stranger = Browser(served.origin, client)
        served.clients.append(client)

        async def one(stranger: Browser = stranger, guess: str = guess) -> int:
            token = secrets.token_urlsafe(32)
            if guess == "link":
                return (await stranger.get(f"/in/{token}")).status
            return (await stranger.get("/account", cookies={"marble": token})).status

        answers = [await one() for _ in range(GUESSES + 5)]
        usual = 410 if guess == "link" else 401
        assert answers[:GUESSES] == [usual] * GUESSES
        assert answers[-1] == 429
    assert await alive(served, ada)  # others are let in meanwhile


async def test_a_session_changes_only_so_much_in_a_minute(served: Served, ada: Browser) -> None:
    form = {"language": "en", "back": "/"}
    answers = [await ada.post("/language", form, allow_redirects=False) for _ in range(CHANGES + 5)]
    assert answers[0].status == 303
    assert (answers[-1].status, EN.too_many in answers[-1].words) == (429, True)
    assert int(answers[-1].headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("8.8.8.8", "10.0.0.1", "8.8.8.8"),  # a stranger says what they like
        ("127.0.0.1", "1.1.1.1, 9.9.9.9", "9.9.9.9"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        (None, "1.1.1.1", ""),
    ],
)
def test_whose_request_it_is(remote: str | None, forwarded: str | None, client: str) -> None:
    assert client_of(remote, forwarded) == client


async def test_what_was_written_is_text_and_no_markup(served: Served) -> None:
    markup = "discord:<script>alert(1)</script>"
    page = (await served.sign_in(markup)).page
    assert page
    assert "<script" not in page.text.replace('<script type="module" src="/static/', "")
    assert "&lt;script&gt;" in page.text


async def test_every_answer_carries_the_headers_and_none_tells_the_software(
    served: Served, ada: Browser
) -> None:
    paths = ("/", "/account", "/nothing", "/in/x", "/static/marble.css", "/static/no", "/metrics")
    for path in paths:
        headers = (await ada.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), path
        assert policy.endswith("frame-ancestors 'none'"), path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "same-origin", path
        assert headers["Cross-Origin-Opener-Policy"] == SAME, path
        assert headers["Cross-Origin-Resource-Policy"] == SAME, path
        assert "Server" not in headers, path
        kept = "no-cache" if path == "/static/marble.css" else "no-store"
        assert headers["Cache-Control"] == kept, path


def test_templates_hold_no_script_and_no_style_of_their_own() -> None:
    templates = list(Path(FOLDER).with_name("templates").rglob("*.html"))
    assert any(each.parent.name == "engine_room" for each in templates)
    for template in templates:
        text = template.read_text(encoding="utf-8")
        scripts = text.count("<script")
        assert scripts == text.count('<script type="module" src="{{ static('), template
        assert " style=" not in text, template
        assert "<style" not in text, template
        assert "|safe" not in text.replace(" ", ""), template


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(app: App) -> None:
    origin, port = "https://marble.example", app.settings.web_port
    link = f"/in/{await app.storage.web_access.make_link(ADA)}"
    async with (
        listening(Site(app, origin).application(), "127.0.0.1", port, "MARBLE_WEB_PORT"),
        ClientSession(f"http://127.0.0.1:{port}") as client,
        client.post(link, headers={"Origin": origin}, allow_redirects=False) as answer,
    ):
        cookies = answer.headers.getall("Set-Cookie")
    [kept] = [each for each in cookies if "Max-Age=0" not in each]
    name, *attributes = re.split("; ", kept)
    assert re.fullmatch("__Host-marble=[A-Za-z0-9_-]{43}", name)
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} < set(attributes)
    assert "Domain" not in kept


async def test_within_telegram_the_cookie_is_kept_for_that_frame_alone() -> None:
    response = web.Response()
    Cookies(secure=True).set(response, "t", embedded=True)
    kept = next(each for each in response.headers.getall("Set-Cookie") if "-app=t;" in each)
    assert {"HttpOnly", "Secure", "SameSite=None", "Partitioned", "Path=/"} <= set(kept.split("; "))


async def test_a_large_form_is_refused_before_it_is_read(served: Served, ada: Browser) -> None:
    page = await ada.post("/language", {"language": "en", "back": "/" * 100_000})
    assert (page.status, EN.too_large.format(limit="64 KiB") in page.words) == (413, True)


async def test_a_method_that_a_page_does_not_have_is_answered_with_those_that_it_has(
    ada: Browser,
) -> None:
    page = await ada.get("/out")
    assert (page.status, page.headers["Allow"]) == (405, "POST")
    assert EN.no_page in page.words


async def test_metrics_are_for_owners_alone(served: Served, ada: Browser) -> None:
    async def scrape(http: object) -> web.StreamResponse:
        return web.Response(text="marble_jobs 1")

    with served.app.front_door.answering({"/metrics": scrape, "/livez": scrape}):
        assert (await served.browser().get("/metrics")).status == 401
        assert (await ada.get("/metrics")).status == 403
        assert "marble_jobs" in (await (await served.sign_in("discord:9")).get("/metrics")).text
        assert (await served.browser().get("/livez")).status == 200
    assert (await served.browser().get("/livez")).status == 404


@pytest.mark.parametrize("path", ["/imagine", "/language"])
@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_a_field_that_is_too_long_is_refused_before_it_is_understood(
    ada: Browser, path: str, kind: str
) -> None:
    assert ada.page
    fields = {"csrf": ada.page.csrf, "prompt": "a" * (LONGEST + 1)}
    data = FormData(fields, default_to_multipart=kind == "multipart")
    headers = {"Origin": ada.origin}
    async with ada.client.post(ada.origin + path, data=data, headers=headers) as answer:
        assert (answer.status, EN.too_large.format(limit="16 KiB") in await answer.text()) == (
            413,
            True,
        )


async def test_only_a_form_with_files_may_be_large(served: Served, ada: Browser) -> None:
    fields = {f"field{number}": "a" * 10_000 for number in range(8)}
    page = await ada.post("/imagine", fields)
    assert (page.status, EN.too_large.format(limit="64 KiB") in page.words) == (413, True)


async def test_nothing_is_read_and_made_for_who_asks_for_the_head_alone(
    house: House, served: Served, ada: Browser
) -> None:
    job = await drawn(house)
    for path in ("/events", f"/thumbnails/{job.id}.webp", f"/originals/{job.id}.png"):
        async with ada.client.head(ada.origin + path) as answer:
            assert answer.status == 405, path
    assert served.app.storage.pictures.thumbnails.get(job.pictures[0].sha256) is None
    async with ada.client.head(ada.origin + "/pictures") as answer:
        assert answer.status == 200


async def test_a_page_that_is_signed_out_counts_once_and_forgets_its_cookie(
    served: Served,
) -> None:
    """A list asks for sixty thumbnails at once, all with the same ended session."""
    client = ClientSession(headers={"X-Forwarded-For": "192.0.2.77"})
    served.clients.append(client)
    stale = Browser(served.origin, client)
    name, token = Cookies(secure=False).name(), secrets.token_urlsafe(32)
    for _ in range(GUESSES + 5):
        page = await stale.get("/thumbnails/1.webp", cookies={name: token})
        assert page.status == 401
        [kept] = [each for each in page.headers.getall("Set-Cookie") if each.startswith(f"{name}=")]
        assert "Max-Age=0" in kept
    link = f"/in/{await served.app.storage.web_access.make_link(ADA)}"
    assert (await stale.get(link)).status == 200


async def test_one_session_reads_so_much_in_a_minute(
    served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.web.site.READS", 3)
    bob = await served.sign_in(BOB)
    answers = [(await bob.get("/events?once&jobs=1-2-3")).status for _ in range(4)]
    assert (answers[0], answers[-1]) == (200, 429)
    assert await alive(served, ada)
