"""A place that gets another id, as a Telegram group does that becomes a supergroup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from storage import Status, Storage
from storage.database.audit import AuditEntry
from storage.database.tables import Base
from storage.records import EVERYWHERE, Grant
from tests.factories import add_claimed, line_in
from tests.storage.conftest import Home, a_job, ban_of, drawn, record

OLD, NEW = "x:-5", "x:-1005"
TO_NEW = {"chat": -1005, "to": None}
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


async def everything(storage: Storage) -> dict[str, list[Any]]:
    """Return every row of every table."""

    def read(connection: Connection) -> dict[str, list[Any]]:
        tables = Base.metadata.sorted_tables
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in tables
        }

    return await storage.database.read(read)


async def names(storage: Storage, place: str) -> list[str]:
    return [level.place for level in await line_in(storage, place)]


async def test_all_that_is_kept_of_a_place_goes_with_it(storage: Storage) -> None:
    people, moderation = storage.people, storage.moderation
    await people.add_place(f"{OLD}/7", OLD)
    reply = {"chat": -5, "to": 3, "thread": None}
    waits = await storage.jobs.add(a_job("a waiting cat", place=OLD, reply=reply))
    done = await add_claimed(storage, a_job("a drawn cat", place=OLD, reply=reply))
    await storage.jobs.rendered(done.id, done.epoch, drawn())
    topical = await storage.jobs.add(a_job(place=f"{OLD}/7", reply={**reply, "thread": 7}))
    elsewhere = await storage.jobs.add(a_job("a far cat", place="x:-55", reply=reply))
    await storage.jobs.acknowledged(waits.id, f"{OLD}/30")
    await people.change_place_settings(OLD, {"rules.steps": [1, 9], "open": False})
    await people.change_place_settings(f"{OLD}/7", {"policy.safety": "refuse"})
    await moderation.ban("x:b", by=OLD, reason="spam", place=OLD)
    await storage.styles.add(OLD, "noir", "dark", "", by=OLD)
    await record(storage, AuditEntry(by="x:mod", act="rules", place=f"{OLD}/7"))
    await storage.people.move_place(OLD, NEW, reply=TO_NEW)

    for job, place, thread in ((waits, NEW, None), (done, NEW, None), (topical, f"{NEW}/7", 7)):
        found = await storage.jobs.get(job.id)
        assert (found.place, found.reply.get("thread")) == (place, thread)
        assert (found.reply["chat"], found.reply.get("to")) == (-1005, None)
    assert await storage.jobs.get(elsewhere.id) == elsewhere
    [pending] = await storage.outbox.list_due(["x"])
    assert (pending.job.id, pending.job.reply["chat"]) == (done.id, -1005)
    assert (await line_in(storage, NEW))[0].settings == {"rules.steps": [1, 9], "open": False}
    assert (await line_in(storage, f"{NEW}/7"))[0].settings == {"policy.safety": "refuse"}
    assert await names(storage, f"{NEW}/7") == [f"{NEW}/7", NEW, EVERYWHERE]
    ban = await ban_of(storage, "x:b", f"{NEW}/7")
    assert (ban and ban.reason) == "spam"
    assert [style.name for style in await storage.styles.list(f"{NEW}/7")] == ["noir"]
    assert await moderation.acts(within=OLD) == ()
    assert {act.act for act in await moderation.acts(within=NEW)} >= {"ban", "rules"}
    for place, count in ((NEW, 3), (OLD, 0), ("x:-55", 1)):
        assert sum((await storage.history.stats(place=place)).jobs.values()) == count
    found_there = await storage.history.search("cat", place=NEW)
    assert {job.id for job in found_there} == {waits.id, done.id}
    assert await storage.history.search("cat", place=OLD) == ()
    # What still names the old id meets the same rules; its messages stand where they stood.
    assert await names(storage, f"{OLD}/7") == [f"{OLD}/7", f"{NEW}/7", NEW, EVERYWHERE]
    assert await names(storage, f"{OLD}/8") == [f"{OLD}/8", OLD, NEW, EVERYWHERE]
    shown = await storage.jobs.by_message(f"{OLD}/30")
    assert (shown and shown[0].id) == waits.id
    assert await storage.people.moved_places() == {OLD: NEW, f"{OLD}/7": f"{NEW}/7"}
    for place in (f"{OLD}/7", f"{NEW}/7"):
        assert await storage.people.present_place(place) == f"{NEW}/7"


async def test_moved_twice_is_moved_once_and_what_came_late_follows(storage: Storage) -> None:
    await storage.jobs.add(a_job(place=OLD))
    await storage.people.change_place_settings(OLD, {"rules.steps": [1, 9]})
    await storage.people.move_place(OLD, NEW, reply=TO_NEW)
    before = await everything(storage)
    await storage.people.move_place(OLD, NEW, reply=TO_NEW)
    assert await everything(storage) == before
    await storage.people.move_place(NEW, OLD, reply={"chat": -5})  # not in a circle
    assert await everything(storage) == before
    late = await storage.jobs.add(a_job(place=OLD))
    await storage.people.move_place(OLD, NEW, reply=TO_NEW)
    assert (await storage.jobs.get(late.id)).place == NEW


async def test_what_the_new_place_has_already_stands_and_the_later_ban_counts(home: Home) -> None:
    time = NOON
    async with home.open(now=lambda: time) as storage:
        people, bans = storage.people, storage.moderation
        await people.change_place_settings(OLD, {"rules.steps": [1, 9], "rules.daily": 5})
        await people.change_place_settings(NEW, {"rules.steps": [1, 20]})
        for person, places in (("x:a", (OLD, NEW)), ("x:b", (NEW, OLD))):
            for place in places:
                await bans.ban(person, by="x:mod", reason=f"in {place}", place=place)
                time += timedelta(minutes=1)
        for place in (OLD, NEW):
            await storage.styles.add(place, "noir", f"of {place}", "", by="x:mod")
        await storage.styles.add(OLD, "soft", "soft", "", by="x:mod")
        await storage.jobs.add(a_job(place=NEW))
        await storage.people.move_place(OLD, NEW, reply=TO_NEW)
        assert (await line_in(storage, NEW))[0].settings == {
            "rules.steps": [1, 20],
            "rules.daily": 5,
        }
        for person, reason in (("x:a", f"in {NEW}"), ("x:b", f"in {OLD}")):
            ban = await ban_of(storage, person, NEW)
            assert (ban and ban.reason) == reason
        styles = {style.name: style.prompt for style in await storage.styles.list(NEW)}
        assert styles == {"noir": f"of {NEW}", "soft": "soft"}


async def test_who_writes_as_the_group_is_the_same_under_its_new_id(storage: Storage) -> None:
    first = await add_claimed(storage, a_job("a cat", person=OLD, place=OLD))
    second = await add_claimed(storage, a_job("a cat", person=NEW, place=NEW))
    for job in (first, second):
        await storage.jobs.rendered(job.id, job.epoch, drawn())
    for person in (OLD, NEW):
        await storage.favourites.add(person, first.id, 0)
    await storage.favourites.add(OLD, second.id, 0)
    await storage.people.change_settings(OLD, {"language": "zh", "options": {"steps": "9"}})
    await storage.people.change_settings(NEW, {"language": "en"})
    await storage.moderation.ban(OLD, by=OLD, reason="spam")
    await storage.people.move_place(OLD, NEW, reply=TO_NEW)
    assert {job.id for job in await storage.history.page(person=NEW)} == {first.id, second.id}
    assert {job.id for job in await storage.history.search("cat", person=NEW)} == {
        first.id,
        second.id,
    }
    assert len(await storage.favourites.page(NEW)) == 2
    settings = await storage.people.settings(NEW)
    assert settings == {"language": "en", "options": {"steps": "9"}}
    ban = await ban_of(storage, NEW, "x:9")
    assert (ban and ban.by) == NEW
    assert not await storage.privacy.knows(OLD)
    assert {(await storage.jobs.get(first.id)).status} == {Status.RENDERED}
    report = await storage.care.check()
    assert report.problems == ()


async def test_what_a_button_opened_ends_with_the_address_that_it_has(storage: Storage) -> None:
    job = await storage.jobs.add(a_job(place=OLD))
    where = {"message": f"{OLD}/30", "reply": {"chat": -5}}
    tokens = [
        await storage.web_access.grant(
            Grant(person="x:b", job=job.id, picture=0, place=place, **where)  # type: ignore[arg-type]
        )
        for place in (OLD, "x:-55")
    ]
    await storage.people.move_place(OLD, NEW, reply=TO_NEW)
    found = [await storage.web_access.granted(each, "x:b") for each in tokens]
    assert [each and each.place for each in found] == [None, "x:-55"]
