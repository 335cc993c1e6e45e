"""The engine room: what owners see and change, what moderators do, and what nobody else gets."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bots.admission.in_force import InForce
from bots.admission.roles import Role
from bots.operations.doctor import Finding, State
from bots.requests.studio import Asker
from bots.service.commands import BACKUP, CHECK, DOCTOR
from bots.texts import EN, ENGINE_ROOM, engine_room_of, say, words_of
from bots.web import engine_room
from bots.web.engine_room.page import TABS
from bots.web.engine_room.plots import HEIGHT
from bots.web.request import Route
from bots.worker.engines_view import UP, EngineBoard, EngineRow
from engine.errors import UserError
from engine.models.downloads import find as find_offer
from engine.models.memory_plan import Room, plan
from engine.queue.estimates import MILLION
from storage import Job, Status
from storage.clock import utc_now
from storage.people.people import People
from storage.records import EVERYWHERE
from tests.bots.conftest import House
from tests.bots.service.test_commands import end, play, until
from tests.bots.web.conftest import ADA, OWNER, Browser, Page, Served

ROOM = engine_room_of("en")
MODERATOR = "discord:8"
MARKUP = '<img src=x onerror="alert(1)">'


@pytest.fixture
async def owner(served: Served) -> Browser:
    return await served.sign_in(OWNER)


@pytest.fixture
async def moderator(served: Served) -> Browser:
    return await served.sign_in(MODERATOR)


async def imagine(house: House, person: str, prompt: str = "a marble owl") -> Job:
    """Ask for a picture in a chat."""
    return await house.studio.imagine({"prompt": prompt}, Asker(person=person, place="discord:5/6"))


async def hold(house: House, person: str = ADA) -> list[Job]:
    """Let one job run and two wait."""
    house.executor.gate.clear()
    jobs = [await imagine(house, person) for _ in range(3)]
    await house.executor.begun.wait()
    return jobs


async def acts_of(served: Served) -> list[tuple[str, str, str | None, str | None]]:
    """Return the log, the oldest first."""
    acts = await served.app.storage.moderation.acts()
    return [(act.by, act.act, act.target, act.place) for act in reversed(acts)]


async def held(served: Served, place: str) -> InForce:
    return await served.app.gate.in_force(place)


def form_of(page: Page) -> dict[str, str]:
    """Return the fields of a page's form of rules as they are sent where nothing is changed."""
    fields = dict(re.findall(r'<input[^>]* name="((?:rule|was)\.\w+)" value="([^"]*)"', page.text))
    [closed] = re.findall(r'name="was.open" value="(\w*)"', page.text)
    return {**fields, "open": closed}


# Who gets in


@pytest.mark.parametrize(
    "route", engine_room.ROUTES, ids=lambda route: f"{route.method} {route.path}"
)
async def test_each_page_and_change_is_for_its_role_alone(
    served: Served, house: House, route: Route
) -> None:
    [job, *_] = await hold(house)
    every = {"reason": "x", "job": str(job.id), "place": "discord:5", "rule.steps": "1-2"}
    every |= {"person": "discord:77", "open": "no", "name": "starter"}
    people = [(None, None), (ADA, Role.MEMBER), (MODERATOR, Role.MODERATOR)]
    for person, role in people:
        if role is not None and role >= route.least:
            continue
        browser = await served.sign_in(person) if person else served.browser()
        page = await (
            browser.get(route.path) if route.method == "GET" else browser.post(route.path, every)
        )
        assert page.status == (403 if person else 401)
        assert ROOM.tabs["queue"] not in page.words
    assert await acts_of(served) == []
    assert await served.app.storage.moderation.bans() == ()
    assert (await house.storage.jobs.get(job.id)).status is Status.RUNNING
    assert served.app.commands.latest == {}
    assert (await held(served, "discord:5")).is_open


@pytest.mark.parametrize("route", [each for each in engine_room.ROUTES if each.method == "POST"])
async def test_no_change_is_made_without_the_pages_own_token(
    served: Served, owner: Browser, route: Route
) -> None:
    fields = {"csrf": "forged", "reason": "x", "place": "discord:5", "person": "discord:77"}
    assert (await owner.post(route.path, fields)).status == 403
    assert await acts_of(served) == []
    assert served.app.commands.latest == {}


