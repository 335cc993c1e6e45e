"""Which place lies in which: recorded from the outside in, once, and again after a failure."""

from __future__ import annotations

from typing import Any

import pytest

from bots.chat.places import Places
from storage.errors import DatabaseBusy


class People:
    """Notes what is recorded; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.recorded: list[tuple[str, str]] = []

    async def add_place(self, place: str, parent: str) -> None:
        if self.failures:
            self.failures -= 1
            raise DatabaseBusy("marble.db")
        self.recorded.append((place, parent))


async def test_a_thread_is_recorded_after_the_channel_that_it_lies_in_and_once() -> None:
    people: Any = People()
    places = Places(people)
    for _ in range(2):
        await places.add("thread", "channel", "server")
    assert people.recorded == [("channel", "server"), ("thread", "channel")]
    assert "thread" in places


async def test_what_could_not_be_recorded_is_tried_again() -> None:
    people: Any = People(failures=1)
    places = Places(people)
    with pytest.raises(DatabaseBusy):
        await places.add("topic", "group")
    assert "topic" not in places
    await places.add("topic", "group")
    assert people.recorded == [("topic", "group")]


async def test_a_place_that_lies_in_no_other_is_not_recorded() -> None:
    people: Any = People()
    await Places(people).add("group")
    assert people.recorded == []


async def test_places_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bots.chat.places.REMEMBERED", 2)
    people: Any = People()
    places = Places(people)
    for topic in ("a", "b", "c"):
        await places.add(topic, "group")
    assert ["a" in places, "c" in places] == [False, True]
