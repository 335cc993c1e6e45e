from dataclasses import replace
from pathlib import Path

import pytest

from bots.chat.privacy import LONGEST, privacy_text
from bots.operations.settings import Settings, load_settings
from bots.texts import words_of

EN, ZH = words_of("en"), words_of("zh")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(load_settings({}, env_file=""), data_dir=tmp_path)


async def test_without_the_owners_text_people_are_told_marbles(settings: Settings) -> None:
    assert await privacy_text(settings, EN) == EN.privacy
    assert await privacy_text(settings, ZH) == ZH.privacy


async def test_the_owners_text_holds_at_once_and_by_language(settings: Settings) -> None:
    (settings.data_dir / "privacy.md").write_text("Ask Ada.\n", encoding="utf-8")
    assert [await privacy_text(settings, words) for words in (EN, ZH)] == ["Ask Ada."] * 2
    (settings.data_dir / "privacy.zh.md").write_text("请问阿达。", encoding="utf-8")
    assert await privacy_text(settings, ZH) == "请问阿达。"
    assert await privacy_text(settings, EN) == "Ask Ada."
    (settings.data_dir / "privacy.md").write_text("  \n")
    assert await privacy_text(settings, EN) == EN.privacy


async def test_a_text_that_cannot_be_read_costs_nobody_an_answer(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    (settings.data_dir / "privacy.md").mkdir()
    assert await privacy_text(settings, EN) == EN.privacy
    assert "privacy.md cannot be read" in caplog.text
    (settings.data_dir / "privacy.en.md").write_bytes("学".encode() * LONGEST)
    assert len((await privacy_text(settings, EN)).encode()) <= LONGEST