async def test_moderators_see_their_tabs_and_members_none(
    owner: Browser, moderator: Browser, ada: Browser
) -> None:
    for browser, least in ((owner, Role.OWNER), (moderator, Role.MODERATOR)):
        page = await browser.get("/engine")
        shown = {name for name, (path, _) in TABS.items() if f'<a href="{path}"' in page.text}
        assert shown == {name for name, (_, role) in TABS.items() if role <= least}
    assert 'href="/engine"' not in (await ada.get("/account")).text


@pytest.mark.parametrize("language", ENGINE_ROOM)
async def test_every_page_is_there_in_every_language(
    served: Served, owner: Browser, language: str
) -> None:
    room = ENGINE_ROOM[language]
    for name, (path, _) in TABS.items():
        page = await owner.get(path, headers={"Accept-Language": language})
        assert page.status == 200, page.words
        assert f"<h2>{room.tabs[name]}</h2>" in page.text
        assert f'<html lang="{language}">' in page.text


# The queue


async def test_the_queue_shows_who_waits_to_owners_and_prompts_to_nobody_else(
    served: Served, house: House, owner: Browser, moderator: Browser
) -> None:
    jobs = await hold(house)
    await imagine(house, OWNER, "an owl of mine")
    page = await owner.get("/engine")
    assert "1 job running, 3 waiting." in page.words
    assert all(f">{job.id}</td>" in page.text for job in jobs)
    assert page.words.count(ADA) == 3
    assert "an owl of mine" in page.words
    assert "a marble owl" not in page.words
    less = await moderator.get("/engine")
    assert ADA not in less.words
    assert less.words.count(EN.somebody) == 4
    assert "owl" not in less.words


async def test_the_part_that_is_refreshed_is_the_same_without_the_page(
    house: House, owner: Browser
) -> None:
    await hold(house)
    page = await owner.get("/engine")
    part = await owner.get("/engine?part=1")
    assert part.status == 200
    assert "<html" not in part.text
    assert 'data-refresh="/engine?part=1"' in page.text
    assert part.words in page.words


async def test_moderators_pause_with_a_reason_that_people_see_and_resume(
    served: Served, house: House, moderator: Browser
) -> None:
    page = await moderator.post("/engine/pause", {"reason": MARKUP})
    assert page.status == 200
    assert house.worker.queue.order.reason == MARKUP
    assert MARKUP not in page.text
    assert f"by {MODERATOR}: {MARKUP}" in page.words
    assert (await moderator.post("/engine/pause", {"reason": ""})).status == 400
    page = await moderator.post("/engine/resume")
    assert house.worker.queue.order.reason is None
    assert "Paused" not in page.words
    assert await acts_of(served) == [
        (MODERATOR, "pause", "queue", None),
        (MODERATOR, "resume", "queue", None),
    ]


async def test_jobs_that_run_and_wait_are_cancelled_as_the_chats_cancel_them(
    served: Served, house: House, owner: Browser, moderator: Browser
) -> None:
    running, waiting, other = await hold(house)
    await moderator.post("/engine/cancel", {"job": str(waiting.id)})
    page = await owner.post("/engine/cancel", {"job": str(running.id)})
    assert page.status == 200
    statuses = [(await house.storage.jobs.get(job.id)).status for job in (running, waiting)]
    assert statuses == [Status.CANCELLED] * 2
    assert (await house.storage.jobs.get(other.id)).status is not Status.CANCELLED
    assert await acts_of(served) == [
        (MODERATOR, "cancel", ADA, "discord:5/6"),
        (OWNER, "cancel", ADA, "discord:5/6"),
    ]
    own = await house.studio.imagine({"prompt": "a dog"}, Asker(person=OWNER, place="web:owner"))
    for name in ("999", "", " ", "x"):  # no name means no job, least of all one's own
        assert (await owner.post("/engine/cancel", {"job": name})).status == 404, name
    assert (await house.storage.jobs.get(own.id)).status is not Status.CANCELLED


