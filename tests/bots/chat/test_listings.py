"""Lists are cut between their entries, and say how many more there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.admission.blocked_words import read_list, write_list
from bots.admission.rulebook import read_rule, write_rule
from bots.chat.listings import act_detail, model_lines
from bots.discord.replies import CONTENT, listed
from bots.discord.short_choices import LONGEST, choice, joined, short, whole
from bots.presentation.lines import ignored_text
from bots.presentation.text import cut, fit_lines, fit_list, utf16_length
from bots.requests.options import parse_values
from bots.requests.typed_options import split_message
from bots.texts import EN, Words, words_of
from engine.models.catalogue import Catalogue
from engine.recipe.parts import Lora
from storage.clock import utc_now
from storage.records import Act
from tests.bots.fakes import EDITING, alter

MODELS = [f"dreamshaper-{number}-an-odd-name (Stable Diffusion 1.5)" for number in range(90)]


@pytest.mark.parametrize("words", [EN, words_of("zh")])
@pytest.mark.parametrize("recorded", ["attach_files", EN.permissions["attach_files"]])
def test_a_missing_permission_is_named_to_its_reader(recorded: str, words: Words) -> None:
    detail = {"permission": recorded}
    act = Act(id=1, at=utc_now(), by="", act="missing", target=None, place=None, detail=detail)
    known = recorded in words.permissions
    named = words.permissions["attach_files"] if known else recorded  # by earlier versions
    assert act_detail(act, words) == f"{words.details['permission']}: {named}"


def test_a_list_that_fits_is_whole() -> None:
    assert fit_list(["Models", "a", "b"], 13, EN.and_more) == "Models\na\nb"
    assert fit_list([], 5, EN.and_more) == ""


@pytest.mark.parametrize("words", [EN, words_of("zh")])
def test_a_model_is_listed_with_what_it_can_and_cannot_do(
    words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue()
    (plain,) = list(model_lines(catalogue, words))[1:]
    without = {"en": ", without --shift", "zh": "，没有--shift"}[words.language]
    assert plain.endswith(without)
    alter(monkeypatch, starter=EDITING)
    (line,) = list(model_lines(catalogue, words))[1:]
    assert line.startswith(plain.removesuffix(without))
    fixed = {"en": ", always --guidance 1, without ", "zh": "，--guidance 固定为 1，没有"}
    assert line.endswith(f"{fixed[words.language]}--negative, --vae, --rescale, --control")
    assert ("edits pictures by words" in line) == (words.language == "en")


@pytest.mark.parametrize("words", [EN, words_of("zh")])
def test_models_are_cut_between_two_and_the_others_counted(words: Words) -> None:
    shown = listed(["Models", *MODELS], words)
    assert len(shown) <= CONTENT
    title, *lines, last = shown.replace("\\", "").split("\n")
    assert title == "**Models**"
    assert lines == MODELS[: len(lines)]
    assert last == words.and_more.format(count=90 - len(lines))
    more = listed(["Models", *MODELS[: len(lines) + 1]], words)
    assert len(lines) > 20
    assert len(more) > 1000


@given(
    st.lists(st.text("ab猫🎲 \\*", max_size=300), max_size=60),
    st.integers(120, 900),
    st.sampled_from([len, utf16_length]),
)
def test_no_list_is_over_its_limit_or_loses_an_entry_unsaid(
    parts: list[str], limit: int, length: object
) -> None:
    measure = len if length is len else utf16_length
    text = fit_list(parts, limit, "… and {count} more", length=measure)
    assert measure(text) <= limit
    lines = text.split("\n")
    if lines[-1].startswith("… and "):
        assert int(lines[-1].split()[2]) == len(parts) - (len(lines) - 1)
    else:
        assert len(lines) == max(1, len(parts))


def test_a_huge_entry_is_cut_and_others_follow() -> None:
    text = fit_list(["Log", "word " * 500, "b", "c"], 300, EN.and_more)
    assert text.split("\n")[0] == "Log"
    assert text.split("\n")[1].endswith("word…")
    assert text.split("\n")[2:] == ["b", "c"]


def test_words_are_not_cut_in_two() -> None:
    assert cut("a marble scholar holding a book", 19) == "a marble scholar…"
    assert cut("x" * 50, 10) == "x" * 9 + "…"
    assert cut("大理石学者拿着书", 5) == "大理石学…"
    assert cut("seed 7 and more", 7) == "seed 7…"


def test_every_line_of_a_recipe_is_shown_however_long_others_are() -> None:
    lines = ["Recipe of 1", "prompt: " + "gold " * 400, "not: " + "fog " * 500, "seed: 7"]
    text = fit_lines(lines, 2000)
    assert len(text) <= 2000
    assert [line.split(":")[0] for line in text.split("\n")] == [
        "Recipe of 1",
        "prompt",
        "not",
        "seed",
    ]
    assert text.endswith("\nseed: 7")
    assert fit_lines(["a", "b"], 2000) == "a\nb"
    assert len(fit_lines(["ab cd"] * 1000, 2000)) <= 2000


def test_what_is_not_honoured_is_cut_between_two() -> None:
    shown = ignored_text([f"Setting {number}: True" for number in range(100)], EN)
    *some, last = shown.split("; ")
    assert some == [f"Setting {number}: True" for number in range(len(some))]
    assert last == f"… and {100 - len(some)} more"


def test_a_rules_names_are_cut_between_two() -> None:
    detail = {"models": MODELS}
    act = Act(id=1, at=utc_now(), by="a", act="rules", place="*", target=None, detail=detail)
    assert act_detail(act, EN).endswith(" more")
    assert "), dreamshaper-1-an" in act_detail(act, EN)


NAMES = ["a, b", "c", 'say "hi", you', '"quoted"', "猫，狗", " padded ", "x：y"]


def test_a_name_with_a_comma_can_be_in_a_rule() -> None:
    assert read_list('"a, b", c') == ["a, b", "c"]
    assert read_list("“a, b”，c、d") == ["a, b", "c", "d"], "as phones write it"
    assert read_rule("models", '"a, b", c') == ["a, b", "c"]
    assert write_rule(["a, b", "c"]) == '"a, b", c'
    assert read_list('half", "open') == ['half"', '"open']
    assert read_rule("blocked", "a, b,c，d") == ["a", "b", "c", "d"]


@given(st.lists(st.text(min_size=1, max_size=20).filter(str.strip), unique=True))
def test_a_list_is_read_as_it_is_written(names: list[str]) -> None:
    assert read_list(write_list(names)) == names
    assert read_list(write_list(NAMES)) == NAMES


def test_a_lora_with_a_comma_in_its_name_can_be_typed() -> None:
    both = (Lora(name="a, b", weight=0.8), Lora(name="c"))
    assert parse_values([("lora", '"a, b":0.8, c')]) == {"loras": both}
    _, typed = split_message('a cat --lora "a, b":0.8,c in a hat')
    assert typed == [("lora", '"a, b":0.8,c')]
    assert split_message('a cat --lora "ink:0.5, c"')[1] == [("lora", "ink:0.5, c")]


LONG = ["models/" + "a-very-long-name-" * 9 + which for which in ("fp16", "fp32")]


def test_a_name_over_a_hundred_characters_is_completed_and_found_again() -> None:
    choices = [choice(name, name) for name in LONG]
    assert all(len(each.name) <= LONGEST and len(str(each.value)) <= LONGEST for each in choices)
    assert len({each.name for each in choices}) == len({each.value for each in choices}) == 2
    assert [whole(str(each.value), [*LONG, "b"]) for each in choices] == LONG
    assert choice("ink", "ink").value == "ink"
    assert whole("an…other", LONG) == "an…other"
    assert whole(f"gone…{'0' * 8}", LONG) == f"gone…{'0' * 8}"


def test_several_long_names_can_be_chosen_one_after_the_other() -> None:
    comma = "a, b" + LONG[0]
    first = joined("", comma)
    second = joined(f"{first}:0.5, ", LONG[1])
    assert len(second) <= LONGEST
    assert whole(second, [*LONG, comma], listed=True) == f'"{comma}":0.5,{LONG[1]}'
    assert joined("ink:0.5, ", "gold") == "ink:0.5, gold"
    assert len(short(LONG[0], 40)) == 40
