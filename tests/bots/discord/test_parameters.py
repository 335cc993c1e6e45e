"""The slash commands that the tables make, as Discord is told of them."""

from __future__ import annotations

import re
from inspect import signature
from typing import Any, cast, get_args

import pytest
from discord import Locale
from discord.app_commands import Command

from bots.admission.rulebook import MODERATED
from bots.discord.commands.define import define
from bots.discord.commands.moderation import OtherRule, channel
from bots.discord.handler import Handler
from bots.discord.registration import Tables
from bots.requests.aspect import size_like
from bots.requests.options import OPTIONS
from bots.texts import LANGUAGES

NAME = re.compile(r"[-\w]{1,32}")  # Discord's, for lower-case words of any script


def imagine() -> Command[Any, ..., None]:
    async def answer(handler: Any, request: Any, prompt: str, **typed: Any) -> None:
        pass

    return define(object.__new__(Handler), "imagine", answer, options=OPTIONS)


def test_every_rule_of_moderators_can_be_said_in_discord() -> None:
    names = signature(channel).parameters.keys() - {"handler", "request", "open", "server"}
    assert {*names, *get_args(OtherRule)} == {*MODERATED, "rule", "value"}


def test_every_option_of_the_table_is_an_option_in_discord() -> None:
    shown = {parameter.display_name: parameter for parameter in imagine().parameters}
    assert set(shown) == {"prompt", *(option.name for option in OPTIONS)}
    assert len(shown) <= 25
    for option in OPTIONS:
        parameter = shown[option.name]
        if option.range:
            assert (parameter.min_value, parameter.max_value) == (
                option.range.low,
                option.range.high,
            )
        few = len(option.choices) <= 25
        assert [choice.value for choice in parameter.choices] == (list(option.choices) * few)
        assert few or parameter.autocomplete


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_and_descriptions_are_what_discord_takes(language: str) -> None:
    for key, text in LANGUAGES[language].commands.items():
        if not key.startswith("menu"):
            assert NAME.fullmatch(text.name)
            assert text.name == text.name.lower()
        assert len(text.description) <= 100


async def test_names_are_translated_for_those_who_read_them() -> None:
    payload = await imagine().get_translated_payload(cast(Any, _Tree()), Tables())
    assert payload["name_localizations"] == {
        Locale.chinese.value: "绘图",
        Locale.taiwan_chinese.value: "绘图",
    }
    for option in payload["options"]:
        assert option["name_localizations"].keys() == payload["name_localizations"].keys()


class _Tree:
    """Allow everything everywhere."""

    class _All:
        def _merge_to_array(self, other: Any) -> list[int]:
            return [0, 1]

    allowed_contexts = allowed_installs = _All()


@pytest.mark.parametrize(
    ("aspect", "area", "size"),
    [((1, 1), 128**2, (128, 128)), ((3, 2), 512**2, (624, 416)), ((9, 16), 512**2, (384, 680))],
)
def test_an_aspect_becomes_a_size_of_about_the_same_area(
    aspect: tuple[int, int], area: int, size: tuple[int, int]
) -> None:
    assert size_like(*aspect, area, 8) == size
