from collections.abc import Mapping
from dataclasses import fields
from string import Formatter

import pytest

from bots.options import OPTIONS
from bots.texts import LANGUAGES, Words, language_of, words_of
from engine.events import Stage
from storage import Status

OTHERS = [language for language in LANGUAGES if language != "en"]


def messages(words: Words) -> dict[str, str]:
    """Return every message by its name, those of tables as `name.key`."""
    found: dict[str, str] = {}
    for field in fields(words):
        value = getattr(words, field.name)
        if isinstance(value, Mapping):
            found |= {f"{field.name}.{key}": text for key, text in value.items()}
        else:
            found[field.name] = value
    return found


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_says_the_same_things_with_the_same_placeholders(language: str) -> None:
    english, other = messages(LANGUAGES["en"]), messages(LANGUAGES[language])
    assert english.keys() == other.keys()
    for name, text in english.items():
        assert placeholders(other[name]) == placeholders(text), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_message_is_empty_and_none_has_unnamed_placeholders(language: str) -> None:
    for name, text in messages(LANGUAGES[language]).items():
        assert text.strip(), name
        assert all(part.isidentifier() for part in placeholders(text)), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_stage_status_and_option_has_words(language: str) -> None:
    words = LANGUAGES[language]
    assert words.stages.keys() == set(Stage)
    assert words.statuses.keys() == {status.value for status in Status}
    for option in OPTIONS:
        assert option.help[language]


def test_chinese_is_not_english() -> None:
    english, chinese = messages(LANGUAGES["en"]), messages(LANGUAGES["zh"])
    same = {name for name in english if english[name] == chinese[name]}
    assert same == {"progress"}


@pytest.mark.parametrize(
    ("tag", "language"),
    [("zh-CN", "zh"), ("zh_TW", "zh"), ("zh", "zh"), ("en-GB", "en"), ("de", "en"), (None, "en")],
)
def test_a_tag_finds_its_language(tag: str | None, language: str) -> None:
    assert language_of(tag) == language
    assert words_of(tag) is LANGUAGES[language]
