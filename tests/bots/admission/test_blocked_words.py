import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.admission import blocked_words
from bots.admission.blocked_words import BETWEEN, LETTERS, SIGNS, find_blocked, skeleton

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


def test_no_word_is_found_across_two_texts() -> None:
    assert find_blocked(BETWEEN.join(("a b", "ad")), WORDS) is None
    assert find_blocked(BETWEEN.join(("very", "bad thing", "xbadx")), WORDS) == "bad"
    assert find_blocked(BETWEEN.join(("坏", "事")), WORDS) is None


def test_what_a_text_is_compared_with_is_not_longer_than_the_text_is() -> None:
    assert len(skeleton("\ufdfa" * 2000)) == 8000, "18 letters each"
    assert find_blocked("⒝⒜⒟ ﬃ", WORDS) == "bad"


def test_only_words_whose_letters_are_there_are_searched_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[str] = []

    class Pattern:
        def search(self, text: str) -> None:
            searched.append(text)

    monkeypatch.setattr(blocked_words, "_pattern", lambda word: (word, Pattern()))
    text = "a cat on a mat, " * 125
    assert find_blocked(text, [*(f"word{number}" for number in range(100)), "cat"]) is None
    assert searched == [text]


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
