"""Forms with fields: those of a recipe as they open, and the values that come back."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final

from bots.requests.options import OPTIONS, SPELLINGS, parse_values
from bots.requests.typed_options import (
    Typed,
    join_options,
    only_options,
    read_given,
    read_request,
)
from engine.recipe.limits import check_words
from engine.recipe.prompt_tags import plain
from engine.recipe.recipe import DEFAULTS, Recipe

OF_START: Final = ("strength", "fit")  # of a start image
NAMES: Final = tuple(option.name for option in (*OPTIONS, *SPELLINGS))


def form_values(
    fields: Mapping[str, str], shown: Mapping[str, str] | None = None, written: Typed | None = None
) -> dict[str, Any]:
    """Return the recipe values of a form's fields: `prompt`, and options by their names.

    shown: the fields' texts when the form opened. A field that was not changed gives way to an
    option among the words; words that were not changed are not searched for options. written: the
    options that stood among those words. Raises `UserError`.
    """
    shown, written = shown or {}, written or []
    changed = {
        name: text for name, text in fields.items() if text.strip() != shown.get(name, "").strip()
    }
    given = [(name, changed[name].strip()) for name in NAMES if changed.get(name, "").strip()]
    options = join_options(read_given(given), only_options(fields.get("changes") or "", NAMES))
    values: dict[str, Any] = {}
    if "prompt" in changed or not shown:
        words, typed = read_request(changed.get("prompt", ""), options)
        check_words(words)
        values["prompt"] = words
        options = [each for each in typed if each not in written]
        if "negative" in dict(written).keys() - dict(typed).keys():
            values["negative_prompt"] = ""
    if "negative" in changed and not changed["negative"].strip():
        values["negative_prompt"] = ""
    return values | parse_values(options)


def recipe_texts(recipe: Recipe, lacks: Container[str]) -> dict[str, str]:
    """Return the texts of a form with a field for each option, as it opens for a recipe.

    lacks: fields that its model does not have. What has no text stays as it is unless something is
    written.
    """
    left_out = () if recipe.image else OF_START
    names = (name for name in DEFAULTS if name not in lacks and name not in left_out)
    return value_texts({name: getattr(recipe, name) for name in names})


def value_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values of a recipe's fields as texts of a form: `prompt`, and options by their names.

    Of options that are no single value, seed and size alone have a text; a recipe's own default has
    none.
    """
    values = {name: value for name, value in values.items() if value != DEFAULTS.get(name)}
    texts = {"prompt": str(values.get("prompt", ""))}
    if "seed" in values:
        texts["seed"] = str(values["seed"])
    if {"width", "height"} <= values.keys():
        texts["size"] = f"{values['width']}x{values['height']}"
    for option in OPTIONS:
        value = None if option.values else values.get(option.field or option.name)
        if value is not None:
            texts[option.name] = plain(value) if isinstance(value, float) else str(value)
    return texts
