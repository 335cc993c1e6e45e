"""Places and people as they are typed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bots.admission.naming import read_person, read_place
from bots.texts import EN, tell, words_of
from bots.worker.pausing import check_reason
from engine.errors import OptionError


@pytest.mark.parametrize(
    "text", ["*", "terminal", "discord:1", "discord:1/2", "telegram:-100", "telegram:@group/7"]
)
def test_places_are_read_as_they_are_called(text: str) -> None:
    assert read_place(text) == text


@pytest.mark.parametrize(
    "text", ["", "mars", "discord:", "discord:1/2/3", "discord:1 ", "**", "x:1"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"A place must be like discord:SERVER, .* or \* for"):
        read_place(text)


@pytest.mark.parametrize("text", ["discord:1", "telegram:-5", "terminal:ada"])
def test_people_are_read_as_they_are_called(text: str) -> None:
    assert read_person(text) == text


@pytest.mark.parametrize("text", ["", "ada", "discord:ada", "discord:1/2", "telegram:", "web:x"])
def test_what_is_nobody_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="A person must be like discord:123 or telegram:123"):
        read_person(text)


@pytest.mark.parametrize(
    ("read", "label"), [(read_place, "地点"), (read_person, "用户"), (check_reason, "原因")]
)
def test_what_was_wrong_is_named_in_the_readers_language(
    read: Callable[[str], str], label: str
) -> None:
    with pytest.raises(OptionError) as caught:
        read("")
    assert tell(caught.value, words_of("zh")).startswith(f"{label} 应为")
    assert " must be " in tell(caught.value, EN)
