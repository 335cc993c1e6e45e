"""One reader of words and options, for every place where a prompt can be typed."""

import re
import time
from contextlib import suppress

import pytest

from bots.discord.forms import once_shown_of
from bots.requests.derive import START_STRENGTH
from bots.requests.options import Flag, find, parse_values
from bots.requests.recipe_form import form_values
from bots.requests.typed_options import (
    join_options,
    only_options,
    read_request,
    read_style_words,
    split_message,
    words_below,
)
from bots.texts import tell, words_of
from engine.errors import OptionError, UnknownOption, UserError
from engine.recipe.limits import is_blank
from tests.factories import make_recipe

INVISIBLE = (
    "", " \n\t", "\u200b\u200c\u200d", "\u2800\u2800", "\u3164", "\ufe0f", "\U000e0041\U000e007f",
    "\x00\x1b", "\xad\u034f\u2060", "\ufeff \uffa0",
)  # fmt: skip
SEEN = (
    "a",
    "猫",
    "👩\u200d🎨",
    "1\ufe0f\u20e3",
    "🏴\U000e0067\U000e007f",
    "\u0301",
    "…",
    "\u200bx",
)


@pytest.mark.parametrize(
    ("text", "words", "options"),
    [
        ("a cat --ar 3:2 --seed 7", "a cat", [("size", "3:2"), ("seed", "7")]),
        ("a cat —ar 3:2 –seed 7", "a cat", [("size", "3:2"), ("seed", "7")]),
        ("一只猫 ——seed 7", "一只猫", [("seed", "7")]),
        ("一只猫，--seed 7", "一只猫", [("seed", "7")]),
        ("一只猫--seed 7", "一只猫", [("seed", "7")]),
        ("a cat,--seed 7", "a cat", [("seed", "7")]),
        ("a cat ， , --seed 7", "a cat", [("seed", "7")]),
        ("a cat, --seed 7 in a hat,", "a cat, in a hat,", [("seed", "7")]),
        (
            'a cat --no "fog", in a hat, --seed 7',
            "a cat in a hat",
            [("negative", "fog"), ("seed", "7")],
        ),
        ("a cat, --no fog, --seed 7", "a cat", [("negative", "fog"), ("seed", "7")]),
        ("a cat --seed 7 in a hat", "a cat in a hat", [("seed", "7")]),
        ("a cat --best", "a cat", [("best", "on")]),
        ("a cat --best in a hat --n 4", "a cat in a hat", [("best", "on"), ("count", "4")]),
        ("a cat --best, at night", "a cat at night", [("best", "on")]),
        ("a cat --n 4 --best off, at night", "a cat at night", [("count", "4"), ("best", "off")]),
        ("一只猫 --best，夜晚", "一只猫 夜晚", [("best", "on")]),
        ("art -- deco", "art -- deco", []),
        ("art - deco —", "art - deco —", []),
        ("well--known, he said——Tom", "well--known, he said——Tom", []),
        ("猫--deco", "猫--deco", []),
        ('a sign that says "--exit"', 'a sign that says "--exit"', []),
        ("a cat \u200b--seed 7", "a cat", [("seed", "7")]),
        (
            "\u200fחתול\u200f --seed\u200f 7 \u200e--ar\u200b3:2\u200f",
            "חתול",
            [("seed", "7"), ("size", "3:2")],
        ),
    ],
)
def test_options_among_words_are_read_and_words_are_left_as_they_are(
    text: str, words: str, options: list[tuple[str, str]]
) -> None:
    assert split_message(text) == (words, options)
    assert read_request(text) == (words, options)


