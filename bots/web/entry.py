"""Signing in and out, the account page, and the choice of a language."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from bots.texts import LANGUAGES
from bots.web.errors import Refused
from bots.web.guard import local_path
from bots.web.request import HOME, Request, Route, see_other
from bots.web.sessions import LANGUAGE, YEAR


async def home(request: Request) -> web.StreamResponse:
    """Lead to the first page, or say how to sign in."""
    if request.session:
        return see_other(HOME)
    return request.render("sign_in.html", written=[])


async def account(request: Request) -> web.StreamResponse:
    """Show who is signed in, with buttons to sign out."""
    return request.render("account.html")


async def offer(request: Request) -> web.StreamResponse:
    """Show a link's button; the programs of a chat that look at links press none."""
    link = await request.app.storage.web_access.link(request.http.match_info["token"])
    if link is None:
        raise Refused(410, "link_used")
    return request.render("enter.html", link=link)


async def enter(request: Request) -> web.StreamResponse:
    """Spend a link: open a session, end the one before, and go where the link leads."""
    access = request.app.storage.web_access
    spent = await access.spend(request.http.match_info["token"])
    if spent is None:
        raise Refused(410, "link_used")
    token, link = spent
    response = see_other(local_path(link.path))
    if request.session:
        await access.end(request.token)
    request.cookies.set(response, token)
    return response


async def leave(request: Request) -> web.StreamResponse:
    """End the session; or all of the person's, on whatever device."""
    access = request.app.storage.web_access
    if (await request.form()).get("everywhere"):
        await access.end_all(request.person)
    else:
        await access.end(request.token)
    response = see_other("/")
    request.cookies.clear(response)
    return response


async def choose_language(request: Request) -> web.StreamResponse:
    """Keep the chosen language in the browser, and go back."""
    form = await request.form()
    response, chosen = see_other(local_path(form.get("back"))), form.get("language")
    if chosen in LANGUAGES:
        secure = request.cookies.secure
        response.set_cookie(
            LANGUAGE, str(chosen), max_age=YEAR, httponly=True, samesite="Lax", secure=secure
        )
    return response


ROUTES: Final = (
    Route("GET", "/", home, public=True),
    Route("GET", "/account", account),
    Route("GET", "/in/{token}", offer, public=True),
    Route("POST", "/in/{token}", enter, public=True),
    Route("POST", "/out", leave),
    Route("POST", "/language", choose_language, public=True),
)
