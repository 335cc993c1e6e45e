"""Rules of places as forms: the owner's, and the moderators', which narrow them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from bots.admission.in_force import InForce
from bots.admission.roles import Role
from bots.admission.rulebook import (
    MEASURES,
    MODERATED,
    NAMED,
    OPEN,
    POLICY,
    PREFIX,
    RULES,
    Safety,
    write_rule,
)
from bots.chat.listings import rule_label, value_text
from bots.chat.moderation import change_rules, set_rules
from bots.web.engine_room.page import TABS, present_place, read_form, room_of, show, within
from bots.web.errors import NO_FAULT, Fault, fault_of
from bots.web.request import Request, Route, see_other
from engine.errors import UserError
from engine.recipe.prompt_tags import plain
from storage.people.people import Values
from storage.records import EVERYWHERE

PATH: Final = TABS["rules"][0]
FIELD, BEFORE = "rule.", "was."  # of a form: what is typed, and what the page showed
NO_NAME: Final = ","  # none of these names may be used: as it is typed
CLOSED: Final = "no"  # of the field `open`
PLACES: Final = 200  # that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A rule of a form: what stands there, the place's own text, the value in force there, and how
    one is written."""

    name: str
    label: str
    text: str
    own: str
    now: str
    example: str


async def rules(request: Request) -> web.StreamResponse:
    """Show the rules of a place, and a form that changes them."""
    owners = EVERYWHERE if request.role is Role.OWNER else ""
    typed = request.http.query.get("place", owners).strip()
    place = await present_place(request, typed) if typed else ""
    _check_place(request, place)
    return await _show(request, place)


async def _show(
    request: Request, place: str, form: Values | None = None, fault: Fault = NO_FAULT
) -> web.Response:
    """Return the page of a place; form: what somebody sent, of which a fault is said."""
    app = request.app
    line = await app.storage.people.line(place or EVERYWHERE)
    own, held = line[0].settings, app.gate.along(line)
    was_closed = own.get(OPEN) is False
    return show(
        request,
        "rules",
        status=fault.status,
        headers=fault.headers,
        sentence=fault.sentence,
        place=place,
        places=await app.storage.people.places_having((PREFIX, POLICY, f'{OPEN}"'), PLACES),
        fields=_fields(request, held, own, form or {}) if place else [],
        was_closed=was_closed,
        closed=form.get(OPEN) == CLOSED if form else was_closed,
        is_open=held.is_open,
        saved=request.http.query.get("saved"),
    )


def _fields(request: Request, held: InForce, own: Values, form: Values) -> list[Field]:
    words, is_owner = request.words, request.role is Role.OWNER
    names, prefix = (tuple(RULES), PREFIX) if is_owner else (MODERATED, POLICY)
    texts = {name: _text(name, own.get(prefix + name)) for name in names}
    return [
        Field(
            name=name,
            label=rule_label(name, words),
            text=form.get(FIELD + name, text),
            own=text,
            now=_now(name, held.rules.get(name), request),
            example=_example(name),
        )
        for name, text in texts.items()
    ]


def _now(name: str, value: object, request: Request) -> str:
    """Return a rule in force; 0 and an empty list of words are no limit."""
    if value is None or (not value and name not in NAMED):
        return room_of(request).no_rule
    return value_text(value, request.words)


def _example(name: str) -> str:
    """Return how a rule is written, where that is not plain."""
    if name in MEASURES:
        allowed = MEASURES[name].allowed
        return f"{plain(allowed.low)}-{plain(allowed.high)}"
    return " / ".join(Safety) if name == "safety" else ""


def _text(name: str, value: object) -> str:
    """Return a rule as it is typed; empty where the place has none of its own."""
    if value is None:
        return ""
    return write_rule(value) or (NO_NAME if name in NAMED else "")


def _check_place(request: Request, place: str) -> None:
    """Raise `UserError` for moderators who mean everywhere."""
    least = Role.OWNER if place == EVERYWHERE else Role.MODERATOR
    request.app.gate.roles.require(least, request.person)


async def change(request: Request) -> web.StreamResponse:
    """Change what somebody changed on the form, all of it or nothing, with the chats' checks.

    What is wrong is said above the form as it was sent.
    """
    app, form, by = request.app, await read_form(request), request.person
    place = await present_place(request, form.get("place", ""))
    _check_place(request, place)
    names = tuple(RULES) if request.role is Role.OWNER else MODERATED
    typed = {
        name: form[FIELD + name]
        for name in names
        if form.get(FIELD + name, "") != form.get(BEFORE + name, "")
    }
    is_open = None
    if form.get(OPEN, "") != form.get(BEFORE + OPEN, ""):
        is_open = form.get(OPEN) != CLOSED
    store = set_rules if request.role is Role.OWNER else change_rules
    try:
        await store(app, place, typed, is_open, by=by)
    except UserError as error:
        fault = fault_of(error, request.words, request.web_words)
        return await _show(request, place, form, fault)
    return see_other(within(PATH, place=place, saved="1"))


ROUTES: Final = (
    Route("GET", PATH, rules, least=Role.MODERATOR),
    Route("POST", PATH, change, least=Role.MODERATOR),
)
