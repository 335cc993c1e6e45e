"""Forms: to describe a picture, to change a recipe, to edit a picture, and to start from one.

All they need stands in their id and their fields, so that they outlive the process that opened
them. A form has at most five fields: whatever has none of its own is an option among the words.
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import discord
from discord import TextStyle, ui

from bots.discord.handler import Handler
from bots.discord.request import Request
from bots.discord.short_choices import choice
from bots.presentation.text import cut
from bots.requests.aspect import ASPECTS
from bots.requests.permutations import without_choices
from bots.requests.typed_options import Typed, split_message, write_options
from bots.texts import Words
from engine.errors import UserError
from engine.recipe.recipe import Recipe

TEMPLATE: Final = re.compile(
    # "edit" is the form of the recipe, as it was before words and options shared a field.
    r"marble-form:(?P<kind>imagine|change|edit|words|start)"
    r"(?::(?P<about>[\w.]+)(?::(?P<seal>[0-9a-f]+))?)?"
)
SEAL: Final = 16  # characters: an id has room for no more beside a sha256
TEXT: Final = 4000  # characters that a field takes
HINT: Final = 100
CHOICES: Final = 25
PICKED: Final = ("model", "style", "size")  # options that are chosen in menus
STRENGTHS: Final = ("0.3", "0.5", "0.7", "0.9")

Offers = Sequence[tuple[str, str]]  # what is shown, and the value


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What the menus of a form offer in a place."""

    models: Sequence[str]
    styles: Sequence[str]


async def offered_in(handler: Handler, request: Request) -> Offered:
    """Return what the forms of a place offer; raises `DatabaseFault`."""
    await handler.add_place(request)
    models = await asyncio.to_thread(handler.studio.catalogue.names)
    return Offered(models=models, styles=await handler.studio.styles(request.place))


def imagine_form(typed: Sequence[tuple[str, str]], offered: Offered, words: Words) -> ui.Modal:
    """Return the form that describes a picture; typed: the options that were typed without it."""
    chosen = {name: text for name, text in typed if name in PICKED}
    text = write_options([each for each in typed if each[0] not in PICKED])
    box = _box(words.start_prompt, words.form_hint, text)
    last = _upload(words.form_image)
    return _form("imagine", words.imagine_title, box, offered, words, last, chosen)


def change_form(
    name: str, recipe: Recipe, lacks: Container[str], offered: Offered, words: Words
) -> ui.Modal:
    """Return the form that changes a recipe; lacks: fields that its model does not have."""
    shown, _ = shown_of(recipe, lacks)
    box = _box(words.change_prompt, words.change_hint, shown["prompt"])
    last = _upload(words.form_image)
    return _form(f"change:{name}", words.change_title, box, offered, words, last, shown)


def edit_form(name: str, offered: Offered, words: Words, *, edits: bool) -> ui.Modal:
    """Return the form that edits a picture by words; edits: the model can, or else draws anew."""
    box = _box(words.edit_prompt, words.edit_prompt_hint)
    last = _upload(words.form_picture) if edits else _strength(words)
    return _form(f"words:{name}", words.edit_title, box, offered, words, last)


def start_form(
    image: str, seal: str, typed: Sequence[tuple[str, str]], offered: Offered, words: Words
) -> ui.Modal:
    """Return the form for a picture made from a start image, which is named by its sha256.

    seal: of `seal_of`; only whoever chose that image may send the form, as recipes name the sha256
    of others' images.
    """
    chosen = {name: text for name, text in typed if name in (*PICKED, "strength")}
    text = write_options([each for each in typed if each[0] not in chosen])
    box = _box(words.start_prompt, words.form_hint, text)
    last = _strength(words, chosen.get("strength", ""))
    return _form(f"start:{image}:{seal}", words.start_title, box, offered, words, last, chosen)


def seal_of(handler: Handler, person: str, image: str) -> str:
    """Return a code made with the bot token (HMAC), so that a form's id cannot be forged."""
    token = handler.app.settings.discord_token
    assert token
    text = f"start form {person} {image}".encode()
    return hmac.new(token.encode(), text, hashlib.sha256).hexdigest()[:SEAL]


