"""What people type who do not press."""

from __future__ import annotations

import pytest

from bots.chat.actions import ACTIONS, BELOW_PICTURE
from bots.chat.answers import (
    COMMANDS,
    NAMES,
    instead_of,
    is_talk,
    numbered_in,
    read_answer,
    read_button,
)
from bots.telegram.commands import COMMANDS as TELEGRAM
from bots.terminal.chat import COMMANDS as TERMINAL
from bots.texts import LANGUAGES
from tests.bots.presentation.test_presentation import a_job


@pytest.mark.parametrize(
    ("text", "action", "number"),
    [
        ("U1", "upscale", 1),
        (" u2 ", "upscale", 2),
        ("V 3", "vary_subtle", 3),
        ("4", "show", 4),
        ("1\ufe0f\u20e3", "show", 1),
        ("upscale 2", "upscale", 2),
        ("Vary (Strong)", "vary_strong", None),
        ("vary_strong 12", "vary_strong", 12),
        ("reroll", "reroll", None),
        ("🔄", "reroll", None),
        ("\u2b05", "pan_left", None),
        ("\u2b05\ufe0f", "pan_left", None),
        ("Pan  Left", "pan_left", None),
        ("放大", "upscale", None),
        ("放大 2", "upscale", 2),
        ("Zoom Out 2x", "zoom", None),
        ("❤️", "favourite", None),
        ("cancel", "cancel", None),
        ("Upscale (Creative)", "upscale", None),
        ("upscale subtle 2", "upscale", 2),
        ("Vary (Region)", "region", None),
        ("seed", "recipe", None),
    ],
)
def test_an_answer_that_is_a_buttons_name_names_its_action(
    text: str, action: str, number: int | None
) -> None:
    assert read_answer(text) == (action, number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "u1 with a hat",
        "U0",
        "U1, U2",
        "u1\nfog",
        "upscale it --seed 7",
        "reroll 2",
        "a reroll",
        "1966",
        "cat 3",
        "u1 --seed 7",
        "W1",
    ],
)
def test_what_says_more_is_words(text: str) -> None:
    assert read_answer(text) is None
    assert read_button(text) is None


@pytest.mark.parametrize(
    "text",
    ["", "thanks!", "Thank you so much :)", "lol", "LMAO", "hahaha", "wow, so nice!!", "whoa", "😂",
     "❤️", "✨", "👍🏽", "10/10", "?!", "looks good", "It's perfect", "thx u", "谢谢", "太棒了！",
     "哈哈哈", "好看", "谢谢 😂", "спасибо", "Merci!", "xD"],
)  # fmt: skip
def test_thanks_praise_laughter_and_emoji_are_talk(text: str) -> None:
    assert is_talk(text)


@pytest.mark.parametrize(
    "text",
    ["make it bronze", "nice, but in green", "a jade owl", "bronze", "U1", "4", "1\ufe0f\u20e3",
     "🔄", "⬅️", "more beautiful", "good lighting", "改成青铜", "好大的猫", "--ar 3:2"],
)  # fmt: skip
def test_what_can_be_done_or_drawn_is_no_talk(text: str) -> None:
    assert not is_talk(text)


def test_no_name_of_a_button_in_letters_is_talk() -> None:
    assert [name for name in NAMES if any(map(str.isalnum, name)) and is_talk(name)] == []


def test_long_laughter_is_read_at_once() -> None:
    for text in ("ha" * 2000 + "x", "哈" * 4000 + "猫", "x" * 4000):
        assert not is_talk(text)


def test_only_what_no_prompt_says_means_the_latest_grid_by_itself() -> None:
    assert read_button(" U2") == ("upscale", 2)
    assert read_button("v4") == ("vary_subtle", 4)
    for text in ("2", "upscale 2", "reroll", "🔄"):
        assert read_button(text) is None


def test_every_button_below_a_picture_can_be_typed_in_every_language() -> None:
    for name in {each for row in BELOW_PICTURE for each in row}:
        action = ACTIONS[name]
        labels = {action.label_in(words) or action.emoji for words in LANGUAGES.values()}
        for text in (name, action.emoji, *action.reactions, *action.names, *labels):
            assert read_answer(text) == (name, None)
            assert read_answer(text.upper()) == (name, None)


def test_a_number_counts_the_pictures_that_a_job_has() -> None:
    grid, alone = a_job(count=4), a_job(count=4, picture=2)
    assert numbered_in(grid, 3) == f"{grid.id}.3"
    assert numbered_in(grid, 5) == f"{grid.id}.5"
    assert numbered_in(alone, 1) == f"{alone.id}.3"


def test_commands_of_other_programs_are_named_as_what_there_is() -> None:
    telegram = [f"/{name}" for name in TELEGRAM]
    for name, ours in COMMANDS.items():
        assert name not in TELEGRAM
        assert instead_of(name, telegram) == ours
    assert instead_of("favourites", TERMINAL) == "/history favourites"
    assert instead_of("info", TERMINAL) == ""
    assert instead_of("nonsense", telegram) == ""
