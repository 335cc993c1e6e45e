"""How prompts are read, against reference tokens and against every string there is."""

import json
import math
import re
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import PromptError
from engine.loading.tokenizer import make_tokenizer
from engine.text_encode.prompts import Span, Token, flat, marks, parse, tokenize
from tests.conftest import REFERENCE

BOS, EOS = 1, 2
GRAMMAR = st.text(st.sampled_from(r"ab :.1290-()\(\)" + "\n"), max_size=60)


def letters(text: str) -> list[list[int]]:
    """Encode a text as one token a character, spaces left out; what braces hold is a group."""
    groups = re.split(r"[{}]", text)
    return [[ord(char) for char in group if not char.isspace()] for group in groups]


def ids(prompt: str, max_length: int = 12, pad: int | None = None) -> list[list[int]]:
    chunks = tokenize(prompt, letters, bos=BOS, eos=EOS, pad=pad, max_length=max_length)
    return [[token.id for token in window] for window in chunks]


def body(window: list[int]) -> str:
    return "".join(chr(id_) for id_ in window if id_ not in (BOS, EOS))


def test_tokens_and_weights_equal_the_reference() -> None:
    tokenizer = make_tokenizer(49407)
    reference: dict[str, Any] = json.loads((REFERENCE / "clip_tokens.json").read_text("utf-8"))
    for prompt, expected in reference.items():
        chunks = tokenize(
            prompt,
            lambda text: [tokenizer(text, add_special_tokens=False).input_ids],
            bos=tokenizer.bos_token_id,
            eos=tokenizer.eos_token_id,
        )
        assert [[t.id for t in window] for window in chunks] == [
            [id_ for id_, _ in window] for window in expected
        ], prompt
        for window, wanted in zip(chunks, expected, strict=True):
            assert [t.weight for t in window] == pytest.approx([w for _, w in wanted], abs=1e-6)


@pytest.mark.parametrize(
    ("prompt", "spans"),
    [
        ("", []),
        ("a statue", [("a statue", 1)]),
        ("(a)", [("a", 1.1)]),
        ("((a))", [("a", 1.21)]),
        ("(a:1.5)", [("a", 1.5)]),
        ("(a: 1.5 )", [("a", 1.5)]),
        ("(a:-1)b", [("a", -1), ("b", 1)]),
        ("(a:0)", [("a", 0)]),
        ("((a:1.5))", [("a", 1.5)]),
        ("((a):1.5)", [("a", 1.65)]),
        ("(a (b:1.5) c)", [("a ", 1.1), ("b", 1.5), (" c", 1.1)]),
        ("(a:b:2)", [("a:b", 2)]),
        ("(a:1:2)", [("a:1", 2)]),
        ("(x:)", [("x:", 1.1)]),
        ("(x:abc)", [("x:abc", 1.1)]),
        ("(:1.2)", [(":1.2", 1.1)]),
        ("()", []),
        ("x()y", [("x", 1), ("y", 1)]),
        (r"\(a\)", [("(a)", 1)]),
        (r"(a\))", [("a)", 1.1)]),
        (r"(a\(:1.3)", [("a(", 1.3)]),
        (r"(a:1.3\)", [("(a:1.3)", 1)]),
        ("\\", [("\\", 1)]),
        (r"a\b", [(r"a\b", 1)]),
        ("(a", [("(a", 1)]),
        ("a(b", [("a", 1), ("(b", 1)]),
        ("a)", [("a)", 1)]),
        ("a) (b)", [("a) (b)", 1)]),
        ("(a))(b)", [("a", 1.1), (")(b)", 1)]),
        ("(a (b)", [("a ", 1.1), ("(b", 1.1)]),
        ("((a) (b:2", [("((a) (b:2", 1)]),
        (")(", [(")(", 1)]),
        ("(a:1e3)", [("a", 1000)]),
    ],
)
def test_the_grammar(prompt: str, spans: list[tuple[str, float]]) -> None:
    found = parse(prompt)
    assert [span.text for span in found] == [text for text, _ in spans]
    assert [span.weight for span in found] == pytest.approx([weight for _, weight in spans])


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", "1e999", "-1e39", "infinity"])
def test_a_weight_that_is_no_number_of_use_is_refused(weight: str) -> None:
    with pytest.raises(PromptError, match=r"^The weight of 'gold leaf' must be .*\\\)\.$"):
        parse(f"a statue, (gold leaf:{weight})")


def test_nesting_cannot_multiply_a_weight_past_every_number() -> None:
    with pytest.raises(PromptError, match="must be a finite number"):
        parse("((a):3.4e38)")
    assert parse("(" * 900 + "a" + ")" * 900)[0].weight == pytest.approx(1.1**900)


def _comfy(text: str, weight: float = 1.0) -> list[tuple[str, float]]:
    """Read a prompt by the published rule, one character at a time, however slowly."""
    items: list[str] = []
    item, level = "", 0
    for char in text:
        if char == "(" and level == 0:
            items, item = [*items, item], ""
        level += (char == "(") - (char == ")")
        item += char
        if char == ")" and level == 0:
            items, item = [*items, item], ""
    spans = []
    for part in filter(None, [*items, item]):
        if len(part) >= 2 and part[0] == "(" and part[-1] == ")":
            inside, inner = part[1:-1], weight * 1.1
            colon = inside.rfind(":")
            if colon > 0:
                with suppress(ValueError):
                    inner = float(inside[colon + 1 :])
                    inside = inside[:colon]
            spans += _comfy(inside, inner)
        else:
            spans.append((part, weight))
    return spans


