"""What the network is asked of a recipe's prompts: how many texts are allowed."""

import pytest

from engine.errors import PromptError
from engine.recipe.conditions import check_texts
from tests.factories import make_recipe


def test_texts_are_counted_in_the_calls_that_are_made() -> None:
    prompt = "[" + "|".join(f"t{number}" for number in range(70)) + "]"
    check_texts(make_recipe(prompt=prompt, steps=30, syntax="a1111"), 31)
    with pytest.raises(PromptError, match="more than 30 texts"):
        check_texts(make_recipe(prompt=prompt, steps=30, syntax="a1111"), 30)
    with pytest.raises(PromptError, match="more than 31 texts"):  # two calls in a step
        check_texts(make_recipe(prompt=prompt, steps=30, sampler="heun", syntax="a1111"), 31)


def test_long_texts_are_counted_together() -> None:
    def check(prompt: str, **more: str) -> None:
        check_texts(make_recipe(prompt=prompt, steps=30, syntax="a1111", **more), 64)

    check("🗿" * 2000, negative_prompt="拿" * 2000)
    check("[" + "|".join("abcdefghijklmno") + "]" + "x" * 1900)
    with pytest.raises(PromptError, match="are longer than 32,000 bytes together"):
        check("[" + "|".join("abcdefghijklmnopq") + "]" + "x" * 1900)
    with pytest.raises(PromptError, match="are longer than 32,000 bytes together"):
        check("[" + "|".join("abcdefgh") + "]" + "拿" * 1500)


def test_a_few_prompts_alone_are_joined() -> None:
    check_texts(make_recipe(prompt=" AND ".join("a" * 16), syntax="a1111"), 64)
    check_texts(make_recipe(prompt=" AND ".join("a" * 17)), 64)  # a word
    with pytest.raises(PromptError, match=r"^At most 16 prompts can be joined by AND\.$"):
        check_texts(make_recipe(prompt=" AND ".join("a" * 17), syntax="a1111"), 64)


def test_no_prompt_weighs_more_than_a_number_holds() -> None:
    with pytest.raises(PromptError, match="The weight of 'a' must be a finite number, not inf"):
        check_texts(make_recipe(prompt="a :" + "9" * 400 + " AND b", syntax="a1111"), 64)
