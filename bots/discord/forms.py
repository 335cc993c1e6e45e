"""Forms: to edit a recipe, and to start from a picture. All they need stands in their id."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import TextStyle, ui

from bots.discord.visits import Click, Refusal
from bots.presentation import cut
from bots.requests.options import OPTIONS, parse_values
from bots.requests.studio import Asker
from bots.requests.typed_options import join_options, only_options, read_given, read_request
from bots.texts import Words
from engine.recipe.limits import PROMPT_LIMIT, check_words
from engine.recipe.recipe import Recipe
from storage import Job

if TYPE_CHECKING:
    from bots.discord.client import MarbleClient

TEMPLATE: Final = re.compile(
    r"marble-form:(?P<kind>edit|start):(?P<about>[\w.]+)(?::(?P<seal>[0-9a-f]+))?"
)
SEAL: Final = 16  # characters: an id has room for no more beside a sha256
SEED: Final = 20  # characters
LINE: Final = 400
BOXES: Final = ("negative", "seed", "strength")  # fields that are options
_NAMES: Final = tuple(option.name for option in OPTIONS)


@dataclass(frozen=True, slots=True)
class Field:
    """Describe one field of a form; `limit` is in characters."""

    name: str
    label: str
    limit: int
    value: str = ""
    hint: str | None = None


class Form(ui.Modal):
    """Ask for texts; what is typed reaches `MarbleClient.on_interaction`, after restarts, too."""

    def __init__(self, kind: str, about: str, title: str, fields: Sequence[Field]) -> None:
        super().__init__(title=title, custom_id=f"marble-form:{kind}:{about}")
        for field in fields:
            box = ui.TextInput[Any](
                custom_id=field.name,
                style=TextStyle.paragraph if field.limit > LINE else TextStyle.short,
                default=field.value or None,
                max_length=field.limit,
                required=field.name == "prompt",
            )
            hint = field.hint and cut(field.hint, 100)
            self.add_item(ui.Label(text=field.label, description=hint, component=box))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Do nothing here; see the class."""


class EditForm(Form):
    """Ask for changes to a recipe."""

    def __init__(self, name: str, recipe: Recipe, words: Words) -> None:
        shown = shown_of(recipe)
        fields = (
            Field("prompt", words.edit_prompt, PROMPT_LIMIT, shown["prompt"]),
            Field("negative", words.edit_negative, PROMPT_LIMIT, shown["negative"]),
            Field("seed", words.edit_seed, SEED, shown["seed"], words.edit_seed_hint),
            Field("changes", words.edit_changes, LINE, "", words.edit_changes_hint),
        )
        super().__init__("edit", name, words.edit_title, fields)


class StartForm(Form):
    """Ask what is to be made from a start image, which is known by its sha256.

    The seal keeps the form to whoever chose that image: the sha256 of others' stand in recipes.
    """

    def __init__(self, image: str, seal: str, words: Words) -> None:
        fields = (
            Field("prompt", words.start_prompt, PROMPT_LIMIT),
            Field("strength", words.start_strength, SEED),
            Field("changes", words.edit_changes, LINE, "", words.edit_changes_hint),
        )
        super().__init__("start", f"{image}:{seal}", words.start_title, fields)


def seal_of(token: str, person: str, image: str) -> str:
    """Return what only Marble can put beside an image in a person's form; the token is its key."""
    said = f"start form {person} {image}".encode()
    return hmac.new(token.encode(), said, hashlib.sha256).hexdigest()[:SEAL]


async def read_form(interaction: discord.Interaction[MarbleClient]) -> None:
    """Draw what a form asks for."""
    data: Mapping[str, Any] = interaction.data or {}
    found = TEMPLATE.fullmatch(str(data.get("custom_id")))
    if not found:
        return
    kind, about, seal = found["kind"], found["about"], found["seal"]
    visit, desk = Click(interaction), interaction.client.desk

    fields = dict(_fields(data.get("components", ())))

    async def ask(asker: Asker) -> Job:
        if kind == "edit":
            job, _ = await desk.studio.get(about)
            return await desk.studio.rerun(about, values_of(fields, shown_of(job.recipe)), asker)
        if not hmac.compare_digest(desk.seal(visit, about), seal or ""):
            raise Refusal(visit.words.unknown_form)
        return await desk.studio.imagine({**values_of(fields), "image": about}, asker)

    await desk.draw(visit, ask, about if kind == "edit" else None)


def shown_of(recipe: Recipe) -> dict[str, str]:
    """Return what an edit form's fields hold when it opens."""
    seed = str(recipe.seed)
    return {"prompt": recipe.prompt, "negative": recipe.negative_prompt, "seed": seed}


def values_of(fields: Mapping[str, str], shown: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the recipe values that a form's fields say; raises `UserError`.

    shown: what they held when the form opened. What is left as it was gives way to options among
    the words, and words that are left so hold none.
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
