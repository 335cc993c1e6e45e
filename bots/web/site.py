"""All pages as one application: who asks, whether they may, what is answered when it fails."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bots.admission.roles import Role
from bots.operations.machine import Gpus
from bots.service.app import App
from bots.service.front_door import Handler
from bots.web import (
    brush,
    engine_room,
    entry,
    gallery,
    imagine,
    live,
    mini_app,
    picture,
    picture_actions,
    picture_files,
)
from bots.web.engine_room.devices import GPUS
from bots.web.errors import Refused, fault_of, too_large
from bots.web.guard import (
    CHANGES,
    CSRF_FIELD,
    CSRF_HEADER,
    GUESSES,
    READS,
    Rates,
    check_csrf,
    check_origin,
    client_of,
)
from bots.web.live import STREAMS, Streams
from bots.web.picture_files import MAKER, ThumbnailMaker
from bots.web.request import FIELDS, SLOW, SMALL, Request, Route, chosen_language
from bots.web.sessions import LANGUAGE, Cookies
from bots.web.static_files import StaticFiles
from bots.web.written import read_written

TEMPLATES: Final = Path(__file__).with_name("templates")
READING: Final = ("GET", "HEAD")
SLOW_READS: Final = 2  # at once, of the four that a database answers; the chats need some, too
METRICS: Final = "/metrics"  # on this port for owners alone
TELEGRAM: Final = "https://web.telegram.org https://*.telegram.org"  # shows pages within its own
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
)
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    # Links hold tokens, which no other site is told. "no-referrer" would leave `Origin` out, too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
REQUEST: Final = web.RequestKey("marble", Request)


async def metrics(request: Request) -> web.StreamResponse:
    """Answer with Prometheus' text, while it is measured."""
    if (handler := request.app.front_door.paths.get(METRICS)) is None:
        raise web.HTTPNotFound
    return await handler(request.http)


ROUTES: Final = (
    *entry.ROUTES,
    *mini_app.ROUTES,
    *gallery.ROUTES,
    *picture.ROUTES,
    *picture_actions.ROUTES,
    *picture_files.ROUTES,
    *imagine.ROUTES,
    *brush.ROUTES,
    *live.ROUTES,
    *engine_room.ROUTES,
    Route("GET", METRICS, metrics, least=Role.OWNER),
)
PAGES: Final = frozenset(route.path for route in ROUTES if route.method == "GET")


