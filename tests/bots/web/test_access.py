"""Who may see and end which picture on the web page: every row of the table, by every address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest

from bots.chat.access import Purpose
from bots.chat.actions import ACTIONS, Action
from bots.texts import EN, say
from bots.web.site import ROUTES
from engine.sentences import Sentence
from storage import Job
from tests.bots.access_table import ASKER, MARBLES, MEMBER, MODERATOR, OWNER, PATHS, STRANGER, WEB
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, Browser, Served
from tests.bots.web.conftest import OWNER as OWEN
from tests.bots.web.test_pictures import drawn

PERSON: Final = {
    ASKER: ADA,
    f"{ASKER}, banned everywhere": ADA,
    MEMBER: "discord:3",
    MODERATOR: "discord:4",
    STRANGER: "telegram:5",
    MARBLES: "discord:8",
    OWNER: OWEN,
}
PLACES: Final = ("discord:50/60", "telegram:1", f"web:{ADA}")
COLUMN: Final = {
    Purpose.POST: "show",
    Purpose.SEND: "file",
    Purpose.TELL: "recipe",
    Purpose.DRAW: "draw",
    Purpose.END: "end",
}
FIELDS: Final[Mapping[str, dict[str, str]]] = {
    "change": {"steps": "5"},
    "edit": {"words": "make it bronze"},
    "blend": {"others": "2"},
    "region": {"tool": "extend", "left": "8", "words": "a cat by the sea"},
}
NOBODYS: Final = 99999
BANNED: Final = "You may not request pictures here"
FINE: Final = ("alone", "yes")


def expected(who: str, column: str) -> str:
    return dict(zip(PATHS, WEB[who].split(), strict=True))[column]


async def came(browser: Browser, number: int, method: str, path: str, **fields: str) -> str:
    """Ask for something of a job, and say what came of it as the table does."""
    headers = {"Origin": browser.origin, "Accept": "application/json"}
    sent: dict[str, Any] = {"headers": headers, "allow_redirects": False}
    if method == "POST":
        assert browser.page
        sent["data"] = {"csrf": browser.page.csrf, **fields}
    url = browser.origin + path.format(n=number)
    async with browser.client.request(method, url, **sent) as answer:
        text = await answer.text(errors="replace")
    if answer.status == 404:
        assert say(Sentence("unseen_picture", name=str(number)), EN) in text
        return "no"
    if answer.status >= 400 and (BANNED in text or say(Sentence("not_yours"), EN) in text):
        return "refused"
    return "done"


def address(name: str, action: Action) -> tuple[str, str]:
    """Return how an action is asked for on the page."""
    if name == "recipe":
        return "GET", "/pictures/{n}"
    if name == "original":
        return "GET", "/originals/{n}.png"
    if name == "region":
        return "POST", "/brush/{n}"
    if name == "cancel":
        return "POST", "/jobs/{n}/cancel"
    return "POST", f"/pictures/{{n}}/{action.web}"


async def scene(house: House, served: Served, who: str, place: str) -> tuple[Job, Browser]:
    """Return a picture that Ada asked for in a place, and somebody's browser."""
    job = await drawn(house, "a secret", place=place)
    await drawn(house, "one to blend with", person=PERSON[who])
    if who.endswith("banned everywhere"):
        await house.storage.moderation.ban(ADA, by=OWEN, reason="rude")
    return job, await served.sign_in(PERSON[who])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("who", WEB)
async def test_every_action_and_every_file_by_everybody(
    who: str, place: str, house: House, served: Served
) -> None:
    job, browser = await scene(house, served, who, place)
    asked = {
        name: (*address(name, action), COLUMN[action.purpose], FIELDS.get(name, {}))
        for name, action in ACTIONS.items()
        if action.web
    }
    asked |= {
        "thumbnail": ("GET", "/thumbnails/{n}.webp", "show", {}),
        "cards": ("GET", "/jobs/{n}/cards", "show", {}),
        "start": ("GET", "/imagine?from={n}", "draw", {}),
        "like": ("GET", "/pictures?like={n}", "like", {}),
        "making_of page": ("GET", "/pictures/{n}/making-of", "recipe", {}),
    }
    wrong = []
    for name, (method, path, column, fields) in asked.items():
        of_nobody = await came(browser, NOBODYS, method, path, **fields)
        assert of_nobody == "no", name
        found, wanted = await came(browser, job.id, method, path, **fields), expected(who, column)
        if name == "delete" and PERSON[who] != ADA and wanted == "yes":
            wanted = "refused"  # nobody deletes another's for good
        if name == "describe" and wanted == "alone" and "banned" in who:
            wanted = "refused"  # it takes about as long as a picture
        if name == "start" and wanted == "refused":
            wanted = "alone"  # the form; what it asks for is refused
        if found != ("done" if wanted in FINE else wanted):
            wrong.append((name, found, wanted))
    assert wrong == []


async def test_no_page_shows_a_word_of_what_may_not_be_seen(house: House, served: Served) -> None:
    await drawn(house, "a secret")
    await house.storage.favourites.add(PERSON[STRANGER], 1, 0)
    browser = await served.sign_in(PERSON[STRANGER])
    for path in (
        "/pictures",
        "/pictures?q=secret",
        "/pictures?favourites=1",
        "/events?once&jobs=1",
    ):
        assert "secret" not in (await browser.get(path)).text.replace("q=secret", "").replace(
            'value="secret"', ""
        )
    for path in ("/pictures/1", "/pictures/1.1", "/jobs/1/cards"):
        page = await browser.get(path)
        assert (page.status, "secret" in page.text) == (404, False)


def test_nothing_of_pictures_is_public() -> None:
    public = {route.path for route in ROUTES if route.public}
    assert public == {"/", "/in/{token}", "/language", "/mini"}