async def test_owners_let_a_job_be_drawn_next(served: Served, house: House, owner: Browser) -> None:
    running, first, last = await hold(house)
    page = await owner.get("/engine")
    assert f'id="next-{last.id}"' in page.text
    assert f'id="next-{running.id}"' not in page.text
    page = await owner.post("/engine/next", {"job": str(last.id)})
    assert (page.status, page.words.count(ROOM.ahead)) == (200, 1)
    assert f'id="next-{last.id}"' not in page.text
    house.executor.gate.set()
    for job in (first, last):
        async for _ in house.worker.follow(job.id):
            pass
    assert [spec.job for spec in house.executor.specs] == [running.id, last.id, first.id]
    assert await acts_of(served) == [(OWNER, "ahead", ADA, "discord:5/6")]
    for name in (str(last.id), "x", "99"):
        assert (await owner.post("/engine/next", {"job": name})).status in (400, 404)


# Figures and devices


async def test_figures_are_plots_and_a_table_that_says_the_same(
    house: House, owner: Browser
) -> None:
    empty = await owner.get("/engine/figures")
    assert ROOM.none_yet in empty.words
    assert "<rect" not in empty.text
    for person in (ADA, ADA, "discord:2"):
        job = await imagine(house, person)
        async for _ in house.worker.follow(job.id):
            pass
    house.executor.errors.append(UserError(MARKUP))
    async for _ in house.worker.follow((await imagine(house, ADA)).id):
        pass
    page = await owner.get("/engine/figures")
    assert page.text.count("<rect") >= 2
    assert 'role="img"' in page.text
    hour = utc_now().replace(minute=0)
    row = re.search(rf"<th scope=\"row\">{hour:%H:%M}</th>(.*?)</tr>", page.text)
    assert row
    cells = re.findall(r"<td>(.*?)</td>", row[1])
    assert (cells[0], cells[1], cells[4], cells[5]) == ("3", "3", "1", "0")
    assert MARKUP not in page.text
    assert f"1 {MARKUP}" in page.words
    assert re.search(rf"<td>{ADA}</td><td>2</td>", page.text)


async def test_what_each_person_spent_of_the_budget_is_a_plot_on_one_scale(
    house: House, served: Served, owner: Browser
) -> None:
    for person in (ADA, ADA, "discord:2"):
        async for _ in house.worker.follow((await imagine(house, person)).id):
            pass
    [most, _] = (await house.storage.figures.day()).spenders

    async def shown() -> dict[str, float]:
        """Return what each plot says of itself, and how high its last bar is."""
        page = await owner.get("/engine/figures")
        rows = re.findall(r'<td class="plot"><svg .*?aria-label="(.*?)".*?</td>', page.text, re.S)
        bars = re.findall(r'height="([\d.]+)"/>\s*</g>\s*</svg></td>', page.text)
        return dict(zip(rows, map(float, bars), strict=True))

    spent = most.spent / MILLION
    labels = f"{spent:.1f}", f"{spent / 2:.1f}"
    assert await shown() == {labels[0]: HEIGHT, labels[1]: HEIGHT / 2}
    budget = int(spent) + 1
    await served.app.gate.change(EVERYWHERE, {"daily": str(budget)}, OWNER)
    scale = HEIGHT / budget
    assert await shown() == {
        ROOM.spent_of.format(spent=labels[0], budget=budget): round(spent * scale, 2),
        ROOM.spent_of.format(spent=labels[1], budget=budget): round(spent / 2 * scale, 2),
    }


async def test_engines_of_every_process_are_shown_with_what_they_hold(
    served: Served, owner: Browser
) -> None:
    assert ROOM.no_engine in (await owner.get("/engine/devices")).words
    up = EngineRow(device="cuda:0", kind="H200", state=UP, models=("tiny",), jobs=2, restarts=1)
    broken = EngineRow(device="cuda:1", kind="", state="it burns", models=(), jobs=0, restarts=9)
    board = EngineBoard(served.app.settings, "a")
    await board.show([up, broken])
    page = await owner.get("/engine/devices?part=1")
    for text in ("cuda:0", "H200", ROOM.up, "tiny", "cuda:1", "it burns", ROOM.no_model):
        assert text in page.words
    await board.clear()


# Models


async def test_models_are_listed_with_those_that_cannot_be_used(
    served: Served, owner: Browser, models: Path
) -> None:
    broken = models / "broken.safetensors"
    broken.write_bytes(b"")
    try:
        page = await owner.get("/engine/models")
    finally:
        broken.unlink()
    assert "64×64" in page.words
    assert "it is empty." in page.words
    assert ROOM.no_folder in page.words


