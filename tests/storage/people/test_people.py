"""People and places: favourites, settings, bans, acts and events."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import ColumnElement, func, select

from storage import Storage, UnknownPicture
from storage.database.audit import AuditEntry
from storage.database.tables import jobs
from storage.jobs.place_tree import within
from tests.factories import add_claimed, line_in
from tests.storage.conftest import Home, a_job, ban_of, drawn, record


async def with_pictures(storage: Storage, *contents: bytes) -> int:
    job = await add_claimed(storage, a_job())
    await storage.jobs.rendered(job.id, job.epoch, drawn(*contents))
    return job.id


async def places_of(storage: Storage, place: str) -> list[str]:
    return [level.place for level in await line_in(storage, place)]


async def counted(storage: Storage, which: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(jobs).where(which)
    return await storage.database.read(lambda c: c.scalar(query) or 0)


async def test_favourites_are_kept_once_and_listed_from_the_newest(storage: Storage) -> None:
    one, two = await with_pictures(storage, b"a", b"b"), await with_pictures(storage, b"c")
    for job, picture in ((one, 1), (two, 0), (one, 0)):
        assert await storage.favourites.add("x:a", job, picture)
    assert not await storage.favourites.add("x:a", two, 0)
    first = await storage.favourites.page("x:a", limit=2)
    assert [kept.picture.name for kept in first] == [f"{two}.1", f"{one}.2"]
    last = first[-1].picture
    rest = await storage.favourites.page("x:a", before=(last.job, last.index))
    assert [kept.picture.name for kept in rest] == [f"{one}.1"]
    assert await storage.favourites.remove("x:a", one, 0)
    assert not await storage.favourites.remove("x:a", one, 0)
    assert await storage.favourites.page("x:b") == ()


async def test_it_is_known_which_pictures_of_some_jobs_are_favourites(storage: Storage) -> None:
    for _ in range(2):
        job = await add_claimed(storage, a_job())
        await storage.jobs.rendered(job.id, job.epoch, drawn(b"one", b"two"))
    await storage.favourites.add("x:a", 1, 1)
    await storage.favourites.add("x:a", 2, 0)
    assert await storage.favourites.among("x:a", [1, 2]) == {(1, 1), (2, 0)}
    assert await storage.favourites.among("x:a", [2]) == {(2, 0)}
    assert await storage.favourites.among("x:b", [1, 2]) == frozenset()


async def test_only_a_picture_can_be_a_favourite(storage: Storage) -> None:
    job = await with_pictures(storage)
    with pytest.raises(UnknownPicture, match=rf"no picture '{job}\.9'"):
        await storage.favourites.add("x:a", job, 8)


async def test_settings_change_one_by_one(storage: Storage) -> None:
    assert await storage.people.settings("x:a") == {}
    await storage.people.change_settings("x:a", {"steps": 30, "language": "zh", "size": [1, 2]})
    changed = await storage.people.change_settings("x:a", {"steps": None, "language": "en"})
    assert changed == {"language": "en", "size": [1, 2]}
    assert await storage.people.settings("x:a") == changed


async def test_a_place_inherits_from_what_it_lies_in(storage: Storage) -> None:
    await storage.people.add_place("x:chat", "x:server")
    await storage.people.add_place("x:topic", "x:chat")
    await storage.people.change_place_settings("x:server", {"nsfw": False, "count": 4})
    await storage.people.change_place_settings("x:topic", {"count": 1})
    topic, chat, server, everywhere = await line_in(storage, "x:topic")
    assert (topic.place, topic.settings) == ("x:topic", {"count": 1})
    assert (chat.place, chat.settings) == ("x:chat", {})
    assert (server.place, server.settings) == ("x:server", {"nsfw": False, "count": 4})
    assert (everywhere.place, everywhere.settings) == ("*", {})
    assert await places_of(storage, "x:chat") == ["x:chat", "x:server", "*"]
    assert await places_of(storage, "x:nowhere") == ["x:nowhere", "*"]


async def test_places_are_listed_by_the_names_of_their_settings(storage: Storage) -> None:
    kept: dict[str, dict[str, object]] = {
        "x:rules": {"rules.steps": [1, 9]},
        "x:closed": {"open": False},
        "x:other": {"count": 4, "opened": "by rules.steps", "rulesXsteps": 1},
        "*": {"policy.daily": 5, "count": 1},
    }
    for place, settings in kept.items():
        await storage.people.change_place_settings(place, settings)
    wanted = ("rules.", "policy.", 'open"')
    assert await storage.people.places_having(wanted, 9) == ("*", "x:closed", "x:rules")
    assert await storage.people.places_having(wanted, 2) == ("*", "x:closed")


async def test_a_place_lies_in_what_its_name_says_until_more_is_known(storage: Storage) -> None:
    assert await places_of(storage, "x:-1/23") == ["x:-1/23", "x:-1", "*"]
    await storage.jobs.add(a_job(place="x:-1/23"))
    await storage.people.change_place_settings("x:-1/24", {"count": 1})
    await storage.people.add_place("x:-1/25")
    for place in ("x:-1/23", "x:-1/24", "x:-1/25"):
        assert await places_of(storage, place) == [place, "x:-1", "*"]
    await storage.people.add_place("x:-1/23", "x:-1/24")
    await storage.jobs.add(a_job(place="x:-1/23"))
    await storage.people.add_place("x:-1/23")
    assert await places_of(storage, "x:-1/23") == ["x:-1/23", "x:-1/24", "x:-1", "*"]
    for alone in ("x:@me/5", "x:app/1/", "terminal"):
        assert await places_of(storage, alone) == [alone, "*"]


async def test_a_place_that_lies_in_itself_ends_no_loop(storage: Storage) -> None:
    await storage.people.add_place("x:1", "x:2")
    await storage.people.add_place("x:2", "x:1")
    assert await places_of(storage, "x:1") == ["x:1", "x:2", "*"]
    await storage.jobs.add(a_job(place="x:1"))
    assert await counted(storage, within("x:2")) == 1


async def test_a_ban_holds_where_it_was_said_and_below(storage: Storage) -> None:
    await storage.people.add_place("x:chat", "x:server")
    ban = await storage.moderation.ban("x:a", by="x:mod", reason="spam", place="x:server")
    assert await ban_of(storage, "x:a", "x:chat") == ban
    assert await ban_of(storage, "x:a", "x:other") is None
    assert await ban_of(storage, "x:b", "x:chat") is None
    everywhere = await storage.moderation.ban("x:b", by="x:mod", reason="bot")
    assert await ban_of(storage, "x:b", "x:other") == everywhere
    assert await storage.moderation.lift_ban("x:b", by="x:mod")
    assert not await storage.moderation.lift_ban("x:b", by="x:mod")
    acts = await storage.moderation.acts()
    assert [(act.act, act.by, act.target) for act in acts] == [
        ("lift ban", "x:mod", "x:b"),
        ("ban", "x:mod", "x:b"),
        ("ban", "x:mod", "x:a"),
    ]
    assert (await storage.moderation.acts(before=acts[1].id))[0].detail["reason"] == "spam"


async def test_a_ban_ends_when_it_was_said_to(home: Home) -> None:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    async with home.open(now=lambda: time) as storage:
        end = time + timedelta(hours=1)
        await storage.moderation.ban("x:a", by="x:mod", reason="spam", until=end)
        assert await ban_of(storage, "x:a", "x:1")
        for_good = await storage.moderation.ban("x:b", by="x:mod", reason="bot", place="x:1")
        assert [ban.person for ban in await storage.moderation.bans()] == ["x:a", "x:b"]
        time = end
        assert await ban_of(storage, "x:a", "x:1") is None
        assert await storage.moderation.bans() == (for_good,)


async def test_what_somebody_did_and_what_was_done_to_them_is_found(storage: Storage) -> None:
    for by, target in (("x:a", "x:b"), ("x:b", "x:c"), ("x:c", "x:a"), ("x:d", "x:c")):
        await record(storage, AuditEntry(by=by, act="cancel", target=target, place="x:1"))
    acts = await storage.moderation.acts(person="x:b")
    assert [(act.by, act.target) for act in acts] == [("x:b", "x:c"), ("x:a", "x:b")]
    assert await storage.moderation.acts(person="x:b", within="x:2") == ()


async def test_an_act_is_recorded(storage: Storage) -> None:
    await record(storage, AuditEntry(by="x:mod", act="delete", target="12", detail={"why": "nsfw"}))
    [act] = await storage.moderation.acts()
    assert (act.act, act.target, act.place, act.detail) == ("delete", "12", None, {"why": "nsfw"})


async def test_what_was_done_in_a_place_is_found_however_much_was_done_elsewhere(
    storage: Storage,
) -> None:
    places = ["discord:1", "discord:1/7", "discord:12", "discord:_", "discord:1/8"]
    for place in places:
        await record(storage, AuditEntry(by="discord:9", act="rules", place=place))
    for number in range(200):
        await record(storage, AuditEntry(by="discord:9", act=f"rules {number}", place="discord:2"))
    acts = await storage.moderation.acts(within="discord:1")
    assert [act.place for act in acts] == ["discord:1/8", "discord:1/7", "discord:1"]
    assert [act.place for act in await storage.moderation.acts(within="discord:_")] == ["discord:_"]
    assert len(await storage.moderation.acts(within="discord:1", before=acts[0].id, limit=1)) == 1


async def test_an_event_is_seen_once_and_may_still_make_a_job(storage: Storage) -> None:
    assert not await storage.moderation.was_seen("x:button:1")
    assert await storage.moderation.first_sight("x:button:1", "x:ada")
    assert await storage.moderation.was_seen("x:button:1")
    assert not await storage.moderation.first_sight("x:button:1", "x:ada")
    job = await storage.jobs.add(a_job(event="x:button:1"))
    assert await storage.jobs.add(a_job(event="x:button:1")) == job
