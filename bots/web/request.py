"""A request: who asks for a page, in which language; and what a route is."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Environment
from multidict import MultiDictProxy

from bots.admission.roles import Role
from bots.admission.visibility import View
from bots.chat.access import Relation, Target, Viewer
from bots.chat.actions import find
from bots.requests.derive import the_picture
from bots.requests.studio import Asker
from bots.service.app import App
from bots.texts import LANGUAGES, WebWords, Words, language_of, web_words_of, words_of
from bots.web.errors import too_large
from bots.web.guard import CSRF_FIELD, csrf_of
from bots.web.sessions import Cookies
from engine.errors import UserError
from engine.sentences import Sentence
from storage.records import Grant, Session, SignedIn

PLATFORM: Final = "web"
NONCE: Final = "nonce"  # a form's field, which tells that it was sent again
GRANT: Final = "grant"  # in addresses that a chat's button opens (`storage.people.web_access`)
LANGUAGE_NAMES: Final = {tag: web_words_of(tag).language_name for tag in LANGUAGES}
SMALL: Final = 64 * 2**10  # bytes of a form without files
LONGEST: Final = 16 * 2**10  # characters of a form's field
FIELDS: Final = 200  # of a form; that of the rules has two for each, and each takes a moment
# What the head of each page leads to: path, label (of `WebWords`), and who sees it.
NAVIGATION: Final = (
    ("/pictures", "pictures", Role.MEMBER),
    ("/imagine", "imagine", Role.MEMBER),
    ("/engine", "engine_room", Role.MODERATOR),
    ("/account", "account", Role.MEMBER),
)
# What aiohttp raises for bodies that are no form, whatever their headers say.
UNREADABLE: Final = (
    *(ValueError, LookupError, RuntimeError, AssertionError),
    web.RequestPayloadError,
)
# Held while the database looks through a lot of rows.
SLOW: Final = web.AppKey("slow", asyncio.Semaphore)
HOME: Final = NAVIGATION[0][0]


@dataclass(slots=True, kw_only=True)
class Request:
    """One request for a page; a `Requester` of `bots.chat.access`."""

    http: web.Request = field(repr=False)  # its path may hold a link's token
    app: App
    templates: Environment
    cookies: Cookies
    language: str
    client: str  # address of who asks
    token: str = field(default="", repr=False)  # of the session
    embedded: bool = False  # shown within Telegram
    page: str = "/"  # the address of the page itself, or of the one whose form was sent
    signed_in: SignedIn | None = None
    takes_grant: bool = False  # whether a grant in its address counts
    grant: Grant | None = None  # … by which the picture of its address was found
    grant_ended: bool = False  # … or that is no more, of a picture of their own
    files: list[web.FileField] = field(default_factory=list, repr=False)  # of the form
    event: str | None = None  # the same for a form that a browser sends again

    @property
    def words(self) -> Words:
        """Return the messages of all platforms in the reader's language."""
        return words_of(self.language)

    @property
    def web_words(self) -> WebWords:
        """Return the messages of the page in the reader's language."""
        return web_words_of(self.language)

    async def recognise(self) -> None:
        """Find the session of the token, and what applies to its person; raises `DatabaseFault`."""
        self.signed_in = await self.app.storage.web_access.signed_in(self.token, place_of)

    @property
    def session(self) -> Session | None:
        """Return the session; None where nobody is signed in."""
        return None if self.signed_in is None else self.signed_in.session

    @property
    def person(self) -> str:
        """Return who is signed in; only of routes that are not public."""
        assert self.signed_in is not None
        return self.signed_in.session.person

    @property
    def place(self) -> str:
        """Return the place of what they ask for on the page, where nobody else reads."""
        return place_of(self.person)

    @property
    def view(self) -> View:
        """Return how pictures may be shown to who is signed in."""
        assert self.signed_in is not None
        return self.app.gate.view_along(self.signed_in.line)

    def admit(self) -> None:
        """Raise `Refusal` for who may have no files and ask for nothing, as `Gate.admit` does."""
        assert self.signed_in is not None
        self.app.gate.decide(self.person, self.signed_in.ban, self.signed_in.line)

    @property
    def asker(self) -> Asker:
        """Return who asks, for the studio."""
        return Asker(person=self.person, place=self.place, event=self.event)

    @property
    def viewer(self) -> Viewer:
        """Return who asks and reads the answer."""
        return Viewer(person=self.person, place=self.place, in_private=True)

    @property
    def role(self) -> Role:
        """Return what they may do everywhere."""
        return self.app.gate.roles.of(self.person)

    def shares(self, place: str) -> bool:
        """Return whether a place is their own on the page."""
        return place == self.place

    async def relation(self, place: str) -> Relation:
        """Return that nothing is known of who sees a chat."""
        return Relation.PRIVATE

    async def find(self, action: str, name: str) -> Target:
        """Return the picture of a name for an action of `bots.chat.actions`; raises `UserError`.

        Where the route takes a grant, that shows the picture as the message does that it was made
        for, and no other. One's own is found without a grant, too.
        """
        grant = self.http.query.get(GRANT) if self.takes_grant else None
        if not grant:
            return await find(self.app, action, name, self)
        self.grant = await self.app.storage.web_access.granted(grant, self.person)
        message = self.grant.message if self.grant else None
        try:
            target = await find(self.app, action, name, self, message)
        except UserError:
            if self.grant:
                raise
            raise UserError(Sentence("grant_ended")) from None
        index = the_picture(target.job, target.picture).index
        if self.grant and (target.job.id, index) == (self.grant.job, self.grant.picture):
            return target
        self.grant, self.grant_ended = None, True
        if target.job.person != self.person:
            raise UserError(Sentence("grant_ended"))
        return target

    @property
    def grant_query(self) -> str:
        """Return the end of addresses that the same grant opens; empty where there is none."""
        return f"?{urlencode({GRANT: self.http.query[GRANT]})}" if self.grant else ""

    async def form(self) -> MultiDictProxy[Any]:
        """Return the fields of a form that was sent.

        Raises `HTTPBadRequest` where it is none, and `Refused` where a field is too long.
        """
        try:
            form = await self.http.post()
        except UNREADABLE as error:
            raise web.HTTPBadRequest from error
        self.files = [each for each in form.values() if isinstance(each, web.FileField)]
        if any(isinstance(each, str) and len(each) > LONGEST for each in form.values()):
            raise too_large(LONGEST)
        if form.get(NONCE) and not self.wants_json:  # a script knows what it sends
            self.event = self._event(form)
        return form

    def _event(self, form: MultiDictProxy[Any]) -> str:
        """Return the event of a form as it was filled in: one that was changed is another."""
        fields = [
            (name, each.filename if isinstance(each, web.FileField) else str(each))
            for name, each in form.items()
        ]
        sent = json.dumps([self.token, self.http.path, fields])
        return f"{PLATFORM}:{hashlib.sha256(sent.encode()).hexdigest()}"

    def close_files(self) -> None:
        """Remove what was kept of files of a form while it was read."""
        for each in self.files:
            each.file.close()

    @property
    def wants_json(self) -> bool:
        """Return whether a script asks, which reads JSON, and no person."""
        return "application/json" in self.http.headers.get("Accept", "")

    def render(
        self,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> web.Response:
        """Return a page; every template knows words, web_words and request, too."""
        text = self.templates.get_template(template).render(
            request=self,
            words=self.words,
            web_words=self.web_words,
            csrf=csrf_of(self.token) if self.session else "",
            csrf_field=CSRF_FIELD,
            navigation=self.navigation(),
            languages=LANGUAGE_NAMES,
            **facts,
        )
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)

    def navigation(self) -> list[tuple[str, str]]:
        """Return path and label of each page that the reader may open."""
        if self.session is None:
            return []
        return [
            (path, getattr(self.web_words, label))
            for path, label, least in NAVIGATION
            if self.role >= least
        ]


