"""End to end as people have it: the bundled model, in the engine's own process."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.bots.telegram.conftest import a_marble
from tests.fakes.telegram.people import Person, group, is_result, labels, text_of
from tests.fakes.telegram.server import TelegramServer


def pixels(server: TelegramServer, file: str) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(server.files[file])).convert("RGB"))


async def test_a_text_becomes_a_picture_and_its_seed_holds(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    async with a_marble(telegram, tmp_path, MARBLE_EXECUTOR="child") as marble:
        # So much work that it is shown on its way on fast machines, too: news come every 2 s.
        said = await ada.says("a marble scholar --steps 150")
        placeholder = await ada.chat.answer(said)
        seen = {text_of(placeholder).lower()}

        def is_finished() -> bool:
            seen.add(text_of(placeholder).lower())
            return is_result(placeholder)

        await telegram.until(is_finished)
        assert any("drawing" in line or "loading" in line for line in seen)

        said = await ada.says("a marble scholar holding a book --seed 4 --steps 8")
        placeholder = await ada.chat.picture(said)
        first = pixels(telegram, placeholder["photo"][-1]["file_id"])
        assert first.std() > 20  # a picture, neither grey nor black
        await marble.kill()
        await ada.presses(placeholder, "Same seed")
        await ada.presses(placeholder, "New seed")
        await ada.presses(placeholder, "Vary a little")
        await ada.presses(placeholder, "Upscale")
        await marble.start()
        results = await ada.chat.results(placeholder, 4)
        by_kind = [pixels(telegram, each["photo"][-1]["file_id"]) for each in results]
        same = [each for each in by_kind if np.array_equal(each, first)]
        larger = [each for each in by_kind if each.shape[0] == 2 * first.shape[0]]
        assert (len(same), len(larger)) == (1, 1)
        assert all("Delete" in labels(each) for each in results)


async def test_a_group_draws_answers_reacts_takes_the_original_and_deletes(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    statues = group(telegram, 77)
    statues.promote()
    async with a_marble(telegram, tmp_path, MARBLE_EXECUTOR="child"):
        picture = await statues.picture(await ada.says("/imagine a jade owl --steps 4", to=statues))
        first = pixels(telegram, picture["photo"][-1]["file_id"])
        said = await ada.says("a gold owl", to=statues, answering=picture)
        other = await statues.picture(said)
        assert not np.array_equal(pixels(telegram, other["photo"][-1]["file_id"]), first)
        await ada.reacts(picture, "👍")
        again = await statues.picture(picture)
        assert np.array_equal(pixels(telegram, again["photo"][-1]["file_id"]), first)
        await ada.presses(other, "Original")
        original = await statues.picture_file(other)
        assert pixels(telegram, original["document"]["file_id"]).shape == first.shape
        await ada.presses(again, "Delete")
        await telegram.until(lambda: (statues.id, again["message_id"]) in telegram.deleted)
