"""The safety check on Telegram, by a real classifier in the real engine, on every way out."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from bots.telegram.address import INLINE
from storage import Storage
from tests.bots.telegram.conftest import a_marble
from tests.classifiers import make_classifier
from tests.fakes.telegram.methods import VEIL
from tests.fakes.telegram.people import Chat, Person, group, text_of
from tests.fakes.telegram.server import TelegramServer

Json = dict[str, Any]
WITHHELD: Final = "The safety check does not allow this picture here."


async def rule(folder: Path, place: str, text: str) -> None:
    async with Storage.open(folder / "data") as storage:
        await storage.people.change_place_settings(place, {"rules.safety": text})


async def export_of(server: TelegramServer, ada: Person) -> tuple[int, int]:
    """Return how many pictures an export holds, and how many it names as left out."""
    said = await ada.says("/mydata export")
    file = await server.until(
        lambda: (
            next((m for m in ada.chat.shown[::-1] if "zip" in str(m.get("document"))), None)
            or next((m for m in ada.chat.shown[::-1] if text_of(m).startswith("Everything")), None)
        )
    )
    assert said
    with zipfile.ZipFile(io.BytesIO(server.files[file["document"]["file_id"]])) as archive:
        held = [name for name in archive.namelist() if name.startswith("pictures/")]
        return len(held), len(json.loads(archive.read("person.json"))["left_out"])


async def refusal(server: TelegramServer, ada: Person, message: Json, label: str) -> str:
    """Press a button; return what is said, above the chat or, if that took long, in it."""
    query = await ada.presses(message, label)
    before = len(server.of_bot(message["chat"]["id"]))
    return await server.answer_to(query) or str(
        await server.until(
            lambda: " ".join(
                text_of(each) for each in server.of_bot(message["chat"]["id"])[before:]
            )
        )
    )


def judged(folder: Path, answer: str) -> dict[str, str]:
    return {
        "MARBLE_EXECUTOR": "child",
        "MARBLE_SAFETY_MODEL": str(make_classifier(folder / "judge", answer)),
        "MARBLE_SAFETY": "refuse",
    }


async def test_where_it_is_refused_no_way_lets_an_unsafe_picture_out(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    statues = group(telegram, 5)
    async with a_marble(telegram, tmp_path, **judged(tmp_path, "nsfw")):
        for chat, start in ((ada.chat, ""), (statues, "/imagine ")):
            said = await ada.says(f"{start}a jade owl --steps 1", to=chat)
            told = await chat.words(said, WITHHELD)
            await ada.presses(told, "Same seed")
            again = await chat.words(told, WITHHELD)
            await ada.presses(again, "Upscale")
            await chat.words(again, WITHHELD)
            assert WITHHELD in await refusal(telegram, ada, again, "Original")
            shown = await ada.says(f"/show {text_of(told).splitlines()[1].split()[0]}", to=chat)
            await chat.words(shown, WITHHELD)
        assert await export_of(telegram, ada) == (0, 6)
        everything = [*ada.chat.shown, *statues.shown]
        assert not [each for each in everything if "photo" in each]
        assert not telegram.shown
        assert not [each for each in telegram.files.values() if each.startswith(b"\x89PNG")]


async def test_where_spoilers_are_wanted_unsafe_pictures_have_one_and_are_no_files(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    veiled, free = group(telegram, 6), group(telegram, 7)
    async with a_marble(telegram, tmp_path, **judged(tmp_path, "nsfw")):
        await rule(tmp_path, f"telegram:{veiled.id}", "spoiler")
        await rule(tmp_path, f"telegram:{free.id}", "off")
        for chat, has_it in ((veiled, True), (free, False)):
            picture = await chat.picture(await ada.says("/imagine an owl --steps 1", to=chat))
            job = text_of(picture).splitlines()[1].split()[0]
            shown = await chat.picture(await ada.says(f"/show {job}", to=chat))
            assert [VEIL in each for each in (picture, shown)] == [has_it] * 2
            if has_it:
                told = await refusal(telegram, ada, picture, "Original")
                assert "must be behind a spoiler, and files cannot be" in told
            else:
                await ada.presses(picture, "Original")
                await chat.picture_file(picture)


async def test_the_rule_of_inline_mode_is_for_both_chats_that_show_its_picture(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    async with a_marble(telegram, tmp_path, **judged(tmp_path, "nsfw")):
        await rule(tmp_path, f"telegram:{ada.id}", "off")
        refused = telegram.inline[await ada.sends_inline("an owl --steps 1")]
        await telegram.until(lambda: WITHHELD in text_of(refused))
        await rule(tmp_path, INLINE, "spoiler")
        veiled = telegram.inline[await ada.sends_inline("an owl --steps 1")]
        await telegram.until(lambda: "photo" in veiled)
    assert "photo" not in refused
    assert veiled[VEIL]
    assert [VEIL in each for each in ada.chat.shown] == [False, True]


async def test_what_is_safe_is_shown_wherever_it_is_asked_for(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    async with a_marble(telegram, tmp_path, **judged(tmp_path, "normal")):
        picture = await ada.chat.picture(await ada.says("an owl --steps 1"))
        assert VEIL not in picture
        assert "safety" not in text_of(picture)
        await ada.presses(picture, "Original")
        assert await ada.chat.picture_file(picture)
        assert await export_of(telegram, ada) == (1, 0)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_without_a_classifier_nothing_is_shown_where_it_is_required(
    telegram: TelegramServer, tmp_path: Path, language: str
) -> None:
    ada = Person(telegram, 1000, language)
    async with a_marble(telegram, tmp_path, MARBLE_SAFETY="refuse"):
        sentence = {"en": "the safety check could not read it", "zh": "安全检查无法读取它"}
        told = await ada.chat.words(await ada.says("a cat"), sentence[language])
        assert "photo" not in told


async def test_previews_are_shown_where_nothing_is_checked_alone(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    free: Chat = group(telegram, 8)
    async with a_marble(telegram, tmp_path, MARBLE_SAFETY="spoiler"):
        await rule(tmp_path, f"telegram:{free.id}", "off")
        asked = [(ada.chat, "a cat preview"), (free, "/imagine a cat preview")]
        answers = [await chat.answer(await ada.says(text, to=chat)) for chat, text in asked]
        await telegram.until(lambda: "photo" in answers[1])
        await telegram.until(lambda: "rawing" in text_of(answers[0]))
        assert "photo" not in answers[0]
        (tmp_path / "data" / "gate").touch()
        await telegram.until(lambda: VEIL in answers[0])


async def test_a_preview_that_stood_there_is_gone_when_its_picture_may_not_be_seen(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    """The rule came while the picture was drawn."""
    async with a_marble(telegram, tmp_path, MARBLE_SAFETY="off"):
        answer = await ada.chat.answer(await ada.says("a cat preview"))
        await telegram.until(lambda: "photo" in answer)
        await rule(tmp_path, f"telegram:{ada.id}", "refuse")
        (tmp_path / "data" / "gate").touch()
        await telegram.until(lambda: "safety check" in text_of(answer))
        left = Image.open(io.BytesIO(telegram.files[answer["photo"][-1]["file_id"]]))
        assert len(left.convert("RGB").getcolors() or ()) == 1
