"""Buttons and menus. All they need stands in their ids, so that they outlive restarts.

marble:ID:JOB          marble:dice:12
marble:ID:JOB.PICTURE  marble:upscale:12.3
marble-menu:ID:NAME    marble-menu:upscale:12, where what is chosen names the picture
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self

import discord
from discord import ButtonStyle, ui

from bots.presentation.lines import name_of
from bots.texts import Words
from storage import Job, Picture

PANS: Final = {"left": "⬅️", "right": "➡️", "up": "⬆️", "down": "⬇️"}
# Action of `bots.discord.actions` → its word in ids, where the two differ. Messages sent long ago
# carry these words, so they never change. Two are swapped: the id "pick" is the action show, which
# posts a picture with its buttons, and the id "show" is the action pick, which opens one of a page.
IDS: Final[Mapping[str, str]] = {
    "rerun": "again",
    "reroll": "dice",
    "vary_subtle": "subtle",
    "vary_strong": "strong",
    **{f"pan_{direction}": direction for direction in PANS},
    "show": "pick",
    "pick": "show",
    "original": "mail",
    "favourite": "star",
    "unfavourite": "unstar",
    "delete": "drop",
    # A form with the recipe was called so before pictures could be edited by words.
    "change": "edit",
    "edit": "words",
}
TEMPLATE: Final = r"marble(?:-menu)?:(?P<id>[a-z_]+)(?::(?P<name>[\w.]*))?"
KEYCAPS: Final = tuple(f"{n}\N{COMBINING ENCLOSING KEYCAP}" for n in range(1, 10))
IN_A_ROW: Final = 4  # pictures of a grid that get a button each; more get menus


def id_of(action: str) -> str:
    """Return what stands in ids for an action."""
    return IDS.get(action, action)


class ActionItem(ui.DynamicItem[ui.Button[Any] | ui.Select[Any]], template=TEMPLATE):
    """A button or a menu for an action on a job or on one of its pictures."""

    def __init__(self, id: str, name: str, item: ui.Button[Any] | ui.Select[Any]) -> None:
        self.action_id, self.name = id, name
        kind = "marble-menu" if isinstance(item, ui.Select) else "marble"
        item.custom_id = f"{kind}:{id}:{name}"
        super().__init__(item)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Make what somebody pressed or used, from its id alone."""
        assert isinstance(item, (ui.Button, ui.Select))
        return cls(match["id"], match["name"] or "", item)

    async def callback(self, interaction: discord.Interaction[Any]) -> Any:
        """Pass the press or the choice on to the client."""
        name = self.item.values[0] if isinstance(self.item, ui.Select) else self.name
        await interaction.client.press(interaction, self.action_id, name)


def button(
    action: str,
    name: str,
    label: str | None = None,
    emoji: str | None = None,
    style: ButtonStyle = ButtonStyle.secondary,
    row: int | None = None,
) -> ActionItem:
    """Return a button for an action."""
    item = ui.Button[Any](label=label, emoji=emoji, style=style, row=row)
    return ActionItem(id_of(action), name, item)


def menu(
    action: str,
    name: str,
    placeholder: str,
    options: Sequence[tuple[str, str]],
    row: int | None = None,
) -> ActionItem:
    """Return a menu of (label, value) for an action; `name` only keeps menus apart."""
    items = [discord.SelectOption(label=label, value=value) for label, value in options]
    item = ui.Select[Any](placeholder=placeholder, options=items, row=row)
    return ActionItem(id_of(action), name, item)


def result_buttons(job: Job, pictures: Sequence[Picture], words: Words) -> list[ActionItem]:
    """Return the buttons below one picture, or below a grid of several."""
    alone = len(pictures) == 1
    return [*(_single(job, pictures[0], words) if alone else _grid(job, pictures, words))]


def _single(job: Job, picture: Picture, words: Words) -> Iterator[ActionItem]:
    name = name_of(job, picture.index if job.recipe.count > 1 else None)
    yield button("rerun", name, words.same_seed, "🌱", row=0)
    yield button("reroll", name, words.new_seed, "🎲", row=0)
    yield button("change", name, words.change, "✏️", row=0)
    yield button("vary_subtle", name, words.vary_subtle, row=0)
    yield button("vary_strong", name, words.vary_strong, row=0)
    yield button("upscale", name, words.upscale, "🔍", row=1)
    yield button("zoom", name, words.zoom_out, "🔭", row=1)
    yield button("edit", name, words.edit, "🖌️", row=1)
    for direction, emoji in PANS.items():
        yield button(f"pan_{direction}", name, emoji=emoji, row=2)
    yield from _ends(name, words, row=3)


def _grid(job: Job, pictures: Sequence[Picture], words: Words) -> Iterator[ActionItem]:
    name = name_of(job)
    numbers = [(picture.index + 1, name_of(job, picture.index)) for picture in pictures]
    if len(pictures) <= IN_A_ROW:
        for number, each in numbers:
            yield button("upscale", each, f"U{number}", row=0)
            yield button("vary_subtle", each, f"V{number}", row=1)
            yield button("show", each, emoji=KEYCAPS[number - 1], row=2)
    else:
        choices = [(str(number), each) for number, each in numbers]
        yield menu("upscale", name, words.upscale, choices, row=0)
        yield menu("vary_subtle", name, words.vary_subtle, choices, row=1)
        yield menu("show", name, words.pick, choices, row=2)
    yield button("rerun", name, words.same_seed, "🌱", row=3)
    yield button("reroll", name, words.new_seed, "🔁", row=3)
    yield button("change", name, words.change, "✏️", row=3)
    yield from _ends(name, words, row=4)


def _ends(name: str, words: Words, row: int) -> Iterator[ActionItem]:
    yield button("recipe", name, words.recipe, "📜", row=row)
    yield button("original", name, emoji="✉️", row=row)
    yield button("favourite", name, words.favourite, "⭐", row=row)
    yield button("delete", name, words.delete, "❌", row=row)
