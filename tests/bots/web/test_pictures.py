"""Lists of pictures, a picture's page, and what its forms do."""

from __future__ import annotations

import asyncio
import gc
import io
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from PIL import Image

from bots.admission.visibility import View
from bots.chat.actions import ACTIONS
from bots.requests.descriptions import Descriptions
from bots.requests.studio import Asker
from bots.texts import EN, web_words_of
from bots.web import gallery
from bots.web.picture_files import ThumbnailMaker
from engine.events import Picture as Drawn
from engine.events import Verdict
from engine.formats.metadata import read_recipe, write_png
from storage import Job, NewJob
from storage.jobs.bucket_pictures import open_pictures
from storage.jobs.picture_files import Pictures
from storage.records import EVERYWHERE
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, BOB, OWNER, Browser, Page, Served
from tests.conftest import PATIENCE
from tests.factories import add_claimed, make_recipe, pixels

WORDS = web_words_of("en")
STEPS = "steps must be a whole number between 1 and 150, not 9999."


async def drawn(
    house: House, prompt: str = "a cat", person: str = ADA, place: str = "", **recipe: Any
) -> Job:
    """Store a job with its pictures, delivered; matches: by which the best comes first."""
    verdict, parent = recipe.pop("verdict", Verdict.SAFE), recipe.pop("parent", None)
    matches = recipe.pop("matches", None)
    made = make_recipe(prompt=prompt, **{"checkpoint": "tiny", **recipe})
    new = NewJob(
        recipe=made,
        person=person,
        place=place or f"web:{person}",
        parent=parent,
        best=matches is not None,
    )
    job = await add_claimed(house.storage, new)
    found = [
        Drawn(
            index=index,
            width=64,
            height=64,
            png=write_png(pixels(job.id * 100 + index, 64, 64), made, index),
            verdict=verdict,
        )
        for index in made.pictures
    ]
    await house.storage.jobs.rendered(job.id, job.epoch, found, None, matches)
    return await house.storage.jobs.delivered(job.id, {})


def names(page: Page) -> list[str]:
    """Return the names of the pictures that a list shows."""
    return re.findall(r'<li class="tile".*?<a href="/pictures/([\d.]+)"', page.text, re.S)


async def finished(served: Served, number: int) -> Job:
    """Wait until a job is over."""
    async for _ in served.app.worker.follow(number):
        pass
    return await served.app.storage.jobs.get(number)


async def newest(served: Served) -> Job:
    """Wait for the last job that was asked for, and return it."""
    return await finished(served, (await served.app.storage.history.page(limit=1))[0].id)


async def test_own_pictures_are_listed_from_the_newest_page_by_page(
    house: House, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "PAGE", 4)
    assert EN.nothing_yet in (await ada.get("/pictures")).words
    for number in range(3):
        await drawn(house, f"cat {number}", count=2)
    await drawn(house, "somebody else's", person=BOB)
    page = await ada.get("/pictures")
    assert names(page) == ["3.1", "3.2", "2.1", "2.2"]
    older = re.search(r'href="([^"]+)" data-older', page.text)
    assert older
    page = await ada.get(older[1])
    assert names(page) == ["1.1", "1.2"]
    assert "data-older" not in page.text


async def test_the_best_match_comes_first_and_recipes_tell_the_match(
    house: House, ada: Browser
) -> None:
    await drawn(house, count=4, matches=[0.25, 0.125, 0.5, 0.375])
    order = ["1.3", "1.4", "1.1", "1.2"]
    page = await ada.get("/pictures/1")
    assert names(page) == names(await ada.get("/pictures")) == order
    told = "1.3 (0.500), 1.4 (0.375), 1.1 (0.250), 1.2 (0.125)"
    assert f"Best match first: {told}." in page.words
    label = EN.fields["match"]
    assert f"{label} {told}" in page.words
    alone = await ada.get("/pictures/1.2")
    assert f"{label} 0.125" in alone.words
    assert "Best match" not in alone.words