@pytest.mark.parametrize(
    ("text", "words", "values"),
    [
        ("a cat --repeat 4", "a cat", {"count": 4}),
        ("a cat --R 4,", "a cat", {"count": 4}),
        ("a cat --seed 7, --steps 5; in a hat", "a cat in a hat", {"seed": 7, "steps": 5}),
        ("a cat --no fog, rain --SEED 7", "a cat", {"negative_prompt": "fog, rain", "seed": 7}),
        ("a cat －－seed：7", "a cat", {"seed": 7}),
        ("a cat --seed:7", "a cat", {"seed": 7}),
        ("a cat -–ar 64x96", "a cat", {"width": 64, "height": 96}),
        ("a cat −−ar 64x96 ‑‑seed 7", "a cat", {"width": 64, "height": 96, "seed": 7}),
        (
            "a cat -ar 64x96 -seed 7, in a hat",
            "a cat in a hat",
            {"width": 64, "height": 96, "seed": 7},
        ),
        (
            "-r 4 a cat −iw .5 -sampler Euler",
            "a cat",
            {"count": 4, "strength": 0.85, "sampler": "euler"},
        ),
        ("猫-seed=7", "猫", {"seed": 7}),
        ("prompt: a cat --seed 7", "a cat", {"seed": 7}),
        ("/imagine prompt: a cat --seed 7", "a cat", {"seed": 7}),
        (" /Imagine a cat", "a cat", {}),
        ("/imagined a cat", "/imagined a cat", {}),
        ("Prompt:a cat", "a cat", {}),
        ("a prompt: a cat", "a prompt: a cat", {}),
        ("a cat --iw 0", "a cat", {"strength": 1.0}),
        ("a cat --iw 1", "a cat", {"strength": START_STRENGTH}),
        ("a cat --iw .5", "a cat", {"strength": 0.85}),
        ("a cat --iw 3", "a cat", {"strength": 0.1}),
    ],
)
def test_flags_are_read_as_midjourney_spells_them(
    text: str, words: str, values: dict[str, object]
) -> None:
    read, typed = split_message(text)
    assert (read, parse_values(typed)) == (words, values)


@pytest.mark.parametrize("weight", ["4", "-1", "nan", "much"])
def test_a_weight_of_an_image_is_on_midjourneys_scale(weight: str) -> None:
    with pytest.raises(OptionError, match=f"iw must be between 0 and 3, not '{weight}'"):
        parse_values([("iw", weight)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a --v 6", "There is no option '--v'; leave it out, or write what Marble has: "
         "--v → --model."),
        ("a --tile", "There is no option '--tile'; leave it out."),
        ("猫--niji", "There is no option '--niji'; leave it out, or write what Marble has: "
         "--niji → --model."),
        ("a --tile, --fast", "There are no options '--tile', '--fast'; leave them out."),
        ("a —S 250 --chaos 9 --stpes 5\n--weird 3", "There are no options '--S', '--chaos', "
         "'--stpes', '--weird'; leave them out, or write what Marble has: --S → --guidance, "
         "--stpes → --steps."),
        ("a --ar3:2", "There is no option '--ar3' (did you mean '--ar'?)."),
    ],
)  # fmt: skip
def test_all_flags_that_mean_nothing_here_are_named_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        split_message(text)
    assert str(error.value) == said
    assert re.search("没有选项 '--.*。", tell(error.value, words_of("zh")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a cat -v 6.1 -s 250", "There are no options '--v', '--s'; leave them out, or write what "
         "Marble has: --v → --model, --s → --guidance."),
        ("a cat -no fog", "Write --no with two hyphens where you mean the option, or put -no in "
         "quotes where it is words."),
        ("a cat -style raw", "Write --style with two hyphens where you mean the option, or put "
         "-style in quotes where it is words."),
    ],
)  # fmt: skip
def test_one_hyphen_that_may_begin_an_option_is_named(text: str, said: str) -> None:
    for read in (split_message, read_request):
        with pytest.raises(UserError) as error:
            read(text)
        assert str(error.value) == said
        assert tell(error.value, words_of("zh")) != said


@pytest.mark.parametrize(
    "text",
    [
        "a cat -size of a mouse",
        "art - deco -deco",
        "minus -5 degrees -seed",
        'a sign that says "-no entry"',
        "-s and -v are letters",
        "slim-fit jeans, x -r -n",
    ],
)
def test_other_words_behind_one_hyphen_are_words(text: str) -> None:
    assert split_message(text) == (text, [])


