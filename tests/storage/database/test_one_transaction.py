"""A change and its entry in the log are one transaction; two changes at once are both kept."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bots.admission.gate import Gate
from bots.admission.roles import Roles
from bots.requests.default_options import forget_options, save_options, saved_options
from bots.requests.styles import Stylebook, UnknownStyle
from engine.errors import OptionError
from storage import Storage, UnknownPicture
from storage.database.database import Database
from storage.errors import DatabaseBusy
from tests.factories import add_claimed
from tests.storage.conftest import a_job, drawn
from tests.storage.people.test_people import with_pictures

Change = Callable[[Storage], Awaitable[Any]]


def gate(storage: Storage) -> Gate:
    return Gate(storage, Roles(owners={"x:own"}), {})


def book(storage: Storage) -> Stylebook:
    return Stylebook(storage, gate(storage))


async def both_at_once(storage: Storage) -> None:
    await gate(storage).narrow("x:1", {"steps": "1-30"}, "x:mod", is_open=False)


CHANGES: dict[str, tuple[Change, list[str]]] = {
    "owner's rules": (lambda s: gate(s).change("x:1", {"steps": "1-30"}, "x:own"), ["rules"]),
    "moderators' rules": (lambda s: gate(s).narrow("x:1", {"steps": "1-30"}, "x:mod"), ["policy"]),
    "closed": (lambda s: gate(s).narrow("x:1", {}, "x:mod", is_open=False), ["open"]),
    "rules and closed": (both_at_once, ["open", "policy"]),
    "style": (lambda s: book(s).add("x:1", "noir", "dark", "", by="x:mod"), ["style"]),
    "ban": (lambda s: s.moderation.ban("x:a", by="x:mod", reason="spam"), ["ban"]),
    "pause": (lambda s: s.moderation.pause("noon", by="x:mod"), ["pause"]),
    "cancelled": (lambda s: s.jobs.cancel(1, by="x:mod"), ["cancel"]),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_written_together_with_what_the_log_says_of_it(
    storage: Storage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, entries = CHANGES[name]
    await storage.jobs.add(a_job(person="x:a"))
    write, writes = Database.write, []

    async def once(self: Database, *arguments: Any) -> Any:
        writes.append(arguments)
        if len(writes) > 1:
            raise DatabaseBusy(self.where)
        return await write(self, *arguments)

    monkeypatch.setattr(Database, "write", once)
    await change(storage)
    assert [act.act for act in await storage.moderation.acts()] == entries


async def test_what_could_not_be_changed_is_not_in_the_log(storage: Storage) -> None:
    with pytest.raises(OptionError):
        await gate(storage).change("x:1", {"steps": "30-1"}, "x:own")
    await gate(storage).change("x:1", {"steps": "1-10"}, "x:own")
    with pytest.raises(OptionError):
        await gate(storage).narrow("x:1", {"steps": "20-30"}, "x:mod", is_open=False)
    assert not await storage.styles.remove("x:1", "noir", by="x:mod")
    assert [act.act for act in await storage.moderation.acts()] == ["rules"]
    assert (await gate(storage).in_force("x:1")).is_open


async def test_moderators_are_held_to_what_the_owner_says_at_the_same_moment(
    storage: Storage,
) -> None:
    asked = gate(storage)
    done, refused = await asyncio.gather(
        asked.change("x:1", {"steps": "1-10"}, "x:own"),
        asked.narrow("x:1", {"steps": "20-30"}, "x:mod"),
        return_exceptions=True,
    )
    assert done is None
    assert isinstance(refused, OptionError)
    assert (await asked.in_force("x:1")).rules["steps"] == [1, 10]


async def test_of_two_preferences_saved_at_once_both_are_kept(storage: Storage) -> None:
    people = storage.people
    saved = [{"steps": "9"}, {"guidance": "4"}, {"count": "2"}]
    await asyncio.gather(*(save_options(people, "x:a", each) for each in saved))
    assert await saved_options(people, "x:a") == {"steps": "9", "guidance": "4", "count": "2"}
    await people.change_settings("x:a", {"language": "zh"})
    await forget_options(people, "x:a")
    assert await people.settings("x:a") == {"language": "zh"}


async def test_a_style_that_is_removed_twice_at_once_is_in_the_log_once(storage: Storage) -> None:
    await book(storage).add("x:1", "noir", "dark", "", by="x:mod")
    removals = [book(storage).remove("x:1", "noir", by=f"x:{who}") for who in "ab"]
    told = await asyncio.gather(*removals, return_exceptions=True)
    assert sorted(isinstance(each, UnknownStyle) for each in told) == [False, True]
    assert [act.act for act in await storage.moderation.acts()] == ["remove style", "style"]


async def test_only_what_is_done_to_others_jobs_is_in_the_log(storage: Storage) -> None:
    mine, theirs = [await storage.jobs.add(a_job(person=who)) for who in ("x:mod", "x:a")]
    for _ in range(2):
        await storage.jobs.cancel(mine.id, by="x:mod")
        await storage.jobs.cancel(theirs.id, by="x:mod")
    await storage.moderation.record_removal(mine, by="x:mod")
    await storage.moderation.record_removal(theirs, by="x:mod")
    acts = await storage.moderation.acts(within="terminal")
    assert [(act.act, act.target, act.detail) for act in acts] == [
        ("delete", "x:a", {"job": theirs.id}),
        ("cancel", "x:a", {"job": theirs.id}),
    ]


async def test_the_pictures_of_a_grid_become_favourites_together_or_not_at_all(
    storage: Storage,
) -> None:
    job, kept = await with_pictures(storage, b"a", b"b"), storage.favourites
    with pytest.raises(UnknownPicture):
        await kept.add("x:a", job, 0, 1, 2)
    with pytest.raises(UnknownPicture):
        await kept.toggle("x:a", job, 0, 1, 2)
    assert await kept.page("x:a") == ()
    await kept.add("x:a", job, 1)
    assert await kept.toggle("x:a", job, 0, 1)
    assert not await kept.toggle("x:a", job, 0, 1)
    assert await kept.toggle("x:a", job, 0, 1, event="x:press")
    assert await kept.toggle("x:a", job, 0, 1, event="x:press")  # a process died behind the first
    assert not await kept.toggle("x:a", job, 0, 1, event="x:another")
    assert not await kept.toggle("x:a", job, 0, 1, event="x:another")
    assert await kept.page("x:a") == ()


async def test_whoever_presses_twice_at_once_keeps_a_picture_as_before(storage: Storage) -> None:
    job = await add_claimed(storage, a_job())
    await storage.jobs.rendered(job.id, job.epoch, drawn(b"a", b"b"))
    presses = (storage.favourites.toggle("x:a", job.id, 0, 1) for _ in range(2))
    assert await asyncio.gather(*presses) == [True, False]
    assert await storage.favourites.page("x:a") == ()
