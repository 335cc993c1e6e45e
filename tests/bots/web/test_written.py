"""What was written into a form that is not taken is shown again, for who wrote it alone."""

from __future__ import annotations

from html import escape

import pytest
from aiohttp import FormData

from bots.texts import web_words_of
from bots.web.request import LONGEST
from tests.bots.web.conftest import ADA, OWNER, Browser, Page, Served

WORDS = web_words_of("en")
MARKUP = "<b>a cat</b> in 100 boxes\nby the sea"


def filled(browser: Browser, **texts: str) -> FormData:
    """Return a form as a browser sends it, with a file before its later fields."""
    assert browser.page
    form = FormData({"csrf": browser.page.csrf, "nonce": "n" * 22, "prompt": MARKUP})
    form.add_field(
        "image", b"not looked at" * 10_000, filename="start.png", content_type="image/png"
    )
    for name, text in texts.items():
        form.add_field(name, text)
    return form


async def sent(browser: Browser, path: str, form: FormData, **headers: str) -> Page:
    added = {"Origin": browser.origin, "Sec-Fetch-Site": "same-origin", **headers}
    async with browser.client.post(browser.origin + path, data=form, headers=added) as answer:
        return Page(answer.status, await answer.text(), answer.headers, answer.url.path)


@pytest.mark.parametrize("scheme", ["multipart", "urlencoded"])
async def test_who_was_signed_out_meanwhile_finds_what_they_wrote(
    scheme: str, served: Served, ada: Browser
) -> None:
    await served.app.storage.web_access.end_all(ADA)
    if scheme == "multipart":
        page = await sent(ada, "/imagine", filled(ada, steps="30", model=""))
    else:
        page = await ada.post("/pictures/1/edit", {"words": MARKUP, "steps": "30"})
    assert page.status == 401
    assert WORDS.signed_out in page.words
    assert f"<dd>{escape(MARKUP)}</dd>" in page.text
    assert "<dt>steps</dt><dd>30</dd>" in page.text
    assert page.text.count("<dt>") == 2  # no token, and nothing that was left empty
    assert await served.app.storage.history.page() == ()


async def test_what_another_page_sends_is_not_shown(served: Served, ada: Browser) -> None:
    await served.app.storage.web_access.end_all(ADA)
    form = filled(ada)
    page = await sent(ada, "/imagine", form, **{"Sec-Fetch-Site": "cross-site"})
    assert (page.status, "a cat" in page.text) == (401, False)


async def test_a_form_of_an_earlier_session_or_beyond_a_role_is_not_lost(
    served: Served, ada: Browser
) -> None:
    assert ada.page
    other = await served.sign_in(OWNER)
    other.page = ada.page
    page = await sent(other, "/imagine", filled(other))
    assert (page.status, escape(MARKUP) in page.text) == (403, True)
    assert WORDS.form_ended in page.words
    rules = await ada.post("/engine/rules", {"rule.blocked": "gore", "was.blocked": "war"})
    assert (rules.status, "gore" in rules.words, "war" in rules.words) == (403, True, False)


async def test_a_script_is_answered_without_it_and_endless_fields_are_cut(
    served: Served, ada: Browser
) -> None:
    await served.app.storage.web_access.end_all(ADA)
    answer = await sent(ada, "/imagine", filled(ada), Accept="application/json")
    assert (answer.status, "a cat" in answer.text) == (401, False)
    page = await sent(ada, "/imagine", filled(ada, negative="x" * (2 * LONGEST)))
    assert page.text.count("x" * 100) == LONGEST // 100
    many = FormData([(f"f{number}", "") for number in range(1000)])
    many.add_field("prompt", "a cat")
    many.add_field("image", b"", filename="start.png")
    page = await sent(ada, "/imagine", many)
    assert (page.status, "a cat" in page.text) == (401, False)
