import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.requests.options import parse_values
from engine.errors import OptionError, UnknownOption, UserError
from engine.recipe.limits import is_blank
from engine.recipe.parts import Lora
from tests.bots.messages import read_typed


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a cat", {"prompt": "a cat"}),
        ("a cat --seed 7", {"prompt": "a cat", "seed": 7}),
        ("--seed 7 a cat", {"prompt": "a cat", "seed": 7}),
        ("a cat —steps 5 in a hat", {"prompt": "a cat in a hat", "steps": 5}),
        ("a cat --size=96x64", {"prompt": "a cat", "width": 96, "height": 64}),
        (
            "a cat --no blur, fog --count 2",
            {"prompt": "a cat", "negative_prompt": "blur, fog", "count": 2},
        ),
        ('a cat --no "blur" by night', {"prompt": "a cat by night", "negative_prompt": "blur"}),
        ("a cat\nblur", {"prompt": "a cat", "negative_prompt": "blur"}),
        ("a cat --steps 5 --steps 5", {"prompt": "a cat", "steps": 5}),
        ("a king's crown - gold -- no", {"prompt": "a king's crown - gold -- no"}),
        ("大理石学者 --种子", {"prompt": "大理石学者 --种子"}),
        ("a cat --sampler DPMPP-2M", {"prompt": "a cat", "sampler": "dpmpp_2m"}),
        ("a cat --guidance 4.5", {"prompt": "a cat", "guidance_scale": 4.5}),
        ("a cat --model starter", {"prompt": "a cat", "checkpoint": "starter"}),
        ("--seed 7", {"prompt": "", "seed": 7}),
        (
            "a cat --lora ink:0.5,gold",
            {"prompt": "a cat", "loras": (Lora(name="ink", weight=0.5), Lora(name="gold"))},
        ),
        ("a cat --lora none", {"prompt": "a cat", "loras": ()}),
        (
            "a cat --clip-skip 2 --rescale 0.7",
            {
                "prompt": "a cat",
                "clip_skip": 2,
                "guidance_rescale": 0.7,
            },
        ),
        ("a cat --clipskip own", {"prompt": "a cat", "clip_skip": None}),
        ("a cat --shift 3", {"prompt": "a cat", "shift": 3.0}),
        ("a cat --shift own", {"prompt": "a cat", "shift": None}),
    ],
)
def test_a_message_is_read_as_its_writer_meant_it(text: str, values: dict[str, Any]) -> None:
    assert read_typed(text) == values


def test_an_unknown_option_is_answered_with_the_nearest_known_one() -> None:
    with pytest.raises(UnknownOption, match="did you mean '--steps'"):
        read_typed("a cat --stepps 5")


def test_an_option_like_no_other_is_answered_without_a_guess() -> None:
    with pytest.raises(UnknownOption, match=r"There is no option '--bogus'\.$"):
        read_typed("a cat --bogus 5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a cat --seed", "--seed must be followed by a value"),
        ("a cat --seed --steps 4", "--seed must be followed by a value"),
        ("a cat --seed abc", "seed must be a whole number from 0"),
        ("a cat --steps many", "steps must be a whole number between 1 and 150"),
        ("a cat --size 63", "size must be a whole number between 64 and 2048 pixels per side"),
        ("a cat --size big", "size must be like 512 or 768x512"),
        ("a cat --sampler eulr", "sampler must be one of euler"),
        ("a cat --guidance x", "guidance must be between 0 and 30, not 'x'."),
        ("a cat --rescale 2", "rescale must be between 0 and 1, not 2.0."),
        ("a cat --clip-skip 0", "clip-skip must be a whole number between 1 and 12, or 'own'"),
        ("a cat --shift 0", "shift must be between 0.01 and 100, or 'own', not 0.0."),
        ("a cat --seed foo", "18446744073709551615, or 'new', not 'foo'."),
        ("a cat --lora foo:bar", "lora must be written like name or name:0.8"),
        ("a cat --ar 1:1000", "a ratio like 3:2 of whole numbers from 1 to 999, not '1:1000'"),
        (
            "a cat --ar 3x2",
            "size must be 3:2 where a ratio is meant, or a whole number between 64 and "
            "2048 pixels per side, not '3x2'.",
        ),
        ("a cat --ar 16 × 9", "size must be a whole number between 64"),
        ("a cat --ar 0x9", "size must be a whole number between 64"),
        ("a cat --ar 50:1", "size must be a ratio of at most 32:1 or 1:32, not '50:1'."),
        ("a cat --ar 10:321", "size must be a ratio of at most 32:1 or 1:32, not '10:321'."),
    ],
)
def test_a_bad_value_says_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        read_typed(text)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    try:
        said = read_typed(text)["prompt"]
    except UserError as error:
        said = str(error)
    assert "\n" not in said


@given(
    st.text(alphabet=st.characters(exclude_characters="-—–\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"))
)
def test_a_prompt_without_options_is_kept_as_it_is(text: str) -> None:
    assert read_typed(text) == {"prompt": "" if is_blank(text) else text.strip()}


def test_new_seeds_differ() -> None:
    seeds = {parse_values([("seed", "new")])["seed"] for _ in range(8)}
    assert len(seeds) > 1