Handler = Callable[[Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """An address and its handler.

    public: it needs no session. least: the role that it needs. granted: a grant in the address
    counts, which a chat's button gave. largest: bytes of a body with files. head: it answers HEAD,
    too, for which all of its work is done.
    """

    method: str
    path: str
    handler: Handler
    public: bool = False
    least: Role = Role.MEMBER
    granted: bool = False
    largest: int = SMALL
    head: bool = True


def place_of(person: str) -> str:
    """Return the place of what somebody asks for on the page, where nobody else reads."""
    return f"{PLATFORM}:{person}"


def see_other(path: str) -> web.Response:
    """Return an answer that leads to another page."""
    return web.Response(status=303, headers={"Location": path})


def chosen_language(cookie: str | None, accepted: str | None) -> str:
    """Return the language of a cookie, or else of the header `Accept-Language`."""
    if cookie and cookie in LANGUAGES:
        return cookie
    weighed = []
    for at, part in enumerate((accepted or "")[:1000].split(",")):
        tag, _, weight = part.partition(";")
        try:
            weighed.append((-float(weight.strip().removeprefix("q=") or 1), at, tag.strip()))
        except ValueError:
            continue
    for _, _, tag in sorted(weighed):
        if tag.partition("-")[0].lower() in LANGUAGES:
            return language_of(tag)
    return language_of(None)
