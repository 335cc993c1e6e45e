"""Words: what a prompt is found by, in any language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.jobs.words import Term, fts5, index, terms, tsquery


def found(text: str) -> tuple[str, ...]:
    return index(text, person="p", place="q")[:-2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Marble, Scholar!", ("a", "marble", "scholar")),
        ("大理石", ("大理", "理石", "大", "理", "石")),
        ("书", ("书",)),
        ("SDXL拿着book", ("sdxl", "拿着", "拿", "着", "book")),
        ("Café ÎLE ﬁne", ("cafe", "ile", "fine")),
        ("मूर्ति", ("मूर्ति",)),
        ("がく", ("がく", "が", "く")),
        ("🗿 bust", ("🗿", "bust")),
        ("1girl, 4k (masterpiece:1.2)", ("1girl", "4k", "masterpiece", "1", "2")),
    ],
)
def test_text_becomes_words(text: str, words: tuple[str, ...]) -> None:
    assert found(text) == words


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("marble scholar", (Term(("marble",)), Term(("scholar",)))),
        ('"marble scholar"', (Term(("marble", "scholar")),)),
        ("schol*", (Term(("schol",), prefix=True),)),
        ("学者", (Term(("学者",)),)),
        ("大理石", (Term(("大理", "理石")),)),
        ("书", (Term(("书",)),)),
        ("-- '' \" * ()", ()),
    ],
)
def test_a_query_becomes_terms(query: str, wanted: tuple[Term, ...]) -> None:
    assert terms(query) == wanted


def test_terms_are_written_for_both_databases() -> None:
    wanted = terms("大理石 schol*")
    assert fts5(wanted, ["by=ada"]) == '"大理 理石" AND "schol" * AND "by=ada"'
    assert tsquery(wanted, ["by=ada"]) == "('大理' <-> '理石') & ('schol':*) & 'by=ada'"


def test_people_and_places_are_words_that_no_prompt_contains() -> None:
    words = index("by=ada", person="terminal:a b'", place="terminal")
    assert words == ("by", "ada", "by=terminal:a%20b%27", "at=terminal")


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_text_is_cut_alike_the_quick_way(text: str) -> None:
    # A letter beyond ASCII at the end takes the long way.
    assert (*found(text), "é")[:-1] == found(f"{text} é")[:-1]


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_is_found_by_its_own_words(before: str, text: str) -> None:
    words = set(found(f"{before} {text}"))
    for term in terms(text.replace("*", " ").replace('"', " ")):
        assert set(term.words) <= words