@settings(deadline=None)  # the machine may be busy
@given(GRAMMAR)
def test_every_prompt_is_read_as_the_published_rule_reads_it(prompt: str) -> None:
    marked = prompt.replace(r"\)", "\0").replace(r"\(", "\1")
    expected = [
        Span(text.replace("\0", ")").replace("\1", "("), weight) for text, weight in _comfy(marked)
    ]
    assert parse(prompt) == expected


@settings(deadline=None)  # the machine may be busy
@given(st.text())
def test_any_text_can_be_read(prompt: str) -> None:
    try:
        spans = parse(prompt)
    except PromptError:
        return
    assert all(span.text and math.isfinite(span.weight) for span in spans)
    for window in tokenize(prompt, letters, bos=BOS, eos=EOS, max_length=9):
        assert len(window) == 9


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.characters(exclude_characters="()\\", exclude_categories=["Cs"]), min_size=1))
def test_text_without_parentheses_is_kept(prompt: str) -> None:
    assert parse(prompt) == [(prompt, 1.0)]


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert parse("a \ud83d b \ud83d\ude00") == [("a � b 😀", 1.0)]


@pytest.mark.parametrize("piece", ["(", ")", "()", "(a", "a)", "(a:1.1) ", r"\(", ":", "((a:1) "])
def test_long_prompts_are_read_in_no_time(piece: str) -> None:
    prompt = piece * (20_000 // len(piece))
    assert "".join(span.text for span in parse(prompt)).count("a") == prompt.count("a")


def test_an_empty_prompt_is_one_window_of_padding() -> None:
    assert ids("", 6) == [[BOS, EOS, EOS, EOS, EOS, EOS]]
    assert ids(" \n ", 6, pad=0) == [[BOS, EOS, 0, 0, 0, 0]]


def test_specials_and_padding_have_no_weight_of_their_own() -> None:
    [window] = tokenize("(a:3)", letters, bos=BOS, eos=EOS, max_length=5)
    assert window == [(BOS, 1), (ord("a"), 3), (EOS, 1), (EOS, 1), (EOS, 1)]


def test_a_short_span_moves_to_the_next_window() -> None:
    assert [body(window) for window in ids("aaaaaa (bb bb bbb)", 12)] == ["aaaaaa", "bbbbbbb"]


def test_a_long_span_is_split() -> None:
    assert [body(window) for window in ids("aaaaaa (bb bb bbbb)", 12)] == ["aaaaaabbbb", "bbbb"]


@pytest.mark.parametrize(
    ("prompt", "windows"),
    [
        ("aaaaaaaa {bbbb} cc", ["aaaaaaaa", "bbbbcc"]),  # moved whole, though the span is long
        ("aaaaaaaa {bb} cc", ["aaaaaaaabb", "cc"]),
        ("aaaaaa {bbbbbbbb} cc", ["aaaaaabbbb", "bbbbcc"]),  # long: split, as by ComfyUI
    ],
)
def test_a_short_group_of_a_span_moves_to_the_next_window(prompt: str, windows: list[str]) -> None:
    assert [body(window) for window in ids(prompt, 12)] == windows


def test_a_full_window_starts_no_empty_one() -> None:
    assert [body(window) for window in ids("aaaaa (bbbbb)", 12)] == ["aaaaabbbbb"]


def test_a_short_span_longer_than_a_window_is_split() -> None:
    assert [body(window) for window in ids("aaaaaa", 6)] == ["aaaa", "aa"]


@pytest.mark.parametrize("prompt", ["a BREAK b", "a BREAK, b", "BREAK a BREAK\nBREAK (b) BREAK"])
def test_break_goes_on_in_a_new_window(prompt: str) -> None:
    assert [body(window).strip(",") for window in ids(prompt, 12)] == ["a", "b"]


def test_break_is_a_word_where_no_window_can_begin() -> None:
    found = tokenize("a BREAK (b:2)", letters, bos=BOS, eos=EOS, max_length=20, breaks=False)
    assert [body([token.id for token in window]) for window in found] == ["aBREAKb"]
    assert "".join(chr(token.id) for token in flat("a BREAK (b:2)", letters)) == "aBREAKb"


def test_break_is_a_word_of_its_own() -> None:
    assert body(ids("BREAKFAST break", 20)[0]) == "BREAKFASTbreak"
    assert len(ids("BREAKFAST break", 20)) == 1


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.text("abc ", min_size=1, max_size=20)), st.integers(3, 30))
def test_windows_keep_every_token_in_order(spans: list[str], max_length: int) -> None:
    windows = ids("".join(f"({span})" for span in spans), max_length)
    assert "".join(body(window) for window in windows) == "".join(spans).replace(" ", "")
    assert all(len(w) == max_length and w[0] == BOS and EOS in w for w in windows)


def test_a_window_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3, not 2"):
        tokenize("a", letters, bos=BOS, eos=EOS, max_length=2)


def test_tokens_are_plain_tuples() -> None:
    assert Token(5, 1.0) == (5, 1.0)


def test_reading_prompts_needs_no_torch() -> None:
    script = "import engine.text_encode.prompts, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a (gold:1.2) cat BREAK a dog", ["(gold:1.2)", "BREAK"]),
        ("((gold)) (black) cat", ["((gold))"]),
        ("a cat (black), BREAKING", []),
        (r"a \(gold:1.2\) cat", []),
        ("(a (b:1.3) c)", ["(a (b:1.3) c)"]),
        ("(gold:1.1) (gold:1e99)", ["(gold:1.1)", "(gold:1e99)"]),
        ("a) (b:1.2)", []),  # which is text for all
        ("(a (b", []),
        ("a cat, embedding:old-film", ["embedding:old-film"]),
    ],
)
def test_what_a_prompt_has_of_the_grammar_is_found_as_it_was_typed(
    prompt: str, found: list[str]
) -> None:
    assert marks(prompt) == found
