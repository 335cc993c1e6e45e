import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bots.admission.roles import Roles
from bots.worker.pausing import Pausing
from engine.errors import OptionError, UserError
from engine.queue.queue import Queue
from storage import Storage
from tests.conftest import PATIENCE

ROLES = Roles(owners={"discord:own"}, moderators={"discord:mod"})


@dataclass(frozen=True)
class Process:
    """One of several processes on one database."""

    storage: Storage
    queue: Queue
    pausing: Pausing


def process(storage: Storage) -> Process:
    queue = Queue(lambda: 1)
    return Process(storage, queue, Pausing(storage.moderation, queue, ROLES))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Process]:
    async with Storage.open(tmp_path) as storage:
        yield process(storage)


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Process]:
    async with Storage.open(tmp_path) as storage:
        yield process(storage)


async def test_a_pause_in_one_process_is_obeyed_in_another(
    here: Process, there: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.worker.pausing.LOOK", 0)
    looking = asyncio.create_task(there.pausing.run(), name="looking")
    await here.pausing.pause("Back at  noon.", "discord:mod")
    assert here.queue.order.reason == "Back at noon."
    async with asyncio.timeout(PATIENCE):
        await there.queue.changed.wait()
        reasons = [there.queue.order.reason]
        there.queue.changed.clear()
        assert await here.pausing.resume("discord:own")
        await there.queue.changed.wait()
    reasons += [here.queue.order.reason, there.queue.order.reason]
    assert reasons == ["Back at noon.", None, None]
    looking.cancel()


async def test_it_survives_restarts_and_is_in_the_moderators_log(
    here: Process, there: Process
) -> None:
    await here.pausing.pause("A new card.", "terminal:ada")
    await here.pausing.pause("Still a new card.", "discord:mod")
    await there.pausing.look()
    assert there.queue.order.reason == "Still a new card."
    pause = await there.storage.moderation.paused()
    assert pause
    assert (pause.reason, pause.by) == ("Still a new card.", "discord:mod")
    await there.pausing.resume("discord:mod")
    acts = await here.storage.moderation.acts()
    assert [(act.act, act.by, act.detail.get("reason")) for act in acts] == [
        ("resume", "discord:mod", None),
        ("pause", "discord:mod", "Still a new card."),
        ("pause", "terminal:ada", "A new card."),
    ]


async def test_looking_again_is_no_news(here: Process) -> None:
    await here.pausing.pause("Back at noon.", "discord:mod")
    here.queue.changed.clear()
    await here.pausing.look()
    assert not here.queue.changed.is_set()


async def test_resuming_what_is_not_paused_leaves_no_trace(here: Process) -> None:
    assert not await here.pausing.resume("discord:mod")
    assert await here.storage.moderation.acts() == ()


async def test_a_pause_for_another_reason_stays(here: Process) -> None:
    here.queue.pause("The disk is full.", "disk")
    await here.pausing.look()
    assert here.queue.order.reason == "The disk is full."


async def test_only_moderators_pause_and_resume(here: Process) -> None:
    with pytest.raises(UserError, match="Only moderators can do that"):
        await here.pausing.pause("I want it all.", "discord:ada")
    await here.pausing.pause("Back at noon.", "discord:mod")
    with pytest.raises(UserError, match="Only moderators can do that"):
        await here.pausing.resume("discord:ada")
    assert here.queue.order.reason == "Back at noon."


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 301, "bell \a"])
async def test_a_reason_that_people_cannot_read_is_refused(here: Process, reason: str) -> None:
    with pytest.raises(OptionError, match="The reason must be 1 to 300 visible characters"):
        await here.pausing.pause(reason, "discord:mod")
    assert await here.storage.moderation.paused() is None
