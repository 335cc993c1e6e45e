"""Forms: to edit a recipe, and to start from a picture. All they need stands in their id."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import TextStyle, ui

from bots.discord.visits import Click
from bots.options import parse_message, parse_values
from bots.presentation import cut
from bots.studio import Asker
from bots.texts import Words
from engine.ranges import PROMPT_LIMIT
from engine.recipe import Recipe, check
from storage import Job

if TYPE_CHECKING:
    from bots.discord.client import MarbleClient

TEMPLATE: Final = re.compile(r"marble-form:(?P<kind>edit|start):(?P<about>[\w.]+)")
SEED: Final = 20  # characters
LINE: Final = 400
OPTIONAL: Final = ("seed", "strength")


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
        fields = (
            Field("prompt", words.edit_prompt, PROMPT_LIMIT, recipe.prompt),
            Field("negative", words.edit_negative, PROMPT_LIMIT, recipe.negative_prompt),
            Field("seed", words.edit_seed, SEED, str(recipe.seed), words.edit_seed_hint),
            Field("changes", words.edit_changes, LINE, "", words.edit_changes_hint),
        )
        super().__init__("edit", name, words.edit_title, fields)


class StartForm(Form):
    """Ask what is to be made from a start image, which is known by its sha256."""

    def __init__(self, image: str, words: Words) -> None:
        fields = (
            Field("prompt", words.start_prompt, PROMPT_LIMIT),
            Field("strength", words.start_strength, SEED),
            Field("changes", words.edit_changes, LINE, "", words.edit_changes_hint),
        )
        super().__init__("start", image, words.start_title, fields)


async def read_form(interaction: discord.Interaction[MarbleClient]) -> None:
    """Draw what a form asks for."""
    data: Mapping[str, Any] = interaction.data or {}
    found = TEMPLATE.fullmatch(str(data.get("custom_id")))
    if not found:
        return
    kind, about = found["kind"], found["about"]
    visit, desk = Click(interaction), interaction.client.desk

    async def ask(asker: Asker) -> Job:
        if kind == "edit":
            return await desk.studio.rerun(about, values, asker)
        return await desk.studio.imagine({**values, "image": about}, asker)

    async with desk.receive(visit):
        values = values_of(dict(_fields(data.get("components", ()))))
        await desk.draw(visit, ask)


def values_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the recipe values that a form's fields say; raises `UserError`."""
    check("prompt", fields["prompt"])
    values: dict[str, Any] = {"prompt": fields["prompt"]}
    if "negative" in fields:
        values["negative_prompt"] = fields["negative"]
    changes = parse_message(fields.get("changes") or "")
    del changes["prompt"]
    typed = {name: fields[name].strip() for name in OPTIONAL if name in fields}
    return values | parse_values((name, text) for name, text in typed.items() if text) | changes


def _fields(components: Any) -> Iterator[tuple[str, str]]:
    """Yield the fields of a form, however deep they lie."""
    for each in components:
        if "value" in each:
            yield each["custom_id"], each["value"]
        inner = [each["component"]] if "component" in each else each.get("components", ())
        yield from _fields(inner)
