"""Who may see and end a picture, as plain rules; the platforms' tests play them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from bots.admission.gate import Gate
from bots.admission.roles import Role, Roles
from bots.chat.access import (
    Audience,
    Facts,
    Purpose,
    Relation,
    Viewer,
    audience_of,
    check_personal,
    find_picture,
    may_end,
)
from engine.errors import UserError
from storage import NewJob, Storage
from storage.database.tables import jobs
from storage.errors import UnreadableRecipe
from tests.bots.access_table import markdown
from tests.conftest import ROOT
from tests.factories import make_recipe

POSTED = UnreadableRecipe(1, "", person="x:ada", place="x:1")  # it says who asked, and where
BOB = Viewer(person="x:bob", place="x:2")
PAGE = ROOT / "docs" / "access-table.md"


def test_the_docs_show_the_table_that_the_platforms_are_held_to() -> None:
    table = "\n".join(markdown()).strip()
    assert PAGE.read_text(encoding="utf-8").rstrip().endswith(table)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("relation", [None, *Relation])
def test_nobody_but_an_owner_sees_what_was_asked_for_in_private(
    role: Role, relation: Relation | None
) -> None:
    audience = audience_of(POSTED, BOB, Facts(role=role, relation=relation))
    if relation in (None, Relation.PRIVATE):
        assert (audience is Audience.ALONE) == (role is Role.OWNER)
    sees = relation in (Relation.SEES, Relation.MODERATES)
    known = relation is Relation.NONE and role >= Role.MODERATOR
    assert (audience is not Audience.NONE) == (sees or known or role is Role.OWNER)


@dataclass(frozen=True)
class Anybody:
    """Be somebody who has nothing to do with any place but the one where they ask."""

    viewer: Viewer

    def shares(self, place: str) -> bool:
        return place == self.viewer.place

    async def relation(self, place: str) -> Relation:
        return Relation.NONE


async def test_a_job_that_cannot_be_read_tells_so_to_whoever_may_see_it_alone(
    tmp_path: Path,
) -> None:
    async with Storage.open(tmp_path) as storage:
        new = NewJob(recipe=make_recipe(), person="x:ada", place="x:1")
        job = await storage.jobs.add(new)
        newer = update(jobs).where(jobs.c.id == job.id).values(recipe={"version": 99})
        await storage.database.write(lambda c: c.execute(newer))
        app: Any = SimpleNamespace(storage=storage, gate=Gate(storage, Roles(), {}))
        ada = Anybody(Viewer(person="x:ada", place="x:2"))
        with pytest.raises(UnreadableRecipe):
            await find_picture(app, "1", ada, Purpose.TELL)
        told = []
        for name in ("1", "2"):
            with pytest.raises(UserError, match="There is no picture") as caught:
                await find_picture(app, name, Anybody(BOB), Purpose.TELL)
            told.append(str(caught.value).replace(name, "N"))
        assert told[0] == told[1]


def test_a_name_that_several_write_in_owns_what_it_asked_for_here_alone() -> None:
    group = Viewer(person="x:ada", place="x:2", is_person=False)
    here, elsewhere = Facts(role=Role.MEMBER, shared=True), Facts(role=Role.MEMBER)
    assert (audience_of(POSTED, group, here), may_end(POSTED, group, here)) == (Audience.ALL, True)
    assert audience_of(POSTED, group, elsewhere) is Audience.NONE
    assert not may_end(POSTED, group, elsewhere)


@pytest.mark.parametrize("is_person", [True, False])
@pytest.mark.parametrize("in_private", [True, False])
@pytest.mark.parametrize("answered_alone", [True, False])
def test_what_is_personal_is_told_to_a_person_whom_nobody_else_hears(
    is_person: bool, in_private: bool, answered_alone: bool
) -> None:
    facts = {"is_person": is_person, "in_private": in_private, "answered_alone": answered_alone}
    viewer = Viewer(person="x:ada", place="x:1", **facts)
    if is_person and (in_private or answered_alone):
        check_personal(viewer)
    else:
        with pytest.raises(UserError):
            check_personal(viewer)