async def test_a_search_finds_words_of_own_prompts(house: House, ada: Browser) -> None:
    await drawn(house, "a marble cat")
    await drawn(house, "a bronze dog")
    await drawn(house, "a marble owl", person=BOB)
    assert names(await ada.get("/pictures?q=marble")) == ["1"]
    assert EN.nothing_found in (await ada.get("/pictures?q=glass")).words
    longest = urlencode({"q": "画" * gallery.SOUGHT, "like": "画" * gallery.SOUGHT})
    page = await ada.get(f"/pictures?{longest}")  # all that both fields take
    assert "<html" in page.text  # of Marble's: the server itself refuses longer addresses
    page = await ada.get("/pictures")
    assert page.text.count(f'maxlength="{gallery.SOUGHT}"') == 2


async def test_own_pictures_are_found_by_what_they_show(
    house: House, served: Served, ada: Browser
) -> None:
    first = await drawn(house, "a marble cat", count=2)
    theirs = await drawn(house, "a marble owl", person=BOB)
    assert "marble clip index" in (await ada.get("/pictures?like=an+owl")).words
    likeness = served.app.likeness
    await likeness.index([*first.pictures, *theirs.pictures])
    found = await likeness.find("an owl", 9, None)
    own = [each.picture.name for each in found if each.job.id == first.id]
    page = await ada.get("/pictures?like=an+owl")
    assert names(page) == own
    assert 'name="like" type="search" value="an owl"' in page.text
    assert names(await ada.get("/pictures?like=1.1")) == ["1.2"]
    assert "There is no picture" in (await ada.get(f"/pictures?like={theirs.id}")).words


async def test_favourites_are_listed_and_marked(house: House, served: Served, ada: Browser) -> None:
    await drawn(house, count=2)
    await ada.get("/pictures/1.2")
    page = await ada.post("/pictures/1.2/favourite")
    assert (page.path, 'aria-pressed="true"' in page.text) == ("/pictures/1.2", True)
    assert names(await ada.get("/pictures?favourites=1")) == ["1.2"]
    assert (await ada.get("/pictures")).text.count('class="star"') == 1
    await ada.post("/pictures/1.2/favourite")
    page = await ada.get("/pictures?favourites=1")
    assert (names(page), EN.no_favourites in page.words) == ([], True)


async def test_a_favourite_of_somebody_elses_is_listed_no_more_than_it_is_seen(
    house: House, ada: Browser
) -> None:
    await drawn(house, "a secret", person=BOB)
    await house.storage.favourites.add(ADA, 1, 0)
    page = await ada.get("/pictures?favourites=1")
    assert (names(page), "secret" in page.text) == ([], False)


async def test_a_job_without_pictures_says_why(house: House, ada: Browser) -> None:
    job = await add_claimed(
        house.storage, NewJob(recipe=make_recipe(), person=ADA, place=f"web:{ADA}")
    )
    await house.storage.jobs.failed(job.id, job.epoch, "The model is broken.")
    for path in ("/pictures", "/pictures/1"):
        assert "failed: The model is broken." in (await ada.get(path)).words


async def test_a_page_shows_the_picture_its_recipe_and_where_it_came_from(
    house: House, ada: Browser
) -> None:
    await drawn(house, "an elder", seed=41)
    await drawn(house, "a child", seed=42, parent=1)
    await drawn(house, "a grandchild", seed=43, parent=2)
    page = await ada.get("/pictures/2")
    assert page.status == 200
    assert {"a child", "42", WORDS.made_from, WORDS.made_of_it} <= {
        part for part in ("a child", "42", WORDS.made_from, WORDS.made_of_it) if part in page.words
    }
    assert names(page) == ["1", "3"]
    assert 'src="/originals/2.png"' in page.text


async def test_what_was_made_of_it_by_others_is_not_told(house: House, ada: Browser) -> None:
    await drawn(house, "a secret elder", person=BOB)
    await drawn(house, "mine", parent=1)
    await drawn(house, "a secret child", person=BOB, parent=2)
    assert "secret" not in (await ada.get("/pictures/2")).text