@pytest.mark.parametrize(
    "mention",
    ["<@123>", "<@!123>", "<@&123>", "<#123>", "<:cat:123>", "<a:cat:123>", "<t:123:R>",
     "</show me:123>"],
)  # fmt: skip
def test_a_mention_as_discord_writes_it_is_not_drawn_as_words(mention: str) -> None:
    for text in (f"{mention} a cat", f"a cat --no {mention}"):
        for read in (split_message, read_request):
            with pytest.raises(UserError, match=f"^'{re.escape(mention)}' is how Discord writes"):
                read(text)
    assert split_message("a <3 cat <lora:cat:1> <b>")[0] == "a <3 cat <lora:cat:1> <b>"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a cat::2 dog", "cat::2"),
        ("cat:: dog", "cat::"),
        ("cat ::-.5 dog --seed 7", "cat ::-.5"),
        ("[[a|b]::0.4] cat::1", "cat::1"),
        ("a cat::", "cat::"),
        ("a cat --no dog::-0.5", "dog::-0.5"),
    ],
)
def test_weights_as_midjourney_writes_them_are_not_drawn_as_words(text: str, written: str) -> None:
    for read in (split_message, read_request):
        with pytest.raises(UserError, match=re.escape(f"Weights are not written '{written}' here")):
            read(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/cat.png a cat",
        "<https://example.com/cat.png> a cat",
        "prompt: HTTPS://example.com/cat.png a cat --iw 2",
        "--ar 3:2 https://example.com/cat.png",
    ],
)
def test_an_address_in_front_is_a_picture_that_is_not_fetched(text: str) -> None:
    for read in (split_message, read_request):
        with pytest.raises(UserError) as error:
            read(text)
        assert "give the picture itself as the start image" in str(error.value)
        assert "起始图" in tell(error.value, words_of("zh"))


def test_an_address_among_the_words_is_words() -> None:
    assert split_message("a sign with https://example.com") == (
        "a sign with https://example.com",
        [],
    )


def test_a_missing_value_is_said_of_the_option_as_it_was_typed() -> None:
    with pytest.raises(UserError, match="--no must be followed by a value"):
        split_message("a cat --no")


@pytest.mark.parametrize("text", ["std::vector", "[cat::0.4] at night", "[[a|b]::4]", "a ::: b"])
def test_other_double_colons_are_words(text: str) -> None:
    assert split_message(text) == (text, [])


def test_what_nobody_knows_is_refused_by_its_name() -> None:
    for text in ("art --deco", "a cat —deco", "art \u2066--deco", "a\ncat --deco 1", "cat\n--deco"):
        for read in (split_message, read_request):
            with pytest.raises(UnknownOption, match="There is no option '--deco'"):
                read(text)


def test_a_further_line_is_the_negative_prompt_and_its_options_are_read() -> None:
    read = split_message("a cat\nblur --seed 7\n--steps 5")
    assert read == ("a cat", [("negative", "blur"), ("seed", "7"), ("steps", "5")])
    assert split_message("a cat\n--seed 7") == ("a cat", [("seed", "7")])


@pytest.mark.parametrize(
    ("text", "below"),
    [
        ("a cat\nblur --seed 7\nfog", "blur\nfog"),
        ("prompt:\na cat\n\nblur", "blur"),
        ("a cat --no fog", ""),
        ("\na cat\n--seed 7", ""),
    ],
)
def test_the_words_of_further_lines_can_be_told(text: str, below: str) -> None:
    assert words_below(text).split() == below.split()


def test_all_words_that_are_not_wanted_count() -> None:
    words, typed = split_message("a cat --no fog --seed 7 --no rain")
    assert (words, typed) == ("a cat", [("negative", "fog, rain"), ("seed", "7")])
    assert split_message("a cat --no fog\nrain")[1] == [("negative", "fog, rain")]
    assert read_request("a cat", [("negative", "fog"), ("negative", "rain")])[1] == [
        ("negative", "fog, rain")
    ]
    assert split_message("a cat --no fog --no fog")[1] == [("negative", "fog")]


