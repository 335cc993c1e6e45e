import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.admission.blocked_words import LETTERS, SIGNS, find_blocked

WORDS = ("bad", "very bad thing", "pistol", "坏事")


@pytest.mark.parametrize(
    "text",
    [
        "bad",
        "A BAD day",
        "(bad:1.3)",
        "a bad!",
        "bäd",
        "b\u200bad",
        "ba\u00add",
        "ｂａｄ",
        "𝓫𝓪𝓭",
        "bаd",  # Cyrillic а
        "b4d",
        "b@d",
        "baaaaad",
        "b.a.d",
        "b-a-d",
        "b_a_d",
        "b a d",
        "b(a)d",
        "so b*a*d!",
        "a very   bad thing",
    ],
)
def test_a_blocked_word_is_found_however_it_is_dressed(text: str) -> None:
    assert find_blocked(text, WORDS) in ("bad", "very bad thing")


@pytest.mark.parametrize(
    "text",
    ["badge", "a forbad", "a sinbad tale", "ba d", "b, a dog", "pistols", "好事", "", "b 4 dogs"],
)
def test_what_only_contains_it_is_not(text: str) -> None:
    assert find_blocked(text, WORDS) is None


@pytest.mark.parametrize("text", ["p1st0l", "PISTOL", "рistоl", "pi$tol", "p!stol", "pıstol"])
def test_letters_that_cannot_be_told_apart_count_as_the_same(text: str) -> None:
    assert find_blocked(text, WORDS) == "pistol"


def test_words_of_scripts_without_spaces_are_found_anywhere() -> None:
    assert find_blocked("做坏事的猫", WORDS) == "坏事"
    assert find_blocked("做坏 事的猫", WORDS) == "坏事"


def test_words_of_nothing_match_nothing() -> None:
    assert find_blocked("a cat", ["", " ", "\u200b"]) is None


@given(st.text(max_size=200), st.lists(st.text(max_size=12), max_size=4))
def test_whatever_is_written_gets_an_answer(text: str, blocked: list[str]) -> None:
    assert find_blocked(text, blocked) in (None, *blocked)


@given(st.data())
def test_any_mixture_of_look_alikes_is_seen_through(data: st.DataObject) -> None:
    def dressed(letter: str) -> str:
        alike = letter + LETTERS.get(letter, "") + SIGNS.get(letter, "")
        return data.draw(st.sampled_from(alike))

    word = "".join(dressed(letter) for letter in "pistol")
    assert find_blocked(f"a {word} on a table", WORDS) == "pistol"