async def test_the_list_of_models_says_whether_each_fits_into_the_engines_memory(
    served: Served, owner: Browser
) -> None:
    assert ROOM.fits_unknown in (await owner.get("/engine/models")).words
    whole = plan(served.app.studio.catalogue.get("tiny"), Room(budget=2**40, value_bytes=4)).whole
    board = EngineBoard(served.app.settings, "a")
    starting = EngineRow(device="cpu", kind="", state=UP, models=(), jobs=0, restarts=0)
    for missing, said in ((0, ROOM.fits["whole"]), (10**6, "does not fit: 1 MB more")):
        there = {"budget": whole - missing, "value_bytes": 4, "main": None, "holds_fp8": True}
        await board.show([starting, replace(starting, room=there)])
        page = await owner.get("/engine/models")
        assert re.search(rf"tiny</th>.*?<td>{said}</td>", page.text, re.S)
        assert ROOM.fits_unknown not in page.words
    await board.clear()


async def test_a_check_runs_beside_the_pages_and_is_shown_and_cancelled(
    served: Served, owner: Browser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "never")
    asked = play(monkeypatch, f"echo '{MARKUP}'; cat {tmp_path}/never")
    assert (await owner.post("/engine/models/check", {"name": "nothing"})).status == 400
    assert asked == []
    assert (await owner.post("/engine/models/check", {"name": "tiny"})).status == 200
    command = served.app.commands.latest[CHECK]
    await until(lambda: command.lines)
    assert asked[0][-3:] == ("check", "--", "tiny")
    page = await owner.get("/engine/models")
    assert "Check of models: tiny" in page.words
    assert MARKUP not in page.text
    assert MARKUP in page.words
    busy = await owner.post("/engine/upkeep/doctor")
    assert (busy.status, "Another command is running" in busy.words) == (400, True)
    page = await owner.post("/engine/models/cancel")
    assert "It was cancelled" in page.words
    assert served.app.commands.running is None


async def test_what_the_hub_does_not_offer_is_said_at_once(served: Served, owner: Browser) -> None:
    page = await owner.post("/engine/models/get", {"name": MARKUP})
    assert (page.status, "There is no offer" in page.words) == (400, True)
    assert MARKUP not in page.text
    assert served.app.commands.latest == {}


# Rules


async def test_owners_change_rules_and_what_they_left_alone_is_not_logged(
    served: Served, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await owner.get("/engine/rules?place=discord:5")
    fields = form_of(page)
    assert not any(fields.values())
    sent = {**fields, "place": "discord:5", "rule.steps": "1-30", "rule.blocked": "gore, war"}
    saved = await owner.post("/engine/rules", sent)
    assert (saved.status, saved.path) == (200, "/engine/rules")
    assert ROOM.rules_saved.format(place="discord:5") in saved.words
    rules = (await held(served, "discord:5/6")).rules
    assert (rules["steps"], rules["blocked"]) == ([1, 30], ["gore", "war"])
    [act] = await served.app.storage.moderation.acts()
    assert (act.by, act.act, act.place) == (OWNER, "rules", "discord:5")
    assert act.detail == {"steps": [1, 30], "blocked": ["gore", "war"]}
    again = form_of(saved)
    assert again["rule.steps"] == "1-30"
    sent = {**again, "place": "discord:5", "rule.steps": "", "open": "no"}
    writes = []
    write = People.change_place_settings

    async def counted(self: People, *given: Any, **more: Any) -> None:
        writes.append(given)
        await write(self, *given, **more)

    monkeypatch.setattr(People, "change_place_settings", counted)
    await owner.post("/engine/rules", sent)
    assert len(writes) == 1  # all of it or nothing
    changed = await held(served, "discord:5")
    assert "steps" not in changed.rules
    assert (changed.is_open, changed.rules["blocked"]) == (False, ["gore", "war"])
    assert ">discord:5</a>" in saved.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"rule.steps": "many"},
        {"rule.models": "nothing"},
        {"place": "mars"},
        {"rule.per_minute": "9" * 5000},
        {"rule.count": "9" * 5000},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