async def test_every_action_of_the_table_stands_on_the_page(house: House, ada: Browser) -> None:
    await drawn(house, count=2)
    alone, both = await ada.get("/pictures/1.2"), await ada.get("/pictures/1")
    for name, action in ACTIONS.items():
        forms = (f'/pictures/1.2/{action.web}"', f'href="/{action.web}/1.2"', f'id="{action.web}"')
        offered = any(each in alone.text for each in forms)
        assert offered == (bool(action.web) and name != "cancel"), name
        if action.draw:
            assert (f'/pictures/1/{action.web}"' in both.text) == (not action.one), name


async def test_an_original_carries_its_recipe_and_a_thumbnail_is_made_once(
    house: House, served: Served, ada: Browser
) -> None:
    job = await drawn(house, "a cat", seed=9)
    async with ada.client.get(served.origin + "/originals/1.png") as answer:
        data, tag = await answer.read(), answer.headers["ETag"]
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == 'inline; filename="marble-1.1.png"'
    assert read_recipe(data).recipe == job.recipe
    known = {"If-None-Match": tag}
    async with ada.client.get(served.origin + "/originals/1.png", headers=known) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    for _ in range(2):
        async with ada.client.get(served.origin + "/thumbnails/1.webp") as answer:
            small = Image.open(io.BytesIO(await answer.read()))
            assert (answer.headers["Content-Type"], small.format) == ("image/webp", "WEBP")
    [kept] = house.storage.pictures.thumbnails.all()
    assert kept == job.pictures[0].sha256


