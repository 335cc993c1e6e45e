"""LoRA tags and choices in prompts."""

import re
from hashlib import sha256
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import OptionError, PromptError
from engine.recipe import prompt_tags as wording
from engine.recipe.parts import Lora
from engine.recipe.prompt_tags import choose, take_loras, write_loras

names = st.text("abcdefghij -_.()XYZ0123", min_size=1, max_size=12).filter(
    lambda name: name == name.strip()
)
weights = st.floats(-4, 4)


@pytest.mark.parametrize(
    ("prompt", "left", "found"),
    [
        ("a cat", "a cat", ()),
        ("a cat <lora:ink>", "a cat", (Lora(name="ink"),)),
        ("<lora:ink:0.8> a cat", "a cat", (Lora(name="ink", weight=0.8),)),
        (
            "a <LORA:my style:0.5:1.2> cat <lora:b:-1>",
            "a cat",
            (Lora(name="my style", weight=1.2, text_weight=0.5), Lora(name="b", weight=-1)),
        ),
        ("a < b <lora> c>", "a < b <lora> c>", ()),
    ],
)
def test_tags_become_loras(prompt: str, left: str, found: tuple[Lora, ...]) -> None:
    assert take_loras(prompt) == (left, found)


@pytest.mark.parametrize("tag", ["<lora:>", "<lora:a:x>", "<lora:a:1:1:1>", "<lora: :1>"])
def test_a_bad_tag_is_named_with_what_is_right(tag: str) -> None:
    with pytest.raises(PromptError, match=r"must be written <lora:name> or <lora:name:0\.8>"):
        take_loras(f"a cat {tag}")


def test_a_weight_out_of_range_is_named() -> None:
    with pytest.raises(OptionError, match="lora_weight must be between -4 and 4"):
        take_loras("<lora:a:5>")
    with pytest.raises(OptionError, match="lora_weight must be between"):
        take_loras("<lora:a:nan>")


@given(st.lists(st.builds(Lora, name=names, weight=weights, text_weight=st.none() | weights)))
def test_what_is_written_is_read_back(loras: list[Lora]) -> None:
    assert take_loras(write_loras("a cat", tuple(loras))) == ("a cat", tuple(loras))


@given(st.integers(0, 2**64 - 1))
def test_a_seed_always_chooses_the_same(seed: int) -> None:
    text = "a {marble|bronze|gold} {cat|dog{ and an owl|}}"
    chosen = choose(text, seed)
    assert chosen == choose(text, seed)
    assert not set("{|}") & set(chosen)
    assert " and an owl" not in chosen or "dog" in chosen
    assert chosen.split()[1] in ("marble", "bronze", "gold")


def test_all_options_come_up_about_equally_often() -> None:
    chosen = [choose("{a|b|c}", seed) for seed in range(300)]
    assert all(70 < chosen.count(option) < 130 for option in "abc")


@pytest.mark.parametrize("text", ["a {cat}", "a {cat", r"a \{cat|dog}", "a | b", "{}", '{"a": 1}'])
def test_braces_without_a_choice_are_text(text: str) -> None:
    assert choose(text, 1) == text


def test_a_choice_may_be_empty_and_a_bar_be_text() -> None:
    assert {choose("a{ red|} cat", seed) for seed in range(20)} == {"a red cat", "a cat"}
    assert {choose(r"{a\|b|c}", seed) for seed in range(20)} == {r"a\|b", "c"}


def chosen_one_by_one(text: str, seed: int) -> str:
    """Make the innermost choice that comes first, over and over: the rule as it is said."""
    for number in count():
        found = re.search(r"(?<!\\){((?:\\.|[^{}|\\])*\|(?:\\.|[^{}\\])*)}", text, re.DOTALL)
        if not found:
            break
        options = re.split(r"(?<!\\)\|", found[1])
        draw = int.from_bytes(sha256(f"{seed} {number}".encode()).digest()[:8], "big")
        text = text[: found.start()] + options[draw % len(options)] + text[found.end() :]
    return text


@given(
    st.lists(st.sampled_from(["{", "}", "|", "a", "b ", "\\{", "\\|", "\\}", "\n"]), max_size=40)
)
def test_a_text_read_once_has_the_choices_of_the_rule(pieces: list[str]) -> None:
    assert choose("".join(pieces), 5) == chosen_one_by_one("".join(pieces), 5)


def test_a_backslash_that_is_escaped_escapes_nothing() -> None:
    assert choose(r"a\\{b|b}", 0) == r"a\\b"


def test_nested_choices_are_made_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Looked for anew after each choice, the innermost ones take hours.
    monkeypatch.setattr(wording, "LONGEST", 10**7)
    depth = 30_000
    assert set(choose("{a|" * depth + "}" * depth, 0)) <= {"a"}
    assert choose("{a|" * depth, 0) == "{a|" * depth


def test_hostile_texts_are_read_in_linear_time() -> None:
    # In quadratic time each of the first two takes an hour.
    assert take_loras(" " * 1_000_000) == (" " * 1_000_000, ())
    assert choose("{a|b}" * 200_000, 0) == "{a|b}" * 200_000
