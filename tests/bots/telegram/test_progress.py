"""Placeholders and the replies that they become."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bots.telegram.progress import Placeholder, Placeholders
from bots.worker.delivery import TryLater

JOB: Any = SimpleNamespace(id=1, message=None)


def placeholders(**standing: Placeholder) -> Placeholders:
    nobody: Any = None
    found = {int(name.removeprefix("job")): each for name, each in standing.items()}
    return Placeholders(nobody, nobody, nobody, nobody, nobody, found)


async def test_a_reply_whose_placeholder_waits_for_its_chat_is_put_off() -> None:
    with pytest.raises(TryLater) as caught:
        await placeholders(job1=Placeholder(None), job2=Placeholder(None)).stop(JOB)
    assert caught.value.seconds > 1


async def test_a_reply_waits_for_the_edit_that_is_on_its_way_and_allows_no_other() -> None:
    standing = Placeholder("telegram:1/2")
    standing.placed.set()
    await standing.editing.acquire()
    stopping = asyncio.create_task(placeholders(job1=standing).stop(JOB))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert standing.over
    assert not stopping.done()
    standing.editing.release()
    assert await stopping is standing