class Site:
    """The pages of one process; origin: what people's browsers call it."""

    def __init__(self, app: App, origin: str) -> None:
        self.app = app
        self.origin = origin
        self.cookies = Cookies(origin.startswith("https:"))
        self.static = StaticFiles()
        self.templates = make_templates(self.static)
        self.rates = Rates()

    def application(self) -> web.Application:
        """Return what serves all of it."""
        site = web.Application(middlewares=[self._answer])
        for route in ROUTES:
            handler = partial(self._handle, route)
            if route.method == "GET":
                site.router.add_get(route.path, handler, allow_head=route.head)
            else:
                site.router.add_route(route.method, route.path, handler)
        site.router.add_get("/static/{name:.+}", self.static.serve)
        site[MAKER], site[STREAMS], site[GPUS] = ThumbnailMaker(), Streams(), Gpus()
        site[SLOW] = asyncio.Semaphore(SLOW_READS)
        site.on_shutdown.append(site[STREAMS].close)
        site.on_cleanup.append(site[MAKER].close)
        site.on_response_prepare.append(_add_headers)
        return site

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Find out who asks, and answer with a page whatever goes wrong."""
        other = self.app.front_door.paths.get(request.path)
        if other and request.path != METRICS:
            return await other(request)
        ours = request[REQUEST] = self._read(request)
        try:
            await self._recognise(ours)
            return await handler(request)
        except web.HTTPRedirection:
            raise
        except Exception as error:
            return explain(ours, error, await self._read_written(ours))

    async def _read_written(self, request: Request) -> list[tuple[str, str]]:
        """Return what a person wrote into the form of a request, if a page of Marble's has it."""
        if request.http.method in READING or request.wants_json:
            return []
        try:
            check_origin(request.http.headers, self.origin, needed=True)
            return await read_written(request)
        except Refused:
            return []
        finally:
            request.close_files()

    def _read(self, http: web.Request) -> Request:
        token, embedded = self.cookies.read(http)
        accepted = http.headers.get("Accept-Language")
        return Request(
            http=http,
            app=self.app,
            templates=self.templates,
            cookies=self.cookies,
            language=chosen_language(http.cookies.get(LANGUAGE), accepted),
            client=client_of(http.remote, http.headers.get("X-Forwarded-For")),
            token=token,
            embedded=embedded,
            page=http.path_qs if http.method in READING else "/",
        )

    async def _recognise(self, request: Request) -> None:
        """Look up the session; raises `Refused` for who shows too many that are not there."""
        if not request.token or request.http.path.startswith("/static/"):
            return
        await request.recognise()
        if request.session is None:
            self.rates.count_once((request.client, hash(request.token)), request.client, GUESSES)

    async def _handle(self, route: Route, http: web.Request) -> web.StreamResponse:
        """Let a route answer where its asker may have it; raises `Refused` or `UserError`."""
        request = http[REQUEST]
        largest = route.largest if http.content_type.startswith("multipart/") else SMALL
        request.http = http = http.clone(client_max_size=largest, client_max_fields=FIELDS)
        if http.method not in READING:
            request.page = page_of(route.path, str(http.rel_url))
        request.takes_grant = route.granted
        if (http.content_length or 0) > largest:
            raise too_large(largest)
        if route.public and ("token" in http.match_info or http.method not in READING):
            self.rates.count(request.client, GUESSES)
        if not route.public:
            if request.session is None:
                raise Refused(401, "not_signed_in")
            self.app.gate.roles.require(route.least, request.person)
            if http.method in READING:
                self.rates.count((request.token, "read"), READS)
        try:
            if http.method not in READING:
                await self._check_change(request)
            return await route.handler(request)
        except web.HTTPRequestEntityTooLarge as error:
            raise too_large(largest) from error
        finally:
            request.close_files()

    async def _check_change(self, request: Request) -> None:
        """Raise `Refused` unless one of Marble's own pages asks for a change, and not too often."""
        http = request.http
        check_origin(http.headers, self.origin, needed=request.session is None)
        if request.session is None:
            return
        self.rates.count(request.token, CHANGES)
        given = http.headers.get(CSRF_HEADER) or (await request.form()).get(CSRF_FIELD)
        check_csrf(given, request.token)


def page_of(route: str, address: str) -> str:
    """Return the page that has the form which is sent to an address: the nearest one above it.

    route: the address with names in place of what varies, `/pictures/{name}/{action}`.
    """
    nearest = route
    while nearest not in PAGES:
        nearest = nearest.rpartition("/")[0] or "/"
    if nearest in (route, "/"):
        return address if nearest == route else nearest
    return "/".join(address.partition("?")[0].split("/")[: nearest.count("/") + 1])


def make_templates(static: StaticFiles) -> Environment:
    """Return the templates, compiled: what a person wrote is text in them, never markup."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    templates.globals |= {"static": static.url, "nonce": partial(secrets.token_urlsafe, 16)}
    for name in templates.list_templates():
        templates.get_template(name)
    return templates


def explain(
    request: Request, error: Exception, written: Sequence[tuple[str, str]] = ()
) -> web.Response:
    """Return what is answered to an error: a page, or JSON for a script.

    written: what stood in the form that was sent.
    """
    fault = fault_of(error, request.words, request.web_words)
    status, headers, sentence = fault.status, fault.headers, fault.sentence
    if request.wants_json:
        response = web.json_response({"error": sentence}, status=status, headers=headers)
    else:
        template = "sign_in.html" if status == 401 else "error.html"
        response = request.render(
            template, status=status, headers=headers, sentence=sentence, written=written
        )
    if status == 401 and request.token:  # it has ended
        request.cookies.clear(response)
    return response


async def _add_headers(http: web.Request, response: web.StreamResponse) -> None:
    request = http.get(REQUEST)
    ancestors = TELEGRAM if request and request.embedded else "'none'"
    policy = response.headers.get("Content-Security-Policy", POLICY)
    response.headers["Content-Security-Policy"] = policy.format(ancestors=ancestors)
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.pop("Server", None)
