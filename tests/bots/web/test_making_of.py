"""A making-of on the web page: asked for by a button, shown as a page under a policy of its own."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

import pytest

from bots.texts import MAKING_OF
from engine.english import ENGLISH
from engine.events import Picture as Drawn
from engine.events import Verdict
from engine.formats.metadata import write_png
from engine.making_of.record import put_into
from storage import Job, NewJob
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, BOB, Browser, Served
from tests.bots.web.test_pictures import drawn
from tests.factories import add_claimed, make_recipe, make_record, pixels

SAID = MAKING_OF["en"]


async def made(house: House, verdict: Verdict = Verdict.SAFE) -> Job:
    """Store the making-of of picture 1."""
    recipe = make_recipe(prompt="a <b>cat</b>", checkpoint="tiny")
    new = NewJob(
        recipe=recipe, person=ADA, place=f"web:{ADA}", parent=1, parent_picture=0, making_of=True
    )
    job = await add_claimed(house.storage, new)
    png = write_png(pixels(1, 64, 64), recipe, 0)
    png = put_into(png, make_record(png, recipe.prompt))
    picture = Drawn(index=0, width=64, height=64, png=png, verdict=verdict)
    await house.storage.jobs.rendered(job.id, job.epoch, [picture])
    return await house.storage.jobs.delivered(job.id, {})


async def test_the_page_is_linked_and_shown_with_its_own_style_and_no_script(
    house: House, ada: Browser
) -> None:
    await drawn(house)
    job = await made(house)
    assert f'href="/pictures/{job.id}/making-of"' in (await ada.get(f"/pictures/{job.id}")).text
    page = await ada.get(f"/pictures/{job.id}/making-of")
    assert (page.status, SAID.title.format(name="1.1") in page.words) == (200, True)
    assert "a <b>cat</b>" in page.words
    assert "<script" not in page.text
    style = re.search(r"<style>(.*?)</style>", page.text, re.S)
    assert style
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")
    assert policy.endswith("frame-ancestors 'none'")
    assert "script-src" not in policy


async def test_only_a_making_of_has_the_page_and_only_who_may_see_it_sees_it(
    house: House, ada: Browser, served: Served
) -> None:
    await drawn(house)
    job = await made(house)
    assert SAID.open_page not in (await ada.get("/pictures/1")).words
    assert (await ada.get("/pictures/1/making-of")).status == 400
    bob = await served.sign_in(BOB)
    page = await bob.get(f"/pictures/{job.id}/making-of")
    assert (page.status, SAID.title.format(name="1.1") in page.words) == (404, False)


def flip(png: bytes) -> bytes:
    return png.replace(b'"sha256"', b'"sha257"')


def cut(png: bytes) -> bytes:
    return png[: len(png) // 2]


def damage_the_picture(png: bytes) -> bytes:
    at = png.index(b"IDAT") + 10
    return png[:at] + bytes([png[at] ^ 1]) + png[at + 1 :]


@pytest.mark.parametrize("damage", [flip, cut, damage_the_picture])
async def test_a_damaged_file_is_said_to_be_one(
    damage: Callable[[bytes], bytes], house: House, ada: Browser
) -> None:
    await drawn(house)
    job = await made(house)
    path = house.storage.pictures.path(job.pictures[0])
    path.write_bytes(damage(path.read_bytes()))
    page = await ada.get(f"/pictures/{job.id}/making-of")
    assert (page.status, ENGLISH["damaged_making_of"] in page.words) == (400, True)


async def test_a_button_of_the_page_asks_for_it(house: House, ada: Browser) -> None:
    await drawn(house)
    assert "/pictures/1/making-of" in (await ada.get("/pictures/1")).text
    page = await ada.post("/pictures/1/making-of")
    assert page.path == "/pictures/2"
    job = await house.storage.jobs.get(2)
    assert (job.making_of, job.parent, job.parent_picture) == (True, 1, 0)
