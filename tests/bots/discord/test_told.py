"""What stands beside a picture that was made smaller, and what the log says of a request."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from bots.admission.visibility import View
from bots.discord import replies
from bots.discord.buttons import ActionItem
from bots.discord.reaction import ReactionRequest
from bots.presentation.fit import Limit, fit, fit_composed
from bots.presentation.grid import compose
from bots.telegram import replies as telegram
from bots.texts import words_of
from storage import Storage
from storage.errors import PicturesFault
from tests.bots.presentation.test_presentation import png
from tests.factories import add_claimed
from tests.storage.conftest import a_job, a_recipe, drawn

EN = words_of("en")


def noise() -> bytes:
    """Return a PNG that no lossless format makes smaller."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(("dm", "told"), [(2**20, EN.shrunk), (100, EN.shrunk_everywhere)])
async def test_the_full_size_is_promised_only_where_a_direct_message_carries_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dm: int, told: str
) -> None:
    monkeypatch.setattr(replies, "LIMIT", dm)
    async with Storage.open(tmp_path) as storage:
        job = await add_claimed(storage, a_job())
        job = await storage.jobs.rendered(job.id, job.epoch, drawn(noise()))
        reply = replies.pictures_reply(job, job.pictures, View(storage.pictures), 5_000, EN)
        assert reply.content.endswith(told)
        whole = replies.pictures_reply(job, job.pictures, View(storage.pictures), 2**20, EN)
        assert not whole.content.endswith((EN.shrunk, EN.shrunk_everywhere))


async def test_a_reply_whose_picture_file_is_gone_says_so(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await add_claimed(storage, a_job())
        job = await storage.jobs.rendered(job.id, job.epoch, drawn(noise()))
        storage.pictures.remove(*(each.sha256 for each in job.pictures))
        reply = replies.pictures_reply(job, job.pictures, View(storage.pictures), 2**20, EN)
        assert reply.content.endswith(EN.lost_picture)
        assert not reply.files


async def test_the_best_match_is_first_in_the_grid_under_its_own_number(tmp_path: Path) -> None:
    pngs = [png(64, 64, seed=n) for n in range(4)]
    async with Storage.open(tmp_path) as storage:
        job = await add_claimed(storage, a_job(recipe=a_recipe(count=4), best=True))
        matches = [0.25, 0.125, 0.5, 0.375]
        job = await storage.jobs.rendered(job.id, job.epoch, drawn(*pngs), None, matches)
        view = View(storage.pictures)
        reply = replies.pictures_reply(job, job.pictures, view, 2**20, EN)
        theirs = telegram._read(job, job.pictures, view, words_of("zh"))
        lost = await add_claimed(storage, a_job(recipe=a_recipe(count=4), best=True))
        lost = await storage.jobs.rendered(lost.id, lost.epoch, drawn(*pngs))
        unknown = replies.pictures_reply(lost, lost.pictures, view, 2**20, EN)
        alone = replies.pictures_reply(job, job.pictures[:1], view, 2**20, EN)
    order = "1.3 (0.500), 1.4 (0.375), 1.1 (0.250), 1.2 (0.125)"
    assert reply.content.endswith(f"-# Best match first: {order}.")
    assert theirs.text.endswith(f"最符合的在前：{order}。")
    grid = compose([pngs[2], pngs[3], pngs[0], pngs[1]], numbers=[3, 4, 1, 2])
    assert reply.files[0].data == fit_composed(grid, Limit(size=2**20)).data
    assert theirs.photo == fit_composed(grid, telegram.PHOTO).data
    numbered = {f"U{n}": f"1.{n}" for n in range(1, 5)}
    buttons: Any = [each.item for each in reply.buttons if isinstance(each, ActionItem)]
    ups = {each.label: each.custom_id for each in buttons if each.label in numbered}
    assert [*ups.items()] == [(each, f"marble:upscale:{name}") for each, name in numbered.items()]
    assert theirs.buttons
    rows = theirs.buttons.inline_keyboard
    ups = {each.text: each.callback_data for row in rows for each in row if each.text in numbered}
    assert [*ups.items()] == [(each, f"upscale:{name}") for each, name in numbered.items()]
    assert unknown.content.endswith("in the order in which they were drawn.")
    assert "Best" not in alone.content
    assert alone.files[0].data == fit(pngs[2], Limit(size=2**20)).data


async def test_a_reply_whose_picture_store_is_away_is_not_composed_but_tried_later(
    tmp_path: Path,
) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await add_claimed(storage, a_job())
        job = await storage.jobs.rendered(job.id, job.epoch, drawn(noise()))
        away = storage.pictures.folder.rename(tmp_path / "away")
        with pytest.raises(PicturesFault, match="cannot be read"):
            replies.pictures_reply(job, job.pictures, View(storage.pictures), 2**20, EN)
        away.rename(storage.pictures.folder)
        reply = replies.pictures_reply(job, job.pictures, View(storage.pictures), 2**20, EN)
        assert reply.files


async def test_a_picture_of_another_kind_of_device_than_its_original_says_so(
    tmp_path: Path,
) -> None:
    async with Storage.open(tmp_path) as storage:
        job = await add_claimed(storage, a_job())
        job = await storage.jobs.rendered(job.id, job.epoch, drawn(noise()), "old")
        limit, view = 2**20, View(storage.pictures)
        assert "device" not in replies.pictures_reply(job, job.pictures, view, limit, EN).content
        again = await add_claimed(storage, replace(a_job(), parent=job.id))
        again = await storage.jobs.rendered(again.id, again.epoch, drawn(noise()), "new")
        note = "-# Another kind of device drew this than the original: details may differ."
        told = replies.pictures_reply(again, again.pictures, view, limit, EN).content
        assert told.endswith(note)
        told = telegram._read(again, again.pictures, view, words_of("zh")).text
        assert told.endswith("\n绘制这张图的设备与原图的不是同一种，细节可能略有不同。")


def test_the_log_names_nobody_by_the_reaction_that_they_put() -> None:
    client = SimpleNamespace(get_guild=lambda number: None)
    payload = SimpleNamespace(
        guild_id=None, channel_id=1, message_id=2, user_id=424242, member=None
    )
    request = ReactionRequest(cast(Any, client), cast(Any, payload), "⭐", "en")
    assert "424242" in request.event
    assert request.label == "discord:2:⭐"
