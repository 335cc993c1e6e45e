"""What the desk says where something cannot be done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bots.discord.desk import Desk
from bots.texts import LANGUAGES, words_of
from storage.errors import DatabaseBusy, DatabaseFault, DiskFull, DiskTrouble


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("fault", "field"),
    [(DatabaseBusy, "busy"), (DiskFull, "disk_full"), (DiskTrouble, "database_out")],
)
async def test_people_hear_why_nothing_can_be_kept(
    fault: type[DatabaseFault], field: str, language: str
) -> None:
    told: list[str] = []

    async def refuse(sentence: str) -> None:
        told.append(sentence)

    unanswered = SimpleNamespace(answered=lambda event: None)
    desk: Any = object.__new__(Desk)
    desk.client = SimpleNamespace(unanswered=unanswered)
    visit: Any = SimpleNamespace(words=words_of(language), deed="/imagine", event="discord:1")
    visit.refuse = refuse
    async with desk.receive(visit):
        raise fault("marble.db")
    assert told == [getattr(words_of(language), field)]