def test_where_a_negative_prompt_has_its_field_lines_are_words() -> None:
    assert read_request(" a cat\n\nin a hat ") == (" a cat\n\nin a hat ", [])
    assert read_request("a cat\nin a hat\n--seed 7\nat night") == (
        "a cat\nin a hat at night",
        [("seed", "7")],
    )


def test_an_option_given_beside_the_words_and_among_them_is_refused() -> None:
    with pytest.raises(UserError) as error:
        read_request("a cat --seed 8", [("seed", "7")])
    assert str(error.value) == "--seed is given twice, as '7' and as '8'; give it once."
    assert tell(error.value, words_of("zh")) == "--seed 给了两次：'7' 和 '8'；请只给一次。"
    same = read_request("a cat --seed 7 --ar 3:2", [("seed", " 7"), ("size", "3:2")])
    assert dict(same[1])["seed"] == "7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a cat --seed 7 --seed 8", "--seed is given twice, as '7' and as '8'; give it once."),
        ("a cat --seed 7\n--seed 8", "--seed is given twice, as '7' and as '8'; give it once."),
        ("a cat --ar 3:2 --size 512", "--size is given twice, as '3:2' and as '512'; give it "
         "once."),
        ("a cat --iw 2 --strength 0.5", "--strength is given twice, as '--iw 2' and as "
         "'--strength 0.5'; give it once."),
        ("a cat --steps 5 in a hat --steps 6", "--steps is given twice, as '5' and as '6'; give it "
         "once."),
    ],
)  # fmt: skip
def test_an_option_with_two_values_in_one_text_is_refused(text: str, said: str) -> None:
    for read in (split_message, read_request):
        with pytest.raises(UserError) as error:
            read(text)
        assert str(error.value) == said
        assert "给了两次" in tell(error.value, words_of("zh"))


def test_an_option_with_two_values_is_refused_where_options_stand_alone() -> None:
    with pytest.raises(UserError, match="--steps is given twice"):
        only_options("--steps 5 --steps 6", ["steps"])
    assert only_options("--steps 5 --steps 5", ["steps"]) == [("steps", "5"), ("steps", "5")]


def test_options_in_a_negative_prompt_beside_the_words_are_read_there() -> None:
    given = [("negative", "blur,\nfog --seed 7"), ("steps", "5")]
    options = [("negative", "blur,\nfog"), ("steps", "5"), ("seed", "7"), ("size", "3:2")]
    assert read_request("a cat --ar 3:2", given) == ("a cat", options)
    with pytest.raises(UserError, match="is given twice"):
        read_request("a cat --seed 8", given)
    with pytest.raises(UnknownOption, match="'--deco'"):
        read_request("a cat", [("negative", "art --deco")])


def test_what_may_be_given_several_times_is() -> None:
    control = Flag(name="control", example="X", many=True)
    given = [("control", "a")]
    assert join_options(given, [("control", "b")], (control,)) == [
        ("control", "a"),
        ("control", "b"),
    ]


def test_a_list_keeps_its_quotes_to_be_read_by_who_knows_lists() -> None:
    rules = (Flag(name="models", example="none", spoken=True, listed=True),)
    _, typed = split_message('--models "a, b", starter --seed 7', rules)
    assert typed == [("models", '"a, b", starter'), ("seed", "7")]
    assert split_message('--models "a, b"', rules)[1] == [("models", '"a, b"')]


def test_where_options_stand_alone_words_are_refused() -> None:
    names = ["steps", "size"]
    assert only_options("--steps 5\n--ar 3:2", names) == [("steps", "5"), ("size", "3:2")]
    with pytest.raises(UnknownOption, match="'steps 5'"):
        only_options("steps 5", names)
    with pytest.raises(UnknownOption, match="'--seed'"):
        only_options("--seed 5", names)


