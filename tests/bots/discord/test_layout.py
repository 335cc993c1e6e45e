"""A job's pictures are laid out and sent once, however often its message is edited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from discord.http import Route

from bots.admission.rulebook import Safety
from bots.admission.visibility import View
from bots.discord import placeholders, replies
from bots.discord.connection import Connection
from bots.discord.permissions import Losses
from bots.discord.placeholders import WAYS, Placeholders
from bots.operations.settings import load_settings
from bots.presentation import grid
from bots.worker.delivery import WayClosed
from engine.events import News, Picture, Progress, Stage
from storage import PendingReply, Storage
from tests.bots.presentation.test_presentation import png
from tests.factories import add_claimed, make_recipe
from tests.fakes.discord import FakeDiscord, Message
from tests.storage.conftest import a_job, drawn

TOKEN, EDIT, *_ = WAYS
PICTURES = tuple(
    Picture(index=index, width=64, height=64, png=png(colour=colour))
    for index, colour in enumerate(("red", "blue"))
)


def step(number: int, finished: int, preview: bytes | None = None) -> Progress:
    """Return news of a step, with so many finished pictures."""
    shown = PICTURES[:finished]
    return Progress(stage=Stage.DENOISE, step=number, total=9, preview=preview, finished=shown)


@dataclass
class Scene:
    """A message on Discord of a job with two pictures, which the real client edits."""

    discord: FakeDiscord
    message: Message
    pending: PendingReply
    placeholders: Placeholders
    grids: list[int]  # of each grid that was laid out, its pictures
    news: list[News]

    @property
    def uploads(self) -> list[str]:
        """Return the names of the files that were sent."""
        return [name for _, name in sorted({(f.id, f.filename) for f in self.message.held})]

    async def follow(self, job: int) -> AsyncIterator[News]:
        """Yield news, each once the message shows the one before."""
        for number, each in enumerate(self.news, len(self.message.edits)):
            yield each
            await self.discord.until(partial(self._is_edited, number), "an edit")

    def _is_edited(self, before: int) -> bool:
        return len(self.message.edits) > before

    async def shows(self, *news: News) -> None:
        """Show news until they end."""
        self.news = [*news]
        self.placeholders.follow(self.pending.job)
        await asyncio.gather(*self.placeholders._followers.values())


@pytest.fixture
async def scene(
    discord: FakeDiscord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    grids: list[int] = []

    def compose(pngs: Sequence[bytes], *more: Any, **also: Any) -> Any:
        grids.append(len(pngs))
        return composed(pngs, *more, **also)

    composed = grid.compose
    monkeypatch.setattr(grid, "compose", compose)
    monkeypatch.setattr(replies, "compose", compose)
    monkeypatch.setattr(placeholders, "EVERY", 0.0)
    monkeypatch.setattr(Route, "BASE", discord.api_url)
    message = discord.keep(Message(discord.channel, discord.bot))
    reply = {"channel": discord.channel.id, "person": 3}
    async with (
        Storage.open(tmp_path) as storage,
        Connection(load_settings({}, env_file="")) as client,
    ):
        await client.login(discord.token)
        job = await add_claimed(storage, a_job(recipe=make_recipe(count=2), reply=reply))
        await storage.jobs.acknowledged(job.id, f"discord:{message.id}")
        await storage.jobs.rendered(job.id, job.epoch, drawn(*(each.png for each in PICTURES)))
        [pending] = await storage.outbox.list_due(["terminal"], 1)

        async def view(place: str, adult: object = None) -> View:
            return View(storage.pictures)

        app: Any = SimpleNamespace(
            storage=storage,
            gate=SimpleNamespace(view=view),
            settings=load_settings({}, env_file=""),
        )
        shown = Placeholders(app, client, Losses(app, client))
        scene = Scene(discord, message, pending, shown, grids, [])
        app.worker = SimpleNamespace(follow=scene.follow)
        yield scene


async def test_progress_lays_out_and_sends_finished_pictures_once(scene: Scene) -> None:
    await scene.shows(*(step(number, finished=1) for number in range(5)), step(5, finished=2))
    assert len(scene.message.edits) == 6
    assert scene.grids == [1, 2]
    assert scene.uploads == ["preview.jpg", "preview.jpg"]
    assert [file.filename for file in scene.message.attachments] == ["preview.jpg"]
    assert "5/9" in scene.message.content


async def test_a_preview_is_sent_when_it_changes(scene: Scene) -> None:
    first, second = b"the first", b"the second"
    news = [step(0, 0, first), step(1, 0, first), step(2, 0, second), step(3, 0, second)]
    await scene.shows(*news)
    assert {file.data for file in scene.message.held} == {first, second}
    assert len(scene.uploads) == 2
    assert scene.grids == []


async def test_a_preview_that_may_not_have_arrived_is_sent_again_as_it_was(scene: Scene) -> None:
    scene.discord.faults.add("PATCH /channels/.*", 403, 50013)
    edited = asyncio.create_task(scene.shows(step(0, finished=1), step(1, finished=1)))
    await scene.discord.until(lambda: scene.discord.faults.waiting[0].seen, "a refusal")
    scene.message.edits.append(0.0)  # so that the next news come
    await scene.discord.happened()
    await edited
    assert scene.grids == [1]
    assert scene.uploads == ["preview.jpg"]


async def test_a_result_is_laid_out_once_for_all_ways_and_tries(scene: Scene) -> None:
    for code in (50013, 50013):
        scene.discord.faults.add("PATCH /channels/.*", 403, code)
    for way in (TOKEN, EDIT, EDIT):
        with pytest.raises(WayClosed):
            await scene.placeholders.deliver(scene.pending, way)
    await scene.placeholders.deliver(scene.pending, EDIT)
    assert scene.grids == [2]
    assert scene.uploads == ["marble-1.jpg"]
    await scene.placeholders.deliver(scene.pending, EDIT)
    assert scene.grids == [2, 2], "a result that was shown is kept no longer"


async def test_a_result_is_laid_out_anew_where_the_rules_changed_meanwhile(scene: Scene) -> None:
    with pytest.raises(WayClosed):
        await scene.placeholders.deliver(scene.pending, TOKEN)
    app: Any = scene.placeholders._app

    async def view(place: str, adult: object = None) -> View:
        return View(app.storage.pictures, Safety.REFUSE)

    app.gate.view = view
    await scene.placeholders.deliver(scene.pending, EDIT)
    assert scene.uploads == []
    assert "is not shown here" in scene.message.content