class Noted(io.FileIO):
    """A file that tells when it is closed."""

    def __init__(self, path: Path, tell: Callable[[], object]) -> None:
        super().__init__(path)
        self._tell = tell

    def close(self) -> None:
        super().close()
        self._tell()


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "left in the middle"])
async def test_an_original_is_sent_from_its_open_file_which_is_closed_at_the_end(
    house: House, served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    job = await drawn(house)
    path = house.storage.pictures.path(job.pictures[0])
    large = path.read_bytes() + secrets.token_bytes(64 * 2**20)  # more than a connection holds
    await asyncio.to_thread(path.write_bytes, large)
    loop, closed = asyncio.get_running_loop(), asyncio.Event()

    def opened(*_: object) -> io.BufferedReader:
        return io.BufferedReader(Noted(path, lambda: loop.call_soon_threadsafe(closed.set)))

    def refused(*_: object) -> bytes:
        raise AssertionError("read whole")

    monkeypatch.setattr(Pictures, "open", opened)
    monkeypatch.setattr(Pictures, "read", refused)
    async with ada.client.get(served.origin + "/originals/1.png") as answer:
        assert (answer.status, answer.content_length) == (200, len(large))
        data = await (answer.content.read() if whole else answer.content.readexactly(1000))
        assert data == large[: len(data)]
        assert closed.is_set() <= whole
    async with asyncio.timeout(PATIENCE):
        await closed.wait()


async def test_an_original_comes_from_a_bucket_as_well(
    house: House, served: Served, ada: Browser, bucket_url: str
) -> None:
    job = await drawn(house)
    [picture], folder = job.pictures, house.storage.pictures
    png = folder.read(picture)
    bucket = open_pictures(folder.folder.with_name("before"), bucket_url)
    bucket.add(png)
    served.app.gate.storage = replace(house.storage, pictures=bucket)
    async with ada.client.get(served.origin + "/originals/1.png") as answer:
        assert (answer.content_type, await answer.read()) == ("image/png", png)
    bucket.remove(picture.sha256)
    assert (await ada.get("/originals/1.png")).status == 410
    bucket.close()


@pytest.mark.parametrize("verdict", [Verdict.UNSAFE, Verdict.UNCHECKED])
@pytest.mark.parametrize("rule", ["refuse", "spoiler", "off"])
async def test_the_safety_rule_holds_on_the_page(
    verdict: Verdict, rule: str, house: House, served: Served, ada: Browser
) -> None:
    await drawn(house, verdict=verdict)
    async with ada.client.get(served.origin + "/thumbnails/1.webp") as answer:
        assert answer.status == 200  # and is kept
    await served.app.gate.change(EVERYWHERE, {"safety": rule}, OWNER)
    files = [f"/{path}" for path in ("thumbnails/1.webp", "originals/1.png")]
    for path in files:
        async with ada.client.get(served.origin + path) as answer:
            assert (answer.status == 200) == (rule != "refuse")
    for path in ("/pictures", "/pictures/1"):
        page = await ada.get(path)
        assert any(file in page.text for file in files) == (rule != "refuse")
        assert ("veil" in page.text) == (rule == "spoiler")


@pytest.mark.parametrize("rule", ["spoiler", "off"])
async def test_the_words_of_what_is_behind_a_spoiler_are_behind_one(
    rule: str, house: House, served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def suggest(*_: object) -> list[str]:
        return ["a bare statue"]

    monkeypatch.setattr(Descriptions, "check", lambda _: None)
    monkeypatch.setattr(Descriptions, "suggest", suggest)
    await drawn(house, verdict=Verdict.UNSAFE)
    await served.app.gate.change(EVERYWHERE, {"safety": rule}, OWNER)
    await ada.get("/pictures/1")
    page = await ada.post("/pictures/1/describe")
    hidden = re.findall(r'<details class="veil">.*?</details>', page.text, re.S)
    assert "a bare statue" in page.text
    assert any("a bare statue" in each for each in hidden) == (rule == "spoiler")


async def test_a_lost_file_is_gone_and_a_store_that_is_away_is_asked_again(
    house: House, served: Served, ada: Browser
) -> None:
    [picture] = (await drawn(house)).pictures
    files, path = house.storage.pictures, served.origin + "/originals/1.png"
    away = files.folder.rename(files.folder.with_name("away"))
    async with ada.client.get(path) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert EN.pictures_out in unescape(await answer.text())
    away.rename(files.folder)
    files.path(picture).unlink()
    async with ada.client.get(path) as answer:
        assert answer.status == 410
        assert EN.lost_picture in unescape(await answer.text())


async def test_buttons_draw_and_lead_to_the_new_job(
    house: House, served: Served, ada: Browser
) -> None:
    await drawn(house, seed=5)
    await ada.get("/pictures/1")
    page = await ada.post("/pictures/1/rerun")
    assert (page.status, page.path) == (200, "/pictures/2")
    again = await newest(served)
    assert (again.recipe.seed, again.parent, again.person, again.place) == (
        5, 1, ADA, f"web:{ADA}"
    )  # fmt: skip
    await ada.post("/pictures/1/reroll")
    assert (await newest(served)).recipe.seed != 5


async def test_the_form_of_a_recipe_changes_what_was_changed_in_it(
    house: House, served: Served, ada: Browser
) -> None:
    await drawn(house, "a cat\nasleep", seed=5)
    page = await ada.get("/pictures/1")
    fields = fields_of(page, "/pictures/1/change")
    assert fields["prompt"] == "a cat\nasleep"
    sent = {**fields, "prompt": fields["prompt"].replace("\n", "\r\n"), "steps": "6"}
    await ada.post("/pictures/1/change", sent)
    changed = await newest(served)
    assert (changed.recipe.prompt, changed.recipe.steps, changed.recipe.seed) == (
        "a cat\nasleep", 6, 5
    )  # fmt: skip
    await ada.post("/pictures/1/change", {**fields, "prompt": "a dog --steps 3"})
    changed = await newest(served)
    assert (changed.recipe.prompt, changed.recipe.steps) == ("a dog", 3)
    page = await ada.post("/pictures/1/change", {**fields, "prompt": "a dog", "steps": "9999"})
    assert (page.status, STEPS in page.words) == (400, True)
    assert fields_of(page, "/pictures/1/change")["prompt"] == "a dog"


async def test_words_that_cannot_be_used_are_refused_on_the_page_itself(
    house: House, ada: Browser
) -> None:
    await drawn(house)
    await ada.get("/pictures/1")
    for action in ("edit", "blend"):
        page = await ada.post(f"/pictures/1/{action}", {"words": "x --steps 9999"})
        assert (page.status, STEPS in page.words, names(page)) == (400, True, [])


async def test_only_ones_own_job_is_deleted_once_that_is_confirmed(
    house: House, served: Served, ada: Browser
) -> None:
    await drawn(house)
    await ada.get("/pictures/1")
    page = await ada.post("/pictures/1/delete")
    assert WORDS.delete_what.format(job=1) in page.words
    assert (await ada.get("/pictures/1")).status == 200
    owner = await served.sign_in(OWNER)
    page = await owner.post("/pictures/1/delete", {"sure": "1"})
    assert (page.status, names(await ada.get("/pictures"))) == (403, ["1"])
    page = await ada.post("/pictures/1/delete", {"sure": "1"})
    assert (page.path, names(page)) == ("/pictures", [])
    assert (await ada.get("/pictures/1")).status == 404
    assert list(house.storage.pictures.all()) == []


async def test_deleting_what_is_drawn_just_now_cancels_it(
    house: House, served: Served, ada: Browser
) -> None:
    house.executor.gate.clear()
    job = await house.studio.imagine({"prompt": "a cat"}, Asker(person=ADA, place=f"web:{ADA}"))
    await house.executor.begun.wait()
    await ada.get("/pictures")
    page = await ada.post(f"/pictures/{job.id}/delete", {"sure": "1"})
    assert (page.path, "cancelled" in page.words) == (f"/pictures/{job.id}", True)
    page = await ada.post(f"/pictures/{job.id}/delete", {"sure": "1"})
    assert WORDS.reply_on_its_way in page.words


async def test_what_people_wrote_is_text_and_never_markup(
    house: House, served: Served, ada: Browser
) -> None:
    evil = "\"><script>alert(1)</script>'{{ 7777 * 7777 }}"
    await drawn(house, evil, negative_prompt=evil)
    await house.storage.favourites.add(ADA, 1, 0)
    paths = ("/pictures", "/pictures/1", "/pictures?favourites=1", "/jobs/1/cards")
    asked = (f"/pictures?q={evil}", f"/imagine?prompt={evil}")
    for path in (*paths, *asked):
        page = await ada.get(path)
        assert "<script>alert" not in page.text
        assert "&lt;script&gt;" in page.text, path
        assert str(7777 * 7777) not in page.text


def fields_of(page: Page, action: str) -> dict[str, str]:
    """Return the fields of a form as a browser would send them."""
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.text, re.S)
    assert form
    found = dict(re.findall(r'<input[^>]*name="([\w-]+)"[^>]*?value="([^"]*)"', form[0]))
    found |= {
        name: text.removeprefix("\n")
        for name, text in re.findall(
            r'<textarea[^>]*name="([\w-]+)"[^>]*>(.*?)</textarea>', form[0], re.S
        )
    }
    for name, body in re.findall(r'<select[^>]*name="([\w-]+)"[^>]*>(.*?)</select>', form[0], re.S):
        chosen = re.search(r"<option selected>([^<]*)<", body)
        found[name] = chosen[1] if chosen else ""
    return {name: unescape(text) for name, text in found.items() if name != "csrf"}


async def test_no_picture_is_looked_up_for_more_than_are_blended(
    house: House, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, asked = await drawn(house), []
    await ada.get(f"/pictures/{job.id}")
    get = type(house.storage.jobs).get

    async def counted(self: Any, number: int) -> Job:
        asked.append(number)
        return await get(self, number)

    monkeypatch.setattr(type(house.storage.jobs), "get", counted)
    page = await ada.post(f"/pictures/{job.id}/blend", {"others": f"{job.id} " * 1000})
    assert (page.status, "1001" in page.words) == (400, True)
    assert len(asked) < 5


async def test_what_is_made_is_waited_for_as_the_page_closes_and_no_error_is_lost(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await drawn(house)
    started, go, lost = asyncio.Event(), threading.Event(), list[dict[str, Any]]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: lost.append(context))

    def make(*_: object) -> bytes:
        loop.call_soon_threadsafe(started.set)
        go.wait()
        raise OSError("the disk is full")

    monkeypatch.setattr("bots.web.picture_files._keep_thumbnail", make)
    maker, view = ThumbnailMaker(), View(files=house.storage.pictures)
    waiting = asyncio.create_task(maker.find(job.pictures[0], view))
    await started.wait()
    waiting.cancel()
    closing = asyncio.create_task(maker.close(web.Application()))
    await asyncio.wait([waiting])
    assert not closing.done()
    go.set()
    await closing
    gc.collect()
    assert lost == []