async def test_of_rules_that_cannot_be_read_none_is_changed(
    served: Served, owner: Browser, wrong: dict[str, str]
) -> None:
    await owner.get("/engine/rules")
    fields = {"place": "discord:5", "rule.waiting": "3", "open": "no", **wrong}
    page = await owner.post("/engine/rules", fields)
    assert (page.status, "must be" in page.words or "no model" in page.words) == (400, True)
    assert await acts_of(served) == []
    assert (await held(served, "discord:5")).is_open
    if "place" not in wrong:  # nothing that was typed is lost
        typed = {name: text for name, text in fields.items() if name.startswith("rule.")}
        assert form_of(page).items() >= typed.items()
        assert 'value="no" selected' in page.text
        again = {**form_of(page), **dict.fromkeys(wrong, ""), "place": "discord:5", "open": "no"}
        assert (await owner.post("/engine/rules", again)).status == 200
        changed = await held(served, "discord:5")
        assert (changed.is_open, changed.rules["waiting"]) == (False, 3)


async def test_moderators_narrow_the_rules_of_places_and_never_those_of_everywhere(
    served: Served, owner: Browser, moderator: Browser
) -> None:
    await owner.post("/engine/rules", {"place": "discord:5", "rule.steps": "1-30"})
    first = await moderator.get("/engine/rules")
    assert (first.status, "rule.steps" in first.text) == (200, False)
    page = await moderator.get("/engine/rules?place=discord:5")
    fields = form_of(page)
    assert "rule.daily" not in fields
    sent = {**fields, "place": "discord:5", "rule.steps": "1-10", "rule.daily": "0"}
    assert (await moderator.post("/engine/rules", sent)).status == 200
    found = await held(served, "discord:5")
    assert (found.rules["steps"], found.owners["steps"]) == ([1, 10], [1, 30])
    assert (await acts_of(served))[1:] == [(MODERATOR, "policy", None, "discord:5")]
    wider = await moderator.post("/engine/rules", {**sent, "rule.steps": "40-50"})
    assert (wider.status, "owner" in wider.words) == (400, True)
    for place in ("*", ""):
        refused = await moderator.post("/engine/rules", {**sent, "place": place})
        assert refused.status == 403
    assert (await moderator.get("/engine/rules?place=*")).status == 403
    assert len(await acts_of(served)) == 2


async def test_what_is_wrong_is_said_in_the_readers_language(
    served: Served, owner: Browser
) -> None:
    zh = words_of("zh")
    await owner.post("/language", {"language": "zh", "back": "/"})
    for path, fields, sentence in (
        ("/engine/bans/lift", {"person": ADA, "place": "*"}, zh.no_ban.format(who=ADA)),
        ("/engine/models/get", {"name": "nothing"}, say(_refusal_of("nothing"), zh)),
    ):
        page = await owner.post(path, fields)
        assert (page.status, sentence in page.words) == (400, True), path


def _refusal_of(name: str) -> str:
    """Return what is said of a model that the hub's list does not have."""
    with pytest.raises(UserError) as refused:
        find_offer(name)
    return refused.value.said


# Bans and the log


async def test_a_ban_holds_until_it_ends_or_is_lifted(served: Served, moderator: Browser) -> None:
    fields = {"person": ADA, "place": "discord:5", "reason": MARKUP, "hours": "24"}
    page = await moderator.post("/engine/bans", fields)
    assert (page.status, page.path) == (200, "/engine/bans")
    assert MARKUP not in page.text
    assert MARKUP in page.words
    [ban] = await served.app.storage.moderation.bans()
    assert (ban.person, ban.place, ban.by) == (ADA, "discord:5", MODERATOR)
    assert ban.until
    assert abs(ban.until - utc_now() - timedelta(hours=24)) < timedelta(minutes=5)
    await moderator.post("/engine/bans", {"person": "telegram:5", "place": "*", "reason": "spam"})
    assert ROOM.no_end in (await moderator.get("/engine/bans")).words
    page = await moderator.post("/engine/bans/lift", {"person": ADA, "place": "discord:5"})
    assert re.findall(r'<th scope="row">([^<]+)</th>', page.text) == ["telegram:5"]
    again = await moderator.post("/engine/bans/lift", {"person": ADA, "place": "discord:5"})
    assert (again.status, EN.no_ban.format(who=ADA) in again.words) == (400, True)
    nobody = await moderator.post("/engine/bans/lift", {"person": "ada", "place": "*"})
    assert (nobody.status, "must be" in nobody.words) == (400, True)
    assert await acts_of(served) == [
        (MODERATOR, "ban", ADA, "discord:5"),
        (MODERATOR, "ban", "telegram:5", "*"),
        (MODERATOR, "lift ban", ADA, "discord:5"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"person": "ada"}, {"place": "mars"}, {"reason": ""}, {"hours": "-1"}, {"hours": "9999"}]
    + [{"hours": zeros + "99999"} for zeros in ("0000000001", "0" * 9, "1" * 5000)],
    ids=lambda wrong: str(wrong)[:40],
)
async def test_a_ban_that_cannot_be_read_is_none(
    served: Served, moderator: Browser, wrong: dict[str, str]
) -> None:
    fields = {"person": ADA, "place": "*", "reason": "spam", **wrong}
    page = await moderator.post("/engine/bans", fields)
    assert (page.status, "must be" in page.words) == (400, True)
    for name, text in fields.items():  # nothing that was typed is lost
        assert f'name="{name}" value="{text}"' in page.text
    assert await acts_of(served) == []


