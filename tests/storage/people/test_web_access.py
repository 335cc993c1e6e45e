"""Who is signed in to the web page, and for how long."""

from __future__ import annotations

import asyncio
import json
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from storage import Storage
from storage.database.database import Database
from storage.database.tables import web_grants, web_links, web_sessions
from storage.errors import DatabaseBusy
from storage.people.web_access import GRANT, LINK, LINKS, SESSION, USED, WebAccess
from storage.records import Grant
from tests.storage.conftest import a_job

ADA = "x:ada"


def later(access: WebAccess, time: timedelta) -> WebAccess:
    """Return the same with a clock that is ahead."""
    moment = access.now() + time
    return WebAccess(access.database, lambda: moment)


async def a_grant(storage: Storage, person: str = ADA) -> Grant:
    job = await storage.jobs.add(a_job(person="x:bob", place="x:1"))
    where = {"message": "x/1/7", "place": "x:1", "reply": {"chat": 1, "token": "kept-secret"}}
    return Grant(person=person, job=job.id, picture=2, **where)  # type: ignore[arg-type]


async def test_a_link_opens_one_session_and_only_its_opening_uses_it(storage: Storage) -> None:
    access = storage.web_access
    token = await access.make_link(ADA, "/pictures/12.3")
    for _ in range(2):  # as a chat looks at it for its preview
        link = await access.link(token)
        assert link
        assert (link.person, link.path) == (ADA, "/pictures/12.3")
    spent = await access.spend(token)
    assert spent
    session, link = spent
    assert link.path == "/pictures/12.3"
    assert await access.link(token) is None
    assert await access.spend(token) is None
    found = await access.signed_in(session, str)
    assert found
    assert found.session.person == ADA


async def test_a_session_is_found_with_what_applies_to_its_person(storage: Storage) -> None:
    spent = await storage.web_access.spend(await storage.web_access.make_link(ADA))
    assert spent
    await storage.people.change_place_settings(f"web:{ADA}", {"count": 2})
    for person, banned in (("x:bob", None), (ADA, "spam")):
        await storage.moderation.ban(person, by="x:owner", reason="spam")
        found = await storage.web_access.signed_in(spent[0], lambda person: f"web:{person}")
        assert found
        assert (found.ban.reason if found.ban else None) == banned
        assert [level.settings for level in found.line] == [{"count": 2}, {}]


async def test_of_two_who_use_a_link_at_once_one_is_signed_in(storage: Storage) -> None:
    token = await storage.web_access.make_link(ADA)
    results = await asyncio.gather(*(storage.web_access.spend(token) for _ in range(8)))
    assert sum(each is not None for each in results) == 1


async def test_links_sessions_and_grants_end(storage: Storage) -> None:
    access = storage.web_access
    link, session = await access.make_link(ADA), await access.open_session(ADA)
    grant = await access.grant(await a_grant(storage))
    moment = timedelta(seconds=1)
    assert await later(access, LINK - moment).link(link)
    assert not await later(access, LINK + moment).link(link)
    assert not await later(access, LINK + moment).spend(link)
    assert await later(access, GRANT - moment).granted(grant, ADA)
    assert not await later(access, GRANT + moment).granted(grant, ADA)
    assert await later(access, SESSION - moment).signed_in(session, str)  # which notes its use
    assert await later(access, SESSION + SESSION - 2 * moment).signed_in(session, str)
    assert not await later(access, 3 * SESSION).signed_in(session, str)


async def test_a_session_is_known_though_its_use_cannot_be_noted(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await storage.web_access.open_session(ADA)

    async def write(*args: object) -> None:
        raise DatabaseBusy("marble.db")

    monkeypatch.setattr(Database, "write", write)
    assert await later(storage.web_access, USED + USED).signed_in(session, str)


async def test_the_oldest_link_makes_room_and_others_keep_theirs(storage: Storage) -> None:
    access = storage.web_access
    others = await access.make_link("x:bob")
    links = [await later(access, timedelta(seconds=n)).make_link(ADA) for n in range(LINKS + 1)]
    assert [await access.link(each) is not None for each in links] == [False] + [True] * LINKS
    assert await access.link(others)


async def test_a_grant_is_of_one_person_and_ends_with_its_job(storage: Storage) -> None:
    access, given = storage.web_access, await a_grant(storage)
    token = await access.grant(given)
    assert await access.granted(token, ADA) == given
    assert await access.granted(token, "x:eve") is None
    await storage.privacy.forget("x:bob")
    assert await access.granted(token, ADA) is None


async def test_sessions_can_be_ended_one_or_all(storage: Storage) -> None:
    access = storage.web_access
    first, second, others = [await access.open_session(who) for who in (ADA, ADA, "x:bob")]
    link, grant = await access.make_link(ADA), await access.grant(await a_grant(storage))
    assert await access.end(first)
    assert not await access.end(first)
    assert await access.signed_in(second, str)
    assert await access.end_all(ADA) == 1
    assert not await access.signed_in(second, str)
    assert not await access.link(link)
    assert not await access.granted(grant, ADA)
    assert await access.signed_in(others, str)


async def test_no_token_is_stored_and_what_has_ended_is_swept(storage: Storage) -> None:
    access = storage.web_access
    grant = await access.grant(await a_grant(storage))  # which is good in its person's session
    tokens = [
        await access.make_link(ADA, f"/brush/1?grant={grant}"),
        await access.open_session(ADA),
    ]

    def rows(connection: Connection) -> list[object]:
        tables = (web_links, web_sessions, web_grants)
        return [row for table in tables for row in connection.execute(table.select())]

    kept = await storage.database.read(rows)
    assert len(kept) == 3
    assert not any(token in repr(kept) for token in tokens)
    await later(access, timedelta(hours=1)).sweep()
    assert len(await storage.database.read(rows)) == 2
    await later(access, SESSION + GRANT).sweep()
    assert await storage.database.read(rows) == []


@pytest.mark.parametrize("token", ["", "x" * 100_000, "\udcff", "' OR 1=1 --", "\0"])
async def test_what_is_no_token_finds_nothing(storage: Storage, token: str) -> None:
    await storage.web_access.open_session(ADA)
    assert await storage.web_access.signed_in(token, str) is None
    assert await storage.web_access.spend(token) is None
    assert await storage.web_access.granted(token, ADA) is None


async def test_what_is_kept_of_a_person_names_sessions_and_goes_with_them(
    storage: Storage, tmp_path: Path
) -> None:
    access = storage.web_access
    tokens = [await access.open_session(ADA), await access.grant(await a_grant(storage))]
    await storage.exports.to_file(ADA, tmp_path / "ada.zip")
    text = zipfile.ZipFile(tmp_path / "ada.zip").read("person.json").decode()
    kept = json.loads(text)
    assert [each["person"] for each in (*kept["signed_in"], *kept["opened"])] == [ADA, ADA]
    assert not any(secret in text for secret in (*tokens, "kept-secret"))
    assert "id" not in kept["signed_in"][0]
    await storage.privacy.forget(ADA)
    assert await access.signed_in(tokens[0], str) is None
    assert await access.granted(tokens[1], ADA) is None
