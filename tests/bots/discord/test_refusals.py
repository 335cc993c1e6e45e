"""What is answered where something cannot be done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bots.discord.handler import Handler
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

    async def answer(sentence: str) -> None:
        told.append(sentence)

    handler: Any = object.__new__(Handler)
    handler._unanswered = SimpleNamespace(answered=lambda event: None)
    request: Any = SimpleNamespace(words=words_of(language), label="/imagine", event="discord:1")
    request.answer = answer
    async with handler.receive(request):
        raise fault("marble.db")
    assert told == [getattr(words_of(language), field)]