async def test_a_list_of_bans_that_is_cut_says_so(
    served: Served, moderator: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.web.engine_room.bans.LISTED", 1)
    moderation, cut = served.app.storage.moderation, ROOM.bans_cut.format(count=1)
    await moderation.ban(ADA, by=OWNER, reason="spam", place="*")
    assert cut not in (await moderator.get("/engine/bans")).words
    await moderation.ban("telegram:5", by=OWNER, reason="spam", place="*")
    assert cut in (await moderator.get("/engine/bans")).words


async def test_the_log_is_filtered_by_place_and_person_and_goes_on_to_older_entries(
    served: Served, moderator: Browser
) -> None:
    for number in range(60):
        await served.app.storage.moderation.ban(
            f"discord:{100 + number}", by=OWNER, reason="spam", place=f"discord:{number % 2}"
        )
    page = await moderator.get("/engine/log")
    assert page.text.count("<tr><td>") == 50
    [older] = re.findall(r'<a href="([^"]+)">Older</a>', page.text)
    rest = await moderator.get(older.replace("&amp;", "&"))
    assert rest.text.count("<tr><td>") == 10
    assert ">Older<" not in rest.text
    one = await moderator.get("/engine/log?person=discord:107&place=discord:1")
    assert one.text.count("<tr><td>") == 1
    assert "reason: spam" in one.words
    none = await moderator.get("/engine/log?person=discord:107&place=discord:0")
    assert ROOM.log_empty in none.words
    for query in ("person=ada", "place=mars"):
        assert (await moderator.get(f"/engine/log?{query}")).status == 400
    assert (await moderator.get("/engine/log?before=x")).status == 200


# Upkeep


async def test_a_backup_is_made_into_the_folder_of_backups_and_listed(
    served: Served, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROOM.no_backups in (await owner.get("/engine/upkeep")).words
    monkeypatch.setenv("MARBLE_DATA_DIR", str(served.app.settings.data_dir))
    await owner.post("/engine/upkeep/backup")
    await end(served.app.commands)
    command = served.app.commands.latest[BACKUP]
    assert command.code == 0, command.note
    page = await owner.get("/engine/upkeep?part=1")
    assert re.search(r"marble-\d{4}-\d\d-\d\d-\d{6}\.backup", page.text)
    assert "It ended after" in page.words
    assert ROOM.no_backups not in page.words


async def test_findings_are_kept_until_somebody_looks_again(
    served: Served, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (
        Finding("python", State.GOOD, "3.11.2"),
        Finding("privacy", State.POOR, "others can read", "`chmod 600`"),
        Finding("descriptions", State.BAD, "full"),  # wider than its column
    )
    lines = " ".join(shlex.quote(str(each)) for each in found)
    asked = play(monkeypatch, f"printf '%s\\n' {lines} '1 problem'; exit 1")
    await owner.post("/engine/upkeep/doctor")
    await end(served.app.commands)
    assert asked[0][-1] == DOCTOR
    for _ in range(2):
        page = await owner.get("/engine/upkeep")
        for state, what, text in (
            (ROOM.finding_states["ok"], "python", "3.11.2"),
            (ROOM.finding_states["look"], "privacy", "others can read: `chmod 600`"),
            (ROOM.finding_states["wrong"], "descriptions", "full"),
        ):
            assert f"{state} {what} {text}" in page.words
        assert "1 problem" not in page.words
    assert len(asked) == 1
