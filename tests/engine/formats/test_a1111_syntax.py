"""What A1111 reads in prompts beside words: read as what it means, or named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.texts import say, words_of
from engine.errors import PromptError, UserError
from engine.formats.a1111.settings import NAME, next_name
from engine.formats.a1111.writer import to_a1111
from engine.recipe.limits import SYNTAXES
from engine.recipe.parts import Lora
from engine.recipe.prompt_tags import take_loras
from engine.recipe.recipe import Recipe
from tests.engine.recipes import read_line
from tests.factories import make_recipe

LINE = "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, Model: m, RNG: CPU"


def read(prompt: str, negative: str = "", more: str = "") -> tuple[Recipe, tuple[str, ...]]:
    return read_line(f"{prompt}\nNegative prompt: {negative}\n{LINE}{more}")


def test_embeddings_are_found_by_the_names_that_the_line_lists() -> None:
    more = ', TI hashes: "EasyNegative: c74b4e810b03, bad-hands-5: aa7651be154c, EasyNegative: c7"'
    recipe, ignored = read("a king, EasyNegatives", "(easynegative:1.2), bad-hands-5, a", more)
    assert recipe.prompt == "a king, EasyNegatives"
    assert recipe.negative_prompt == "(embedding:EasyNegative:1.2), embedding:bad-hands-5, a"
    assert ignored == ()


def test_a_longer_name_is_not_torn_by_a_shorter_one() -> None:
    recipe, _ = read("by style and style-2", more=', TI hashes: "style: 1a, style-2: 2b"')
    assert recipe.prompt == "by embedding:style and embedding:style-2"


@pytest.mark.parametrize("name", [r"\q", r"a\1"])
def test_an_embeddings_name_is_no_expression(name: str) -> None:
    recipe, ignored = read(f"by {name}", more=f", TI hashes: {name}: 1a")
    assert recipe.prompt == f"by {name}"
    assert any("not found in the prompts" in each for each in ignored)


def test_an_embedding_that_no_prompt_can_name_is_noted() -> None:
    _, ignored = read("by my style", more=', TI hashes: "my style: 1a, gone: 2b"')
    assert ignored == ("my style, gone (not found in the prompts)",)


def test_networks_are_loras_or_noted() -> None:
    recipe, ignored = read(
        "a king <lyco:x:0.6> <hypernet:y:0.7> <lora:z:1:1:1:1> <what:a> at night"
    )
    assert recipe.prompt == "a king at night"
    assert recipe.loras == (Lora(name="x", weight=0.6), Lora(name="z"))
    assert ignored == (
        "<hypernet:y:0.7>, <what:a> (Marble has no such network; left out)",
        "<lora:z:1:1:1:1> (only the name and the first weights are read)",
    )


@pytest.mark.parametrize(
    ("tag", "weight", "text"),
    [
        ("<lora:x:te=0.5:unet=1>", 1.0, 0.5),
        ("<lora:x:te=0.5>", 0.5, 0.5),
        ("<lora:x:0.5:UNET = 0.25>", 0.25, 0.5),
        ("<lyco:x:unet=0.25>", 0.25, 1.0),
    ],
)
def test_weights_may_bear_names(tag: str, weight: float, text: float) -> None:
    lora = Lora(name="x", weight=weight, text_weight=text)
    assert take_loras(f"a king {tag}") == ("a king", (lora,))
    assert read(f"a king {tag}")[0].loras == (lora,)


SIGNS = r"a [cat:dog:0.5] AND a [tree|bush], [fog:3], [x::2], [soft], \[kept\] BRAND a:b"


@pytest.mark.parametrize(
    ("prompt", "negative", "more", "syntax"),
    [
        (SIGNS, "x", "", "a1111"),
        (SIGNS, "x", ", Version: v1.10.1", "a1111"),
        (SIGNS, "x", ", Version: f2.0.1v1.10.1-previous-665-gae278f79", "a1111"),
        (SIGNS, "x", ", Version: v1.5.2", "a1111_old"),
        (SIGNS, "x", ", Version: v1.10.1, Old prompt editing timelines: True", "a1111_old"),
        (SIGNS, "x", ", Marble syntax: marble", "marble"),
        ("[soft]", "", "", "a1111"),
        ("a", "[x:0.2]", "", "a1111"),
        ("a, b :0.5", "", "", "a1111"),
        ("((gold:1.2))", "", "", "a1111"),  # Marble's weight is 1.2 there
        ("a (gold:1.2), ((b)), c: d BREAK :)", "(x:0.5)", "", "marble"),
    ],
)
def test_prompts_have_the_grammar_of_their_program_where_marbles_differs(
    prompt: str, negative: str, more: str, syntax: str
) -> None:
    recipe, ignored = read(prompt, negative, more)
    assert (recipe.prompt, recipe.negative_prompt) == (prompt, negative)
    assert (recipe.syntax, ignored) == (syntax, ())


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("prompt", ["a king", "a [cat|dog]", "((gold:1.2))"])
def test_a_line_says_whose_grammar_prompts_have(prompt: str, syntax: str) -> None:
    recipe = make_recipe(prompt=prompt, syntax=syntax)
    assert read_line(to_a1111(recipe)) == (recipe, ())


def test_words_that_change_are_noted_where_another_program_writes_such_a_line() -> None:
    prompt = SIGNS
    recipe, ignored = read(
        prompt, "[old:new:0.2], x AND y", ", App: SD.Next, Schedule type: Karras"
    )
    assert recipe.syntax == "marble"
    assert recipe.prompt == prompt
    assert ignored == (
        "[cat:dog:0.5], [tree|bush], [fog:3], [x::2], [old:new:0.2] "
        "(drawn as words; Marble changes words between steps for A1111 alone)",
        "[soft] (drawn as words; to reduce weight, write (words:0.9))",
        "AND (drawn as a word; Marble composes prompts for A1111 alone)",
    )
    assert [say(each, words_of("zh")).partition("（")[2] for each in ignored] == [
        "按文字画出；Marble 只按 A1111 的语法在步数之间更换提示词）",
        "按文字画出；要减弱权重，请写作 (词语:0.9)）",
        "按文字画出；Marble 只按 A1111 的语法组合多个提示词）",
    ]


def test_plain_words_are_no_syntax() -> None:
    assert read("a king (gold:1.2), and a queen: 3 < 5, BREAK at 12:30")[1] == ()


def test_a_typed_hypernetwork_is_refused_by_its_name() -> None:
    with pytest.raises(PromptError, match="'<hypernet:y:1>' is a hypernetwork"):
        take_loras("a king <hypernet:y:1>")
    with pytest.raises(PromptError, match="must be written <lora:name>"):
        take_loras("a king <lora:x:dyn=4>")
    assert take_loras("a [cat:dog:0.5] AND a [tree|bush]") == (
        "a [cat:dog:0.5] AND a [tree|bush]",
        (),
    )


@pytest.mark.parametrize("text", ["[" * 50_000, "[a:" * 20_000, "<lora:" * 10_000, " " * 90_000])
def test_hostile_prompts_are_read_at_once(text: str) -> None:
    more = ', TI hashes: "' + "a: 1, " * 300 + '"'
    with pytest.raises(UserError, match="2,000 characters"):
        read(f"a{text}a", more=more)


@given(st.text(alphabet="ab9 :/-!,é", max_size=200), st.integers(0, 9), st.booleans())
def test_the_next_name_is_that_which_the_whole_line_has_first(
    line: str, at: int, long: bool
) -> None:
    line = line.replace("b", "b" * 70) if long else line
    found, first = next_name(line, at), NAME.search(line, at)
    assert (found and found.span()) == (first and first.span())
