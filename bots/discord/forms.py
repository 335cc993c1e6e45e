"""Forms: to change a recipe, to edit a picture by words, and to start from one.

All they need stands in their id.
"""

import hashlib
import hmac
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

import discord
from discord import TextStyle, ui

from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.presentation.text import cut
from bots.requests.options import OPTIONS, SPELLINGS, parse_values
from bots.requests.typed_options import join_options, only_options, read_given, read_request
from bots.texts import Words
from engine.errors import UserError
from engine.recipe.limits import PROMPT_LIMIT, check_words
from engine.recipe.recipe import Recipe

TEMPLATE: Final = re.compile(
    # "edit" is the form of the recipe, as messages sent long ago and open forms have it.
    r"marble-form:(?P<kind>edit|words|start):(?P<about>[\w.]+)(?::(?P<seal>[0-9a-f]+))?"
)
SEAL: Final = 16  # characters: an id has room for no more beside a sha256
SEED: Final = 20  # characters
LINE: Final = 400
BOXES: Final = ("negative", "seed", "strength")  # fields that are options
_NAMES: Final = tuple(option.name for option in (*OPTIONS, *SPELLINGS))


def change_form(name: str, recipe: Recipe, lacks: Container[str], words: Words) -> ui.Modal:
    """Return the form that changes a recipe; lacks: fields that its model does not have."""
    shown = shown_of(recipe)
    negative = _field("negative", words.change_negative, PROMPT_LIMIT, shown["negative"])
    return _form(
        f"edit:{name}",
        words.change_title,
        _field("prompt", words.change_prompt, PROMPT_LIMIT, shown["prompt"]),
        *([] if "negative_prompt" in lacks else [negative]),
        _field("seed", words.change_seed, SEED, shown["seed"], words.change_seed_hint),
        _field("changes", words.other_options, LINE, "", words.other_options_hint),
    )


def edit_form(name: str, words: Words) -> ui.Modal:
    """Return the form that edits a picture by words."""
    return _form(
        f"words:{name}",
        words.edit_title,
        _field("prompt", words.edit_prompt, PROMPT_LIMIT, "", words.edit_prompt_hint),
        _field("changes", words.other_options, LINE, "", words.other_options_hint),
    )


def start_form(image: str, seal: str, words: Words) -> ui.Modal:
    """Return the form for a picture made from a start image, which is named by its sha256.

    The seal binds the form to whoever chose that image: recipes name the sha256 of others'.
    """
    return _form(
        f"start:{image}:{seal}",
        words.start_title,
        _field("prompt", words.start_prompt, PROMPT_LIMIT),
        _field("strength", words.start_strength, SEED),
        _field("changes", words.other_options, LINE, "", words.other_options_hint),
    )


def _form(id: str, title: str, *fields: ui.Label[Any]) -> ui.Modal:
    """Return a form; what is typed reaches `MarbleClient.on_interaction`, also after restarts."""
    form = ui.Modal(title=title, custom_id=f"marble-form:{id}")
    for field in fields:
        form.add_item(field)
    return form


def _field(
    name: str, label: str, limit: int, value: str = "", hint: str | None = None
) -> ui.Label[Any]:
    """Return one field of a form; `limit` is in characters."""
    box = ui.TextInput[Any](
        custom_id=name,
        style=TextStyle.paragraph if limit > LINE else TextStyle.short,
        default=value or None,
        max_length=limit,
        required=name == "prompt",
    )
    return ui.Label(text=label, description=hint and cut(hint, 100), component=box)


def seal_of(handler: Handler, person: str, image: str) -> str:
    """Sign person and image with the bot token (HMAC), so a form's id cannot be forged."""
    token = handler.app.settings.discord_token
    assert token
    text = f"start form {person} {image}".encode()
    return hmac.new(token.encode(), text, hashlib.sha256).hexdigest()[:SEAL]


async def submit(handler: Handler, interaction: discord.Interaction[Any]) -> None:
    """Draw the picture that a form describes; forms of others are ignored."""
    data: Mapping[str, Any] = interaction.data or {}
    found = TEMPLATE.fullmatch(str(data.get("custom_id")))
    if not found:
        return
    kind, about, seal = found["kind"], found["about"], found["seal"] or ""
    fields = dict(_fields(data.get("components", ())))
    async with handler.receive(InteractionRequest(interaction)) as request:
        async with handler.drawing(request):
            if kind == "edit":
                target = await handler.find(request, "change", about)
                values = values_of(fields, shown_of(target.job.recipe))
                job = await handler.studio.rerun(target.name, values, request.asker)
            elif kind == "words":
                target = await handler.find(request, "edit", about)
                job = await handler.studio.edit(
                    target.name, values_of(fields), request.asker, saved_by=request.person
                )
            else:
                if not hmac.compare_digest(seal_of(handler, request.person, about), seal):
                    raise UserError(request.words.unknown_form)
                values = {**values_of(fields), "image": about}
                job = await handler.studio.imagine(values, request.asker)
        await handler.placeholders.announce(request, job)


def shown_of(recipe: Recipe) -> dict[str, str]:
    """Return the texts of the fields of a recipe's form when it opens."""
    seed = str(recipe.seed)
    return {"prompt": recipe.prompt, "negative": recipe.negative_prompt, "seed": seed}


def values_of(fields: Mapping[str, str], shown: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the recipe values of a form's fields; raises `UserError`.

    shown: the fields' texts when the form opened. A field that was not changed gives way to an
    option among the words; words that were not changed are not searched for options.
    """
    shown = shown or {}
    changed = {
        name: text for name, text in fields.items() if text.strip() != shown.get(name, "").strip()
    }
    given = [(name, changed[name].strip()) for name in BOXES if changed.get(name, "").strip()]
    options = join_options(read_given(given), only_options(fields.get("changes") or "", _NAMES))
    words = shown.get("prompt", "")
    if "prompt" in changed:
        words, options = read_request(changed["prompt"], options)
    check_words(words)
    values: dict[str, Any] = {"prompt": words}
    if "negative" in changed:
        values["negative_prompt"] = changed["negative"]
    return values | parse_values(options)


def _fields(components: Any) -> Iterator[tuple[str, str]]:
    """Yield the fields of a form, however deep they lie."""
    for each in components:
        if "value" in each:
            yield each["custom_id"], each["value"]
        inner = [each["component"]] if "component" in each else each.get("components", ())
        yield from _fields(inner)
