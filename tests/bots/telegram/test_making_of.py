"""Making-ofs in Telegram: one message, an animation with the brief below it."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from bots.chat.actions import ACTIONS
from bots.texts import EN, MAKING_OF
from tests.bots.telegram.conftest import a_marble
from tests.fakes.telegram.people import Person, text_of
from tests.fakes.telegram.server import TelegramServer

LABEL = ACTIONS["making_of"].label_in(EN) or ""


async def test_a_making_of_is_one_animation_with_its_brief_by_button_reply_and_name(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    async with a_marble(telegram, tmp_path):
        first = await ada.chat.picture(await ada.says("a marble cat --seed 7"))
        await ada.presses(first, LABEL)
        shown = [await ada.chat.picture(first)]
        for said in (
            await ada.says("/making_of", answering=first),
            await ada.says("making-of", answering=first),
            await ada.says("/making_of 1"),
        ):
            shown.append(await ada.chat.picture(said))
    for message in shown:
        assert {"animation", "caption"} <= message.keys()
        gif = Image.open(io.BytesIO(telegram.files[message["animation"]["file_id"]]))
        assert (gif.format, gif.n_frames) == ("GIF", 3)  # type: ignore[attr-defined]
        lines = text_of(message).splitlines()
        assert lines[:2] == [MAKING_OF["en"].title.format(name="1.1"), MAKING_OF["en"].same]
        assert "1.25 s" in lines[-1]
