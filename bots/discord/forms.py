"""The form that edits a recipe. It is known by its id alone, so that a restart loses no form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import TextStyle, ui

from bots.discord.visits import Click
from bots.options import OPTIONS, parse_message
from bots.presentation import cut
from bots.texts import Words
from engine.ranges import PROMPT_LIMIT
from engine.recipe import Recipe, check

if TYPE_CHECKING:
    from bots.discord.client import MarbleClient

TEMPLATE: Final = re.compile(r"marble-form:edit:([\w.]+)")
SEED_LENGTH: Final = 20


class EditForm(ui.Modal):
    """Ask for changes to a recipe."""

    def __init__(self, name: str, recipe: Recipe, words: Words) -> None:
        super().__init__(title=words.edit_title, custom_id=f"marble-form:edit:{name}")
        fields = (
            ("prompt", words.edit_prompt, None, recipe.prompt, PROMPT_LIMIT, True),
            ("negative", words.edit_negative, None, recipe.negative_prompt, PROMPT_LIMIT, True),
            ("seed", words.edit_seed, words.edit_seed_hint, str(recipe.seed), SEED_LENGTH, False),
            ("changes", words.edit_changes, words.edit_changes_hint, "", 400, False),
        )
        for field, label, hint, value, limit, long in fields:
            box = ui.TextInput[Any](
                custom_id=field,
                style=TextStyle.paragraph if long else TextStyle.short,
                default=value or None,
                max_length=limit,
                required=field == "prompt",
            )
            self.add_item(ui.Label(text=label, description=hint and cut(hint, 100), component=box))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Do nothing: `MarbleClient.on_interaction` reads it, whichever process opened it."""


async def read_form(interaction: discord.Interaction[MarbleClient]) -> None:
    """Draw what an edited form asks for."""
    data: Mapping[str, Any] = interaction.data or {}
    found = TEMPLATE.fullmatch(str(data.get("custom_id")))
    if not found:
        return
    name = found[1]
    visit, desk = Click(interaction), interaction.client.desk
    async with desk.receive(visit):
        fields = dict(_fields(data.get("components", ())))
        changes = values_of(fields)
        await desk.draw(visit, lambda asker: desk.studio.rerun(name, changes, asker))


def values_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the recipe values that a form's fields say; raises `UserError`."""
    check("prompt", fields["prompt"])
    values = parse_message(fields.get("changes") or "")
    del values["prompt"]
    seed = next(option for option in OPTIONS if option.name == "seed")
    typed = (fields.get("seed") or "").strip()
    return {
        "prompt": fields["prompt"],
        "negative_prompt": fields.get("negative") or "",
        **(seed.parse(typed) if typed else {}),
        **values,
    }


def _fields(components: Any) -> Iterator[tuple[str, str]]:
    """Yield the fields of a form, however deep they lie."""
    for each in components:
        if "value" in each:
            yield each["custom_id"], each["value"]
        inner = [each["component"]] if "component" in each else each.get("components", ())
        yield from _fields(inner)
