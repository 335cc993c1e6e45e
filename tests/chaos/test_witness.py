"""What people saw is counted as it was, also where it was deleted since, or came twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from PIL import Image

from bots.texts import words_of
from engine.pictures.images import to_png
from tests.chaos.account import Kept, Seen, judge
from tests.chaos.witness import State, Witness
from tests.conftest import DISCORD_SPEC
from tests.fakes.discord import FakeDiscord
from tests.fakes.telegram.people import person
from tests.fakes.telegram.server import TelegramServer

WORDS = words_of("en")


@pytest.fixture
async def witness() -> AsyncIterator[Witness]:
    async with FakeDiscord.start(DISCORD_SPEC) as discord:
        yield Witness(TelegramServer(), discord)


def buttons(**acts: str) -> dict[str, Any]:
    row = [{"text": name, "callback_data": f"{name}:{job}"} for name, job in acts.items()]
    return {"inline_keyboard": [row]}


def from_bot(witness: Witness, **content: Any) -> dict[str, Any]:
    server = witness.telegram
    somebody = person(server)
    return server.new_message(somebody.id, **{"from": server.me}, **content)


def a_result(witness: Witness, job: int) -> dict[str, Any]:
    photo = witness.telegram.photo(to_png(Image.new("RGB", (8, 8))))
    return from_bot(witness, photo=photo, reply_markup=buttons(same=f"{job}", delete=f"{job}"))


def seen(witness: Witness) -> list[Seen]:
    return [
        Seen(key=each.key, job=each.job, ended=each.ended is not None)
        for each in witness.seen.values()
    ]


async def test_a_placeholder_becomes_its_result(witness: Witness) -> None:
    message = from_bot(witness, text=WORDS.submitted, reply_markup=buttons(cancel="7"))
    witness.look()
    (sighting,) = witness.seen.values()
    assert (sighting.state, sighting.job, sighting.ended) == (State.WAITING, 7, None)
    message.update(text=WORDS.cancelled)
    del message["reply_markup"]
    witness.look()
    assert (sighting.state, sighting.job) == (State.CANCELLED, 7)
    assert sighting.ended


async def test_a_second_result_is_counted_though_it_was_deleted(witness: Witness) -> None:
    first, second = a_result(witness, 7), a_result(witness, 7)
    witness.look()
    del witness.telegram.messages[first["chat"]["id"], first["message_id"]]
    witness.look()
    assert [each.stands for each in witness.seen.values()] == [False, True]
    assert second["message_id"] != first["message_id"]
    found = judge([Kept(job=7, status="delivered")], seen(witness), [], frozenset())
    assert found.doubled == ("job 7: its end was shown 2 times",)


async def test_a_result_that_never_comes_is_missed(witness: Witness) -> None:
    from_bot(witness, text=WORDS.submitted, reply_markup=buttons(cancel="7"))
    witness.look()
    found = judge([Kept(job=7, status="delivered")], seen(witness), [], frozenset())
    assert found.lost == ("job 7: it is delivered, which nobody was shown",)
