"""A1111's prompt grammar: what changes at which call of the network, what composes, what weighs.

The schedules are those of the examples in A1111's `prompt_parser.py`, and what its grammar makes of
harder ones.
"""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.recipe import prompt_editing
from engine.recipe.prompt_editing import (
    Calls,
    Pieces,
    Span,
    at,
    composed,
    foreign_signs,
    in_own_grammar,
    schedule,
    weighted,
)
from engine.text_encode.prompts import parse


@pytest.mark.parametrize(
    ("prompt", "turns"),
    [
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [{b|d{:.5] c", [(10, "a [{b|d{:.5] c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[a::3]", [(3, "a"), (10, "")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:99]", [(10, "a")]),
        ("[a:b:-1]", [(10, "b")]),
        ("[a:b:1e1]", [(10, "a")]),
        ("[a:b:-1e999]", [(10, "b")]),
        ("[a:b:1e999]", [(10, "a")]),
        ("[a:b:-1.5e999]", [(10, "b")]),
        ("[a:b:nan]", [(10, "[a:b:nan]")]),
        ("[a:b:inf]", [(10, "[a:b:inf]")]),
        ("[a:b]", [(10, "[a:b]")]),
        ("[a:b:c:3]", [(10, "[a:b:c:3]")]),
        (r"[a\:b:3]", [(3, ""), (10, r"a\:b")]),
        (r"\[a:b:3]", [(10, r"\[a:b:3]")]),
        ("a|b [c:3]", [(10, "a|b [c:3]")]),
        ("(a:[b:3]:1.2)", [(3, "(a::1.2)"), (10, "(a:b:1.2)")]),
        ("[x (a:b:c) y:3]", [(10, "[x (a:b:c) y:3]")]),
    ],
)
def test_a_text_changes_where_a1111_changes_it(prompt: str, turns: list[tuple[int, str]]) -> None:
    assert list(schedule(prompt, Calls(10))) == turns


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("[a|(b:1.1)]", ["a", "(b:1.1)"] * 5),
        ("[fe|]male", ["female", "male"] * 5),
        ("[fe|||]male", ["female", *["male"] * 3] * 2 + ["female", "male"]),
        ("x [a:b:0.3] [c|d]", ["x a c", "x a d"] * 1 + ["x a c", "x b d"] + ["x b c", "x b d"] * 3),
    ],
)
def test_alternatives_take_turns_at_each_step(prompt: str, texts: list[str]) -> None:
    turns = schedule(prompt, Calls(10))
    assert [at(turns, step) for step in range(1, 11)] == texts
    assert at(turns, 0) == texts[0]  # A1111 begins with the first step's text twice


def test_only_calls_that_are_made_have_texts() -> None:
    turns = schedule("[" + "|".join(map(str, range(70))) + "]", Calls(100, run=30))
    assert [turn.text for turn in turns] == [*map(str, range(30))]
    assert schedule("[a:b:0.2]", Calls(100, run=30)) == ((20, "a"), (30, "b"))
    assert schedule("[a:b:0.5]", Calls(100, run=30)) == ((30, "a"),)


def test_a_text_is_made_once_for_all_calls_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    once = prompt_editing._at

    def counted(pieces: Pieces, step: int, steps: Mapping[str, int]) -> str:
        made.append(step)
        return once(pieces, step, steps)

    monkeypatch.setattr(prompt_editing, "_at", counted)
    turns = schedule("[a|b]" * 390 + "[c:d:9]", Calls(450))
    assert len(turns) == 450
    assert len({turn.text for turn in turns}) == len(made) == 4


@pytest.mark.parametrize(
    ("prompt", "calls", "turns"),
    [
        ("a [b:.5] c", Calls(10, 10), [(10, "a b c")]),
        ("a [b:1.5] c", Calls(10, 10), [(5, "a  c"), (10, "a b c")]),
        ("a [b:14] c", Calls(10, 6), [(4, "a  c"), (6, "a b c")]),
        ("a [b:.5] c", Calls(10, 6, old=True), [(5, "a  c"), (10, "a b c")]),
        ("a [b:1.0] c", Calls(10), [(10, "a  c")]),
        ("a [b:1.0] c", Calls(10, old=True), [(1, "a  c"), (10, "a b c")]),
    ],
)
def test_a_second_pass_counts_anew(prompt: str, calls: Calls, turns: list[tuple[int, str]]) -> None:
    assert list(schedule(prompt, calls)) == turns


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat", [("a cat", 1)]),
        ("a :0.5 AND b AND  c:2 ", [("a", 0.5), (" b", 1), ("  c", 2)]),
        ("a:-1.", [("a", -1)]),
        ("BRAND (a:1.2)", [("BRAND (a:1.2)", 1)]),
        ("at 12:30 sharp", [("at 12:30 sharp", 1)]),
    ],
)
def test_prompts_compose_with_their_weights(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert composed(prompt) == parts


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("[un[balanced", [("un", 1 / 1.1), ("balanced", 1 / 1.1 / 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.5730000000000004),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641000000000006),
                (".", 1.1),
            ],
        ),
        ("(a:1.2.3)", [("a:1.2.3)", 1.1)]),
    ],
)
def test_weights_are_read_as_a1111_reads_them(text: str, spans: list[tuple[str, float]]) -> None:
    assert weighted(text) == spans


@given(st.text(alphabet=r"ab []():\1.3", max_size=30))
def test_marbles_grammar_reads_the_same_weights(text: str) -> None:
    joined: list[Span] = []
    for words, weight in parse(in_own_grammar(text)):
        if joined and joined[-1].weight == weight:
            words = joined.pop().text + words
        joined.append(Span(words, weight))
    assert joined == weighted(text)


def test_signs_of_a1111_are_found_as_they_were_typed() -> None:
    prompt = r"a [cat:dog:0.5], [soft [er]] AND \[kept\] BRAND [] (x:1.2)"
    assert foreign_signs(prompt) == ["[cat:dog:0.5]", "[soft [er]]", "AND"]


@pytest.mark.parametrize("text", ["[" * 2000, "[a:" * 600, "[a|" * 600, "(" * 1000 + ")" * 1000])
def test_hostile_prompts_are_read_without_recursion(text: str) -> None:
    assert schedule(text, Calls(10))[-1].text == text
    nested = "[a:" * 600 + "b" + ":1]" * 600
    assert [turn.text for turn in schedule(nested, Calls(10))] == ["a", "b"]
