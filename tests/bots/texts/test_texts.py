import re
from collections.abc import Mapping
from dataclasses import fields
from string import Formatter
from typing import Any

import pytest

from bots.discord.adapter import REACTIONS
from bots.requests.options import OPTIONS
from bots.telegram.commands import COMMANDS as TELEGRAM
from bots.telegram.imagine import RESULT
from bots.telegram.moderation import NAMES
from bots.texts import ENGINE_ROOM, LANGUAGES, MAKING_OF, WEB, language_of, words_of
from bots.texts.commands import COMMANDS, DESCRIPTION
from engine.events import Stage
from engine.recipe.recipe import Recipe
from storage import Status

OTHERS = [language for language in LANGUAGES if language != "en"]


def messages(words: object) -> dict[str, str]:
    """Return every message by its name, those of tables as `name.key`."""
    found: dict[str, str] = {}
    for field, value in vars(type(words)).items():  # without what a language only inherits
        if field in ("language", "sentences", "commands"):
            continue
        if isinstance(value, str) and not field.startswith("__"):
            found[field] = value
        elif isinstance(value, Mapping) and not field.startswith("__"):
            found |= {f"{field}.{key}": text for key, text in value.items()}
    return found


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_says_the_same_things_with_the_same_placeholders(language: str) -> None:
    english, other = messages(LANGUAGES["en"]), messages(LANGUAGES[language])
    assert english.keys() == other.keys()
    for name, text in english.items():
        assert placeholders(other[name]) == placeholders(text), name


def test_each_page_speaks_every_language() -> None:
    assert WEB.keys() == ENGINE_ROOM.keys() == MAKING_OF.keys() == LANGUAGES.keys()
    assert all(page[tag].language == tag for page in (WEB, MAKING_OF) for tag in LANGUAGES)


@pytest.mark.parametrize("page", [WEB, ENGINE_ROOM, MAKING_OF])
@pytest.mark.parametrize("language", OTHERS)
def test_each_page_says_the_same_in_every_language(page: Mapping[str, Any], language: str) -> None:
    english, other = messages(page["en"]), messages(page[language])
    assert english.keys() == other.keys()
    for name, text in english.items():
        assert other[name].strip(), name
        assert placeholders(other[name]) == placeholders(text), name
        assert named(other[name]) == named(text), name


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


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_field_that_is_shown_of_a_recipe_has_a_name(language: str) -> None:
    assert LANGUAGES[language].fields.keys() >= {
        *(field.name for field in fields(Recipe)),
        *("style", "parent"),  # of the job
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_command_option_and_menu_is_named_and_described(language: str) -> None:
    commands = LANGUAGES[language].commands
    assert commands.keys() == COMMANDS.keys()
    for key, text in commands.items():
        assert text.name, key
        assert bool(text.description) != key.startswith("menu "), key
        assert len(text.description) <= DESCRIPTION, key
        assert language != "zh" or not text.description or CHINESE.search(text.description), key


# What messages name: commands, options, and emoji that do something.
COMMAND = re.compile(r"/([a-z_]+)(?: ([a-z]+))?")
CODE = re.compile(r"`([^`]+)`")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
FLAG = re.compile(r"--([a-z-]+)")
EMOJI = re.compile(r"[\u2600-\u27bf\U0001f300-\U0001faff]")
KNOWN = {name.partition(" ")[0] for name in COMMANDS} | TELEGRAM.keys()


def named(text: str) -> set[str]:
    """Return the commands, options and emoji that a message names."""
    commands = {found[1] for found in COMMAND.finditer(text)} & KNOWN
    return {*commands, *FLAG.findall(text), *EMOJI.findall(text)}


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_names_the_same_commands_options_and_emoji(language: str) -> None:
    english, other = messages(LANGUAGES["en"]), messages(LANGUAGES[language])
    for name, text in english.items():
        assert named(text) == named(other[name]), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_commands_and_options_that_messages_name_are_there(language: str) -> None:
    flags = {each for option in OPTIONS for each in (option.name, *option.aliases)}
    flags |= {*NAMES, RESULT.name}
    for name, text in messages(LANGUAGES[language]).items():
        for code in CODE.findall(text):
            found = COMMAND.match(code)
            assert found is None or found[1] in KNOWN, (name, code)
            assert set(FLAG.findall(code)) <= flags, (name, code)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reaction_does_what_messages_say_of_it(language: str) -> None:
    words = LANGUAGES[language]
    said = set(EMOJI.findall(words.help)) - {"➡"}
    assert said <= REACTIONS.keys()
    [way] = EMOJI.findall(words.shrunk)  # to the picture in full size
    assert REACTIONS[way] == "original"


def test_what_is_kept_and_removed_is_said_alike_in_every_language() -> None:
    """Each language's word for what an export holds, and for what stays."""
    told = {
        "en": ("recipes", "pictures", "start", "favourites", "settings", "styles", "moderator"),
        "zh": ("配方", "图片", "起始图", "收藏", "设置", "风格", "管理员"),
    }
    stays = {
        "en": ("Bans", "styles", "moderator", "Backups"),
        "zh": ("封禁", "风格", "管理员", "备份"),
    }
    for language, words in LANGUAGES.items():
        kept, _, can = words.privacy.split("\n")
        assert all(each in kept for each in told[language]), language
        assert all(each in can for each in stays[language]), language


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