@pytest.mark.parametrize("text", INVISIBLE)
def test_words_that_cannot_be_seen_are_none(text: str) -> None:
    assert is_blank(text)
    assert split_message(f"{text} --seed 7")[0] == ""
    assert read_request(f"{text} --seed 7")[0] == ""
    assert read_request(text)[0] == ""


@pytest.mark.parametrize("text", SEEN)
def test_words_that_can_be_seen_keep_what_joins_them(text: str) -> None:
    assert not is_blank(text)
    assert split_message(text) == (text, [])


def test_a_style_is_read_as_prompts_are() -> None:
    assert read_style_words("film noir, {prompt} --no colour") == ("film noir, {prompt}", "colour")
    assert read_style_words("film noir", "colour") == ("film noir", "colour")
    with pytest.raises(UserError, match="is given twice"):
        read_style_words("film noir --no colour", "fog")
    for text, negative in (("film noir --steps 5", ""), ("film noir", "colour --steps 5")):
        with pytest.raises(UnknownOption, match="'--steps'"):
            read_style_words(text, negative)


RECIPE = make_recipe(prompt="a cat --v 5", negative_prompt="fog")


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ({}, {}),  # its words stay as they were drawn; nobody typed them now
        ({"prompt": "a dog —ar 3:2 --seed 9"}, {"prompt": "a dog", "seed": 9}),
        ({"prompt": "a dog --no blur"}, {"prompt": "a dog", "negative_prompt": "blur"}),
        ({"negative": ""}, {"negative_prompt": ""}),
        ({"seed": "9", "changes": "--steps 5"}, {"seed": 9, "steps": 5}),
        ({"seed": "", "changes": ""}, {}),
        (
            {"negative": "blur --steps 5"},
            {"negative_prompt": "blur", "steps": 5},
        ),
    ],
)
def test_a_form_gives_way_to_options_among_its_words(
    fields: dict[str, str], values: dict[str, object]
) -> None:
    found = form_values({**once_shown_of(RECIPE), "changes": "", **fields}, once_shown_of(RECIPE))
    for size in ("width", "height"):
        found.pop(size, None)
    assert found == values


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": "a dog --seed 8", "seed": "9"}, "--seed is given twice, as '9' and as '8'"),
        ({"seed": "9", "changes": "--seed 8"}, "--seed is given twice, as '9' and as '8'"),
        ({"prompt": "a dog --steps 8", "changes": "--steps 9"}, "--steps is given twice"),
        ({"changes": "steps 9"}, "There is no option 'steps 9'"),
        ({"prompt": "a dog --v 6"}, "There is no option '--v'"),
        ({"negative": "fog --v 6"}, "There is no option '--v'"),
        ({"negative": "fog --seed 8", "seed": "9"}, "--seed is given twice, as '9' and as '8'"),
        ({"prompt": "\u200b"}, "a description of the picture"),
    ],
)
def test_a_form_refuses_what_is_unclear_in_one_sentence(fields: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        form_values({**once_shown_of(RECIPE), "changes": "", **fields}, once_shown_of(RECIPE))


def test_a_value_that_is_missing_is_asked_for() -> None:
    with pytest.raises(OptionError, match="--seed must be followed by a value"):
        read_request("a cat --seed")
    assert find("ar").name == "size"


@pytest.mark.parametrize(
    "text",
    ["-a ", "-a,", "-s ", "-seed x ", "{", "{a,", "--nothing ", "a::", "<:a", "\u200b a -q ", '"'],
)
def test_no_text_takes_longer_than_its_length_explains(text: str) -> None:
    """What the processor did is counted, so that a busy machine is no slower."""
    started = time.process_time()
    with suppress(UserError):
        read_request(text * (32_000 // len(text)))
    assert time.process_time() - started < 5.0


def test_a_flag_behind_one_hyphen_is_read_in_a_long_text() -> None:
    words = "a cat, " * 200
    assert read_request(f"{words}-seed 7")[1] == [("seed", "7")]