def shown_of(recipe: Recipe, lacks: Container[str]) -> tuple[dict[str, str], Typed]:
    """Return the texts of a recipe's form as it opens, and the options that stand in its words.

    Braces that would be read as a choice are written as text. What would not be read as it is
    written is left out: it stays as it is.
    """
    prompt, negative = map(without_choices, (recipe.prompt, recipe.negative_prompt))
    options = [("seed", str(recipe.seed))]
    if recipe.image and recipe.strength is not None:
        options.append(("strength", f"{recipe.strength:g}"))
    if recipe.negative_prompt and "negative_prompt" not in lacks:
        options.append(("negative", negative))
    text, written = prompt, Typed()
    for option in options:
        longer = f"{text} {write_options([option])}"
        with suppress(UserError):
            read = split_message(longer, lines=False)
            if len(longer) <= TEXT and read == (prompt, [*written, option]):
                text, written = longer, [*written, option]
    size = f"{recipe.width}x{recipe.height}"
    return {"prompt": text, "model": recipe.checkpoint, "size": size}, written


def once_shown_of(recipe: Recipe) -> dict[str, str]:
    """Return the texts of a recipe's form as earlier versions opened it, in fields of their own."""
    seed = str(recipe.seed)
    return {"prompt": recipe.prompt, "negative": recipe.negative_prompt, "seed": seed}


def fields_of(components: Any) -> dict[str, str]:
    """Return what was entered into the fields of a form, however deep they lie.

    Of menus and uploads, the value or the attachment's id; "" where none was chosen.
    """
    return dict(_fields(components))


def _fields(components: Any) -> Iterator[tuple[str, str]]:
    for each in components:
        if "values" in each:
            yield each["custom_id"], next(iter(each["values"] or ()), "")
        elif "value" in each:
            yield each["custom_id"], each["value"] or ""
        inner = [each["component"]] if "component" in each else each.get("components", ())
        yield from _fields(inner)


def _form(
    id: str,
    title: str,
    box: ui.Label[Any],
    offered: Offered,
    words: Words,
    last: ui.Label[Any],
    chosen: Mapping[str, str] | None = None,
) -> ui.Modal:
    """Return a form; what is entered reaches `MarbleClient.on_interaction`, also after restarts."""
    chosen = chosen or {}
    models = [(name, name) for name in offered.models]
    styles = [(name, name) for name in offered.styles]
    shapes = [(shape, shape) for shape in (f"{across}:{down}" for across, down in ASPECTS)]
    form = ui.Modal(title=title, custom_id=f"marble-form:{id}")
    form.add_item(box)
    for name, label, offers in (
        ("model", words.form_model, models if len(models) > 1 else []),
        ("style", words.form_style, styles),
        ("size", words.form_shape, shapes),
    ):
        if menu := _menu(name, label, offers, chosen.get(name, ""), words):
            form.add_item(menu)
    form.add_item(last)
    return form


def _menu(name: str, label: str, offers: Offers, chosen: str, words: Words) -> ui.Label[Any] | None:
    """Return a menu, or None where there is no choice; what is left out is typed as an option."""
    if not offers:
        return None
    if chosen:
        shown = chosen.replace("x", "×") if name == "size" else chosen
        offers = [(shown, chosen), *(each for each in offers if each[1] != chosen)]
    left = len(offers) - CHOICES
    options = [
        discord.SelectOption(label=each.name, value=str(each.value), default=value == chosen)
        for each, value in ((choice(*offer), offer[1]) for offer in offers[:CHOICES])
    ]
    box = ui.Select[Any](
        custom_id=name, placeholder=words.form_usual, options=options, min_values=0, required=False
    )
    hint = words.form_more.format(count=left, option=name) if left > 0 else None
    return _field(label, box, hint)


def _strength(words: Words, chosen: str = "") -> ui.Label[Any]:
    values = STRENGTHS if chosen in ("", *STRENGTHS) else (chosen, *STRENGTHS)
    options = [
        discord.RadioGroupOption(
            label=words.form_strengths.get(each, each), value=each, default=each == chosen
        )
        for each in values
    ]
    group = ui.RadioGroup[Any](custom_id="strength", required=False, options=options)
    return _field(words.start_strength, group)


def _upload(label: str) -> ui.Label[Any]:
    return _field(label, ui.FileUpload[Any](custom_id="image", required=False))


def _box(label: str, hint: str, value: str = "") -> ui.Label[Any]:
    """Return the field of the words, with the options among them."""
    box = ui.TextInput[Any](
        custom_id="prompt",
        style=TextStyle.paragraph,
        default=value or None,
        max_length=TEXT,
    )
    return _field(label, box, hint)


def _field(label: str, component: ui.Item[Any], hint: str | None = None) -> ui.Label[Any]:
    return ui.Label(text=label, description=hint and cut(hint, HINT), component=component)
